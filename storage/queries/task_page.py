"""What the page of one task shows besides the task: the tasks around it, its checks, where its attempts keep their papers."""

from dataclasses import dataclass

import asyncpg

from storage.queries.reviews import Gate

NEAR = 60
"""Tasks that a graph holds at most; the nearest ones."""


@dataclass(frozen=True, slots=True)
class GraphNode:
    """One task of a graph of dependencies."""

    number: int
    project: str
    title: str
    status: str
    priority: int


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """The tasks that a task waits for and that wait for it, all the way, what else these wait for, and the dependencies among them (parent, child)."""

    nodes: tuple[GraphNode, ...]
    edges: tuple[tuple[int, int], ...]
    more: int
    """Tasks that were left out."""


@dataclass(frozen=True, slots=True)
class Round:
    """The checks of one round of one attempt."""

    attempt: int
    round: int
    gates: tuple[Gate, ...]


async def neighbourhood(connection: asyncpg.Connection, number: int) -> Neighbourhood:
    """The graph around a task, the nearest :data:`NEAR` tasks of it. Served by the primary key of task_after and task_after_child."""
    rows = await connection.fetch(
        """
        with recursive above (task, far) as (
          select $1::bigint, 0 union select d.parent, a.far + 1 from above a join task_after d on d.child = a.task where a.far < 12),
        below (task, far) as (
          select $1::bigint, 0 union select d.child, b.far + 1 from below b join task_after d on d.parent = b.task where b.far < 12),
        beside (task, far) as (select d.parent, b.far + 1 from below b join task_after d on d.child = b.task),
        near as (select task, min(far) as far from (select * from above union all select * from below union all select * from beside) x group by task)
        select t.number, t.project, b.title, t.status::text, t.priority, count(*) over () as found
          from near n join task t on t.number = n.task join task_body b on b.task = t.number order by n.far, t.number limit $2
        """,
        number,
        NEAR,
    )
    numbers = [row["number"] for row in rows]
    edges = await connection.fetch(
        "select parent, child from task_after where parent = any($1) and child = any($1) order by parent, child",
        numbers,
    )
    nodes = sorted((GraphNode(*list(row)[:5]) for row in rows), key=lambda node: node.number)
    return Neighbourhood(
        tuple(nodes),
        tuple((row["parent"], row["child"]) for row in edges),
        (rows[0]["found"] if rows else 0) - len(rows),
    )


async def rounds_of(connection: asyncpg.Connection, task: int, *, limit: int = 12) -> tuple[Round, ...]:
    """The newest rounds of checks of a task, the newest first. Served by the keys of run and gate."""
    rows = await connection.fetch(
        """
        select r.attempt, g.round, g.command, g.status, g.exit_code, g.seconds, right(g.output, 8000) as output from run r join gate g on g.run = r.number
         where r.task = $1 order by r.attempt desc, g.round desc, g.position limit $2
        """,
        task,
        limit * 8,
    )
    found: dict[tuple[int, int], list[Gate]] = {}
    for row in rows:
        key = (row["attempt"], row["round"])
        gate = Gate(row["command"], row["status"], row["exit_code"], row["seconds"], row["output"])
        found.setdefault(key, []).append(gate)
    return tuple(Round(attempt, round_, tuple(gates)) for (attempt, round_), gates in list(found.items())[:limit])


async def folder_of(connection: asyncpg.Connection, task: int) -> str | None:
    """The folder of the latest attempt, on the host of its engine."""
    folder: str | None = await connection.fetchval(
        "select folder from run where task = $1 order by attempt desc limit 1", task
    )
    return folder


async def has_review(connection: asyncpg.Connection, task: int) -> bool:
    """Whether a change of the task was ever to be judged by a person. Served by review_task."""
    found: bool = await connection.fetchval("select exists (select 1 from review where task = $1)", task)
    return found
