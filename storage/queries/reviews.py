"""Reviews: the judgement of a person on what a run has made."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import asyncpg

from storage.queries.records import from_record


@dataclass(frozen=True, slots=True)
class Gate:
    """One check that the change went through."""

    command: str
    status: str
    exit_code: int | None
    seconds: float
    output: str
    """The end of what it said."""


@dataclass(frozen=True, slots=True)
class Review:
    """A change that waits for a judgement, or the judgement."""

    number: int
    task: int
    title: str
    project: str
    run: UUID
    attempt: int
    agent: str
    branch: str | None
    status: str
    """``open, approved, merged, changes_requested, rejected, conflict, superseded``."""
    note: str | None
    actor: str | None
    merge_commit: str | None
    files_changed: int
    insertions: int
    deletions: int
    cost_usd: Decimal
    created_at: datetime
    decided_at: datetime | None
    merged_at: datetime | None


@dataclass(frozen=True, slots=True)
class ReviewDetails:
    """A review with all that there is to judge by, but for the change itself (`qd run diff`)."""

    review: Review
    description: str
    gates: tuple[Gate, ...]
    last_message: str | None


_REVIEW = """
select v.number, v.task, b.title, r.project, r.id as run, r.attempt, r.agent, r.branch, v.status, v.note, v.actor, v.merge_commit,
       r.files_changed, r.insertions, r.deletions, r.cost_usd, v.created_at, v.decided_at, v.merged_at
  from review v join run r on r.number = v.run join task_body b on b.task = v.task
"""


async def list_reviews(
    connection: asyncpg.Connection, *, statuses: Sequence[str], project: str | None, limit: int
) -> list[Review]:
    """Reviews, the oldest first. Open ones are served by the index review_open."""
    rows = await connection.fetch(
        f"{_REVIEW} where v.status = any($1) and ($2::text is null or r.project = $2) order by v.number limit $3",
        list(statuses),
        project,
        limit,
    )
    return [review for row in rows if (review := from_record(Review, row))]


async def latest_review(connection: asyncpg.Connection, task: int) -> Review | None:
    """The newest review of a task."""
    return from_record(
        Review, await connection.fetchrow(f"{_REVIEW} where v.task = $1 order by v.number desc limit 1", task)
    )


async def review_by_number(connection: asyncpg.Connection, number: int) -> Review | None:
    """One review."""
    return from_record(Review, await connection.fetchrow(f"{_REVIEW} where v.number = $1", number))


async def gates_of(connection: asyncpg.Connection, run: UUID) -> tuple[Gate, ...]:
    """The checks of the last round of a run, by primary key."""
    rows = await connection.fetch(
        """
        select g.command, g.status, g.exit_code, g.seconds, g.output from gate g join run r on r.number = g.run
         where r.id = $1 and g.round = (select max(round) from gate where run = r.number) order by g.position
        """,
        run,
    )
    return tuple(gate for row in rows if (gate := from_record(Gate, row)))


async def last_message(connection: asyncpg.Connection, run: UUID) -> str | None:
    """What the agent said last. Served by the index event_run, read backwards."""
    text: str | None = await connection.fetchval(
        """
        select v.text from event v where v.run = (select number from run where id = $1) and v.kind = 'message' and not v.data ? 'from'
         order by v.seq desc limit 1
        """,
        run,
    )
    return text


async def decide(connection: asyncpg.Connection, number: int, status: str, *, note: str | None, actor: str) -> bool:
    """Judge an open review; False when somebody else did first."""
    done = await connection.execute(
        """
        update review set status = $2, note = coalesce($3, note), engine_note = engine_note and $3::text is null, actor = $4,
               decided_at = clock_timestamp()
         where number = $1 and status = 'open'
        """,
        number,
        status,
        note,
        actor,
    )
    return bool(done == "UPDATE 1")


async def supersede(connection: asyncpg.Connection, task: int) -> None:
    """Close the open review of a task that a person gives up or starts anew."""
    await connection.execute("update review set status = 'superseded' where task = $1 and status = 'open'", task)


async def is_approved(connection: asyncpg.Connection, task: int) -> bool:
    """Whether the change of a task is on its way into the base branch."""
    return bool(
        await connection.fetchval("select exists (select 1 from review where task = $1 and status = 'approved')", task)
    )
