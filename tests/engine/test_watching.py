"""Whoever follows a run is woken by what happens in its folder."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.engine.watching import Pokes, watch_runs
from core.keeper import client as keeper
from storage.database import Database, Principal, Role

SECONDS = 20


@pytest.fixture
async def pokes(tmp_path: Path) -> AsyncIterator[Pokes]:
    made = Pokes()
    task = asyncio.create_task(watch_runs(tmp_path / "runs", made))
    try:
        yield made
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _is_woken(poke: asyncio.Event) -> None:
    async with asyncio.timeout(SECONDS):
        await poke.wait()
    poke.clear()


async def test_what_is_written_wakes_the_follower_of_that_run_alone(pokes: Pokes, tmp_path: Path) -> None:
    folders = [tmp_path / "runs" / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir(parents=True)
    one, two = (pokes.of(folder) for folder in folders)
    (folders[0] / "stdout.spool").write_text("first")
    await _is_woken(one)
    while one.is_set():
        one.clear()
        await asyncio.sleep(0)
    two.clear()
    with (folders[0] / "stdout.spool").open("a") as spool:
        spool.write("more")
    await _is_woken(one)
    assert not two.is_set()


async def test_a_folder_that_is_made_later_is_watched_and_so_are_those_of_gates(pokes: Pokes, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "late"
    poke = pokes.of(folder)
    folder.mkdir(parents=True)
    (folder / "exit.json.tmp").write_text("{}")
    (folder / "exit.json.tmp").rename(folder / "exit.json")
    await _is_woken(poke)
    (folder / "gate-1").mkdir()
    await _is_woken(poke)
    (folder / "gate-1" / "stdout.spool").write_text("passed")
    await _is_woken(poke)


async def test_what_is_forgotten_wakes_nobody_and_can_be_followed_again(pokes: Pokes, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "again"
    folder.mkdir(parents=True)
    first = pokes.of(folder)
    pokes.forget(folder)
    second = pokes.of(folder)
    (folder / "stdout.spool").write_text("x")
    await _is_woken(second)
    assert not first.is_set()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere one has to look")
async def test_the_end_of_a_killed_keeper_is_told_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    spec = keeper.Spec(("sleep", "600"), dict(os.environ), tmp_path, "told-of-end", tmp_path / "s.sock")
    pid = await keeper.launch(folder, spec)
    ended = asyncio.Event()
    try:
        with keeper.told_of_end(folder, ended) as told:
            assert told
            os.kill(pid, signal.SIGKILL)
            await _is_woken(ended)
    finally:
        await keeper.sweep("told-of-end", patience=0.2)


async def test_a_connection_that_has_only_been_told_farewell_counts_as_lost(migrated_database: str) -> None:
    """What a server says that is going down comes before the end of the connection."""
    from config.errors import UnavailableError

    farewell = b"SFATAL\0VFATAL\0C57P02\0Mterminating connection because of crash of another server process\0\0"
    db = await Database.open(migrated_database, bound=Principal("engine:x", Role.ENGINE), most=1)
    async with db.connection() as connection:
        connection._con._protocol.data_received(b"E" + (len(farewell) + 4).to_bytes(4, "big") + farewell)
    with pytest.raises(UnavailableError):
        async with db.connection() as connection:
            await connection.execute("select 1")
    await db.close()
