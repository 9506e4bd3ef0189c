"""How the crew does: rates, durations and costs by day, project and agent; and how budgets burn down. Everything here only reads.

Tasks are found by a walk over ``task`` (it holds no texts: some 60 ms for 100,000), runs by the index run_recent, charges by charge_at.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

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


@dataclass(frozen=True, slots=True)
class Burn:
    """How the budget of one account burns down, in USD; ``days`` is what was spent on each day of its period so far."""

    scope: str
    key: str
    hard: Decimal
    soft: Decimal | None
    spent: Decimal
    reserved: Decimal
    starts: datetime
    ends: datetime
    days: tuple[tuple[date, Decimal], ...]


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
    """The limits in USD that are in force at a time for a week or a month, those nearest to their limit first."""
    accounts = await connection.fetch(
        """
        select a.id, b.scope, a.key, a.hard, b.soft, a.spent, a.reserved, a.starts, a.ends from account a join budget b on b.id = a.budget
         where a.starts <= $2 and a.ends > $2 and a.unit = 'usd' and b.period in ('month', 'week') and a.hard > 0
         order by (a.spent + a.reserved)::float8 / a.hard desc, b.scope, a.key limit $1
        """,
        limit,
        now,
    )
    found = []
    for account in accounts:
        days = await connection.fetch(
            """
            select (at at time zone 'UTC')::date as day, sum(case when status in ('settled', 'presumed') then cost_micro else 0 end) as micro
              from charge where at >= $2 and $1 = any(accounts) group by 1 order by 1
            """,
            account["id"],
            account["starts"],
        )
        money = {name: _usd(account[name]) for name in ("hard", "spent", "reserved")}
        soft = None if account["soft"] is None else _usd(account["soft"])
        found.append(Burn(
            account["scope"], account["key"], money["hard"], soft, money["spent"], money["reserved"], account["starts"], account["ends"],
            tuple((row["day"], _usd(row["micro"])) for row in days),
        ))  # fmt: skip
    return tuple(found)


def _usd(micro: int | Decimal) -> Decimal:
    return Decimal(micro) / 1_000_000
