"""From `task add` on an idle system to the first instruction of the agent's program, against what git and the kernel take alone."""

import asyncio
import os
import shlex
import subprocess
import time
from pathlib import Path

from bench.engine_world import EngineWorld, engine_world
from bench.framework import Environment, Figure, at_most, in_turn, percentile

ROUNDS = 80


async def run(env: Environment) -> list[Figure]:
    """The program says its first word into a pipe with a name; who waits there looks at the clock."""
    pipe = env.paths.state / "first-word"
    os.mkfifo(pipe)
    program = ["sh", "-c", f"echo >{shlex.quote(str(pipe))}"]
    file = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        async with engine_world(env, shlex.join(program), parallel=4) as world:

            async def ours() -> float:
                await world.idle()
                begun = time.perf_counter()
                await world.add(max_attempts=1)
                return await _first_word(file) - begun

            async def bare() -> float:
                await world.idle()
                return await _bare(world, program, file)

            mine, plain = await in_turn(ROUNDS, ours, bare, warm=3)
    finally:
        os.close(file)
    ms = [[value * 1000 for value in side] for side in (mine, plain)]
    return [
        Figure("task add to first instruction, p50", percentile(ms[0], 50), "ms"),
        Figure("task add to first instruction, p99", percentile(ms[0], 99), "ms"),
        Figure("git worktree add and spawn alone, p50", percentile(ms[1], 50), "ms"),
        Figure("git worktree add and spawn alone, p99", percentile(ms[1], 99), "ms"),
        at_most("ours : alone, p50", percentile(ms[0], 50) / percentile(ms[1], 50), "×", 2.5),
        at_most("ours : alone, p99", percentile(ms[0], 99) / percentile(ms[1], 99), "×", 4),
    ]


async def _bare(world: EngineWorld, program: list[str], file: int) -> float:
    tree = Path(world.paths.state) / "bare-tree"
    begun = time.perf_counter()
    added = await asyncio.create_subprocess_exec(
        "git", "worktree", "add", "--quiet", "-b", "bare", str(tree), "main", cwd=world.repository
    )
    await added.wait()
    process = await asyncio.create_subprocess_exec(*program, cwd=tree, stdin=subprocess.DEVNULL, start_new_session=True)
    took = await _first_word(file) - begun
    await process.wait()
    for arguments in (("worktree", "remove", "--force", str(tree)), ("branch", "-D", "bare")):
        undone = await asyncio.create_subprocess_exec(
            "git", *arguments, cwd=world.repository, stdout=subprocess.DEVNULL
        )
        await undone.wait()
    return took


async def _first_word(file: int) -> float:
    """When it came."""
    loop, came = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(file, came.set)
    try:
        async with asyncio.timeout(60):
            await came.wait()
        now = time.perf_counter()
        os.read(file, 4096)
    finally:
        loop.remove_reader(file)
    return now
