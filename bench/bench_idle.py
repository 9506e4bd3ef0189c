"""What an engine with a hundred sleeping agents weighs, and what it does while they sleep."""

import asyncio
import os
import statistics
from pathlib import Path

from bench.engine_world import engine_world
from bench.framework import Environment, Figure, at_most

RUNS = 100
SECONDS = 20
PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")


async def run(env: Environment) -> list[Figure]:
    """Resident memory as the kernel counts it, shared pages included; CPU as a share of one core. Linux alone."""
    async with engine_world(env, "sleep 3600", parallel=RUNS) as world:
        await world.add(RUNS)
        await world.running(RUNS)
        await asyncio.sleep(5)
        before = _cpu(world.engine.pid)
        await asyncio.sleep(SECONDS)
        percent = (_cpu(world.engine.pid) - before) / SECONDS * 100
        engine = _resident(world.engine.pid)
        keepers = [
            _resident(row["pid"]) for row in await world.sql.fetch("select pid from run where status = 'running'")
        ]
        await world.cancel_all()
    return [
        at_most(f"engine with {RUNS} sleeping runs, resident", engine, "MB", 150),
        at_most(f"engine with {RUNS} sleeping runs, CPU", percent, "%", 2),
        at_most("keeper, resident, the largest", max(keepers), "MB", 12),
        Figure("keeper, resident, median", statistics.median(keepers), "MB"),
    ]


def _resident(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK
