"""A crew to command."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from config.paths import Paths
from storage.server import server_dsn
from tests.command_line import CommandLine, command_line, emptied_database
from tests.crew import Crew, crew_on
from tests.postgres import _execute, apart


@pytest.fixture(scope="session")
def _shared(server: Paths, _template: str) -> str:
    """One database for all tests here: emptying it is quicker than making one."""
    apart(_execute(server, f'create database "commands" template "{_template}"'))
    return server_dsn(server, "commands")


@pytest.fixture
async def crew(_shared: str, tmp_path: Path) -> AsyncIterator[Crew]:
    """A database with nothing but the project ``app`` and the agent ``coder``, and no engine."""
    async with crew_on(_shared, tmp_path) as crew:
        yield crew


@pytest.fixture
async def dsn(server: Paths, _template: str) -> str:
    """A database without rows, for one test at a time."""
    return await emptied_database(server, _template)


@pytest.fixture
def qd(dsn: str, tmp_path: Path) -> CommandLine:
    """`qd` on an empty database, in an empty folder."""
    return command_line(dsn, tmp_path)
