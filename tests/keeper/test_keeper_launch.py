"""What a launched process finds, what the launcher keeps, and what a keeper weighs."""

import asyncio
import contextlib
import json
import os
import stat
import sys
from pathlib import Path

import pytest

from config.errors import ConflictError, UnavailableError
from core.keeper import client, tree, wire
from core.keeper.client import Limits
from tests.keeper.conftest import Crew, until


async def test_the_agent_finds_its_environment_and_nothing_else(crew: Crew) -> None:
    os.environ["NOT_FOR_AGENTS"] = "secret"
    leak = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leak, True)
    try:
        code = """
import json
print(json.dumps({'env': dict(os.environ), 'cwd': os.getcwd(),
 'files': sorted(map(int, os.listdir('/proc/self/fd')))[:-1],
 'session': os.getsid(0) == os.getpgid(0) == os.getpid()}))
"""
        kept = await crew.python(code)
    finally:
        del os.environ["NOT_FOR_AGENTS"]
        os.close(leak)
    await kept.end()
    found = json.loads(kept.out())
    found["env"].pop("LC_CTYPE", None)  # Python's own doing
    assert found["env"] == {**kept.spec.env, "QD_RUN_MARK": kept.spec.mark}
    assert found["cwd"] == str(crew.root)
    assert found["files"] == [0, 1, 2]
    assert found["session"] is True


async def test_the_agent_starts_with_the_default_signals(crew: Crew) -> None:
    kept = await crew.launch(crew.spec(["cat", "/proc/self/status"]))
    await kept.end()
    signals = [line.split() for line in kept.out().splitlines() if line.startswith((b"SigIgn", b"SigBlk", b"SigCgt"))]
    of_the_c_library = 0b11 << 31  # 32 and 33: no program can set them, so they stay as the caller had them
    assert [int(value, 16) & ~of_the_c_library for _, value in signals] == [0, 0, 0]


async def test_environments_of_any_bytes_arrive(crew: Crew) -> None:
    spec = crew.spec(["/bin/sh", "-c", 'printf %s "$ODD"'])
    odd = "ünï \n \udcff '\"\\"
    kept = await crew.launch(client.Spec(spec.argv, {**spec.env, "ODD": odd}, spec.cwd, spec.mark, spec.socket))
    await kept.end()
    assert kept.out() == os.fsencode(odd)


async def test_the_token_of_a_run_is_on_the_disk_no_longer_than_it_takes_to_read_it(crew: Crew) -> None:
    kept = await crew.shell("sleep 1000")
    assert not (kept.folder / "spec.json").exists()
    assert stat.S_IMODE(kept.folder.stat().st_mode) == 0o700
    for file in kept.folder.iterdir():
        assert kept.spec.mark.encode() not in file.read_bytes()
    assert b"PLACE" not in Path(f"/proc/{kept.keeper}/environ").read_bytes()


async def test_a_keeper_weighs_twelve_megabytes_at_most(crew: Crew) -> None:
    limits = Limits(wall_seconds=600, idle_seconds=600, memory_bytes=1 << 30)
    kept = await crew.python("os.write(1, b'x' * 5_000_000)\nsys.stdin.read()", stdin_open=True, limits=limits)
    await until(lambda: len(kept.out()) == 5_000_000)
    await client.send(kept.socket, 1, b"x" * 100_000)
    await client.pause(kept.socket)
    await client.resume(kept.socket)
    await client.status(kept.socket)
    status = Path(f"/proc/{kept.keeper}/status").read_text()
    assert int(status.partition("VmRSS:")[2].split()[0]) * 1024 <= 12_000_000


async def test_fifty_launches_leave_no_zombie_and_no_open_file(crew: Crew) -> None:
    files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    children = set(tree.descendants(os.getpid()))
    for _ in range(10):
        batch = await asyncio.gather(*(crew.shell("exit 3") for _ in range(5)))
        for kept in batch:
            assert (await kept.end()).exit_code == 3
    assert set(tree.descendants(os.getpid())) <= children
    await asyncio.sleep(0)
    assert len(os.listdir("/proc/self/fd")) <= files + 1  # noqa: PTH208  the selector's own


async def test_a_keeper_belongs_to_nobody(crew: Crew) -> None:
    kept = await crew.shell("sleep 1000")
    assert os.getsid(kept.keeper) != os.getsid(0)
    assert kept.keeper not in tree.descendants(os.getpid())
    assert (kept.folder / "keeper.lock").read_text() == f"{kept.keeper}\n"
    started = client.read_started(kept.folder)
    assert started is not None
    assert started.keeper_pid == kept.keeper


async def test_a_keeper_lives_as_long_as_it_holds_its_lock(crew: Crew) -> None:
    kept = await crew.shell("read x; exec 0<&- 1>&- 2>&-; sleep 0.2", stdin_open=True)
    assert client.alive(kept.folder)
    await client.close_stdin(kept.socket)
    await kept.end()
    assert not client.alive(kept.folder)
    assert not client.alive(crew.root / "nowhere")


async def test_a_folder_holds_one_run_ever(crew: Crew) -> None:
    kept = await crew.shell("read x", stdin_open=True)
    with pytest.raises(ConflictError, match="has held a run before"):
        await client.launch(kept.folder, kept.spec)
    await client.close_stdin(kept.socket)
    await kept.end()
    with pytest.raises(ConflictError, match="has held a run before"):
        await client.launch(kept.folder, kept.spec)


async def test_a_launch_that_is_cancelled_leaves_nothing_that_cannot_be_found(crew: Crew) -> None:
    for delay in (0, 0.003, 0.008, 0.012):
        spec = crew.spec(["sleep", "1000"])
        folder = crew.root / "the runs" / spec.mark
        launching = asyncio.create_task(client.launch(folder, spec))
        await asyncio.sleep(delay)
        launching.cancel()
        await asyncio.gather(launching, return_exceptions=True)
        assert not (folder / "spec.json").exists()
        while client.alive(folder):
            with contextlib.suppress(UnavailableError):
                await client.request(spec.socket, {"do": "kill"})
            await asyncio.sleep(0.01)
        assert await client.sweep(spec.mark, patience=0.2) == 0


async def test_a_keeper_can_be_started_by_hand_and_stays_in_the_foreground(crew: Crew) -> None:
    folder = crew.root / "by hand"
    folder.mkdir()
    spec = {
        "argv": ["sh", "-c", "read x; echo $x"],
        "env": {"PATH": "/bin:/usr/bin"},
        "cwd": str(crew.root),
        "mark": "by-hand",
        "socket": str(crew.root / "socket"),
        "stdin": "pipe",
        "limits": {"wall_seconds": 60, "idle_seconds": None, "output_bytes": None, "memory_bytes": None},
        "grace": {"interrupt_seconds": 1, "terminate_seconds": 1, "drain_seconds": 1},
        "opening": "",
        "close_stdin": False,
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    script = Path(client.__file__).with_name("keeper.py")
    process = await asyncio.create_subprocess_exec(sys.executable, "-I", "-S", str(script), str(folder))
    await until((folder / "started.json").exists)
    assert not (folder / "spec.json").exists()
    assert (folder / "keeper.lock").read_text() == f"{process.pid}\n"
    await client.send(crew.root / "socket", 1, b"hello\n")
    assert await process.wait() == 0
    ending = client.read_exit(folder)
    assert ending is not None
    assert ending.exit_code == 0
    assert (folder / "stdout.spool").read_bytes() == b"hello\n"


async def test_a_second_keeper_leaves_the_folder_of_the_first_alone(crew: Crew) -> None:
    kept = await crew.shell("sleep 1000")
    script = Path(client.__file__).with_name("keeper.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", str(script), str(kept.folder), stderr=asyncio.subprocess.PIPE
    )
    _, complaint = await process.communicate()
    assert (process.returncode, complaint) == (1, b"another keeper holds this folder\n")
    assert (await client.status(kept.socket))["state"] == "running"


@pytest.mark.parametrize(
    "value",
    [{}, {"a": None, "b": True, "c": -3, "d": 0.25, "e": {"f": ""}}, {'ü\n"\\\0\ud800': "\x1b[2J\u2028"}],
)
def test_the_keeper_speaks_json(value: dict[str, object]) -> None:
    assert json.loads(wire.encode(value)) == value
    assert wire.decode(json.dumps(value, indent=2).encode() + b"\r\n") == value


@pytest.mark.parametrize("text", [b"", b" ", b"{", b"{}{}", b"nul", b'"\n"', b"\xff", b"[1,]"])
def test_the_keeper_reads_nothing_but_json(text: bytes) -> None:
    with pytest.raises(ValueError):
        wire.decode(text)
