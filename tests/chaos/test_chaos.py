"""A crew at work while everything that can be killed is killed, at random. The long form: ``make chaos``."""

import asyncio
import os
import time
from pathlib import Path
from random import Random

import pytest

from tests.chaos.monkey import Monkey
from tests.chaos.plan import make_plan
from tests.chaos.scene import scene

TASKS = 200
LIMITS = {"ahab": 1, "bligh": 2, "cook": 3, "drake": 4}
WEIGHTS = {"engine": 3, "keeper": 4, "agent": 4, "backend": 2}
SETTINGS = {
    "engine.max_rescues": 1000,
    "engine.lease_seconds": 3,
    "engine.retry_seconds": 0.05,
    "run.interrupt_seconds": 0.5,
    "run.terminate_seconds": 0.5,
}


async def _work_under_fire(seed: int, *, kills: int, pause: float, patience: float, keep: Path) -> None:
    random = Random(seed)
    plan = make_plan(random, TASKS, list(LIMITS))
    async with scene(keep) as site:
        await site.populate(plan, LIMITS, SETTINGS)
        began = time.monotonic()
        for host in site.hosts:
            host.home.mkdir(exist_ok=True)
            await site.start(host)
        monkey = Monkey(site, random, pause, WEIGHTS, long_death=4.0)
        try:
            async with asyncio.timeout(patience):
                await monkey.run(kills)
                fired = time.monotonic() - began
                await site.all_over()
                over = time.monotonic() - began
                await site.all_clear()
                print(f"fired {fired:.0f} over {over:.0f} clear {time.monotonic() - began:.0f} {monkey.killed}")
                site.engines_live()
        except TimeoutError:
            left = await site.fetch(
                "select number, status::text, wait::text, not_before, attempts, failures, rescues from task where status not in ('completed', 'failed', 'cancelled')"
            )
            raise AssertionError(
                f"not done within {patience} s; killed {dict(monkey.killed)}\n{site._left_behind()}\n"
                + "\n".join(str(dict(row)) for row in left[:20])
                + f"\n{site.logs()}"
            ) from None
        await site.prove(plan)


@pytest.mark.slow
async def test_two_engines_lose_nothing_while_everything_is_killed(tmp_path: Path) -> None:
    await _work_under_fire(
        int(os.environ.get("SEED", "7")),
        kills=int(os.environ.get("KILLS", "40")),
        pause=0.8,
        patience=170,
        keep=tmp_path,
    )
