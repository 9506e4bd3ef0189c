"""The embedded server: started once, found again, configured to be safe, stopped, refused in plain words."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import psutil
import pytest

from config.errors import UnavailableError
from config.paths import Paths
from storage.server import (
    ensure_server,
    postmaster,
    remove_server,
    server_dsn,
    server_status,
    socket_dir,
    stop_server,
)
from storage.server import server as server_module
from storage.server.binaries import Binaries, find_binaries
from storage.server.log import KEPT_BYTES, LIMIT_BYTES
from tests.postgres import QUICK, paths_in
from tests.storage.server_process import ENSURE, alive, run, start, wait_for


async def _value(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def _tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


async def test_a_server_with_vectors_starts_on_first_use(home: Path) -> None:
    paths = paths_in(home)
    info = await ensure_server(paths, QUICK)
    assert info.dsn == server_dsn(paths)
    assert info.version.startswith("18.")
    assert await _value(info.dsn, "show server_version") == info.version
    assert await _value(info.dsn, "select current_database() || '/' || current_user") == "quarterdeck/quarterdeck"
    await _value(info.dsn, "create extension vector")
    assert await _value(info.dsn, "select '[0,3]'::vector <-> '[4,0]'::vector") == 5
    assert await _value(info.dsn, "select upper('é') || getdatabaseencoding()") == "ÉUTF8"


async def test_it_is_durable_quiet_and_closed_to_the_network(home: Path) -> None:
    info = await ensure_server(paths_in(home), {"work_mem": "5MB"})
    connection = await asyncpg.connect(info.dsn)
    settings = dict(await connection.fetch("select name, current_setting(name) from pg_settings"))
    rules = await connection.fetch("select type, auth_method, error from pg_hba_file_rules")
    await connection.close()
    expected = {
        "listen_addresses": "",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "data_checksums": "on",
        "shared_buffers": "128MB",
        "max_connections": "200",
        "max_wal_size": "512MB",
        "jit": "off",
        "TimeZone": "UTC",
        "idle_in_transaction_session_timeout": "1min",
        "work_mem": "5MB",
    }
    assert {name: settings[name] for name in expected} == expected
    assert [tuple(rule) for rule in rules] == [("local", "peer", None)]
    assert socket_dir(paths_in(home)).stat().st_mode & 0o777 == 0o700
    assert not psutil.Process(info.pid).net_connections("tcp")


async def test_a_running_server_is_adopted_without_starting_anything(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = paths_in(home)
    started = await ensure_server(paths, QUICK)

    def refuse(*program: object, **how: object) -> None:
        raise AssertionError(f"{program} was started")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert await ensure_server(paths) == started
    assert server_status(paths) == started


async def test_stopping_ends_connections_and_tells_whether_there_was_a_server(home: Path) -> None:
    paths = paths_in(home)
    assert not await stop_server(paths)
    assert server_status(paths) is None
    assert not list(home.glob("postgres*"))
    first = await ensure_server(paths, QUICK)
    connection = await asyncpg.connect(first.dsn)
    await connection.execute("create table kept as select 42 as answer")
    assert await stop_server(paths)
    assert not await stop_server(paths)
    assert server_status(paths) is None
    wait_for(lambda: not alive(first.pid), "the server is gone")  # it has no command any more a moment before it ends
    connection.terminate()
    second = await ensure_server(paths)
    assert second.pid != first.pid
    assert await _value(second.dsn, "select answer from kept") == 42


@pytest.mark.parametrize("killed", [False, True])
async def test_removing_leaves_nothing_of_server_and_data(home: Path, killed: bool) -> None:
    paths = paths_in(home)
    info = await ensure_server(paths, QUICK)
    sockets = socket_dir(paths)
    if killed:
        os.kill(info.pid, signal.SIGKILL)
    await remove_server(paths)
    wait_for(lambda: not alive(info.pid), "the server is gone")
    assert not list(home.glob("postgres*"))
    assert not sockets.exists()
    await remove_server(paths)


def test_many_processes_at_once_start_one_server(home: Path) -> None:
    starters = [start(home, ENSURE) for _ in range(8)]
    outputs = {starter.communicate(timeout=120)[0] for starter in starters}
    assert len(outputs) == 1
    assert "UNAVAILABLE" not in outputs.pop()
    log = (home / "state" / "logs" / "postgres.log").read_text()
    assert log.count("starting PostgreSQL") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the server through /proc")
def test_the_server_is_free_of_its_starter(home: Path) -> None:
    with (home / "inherited").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        pid = int(run(home, ENSURE, secret="hunter2", pass_fds=(file.fileno(),))[0])
    process = psutil.Process(pid)
    folder = Path(f"/proc/{pid}")
    assert process.is_running()
    assert os.getsid(pid) != os.getsid(0)
    assert process.terminal() is None
    assert (folder / "fd" / "0").readlink() == Path("/dev/null")
    assert (folder / "fd" / "1").readlink() == home / "state" / "logs" / "postgres.log"
    files = {str((folder / "fd" / name).readlink()) for name in os.listdir(folder / "fd")}  # noqa: PTH208
    assert not files & {str(home / "inherited"), str(home / "postgres.lock")}
    assert "hunter2" not in str(process.environ())
    assert "HOME" not in process.environ()


async def test_a_cluster_of_another_major_version_is_refused_and_not_touched(home: Path) -> None:
    paths = paths_in(home)
    await ensure_server(paths, QUICK)
    await stop_server(paths)
    (paths.database / "PG_VERSION").write_text("17\n")
    before = _tree(paths.database)
    with pytest.raises(UnavailableError) as caught:
        await ensure_server(paths)
    sentence = caught.value.sentence()
    assert "Postgres 17" in sentence
    assert find_binaries().version in sentence
    assert "QD_DATABASE_URL" in sentence
    assert _tree(paths.database) == before


async def test_a_minor_upgrade_waits_for_the_next_start(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = paths_in(home)
    new = find_binaries()
    monkeypatch.setattr(server_module, "find_binaries", lambda: Binaries(new.root, "18.0"))
    old = await ensure_server(paths, QUICK)
    monkeypatch.undo()
    assert await ensure_server(paths) == old
    assert old.version == "18.0"
    await stop_server(paths)
    assert (await ensure_server(paths, QUICK)).version == new.version


async def test_a_folder_with_other_things_in_it_is_left_alone(home: Path) -> None:
    paths = paths_in(home)
    paths.database.mkdir()
    (paths.database / "letters").write_text("mine")
    with pytest.raises(UnavailableError, match="holds other things"):
        await ensure_server(paths)
    assert (paths.database / "letters").read_text() == "mine"


async def test_a_failed_start_quotes_the_last_words_of_the_log(home: Path) -> None:
    paths = paths_in(home)
    with pytest.raises(UnavailableError) as caught:
        await ensure_server(paths, {**QUICK, "shared_buffers": "a lot"})
    assert "shared_buffers" in caught.value.message or "FATAL" in caught.value.message
    assert str(paths.logs / "postgres.log") in caught.value.message
    assert "\n" not in caught.value.sentence()
    assert server_status(paths) is None
    assert (await ensure_server(paths, QUICK)).pid


async def test_missing_binaries_are_said_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.server.binaries.PACKAGE", "no_such_package_anywhere")
    with pytest.raises(UnavailableError, match="not installed here") as caught:
        await ensure_server(paths_in(home))
    assert "QD_DATABASE_URL" in caught.value.hint


async def test_broken_binaries_are_said_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "bin").mkdir()
    (home / "bin" / "initdb").write_text("#!/no/such/loader\n")
    (home / "bin" / "initdb").chmod(0o755)
    broken = Binaries(home, "18.4")
    monkeypatch.setattr(server_module, "find_binaries", lambda: broken)
    monkeypatch.setattr(server_module, "reachable", lambda *_: broken)
    with pytest.raises(UnavailableError, match="No such file") as caught:
        await ensure_server(paths_in(home))
    assert "QD_DATABASE_URL" in caught.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a small disk")
async def test_a_full_disk_is_said_so_and_what_was_begun_is_cleared_away_later(home: Path) -> None:
    disk = home / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "none", disk]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    base = paths_in(home)
    paths = Paths(base.config, base.state, disk / "postgres")
    try:
        with pytest.raises(UnavailableError, match="No space left on device") as caught:
            await ensure_server(paths, QUICK)
        assert f"make room on the disk of {disk}" in caught.value.hint
        subprocess.run(["mount", "-o", "remount,size=400m", disk], check=True)
        assert (await ensure_server(paths, QUICK)).pid
        assert sorted(path.name for path in disk.iterdir()) == ["postgres", "postgres.lock"]
    finally:
        await remove_server(paths)
        subprocess.run(["umount", disk], check=True)


async def test_a_log_that_has_grown_is_cut_while_the_server_writes_on(home: Path) -> None:
    paths = paths_in(home)
    info = await ensure_server(paths, QUICK)
    log = paths.logs / "postgres.log"
    with log.open("ab") as file:
        file.write(b"x" * LIMIT_BYTES)
    assert await ensure_server(paths) == info
    assert log.stat().st_size == 0
    assert log.with_name("postgres.log.1").stat().st_size == KEPT_BYTES
    await _value(info.dsn, "select pg_reload_conf()")
    wait_for(lambda: "SIGHUP" in log.read_text(), "the server writes to the cut log")


async def test_nothing_is_pending_when_waiting_is_cancelled(home: Path) -> None:
    paths = paths_in(home)
    task = asyncio.create_task(ensure_server(paths, QUICK))
    while not paths.database.with_name("postgres.new").exists():
        await asyncio.sleep(postmaster.POLL)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await ensure_server(paths, QUICK)).pid
