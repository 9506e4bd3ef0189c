"""The command line at its quickest: `qd --version` against a bare Python, `qd task list` with the engine up."""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

from bench.engine_world import engine_world
from bench.framework import Environment, Figure, at_most, in_turn, median_ratio

ROUNDS = 15


async def run(env: Environment) -> list[Figure]:
    """Whole processes, from the spawn to the end."""
    async with engine_world(env, "true", parallel=4) as world:
        await world.add(5, max_attempts=1)
        await world.idle()
        environ = {**os.environ, "QD_HOME": str(env.paths.state.parent), "QD_DATABASE_URL": world.dsn}

        def process(*arguments: str) -> Callable[[], Awaitable[float]]:
            async def timed() -> float:
                begun = time.perf_counter()
                child = await asyncio.create_subprocess_exec(
                    sys.executable, "-P", *arguments, env=environ, stdout=subprocess.DEVNULL
                )
                if await child.wait():
                    raise RuntimeError(f"{arguments} failed")
                return (time.perf_counter() - begun) * 1000

            return timed

        bare, version, listing = await in_turn(
            ROUNDS, process("-c", "pass"), process("-m", "core.faces.start", "--version"),
            process("-m", "core.faces.start", "task", "list"),
        )  # fmt: skip
    return [
        Figure("a bare Python", statistics.median(bare), "ms"),
        Figure("qd --version", statistics.median(version), "ms"),
        at_most("qd --version : a bare Python", median_ratio(version, bare), "×", 3),
        at_most("qd task list, engine up, p50", statistics.median(listing), "ms", 500),
    ]
