"""Who can work. An agent with a limit has one row in ``agent_slot`` for each thing that it may do at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from storage.queries.records import from_record

_COLUMNS = """a.name, a.id, a.adapter, a.model, a.command, a.role, a.capabilities, a.enabled, a.max_parallel, a.env,
       a.api_key_hash is not null as has_key, a.last_seen, a.created_at, a.updated_at,
       (select count(*) from run r where r.agent = a.name and r.status in ('starting', 'running', 'verifying')) as running"""


@dataclass(frozen=True, slots=True)
class AgentRow:
    """An agent; ``running``: its runs that have not ended."""

    name: str
    id: UUID
    adapter: str
    model: str | None
    command: str | None
    role: str | None
    capabilities: tuple[str, ...]
    enabled: bool
    max_parallel: int | None
    env: Mapping[str, str]
    has_key: bool
    last_seen: datetime | None
    created_at: datetime
    updated_at: datetime
    running: int


async def list_agents(connection: asyncpg.Connection, limit: int = 1000) -> list[AgentRow]:
    """All agents by name."""
    rows = await connection.fetch(f"select {_COLUMNS} from agent a order by a.name limit $1", limit)  # noqa: S608
    return [found for row in rows if (found := from_record(AgentRow, row))]


async def find_agent(connection: asyncpg.Connection, name: str, *, lock: bool = False) -> AgentRow | None:
    """One agent; ``lock`` holds it until the end of the transaction."""
    if lock:
        await connection.execute("select 1 from agent where name = $1 for no key update", name)
    row = await connection.fetchrow(f"select {_COLUMNS} from agent a where a.name = $1", name)  # noqa: S608
    return from_record(AgentRow, row)


async def insert_agent(connection: asyncpg.Connection, name: str, columns: Mapping[str, Any]) -> bool:
    """Add an agent and its slots; False when the name is taken."""
    names = ["name", *columns]
    places = ", ".join(f"${position}" for position in range(1, len(names) + 1))
    status = await connection.execute(
        f"insert into agent ({', '.join(names)}) values ({places}) on conflict (name) do nothing",  # noqa: S608
        name,
        *columns.values(),
    )
    if status != "INSERT 0 1":
        return False
    await fit_slots(connection, name)
    return True


async def update_agent(connection: asyncpg.Connection, name: str, columns: Mapping[str, Any]) -> None:
    """Set columns, and fit the slots to the limit."""
    if columns:
        assignments = ", ".join(f"{column} = ${position}" for position, column in enumerate(columns, start=2))
        await connection.execute(
            f"update agent set {assignments}, updated_at = clock_timestamp() where name = $1",  # noqa: S608
            name,
            *columns.values(),
        )
    await fit_slots(connection, name)


async def fit_slots(connection: asyncpg.Connection, name: str) -> None:
    """One slot for each thing that the agent may do at once.

    A slot in use stays until its task ends; above the limit it is not filled again.
    """
    await connection.execute(
        """insert into agent_slot (agent, slot)
           select a.name, n from agent a, generate_series(1, a.max_parallel) n where a.name = $1
           on conflict (agent, slot) do nothing""",
        name,
    )
    # What the agent is at already takes up slots too: its tasks are held, so that none of them ends meanwhile.
    await connection.execute(
        """with busy as materialized (
             select t.number from task t join run r on r.task = t.number
              where r.agent = $1 and r.status in ('starting', 'running', 'verifying') and t.status = 'in_progress'
                and not exists (select 1 from agent_slot s where s.task = t.number)
              order by t.number for no key update of t),
           free as materialized (
             select slot from agent_slot where agent = $1 and task is null order by slot for no key update skip locked)
           update agent_slot s set task = b.number
             from (select number, row_number() over () as n from busy) b
             join (select slot, row_number() over () as n from free) f on f.n = b.n
            where s.agent = $1 and s.slot = f.slot""",
        name,
    )
    await connection.execute(
        """delete from agent_slot s using agent a
            where a.name = $1 and s.agent = a.name and s.task is null
              and (a.max_parallel is null or s.slot > a.max_parallel)""",
        name,
    )


async def delete_agent(connection: asyncpg.Connection, name: str) -> None:
    """Remove an agent with its slots."""
    await connection.execute("delete from agent where name = $1", name)


async def uses_of_agent(connection: asyncpg.Connection, name: str) -> tuple[int, int, int]:
    """What relies on an agent: open tasks that name it, runs of it that live, projects that name it."""
    row = await connection.fetchrow(
        """select (select count(*) from task t where t.agent = $1
                      and t.status in ('pending', 'blocked', 'waiting', 'in_progress', 'review')) as tasks,
                  (select count(*) from run r where r.agent = $1
                      and r.status in ('starting', 'running', 'verifying')) as runs,
                  (select count(*) from project p where p.agent = $1) as projects""",
        name,
    )
    return row["tasks"], row["runs"], row["projects"]


async def agent_names(connection: asyncpg.Connection) -> list[str]:
    """Every name, for suggestions."""
    return [row["name"] for row in await connection.fetch("select name from agent order by name limit 1000")]
