"""Pull requests and reverts as knowledge sees them: learned from once, and what they say of earlier work."""

from datetime import datetime
from typing import Literal

import asyncpg


async def mark(
    connection: asyncpg.Connection,
    project: str,
    number: int,
    title: str,
    task: int | None,
    merge_commit: str | None,
    merged_at: datetime,
) -> bool:
    """Write down that a pull request is learned from; False when it was before."""
    status = await connection.execute(
        """insert into learned_pull (project, number, title, task, merge_commit, merged_at) values ($1, $2, $3, $4, $5, $6)
           on conflict do nothing""",
        project,
        number,
        title,
        task,
        merge_commit,
        merged_at,
    )
    return bool(status == "INSERT 0 1")


async def learned(connection: asyncpg.Connection, project: str) -> set[int]:
    """Numbers of the pull requests of a project that were learned from."""
    return {
        row["number"] for row in await connection.fetch("select number from learned_pull where project = $1", project)
    }


async def own_task(connection: asyncpg.Connection, project: str, task: int) -> int | None:
    """The task, if there is one of this number in the project."""
    number: int | None = await connection.fetchval(
        "select number from task where number = $1 and project = $2", task, project
    )
    return number


async def merged_run(connection: asyncpg.Connection, task: int) -> int | None:
    """The run whose work a task's merge is: the latest that passed."""
    run: int | None = await connection.fetchval(
        "select number from run where task = $1 and status = 'succeeded' order by number desc limit 1", task
    )
    return run


async def head_of(connection: asyncpg.Connection, task: int) -> str | None:
    """The commit that the latest run of a task had left when it passed."""
    head: str | None = await connection.fetchval(
        "select head_commit from run where task = $1 and status = 'succeeded' order by number desc limit 1", task
    )
    return head


async def credit(connection: asyncpg.Connection, run: int, word: Literal["won", "lost"]) -> int:
    """Say anew how a run ended, for what it was told; how many items that changed."""
    count: int = await connection.fetchval("select knowledge_credit($1, $2)", run, word)
    return count


async def close_decisions(
    connection: asyncpg.Connection, project: str, task: int | None, pull: int, feedback: str | None
) -> list[int]:
    """Decisions made in a task, or for a pull request, that was merged: a success; which. So are those that its task, completed by that,
    has closed already. Served by decision_task.
    """
    rows = await connection.fetch(
        """update decision d set outcome = 'success', outcome_note = 'pull request #' || $3::int || ' was merged', pull_request = $3,
                  feedback = coalesce($4, d.feedback), resolved_at = clock_timestamp()
             from memory m join corpus c on c.id = m.corpus
            where m.number = d.memory and c.project = $1 and (d.task = $2 or d.pull_request = $3)
              and (d.outcome is null or d.outcome_note = 'task #' || d.task || ' is completed')
              and m.state = 'active' returning d.memory""",
        project,
        task,
        pull,
        feedback,
    )
    return [row["memory"] for row in rows]


async def turn_decisions(connection: asyncpg.Connection, task: int, outcome: str, note: str) -> list[int]:
    """The outcome of what was decided in a task, said anew; which. Whoever said it before is overruled."""
    rows = await connection.fetch(
        """update decision set outcome = $2, outcome_note = $3, repeat = $2 <> 'reverted', resolved_at = clock_timestamp()
            where task = $1 and outcome is distinct from $2 returning memory""",
        task,
        outcome,
        note,
    )
    return [row["memory"] for row in rows]


async def note_revert(connection: asyncpg.Connection, project: str, commit: str, undoes: str, task: int | None) -> bool:
    """Write down a revert; False when it is known."""
    status = await connection.execute(
        "insert into seen_revert (project, commit, undoes, task) values ($1, $2, $3, $4) on conflict do nothing",
        project,
        commit,
        undoes,
        task,
    )
    return bool(status == "INSERT 0 1")


async def reverted_by(connection: asyncpg.Connection, project: str, commit: str) -> tuple[int | None, str] | None:
    """Of a commit that is itself a revert: the task that it had taken back, and the commit."""
    row = await connection.fetchrow(
        "select task, undoes from seen_revert where project = $1 and commit = $2", project, commit
    )
    return (row["task"], row["undoes"]) if row else None


async def is_taken_back(connection: asyncpg.Connection, project: str, task: int) -> bool:
    """Whether the base has, as far as was seen, taken back a task's work: by a revert that no other has taken back in turn."""
    found = await connection.fetchval(
        """with recursive chain as (
             select s.commit, true as back from seen_revert s where s.project = $1 and s.task = $2
                and not exists (select 1 from seen_revert b where b.project = s.project and b.commit = s.undoes)
             union
             select s.commit, not c.back from chain c join seen_revert s on s.project = $1 and s.undoes = c.commit)
           select exists (select 1 from chain c where c.back
                             and not exists (select 1 from seen_revert s where s.project = $1 and s.undoes = c.commit))""",
        project,
        task,
    )
    return bool(found)


async def task_of_commit(connection: asyncpg.Connection, project: str, commit: str, pull: int | None) -> int | None:
    """The task whose work a commit is: by what landed of its run, its review, or its pull request."""
    task: int | None = await connection.fetchval(
        """select task from run where project = $1 and head_commit = $2
           union all select v.task from review v join task t on t.number = v.task where t.project = $1 and v.merge_commit = $2
           union all select task from learned_pull where project = $1 and (merge_commit = $2 or number = $3) and task is not null limit 1""",
        project,
        commit,
        pull,
    )
    return task


async def due(connection: asyncpg.Connection, name: str, days: float, now: datetime) -> bool:
    """Whether something that comes round every so many days is due; if it is, it counts as done by this transaction."""
    row = await connection.fetchval(
        """insert into upkeep (name, at) values ($1, $3) on conflict (name) do update set at = $3
            where upkeep.at <= $3 - make_interval(secs => $2) returning 1""",
        name,
        days * 86400.0,
        now,
    )
    return row is not None
