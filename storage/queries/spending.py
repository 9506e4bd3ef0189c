"""The history of what was spent: for forecasts, for tasks that are out of line, for alerts on their way out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg


@dataclass(frozen=True, slots=True)
class TaskCost:
    """What a task that has ended has cost in all."""

    task: int
    project: str
    agent: str
    micro: int
    at: datetime
    basis: str
    """The weakest of its charges: measured, estimated or imputed."""


async def task_costs(connection: asyncpg.Connection, limit: int = 2000) -> list[TaskCost]:
    """The last tasks that have ended with a cost, the oldest first."""
    rows = await connection.fetch(
        """select t.number as task, t.project, coalesce(max(c.agent), t.agent) as agent, sum(c.cost_micro)::bigint as micro, max(c.at) as at,
                  case when bool_or(c.basis = 'imputed') then 'imputed' when bool_or(c.basis = 'estimated') then 'estimated' else 'measured' end as basis
             from task t join charge c on c.task = t.number
            where t.status in ('completed', 'failed', 'review') group by t.number having sum(c.cost_micro) > 0
            order by max(c.at) desc limit $1""",
        limit,
    )
    return [TaskCost(**row) for row in reversed(rows)]


async def daily_totals(connection: asyncpg.Connection, column: str, key: str, zone: str, days: int = 28) -> list[int]:
    """Micro-dollars of the past whole days since the first charge, the oldest first. ``column``: service or project."""
    if column not in ("service", "project"):
        raise ValueError(column)
    rows = await connection.fetch(
        f"""with d as (select (c.at at time zone $2)::date as day, sum(c.cost_micro) as micro from charge c
                       where c.{column} = $1 and c.status <> 'released' and c.at > clock_timestamp() - make_interval(days => $3 + 1)
                       group by 1)
           select coalesce(d.micro, 0)::bigint as micro
             from generate_series((select min(day) from d), (clock_timestamp() at time zone $2)::date - 1, interval '1 day') s (day)
             left join d on d.day = s.day::date order by s.day""",  # noqa: S608 - one of two names
        key,
        zone,
        days,
    )
    return [row["micro"] for row in rows]


async def spent_since(connection: asyncpg.Connection, column: str, key: str, since: datetime) -> int:
    """Micro-dollars that were spent since a time. ``column``: service or project. Index: charge_at."""
    if column not in ("service", "project"):
        raise ValueError(column)
    spent: int = await connection.fetchval(
        f"select coalesce(sum(cost_micro), 0)::bigint from charge where {column} = $1 and at >= $2",  # noqa: S608 - one of two names
        key,
        since,
    )
    return spent


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An alert on its way out."""

    id: int
    kind: str
    text: str
    attempts: int
    told: tuple[str, ...]
    """Marks of the destinations that have taken it."""


async def take_alerts(connection: asyncpg.Connection, most: int = 20) -> list[Outgoing]:
    """Alerts that are due to be told; nobody else takes them for two minutes. Index: alert_undelivered."""
    rows = await connection.fetch(
        """update alert set next_try = clock_timestamp() + interval '2 minutes' where id in (
             select id from alert where delivered_at is null and next_try <= clock_timestamp() order by id limit $1 for update skip locked)
           returning id, kind, text, attempts, coalesce(data -> 'told', '[]') as told""",
        most,
    )
    found = (Outgoing(**{**row, "told": tuple(row["told"])}) for row in rows)
    return sorted(found, key=lambda alert: alert.id)


async def delivered(connection: asyncpg.Connection, alert: int) -> None:
    """An alert has reached its destinations."""
    await connection.execute(
        "update alert set delivered_at = clock_timestamp(), attempts = attempts + 1, failure = null where id = $1",
        alert,
    )


async def undelivered(
    connection: asyncpg.Connection, alert: int, failure: str, seconds: float, told: Sequence[str] = ()
) -> None:
    """An alert has not reached all of them; it is tried again later. ``told``: marks of those that have taken it."""
    await connection.execute(
        """update alert set attempts = attempts + 1, failure = $2, next_try = clock_timestamp() + make_interval(secs => $3),
                  data = data || jsonb_build_object('told', $4::text[]) where id = $1""",
        alert,
        failure,
        seconds,
        list(told),
    )
