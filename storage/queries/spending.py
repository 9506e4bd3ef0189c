"""The history of what was spent: for forecasts, for tasks that are out of line, for alerts on their way out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import asyncpg

from storage.queries.limits import Scope, Unit


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


Step = Literal["day", "hour"]

_OF = {
    "service": "c.service = $1",
    "project": "c.project = $1",
    "agent": "c.agent = $1",
    "task": "c.task = $1::text::bigint",
    "day": "$1 = ''",
}
_AMOUNT = {"usd": "sum(c.cost_micro)", "tokens": "sum(c.tokens)", "calls": "count(*)", "runs": "count(distinct c.run)"}


async def totals(
    connection: asyncpg.Connection, scope: Scope, key: str, unit: Unit, zone: str, step: Step, back: int
) -> list[int]:
    """What was used of a unit in each whole step since the first charge, at most ``back`` of them, the oldest first: days by the clock
    of ``zone``. Indexes: charge_task for a task, charge_at else.
    """
    rows = await connection.fetch(
        f"""with d as (select date_trunc('{step}', c.at at time zone $2) as slot, {_AMOUNT[unit]} as n from charge c
                       where {_OF[scope]} and c.status <> 'released'
                         and c.at >= (date_trunc('{step}', clock_timestamp() at time zone $2) - $3 * interval '1 {step}') at time zone $2
                       group by 1)
           select coalesce(d.n, 0)::bigint as n
             from generate_series((select min(slot) from d), date_trunc('{step}', clock_timestamp() at time zone $2) - interval '1 {step}',
                                  interval '1 {step}') s (slot)
             left join d on d.slot = s.slot order by s.slot""",  # noqa: S608 - from our tables
        key,
        zone,
        back,
    )
    return [row["n"] for row in rows]


async def tasks_at_work(connection: asyncpg.Connection) -> set[str]:
    """The numbers of the tasks that may still cost something."""
    rows = await connection.fetch(
        "select number::text as number from task where status in ('pending', 'blocked', 'waiting', 'in_progress')"
    )
    return {row["number"] for row in rows}


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
