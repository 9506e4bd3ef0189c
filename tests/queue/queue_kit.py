"""Builders for the tests of the queue: a small world of projects, agents and an engine, and ways to break the queue."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg

from storage.queries import queue
from storage.queries.queue import Claimed

HOUR = timedelta(hours=1)


@asynccontextmanager
async def connected(dsn: str, role: str = "engine", actor: str = "engine test") -> AsyncIterator[asyncpg.Connection]:
    """A connection bound to a role and an actor, as the engine's pool binds its own. ``owner``: whoever migrates."""
    settings = {} if role == "owner" else {"role": f"qd_{role}", "qd.actor": actor}
    connection = await asyncpg.connect(dsn, server_settings={"jit": "off", **settings})
    try:
        yield connection
    finally:
        await connection.close(timeout=5)


@dataclass(slots=True)
class World:
    """One database, seen through a connection of the engine and one of its owner."""

    dsn: str
    engine: asyncpg.Connection
    owner: asyncpg.Connection

    async def project(self, name: str = "p", limit: int = 10, agent: str | None = None) -> str:
        """Register a project that may run ``limit`` tasks at once."""
        await self.owner.execute(
            "insert into project (id, name, repo, path, agent) values ($1, $1, 'here', '/nowhere', $2)", name, agent
        )
        await self.owner.execute("insert into load (project, max_parallel) values ($1, $2)", name, limit)
        return name

    async def agent(self, name: str = "a", limit: int | None = None) -> str:
        """Register an agent that does at most ``limit`` things at once."""
        await self.owner.execute(
            "insert into agent (name, adapter, max_parallel) values ($1, 'command', $2)", name, limit
        )
        return name

    async def register(self, name: str = "e", lease: timedelta = HOUR) -> int:
        """Announce an engine."""
        return await queue.register(
            self.engine, name=name, host="here", pid=1, version="1", max_parallel=8, lease=lease
        )

    async def add(self, project: str = "p", **fields: Any) -> int:
        """Add a task; its number."""
        [number] = await add(self.engine, [{"project": project, "title": "work", **fields}])
        return number

    async def claim(self, engine: int, most: int = 1, agents: Sequence[str] = ("a",)) -> list[Claimed]:
        """Claim on the engine's connection."""
        return await queue.claim(self.engine, engine, most, agents)

    async def task(self, number: int) -> asyncpg.Record:
        """The row of a task, with its reason."""
        row = await self.owner.fetchrow(
            "select t.*, reason, feedback, cron from task t join task_body b on b.task = t.number where number = $1",
            number,
        )
        assert row is not None
        return row

    async def status(self, number: int) -> str:
        """The status of a task."""
        return str((await self.task(number))["status"])

    async def make_due(self, *numbers: int) -> None:
        """Let the time come that these tasks wait for."""
        await self.owner.execute(
            "update task set not_before = clock_timestamp() - interval '1 s' where number = any($1)", list(numbers)
        )

    async def age(self, *numbers: int) -> None:
        """Make these claims older than the time within which a reply may be on its way."""
        await self.owner.execute(
            "update task set claimed_at = claimed_at - interval '1 minute' where number = any($1)", list(numbers)
        )

    async def end_lease(self, engine: int) -> None:
        """Let the lease of an engine run out."""
        await self.owner.execute("update engine set lease_until = now() - interval '1 s' where id = $1", engine)

    async def rescue_all(self, max_rescues: int = 3) -> int:
        """Rescue until there is nothing to rescue."""
        total = 0
        while count := await queue.rescue(self.engine, max_rescues):
            total += count
        return total

    async def wrong(self) -> dict[str, int]:
        """What the check of the books complains about."""
        return {what: n for what, n in (await queue.reconcile(self.owner)).items() if n}


@asynccontextmanager
async def world(dsn: str) -> AsyncIterator[World]:
    """A world with one agent ``a`` of no limit."""
    async with connected(dsn) as engine, connected(dsn, "owner") as owner:
        made = World(dsn, engine, owner)
        await made.agent()
        yield made


async def add(connection: asyncpg.Connection, tasks: Sequence[dict[str, Any]]) -> list[int]:
    """Add tasks in one statement; their numbers, in order."""
    rows = await connection.fetch("select number from task_add($1::text::jsonb)", json.dumps(tasks, default=str))
    return [row["number"] for row in rows]


async def break_function(owner: asyncpg.Connection, name: str, old: str, new: str) -> None:
    """Replace a piece of a function of the database: a mutant that the tests must catch."""
    source = await owner.fetchval("select pg_get_functiondef($1::regproc)", name)
    assert old in source, f"{name} does not hold {old!r} any more: the mutant needs a new place"
    await owner.execute(source.replace(old, new))
