"""The queue: every task, in the order in which it matters. Windowed, so that a hundred thousand are no more than a screenful."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, get_args

import asyncpg

from core.tasks.states import TaskStatus
from storage.queries import screen as queries
from storage.queries import tasks
from tui.actions import Subject
from tui.answers import Asked
from tui.ink import Part, age, money, plain, told
from tui.widgets.panel import RowsPanel
from tui.widgets.rows import Column, Rows


@dataclass(frozen=True, slots=True)
class Queued(tasks.Task):
    """A task as the queue shows it: with who works on it, whether its last run is at work, and whether a person holds that."""

    live: bool | None = None
    paused: bool = False


def queued(task: tasks.Task, worker: queries.Worker | None) -> Queued:
    """A task, with the last who worked on it."""
    values = {field.name: getattr(task, field.name) for field in fields(tasks.Task)}
    if worker is None:
        return Queued(**values)
    paused = worker.paused and task.status == "in_progress"
    return Queued(**{**values, "agent": worker.agent}, live=worker.live, paused=paused)


def subject_of_task(row: tasks.Task, *, live: bool | None = None, asks: Asked | None = None) -> Subject:
    """A task as what actions work on. ``live``: whether its last run is at work; ``asks``: what that asks."""
    names = {"task": str(row.number), "project": row.project}
    if row.attempts:
        names["run"] = f"{row.number}.{row.attempts}"
    if row.status == "review":
        names["review"] = str(row.number)
    if asks is not None:
        names["question"] = asks.number
    return Subject("task", names, f"#{row.number} {plain(row.title)}", row, asks, row.status, live)


def _number(row: tasks.Task, at: Rows) -> Sequence[Part]:  # noqa: ARG001
    return [(f"#{row.number}", "dim")]


def _project(row: tasks.Task, at: Rows) -> Sequence[Part]:
    return [(plain(row.project), at.deck.tone_of(row.project))]


def _state(row: Queued, at: Rows) -> Sequence[Part]:
    return [at.ink.state("paused" if row.paused else row.status)]


def _priority(row: tasks.Task, at: Rows) -> Sequence[Part]:  # noqa: ARG001
    return [(str(row.priority), "warn bold" if row.priority == 5 else "text" if row.priority >= 3 else "dim")]


def _title(row: tasks.Task, at: Rows) -> Sequence[Part]:
    tone = "dim" if row.status in ("completed", "cancelled") else "text"
    parts: list[Part] = [(plain(row.title), tone)]
    if row.reason and row.status in ("blocked", "waiting", "failed", "pending"):
        parts.append((f"  {at.ink.glyph('dot')} {told(row.reason)}", "dim"))
    return parts


def _agent(row: tasks.Task, at: Rows) -> Sequence[Part]:  # noqa: ARG001
    return [(plain(row.agent or ""), "dim")]


def _attempts(row: tasks.Task, at: Rows) -> Sequence[Part]:
    return [(f"{row.attempts}{at.ink.glyph('times')}" if row.attempts > 1 else "", "warn")]


def _cost(row: tasks.Task, at: Rows) -> Sequence[Part]:  # noqa: ARG001
    return [(money(row.cost_usd) if row.cost_usd else "", "dim")]


def _age(row: tasks.Task, at: Rows) -> Sequence[Part]:
    return [(age(row.finished_at or row.started_at or row.created_at, at.deck.store.now()), "dim")]


class QueuePanel(RowsPanel):
    """Tasks."""

    number = 3
    name_shown = "queue"
    scopes = ("queue", "rows", "motion")
    topics = ("task", "run", "run-input", "project", "queue", "agent")
    statuses = tuple(TaskStatus)
    columns = (
        Column("task", 5, _number, right=True, rank=9, order="newest", numbers=True),
        Column("state", 13, _state, rank=8, order="status"),
        Column("p", 1, _priority, rank=6, order="priority"),
        Column("project", 9, _project, rank=7, order="project"),
        Column("title", 0, _title, rank=10, order="title", least=30),
        Column("agent", 8, _agent, rank=1),
        Column("", 2, _attempts, rank=4),
        Column("cost", 7, _cost, right=True, rank=2, order="cost"),
        Column("age", 4, _age, right=True, rank=5, order="updated"),
    )

    async def load_keys(self) -> Sequence[Hashable]:
        """Numbers of the tasks."""
        wanted = self.filter
        order: Any = self.order if self.order in get_args(queries.Order) else "work"
        terms: Any = tuple(queries.Term(one.name, one.values, one.inverse) for one in wanted.wanted)  # type: ignore[arg-type] # a filter knows no others
        search = queries.TaskSearch(terms, wanted.pattern, wanted.inverse, order, self.descending)
        return await self.deck.store.read(lambda c: queries.task_numbers(c, search))

    async def load_rows(self, keys: Sequence[Hashable]) -> Mapping[Hashable, Any]:
        """The tasks in full."""
        numbers = [int(str(key)) for key in keys]

        async def query(connection: asyncpg.Connection) -> tuple[list[tasks.Task], dict[int, queries.Worker]]:
            return await tasks.tasks_by_number(connection, numbers), await queries.workers(connection, numbers)

        found, workers = await self.deck.store.read(query)
        return {task.number: queued(task, workers.get(task.number)) for task in found}

    def subject_of(self, row: Any) -> Subject:
        """A task."""
        return subject_of_task(row, live=row.live)

    def summary(self) -> list[Part]:
        """How many there are."""
        if not self.loaded:
            return []
        count = f"{len(self.keys):,}"
        if self.filter:
            return [(f"{count} match {self.filter.text}", "warn")]
        parts: list[Part] = [(count, "dim")]
        if self.order:
            parts.append((f" by {self.order}", "dim"))
        return parts

    def nothing(self) -> Sequence[str]:
        """The way to the first task, which needs a project."""
        keys_of = self.deck.registry.keys_of
        if not self.deck.knows_projects:
            return (
                "No tasks yet",
                f"{keys_of('project.add')} adds a git repository, {keys_of('task.add')} then its first task",
            )
        return ("No tasks yet", f"{keys_of('task.add')} adds the first")
