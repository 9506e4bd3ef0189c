"""How everything stands, for `qd status`: a few counts, each served by an index."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import asyncpg

from storage.queries.charges import usd


@dataclass(frozen=True, slots=True)
class EngineRow:
    """An engine as it last said of itself; ``alive``: its lease runs."""

    id: int
    name: str
    host: str
    pid: int
    version: str
    state: str
    wanted: str
    max_parallel: int
    started_at: datetime
    lease_until: datetime
    alive: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """Tasks and runs by status, open questions, and what was spent in two spans of time."""

    tasks: dict[str, int]
    runs: dict[str, int]
    questions: int
    today_usd: Decimal
    month_usd: Decimal
    today_basis: str | None
    month_basis: str | None


async def engines(connection: asyncpg.Connection, limit: int = 1000) -> list[EngineRow]:
    """All engines, the living first."""
    rows = await connection.fetch(
        """select id, name, host, pid, version, state, wanted, max_parallel, started_at, lease_until,
                  state in ('running', 'draining') and lease_until > clock_timestamp() as alive
             from engine order by alive desc, started_at desc limit $1""",
        limit,
    )
    return [EngineRow(**row) for row in rows]


async def engine_by_name(connection: asyncpg.Connection, name: str) -> EngineRow | None:
    """One engine."""
    row = await connection.fetchrow(
        """select id, name, host, pid, version, state, wanted, max_parallel, started_at, lease_until,
                  state in ('running', 'draining') and lease_until > clock_timestamp() as alive
             from engine where name = $1""",
        name,
    )
    return EngineRow(**row) if row else None


async def want(connection: asyncpg.Connection, engine: int, wanted: str) -> None:
    """Tell an engine what it is to do: run, stop, stop_runs."""
    await connection.execute("update engine set wanted = $2 where id = $1", engine, wanted)


async def task_counts(connection: asyncpg.Connection) -> dict[str, int]:
    """Tasks by status. Served by the index task_status."""
    rows = await connection.fetch("select status::text, count(*) as n from task group by status order by status")
    return {row["status"]: row["n"] for row in rows}


async def counts(connection: asyncpg.Connection, day: datetime, month: datetime) -> Counts:
    """The figures; ``day`` and ``month``: since when to add up what the ledger has as spent.

    Served by the indexes task_status, run_live, charge_at and question_open.
    """
    tasks = await task_counts(connection)
    runs = await connection.fetch("select status::text, count(*) as n from run group by status order by status")
    row = await connection.fetchrow(
        """select (select count(*) from question where status = 'open') as questions,
                  coalesce(sum(cost_micro) filter (where at >= $1), 0)::bigint as today,
                  coalesce(sum(cost_micro), 0)::bigint as month,
                  budget_weakest(array_agg(distinct basis) filter (where at >= $1 and cost_micro > 0)) as today_basis,
                  budget_weakest(array_agg(distinct basis) filter (where cost_micro > 0)) as month_basis
             from charge where status <> 'released' and at >= $2""",
        day,
        month,
    )
    return Counts(
        tasks,
        {row["status"]: row["n"] for row in runs},
        row["questions"],
        usd(row["today"]),
        usd(row["month"]),
        row["today_basis"],
        row["month_basis"],
    )


async def server_version(connection: asyncpg.Connection) -> str:
    """The version of the database server, as ``18.4``."""
    version: str = await connection.fetchval("show server_version")
    return version.split(maxsplit=1)[0]


async def vector_version(connection: asyncpg.Connection) -> str | None:
    """The version of pgvector that the server offers; None without it."""
    found: str | None = await connection.fetchval(
        "select coalesce(installed_version, default_version) from pg_available_extensions where name = 'vector'"
    )
    return found
