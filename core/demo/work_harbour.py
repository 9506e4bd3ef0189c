"""The work on *harbour*, step by step: four bugs mended, one at the second attempt, and three modules added."""

from core.demo.hands import Change, Look, Put, Scene, Shell
from core.demo.work import CHECKED, TITLES, add, mend

_DURATIONS = mend(
    "durations",
    Look("harbour/durations.py"),
    Change(
        "harbour/durations.py",
        """    match = re.match(r"(\\d+)([dhms])", text)
    if match is None:
        raise ValueError(f"not a duration: {text!r}")
    return int(match[1]) * SECONDS[match[2]]
""",
        """    if not re.fullmatch(r"(\\d+[dhms])+", text):
        raise ValueError(f"not a duration: {text!r}")
    return sum(int(count) * SECONDS[unit] for count, unit in re.findall(r"(\\d+)([dhms])", text))
""",
    ),
    closing="A duration is now the sum of all its units, and what is no duration is refused.",
)

_RECORDS = mend(
    "records",
    Look("harbour/records.py"),
    Put(
        "harbour/records.py",
        '''"""Records as comma-separated text, the first line naming the fields."""

import csv
import io


def read(text: str) -> list[dict[str, str]]:
    """The records of a text."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


def write(records: list[dict[str, str]]) -> str:
    """The text of records that all have the fields of the first."""
    output = io.StringIO(newline="")
    writer = csv.DictWriter(output, list(records[0]), lineterminator="\\n")
    writer.writeheader()
    writer.writerows(records)
    return output.getvalue()
''',
    ),
    closing="Records are read and written by the csv module, so quoted fields survive.",
)

_AMOUNTS_OLD = "    return str(cents / 100)\n"
_AMOUNTS_HASTY = '    whole, rest = divmod(cents, 100)\n    return f"{whole:,}.{rest:02d}"\n'

_AMOUNTS_HASTILY = mend(
    "amounts",
    Look("harbour/amounts.py"),
    Change("harbour/amounts.py", _AMOUNTS_OLD, _AMOUNTS_HASTY),
    closing="Amounts have two places now, and thousands stand apart.",
    check=False,  # this is the one that goes wrong: the gate finds out what the agent did not look at
)

_AMOUNTS_MENDED = Scene(
    TITLES["amounts"],
    (
        Look("harbour/amounts.py"),
        Put(
            "harbour/amounts.py",
            '''"""Amounts of money, kept in cents."""


def show(cents: int) -> str:
    """An amount with two places and thousands apart: ``1,234.50``."""
    whole, rest = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{whole:,}.{rest:02d}"
''',
        ),
        Shell("rm -f known-failures/test_amounts.txt"),
        Shell(CHECKED),
    ),
    "A debt was rounded the wrong way, because divmod rounds down. The sign is taken off first now.",
    cue="test_a_debt_keeps_its_sign",
    opening="The gate says that a debt loses its sign.",
)

_TABLE = mend(
    "table",
    Look("harbour/table.py"),
    Change(
        "harbour/table.py",
        """    widths = [len(header) for header in headers]
    lines = [headers, ["-" * width for width in widths], *rows]
    return "\\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)
""",
        '''    columns = list(zip(headers, *rows))
    widths = [max(len(cell) for cell in column) for column in columns]
    numeric = [all(cell.isdecimal() for cell in column[1:]) for column in columns]
    lines = [headers, ["-" * width for width in widths], *rows]
    return "\\n".join(_line(line, widths, numeric) for line in lines)


def _line(cells: list[str], widths: list[int], numeric: list[bool]) -> str:
    """One line, its numbers to the right."""
    placed = [c.rjust(w) if n else c.ljust(w) for c, w, n in zip(cells, widths, numeric)]
    return "  ".join(placed).rstrip()
''',
    ),
    closing="Columns are as wide as their widest cell, and numbers stand to the right.",
)

_VOYAGES = add(
    "voyages",
    "harbour",
    '''"""Voyages: a ship and its legs."""

from dataclasses import dataclass

from harbour import durations


@dataclass(frozen=True)
class Voyage:
    """One voyage; each leg is a duration such as ``1h30m``."""

    ship: str
    legs: tuple[str, ...]

    @property
    def seconds(self) -> int:
        """How long all the legs take together."""
        return sum(durations.parse(leg) for leg in self.legs)


def longest(voyages: list[Voyage]) -> Voyage:
    """The voyage that takes longest."""
    return max(voyages, key=lambda voyage: voyage.seconds)
''',
    """import unittest

from harbour.voyages import Voyage, longest


class VoyagesTest(unittest.TestCase):
    def test_a_voyage_is_as_long_as_its_legs(self):
        self.assertEqual(Voyage("Io", ("1h30m", "45m")).seconds, 8100)

    def test_the_longest(self):
        short, long = Voyage("Io", ("2h",)), Voyage("Ran", ("1h", "1h1s"))
        self.assertIs(longest([short, long]), long)
""",
    "A voyage knows how long it is, and the longest of several can be found.",
)

_SCHEDULE = add(
    "schedule",
    "harbour",
    '''"""When a ship arrives where."""

from datetime import datetime, timedelta
from itertools import accumulate

from harbour import durations


def arrivals(departure: datetime, legs: tuple[str, ...]) -> list[datetime]:
    """The times of arrival after each leg."""
    passed = accumulate(durations.parse(leg) for leg in legs)
    return [departure + timedelta(seconds=seconds) for seconds in passed]
''',
    """import unittest
from datetime import datetime

from harbour.schedule import arrivals


class ScheduleTest(unittest.TestCase):
    def test_each_leg_begins_where_the_last_one_ended(self):
        found = arrivals(datetime(2026, 3, 1, 22, 0), ("1h30m", "45m"))
        self.assertEqual(found, [datetime(2026, 3, 1, 23, 30), datetime(2026, 3, 2, 0, 15)])

    def test_no_legs_no_arrivals(self):
        self.assertEqual(arrivals(datetime(2026, 3, 1), ()), [])
""",
    "The arrivals follow from the departure and the legs.",
    check=False,
)

_REPORT = add(
    "report",
    "harbour",
    '''"""What the office is told of voyages."""

from datetime import datetime

from harbour import durations
from harbour.schedule import arrivals
from harbour.voyages import Voyage


def report(voyages: list[Voyage], departure: datetime) -> str:
    """One line for each voyage, the longest first."""
    ordered = sorted(voyages, key=lambda voyage: -voyage.seconds)
    return "\\n".join(_line(voyage, departure) for voyage in ordered)


def _line(voyage: Voyage, departure: datetime) -> str:
    arrival = arrivals(departure, voyage.legs)[-1]
    return f"{voyage.ship}: {durations.show(voyage.seconds)}, arrives {arrival:%d.%m. %H:%M}"
''',
    """import unittest
from datetime import datetime

from harbour.report import report
from harbour.voyages import Voyage


class ReportTest(unittest.TestCase):
    def test_one_line_each_the_longest_first(self):
        text = report([Voyage("Io", ("30m",)), Voyage("Ran", ("1h", "30m"))], datetime(2026, 3, 1, 23, 0))
        self.assertEqual(text, "Ran: 1h30m, arrives 02.03. 00:30\\nIo: 30m, arrives 01.03. 23:30")
""",
    "The report stands on voyages and schedule, one line for each voyage.",
)

SCENES: tuple[Scene, ...] = (
    _DURATIONS,
    _RECORDS,
    _AMOUNTS_MENDED,
    _AMOUNTS_HASTILY,
    _TABLE,
    _VOYAGES,
    _SCHEDULE,
    _REPORT,
)
"""A scene with a cue stands before the one without of the same task."""
