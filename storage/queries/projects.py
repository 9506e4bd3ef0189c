"""Projects: the row that a person edits, and beside it the narrow ``load`` row that claims change."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg

from storage.queries.records import from_record

_SELECT = """
select p.id, p.name, p.repo, p.path, p.stack, p.priority, p.base, p.verify, p.auto_merge, p.merge_method, p.agent,
       p.primary_colour, p.accent_colour, p.extra, p.created_at, p.updated_at, l.paused, l.max_parallel, l.running,
       (select count(*) from task t where t.project = p.id
           and t.status in ('pending', 'blocked', 'waiting', 'in_progress', 'review')) as open_tasks
  from project p join load l on l.project = p.id
"""
_LOAD = ("paused", "max_parallel")


@dataclass(frozen=True, slots=True)
class ProjectRow:
    """A project; ``running``: its tasks in progress, ``open_tasks``: those that are not over."""

    id: str
    name: str
    repo: str
    path: str
    stack: str | None
    priority: int
    base: str | None
    verify: tuple[str, ...]
    auto_merge: bool
    merge_method: str
    agent: str | None
    primary_colour: str | None
    accent_colour: str | None
    extra: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime
    paused: bool
    max_parallel: int
    running: int
    open_tasks: int


@dataclass(frozen=True, slots=True)
class InTheWay:
    """What keeps a project from being removed."""

    in_progress: tuple[int, ...]
    in_review: tuple[int, ...]
    waited_for: tuple[int, ...]
    """Tasks of other projects that cannot start without one of this project."""


async def list_projects(connection: asyncpg.Connection, limit: int = 1000) -> list[ProjectRow]:
    """All projects, the most important first."""
    rows = await connection.fetch(f"{_SELECT} order by p.priority desc, p.id limit $1", limit)
    return [found for row in rows if (found := from_record(ProjectRow, row))]


async def find_project(connection: asyncpg.Connection, project: str, *, lock: bool = False) -> ProjectRow | None:
    """One project; ``lock`` holds its row until the end of the transaction."""
    if lock:
        await connection.execute("select 1 from project where id = $1 for no key update", project)
    return from_record(ProjectRow, await connection.fetchrow(f"{_SELECT} where p.id = $1", project))


async def insert_project(connection: asyncpg.Connection, project: str, columns: Mapping[str, Any]) -> bool:
    """Add a project and its load; False when the id is taken. ``columns`` of both."""
    own = {name: value for name, value in columns.items() if name not in _LOAD}
    names = ["id", *own]
    places = ", ".join(f"${position}" for position in range(1, len(names) + 1))
    status = await connection.execute(
        f"insert into project ({', '.join(names)}) values ({places}) on conflict (id) do nothing",  # noqa: S608
        project,
        *own.values(),
    )
    if status != "INSERT 0 1":
        return False
    await connection.execute(
        "insert into load (project, paused, max_parallel) values ($1, $2, $3)",
        project,
        columns.get("paused", False),
        columns.get("max_parallel", 2),
    )
    return True


async def update_project(connection: asyncpg.Connection, project: str, columns: Mapping[str, Any]) -> None:
    """Set columns of a project and of its load."""
    own = {name: value for name, value in columns.items() if name not in _LOAD}
    load = {name: value for name, value in columns.items() if name in _LOAD}
    await connection.execute(
        f"update project set {_assignments({**own, 'updated_at': None})} where id = $1",  # noqa: S608
        project,
        *own.values(),
        datetime.now(UTC),
    )
    if load:
        await connection.execute(
            f"update load set {_assignments(load)} where project = $1",  # noqa: S608
            project,
            *load.values(),
        )


async def project_ids(connection: asyncpg.Connection) -> list[str]:
    """Every id, for suggestions."""
    return [row["id"] for row in await connection.fetch("select id from project order by id limit 1000")]


async def project_of_path(connection: asyncpg.Connection, path: str) -> str | None:
    """Which project works in this repository."""
    found: str | None = await connection.fetchval("select id from project where path = $1 order by id limit 1", path)
    return found


async def used_colours(connection: asyncpg.Connection) -> set[str]:
    """The primary colours that projects have."""
    rows = await connection.fetch(
        "select distinct primary_colour as colour from project where primary_colour is not null"
    )
    return {row["colour"] for row in rows}


async def hold_tasks(connection: asyncpg.Connection) -> None:
    """Let nobody add, claim or change a task until the end of the transaction: a removal may not race with any of
    that.
    """
    await connection.execute("lock table task in share row exclusive mode")


async def in_the_way(connection: asyncpg.Connection, project: str) -> InTheWay:
    """What keeps a project from being removed; at most 20 of each."""
    rows = await connection.fetch(
        """select number, status::text from task where project = $1 and status in ('in_progress', 'review')
            order by number limit 40""",
        project,
    )
    children = await connection.fetch(
        """select distinct c.number from task p join task_after d on d.parent = p.number join task c on c.number = d.child
            where p.project = $1 and c.project <> $1 and c.status = 'blocked' order by 1 limit 20""",
        project,
    )
    return InTheWay(
        tuple(row["number"] for row in rows if row["status"] == "in_progress")[:20],
        tuple(row["number"] for row in rows if row["status"] == "review")[:20],
        tuple(row["number"] for row in children),
    )


async def delete_project(connection: asyncpg.Connection, project: str) -> int:
    """Delete a project with its tasks, their runs, questions and reviews; how many tasks.

    The caller holds the tasks.
    """
    await connection.execute(
        """update task_body b set parent = null from task t, task c
            where t.number = b.parent and t.project = $1 and c.number = b.task and c.project <> $1""",
        project,
    )
    status: str = await connection.execute("delete from task where project = $1", project)
    for table in ("lane", "load"):
        await connection.execute(f"delete from {table} where project = $1", project)  # noqa: S608
    await connection.execute("delete from project where id = $1", project)
    return int(status.rpartition(" ")[2])


def _assignments(columns: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = ${position}" for position, name in enumerate(columns, start=2))
