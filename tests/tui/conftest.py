"""Databases for the screen: one in the middle of a day's work, one that is empty, and the environment of `qd` on them."""

import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from config.paths import Paths
from storage.server import server_dsn
from tests.postgres import apart, database
from tests.tui.rich_world import enrich
from tests.tui.world import settle_in, stop_clock
from tui import store

# Between two loads a store rests nine times as long as the first took, so that a screen is not most of a machine's work; a test would wait for it.
store._SHARE = 1.0


@pytest.fixture(scope="session")
def _worlds(server: Paths, _template: str) -> str:
    async def make() -> None:
        connection = await asyncpg.connect(server_dsn(server, "postgres"))
        await connection.execute(f'create database "a_day" template "{_template}"')
        await connection.close()
        from storage.database import _prepare_connection

        connection = await asyncpg.connect(server_dsn(server, "a_day"))
        await _prepare_connection(connection)
        await settle_in(connection)
        await stop_clock(connection, "a_day")
        await connection.close()

    apart(make())
    return "a_day"


@pytest.fixture
async def day(server: Paths, _worlds: str) -> AsyncIterator[str]:
    """A database of its own, in the middle of a day's work."""
    async with database(server, _worlds) as dsn:
        yield dsn


@pytest.fixture(scope="session")
def seen_day(server: Paths, _worlds: str) -> str:
    """As ``day``, shared by whoever only looks."""
    return server_dsn(server, _worlds)


@pytest.fixture(scope="session")
def _rich(server: Paths, _worlds: str) -> str:
    async def make() -> None:
        connection = await asyncpg.connect(server_dsn(server, "postgres"))
        await connection.execute(f'create database "a_month" template "{_worlds}"')
        await connection.close()
        await enrich(server_dsn(server, "a_month"))
        connection = await asyncpg.connect(server_dsn(server, "postgres"))
        await connection.execute('create database "a_kept_month" template "a_month"')
        await connection.execute('alter database "a_month" set search_path = public, pg_catalog')
        await connection.close()

    apart(make())
    return "a_month"


@pytest.fixture
async def rich(server: Paths, _rich: str) -> AsyncIterator[str]:
    """A database of its own with a month of money and a memory; its clock goes."""
    async with database(server, "a_kept_month") as dsn:
        yield dsn


@pytest.fixture(scope="session")
def seen_rich(server: Paths, _rich: str) -> str:
    """As ``rich``, with its clock stopped, shared by whoever only looks."""
    return server_dsn(server, _rich)


@pytest.fixture(scope="session")
def seen_nothing(server: Paths, _template: str) -> str:
    """An empty database, shared by whoever only looks."""

    async def administer(statement: str) -> None:
        connection = await asyncpg.connect(server_dsn(server, "postgres"))
        await connection.execute(statement)
        await connection.close()

    apart(administer(f'create database "nothing_yet" template "{_template}"'))
    return server_dsn(server, "nothing_yet")


@pytest.fixture
def world_environ(home: Path) -> dict[str, str]:
    """The environment of `qd` on a terminal, without a database."""
    return {
        "PATH": os.environ["PATH"], "HOME": str(home), "QD_HOME": str(home), "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", "TZ": "UTC",
    }  # fmt: skip


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
