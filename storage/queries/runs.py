"""Runs and what happened in them, as people ask for them, and what people tell a run.

How a run goes on is its engine's to write (:mod:`storage.queries.engine`). Nothing here rings the bell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import asyncpg

from config.errors import ConflictError, NotFoundError

LIVE = ("starting", "running", "verifying")
"""The states of a run that has not ended."""

InputKind = Literal["message", "answer", "stop", "pause", "resume", "interrupt", "progress", "question"]


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a run used of a model, by price class."""

    input: int
    output: int
    cache_read: int
    cache_write: int


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt at a task. The fields and their order are part of the public interface; money in USD."""

    id: UUID
    task: int
    attempt: int
    project: str
    agent: str
    engine: str | None
    """The name of the engine that holds or held it."""
    status: str
    branch: str | None
    worktree: str | None
    pid: int | None
    session: str | None
    started_at: datetime
    finished_at: datetime | None
    exit_code: int | None
    verdict: str | None
    reason: str | None
    cost_usd: Decimal
    tokens: Tokens
    events: int
    files_changed: int
    insertions: int
    deletions: int
    cost_basis: str | None
    """The weakest that the cost is made of: ``measured``, ``estimated``, ``imputed``; None where it is nothing."""

    @property
    def name(self) -> str:
        """As people call it: ``42.2``."""
        return f"{self.task}.{self.attempt}"

    @property
    def live(self) -> bool:
        """Whether it has not ended."""
        return self.status in LIVE


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One thing that happened in a run; ``run`` is the run's id, ``seq`` counts from 1 without a gap within it."""

    run: UUID
    seq: int
    at: datetime
    kind: str
    text: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: the number of its last event, and whether none will follow."""

    events: int
    ended: bool


@dataclass(frozen=True, slots=True)
class Change:
    """Where the change of a run is to be found."""

    run: str
    repository: str
    branch: str | None
    base_commit: str | None
    head_commit: str | None
    worktree: str | None
    live: bool


_RUN = """
select r.id, r.task, r.attempt, r.project, r.agent, e.name as engine, r.status::text, r.branch, r.worktree, r.pid, r.session, r.started_at,
       r.finished_at, r.exit_code, r.verdict, r.reason, r.cost_usd, r.tokens_input, r.tokens_output, r.tokens_cache_read,
       r.tokens_cache_write, r.events, r.files_changed, r.insertions, r.deletions, r.cost_basis
  from run r left join engine e on e.id = r.engine
"""


async def list_runs(
    connection: asyncpg.Connection,
    *,
    task: int | None = None,
    project: str | None = None,
    statuses: Sequence[str] = (),
    limit: int,
) -> list[Run]:
    """The newest runs first. Served by the primary key, of one task by the key (task, attempt)."""
    conditions: list[str] = []
    values: list[Any] = []
    for condition, value in (
        ("r.task = {}", task),
        ("r.project = {}", project),
        ("r.status = any({}::text[]::run_status[])", list(statuses) or None),
    ):
        if value is not None:
            values.append(value)
            conditions.append(condition.format(f"${len(values)}"))
    where = f"where {' and '.join(conditions)}" if conditions else ""
    values.append(limit)
    rows = await connection.fetch(f"{_RUN} {where} order by r.number desc limit ${len(values)}", *values)
    return [_run(row) for row in rows]


async def find_number(connection: asyncpg.Connection, name: str) -> int:
    """The number of a run named ``42.2``, by its id, or by its task for the latest. Raises :class:`NotFoundError`."""
    task, dot, attempt = name.partition(".")
    if dot:
        number = await connection.fetchval(
            "select number from run where task = $1 and attempt = $2", int(task), int(attempt)
        )
    elif task.isdecimal():
        number = await latest(connection, int(task))
        if number is None and not await connection.fetchval(
            "select exists (select 1 from task where number = $1)", int(task)
        ):
            raise NotFoundError(f"there is no task #{task}", "see `qd task list`")
        if number is None:
            raise NotFoundError(f"task #{task} has no run yet", f"`qd task show {task}` says why")
    else:
        number = await connection.fetchval("select number from run where id = $1", UUID(name))
    if number is None:
        raise NotFoundError(f"there is no run {name}", "see `qd run list`")
    return int(number)


async def latest(connection: asyncpg.Connection, task: int) -> int | None:
    """The number of the latest run of a task; None before its first."""
    number: int | None = await connection.fetchval(
        "select number from run where task = $1 order by attempt desc limit 1", task
    )
    return number


async def run_by_number(connection: asyncpg.Connection, number: int) -> Run:
    """One run."""
    row = await connection.fetchrow(f"{_RUN} where r.number = $1", number)
    if row is None:
        raise NotFoundError("the run was deleted meanwhile", "see `qd run list`")
    return _run(row)


async def find_run(connection: asyncpg.Connection, name: str) -> Run:
    """One run by its name. Raises :class:`NotFoundError`."""
    return await run_by_number(connection, await find_number(connection, name))


async def progress(connection: asyncpg.Connection, run: int) -> Progress:
    """How far a run is. Events up to there are visible to every later statement."""
    row = await connection.fetchrow("select events, status::text from run where number = $1", run)
    return Progress(row["events"], row["status"] not in LIVE) if row else Progress(0, ended=True)


async def event_page(
    connection: asyncpg.Connection, run: int, *, since: int, kinds: Sequence[str] = (), limit: int
) -> list[RunEvent]:
    """Events of a run after number ``since``, in order, of some kinds or all. Served by the index event_run."""
    values: list[Any] = [run, since, limit]
    condition = ""
    if kinds:
        values.append(list(kinds))
        condition = "and v.kind = any($4)"
    rows = await connection.fetch(
        f"""
        select r.id as run, v.seq, v.at, v.kind, v.text, v.data from event v join run r on r.number = v.run
         where v.run = $1 and v.seq > $2 {condition} order by v.seq limit $3
        """,  # noqa: S608 - all values are bound
        *values,
    )
    return [RunEvent(**row) for row in rows]


async def before_the_last(connection: asyncpg.Connection, run: int, count: int, kinds: Sequence[str] = ()) -> int:
    """The number after which the last ``count`` events of a run come. Served by the index event_run, read backwards."""
    values: list[Any] = [run, count]
    condition = ""
    if kinds:
        values.append(list(kinds))
        condition = "and kind = any($3)"
    seq: int | None = await connection.fetchval(
        f"""
        select min(seq) from (select seq from event where run = $1 {condition} order by seq desc limit $2) last
        """,  # noqa: S608 - all values are bound
        *values,
    )
    return 0 if seq is None else seq - 1


async def change_of(connection: asyncpg.Connection, run: int) -> Change:
    """Where the change of a run lies."""
    row = await connection.fetchrow(
        """
        select r.task || '.' || r.attempt as run, p.path as repository, r.branch, r.base_commit, r.head_commit, r.worktree,
               r.status = any($2::text[]::run_status[]) as live
          from run r join project p on p.id = r.project where r.number = $1
        """,
        run,
        list(LIVE),
    )
    if row is None:
        raise NotFoundError("the project of this run is not registered any more", "see `qd project list`")
    return Change(**row)


async def add_input(
    connection: asyncpg.Connection, run: int, kind: InputKind, data: Mapping[str, Any], actor: str
) -> int | None:
    """Queue something that a run is to be told; its number within the run. None when the run has ended.

    The row lock on the run gives the numbers without a gap, and keeps the end of the run out meanwhile.
    """
    seq: int | None = await connection.fetchval(
        "update run set inputs = inputs + 1 where number = $1 and status = any($2::text[]::run_status[]) returning inputs",
        run,
        list(LIVE),
    )
    if seq is not None:
        await connection.execute(
            "insert into run_input (run, seq, kind, data, actor) values ($1, $2, $3, $4, $5)",
            run,
            seq,
            kind,
            dict(data),
            actor,
        )
    return seq


async def tell(connection: asyncpg.Connection, run: int, kind: InputKind, data: Mapping[str, Any], actor: str) -> int:
    """As :func:`add_input`, for a run that must be live. Raises :class:`ConflictError`."""
    seq = await add_input(connection, run, kind, data, actor)
    if seq is None:
        ended = await run_by_number(connection, run)
        raise ConflictError(
            f"run {ended.name} has ended ({ended.status})", f"`qd task retry {ended.task}` starts another"
        )
    return seq


def _run(row: asyncpg.Record) -> Run:
    values = dict(row)
    tokens = Tokens(*(values.pop(f"tokens_{name}") for name in ("input", "output", "cache_read", "cache_write")))
    return Run(**values, tokens=tokens)
