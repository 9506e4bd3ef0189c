"""How the crew does: rates, durations and costs by day, project and agent; and how budgets burn down. Everything here only reads.

Tasks are found by a walk over ``task`` (it holds no texts: some 60 ms for 100,000), runs by the index run_recent, charges by charge_at.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal
from zoneinfo import ZoneInfo

import asyncpg

By = Literal["day", "project", "agent"]

_TASK_KEY = {
    "day": "to_char(t.finished_at at time zone 'UTC', 'YYYY-MM-DD')",
    "project": "t.project",
    "agent": "coalesce(t.agent, '')",
}
_RUN_KEY = {"day": "to_char(r.started_at at time zone 'UTC', 'YYYY-MM-DD')", "project": "r.project", "agent": "r.agent"}


@dataclass(frozen=True, slots=True)
class Metric:
    """What one day, project or agent came to. Tasks count where they ended, runs and their cost where they began."""

    key: str
    completed: int
    failed: int
    first_try: int
    """Completed with the first attempt."""
    runs: int
    median_seconds: float | None
    """Of the runs that have ended."""
    cost_usd: Decimal


SHORT_STEPS = 24
"""Equal parts in which a period burns down that is shorter than a week."""


@dataclass(frozen=True, slots=True)
class Burn:
    """How the budget of one account burns down, in its unit. Its period runs from ``starts`` to ``ends``, both by the clock of its time
    zone, in ``span`` steps: the days of that zone, or equal parts where it is shorter than a week. ``used`` is what was spent in each step
    so far, the present one last.
    """

    budget: int
    scope: str
    key: str
    unit: str
    period: str
    hard: Decimal
    soft: Decimal | None
    spent: Decimal
    reserved: Decimal
    starts: datetime
    ends: datetime
    span: int
    used: tuple[Decimal, ...]

    @property
    def left(self) -> list[float]:
        """What was left at the beginning of the period and after each step so far."""
        left = [float(self.hard)]
        for amount in self.used:
            left.append(left[-1] - float(amount))
        return left


async def metrics(
    connection: asyncpg.Connection, by: By, since: datetime, project: str | None = None
) -> tuple[Metric, ...]:
    """The figures since a time, of one project or all; days in their order, else those that cost most first."""
    order = "key" if by == "day" else "cost_usd desc, completed desc, key"
    rows = await connection.fetch(
        f"""
        with ended as (
          select t.project, t.status, t.attempts, t.finished_at,
                 (select r.agent from run r where r.task = t.number order by r.attempt desc limit 1) as agent
            from task t where t.finished_at >= $1 and t.status in ('completed', 'failed') and ($2::text is null or t.project = $2)),
        done as (
          select {_TASK_KEY[by]} as key, count(*) filter (where t.status = 'completed') as completed, count(*) filter (where t.status = 'failed') as failed,
                 count(*) filter (where t.status = 'completed' and t.attempts <= 1) as first_try from ended t group by 1),
        tried as (
          select {_RUN_KEY[by]} as key, count(*) as runs, sum(r.cost_usd) as cost_usd,
                 percentile_cont(0.5) within group (order by extract(epoch from r.finished_at - r.started_at))
                   filter (where r.finished_at is not null) as median_seconds
            from run r where r.started_at >= $1 and ($2::text is null or r.project = $2) group by 1)
        select key, coalesce(completed, 0) as completed, coalesce(failed, 0) as failed, coalesce(first_try, 0) as first_try, coalesce(runs, 0) as runs,
               median_seconds::float8, coalesce(cost_usd, 0) as cost_usd
          from done full join tried using (key) order by {order} limit 1000
        """,  # noqa: S608 - the keys are ours
        since,
        project,
    )
    return tuple(Metric(**row) for row in rows)


async def burns(connection: asyncpg.Connection, now: datetime, *, limit: int = 8) -> tuple[Burn, ...]:
    """The limits that are in force at a time and are renewed, those nearest to their limit first."""
    accounts = await connection.fetch(
        """
        select a.id, a.budget, b.scope, a.key, b.unit, b.period, b.zone, a.hard, b.soft, a.spent, a.reserved, a.starts, a.ends
          from account a join budget b on b.id = a.budget
         where a.starts <= $2 and a.ends > $2 and a.hard > 0 and b.period <> 'total'
         order by (a.spent + a.reserved)::float8 / a.hard desc, b.scope, a.key, a.id limit $1
        """,
        limit,
        now,
    )
    return tuple([await _burn(connection, account, now) for account in accounts])


async def _burn(connection: asyncpg.Connection, account: asyncpg.Record, now: datetime) -> Burn:
    unit, zone = account["unit"], ZoneInfo(account["zone"])
    starts, ends = (account[name].astimezone(zone) for name in ("starts", "ends"))
    by_day = account["period"] in ("month", "week")
    length = (account["ends"] - account["starts"]) / SHORT_STEPS
    span = (ends.date() - starts.date()).days if by_day else SHORT_STEPS
    present = (now.astimezone(zone).date() - starts.date()).days if by_day else int((now - account["starts"]) / length)
    rows = await connection.fetch(
        """
        select case when $3 then (at at time zone $4)::date - (starts at time zone $4)::date
                    else floor(extract(epoch from at - starts) / $5)::int end as step,
               sum(budget_amount($6, cost_micro, tokens, counted @> array[$1::bigint])) as n
          from charge, (select $2::timestamptz as starts) p
         where at >= starts and $1 = any(accounts) and status in ('settled', 'presumed') group by 1
        """,
        account["id"],
        account["starts"],
        by_day,
        account["zone"],
        length.total_seconds(),
        unit,
    )
    used = {row["step"]: row["n"] for row in rows}
    return Burn(
        budget=account["budget"],
        scope=account["scope"],
        key=account["key"],
        unit=unit,
        period=account["period"],
        hard=_amount(unit, account["hard"]),
        soft=None if account["soft"] is None else _amount(unit, account["soft"]),
        spent=_amount(unit, account["spent"]),
        reserved=_amount(unit, account["reserved"]),
        starts=starts,
        ends=ends,
        span=max(span, 1),
        used=tuple(_amount(unit, used.get(step, 0)) for step in range(min(present + 1, max(span, 1)))),
    )


def _amount(unit: str, amount: int | Decimal) -> Decimal:
    return Decimal(amount) / 1_000_000 if unit == "usd" else Decimal(amount)
