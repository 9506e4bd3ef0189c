"""Everything at once on the same few tasks: adds with parents, claims, ends, cancels, retries, deaths, timers."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import asyncpg
from queue_kit import HOUR, World, add, connected

from storage.queries import queue

REFUSED = {"QD404", "QD409"}
"""What the queue may rightly refuse: a parent that is unknown or has not succeeded."""


@dataclass(slots=True)
class Mix:
    """What a mix does, and what came of it."""

    operations: int
    lines: int = 12
    projects: int = 4
    seed: int = 1
    recent: list[int] = field(default_factory=list)
    """The newest tasks: everybody works on the same ones."""
    held: list[tuple[int, int]] = field(default_factory=list)
    left: int = 0
    faults: list[str] = field(default_factory=list)


async def run(world: World, mix: Mix) -> Mix:
    """Run it; deadlocks and whatever else went wrong are in ``faults``."""
    for n in range(mix.projects):
        await world.project(f"p{n}", limit=3)
    await world.agent("limited", 2)
    mix.left = mix.operations
    async with AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(connected(world.dsn)) for _ in range(mix.lines)]
        async with asyncio.TaskGroup() as group:
            for n, line in enumerate(lines):
                group.create_task(_line(world, line, mix, n, random.Random(mix.seed * 100 + n)))
    while await queue.rescue(world.engine, 3):
        pass
    mix.faults += [f"{what}: {n}" for what, n in (await world.wrong()).items()]
    return mix


async def _line(world: World, connection: asyncpg.Connection, mix: Mix, n: int, chance: random.Random) -> None:
    actor = _Actor(connection, mix, n, chance)
    deeds: list[tuple[Callable[[], Awaitable[object]], int]] = [
        (actor.add, 25),
        (actor.claim, 30),
        (actor.finish, 30),
        (actor.cancel, 4),
        (actor.retry, 5),
        (actor.approve, 5),
        (actor.die, 2),
        (actor.beat, 2),
        (actor.timers, 5),
    ]
    await actor.come_alive()
    while mix.left > 0:
        mix.left -= 1
        [deed] = chance.choices([deed for deed, _ in deeds], [weight for _, weight in deeds])
        try:
            await asyncio.wait_for(deed(), 30)
        except asyncpg.PostgresError as error:
            if error.sqlstate not in REFUSED:
                mix.faults.append(f"{deed.__name__}: {type(error).__name__}: {error}")


@dataclass(slots=True)
class _Actor:
    connection: asyncpg.Connection
    mix: Mix
    n: int
    chance: random.Random
    engine: int = 0

    async def come_alive(self) -> None:
        self.engine = await queue.register(
            self.connection, name=f"e{self.n % 4}", host="h", pid=1, version="1", max_parallel=4, lease=HOUR
        )

    async def add(self) -> None:
        tasks = []
        for _ in range(self.chance.choice((1, 1, 3))):
            count = min(len(self.mix.recent), self.chance.choice((0, 0, 1, 2, 3)))
            tasks.append(
                {
                    "project": f"p{self.chance.randrange(self.mix.projects)}",
                    "title": "work",
                    "priority": self.chance.randint(1, 5),
                    "agent": self.chance.choice(("", "", "a", "limited")),
                    "after": self.chance.sample(self.mix.recent, count),
                    "on_failure": self.chance.choice(("fail", "cancel")),
                }
            )
        self.mix.recent += await add(self.connection, tasks)
        del self.mix.recent[:-40]

    async def claim(self) -> None:
        claimed = await queue.claim(self.connection, self.engine, self.chance.choice((1, 3)), ["a", "limited"])
        self.mix.held += [(task.number, task.lease_token) for task in claimed]

    async def finish(self) -> None:
        if not self.mix.held:
            return
        number, token = self.mix.held.pop(self.chance.randrange(len(self.mix.held)))
        outcomes: tuple[queue.Outcome, ...] = ("completed", "retry", "failed", "cancelled", "review", "wait")
        [outcome] = self.chance.choices(outcomes, (75, 8, 5, 2, 5, 5))
        if self.chance.random() < 0.05:
            await queue.task_lost(self.connection, number, token, "its keeper died", 3)
        else:
            await queue.finish(self.connection, number, token, outcome)

    async def cancel(self) -> None:
        if self.mix.recent:
            await self.connection.fetchval("select task_cancel($1, 'unwanted')", self.chance.choice(self.mix.recent))

    async def retry(self) -> None:
        await self._move(["failed", "cancelled", "waiting"], "pending")

    async def approve(self) -> None:
        await self._move(["review"], "completed")

    async def _move(self, before: list[str], after: str) -> None:
        if self.mix.recent:
            await self.connection.fetchval(
                "select task_move($1, $2::text[]::task_status[], $3::text::task_status, p_fresh => true)::text",
                self.chance.choice(self.mix.recent),
                before,
                after,
            )

    async def die(self) -> None:
        await self.connection.execute(
            "update engine set lease_until = now() - interval '1 s' where id = $1", self.engine
        )
        while await queue.rescue(self.connection, 3):
            pass
        await self.come_alive()

    async def beat(self) -> None:
        await self._nudge("claimed_at = claimed_at - interval '1 minute'", _OLD_ENOUGH)
        await queue.heartbeat(self.connection, self.engine, HOUR, [])

    async def timers(self) -> None:
        await self._nudge("not_before = clock_timestamp()", "wait = 'time'")
        await queue.promote(self.connection)
        await queue.expire(self.connection)
        await queue.sweep(self.connection)

    async def _nudge(self, change: str, which: str) -> None:
        """Let time pass for some tasks, waiting for nobody."""
        await self.connection.execute(
            f"""update task set {change} where number = any(array(
                  select number from task where {which} and random() < 0.5 for no key update skip locked))"""
        )


_OLD_ENOUGH = "status = 'in_progress' and not exists (select 1 from task_after where child = number)"
"""A task with parents cannot be made to look as if it was claimed earlier: they ended before that."""
