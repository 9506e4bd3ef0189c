"""The ledger, as people look at it and add to it. Money is micro-dollars unless it says USD."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import asyncpg

from storage.queries.records import from_record


@dataclass(frozen=True, slots=True)
class ChargeRow:
    """One entry of the ledger."""

    id: UUID
    at: datetime
    service: str | None
    project: str | None
    task: int | None
    run: UUID | None
    agent: str | None
    model: str | None
    instead_of: str | None
    kind: str
    status: str
    basis: str | None
    reserved_micro: int
    cost_micro: int
    tokens_input: int
    tokens_cache_read: int
    tokens_cache_write_5m: int
    tokens_cache_write_1h: int
    tokens_output: int
    tokens_thinking: int
    note: str | None
    actor: str | None


_CHARGES = """
select c.id, c.at, c.service, c.project, c.task, r.id as run, c.agent, c.model, c.instead_of, c.kind, c.status, c.basis, c.reserved_micro, c.cost_micro,
       c.tokens_input, c.tokens_cache_read, c.tokens_cache_write_5m, c.tokens_cache_write_1h, c.tokens_output, c.tokens_thinking, c.note, c.actor
  from charge c left join run r on r.number = c.run
"""


async def list_charges(
    connection: asyncpg.Connection,
    *,
    service: str | None,
    project: str | None,
    task: int | None,
    since: datetime | None,
    limit: int,
) -> list[ChargeRow]:
    """The newest entries first. Indexes: charge_task with a task, charge_at else."""
    rows = await connection.fetch(
        _CHARGES
        + """ where ($1::text is null or c.service = $1) and ($2::text is null or c.project = $2) and ($3::bigint is null or c.task = $3)
               and ($4::timestamptz is null or c.at >= $4) order by c.at desc limit $5""",
        service,
        project,
        task,
        since,
        limit,
    )
    return [found for row in rows if (found := from_record(ChargeRow, row))]


async def find_charge(connection: asyncpg.Connection, charge: UUID) -> ChargeRow | None:
    """One entry."""
    return from_record(ChargeRow, await connection.fetchrow(_CHARGES + " where c.id = $1", charge))


async def manual_charge(
    connection: asyncpg.Connection,
    charge: UUID,
    service: str,
    project: str | None,
    task: int | None,
    micro: int,
    note: str | None,
    actor: str,
) -> tuple[str, str | None]:
    """Enter what was spent outside the gateway, at once settled: (outcome, key of the budget that refused).

    Accounts are opened first, whether or not they are there: to ask for the lock of the rules alone after a reserve has
    shared it would be a deadlock of two who do so.
    """
    await connection.execute("select budget_open($1, $2, $3, null)", service, project, task)
    row = await connection.fetchrow(
        """select outcome, key from budget_reserve($1, null, $2, null, null, 0, $3, 0, 0, 0, 1, false, p_kind => 'manual',
                  p_project => $4, p_task => $5, p_actor => $6)""",
        charge,
        service,
        micro,
        project,
        task,
        actor,
    )
    if row["outcome"] == "granted":
        await connection.execute(
            "select budget_settle($1, 'settled', 'measured', $2, p_note => $3)", charge, micro, note
        )
    return row["outcome"], row["key"]


@dataclass(frozen=True, slots=True)
class SumRow:
    """What was spent on one thing."""

    name: str | None
    calls: int
    cost_micro: int
    estimated_micro: int
    imputed_micro: int
    reserved_micro: int
    tokens_prompt: int
    tokens_output: int


_BY = {
    "service": "c.service",
    "project": "c.project",
    "task": "'#' || c.task",
    "agent": "c.agent",
    "model": "c.model",
    "day": "to_char(c.at at time zone 'UTC', 'YYYY-MM-DD')",
}


async def sum_charges(connection: asyncpg.Connection, by: str, since: datetime | None) -> list[SumRow]:
    """Sums by service, project, task, agent, model or day (UTC), the dearest first. Index: charge_at."""
    rows = await connection.fetch(
        f"""select {_BY[by]} as name, count(*) as calls, coalesce(sum(c.cost_micro), 0)::bigint as cost_micro,
                   coalesce(sum(c.cost_micro) filter (where c.basis = 'estimated'), 0)::bigint as estimated_micro,
                   coalesce(sum(c.cost_micro) filter (where c.basis = 'imputed'), 0)::bigint as imputed_micro,
                   coalesce(sum(c.reserved_micro) filter (where c.status = 'reserved'), 0)::bigint as reserved_micro,
                   coalesce(sum(c.tokens_input + c.tokens_cache_read + c.tokens_cache_write_5m + c.tokens_cache_write_1h), 0)::bigint as tokens_prompt,
                   coalesce(sum(c.tokens_output), 0)::bigint as tokens_output
              from charge c where c.status <> 'released' and ($1::timestamptz is null or c.at >= $1) group by 1 order by 3 desc, 1""",  # noqa: S608 - from our table
        since,
    )
    return [SumRow(**row) for row in rows]


def micro(usd: Decimal | float) -> int:
    """USD as micro-dollars."""
    return round(Decimal(str(usd)) * 1_000_000)


def usd(micro_dollars: int) -> Decimal:
    """Micro-dollars as USD."""
    return Decimal(micro_dollars) / 1_000_000
