"""The sample repository *harbour*: durations, tables, records and amounts, with four bugs that its tests show."""

AGENTS = """# Rules of this repository

- Python's standard library alone.
- Every change has a test in `tests/`, and `python3 check.py` passes.
- A test module that fails for a known reason is named in `known-failures/`. Who mends it deletes its file.
"""

CHECK = '''"""Runs the tests of every module: those named in known-failures/ have to fail, all others to pass."""

import io
import pathlib
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parent


def failure_of(module: str) -> str:
    """What the tests of a module print when they fail, nothing when they pass."""
    output = io.StringIO()
    suite = unittest.defaultTestLoader.loadTestsFromName(f"tests.{module}")
    passed = unittest.TextTestRunner(output, verbosity=1).run(suite).wasSuccessful()
    return "" if passed else output.getvalue()


def main() -> int:
    modules = sorted(path.stem for path in (ROOT / "tests").glob("test_*.py"))
    known = {path.stem for path in (ROOT / "known-failures").glob("*.txt")}
    faults = [f"known-failures/{name}.txt names no test module" for name in sorted(known - set(modules))]
    for module in modules:
        failure = failure_of(module)
        if failure and module not in known:
            faults.append(failure)
        elif module in known and not failure:
            faults.append(f"{module} passes: delete known-failures/{module}.txt")
    print("\\n".join(faults) or f"{len(modules)} test modules as they should be, {len(known)} of them known to fail")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.dont_write_bytecode = True  # a change within the second that leaves the size would go unseen
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
'''

IGNORED = "__pycache__/\n"

DURATIONS = '''"""Durations as people write them: ``90s``, ``5m``, ``1h30m``."""

import re

SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def parse(text: str) -> int:
    """The number of seconds in a text such as ``1h30m``."""
    match = re.match(r"(\\d+)([dhms])", text)
    if match is None:
        raise ValueError(f"not a duration: {text!r}")
    return int(match[1]) * SECONDS[match[2]]


def show(seconds: int) -> str:
    """A number of seconds as people write it."""
    parts = []
    for unit, size in SECONDS.items():
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
'''

TEST_DURATIONS = """import unittest

from harbour import durations


class DurationsTest(unittest.TestCase):
    def test_one_unit(self):
        self.assertEqual(durations.parse("90s"), 90)

    def test_units_are_added(self):
        self.assertEqual(durations.parse("1h30m"), 5400)
        self.assertEqual(durations.parse("1d2h3m4s"), 93784)

    def test_what_follows_the_units_is_refused(self):
        with self.assertRaises(ValueError):
            durations.parse("5m and more")

    def test_shown_and_parsed_again(self):
        for seconds in (1, 60, 5400, 93784):
            self.assertEqual(durations.parse(durations.show(seconds)), seconds)
"""

TABLE = '''"""Tables of plain text."""


def render(headers: list[str], rows: list[list[str]]) -> str:
    """The rows below their headers, in columns that are as wide as they need to be."""
    widths = [len(header) for header in headers]
    lines = [headers, ["-" * width for width in widths], *rows]
    return "\\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)
'''

TEST_TABLE = """import unittest

from harbour import table


class TableTest(unittest.TestCase):
    def test_a_column_is_as_wide_as_its_widest_cell(self):
        text = table.render(["ship", "flag"], [["Andromeda", "NO"], ["Io", "DK"]])
        self.assertEqual(text.splitlines()[2:], ["Andromeda  NO", "Io         DK"])

    def test_numbers_stand_to_the_right(self):
        text = table.render(["ship", "tons"], [["Io", "7"], ["Ran", "12000"]])
        self.assertEqual(text.splitlines(), ["ship   tons", "----  -----", "Io        7", "Ran   12000"])
"""

RECORDS = '''"""Records as comma-separated text, the first line naming the fields."""


def read(text: str) -> list[dict[str, str]]:
    """The records of a text."""
    header, *lines = text.splitlines()
    names = header.split(",")
    return [dict(zip(names, line.split(","))) for line in lines if line]


def write(records: list[dict[str, str]]) -> str:
    """The text of records that all have the fields of the first."""
    names = list(records[0])
    lines = [",".join(names), *(",".join(record[name] for name in names) for record in records)]
    return "\\n".join(lines) + "\\n"
'''

TEST_RECORDS = """import unittest

from harbour import records


class RecordsTest(unittest.TestCase):
    def test_plain_fields(self):
        self.assertEqual(records.read("ship,flag\\nIo,DK\\n"), [{"ship": "Io", "flag": "DK"}])

    def test_a_quoted_field_may_hold_a_comma(self):
        found = records.read('ship,cargo\\nIo,"salt, wine"\\n')
        self.assertEqual(found, [{"ship": "Io", "cargo": "salt, wine"}])

    def test_what_is_written_is_read_again(self):
        given = [{"ship": 'The "Io"', "cargo": "salt,\\nwine"}]
        self.assertEqual(records.read(records.write(given)), given)
"""

AMOUNTS = '''"""Amounts of money, kept in cents."""


def show(cents: int) -> str:
    """An amount with two places and thousands apart: ``1,234.50``."""
    return str(cents / 100)
'''

TEST_AMOUNTS = """import unittest

from harbour import amounts


class AmountsTest(unittest.TestCase):
    def test_two_places(self):
        self.assertEqual(amounts.show(50), "0.50")

    def test_thousands_stand_apart(self):
        self.assertEqual(amounts.show(123456789), "1,234,567.89")

    def test_a_debt_keeps_its_sign(self):
        self.assertEqual(amounts.show(-50), "-0.50")
        self.assertEqual(amounts.show(-123456), "-1,234.56")
"""

FILES: dict[str, str] = {
    ".gitignore": IGNORED,
    "AGENTS.md": AGENTS,
    "README.md": "# harbour\n\nDurations, tables, records and amounts for people who run a harbour.\n",
    "check.py": CHECK,
    "harbour/__init__.py": '"""What a harbour office needs."""\n',
    "harbour/amounts.py": AMOUNTS,
    "harbour/durations.py": DURATIONS,
    "harbour/records.py": RECORDS,
    "harbour/table.py": TABLE,
    "known-failures/README.md": "Test modules that fail for a known reason, one file each.\n",
    "known-failures/test_amounts.txt": "Amounts are shown with one place and without thousands.\n",
    "known-failures/test_durations.txt": "Only the first unit of a duration counts.\n",
    "known-failures/test_records.txt": "Quoted fields are torn apart at their commas.\n",
    "known-failures/test_table.txt": "Columns are as wide as their headers alone.\n",
    "tests/__init__.py": "",
    "tests/test_amounts.py": TEST_AMOUNTS,
    "tests/test_durations.py": TEST_DURATIONS,
    "tests/test_records.py": TEST_RECORDS,
    "tests/test_table.py": TEST_TABLE,
}
