"""What the engine asks of the queue: claims, ends, leases and timers.

The rules live in the database (``task_claim`` and its sisters, see the migrations); here they get types. Each function
is one statement, so that a connection in autocommit holds nothing between two of them. Nothing here rings the bell: the
caller does, after the commit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import asyncpg
from cronsim import CronSim, CronSimError

Outcome = Literal["completed", "review", "retry", "failed", "cancelled", "wait"]
"""How a claimed task is handed back; ``retry``: this attempt failed, ``wait``: it goes on once its wait is over."""

Wait = Literal["time", "person", "budget"]
"""What a waiting task waits for."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A task that this engine holds; ``lease_token`` fences all that it writes about it."""

    number: int
    project: str
    agent: str
    """Who works on it: the agent that it asked for, or the one chosen for it."""
    priority: int
    attempts: int
    """Runs begun, this one included."""
    failures: int
    max_attempts: int
    rescues: int
    lease_token: int
    deadline: datetime | None
    cancel_requested: bool


async def claim(connection: asyncpg.Connection, engine: int, most: int, agents: Sequence[str]) -> list[Claimed]:
    """Take up to ``most`` tasks of one project and priority; ask again until nothing comes or the hands are full.

    ``agents``: those that this engine can run, the preferred one first.
    """
    rows = await connection.fetch(
        """select number, project, agent, priority, attempts, failures, max_attempts, rescues, lease_token, deadline,
                  cancel_requested
             from task_claim($1, $2, $3)""",
        engine,
        most,
        list(agents),
    )
    return [Claimed(*row) for row in rows]


async def finish(
    connection: asyncpg.Connection,
    number: int,
    token: int,
    outcome: Outcome,
    *,
    reason: str | None = None,
    retry_in: timedelta | None = None,
    wait: Wait | None = None,
    feedback: str | None = None,
) -> str | None:
    """End the work on a claimed task; its new status, or None when ``token`` is stale and nothing was changed.

    ``retry_in``: how long a ``retry`` or a ``wait`` for time stays out of the queue; ``feedback``: what the next
    attempt is told.
    """
    status: str | None = await connection.fetchval(
        "select task_finish($1, $2, $3, $4, $5, $6::text::task_wait, $7)::text",
        number,
        token,
        outcome,
        reason,
        retry_in,
        wait,
        feedback,
    )
    return status


async def task_lost(
    connection: asyncpg.Connection, number: int, token: int, reason: str, max_rescues: int
) -> str | None:
    """Hand back a claimed task whose run vanished through no fault of the work; its new status, None when stale.

    It starts again after a growing pause; lost ``max_rescues`` times it is set aside as failed.
    """
    status: str | None = await connection.fetchval(
        "select task_lost($1, $2, $3, $4)::text", number, token, reason, max_rescues
    )
    return status


async def register(
    connection: asyncpg.Connection,
    *,
    name: str,
    host: str,
    pid: int,
    version: str,
    max_parallel: int,
    lease: timedelta,
) -> int:
    """Announce an engine and start its lease; the same ``name`` is the same engine come back. Its id."""
    engine: int = await connection.fetchval(
        "select engine_register($1, $2, $3, $4, $5, $6)", name, host, pid, version, max_parallel, lease
    )
    return engine


async def heartbeat(connection: asyncpg.Connection, engine: int, lease: timedelta, held: Sequence[int]) -> bool:
    """Renew the lease and give back what the database believes this engine holds though it is not in ``held``.

    False: the engine was declared dead, its tasks may be somebody else's by now.
    """
    alive: bool = await connection.fetchval("select engine_heartbeat($1, $2, $3)", engine, lease, list(held))
    return alive


async def release(connection: asyncpg.Connection, engine: int, keep: Sequence[int] = ()) -> int:
    """Give back, unharmed, tasks of one project that a living engine holds and does not ``keep``; ask until 0.

    Claims of the last five seconds stay: their reply may be on its way.
    """
    count: int = await connection.fetchval("select engine_release($1, $2, false, 1)", engine, list(keep))
    return count


async def rescue(connection: asyncpg.Connection, max_rescues: int) -> int:
    """Declare an engine dead whose lease ran out, and give back tasks that it held; ask until 0.

    A task that lost its engine ``max_rescues`` times is set aside as failed, others start again after a growing pause.
    """
    count: int = await connection.fetchval("select engine_rescue($1)", max_rescues)
    return count


async def promote(connection: asyncpg.Connection, most: int = 500) -> int:
    """Make waiting tasks ready whose time has come, at most ``most``; how many."""
    count: int = await connection.fetchval("select task_promote($1)", most)
    return count


async def expire(connection: asyncpg.Connection) -> int | None:
    """Fail a task that nobody holds and whose deadline has passed; its number. Ask until None: there is no more."""
    number: int | None = await connection.fetchval("select task_expire()")
    return number


async def sweep(connection: asyncpg.Connection) -> int:
    """Mend the hints of lanes that say less than they hold; how many."""
    count: int = await connection.fetchval("select task_sweep()")
    return count


async def recur(connection: asyncpg.Connection, now: datetime) -> list[int]:
    """Make recurring tasks ready that are due, each leaving its next occurrence behind; the numbers that became ready.

    ``now`` is aware; its time zone is the one in which the expressions are read. Missed dates are not made up. An
    expression that has no next date ends its series.
    """
    due = await connection.fetch("select number, cron, not_before from task_recurring_due()")
    ready = []
    for number, expression, date in due:
        # The clock of this host may be behind the database's: an occurrence never follows itself.
        following = next_date(expression, max(now, date.astimezone(now.tzinfo)))
        if await connection.fetchval("select task_recur($1, $2)", number, following):
            ready.append(number)
    return ready


def next_date(expression: str, after: datetime) -> datetime | None:
    """The first date of a cron expression later than ``after``, in its time zone; None when there is none.

    Five fields, as ``cronsim`` reads them (Debian's cron). A wrong expression has no dates.
    """
    try:
        return next(CronSim(expression, after), None)
    except CronSimError:
        return None


async def reconcile(connection: asyncpg.Connection) -> dict[str, int]:
    """The check of the books: what is wrong and how often. All is well when every number is 0."""
    return {row["what"]: row["n"] for row in await connection.fetch("select what, n from queue_reconcile()")}
