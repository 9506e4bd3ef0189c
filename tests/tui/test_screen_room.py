"""The room of the screen: nothing below it knows it, and what has no screen never loads it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "module",
    [
        "core.faces.cli",
        "core.faces.welcome",
        "core.engine.engine",
        "core.commands.task",
        "storage.database",
        "storage.queries.screen",
    ],
)
def test_nothing_below_loads_textual(module: str) -> None:
    code = f"import sys, {module}; print([name for name in sys.modules if name.split('.')[0] in ('textual', 'tui')])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_nothing_below_names_the_screen_but_its_entry() -> None:
    for room in ("core", "storage", "config"):
        for file in (ROOT / room).rglob("*.py"):
            text = file.read_text("utf-8")
            assert "import textual" not in text, file
            assert "from textual" not in text, file
            if file.name != "start.py":
                assert '"tui.' not in text, file
