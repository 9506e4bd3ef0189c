"""A crew at work while everything that can be killed is killed, at random. The long form: ``make chaos``."""

import asyncio
from pathlib import Path
from random import Random

import pytest

from tests.chaos.monkey import Monkey
from tests.chaos.plan import make_plan
from tests.chaos.scene import scene

TASKS = 200
LIMITS = {"ahab": 1, "bligh": 2, "cook": 3, "drake": 4}
"""The projects, and how many tasks each may have in progress."""
WEIGHTS = {"engine": 3, "keeper": 5, "agent": 4, "backend": 2}
SETTINGS = {
    "engine.max_rescues": 1000,
    "engine.lease_seconds": 3,
    "engine.retry_seconds": 0.05,
    "run.interrupt_seconds": 0.5,
    "run.terminate_seconds": 0.5,
}
LONG_DEATH = 5.0
"""Seconds: longer than a lease, so that the other engine takes over."""
PATIENCE = 400.0


async def _work_under_fire(seed: int, *, kills: int, pause: float, keep: Path) -> None:
    random = Random(seed)
    plan = make_plan(random, TASKS, list(LIMITS))
    async with scene(keep) as site:
        await site.populate(plan, LIMITS, SETTINGS)
        monkey = Monkey(site, random, pause, WEIGHTS, LONG_DEATH)
        for host in site.hosts:
            await site.start(host)
        try:
            async with asyncio.timeout(PATIENCE):
                await monkey.run(kills)
                await site.all_over()
                await site.all_clear()
        except TimeoutError:
            open_ = await site.fetch("select * from task where status not in ('completed', 'failed', 'cancelled')")
            raise AssertionError(
                f"not done within {PATIENCE} s; killed {dict(monkey.killed)}, left {site.left_behind()}, open "
                f"{[dict(row) for row in open_[:10]]}\n{site.logs()}"
            ) from None
        assert monkey.killed["postmaster"] == 1
        await site.prove(plan)


@pytest.mark.slow
@pytest.mark.timeout(500)
async def test_two_engines_lose_nothing_while_everything_is_killed(tmp_path: Path) -> None:
    await _work_under_fire(7, kills=30, pause=0.8, keep=tmp_path)


@pytest.mark.chaos
@pytest.mark.timeout(500)
@pytest.mark.parametrize("seed", range(1, 7))
async def test_two_engines_lose_nothing_under_heavy_fire(tmp_path: Path, seed: int) -> None:
    await _work_under_fire(seed, kills=120, pause=0.4, keep=tmp_path)
