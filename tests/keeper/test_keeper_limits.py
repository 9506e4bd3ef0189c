"""The keeper alone holds the limits of a run; a pause stops the clock."""

import asyncio
import sys
import time
from pathlib import Path

import pytest

from config.errors import ConflictError
from core.keeper import client
from core.keeper.client import Limits
from core.keeper.tree import is_stopped
from tests.keeper.conftest import Crew, lives, until

TICK = "n = 0\nwhile True:\n    n += 1; say(n); time.sleep(0.02)"


async def test_a_run_ends_at_its_time_limit(crew: Crew) -> None:
    kept = await crew.python(TICK, limits=Limits(wall_seconds=0.5, idle_seconds=300))
    ending = await kept.end()
    assert ending.reason == "time_limit"
    assert "0.5 s" in ending.detail
    assert (ending.ended_at - ending.started_at).total_seconds() >= 0.5
    assert not lives(kept.agent())


async def test_a_run_that_says_nothing_ends_at_its_idle_limit(crew: Crew) -> None:
    kept = await crew.python("say('hello')\ntime.sleep(1000)", limits=Limits(idle_seconds=0.5, wall_seconds=300))
    assert (await kept.end()).reason == "idle_limit"
    assert kept.out() == b"hello\n"


async def test_output_of_either_kind_keeps_a_run_from_being_idle(crew: Crew) -> None:
    code = "for n in range(20): os.write(1 + n % 2, b'.'); time.sleep(0.1)"
    kept = await crew.python(code, limits=Limits(idle_seconds=1.5))
    assert (await kept.end()).reason == "exited"


async def test_an_agent_that_was_spoken_to_gets_its_idle_time_anew(crew: Crew) -> None:
    kept = await crew.shell("sleep 1000", stdin_open=True, limits=Limits(idle_seconds=1.5))
    for seq in range(1, 10):
        await client.send(kept.socket, seq, b"still there?\n")
        await asyncio.sleep(0.2)
    assert client.alive(kept.folder)
    assert (await kept.end()).reason == "idle_limit"


async def test_a_tree_that_eats_memory_is_killed(crew: Crew) -> None:
    code = """
if os.fork():
    os.wait()
hog = b'x' * 60_000_000
time.sleep(1000)
"""
    kept = await crew.python(code.replace("    os.wait()\n", "    pass\n"), limits=Limits(memory_bytes=100_000_000))
    ending = await kept.end()
    assert ending.reason == "memory_limit"  # each alone is within it
    assert ending.signal == 9
    assert ending.max_rss_bytes > 100_000_000


async def test_memory_that_processes_share_counts_once(crew: Crew) -> None:
    code = """
hog = b'x' * 60_000_000
for _ in range(4):
    if not os.fork(): time.sleep(1000)
say('ready')
time.sleep(1000)
"""
    kept = await crew.python(code, limits=Limits(memory_bytes=150_000_000))
    await kept.says(b"ready")
    await asyncio.sleep(2.5)  # one look at the memory at least
    assert (await client.status(kept.socket))["state"] == "running"


async def test_a_paused_run_stands_still_with_all_its_children_and_goes_on(crew: Crew) -> None:
    code = "import subprocess\nsubprocess.Popen(['setsid', 'sleep', '1000'])\n" + TICK
    prelude = "import os, sys, time\ndef say(*a): print(*a, flush=True)\n"
    kept = await crew.launch(crew.spec([sys.executable, "-I", "-c", prelude + code]))
    await kept.says(b"2\n")
    await until(lambda: len(client.marked(kept.spec.mark)) == 2)
    await client.pause(kept.socket)
    assert (await client.status(kept.socket))["paused"] is True
    await until(lambda: all(map(is_stopped, client.marked(kept.spec.mark))))
    size = (await client.status(kept.socket))["out_bytes"]
    await asyncio.sleep(0.3)
    assert (await client.status(kept.socket))["out_bytes"] == size
    await client.resume(kept.socket)
    await until(lambda: len(kept.out()) > size + 20)
    assert not any(map(is_stopped, client.marked(kept.spec.mark)))


async def test_a_process_that_was_stopped_before_the_pause_stays_stopped_after_it(crew: Crew) -> None:
    kept = await crew.shell("sleep 1000 & kill -STOP $!; echo $!; " + "while :; do echo; sleep 0.05; done")
    await until(lambda: kept.out().count(b"\n") > 2)
    sleeper = int(kept.out().split()[0])
    await client.pause(kept.socket)
    await client.resume(kept.socket)
    await until(lambda: not is_stopped(kept.agent()))
    assert is_stopped(sleeper)


async def test_time_in_pause_does_not_count(crew: Crew) -> None:
    kept = await crew.python(TICK, limits=Limits(wall_seconds=1, idle_seconds=0.9))
    await kept.says(b"1\n")
    await client.pause(kept.socket)
    paused = time.monotonic()
    await asyncio.sleep(1.5)
    assert (await client.status(kept.socket))["state"] == "paused"
    await client.resume(kept.socket)
    paused = time.monotonic() - paused
    ending = await kept.end()
    assert ending.reason == "time_limit"
    assert (ending.ended_at - ending.started_at).total_seconds() >= 1 + paused - 0.1


async def test_a_paused_run_can_be_stopped_with_grace(crew: Crew) -> None:
    code = "signal.signal(signal.SIGINT, lambda *_: (say('bye'), sys.exit(0)))\nsay('ready')\ntime.sleep(1000)"
    kept = await crew.python(code, grace=client.Grace(30, 30, 1))
    await kept.says(b"ready")
    await client.pause(kept.socket)
    await client.stop(kept.socket, "enough")
    ending = await kept.end()
    assert (ending.reason, ending.detail, ending.exit_code) == ("stopped", "enough", 0)
    assert kept.out() == b"ready\nbye\n"


async def test_a_run_that_is_being_ended_cannot_be_paused(crew: Crew) -> None:
    kept = await crew.python(
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\nsay('ready')\ntime.sleep(1000)", grace=client.Grace(30, 1, 1)
    )
    await kept.says(b"ready")
    await client.stop(kept.socket, "enough")
    with pytest.raises(ConflictError, match="being ended"):
        await client.pause(kept.socket)


async def test_a_run_without_limits_costs_next_to_nothing_while_it_sleeps(crew: Crew) -> None:
    limits = Limits(wall_seconds=600, idle_seconds=600, memory_bytes=1 << 30)
    kept = await crew.shell("sleep 1000", limits=limits)

    def switches() -> int:
        status = Path(f"/proc/{kept.keeper}/status").read_text()
        return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])

    before = switches()
    await asyncio.sleep(2.2)
    assert switches() - before < 20
