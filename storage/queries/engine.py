"""What the engine reads and writes about the runs that it holds.

Every write that could come from an engine that has lost its claim names the fence of the claim (``lease_token``) or the position in
the spool that it starts from, and does nothing when that is stale.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import asyncpg

from storage.queries.records import from_record


@dataclass(frozen=True, slots=True)
class Work:
    """A claimed task with all that its run needs to know."""

    number: int
    id: UUID
    project: str
    agent: str
    title: str
    description: str
    lease_token: int
    attempts: int
    failures: int
    max_attempts: int
    max_cost_usd: Decimal | None
    feedback: str | None
    branch: str | None
    cancel_requested: bool
    deadline: datetime | None
    repository: str
    base: str | None
    verify: tuple[str, ...]
    auto_merge: bool
    merge_method: Literal["merge", "fast-forward"]
    adapter: str
    model: str | None
    command: str | None
    agent_env: Mapping[str, str]
    role: str | None
    last_session: str | None
    """The conversation of the previous attempt with the same agent in the same worktree."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a person may change of a task while a run of it goes on."""

    number: int
    cancel_requested: bool
    deadline: datetime | None
    max_cost_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A run that has not ended, as its engine needs it after a restart."""

    number: int
    id: UUID
    task: int
    attempt: int
    agent: str
    lease_token: int
    status: str
    mark: str
    folder: str
    worktree: str | None
    branch: str | None
    base_commit: str | None
    head_commit: str | None
    session: str | None
    shipped_out: int
    shipped_err: int
    events: int
    cost_usd: Decimal
    adoptions: int


@dataclass(frozen=True, slots=True)
class Input:
    """Something that a run is to be told."""

    run: int
    seq: int
    kind: str
    data: Mapping[str, Any]
    actor: str


_WORK = """
select t.number, b.id, t.project, a.name as agent, b.title, b.description, t.lease_token, t.attempts, t.failures, t.max_attempts,
       b.max_cost_usd, b.feedback, b.branch,
       t.cancel_requested, t.deadline, p.path as repository, p.base, p.verify, p.auto_merge, p.merge_method, a.adapter, a.model,
       a.command, a.env as agent_env, a.role,
       (select r.session from run r where r.task = t.number and r.agent = a.name and r.session is not null
         order by r.number desc limit 1) as last_session
  from task t join task_body b on b.task = t.number join project p on p.id = t.project join agent a on a.name = $2
 where t.number = $1
"""


async def load_work(connection: asyncpg.Connection, task: int, agent: str) -> Work | None:
    """All about a claimed task, for the agent that was chosen. Served by primary keys."""
    return from_record(Work, await connection.fetchrow(_WORK, task, agent))


async def insert_run(
    connection: asyncpg.Connection,
    *,
    id: UUID,  # noqa: A002 - the column's name
    work: Work,
    engine: int,
    mark: str,
    folder: str,
    branch: str,
    worktree: str,
) -> tuple[int, int] | None:
    """The row of a run, committed before anything is started: its number and attempt. None when the claim is stale."""
    row = await connection.fetchrow(
        """
        with held as (select number from task where number = $2 and lease_token = $3 and status = 'in_progress' for no key update),
        named as (update task_body b set branch = $9 from held where b.task = held.number and b.branch is distinct from $9),
        woken as (delete from budget_wait w using held where w.task = held.number)
        insert into run (id, task, lease_token, attempt, project, agent, engine, mark, folder, branch, worktree)
        select $1, $2, $3, coalesce((select max(attempt) from run where task = $2), 0) + 1, $4, $5, $6, $7, $8, $9, $10 from held
        returning number, attempt
        """,
        id,
        work.number,
        work.lease_token,
        work.project,
        work.agent,
        engine,
        mark,
        folder,
        branch,
        worktree,
    )
    return (row["number"], row["attempt"]) if row else None


async def update_run(connection: asyncpg.Connection, run: int, /, **columns: Any) -> bool:
    """Set columns of a run that has not ended. False when it has (it was declared lost, say)."""
    names = list(columns)
    assignments = ", ".join(f"{name} = ${position}" for position, name in enumerate(names, start=2))
    status = await connection.execute(
        f"update run set {assignments} where number = $1 and status in ('starting', 'running', 'verifying')",  # noqa: S608 - names are ours
        run,
        *columns.values(),
    )
    return bool(status == "UPDATE 1")


async def heads_without_end(connection: asyncpg.Connection, task: int) -> list[str]:
    """What runs of a task were about to land of whose success nothing is recorded. Served by the key (task, attempt)."""
    rows = await connection.fetch(
        "select head_commit from run where task = $1 and status <> 'succeeded' and head_commit <> base_commit", task
    )
    return [row["head_commit"] for row in rows]


async def rename_branch(connection: asyncpg.Connection, run: int, task: int, branch: str) -> None:
    """The work goes on under another branch."""
    await connection.execute("update run set branch = $2 where number = $1", run, branch)
    await connection.execute("update task_body set branch = $2 where task = $1", task, branch)


async def hand_over(connection: asyncpg.Connection, task: int, token: int, agent: str) -> None:
    """Another agent goes on with a claimed task. Fenced by the token."""
    await connection.execute(
        "update task set agent = $3 where number = $1 and lease_token = $2 and status = 'in_progress'",
        task,
        token,
        agent,
    )
    await connection.execute(
        "insert into lane (project, agent) select project, agent from task where number = $1 on conflict do nothing",
        task,
    )


async def maintain_events(connection: asyncpg.Connection, keep_days: float | None) -> None:
    """Make the partitions of the coming months, and drop those that only hold events older than ``keep_days``."""
    await connection.execute("select event_maintain($1)", timedelta(days=keep_days) if keep_days else None)


async def live_runs(connection: asyncpg.Connection, engine: int) -> list[LiveRun]:
    """What this engine held when it was last alive. Served by the index run_live."""
    rows = await connection.fetch(
        """
        select number, id, task, attempt, agent, lease_token, status::text, mark, folder, worktree, branch, base_commit, head_commit,
               session, shipped_out, shipped_err, events, cost_usd, adoptions
          from run where engine = $1 and status in ('starting', 'running', 'verifying') order by number
        """,
        engine,
    )
    return [LiveRun(**row) for row in rows]


async def held_tasks(connection: asyncpg.Connection, engine: int) -> dict[int, int]:
    """Number and token of every task that the database says this engine holds. Served by the index task_held."""
    rows = await connection.fetch(
        "select number, lease_token from task where engine = $1 and status = 'in_progress'", engine
    )
    return {row["number"]: row["lease_token"] for row in rows}


async def open_inputs(connection: asyncpg.Connection, engine: int) -> list[Input]:
    """What the runs of this engine are still to be told, in order. Served by the index run_input_open."""
    rows = await connection.fetch(
        """
        select i.run, i.seq, i.kind, i.data, i.actor from run_input i join run r on r.number = i.run
         where i.delivered_at is null and r.engine = $1 and r.status in ('starting', 'running', 'verifying') order by i.run, i.seq
        """,
        engine,
    )
    return [Input(**row) for row in rows]


async def terms(connection: asyncpg.Connection, engine: int) -> list[Terms]:
    """The terms of the tasks that this engine holds. Served by the index task_held."""
    rows = await connection.fetch(
        """select t.number, t.cancel_requested, t.deadline, b.max_cost_usd
             from task t join task_body b on b.task = t.number where t.engine = $1 and t.status = 'in_progress'""",
        engine,
    )
    return [Terms(**row) for row in rows]


async def say_room(connection: asyncpg.Connection, engine: int, max_parallel: int) -> None:
    """How many runs this engine takes at a time, for whoever asks why a task waits."""
    await connection.execute(
        "update engine set max_parallel = $2 where id = $1 and max_parallel <> $2", engine, max_parallel
    )


async def end_run(connection: asyncpg.Connection, run: int, status: str, /, **columns: Any) -> bool:
    """The last word on a run; a run that has ended waits for no answer. False when it had ended already."""
    names = list(columns)
    assignments = "".join(f", {name} = ${position}" for position, name in enumerate(names, start=3))
    done = await connection.execute(
        f"update run set status = $2, finished_at = clock_timestamp(){assignments} "  # noqa: S608 - names are ours
        "where number = $1 and status in ('starting', 'running', 'verifying')",
        run,
        status,
        *columns.values(),
    )
    await connection.execute(
        "update question set status = 'expired', answered_at = clock_timestamp() where run = $1 and status = 'open'",
        run,
    )
    return bool(done == "UPDATE 1")


async def store_gate(
    connection: asyncpg.Connection,
    run: int,
    round_: int,
    position: int,
    command: str,
    status: str,
    exit_code: int | None,
    seconds: float,
    output: str,
) -> None:
    """The result of one gate command."""
    await connection.execute(
        """insert into gate (run, round, position, command, status, exit_code, seconds, output) values ($1, $2, $3, $4, $5, $6, $7, $8)
           on conflict (run, round, position) do update set status = excluded.status, exit_code = excluded.exit_code,
           seconds = excluded.seconds, output = excluded.output""",
        run,
        round_,
        position,
        command,
        status,
        exit_code,
        seconds,
        output,
    )


async def last_gate_round(connection: asyncpg.Connection, run: int) -> int:
    """The number of the last round of gates of a run; 0 before the first."""
    number: int = await connection.fetchval("select coalesce(max(round), 0) from gate where run = $1", run)
    return number


async def open_review(connection: asyncpg.Connection, task: int, run: int, note: str | None) -> None:
    """Ask a person to judge the change of a run. An earlier open review of the task is superseded."""
    await connection.execute(
        "update review set status = 'superseded' where task = $1 and status in ('open', 'approved')", task
    )
    await connection.execute(
        "insert into review (task, run, note, engine_note) values ($1, $2, $3, $3::text is not null)", task, run, note
    )


@dataclass(frozen=True, slots=True)
class Approved:
    """A review that waits for its merge."""

    review: int
    task: int
    run: int
    run_id: UUID
    actor: str | None
    folder: str
    mark: str
    worktree: str
    branch: str
    base_commit: str
    head_commit: str
    title: str
    project: str
    repository: str
    base: str | None
    verify: tuple[str, ...]
    merge_method: Literal["merge", "fast-forward"]


async def approved_reviews(connection: asyncpg.Connection, engine: int) -> list[Approved]:
    """Reviews that a person has approved, whose worktree lies with this engine. Served by the index review_approved."""
    rows = await connection.fetch(
        """
        select v.number as review, v.task, v.run, r.id as run_id, v.actor, r.folder, r.mark, r.worktree, r.branch, r.base_commit,
               r.head_commit, b.title, r.project, p.path as repository, p.base, p.verify, p.merge_method
          from review v join run r on r.number = v.run join task_body b on b.task = v.task join project p on p.id = r.project
         where v.status = 'approved' and r.engine = $1 order by v.decided_at
        """,
        engine,
    )
    return [found for row in rows if (found := from_record(Approved, row))]


async def settle_review(
    connection: asyncpg.Connection, review: int, status: str, note: str | None, merge_commit: str | None
) -> None:
    """How an approved review ended: merged, conflict, open again."""
    await connection.execute(
        """update review set status = $2, note = coalesce($3, note), engine_note = engine_note or $3::text is not null, merge_commit = $4,
           merged_at = case when $2 = 'merged' then clock_timestamp() end where number = $1 and status = 'approved'""",
        review,
        status,
        note,
        merge_commit,
    )


async def worktree_owners(connection: asyncpg.Connection, paths: Sequence[str]) -> dict[str, tuple[str, UUID, str]]:
    """For worktrees by path: status of the task, id of its last run, and the repository."""
    rows = await connection.fetch(
        """
        select distinct on (r.worktree) r.worktree, t.status::text as status, r.id, p.path as repository
          from run r join task t on t.number = r.task join project p on p.id = r.project
         where r.worktree = any($1) order by r.worktree, r.number desc
        """,
        list(paths),
    )
    return {row["worktree"]: (row["status"], row["id"], row["repository"]) for row in rows}


async def has_open_input(connection: asyncpg.Connection, run: int) -> bool:
    """Whether a run is still to be told something. Served by the index run_input_open."""
    found: bool = await connection.fetchval(
        "select exists (select 1 from run_input where run = $1 and delivered_at is null)", run
    )
    return found


async def has_open_question(connection: asyncpg.Connection, run: int) -> bool:
    """Whether a run waits for an answer."""
    found: bool = await connection.fetchval(
        "select exists (select 1 from question where run = $1 and status = 'open')", run
    )
    return found


async def move_task(
    connection: asyncpg.Connection,
    number: int,
    from_: Sequence[str],
    to: str,
    *,
    reason: str | None = None,
    feedback: str | None = None,
    fresh: bool = False,
) -> str | None:
    """Change the state of a task that nobody holds; its new one, or None when it was not in ``from_``."""
    status: str | None = await connection.fetchval(
        "select task_move($1, $2::text[]::task_status[], $3::text::task_status, $4, null, null, $5, $6)::text",
        number,
        list(from_),
        to,
        reason,
        feedback,
        fresh,
    )
    return status


async def runs_by_id(connection: asyncpg.Connection, ids: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Status and engine of runs by their id."""
    rows = await connection.fetch(
        "select id, status::text, engine from run where id = any($1::text[]::uuid[])", list(ids)
    )
    return {str(row["id"]): (row["status"], row["engine"]) for row in rows}


async def note_adoption(connection: asyncpg.Connection, run: int) -> None:
    """Count that a run was taken up; shipping anything sets it back."""
    await connection.execute("update run set adoptions = adoptions + 1 where number = $1", run)


@dataclass(frozen=True, slots=True)
class KnownAgent:
    """An agent as the claim needs it."""

    name: str
    adapter: str


async def enabled_agents(connection: asyncpg.Connection) -> list[KnownAgent]:
    """Who may work."""
    return [
        KnownAgent(**row)
        for row in await connection.fetch("select name, adapter from agent where enabled order by name")
    ]


async def set_engine_state(
    connection: asyncpg.Connection, engine: int, state: str, lease_seconds: float | None = None
) -> None:
    """The engine's own word on its state; with ``lease_seconds`` also how long what it holds is to be left alone."""
    await connection.execute(
        """update engine set state = $2, lease_until = case when $3::float8 is null then lease_until
           else clock_timestamp() + make_interval(secs => $3) end where id = $1""",
        engine,
        state,
        lease_seconds,
    )


async def wanted_state(connection: asyncpg.Connection, engine: int) -> str:
    """What a person wants of this engine: run, stop, stop_runs."""
    wanted: str = await connection.fetchval("select wanted from engine where id = $1", engine)
    return wanted


async def agent_of_claim(connection: asyncpg.Connection, task: int) -> str | None:
    """Who was to work on a claimed task whose run had not begun: by its slot, else by the task itself; None for whoever is free."""
    name: str | None = await connection.fetchval(
        "select coalesce((select agent from agent_slot where task = $1), nullif(t.agent, '')) from task t where t.number = $1",
        task,
    )
    return name


async def renew(connection: asyncpg.Connection, engine: int, lease_seconds: float) -> None:
    """An engine that was declared dead but lives begins a new lease."""
    await connection.execute(
        "update engine set state = 'running', lease_until = clock_timestamp() + make_interval(secs => $2) where id = $1",
        engine,
        lease_seconds,
    )
