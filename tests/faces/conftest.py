"""`qd` to call."""

from pathlib import Path

import pytest

from config.paths import Paths
from tests.command_line import CommandLine, command_line, emptied_database


@pytest.fixture
async def dsn(server: Paths, _template: str) -> str:
    """A database without rows, for one test at a time."""
    return await emptied_database(server, _template)


@pytest.fixture
def qd(dsn: str, tmp_path: Path) -> CommandLine:
    """`qd` on an empty database, in an empty folder."""
    return command_line(dsn, tmp_path)


@pytest.fixture
def offline(tmp_path: Path) -> CommandLine:
    """`qd` where the database cannot be reached."""
    return command_line("postgresql://nobody@127.0.0.1:1/none", tmp_path)
