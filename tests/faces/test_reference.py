"""The reference in docs/ is what the table of commands says."""

import tomllib
from pathlib import Path

from core import VERSION, version
from core.commands.table import NOUNS, commands
from core.faces.help import usage
from core.faces.reference import main, pages

ROOT = Path(__file__).parents[2]


def test_the_reference_is_current() -> None:
    assert main(["--check"], ROOT) == 0, "run: python -P -m core.faces.reference"


def test_a_page_that_is_not_current_is_told(tmp_path: Path) -> None:
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0
    (tmp_path / "docs" / "reference" / "task.md").write_text("old")
    (tmp_path / "docs" / "reference" / "gone.md").write_text("left over")
    assert main(["--check"], tmp_path) == 1
    assert main([], tmp_path) == 0
    assert {path.name for path in (tmp_path / "docs" / "reference").iterdir()} == set(pages())


def test_every_command_is_on_its_page() -> None:
    made = pages()
    for noun in NOUNS:
        for entry in commands(noun):
            assert f"```\n{usage(entry)}\n```" in made[f"{noun or 'qd'}.md"]


def test_the_version_is_written_the_same_in_both_places() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert version() == VERSION == project["version"]
