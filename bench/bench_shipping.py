"""Events on their way from the agents' output to another process that listens: how many per second, and how late."""

import asyncio
import json
import shlex
import statistics
import subprocess
import sys
from typing import Any

from bench.engine_world import EngineWorld, engine_world
from bench.framework import Environment, Figure, at_least, at_most, percentile

ROUNDS = 5
LINES = 100_000
RUNS, EACH, PAUSE = 50, 200, 0.05
"""Fifty runs that print twenty lines a second each, for ten seconds."""

FAST = f"import sys; sys.stdin.readline(); sys.stdout.writelines(f'line {{n}} of a program that talks a lot\\n' for n in range({LINES}))"
STEADY = f"""
import os, sys, time
sys.stdin.readline()
time.sleep(os.getpid() % 50 / 1000)
for _ in range({EACH}):
    os.write(1, b'%d\\n' % time.monotonic_ns())
    time.sleep({PAUSE})
time.sleep(3600)
"""


async def run(env: Environment) -> list[Figure]:
    """All durable, with the settings that people get; agents, engine, server and listener share the machine."""
    rates = []
    async with engine_world(env, _python(FAST), parallel=1) as world:
        for _ in range(ROUNDS):
            report = await _flow(world, 1, LINES)
            rates.append((LINES - 1) / (report["last"] - report["first"]))
            await world.idle()
    async with engine_world(env, _python(STEADY), parallel=RUNS) as world:
        report = await _flow(world, RUNS, RUNS * EACH)
        await world.cancel_all()
    seconds = report["last"] - report["first"]
    return [
        at_least("events from spool to visible elsewhere, one run", statistics.median(rates), "/s", 20_000),
        Figure("events of 50 steady runs", RUNS * EACH / seconds, "/s"),
        Figure("their lag, p50", percentile(report["lags"], 50), "ms"),
        at_most("their lag, p99", percentile(report["lags"], 99), "ms", 150),
    ]


async def _flow(world: EngineWorld, runs: int, events: int) -> dict[str, Any]:
    """Start the agents, let them speak all at once, and have a process listen; its report."""
    before = await world.sql.fetchval("select coalesce(max(number), 0) from run")
    await world.add(runs, max_attempts=1)
    await world.until(
        lambda: world.sql.fetchval(
            "select count(*) >= $2 from run where number > $1 and status = 'running'", before, runs
        )
    )
    listener = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "bench.listener", world.dsn, str(events), stdout=subprocess.PIPE, limit=1 << 26
    )
    assert listener.stdout
    await listener.stdout.readline()
    await world.sql.execute(
        """with told as (update run set inputs = 1 where number > $1 and status = 'running' returning number)
           insert into run_input (run, seq, kind, data, actor) select number, 1, 'message', '{"text": "go"}', 'bench' from told""",
        before,
    )
    await world.sql.execute("select pg_notify('qd', 'run-input')")
    async with asyncio.timeout(180):
        report: dict[str, Any] = json.loads(await listener.stdout.readline())
    await listener.wait()
    return report


def _python(program: str) -> str:
    return shlex.join([sys.executable, "-I", "-S", "-c", program])
