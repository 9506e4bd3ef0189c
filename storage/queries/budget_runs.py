"""Runs and tasks as the budgets see them: what the gateway has to say of a run, who waits for a budget, what a run has cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import asyncpg


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the gateway has to say of a run."""

    run: int
    at: datetime
    kind: Literal["fallback", "budget", "service"]
    text: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """Why the models of a run, or of one that would start, do not answer."""

    kind: Literal["budget", "service"]
    """``budget``: no money; ``service``: out of order until a time."""
    text: str
    service: str | None = None
    budget: int | None = None
    key: str | None = None
    need: int = 1
    retry_seconds: float | None = None
    other_protocol: Mapping[str, str] | None = None
    """The next service in the chain, where it speaks another protocol: ``service`` and ``provider``."""
    keyless: bool = False
    """The service has no key: only a person can change that."""
    at: datetime | None = None
    """When the call was refused; None: just now."""


async def take_notices(connection: asyncpg.Connection, engine: int) -> list[Notice]:
    """What is new about the runs of an engine, in order, each once. Index: run_notice_open."""
    rows = await connection.fetch(
        """with taken as (
             update run_notice n set taken_at = clock_timestamp() from run r
              where n.taken_at is null and r.number = n.run and r.engine = $1 and r.status in ('starting', 'running', 'verifying')
              returning n.id, n.run, n.at, n.kind, n.text, n.data)
           select run, at, kind, text, data from taken order by id""",
        engine,
    )
    return [Notice(**row) for row in rows]


async def last_refusal(connection: asyncpg.Connection, run: int) -> Refused | None:
    """Why the last call of a run was refused, or what its provider failed with; None when it was answered. Index: run_notice_run."""
    row = await connection.fetchrow(
        """select n.kind, n.text, n.data, n.at, extract(epoch from budget_reopens(n.data ->> 'service') - clock_timestamp())::float8 as reopens
             from run_notice n
            where n.run = $1 and n.kind in ('budget', 'service', 'provider')
              and not exists (select 1 from charge c join run r on r.number = n.run
                               where c.task = r.task and c.run = n.run and c.at > n.at and c.status <> 'released')
            order by n.id desc limit 1""",
        run,
    )
    if row is None:
        return None
    data: Mapping[str, Any] = row["data"]
    pauses = [seconds for seconds in (data.get("retry_seconds"), row["reopens"]) if seconds is not None]
    return Refused(
        kind="budget" if row["kind"] == "budget" else "service",
        text=row["text"],
        service=data.get("service"),
        budget=data.get("budget"),
        key=data.get("key"),
        need=data.get("need") or 1,
        retry_seconds=max(min(pauses), 0.0) if pauses else None,
        other_protocol=data.get("other_protocol"),
        keyless=bool(data.get("keyless")),
        at=row["at"],
    )


async def refused_runs(connection: asyncpg.Connection, engine: int, pause: timedelta) -> dict[int, datetime]:
    """The working runs of an engine that no call was granted to since a refusal, where that is longer ago than ``pause``; the
    first such refusal of each. Indexes: run_live, run_notice_run, charge_task.
    """
    rows = await connection.fetch(
        """select r.number, min(n.at) as since from run r join run_notice n on n.run = r.number
            where r.engine = $1 and r.status in ('starting', 'running') and n.kind in ('budget', 'service')
              and not exists (select 1 from charge c
                               where c.task = r.task and c.run = r.number and c.at > n.at and c.status <> 'released')
            group by r.number having min(n.at) <= clock_timestamp() - $2::interval""",
        engine,
        pause,
    )
    return {row["number"]: row["since"] for row in rows}


async def exhausted(connection: asyncpg.Connection, project: str, task: int, agent: str) -> Refused | None:
    """A hard limit of the project, the task, the agent or the day that leaves nothing; None when there is none."""
    row = await connection.fetchrow(
        """select r.budget, r.key, budget_name(b.scope, r.key) as whose
             from budget_rules(null, $1, $2, $3) r join budget b on b.id = r.budget
             left join account a on a.budget = r.budget and a.key = r.key and a.starts <= clock_timestamp() and clock_timestamp() < a.ends
            where b.hard is not null and coalesce(a.hard - a.spent, b.hard) <= 0 order by r.budget limit 1""",
        project,
        task,
        agent,
    )
    if row is None:
        return None
    return Refused("budget", f"the budget of {row['whose']} is used up", budget=row["budget"], key=row["key"])


async def tells_of_calls(connection: asyncpg.Connection, agent: str) -> bool:
    """Whether an agent has told of calls that did not pass the gateway. Index: charge_reported."""
    found: bool = await connection.fetchval(
        "select exists (select 1 from charge where kind = 'reported' and agent = $1)", agent
    )
    return found


@dataclass(frozen=True, slots=True)
class Over:
    """A limit that a run has gone beyond with calls that nobody could refuse."""

    refused: Refused
    of_task: bool
    """Whether it is the most that its task may cost."""


async def went_over(connection: asyncpg.Connection, run: int) -> Over | None:
    """The first limit that a run has gone beyond with calls that did not pass the gateway. Index: charge_task."""
    row = await connection.fetchrow(
        """select b.id, a.key, b.scope = 'task' and b.unit = 'usd' as of_task,
                  case when b.scope = 'task' and b.unit = 'usd'
                       then format('it cost $%s, its limit is $%s', round(a.spent / 1000000.0, 4), round(a.hard / 1000000.0, 4))
                       else format('the budget of %s is used up: %s of %s', budget_name(b.scope, a.key), budget_shown(b.unit, a.spent),
                                   budget_shown(b.unit, a.hard)) end as words
             from run r cross join lateral budget_rules(null, r.project, r.task, r.agent) x join budget b on b.id = x.budget
             join account a on a.budget = b.id and a.key = x.key and a.starts <= clock_timestamp() and clock_timestamp() < a.ends
            where r.number = $1 and a.spent > a.hard
              and exists (select 1 from charge c where c.task = r.task and c.run = r.number and c.kind = 'reported')
            order by of_task desc, b.id limit 1""",
        run,
    )
    if row is None:
        return None
    return Over(Refused("budget", row["words"], budget=row["id"], key=row["key"]), row["of_task"])


@dataclass(frozen=True, slots=True)
class Unpriced:
    """Calls that a run tells of and whose price nobody knows."""

    sentences: tuple[str, ...]
    """What to say of them; empty where there are none."""
    limited: bool
    """Whether a limit in dollars concerns the run."""


async def unpriced(connection: asyncpg.Connection, run: int) -> Unpriced:
    """The calls of a run that did not pass the gateway and have no price. Index: charge_task."""
    row = await connection.fetchrow(
        """select array(select distinct c.note from charge c where c.task = r.task and c.run = r.number and c.kind = 'reported'
                           and c.note is not null order by c.note) as sentences,
                  exists (select 1 from budget_rules(null, r.project, r.task, r.agent) x join budget b on b.id = x.budget
                           where b.unit = 'usd' and b.hard is not null) as limited
             from run r where r.number = $1""",
        run,
    )
    return Unpriced(tuple(row["sentences"]), row["limited"])


async def service_spent(connection: asyncpg.Connection, service: str) -> Refused | None:
    """Why a service itself cannot take a call: suspended, or nothing left."""
    row = await connection.fetchrow(
        """select s.suspended, s.suspended_reason, r.budget
             from service s left join lateral (
               select r.budget from budget_rules(s.name, null, null, null) r join budget b on b.id = r.budget
                 left join account a on a.budget = r.budget and a.key = r.key and a.starts <= clock_timestamp() and clock_timestamp() < a.ends
                where b.scope = 'service' and b.hard is not null and coalesce(a.hard - a.spent, b.hard) <= 0 order by r.budget limit 1) r on true
            where s.name = $1 and (s.suspended or r.budget is not null)""",
        service,
    )
    if row is None:
        return None
    if row["suspended"]:
        why = f": {row['suspended_reason']}" if row["suspended_reason"] else ""
        return Refused("budget", f"service {service} is suspended{why}", service=service)
    return Refused(
        "budget", f"the budget of service {service} is used up", service=service, budget=row["budget"], key=service
    )


async def add_wait(connection: asyncpg.Connection, task: int, refused: Refused) -> None:
    """Remember what a task waits for: in the transaction that makes it wait. What changed since the refusal itself counts."""
    await connection.execute(
        """insert into budget_wait (task, service, budget, key, need, kind, since)
           values ($1, $2, (select id from budget where id = $3), $4, $5, $6, coalesce($7, clock_timestamp()))
           on conflict (task) do update set service = excluded.service, budget = excluded.budget, key = excluded.key, need = excluded.need,
           kind = excluded.kind, since = excluded.since""",
        task,
        refused.service,
        refused.budget,
        refused.key or "",
        refused.need,
        refused.kind,
        refused.at,
    )


async def wake(connection: asyncpg.Connection, at: datetime | None = None) -> int:
    """Make ready the tasks whose budget or service can take a call again; how many."""
    count: int = await connection.fetchval("select budget_wake($1)", at)
    return count


async def next_reset(connection: asyncpg.Connection) -> datetime | None:
    """When the next budget begins anew, or the next service may be asked again, where somebody waits."""
    moment: datetime | None = await connection.fetchval(
        """select min(x.at) from (select ends as at from account union all select open_until from circuit where state <> 'closed') x
            where x.at > clock_timestamp() and isfinite(x.at) and exists (select 1 from budget_wait)"""
    )
    return moment


async def close_run(connection: asyncpg.Connection, run: int) -> None:
    """The ledger's word on what a run has cost, where its calls passed the gateway; what it told of itself stays else."""
    await connection.execute(
        """update run r set cost_usd = l.cost / 1000000.0, cost_basis = l.basis, tokens_input = l.t0, tokens_output = l.t1, tokens_cache_read = l.t2,
                  tokens_cache_write = l.t3
             from (select sum(c.cost_micro) as cost, budget_weakest(array_agg(c.basis)) as basis, sum(c.tokens_input) as t0, sum(c.tokens_output) as t1, sum(c.tokens_cache_read) as t2,
                          sum(c.tokens_cache_write_5m + c.tokens_cache_write_1h) as t3, count(*) as n
                     from charge c join run o on o.number = $1 where c.task = o.task and c.run = $1 and c.kind = 'call' and c.status <> 'released') l
            where r.number = $1 and l.n > 0""",
        run,
    )


async def run_cost(connection: asyncpg.Connection, run: int) -> tuple[int, int]:
    """(micro-dollars spent, micro-dollars reserved) of a run by now. Index: charge_task."""
    row = await connection.fetchrow(
        """select coalesce(sum(c.cost_micro) filter (where c.status <> 'reserved'), 0)::bigint as spent,
                  coalesce(sum(c.reserved_micro) filter (where c.status = 'reserved'), 0)::bigint as reserved
             from charge c join run r on r.number = $1 where c.task = r.task and c.run = $1""",
        run,
    )
    return row["spent"], row["reserved"]


async def agents_speaking(connection: asyncpg.Connection, adapters: list[str], project: str) -> list[str]:
    """Enabled agents of these adapters; those that have worked on the project come first."""
    rows = await connection.fetch(
        """select a.name from agent a where a.enabled and a.adapter = any($1)
            order by exists (select 1 from run r where r.agent = a.name and r.project = $2) desc, a.created_at, a.name""",
        adapters,
        project,
    )
    return [row["name"] for row in rows]
