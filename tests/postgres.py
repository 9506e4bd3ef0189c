"""A real Postgres for the tests: the embedded server in a folder of its own, gone without a trace afterwards."""

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import asyncpg

from config.paths import Paths, resolve_paths
from storage.server import ensure_server, remove_server, server_dsn

T = TypeVar("T")

QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""Settings of a server whose data nobody will miss."""

MEMORY = Path("/dev/shm")
"""A file system in memory, where there is one: a new database is 600 files, and to make these on a disk takes most of the time of a short test."""

ROOM = 4 * 2**30
"""Bytes that must be free there."""

_PREFIX = "qdt-"
_ALIVE = "alive"


def apart(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in an event loop of its own, beside the one of the test."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def paths_in(home: Path) -> Paths:
    """The paths of an installation with this ``QD_HOME``."""
    return resolve_paths({"QD_HOME": str(home)})


@contextmanager
def temporary_home(folder: Path | None = None) -> Iterator[Path]:
    """A ``QD_HOME`` with a short path that a server of root may reach; its server, if any, and all in it go at the end. ``folder``: to make it in.

    What a test process that was killed has left is cleared away by the next one: it no longer holds its lock.
    """
    _sweep()
    home = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
    home.chmod(0o755)
    with (home / _ALIVE).open("wb") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        try:
            yield home
        finally:
            _clear(home)


@contextmanager
def embedded_server() -> Iterator[Paths]:
    """An embedded server that runs."""
    with temporary_home(MEMORY if _has_room(MEMORY) else None) as home:
        paths = paths_in(home)
        apart(ensure_server(paths, QUICK))
        yield paths


@asynccontextmanager
async def database(paths: Paths, template: str = "template1") -> AsyncIterator[str]:
    """The dsn of a new database, a copy of ``template``, for as long as the block runs."""
    name = f"t_{uuid4().hex}"
    await _execute(paths, f'create database "{name}" template "{template}"')
    try:
        yield server_dsn(paths, name)
    finally:
        await _execute(paths, f'drop database if exists "{name}" with (force)')


async def migrated_template(paths: Paths) -> str:
    """Make a database with our schema to copy from, and return its name."""
    from storage.migrate import migrate

    name = "migrated"
    await _execute(paths, f'create database "{name}"')
    await migrate(server_dsn(paths, name))
    return name


async def _execute(paths: Paths, statement: str) -> None:
    connection = await asyncpg.connect(server_dsn(paths, "postgres"))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _has_room(folder: Path) -> bool:
    try:
        return os.access(folder, os.W_OK) and shutil.disk_usage(folder).free >= ROOM
    except OSError:
        return False


def _sweep() -> None:
    for home in (*Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"), *MEMORY.glob(f"{_PREFIX}*")):
        try:
            with (home / _ALIVE).open("rb") as alive:
                if home.stat().st_uid != os.geteuid():
                    continue
                fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _clear(home)
        except OSError:
            continue  # it is alive, just being made or cleared, or not ours


def _clear(home: Path) -> None:
    apart(remove_server(paths_in(home)))
    shutil.rmtree(home, ignore_errors=True)
