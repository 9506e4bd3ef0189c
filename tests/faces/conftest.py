"""`qd` to call."""

from pathlib import Path

import pytest

from tests.command_line import CommandLine, command_line


@pytest.fixture
def qd(migrated_database: str, tmp_path: Path) -> CommandLine:
    """`qd` on a database of this test alone."""
    return command_line(migrated_database, tmp_path)


@pytest.fixture
def offline(tmp_path: Path) -> CommandLine:
    """`qd` where the database cannot be reached."""
    return command_line("postgresql://nobody@127.0.0.1:1/none", tmp_path)
