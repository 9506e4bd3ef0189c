"""What runs are told, what they were told, and how good that proved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from storage.queries.knowledge import Memory, by_number
from storage.queries.records import from_record

POOR = 0.6
"""An item whose share of success is below this part of its project's is told to nobody any more."""
ENOUGH_USES = 3
"""Before so many runs have ended that were told of an item, nothing is held against it."""


@dataclass(frozen=True, slots=True)
class ContextRow:
    """What a run was told."""

    run: int
    budget: int
    tokens: int
    considered: int
    items: list[Mapping[str, Any]]
    warnings: list[Mapping[str, Any]]
    left_out: list[Mapping[str, Any]]
    at: datetime


async def paths_of(connection: asyncpg.Connection, task: int) -> tuple[str, ...]:
    """The declared paths of a task."""
    return tuple(await connection.fetchval("select paths from task_body where task = $1", task) or ())


async def feedback_of(connection: asyncpg.Connection, task: int) -> str | None:
    """What came of the attempt before at a task, in words."""
    words: str | None = await connection.fetchval("select feedback from task_body where task = $1", task)
    return words


async def standards(connection: asyncpg.Connection, project: str) -> list[Memory]:
    """Every standard in force that applies to a project, its own first. Served by the index memory_list."""
    rows = await connection.fetch(
        """select m.number from memory m join corpus c on c.id = m.corpus left join project p on p.id = $1
            where (c.project = $1 or c.project is null) and m.kind = 'standard' and m.state = 'active' and m.origin <> 'file' and not m.cold
              and knowledge_applies(m.kind, m.tags, null, null, $1, p.stack)
            order by c.project nulls last, m.number limit 200""",
        project,
    )
    found = await by_number(connection, [row["number"] for row in rows])
    return [found[row["number"]] for row in rows]


async def proven_lessons(connection: asyncpg.Connection, project: str, limit: int = 20) -> list[int]:
    """Lessons of failed checks with a fix that worked: met most often, and lately. Their checks are those of every task of the
    project; one that holds for all counts where a run of the project has met its trouble. Served by the key of sighting.
    """
    rows = await connection.fetch(
        """select l.memory from lesson l join memory m on m.number = l.memory join corpus c on c.id = l.corpus
             left join lateral (select count(distinct s.task) as tasks, max(s.at) as last from sighting s where s.lesson = l.memory) s on true
            where m.state = 'active' and not m.cold and l.worked and l.command is not null
              and (c.project = $1 or c.project is null and exists (
                     select 1 from sighting s join run r on r.number = s.run where s.lesson = l.memory and r.project = $1))
            order by s.tasks desc, s.last desc nulls last limit $2""",
        project,
        limit,
    )
    return [row["memory"] for row in rows]


async def not_again(connection: asyncpg.Connection, numbers: Sequence[int]) -> set[int]:
    """Those of some items that are decisions which should not be made so again."""
    rows = await connection.fetch(
        "select memory from decision where memory = any($1::int[]) and not repeat", list(numbers)
    )
    return {row["memory"] for row in rows}


async def poor(connection: asyncpg.Connection, project: str, numbers: Sequence[int]) -> set[int]:
    """Those of some items that do harm: runs told of them succeed far less often than the project's others. A standard holds for every
    run, and says nothing about which: it is never one.
    """
    rows = await connection.fetch(
        "select number from knowledge_harmful($1, $2, $3, $4) number", project, list(numbers), ENOUGH_USES, POOR
    )
    return {row["number"] for row in rows}


async def record(
    connection: asyncpg.Connection,
    run: int,
    *,
    budget: int,
    tokens: int,
    considered: int,
    items: Sequence[Mapping[str, Any]],
    warnings: Sequence[Mapping[str, Any]],
    left_out: Sequence[Mapping[str, Any]],
    memories: Sequence[int],
) -> None:
    """Write down what a run is told; again after a crash, in place of what was written before."""
    await connection.execute(
        """insert into run_context (run, budget, tokens, considered, items, warnings, left_out) values ($1, $2, $3, $4, $5, $6, $7)
           on conflict (run) do update set budget = excluded.budget, tokens = excluded.tokens, considered = excluded.considered,
             items = excluded.items, warnings = excluded.warnings, left_out = excluded.left_out, at = clock_timestamp()""",
        run,
        budget,
        tokens,
        considered,
        list(items),
        list(warnings),
        list(left_out),
    )
    await connection.execute("delete from injection where run = $1 and credit is null", run)
    await connection.execute(
        """insert into injection (run, memory) select $1, number from memory where number = any($2::int[])
           on conflict do nothing""",
        run,
        list(memories),
    )


async def told(connection: asyncpg.Connection, run: int) -> ContextRow | None:
    """What a run was told; None when it began before anything was known."""
    return from_record(ContextRow, await connection.fetchrow("select * from run_context where run = $1", run))


async def latest_run(connection: asyncpg.Connection, task: int) -> tuple[int, int] | None:
    """Number and attempt of the latest run of a task that was told something, or that it had nothing to be told."""
    row = await connection.fetchrow(
        """select r.number, r.attempt from run r join run_context c on c.run = r.number where r.task = $1
            order by r.number desc limit 1""",
        task,
    )
    return (row["number"], row["attempt"]) if row else None
