"""Questions of agents, and what people allowed once and for all."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import asyncpg

from config.errors import NotFoundError
from storage.queries.permissions import allows
from storage.queries.runs import LIVE, add_input

Decision = Literal["allow", "deny", "always"]


@dataclass(frozen=True, slots=True)
class Question:
    """Something that a run needs a person to answer (``question``) or to approve (``permission``)."""

    id: UUID
    number: int
    kind: str
    project: str
    task: int
    run: UUID
    attempt: int
    agent: str
    text: str
    options: tuple[str, ...]
    status: str
    """``open``, ``answered``, or ``expired``: its run ended first."""
    answer: str | None
    decision: str | None
    answered_by: str | None
    asked_at: datetime
    answered_at: datetime | None
    data: Mapping[str, Any]


_QUESTION = """
select q.id, q.number, q.kind, q.project, q.task, r.id as run, r.attempt, r.agent, q.text, q.options, q.status, q.answer, q.decision,
       q.answered_by, q.asked_at, q.answered_at, q.data
  from question q join run r on r.number = q.run
"""


async def list_questions(
    connection: asyncpg.Connection,
    *,
    status: str | None = "open",
    project: str | None = None,
    task: int | None = None,
    limit: int,
) -> list[Question]:
    """Questions, the oldest first. The open ones are served by the index question_open."""
    rows = await connection.fetch(
        f"""{_QUESTION} where ($1::text is null or q.status = $1) and ($2::text is null or q.project = $2)
            and ($3::bigint is null or q.task = $3) order by q.number limit $4""",
        status,
        project,
        task,
        limit,
    )
    return [_question(row) for row in rows]


async def find_question(connection: asyncpg.Connection, name: int | UUID) -> Question:
    """One question by number or id. Raises :class:`NotFoundError`."""
    column = "id" if isinstance(name, UUID) else "number"
    row = await connection.fetchrow(f"{_QUESTION} where q.{column} = $1", name)
    if row is None:
        raise NotFoundError(f"there is no question {name}", "see `qd question list`")
    return _question(row)


async def settle(
    connection: asyncpg.Connection, number: int, *, answer: str | None, decision: Decision | None, actor: str
) -> bool:
    """Store the answer and queue it for the run. False when somebody else answered first, or the run ended.

    Both happen in the caller's transaction, or neither does. The run is held before the question, as the end of a run does.
    """
    run: int | None = await connection.fetchval(
        """
        select r.number from question q join run r on r.number = q.run
         where q.number = $1 and r.status = any($2::text[]::run_status[]) for no key update of r
        """,
        number,
        list(LIVE),
    )
    if run is None:
        return False
    row = await connection.fetchrow(
        """
        update question set status = 'answered', answer = $2, decision = $3, answered_by = $4, answered_at = clock_timestamp()
         where number = $1 and status = 'open' returning ref, data
        """,
        number,
        answer,
        decision,
        actor,
    )
    if row is None:
        return False
    data = {"question": number, "ref": row["ref"], "text": answer, "decision": decision, "data": row["data"]}
    await add_input(connection, run, "answer", data, actor)
    return True


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a question."""

    status: str
    text: str | None
    by: str | None


async def answer_of(connection: asyncpg.Connection, run: int, ref: str) -> Answer | None:
    """What became of what a run asked under its own name ``ref``; None when it has not asked that."""
    row = await connection.fetchrow(
        "select status, answer as text, answered_by as by from question where run = $1 and ref = $2", run, ref
    )
    return Answer(**row) if row else None


async def run_number(connection: asyncpg.Connection, number: int) -> int | None:
    """The number of the run that asked."""
    run: int | None = await connection.fetchval("select run from question where number = $1", number)
    return run


async def add_permission(connection: asyncpg.Connection, project: str, rule: str, actor: str) -> None:
    """Allow something for good in a project."""
    await connection.execute(
        "insert into permission (project, rule, actor) values ($1, $2, $3) on conflict do nothing", project, rule, actor
    )


async def rules_of(connection: asyncpg.Connection, project: str) -> list[str]:
    """What is allowed for good in a project."""
    return [
        row["rule"]
        for row in await connection.fetch("select rule from permission where project = $1 order by 1", project)
    ]


async def answer_by_rule(connection: asyncpg.Connection, run: int, ref: str) -> bool:
    """Answer a permission request of a run that a person has allowed for good in its project; whether that was so."""
    row = await connection.fetchrow(
        "select number, project, data from question where run = $1 and ref = $2 and status = 'open' and kind = 'permission'",
        run,
        ref,
    )
    if row is None:
        return False
    rule = next((rule for rule in await rules_of(connection, row["project"]) if allows(rule, row["data"])), None)
    if rule is None:
        return False
    return await settle(connection, row["number"], answer=f"always allowed: {rule}", decision="allow", actor="rule")


def _question(row: asyncpg.Record) -> Question:
    values = dict(row)
    options = values["options"] if isinstance(values["options"], list) else []
    values["options"] = tuple(_label(option) for option in options)
    return Question(**values)


def _label(option: Any) -> str:
    return str(option.get("label", "")) if isinstance(option, Mapping) else str(option)
