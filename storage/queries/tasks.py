"""Tasks, as people and agents ask for them and change them.

The rules of the queue live in the database (``task_add``, ``task_move``, ``task_cancel``, ``task_reason``); the end of a run is the
engine's (:mod:`storage.queries.queue`). Nothing here rings the bell: the caller does, after the commit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg

from config.errors import NotFoundError
from storage.queries.records import from_record

TaskName = int | UUID
"""How a task is named: its number, or its id."""


@dataclass(frozen=True, slots=True)
class Task:
    """One task in full. The fields and their order are part of the public interface, money is in USD."""

    id: UUID
    number: int
    project: str
    title: str
    description: str
    status: str
    priority: int
    agent: str | None
    parent: int | None
    after: tuple[int, ...]
    paths: tuple[str, ...]
    branch: str | None
    attempts: int
    max_attempts: int
    max_cost_usd: Decimal | None
    cost_usd: Decimal
    reason: str | None
    """Why it is blocked, waiting, not started yet, or failed, in words."""
    not_before: datetime | None
    deadline: datetime | None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cron: str | None
    on_failure: str
    wait: str | None
    """What a waiting task waits for: ``time``, ``person``, ``budget``."""
    cost_basis: str | None
    """The weakest that the cost is made of: ``measured``, ``estimated``, ``imputed``; None where it is nothing."""


@dataclass(frozen=True, slots=True)
class Added:
    """A task that was just added."""

    number: int
    id: UUID
    status: str


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks to list; None: whatever. ``search`` looks for a part of title or description, in any case of letters."""

    project: str | None = None
    statuses: tuple[str, ...] = ()
    search: str | None = None
    before: int | None = None
    """Only numbers below this one: the next page."""


_DETAILS = """
with why as materialized (select number, reason from task_reason($1::bigint[]))
select b.id, t.number, t.project, b.title, b.description, t.status::text, t.priority, nullif(t.agent, '') as agent, b.parent,
       coalesce((select array_agg(d.parent order by d.parent) from task_after d where d.child = t.number), '{}') as after,
       b.paths, b.branch, t.attempts, t.max_attempts, b.max_cost_usd, coalesce(r.cost_usd, 0) as cost_usd, w.reason, t.not_before,
       t.deadline, t.created_at, t.updated_at, coalesce(r.started_at, t.claimed_at) as started_at, t.finished_at, b.cron, b.on_failure,
       t.wait::text, r.cost_basis
  from unnest($1::bigint[]) with ordinality as n (number, position)
  join task t on t.number = n.number
  join task_body b on b.task = t.number
  left join why w on w.number = t.number
  left join lateral (select sum(cost_usd) as cost_usd, budget_weakest(array_agg(cost_basis)) as cost_basis, min(started_at) as started_at from run where run.task = t.number) r on true
 order by n.position
"""


async def tasks_by_number(connection: asyncpg.Connection, numbers: Sequence[int]) -> list[Task]:
    """These tasks in full, in this order; unknown ones are left out. Everything is looked up by primary key."""
    rows = await connection.fetch(_DETAILS, list(numbers))
    return [task for row in rows if (task := from_record(Task, row))]


async def list_numbers(
    connection: asyncpg.Connection, wanted: TaskFilter, *, limit: int, by_priority: bool = False
) -> list[int]:
    """Numbers of the tasks that a filter lets through: the newest first, or in the order in which they would be worked on.

    Served by the indexes task_project and task_status, without a filter by the primary key. A search reads from the newest on until it
    has enough; one that finds nothing reads all titles and descriptions.
    """
    conditions: list[str] = []
    values: list[Any] = []

    def where(condition: str, value: Any) -> None:
        values.append(value)
        conditions.append(condition.format(f"${len(values)}"))

    if wanted.project is not None:
        where("t.project = {}", wanted.project)
    if wanted.statuses:
        where("t.status = any({}::text[]::task_status[])", list(wanted.statuses))
    if wanted.before is not None:
        where("t.number < {}", wanted.before)
    if wanted.search:
        where("(b.title ilike {0} or b.description ilike {0})", f"%{_literal(wanted.search)}%")
    joined = "join task_body b on b.task = t.number" if wanted.search else ""
    condition = f"where {' and '.join(conditions)}" if conditions else ""
    order = "t.priority desc, t.number" if by_priority else "t.number desc"
    values.append(limit)
    rows = await connection.fetch(
        f"select t.number from task t {joined} {condition} order by {order} limit ${len(values)}",  # noqa: S608 - all values are bound
        *values,
    )
    return [row["number"] for row in rows]


async def added_by_run(connection: asyncpg.Connection, run: int, task: int) -> int:
    """How many tasks the agent of a run has added; they are younger than its own, ``task``."""
    count: int = await connection.fetchval(
        "select count(*) from task_body where task > $2 and extra @> jsonb_build_object('run', $1::bigint)", run, task
    )
    return count


async def resolve(connection: asyncpg.Connection, names: Sequence[TaskName]) -> list[int]:
    """The numbers of these tasks, in this order, each once. Raises :class:`NotFoundError` naming the first that is unknown."""
    ids = [name for name in names if isinstance(name, UUID)]
    numbers = [name for name in names if not isinstance(name, UUID)]
    known = set(await _fetch_column(connection, "select number from task where number = any($1)", numbers))
    by_id = {
        row["id"]: row["task"]
        for row in (await connection.fetch("select id, task from task_body where id = any($1)", ids) if ids else ())
    }
    found: dict[int, None] = {}
    for name in names:
        number = by_id.get(name) if isinstance(name, UUID) else name if name in known else None
        if number is None:
            shown = name if isinstance(name, UUID) else f"#{name}"
            raise NotFoundError(f"there is no task {shown}", "see `qd task list`")
        found[number] = None
    return list(found)


async def find_task(connection: asyncpg.Connection, name: TaskName) -> Task:
    """One task. Raises :class:`NotFoundError`."""
    [number] = await resolve(connection, [name])
    return (await tasks_by_number(connection, [number]))[0]


async def add_many(connection: asyncpg.Connection, tasks: Sequence[Mapping[str, Any]]) -> list[Added]:
    """Add tasks given by the fields of ``task_add`` (``project`` and ``title`` at least); their numbers in the order given.

    One statement for all of them. Raises, within :func:`storage.queries.guard.refusals`, NotFoundError for an unknown project,
    agent or task, ConflictError for a dependency that did not succeed.
    """
    rows = await connection.fetch("select number, id, status::text from task_add($1)", list(tasks))
    return [Added(*row) for row in rows]


async def statuses(connection: asyncpg.Connection, numbers: Sequence[int]) -> dict[int, str]:
    """The states of these tasks."""
    rows = await connection.fetch("select number, status::text from task where number = any($1)", list(numbers))
    return {row["number"]: row["status"] for row in rows}


async def lock(connection: asyncpg.Connection, number: int) -> asyncpg.Record | None:
    """Hold a task against every other change until the transaction ends: its status, wait, times, attempts and cron."""
    return await connection.fetchrow(
        """
        select t.number, t.project, t.agent, t.priority, t.status::text, t.wait::text, t.not_before, t.deadline, t.attempts, b.cron, b.reason
          from task t join task_body b on b.task = t.number where t.number = $1 for no key update of t
        """,
        number,
    )


async def cancel(connection: asyncpg.Connection, number: int, reason: str) -> str | None:
    """``cancelled``, or ``requested`` of the engine that works on it; None when the task has ended."""
    outcome: str | None = await connection.fetchval("select task_cancel($1, $2)", number, reason)
    return outcome


async def move(
    connection: asyncpg.Connection,
    number: int,
    from_: Sequence[str],
    to: str,
    *,
    reason: str | None = None,
    not_before: datetime | None = None,
    feedback: str | None = None,
    fresh: bool = False,
) -> str | None:
    """Change the state of a task that nobody holds; its new one, or None when it was not in ``from_``.

    To ``pending`` means as its dependencies and ``not_before`` allow. ``fresh`` forgets the failures so far.
    """
    status: str | None = await connection.fetchval(
        """select task_move($1, $2::text[]::task_status[], $3::text::task_status, p_reason => $4, p_not_before => $5,
                            p_feedback => $6, p_fresh => $7)::text""",
        number,
        list(from_),
        to,
        reason,
        not_before,
        feedback,
        fresh,
    )
    return status


async def update(connection: asyncpg.Connection, number: int, columns: Mapping[str, Any]) -> None:
    """Set columns of ``task`` and ``task_body``; those that decide about the state (status, wait, not_before) are not set here."""
    for table, key, names in (("task", "number", _TASK_COLUMNS), ("task_body", "task", _BODY_COLUMNS)):
        chosen = [name for name in columns if name in names]
        stamp = ["updated_at = clock_timestamp()"] if table == "task" else []
        if chosen or stamp:
            sets = ", ".join(stamp + [f"{name} = ${n}" for n, name in enumerate(chosen, start=2)])
            await connection.execute(
                f"update {table} set {sets} where {key} = $1",  # noqa: S608 - names are ours
                number,
                *(columns[name] for name in chosen),
            )


_TASK_COLUMNS = frozenset({"agent", "priority", "deadline", "max_attempts"})
_BODY_COLUMNS = frozenset({"title", "description", "paths", "max_cost_usd", "on_failure", "cron"})


async def touch(connection: asyncpg.Connection, number: int) -> None:
    """Make sure that a claim looks at the lane of this task, if it is ready. Last in a transaction, or after it."""
    await connection.execute(
        "select task_touch(project, agent, priority) from task where number = $1 and status = 'pending'", number
    )


async def delay(connection: asyncpg.Connection, number: int, not_before: datetime) -> None:
    """Set the date of a task that waits for it or is blocked."""
    await connection.execute("update task set not_before = $2 where number = $1", number, not_before)


async def lock_graph(connection: asyncpg.Connection) -> None:
    """Be the only one that changes dependencies of existing tasks until the transaction ends. To be taken before any row."""
    await connection.execute("select pg_advisory_xact_lock(task_graph_lock())")


async def hold_parents(connection: asyncpg.Connection, number: int) -> dict[int, str]:
    """What a task depends on, with the states, held until the transaction ends; so is the graph, against edits.

    To be taken before the row of the task itself: parents are locked before their children everywhere.
    """
    await connection.execute("select pg_advisory_xact_lock_shared(task_graph_lock())")
    rows = await connection.fetch(
        """
        select t.number, t.status::text from task t where t.number = any(array(select parent from task_after where child = $1))
         order by t.number for share
        """,
        number,
    )
    return {row["number"]: row["status"] for row in rows}


async def edges_above(connection: asyncpg.Connection, numbers: Sequence[int]) -> list[tuple[int, int]]:
    """All dependencies (child, parent) on the way up from these tasks. Served by the index task_after_child."""
    rows = await connection.fetch(
        """
        with recursive above (child, parent) as (
          select child, parent from task_after where child = any($1)
          union select d.child, d.parent from above a join task_after d on d.child = a.parent)
        select child, parent from above
        """,
        list(numbers),
    )
    return [(row["child"], row["parent"]) for row in rows]


async def rewire(connection: asyncpg.Connection, number: int, parents: Sequence[int]) -> dict[int, str]:
    """Replace what a task depends on; returns the states of the new parents.

    Holds old and new parents, so that none of them ends meanwhile without seeing the change. The caller holds the graph and
    has looked for cycles; the task's own state is settled by :func:`move`.
    """
    rows = await connection.fetch(
        """
        select t.number, t.status::text from task t
         where t.number = any($2) or t.number = any(array(select parent from task_after where child = $1))
         order by t.number for share
        """,
        number,
        list(parents),
    )
    await connection.execute("delete from task_after where child = $1 and parent <> all($2)", number, list(parents))
    await connection.execute(
        "insert into task_after (parent, child) select p, $1 from unnest($2::bigint[]) p on conflict do nothing",
        number,
        list(parents),
    )
    return {row["number"]: row["status"] for row in rows if row["number"] in parents}


async def children(connection: asyncpg.Connection, number: int) -> dict[int, str]:
    """What depends on a task, with the states."""
    rows = await connection.fetch(
        "select t.number, t.status::text from task_after d join task t on t.number = d.child where d.parent = $1 order by 1",
        number,
    )
    return {row["number"]: row["status"] for row in rows}


async def lock_for_removal(connection: asyncpg.Connection, number: int) -> None:
    """Hold a task so that nothing can come to depend on it any more."""
    await connection.execute("select 1 from task where number = $1 for update", number)


async def remove(connection: asyncpg.Connection, number: int) -> None:
    """Delete a task with its runs, questions and reviews. Subtasks of it stand on their own from then on."""
    await connection.execute("update task_body set parent = null where parent = $1", number)
    await connection.execute("delete from task where number = $1", number)


async def project_paths(connection: asyncpg.Connection) -> dict[str, str]:
    """Where the repository of each registered project lies."""
    return {row["id"]: row["path"] for row in await connection.fetch("select id, path from project")}


async def agent_exists(connection: asyncpg.Connection, name: str) -> bool:
    """Whether an agent of this name is registered."""
    return bool(await connection.fetchval("select exists (select 1 from agent where name = $1)", name))


async def engine_is_alive(connection: asyncpg.Connection) -> bool:
    """Whether any engine has a lease that has not run out."""
    return bool(
        await connection.fetchval(
            "select exists (select 1 from engine where state in ('running', 'draining') and lease_until > clock_timestamp())"
        )
    )


async def _fetch_column(connection: asyncpg.Connection, statement: str, values: Sequence[Any]) -> list[Any]:
    return [row[0] for row in await connection.fetch(statement, list(values))] if values else []


def _literal(text: str) -> str:
    """Text for LIKE in which nothing is a wildcard."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
