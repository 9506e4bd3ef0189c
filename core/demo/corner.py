"""Where a demonstration lives: a folder, a database and an engine of its own, of which nothing is left when it ends.

One that is killed cannot tidy up after itself. Its engine sees that, and stops with its runs; folder and database are
cleared away by the next demonstration. A lock in the folder, held by both, tells whether somebody is still there.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from config.errors import UnavailableError
from config.paths import Paths
from core.keeper import client as keeper
from storage.migrate import migrate
from storage.server import ensure_server, server_dsn

STOP_SECONDS = 45.0
"""How long an engine may take to end its runs and itself."""
KEPT = "kept"
"""The file that says that a person wants to keep a demonstration."""


@dataclass(frozen=True, slots=True)
class Corner:
    """Where one demonstration lives. ``lock``: an open file whose lock says that it is still there."""

    paths: Paths
    dsn: str
    database: str
    lock: int

    @property
    def home(self) -> Path:
        """The folder that holds all of it."""
        return self.paths.state.parent


@contextlib.asynccontextmanager
async def corner(paths: Paths, *, keep: bool) -> AsyncIterator[Corner]:
    """A folder and a database, gone afterwards unless they are to be kept, with what killed demonstrations left."""
    await ensure_server(paths)
    await _clear_leftovers(paths)
    where = _make(paths)
    try:
        await _administer(paths, f'create database "{where.database}"')
        await migrate(where.dsn)
        if keep:
            (where.home / KEPT).touch()
        yield where
    finally:
        if not keep:
            await _clear(paths, where.home)
        os.close(where.lock)
        await _clear_leftovers(paths)


def surroundings(where: Corner, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of whatever works in a demonstration: nothing of the person's own installation is in them."""
    env = {name: value for name, value in environ.items() if not name.startswith("QD_")}
    return env | {"QD_HOME": str(where.home), "QD_DATABASE_URL": where.dsn}


@contextlib.asynccontextmanager
async def engine(where: Corner, environ: Mapping[str, str]) -> AsyncIterator[None]:
    """An engine that ends, and its runs with it, when the block does or this process is killed.

    Raises UnavailableError in the block as soon as the engine ends by itself.
    """
    env = surroundings(where, environ)
    where.paths.logs.mkdir(parents=True, exist_ok=True)
    log_path = where.paths.logs / "engine.log"
    with log_path.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "core.engine", "--leashed"),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=env,
            pass_fds=(where.lock,),
            start_new_session=True,  # Ctrl-C is for us alone: we tell it when to stop
        )
    leash, block = process.stdin, asyncio.current_task()
    assert leash is not None
    assert block is not None
    guard = asyncio.create_task(process.wait())
    guard.add_done_callback(lambda done: None if done.cancelled() else block.cancel())
    try:
        yield
    except asyncio.CancelledError:
        if process.returncode is None or block.uncancel() > 0:
            raise
        raise UnavailableError(
            f"the engine of the demo ended with code {process.returncode}: {_last_line(log_path)}",
            "try again with --keep, and see its log",
        ) from None
    finally:
        guard.cancel()
        leash.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _make(paths: Paths) -> Corner:
    """The folder, under its name only when it is locked, so that nobody takes it for a leftover."""
    name = f"demo-{uuid.uuid4().hex[:8]}"
    parent = paths.state / "demo"
    scratch, home = parent / f".{name}", parent / name
    scratch.mkdir(parents=True, mode=0o700)
    lock = _locked(scratch)
    assert lock is not None
    scratch.rename(home)
    database = name.replace("-", "_")
    return Corner(_paths_in(home, paths), server_dsn(paths, database), database, lock)


def _paths_in(home: Path, paths: Paths) -> Paths:
    return Paths(config=home / "config", state=home / "state", database=paths.database)


def _locked(home: Path) -> int | None:
    """The lock of a demonstration's folder, held; None while somebody else holds it."""
    lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


async def _clear_leftovers(paths: Paths) -> None:
    """Clear away what demonstrations that were killed have left."""
    for home in (paths.state / "demo").glob("demo-*"):
        with contextlib.suppress(FileNotFoundError):  # another demonstration clears the same
            lock = None if (home / KEPT).exists() else _locked(home)
            if lock is not None:
                try:
                    await _clear(paths, home)
                finally:
                    os.close(lock)


async def _clear(paths: Paths, home: Path) -> None:
    """Remove processes, database and folder. What cannot be removed now is left to the next demonstration."""
    inside = _paths_in(home, paths)
    runs = {folder.name for folder in inside.runs.glob("*")}
    for mark in runs & set(await asyncio.to_thread(keeper.marks)):
        await keeper.sweep(mark, patience=1)
    try:
        await _administer(paths, f'drop database if exists "{home.name.replace("-", "_")}" with (force)')
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return
    for folder in (inside.sockets, home):
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _administer(paths: Paths, statement: str) -> None:
    connection = await asyncpg.connect(server_dsn(paths, "postgres"))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"
