"""However a run ends, all of its processes end with it, and how it ended is told truthfully."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from config.errors import UnavailableError
from core.keeper import client
from core.keeper.client import Grace, Limits
from tests.keeper.conftest import PYTHON, Crew, lives, until

LONG = Grace(interrupt_seconds=60, terminate_seconds=60, drain_seconds=60)
DEAF = "for s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)\n"
ESCAPE = "if os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n"


async def test_an_exit_code_is_recorded(crew: Crew) -> None:
    kept = await crew.shell("exit 7")
    ending = await kept.end()
    assert (ending.reason, ending.exit_code, ending.signal, ending.leftovers_killed) == ("exited", 7, None, 0)
    assert ending.started_at <= ending.ended_at
    assert ending.started_at.utcoffset() is not None


async def test_a_signal_is_recorded(crew: Crew) -> None:
    ending = await (await crew.shell("kill -SEGV $$")).end()
    assert (ending.reason, ending.exit_code, ending.signal) == ("signalled", None, signal.SIGSEGV)


async def test_the_work_of_orphans_is_counted_too(crew: Crew) -> None:
    busy = "t = time.process_time()\nwhile time.process_time() - t < 0.3: pass"
    kept = await crew.python("if os.fork(): os._exit(0)\n" + busy, grace=LONG)
    ending = await kept.end()
    assert ending.cpu_seconds >= 0.3
    assert ending.max_rss_bytes > 1_000_000
    assert ending.leftovers_killed == 0


@pytest.mark.parametrize(
    ("argv", "cwd", "words"),
    [
        (["no-such-program-at-all"], "/", ["no-such-program-at-all", "PATH"]),
        (["/no/such/program"], "/", ["/no/such/program", "No such file"]),
        (["/etc/passwd"], "/", ["/etc/passwd", "ermission denied"]),
        (["true"], "/no/such folder", ["/no/such folder", "No such file"]),
        (["tr\0ue"], "/", ["cannot be started"]),
        ([], "/", ["no program"]),
    ],
    ids=["not-on-path", "no-file", "not-executable", "no-folder", "nul", "nothing"],
)
async def test_what_cannot_be_started_says_why(crew: Crew, argv: list[str], cwd: str, words: list[str]) -> None:
    kept = await crew.launch(crew.spec(argv, cwd=Path(cwd)))
    ending = await kept.end()
    assert (ending.reason, ending.exit_code, ending.signal) == ("spawn_failed", None, None)
    assert all(word in ending.detail for word in words), ending.detail
    assert client.read_started(kept.folder) is None
    assert not (kept.folder / "spec.json").exists()


async def test_a_socket_that_cannot_be_made_is_told(crew: Crew) -> None:
    spec = crew.spec(["true"])
    spec.socket.mkdir(parents=True)
    kept = await crew.launch(spec)
    ending = await kept.end()
    assert ending.reason == "spawn_failed"
    assert "Address already in use" in ending.detail


async def test_a_stop_climbs_from_interrupt_over_terminate_to_kill(crew: Crew) -> None:
    code = """
for s in (signal.SIGINT, signal.SIGTERM):
    signal.signal(s, lambda n, _: say(signal.Signals(n).name, time.monotonic()))
say('ready')
while True: time.sleep(1000)
"""
    kept = await crew.python(code)
    await kept.says(b"ready")
    begun = time.monotonic()
    await client.stop(kept.socket, "enough", Grace(interrupt_seconds=1.2, terminate_seconds=1.2))
    ending = await kept.end()
    rows = [line.split() for line in kept.out().decode().splitlines()[1:]]
    assert [row[0] for row in rows] == ["SIGINT", "SIGTERM"]
    interrupted, terminated = (float(row[1]) - begun for row in rows)
    assert terminated - interrupted >= 0.6
    assert time.monotonic() - begun >= 2.4
    assert (ending.reason, ending.detail, ending.signal) == ("stopped", "enough", signal.SIGKILL)


async def test_an_agent_that_heeds_the_interrupt_is_given_its_time_and_no_more_signals(crew: Crew) -> None:
    code = """
signal.signal(signal.SIGTERM, lambda *_: say('terminated'))
try: say('ready'); time.sleep(1000)
except KeyboardInterrupt: time.sleep(0.5); say('tidied up'); sys.exit(4)
"""
    kept = await crew.python(code, grace=LONG)
    await kept.says(b"ready")
    await client.stop(kept.socket, "enough")
    ending = await kept.end()
    assert kept.out() == b"ready\ntidied up\n"
    assert (ending.reason, ending.exit_code) == ("stopped", 4)


async def test_terminate_reaches_the_whole_tree(crew: Crew) -> None:
    code = f"""
if not os.fork():
    {ESCAPE.replace(chr(10), chr(10) + "    ")}
    signal.signal(signal.SIGTERM, lambda *_: (say('child terminated'), os._exit(0)))
    say('child ready'); time.sleep(1000)
signal.signal(signal.SIGINT, signal.SIG_IGN)
time.sleep(1000)
"""
    kept = await crew.python(code, grace=Grace(0.2, 30, 1))
    await kept.says(b"child ready")
    await client.stop(kept.socket, "enough")
    ending = await kept.end()
    assert b"child terminated" in kept.out()
    assert ending.signal == signal.SIGTERM


async def test_a_second_stop_hurries(crew: Crew) -> None:
    kept = await crew.python(DEAF + "say('ready')\ntime.sleep(1000)", grace=LONG)
    await kept.says(b"ready")
    await client.stop(kept.socket, "please")
    assert (await client.status(kept.socket))["state"] == "interrupting"
    await client.stop(kept.socket, "now", Grace(0, 0, 0))
    ending = await kept.end()
    assert (ending.reason, ending.detail) == ("stopped", "please")


async def test_kill_needs_no_grace(crew: Crew) -> None:
    kept = await crew.python("os.fork()\n" + DEAF + "say('ready')\ntime.sleep(1000)", grace=LONG)
    await until(lambda: kept.out().count(b"ready") == 2)
    await client.kill(kept.socket, "out")
    ending = await kept.end()
    assert (ending.reason, ending.signal, ending.leftovers_killed) == ("stopped", signal.SIGKILL, 1)


async def test_a_keeper_that_is_terminated_stops_its_run(crew: Crew) -> None:
    kept = await crew.shell("sleep 1000")
    os.kill(kept.keeper, signal.SIGTERM)
    ending = await kept.end()
    assert (ending.reason, ending.detail) == ("stopped", "keeper terminated")
    assert not lives(kept.agent())


async def test_hangup_and_interrupt_do_not_reach_a_keeper(crew: Crew) -> None:
    kept = await crew.shell("sleep 1000")
    os.kill(kept.keeper, signal.SIGHUP)
    os.kill(kept.keeper, signal.SIGINT)
    assert (await client.status(kept.socket))["state"] == "running"


async def test_children_that_escape_in_every_way_are_ended(crew: Crew) -> None:
    escaped = """
if not os.fork():
    {escape}
    {deaf}
    say('up', os.getpid()); time.sleep(1000)
"""
    plain = escaped.format(escape="pass", deaf="pass")
    deaf = escaped.format(escape="pass", deaf=DEAF.replace("\n", ""))
    daemon = escaped.format(escape=ESCAPE.replace("\n", "\n    "), deaf="pass")
    deaf_daemon = escaped.format(escape=ESCAPE.replace("\n", "\n    "), deaf="\n    ".join(DEAF.splitlines()))
    stopped = escaped.format(escape="pass", deaf="say('up', os.getpid()); os.kill(os.getpid(), signal.SIGSTOP)")
    kept = await crew.python(plain + deaf + daemon + deaf_daemon + stopped + "sys.stdin.read()", stdin_open=True)
    await until(lambda: kept.out().count(b"up") == 5)
    pids = [int(line.split()[1]) for line in kept.out().splitlines()]
    await client.close_stdin(kept.socket)
    ending = await kept.end()
    assert not any(map(lives, pids))
    assert (ending.reason, ending.exit_code, ending.leftovers_killed) == ("exited", 0, 5)


async def test_a_child_that_scrubbed_its_environment_is_ended(crew: Crew) -> None:
    scrub = ESCAPE + DEAF + "os.execve('/bin/sh', ['sh', '-c', 'echo up $$; while :; do sleep 1; done'], {})"
    kept = await crew.python(
        f"if not os.fork():\n    {scrub.replace(chr(10), chr(10) + '    ')}\nsys.stdin.read()", stdin_open=True
    )
    await kept.says(b"up ")
    await until(lambda: kept.out().endswith(b"\n"))
    pid = int(kept.out().split()[1])
    assert pid not in client.marked(kept.spec.mark)
    await client.close_stdin(kept.socket)
    ending = await kept.end()
    assert not lives(pid)
    assert ending.leftovers_killed >= 1


@pytest.mark.parametrize(("deaf", "number"), [("", signal.SIGTERM), (DEAF, signal.SIGKILL)], ids=["heeds", "deaf"])
async def test_a_process_that_carries_the_mark_but_is_no_descendant_is_ended(
    crew: Crew, deaf: str, number: int
) -> None:
    kept = await crew.shell("read x", stdin_open=True)
    program = f"import signal, sys, time\n{deaf}open('up', 'w').close()\ntime.sleep(1000)"
    env = {"QD_RUN_MARK": kept.spec.mark}
    with subprocess.Popen([*PYTHON, program], env=env, cwd=crew.root) as stranger:
        await until((crew.root / "up").exists)
        await client.close_stdin(kept.socket)
        assert await asyncio.to_thread(stranger.wait, 30) == -number
    assert (await kept.end()).leftovers_killed == 1


async def test_what_is_left_may_end_by_itself_while_it_drains(crew: Crew) -> None:
    kept = await crew.shell("(trap 'echo killed' TERM; sleep 0.5; echo finished) & exit 0", grace=LONG)
    ending = await kept.end()
    assert (kept.out(), ending.leftovers_killed) == (b"finished\n", 0)


async def test_a_fork_bomb_is_defused(crew: Crew) -> None:
    code = (
        DEAF
        + """
until = time.monotonic() + 60
def hop():
    # The same in ever new processes, sessions and parents.
    while time.monotonic() < until:
        if os.fork(): os._exit(0)
        os.setsid()
        time.sleep(0.002)
for n in range(12):
    if os.fork() == 0: hop()
for n in range(40):
    if os.fork() == 0:
        os.fork()
        time.sleep(60); os._exit(0)
say('boom')
time.sleep(60)
"""
    )
    kept = await crew.python(code)
    await kept.says(b"boom")
    await client.stop(kept.socket, "stop it", Grace(0, 0, 0))
    ending = await kept.end(seconds=30)
    assert ending.reason == "stopped"
    assert ending.detail == "stop it"
    assert ending.leftovers_killed >= 80
    assert client.marked(kept.spec.mark) == []


async def test_the_agent_dies_with_a_keeper_that_is_killed_and_a_sweep_finds_the_rest(crew: Crew) -> None:
    escape = ESCAPE.replace("\n", "\n    ")
    deaf_daemon = f"    {escape}\n    {DEAF}    say('up', os.getpid()); time.sleep(1000)\n"
    kept = await crew.python(f"if not os.fork():\n{deaf_daemon}time.sleep(1000)")
    await until(lambda: kept.out().endswith(b"\n"))
    escaped = int(kept.out().split()[1])
    os.kill(kept.keeper, signal.SIGKILL)
    await until(lambda: not lives(kept.agent()))
    assert await client.wait(kept.folder, kept.socket) is None
    assert not client.alive(kept.folder)
    assert client.marks()[kept.spec.mark] == client.marked(kept.spec.mark) == [escaped]
    assert await client.sweep(kept.spec.mark, patience=0.2) == 1
    assert not lives(escaped)
    assert await client.sweep(kept.spec.mark) == 0


async def test_a_sweep_lets_those_who_heed_it_end_in_order(crew: Crew) -> None:
    program = """
import os, time, signal
signal.signal(signal.SIGTERM, lambda *_: (open('tidy', 'w').close(), os._exit(0)))
open('up', 'w').close()
time.sleep(1000)
"""
    mark = uuid.uuid4().hex
    with subprocess.Popen([*PYTHON, program], env={"QD_RUN_MARK": mark}, cwd=crew.root) as process:
        await until((crew.root / "up").exists)
        swept, code = await asyncio.gather(client.sweep(mark, patience=30), asyncio.to_thread(process.wait))
    assert (swept, code) == (1, 0)
    assert (crew.root / "tidy").exists()


async def test_a_run_goes_on_within_its_limits_when_its_launcher_is_killed(crew: Crew) -> None:
    spec = crew.spec(["/bin/sh", "-c", "while :; do echo tick; sleep 0.05; done"], limits=Limits(wall_seconds=1.5))
    folder = crew.root / "orphan"
    launcher = f"""
import asyncio, os
from pathlib import Path
from core.keeper.client import Grace, Limits, Spec, launch
asyncio.run(launch(Path({str(folder)!r}), Spec({list(spec.argv)!r}, {dict(spec.env)!r}, Path({str(spec.cwd)!r}),
    {spec.mark!r}, Path({str(spec.socket)!r}), Limits(wall_seconds=1.5), Grace(0.3, 0.3, 0.3))))
os.kill(os.getpid(), 9)
"""
    root = Path(client.__file__).parents[2]
    process = subprocess.run([sys.executable, "-c", launcher], cwd=root, start_new_session=True, check=False)
    assert process.returncode == -signal.SIGKILL
    assert client.alive(folder)
    async with asyncio.timeout(30):
        ending = await client.wait(folder, spec.socket)
    assert ending is not None
    assert ending.reason == "time_limit"
    assert (folder / "stdout.spool").read_bytes().count(b"tick") > 3
    assert client.marked(spec.mark) == []


async def test_the_exit_record_appears_whole_and_last(crew: Crew) -> None:
    kept = await crew.shell("read x", stdin_open=True)
    record = kept.folder / "exit.json"
    assert not record.exists()
    assert client.read_exit(kept.folder) is None
    await client.close_stdin(kept.socket)
    await until(record.exists)
    assert json.loads(record.read_bytes())["reason"] == "exited"
    ending = await kept.end()
    assert ending == client.read_exit(kept.folder)
    assert sorted(path.name for path in kept.folder.iterdir()) == [
        "exit.json", "keeper.lock", "keeper.log", "started.json", "stderr.spool", "stdout.spool",
    ]  # fmt: skip
    assert (kept.folder / "keeper.log").read_bytes() == b""


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"reason": "exited"}', b'{"reason": 3}'])
def test_a_damaged_exit_record_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "exit.json").write_bytes(content)
    assert client.read_exit(tmp_path) is None


async def test_a_keeper_that_cannot_work_is_reported_with_its_last_words(crew: Crew) -> None:
    spec = crew.spec(["true"])
    folder = crew.root / "the runs" / spec.mark
    (folder / "keeper.lock").mkdir(parents=True)
    with pytest.raises(UnavailableError, match="Is a directory"):
        await client.launch(folder, spec)
    assert not (folder / "spec.json").exists()
