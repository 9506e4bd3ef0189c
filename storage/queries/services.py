"""Services, budgets, charges and alerts, as people look at them and change them. Money is micro-dollars unless it says USD."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import asyncpg

from storage.queries.records import from_record

Scope = Literal["service", "project", "task", "agent", "day"]
Unit = Literal["usd", "tokens", "calls", "runs"]


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """A service with the present period of its budget in USD."""

    name: str
    id: UUID
    provider: str
    kind: str
    base_url: str | None
    key_env: str | None
    catalogue: str | None
    fallback: str | None
    models: tuple[str, ...]
    model_map: Mapping[str, str]
    prices: Mapping[str, Any]
    worst_price: Mapping[str, Any] | None
    suspended: bool
    suspended_reason: str | None
    exhausted: bool
    circuit: str
    open_until: datetime | None
    circuit_reason: str | None
    period: str | None
    hard: int | None
    spent: int
    reserved: int
    starts: datetime | None
    ends: datetime | None


_SERVICES = """
select s.name, s.id, s.provider, s.kind, s.base_url, s.key_env, s.catalogue, s.fallback, s.models, s.model_map, s.prices, s.worst_price,
       s.suspended, s.suspended_reason, coalesce(s.exhausted_until > clock_timestamp(), false) as exhausted,
       case when c.state = 'open' and c.open_until < clock_timestamp() then 'half_open' else coalesce(c.state, 'closed') end as circuit,
       c.open_until, c.reason as circuit_reason, b.period, coalesce(a.hard, b.hard) as hard, coalesce(a.spent, 0) as spent,
       coalesce(a.reserved, 0) as reserved, nullif(coalesce(a.starts, p.starts), '-infinity') as starts, nullif(coalesce(a.ends, p.ends), 'infinity') as ends
  from service s
  left join circuit c on c.service = s.name
  left join lateral (select * from budget b where b.scope = 'service' and b.key in (s.name, '*') and b.unit = 'usd'
                      order by b.key = '*', b.hard is null, b.period = 'month' desc limit 1) b on true
  left join account a on a.budget = b.id and a.key = s.name and a.starts <= clock_timestamp() and clock_timestamp() < a.ends
  left join lateral budget_period(b.period, b.zone, b.starts_on, clock_timestamp()) p on b.id is not null
"""


async def list_services(connection: asyncpg.Connection) -> list[ServiceRow]:
    """All services, by name."""
    return [
        found
        for row in await connection.fetch(_SERVICES + " order by s.name")
        if (found := from_record(ServiceRow, row))
    ]


async def find_service(connection: asyncpg.Connection, name: str) -> ServiceRow | None:
    """One service."""
    return from_record(ServiceRow, await connection.fetchrow(_SERVICES + " where s.name = $1", name))


async def insert_service(connection: asyncpg.Connection, name: str, columns: Mapping[str, Any]) -> bool:
    """Add a service; False when the name exists."""
    names = ["name", *columns]
    marks = ", ".join(f"${position}" for position in range(1, len(names) + 1))
    status = await connection.execute(
        f"insert into service ({', '.join(names)}) values ({marks}) on conflict (name) do nothing",  # noqa: S608 - names are ours
        name,
        *columns.values(),
    )
    return bool(status == "INSERT 0 1")


async def update_service(connection: asyncpg.Connection, name: str, columns: Mapping[str, Any]) -> bool:
    """Set columns of a service; False when there is none."""
    assignments = ", ".join(f"{column} = ${position}" for position, column in enumerate(columns, start=2))
    status = await connection.execute(
        f"update service set {assignments}, updated_at = now() where name = $1",  # noqa: S608 - names are ours
        name,
        *columns.values(),
    )
    return bool(status == "UPDATE 1")


async def fallback_loop(connection: asyncpg.Connection, name: str, fallback: str) -> list[str] | None:
    """The chain from ``fallback`` on, when it leads back to ``name``."""
    chain = [name]
    at: str | None = fallback
    while at is not None and len(chain) <= 100:
        chain.append(at)
        if at == name:
            return chain
        at = await connection.fetchval("select fallback from service where name = $1", at)
    return None


async def close_circuit(connection: asyncpg.Connection, service: str) -> None:
    """A person says that a service is well."""
    await connection.execute(
        "update circuit set state = 'closed', open_until = null, failures = 0, reason = null where service = $1",
        service,
    )


async def remove_service(connection: asyncpg.Connection, name: str) -> bool:
    """Remove a service and its budgets; its charges stay."""
    await connection.execute("delete from budget where scope = 'service' and key = $1", name)
    return bool(await connection.execute("delete from service where name = $1", name) == "DELETE 1")


async def open_charges(connection: asyncpg.Connection, service: str) -> int:
    """Calls to a service that are under way."""
    count: int = await connection.fetchval(
        "select count(*) from charge where service = $1 and status = 'reserved'", service
    )
    return count


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """A rule with the book of one key in the present period, in the rule's unit."""

    id: int
    scope: Scope
    key: str
    unit: Unit
    period: str
    zone: str
    starts_on: int
    rule_hard: int | None
    soft: int | None
    thresholds: tuple[int, ...]
    hard: int | None
    spent: int
    reserved: int
    overrun: int
    starts: datetime | None
    ends: datetime | None


_BUDGETS = """
select b.id, b.scope, coalesce(a.key, b.key) as key, b.unit, b.period, b.zone, b.starts_on, b.hard as rule_hard, b.soft, b.thresholds,
       coalesce(a.hard, b.hard) as hard, coalesce(a.spent, 0) as spent, coalesce(a.reserved, 0) as reserved, coalesce(a.overrun, 0) as overrun,
       nullif(coalesce(a.starts, p.starts), '-infinity') as starts, nullif(coalesce(a.ends, p.ends), 'infinity') as ends
  from budget b
  left join account a on a.budget = b.id and a.starts <= clock_timestamp() and clock_timestamp() < a.ends
  left join lateral budget_period(b.period, b.zone, b.starts_on, clock_timestamp()) p on true
"""


async def list_budgets(
    connection: asyncpg.Connection, scope: str | None = None, key: str | None = None
) -> list[BudgetRow]:
    """Rules and their books; a rule for each has a row per account."""
    rows = await connection.fetch(
        _BUDGETS + " where ($1::text is null or b.scope = $1) and ($2::text is null or coalesce(a.key, b.key) = $2)"
        " order by b.scope, coalesce(a.key, b.key), b.unit, b.period",
        scope,
        key,
    )
    return [found for row in rows if (found := from_record(BudgetRow, row))]


async def set_budget(
    connection: asyncpg.Connection,
    scope: str,
    key: str,
    unit: str,
    period: str,
    hard: int | None,
    soft: int | None,
    *,
    zone: str = "UTC",
    starts_on: int = 1,
    thresholds: list[int] | None = None,
) -> int:
    """Set a rule; its id. The present accounts follow at once."""
    rule: int = await connection.fetchval(
        "select budget_set($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        scope,
        key,
        unit,
        period,
        hard,
        soft,
        zone,
        starts_on,
        thresholds,
    )
    return rule


async def override_budget(connection: asyncpg.Connection, rule: int, key: str, extra: int) -> bool:
    """Let an account go beyond its limit in this period; False when it has not been opened."""
    done: bool = await connection.fetchval("select budget_override($1, $2, $3)", rule, key, extra)
    return done


async def remove_budget(connection: asyncpg.Connection, rule: int) -> bool:
    """Remove a rule and its books; the ledger stays."""
    return bool(await connection.execute("delete from budget where id = $1", rule) == "DELETE 1")


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A rule by itself: ``key`` is its own, ``*`` for a rule for each."""

    id: int
    scope: Scope
    key: str
    unit: Unit
    period: str
    zone: str
    starts_on: int
    hard: int | None
    soft: int | None


async def find_rules(
    connection: asyncpg.Connection, scope: str, key: str, unit: str, period: str | None = None
) -> list[RuleRow]:
    """The rules for one key in one unit: several only where their periods differ."""
    rows = await connection.fetch(
        """select id, scope, key, unit, period, zone, starts_on, hard, soft from budget
            where scope = $1 and key = $2 and unit = $3 and ($4::text is null or period = $4) order by period""",
        scope,
        key,
        unit,
        period,
    )
    return [RuleRow(**row) for row in rows]


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


@dataclass(frozen=True, slots=True)
class AlertRow:
    """Something that a person should know."""

    id: int
    at: datetime
    kind: str
    scope: str
    key: str
    text: str
    seen_by: str | None
    delivered_at: datetime | None
    attempts: int
    failure: str | None


async def list_alerts(connection: asyncpg.Connection, *, unseen: bool, limit: int = 200) -> list[AlertRow]:
    """The newest first."""
    rows = await connection.fetch(
        """select id, at, kind, scope, key, text, seen_by, delivered_at, attempts, failure from alert
            where not $1 or seen_at is null order by id desc limit $2""",
        unseen,
        limit,
    )
    return [AlertRow(**row) for row in rows]


async def see_alerts(connection: asyncpg.Connection, ids: list[int] | None, actor: str) -> int:
    """Mark alerts as seen, all of them for None; how many."""
    status = await connection.execute(
        "update alert set seen_by = $2, seen_at = clock_timestamp() where seen_at is null and ($1::bigint[] is null or id = any($1))",
        ids,
        actor,
    )
    return int(status.split()[-1])


async def mark_secret(connection: asyncpg.Connection, project: str, name: str) -> None:
    """Remember that a secret exists."""
    await connection.execute(
        "insert into secret (project, name) values ($1, $2) on conflict (project, name) do update set updated_at = clock_timestamp()",
        project,
        name,
    )


async def unmark_secret(connection: asyncpg.Connection, project: str, name: str) -> bool:
    """Forget that a secret exists."""
    return bool(
        await connection.execute("delete from secret where project = $1 and name = $2", project, name) == "DELETE 1"
    )


async def list_secrets(connection: asyncpg.Connection, project: str | None) -> list[tuple[str, str, datetime]]:
    """(project, name, when it was set): all, or those of one project and the shared ones."""
    rows = await connection.fetch(
        "select project, name, updated_at from secret where $1::text is null or project in ($1, '') order by project, name",
        project,
    )
    return [tuple(row) for row in rows]


def micro(usd: Decimal | float) -> int:
    """USD as micro-dollars."""
    return round(Decimal(str(usd)) * 1_000_000)


def usd(micro_dollars: int) -> Decimal:
    """Micro-dollars as USD."""
    return Decimal(micro_dollars) / 1_000_000
