"""What the commands about tasks and runs answer with: rows of the database, and how they look to people."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar

from core.commands.shown import Column
from core.events import EventKind
from storage.queries.questions import Question
from storage.queries.reviews import Review, ReviewDetails
from storage.queries.runs import Run, RunEvent
from storage.queries.tasks import Task

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TaskView(Task):
    """A task."""

    columns: ClassVar[tuple[Column, ...]] = (
        Column("task", "number", "key"),
        Column("project", "project"),
        Column("status", "status", "state"),
        Column("prio", "priority", "count"),
        Column("title", "title"),
        Column("agent", "agent"),
        Column("attempts", "attempts", "count", spare=1),
        Column("cost", "cost_usd", "usd", spare=2),
        Column("basis", "cost_basis", spare=4),
        Column("reason", "reason"),
        Column("updated", "updated_at", "time", spare=3),
    )
    empty: ClassVar[str] = 'No tasks. Add the first: qd task add "TITLE" --project ID'


@dataclass(frozen=True, slots=True)
class RunView(Run):
    """A run."""

    columns: ClassVar[tuple[Column, ...]] = (
        Column("run", "name", "key"),
        Column("project", "project"),
        Column("status", "status", "state"),
        Column("agent", "agent"),
        Column("events", "events", "count", spare=1),
        Column("files", "files_changed", "count", spare=2),
        Column("+", "insertions", "count", spare=4),
        Column("−", "deletions", "count", spare=3),
        Column("cost", "cost_usd", "usd"),
        Column("basis", "cost_basis", spare=5),
        Column("reason", "reason"),
        Column("started", "started_at", "time"),
    )
    empty: ClassVar[str] = "No runs yet. An engine begins one when a task is ready: qd up"


@dataclass(frozen=True, slots=True)
class EventView(RunEvent):
    """An event."""

    columns: ClassVar[tuple[Column, ...]] = (
        Column("seq", "seq", "count"),
        Column("at", "at", "time"),
        Column("kind", "kind", "key"),
        Column("text", "words"),
    )
    empty: ClassVar[str] = "Nothing happened in this run yet."

    @property
    def words(self) -> str:
        """What a person reads of it: of a check that did not pass also what it printed."""
        output = str(self.data.get("output") or "").strip() if self.kind == EventKind.VERIFY else ""
        return self.text if not output or self.data.get("passed") else f"{self.text}\n{output}"


@dataclass(frozen=True, slots=True)
class QuestionView(Question):
    """A question."""

    columns: ClassVar[tuple[Column, ...]] = (
        Column("question", "number", "key"),
        Column("kind", "kind"),
        Column("project", "project"),
        Column("task", "task"),
        Column("status", "status", "state"),
        Column("text", "text"),
        Column("options", "options"),
        Column("asked", "asked_at", "time"),
    )
    empty: ClassVar[str] = "No open questions."


@dataclass(frozen=True, slots=True)
class ReviewView(Review):
    """A review."""

    columns: ClassVar[tuple[Column, ...]] = (
        Column("task", "task", "key"),
        Column("project", "project"),
        Column("status", "status", "state"),
        Column("title", "title"),
        Column("files", "files_changed", "count", spare=2),
        Column("+", "insertions", "count", spare=5),
        Column("−", "deletions", "count", spare=4),
        Column("cost", "cost_usd", "usd", spare=1),
        Column("agent", "agent"),
        Column("note", "note"),
        Column("created", "created_at", "time", spare=3),
    )
    empty: ClassVar[str] = "Nothing waits for a review."


@dataclass(frozen=True, slots=True)
class ReviewDetailsView(ReviewDetails):
    """A review with its checks."""


@dataclass(frozen=True, slots=True)
class InputView:
    """Something that a run was told: its engine delivers it, in the order of ``seq``."""

    run: str
    seq: int
    kind: str
    text: str | None


@dataclass(frozen=True, slots=True)
class DiffView:
    """The change of a run as a patch."""

    run: str
    base: str
    head: str | None
    """None: as its worktree is at this moment."""
    patch: str
    prints: ClassVar[str] = "patch"


def view(cls: type[T], row: Any) -> T:
    """A row of the database as what is shown of it: ``cls`` is a subclass of its class."""
    return cls(**{field.name: getattr(row, field.name) for field in fields(row)})


def views(cls: type[T], rows: Iterable[Any]) -> list[T]:
    """As :func:`view`, for many."""
    return [view(cls, row) for row in rows]
