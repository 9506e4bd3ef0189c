"""Kill -9 of anybody at any moment: the next call puts it right, and nothing that was committed is lost."""

import asyncio
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import asyncpg
import psutil
import pytest

from storage.server import ensure_server, remove_server, server_status, stop_server
from storage.server.place import find_place
from tests.postgres import QUICK, paths_in
from tests.storage.server_process import ENSURE, alive, start, wait_for


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not alive(pid), f"{pid} dies")


def _working_in(folder: Path) -> list[psutil.Process]:
    found = psutil.process_iter(["cmdline"])
    return [process for process in found if str(folder) in (process.info["cmdline"] or [])]


async def _caught_at_work(home: Path) -> tuple[subprocess.Popen[str], psutil.Process]:
    """A starter and the initdb that it has started, suspended in the middle of its work, which lasts half a second."""
    for _ in range(10):
        starter = start(home, ENSURE)
        wait_for(lambda: bool(_working_in(home / "postgres.new")) or (home / "postgres").exists(), "initdb works")
        with suppress(ValueError, psutil.NoSuchProcess):
            (initdb, *_) = _working_in(home / "postgres.new")
            initdb.suspend()
            if (home / "postgres.new").exists():
                return starter, initdb
            initdb.resume()
        starter.communicate()
        await remove_server(paths_in(home))
    raise AssertionError("initdb was always quicker")


@pytest.mark.parametrize("moment", ["postgres.new", "postgres.new/global/pg_control"])
async def test_a_starter_killed_while_it_makes_the_cluster_leaves_no_half_a_database(home: Path, moment: str) -> None:
    starter = start(home, ENSURE, start_new_session=True)
    wait_for(lambda: (home / moment).exists() or (home / "postgres").exists(), moment)
    starter.kill()
    starter.communicate()
    info = await ensure_server(paths_in(home), QUICK)
    connection = await asyncpg.connect(info.dsn)
    assert await connection.fetchval("select current_database()") == "quarterdeck"
    await connection.close()
    assert not (home / "postgres.new").exists()
    assert not _working_in(home / "postgres.new")


async def test_an_orphan_that_still_makes_a_cluster_holds_the_lock(home: Path) -> None:
    """Its folder must not be cleared away beneath it: a stopped initdb proves that the next caller waits."""
    starter, initdb = await _caught_at_work(home)
    mark = home / "postgres.new" / "mark"
    mark.touch()
    starter.kill()
    starter.communicate()
    task = asyncio.create_task(ensure_server(paths_in(home), QUICK))
    try:
        done, _ = await asyncio.wait([task], timeout=0.5)
        assert not done
        assert mark.exists()
    finally:
        initdb.resume()
    assert (await task).pid


async def test_a_starter_killed_before_the_server_is_ready_leaves_a_server_to_adopt(home: Path) -> None:
    paths = paths_in(home)
    await ensure_server(paths, QUICK)
    await stop_server(paths)
    starter = start(home, ENSURE)
    wait_for((home / "postgres" / "postmaster.pid").exists, "the server writes its pid file")
    starter.kill()
    starter.communicate()
    info = await ensure_server(paths)
    assert str(info.pid) == (home / "postgres" / "postmaster.pid").read_text().split("\n")[0]
    assert (paths.logs / "postgres.log").read_text().count("starting PostgreSQL") == 2


async def test_a_killed_server_starts_anew_with_all_that_was_committed_while_an_orphan_still_works(home: Path) -> None:
    paths = paths_in(home)
    info = await ensure_server(paths, {"fsync": "off"})
    busy, other = await asyncpg.connect(info.dsn), await asyncpg.connect(info.dsn)
    await other.execute("create table kept as select 42 as answer")
    orphan = busy.get_server_pid()
    endless = asyncio.create_task(busy.execute("select count(*) from generate_series(1, 1000000000000)"))
    while await other.fetchval("select state from pg_stat_activity where pid = $1", orphan) != "active":
        await asyncio.sleep(0.01)
    _kill(info.pid)
    assert server_status(paths) is None
    assert alive(orphan)
    again = await ensure_server(paths, {"fsync": "off"})
    assert again.pid != info.pid
    wait_for(lambda: not alive(orphan), "the orphan ends")
    with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        await endless
    for connection in (busy, other):
        connection.terminate()
    connection = await asyncpg.connect(again.dsn)
    assert await connection.fetchval("select answer from kept") == 42
    await connection.close()


async def test_a_stale_pid_file_that_names_another_program_harms_neither(home: Path) -> None:
    paths = paths_in(home)
    info = await ensure_server(paths, {"fsync": "off"})
    _kill(info.pid)
    looks_like_one = ["sh", "-c", "read line", "postgres", "-D", str(paths.state)]
    stranger = subprocess.Popen(looks_like_one, stdin=subprocess.PIPE, **find_place(paths).account.drop())
    try:
        for file in (paths.database / "postmaster.pid", *find_place(paths).sockets.glob(".*.lock")):
            lines = file.read_text().split("\n")
            with file.open("r+") as same:  # with its owner
                same.write("\n".join([str(stranger.pid), *lines[1:]]))
                same.truncate()
        assert server_status(paths) is None
        assert not await stop_server(paths)
        again = await ensure_server(paths, {"fsync": "off"})
        assert again.pid != stranger.pid
        assert await stop_server(paths)
        assert stranger.poll() is None
    finally:
        stranger.communicate()


async def test_rubbish_in_the_pid_file_is_no_server(home: Path) -> None:
    paths = paths_in(home)
    paths.database.mkdir()
    for rubbish in (b"", b"\xff\xfe\n", b"-1\n", b"0\n", b"1\n", b"99999999999999999999\n", str(os.getpid()).encode()):
        (paths.database / "postmaster.pid").write_bytes(rubbish)
        assert server_status(paths) is None
