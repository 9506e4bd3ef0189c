"""Queues to measure: projects, agents, an engine and many tasks, made as quickly as the database can."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

PROJECTS = 50
AGENTS = ("free", "limited")


@asynccontextmanager
async def engine_connection(dsn: str, role: str | None = "qd_engine") -> AsyncIterator[asyncpg.Connection]:
    """A connection as the engine has it; ``role`` None: the owner's."""
    settings = {"jit": "off"} | ({"role": role, "qd.actor": "bench"} if role else {})
    connection = await asyncpg.connect(dsn, server_settings=settings)
    try:
        yield connection
    finally:
        await connection.close()


async def make_world(owner: asyncpg.Connection) -> int:
    """Fifty projects that run four tasks at once, an agent without a limit and one of eight, and an engine; its id."""
    await owner.execute(
        f"""
        insert into project (id, name, repo, path)
        select 'p' || n, 'a project', 'here', '/nowhere' from generate_series(0, {PROJECTS - 1}) n;
        insert into load (project, max_parallel) select id, 4 from project;
        insert into agent (name, adapter, max_parallel) values ('free', 'command', null), ('limited', 'command', 8)
        """
    )
    engine: int = await owner.fetchval("select engine_register('e', 'here', 1, '1', 8, interval '1 day')")
    return engine


def work(number: int, **fields: Any) -> dict[str, Any]:
    """A task like those of people: every fifth names the agent with a limit."""
    return {
        "project": f"p{number % PROJECTS}",
        "title": f"Mend the parser of the configuration, part {number}",
        "description": "It fails on an empty section. Keep the order of the keys, and add a test for it. " * 3,
        "priority": 1 + (number // 7) % 5,
        "agent": "limited" if number % 5 == 0 else "",
        **fields,
    }


async def add(connection: asyncpg.Connection, tasks: Sequence[dict[str, Any]]) -> list[int]:
    """Add tasks in one statement; their numbers."""
    return [
        row["number"] for row in await connection.fetch("select number from task_add($1::jsonb)", json.dumps(tasks))
    ]


async def add_graph(connection: asyncpg.Connection, count: int) -> None:
    """Add tasks of which every tenth waits for an earlier one."""
    earlier: list[int] = []
    while len(earlier) < count:
        batch = [
            work(n, after=[earlier[n * 7919 % len(earlier)]] if earlier and n % 10 == 0 else [])
            for n in range(len(earlier), len(earlier) + 1000)
        ]
        earlier += await add(connection, batch)


async def fill(owner: asyncpg.Connection, count: int) -> None:
    """Make ``count`` ready tasks past the triggers, that a million does not take minutes."""
    async with owner.transaction():
        await owner.execute("set local session_replication_role = replica")
        await owner.execute(
            f"""
            with made as (
              insert into task (project, agent, priority, status, max_attempts)
              select 'p' || n % {PROJECTS}, '', 1 + (n / 7) % 5, 'pending', 30000 from generate_series(1, $1) n
              returning number)
            insert into task_body (task, title) select number, 'Mend the parser of the configuration' from made
            """,
            count,
        )
    await owner.execute(
        "select task_touch(project, agent, max(priority)) from task where status = 'pending' group by project, agent"
    )
    await owner.execute("vacuum analyze")
