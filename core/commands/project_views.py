"""What the commands about projects answer with."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from core.commands.shown import Column
from storage.queries.projects import ProjectRow


@dataclass(frozen=True, slots=True)
class Colours:
    """The colours of a project, as CSS has them."""

    primary: str | None
    accent: str | None


@dataclass(frozen=True, slots=True)
class Checkout:
    """How the repository of a project stands; counts are of files."""

    branch: str | None
    staged: int
    modified: int
    untracked: int
    conflicted: int
    ahead: int | None
    behind: int | None
    remotes: Mapping[str, str]
    commit: str
    subject: str
    author: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Project:
    """A project. ``running``: tasks in progress; ``note``: what was found out or is to be known after a change."""

    id: str
    name: str
    repo: str
    path: str
    stack: str | None
    priority: int
    status: Literal["active", "paused"]
    base: str | None
    verify: tuple[str, ...]
    max_parallel: int
    running: int
    open_tasks: int
    auto_merge: bool
    merge_method: str
    agent: str | None
    colors: Colours
    extra: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime
    checkout: Checkout | None = None
    note: str | None = None
    columns: ClassVar[tuple[Column, ...]] = (
        Column("project", "id", "key"),
        Column("status", "status", "state"),
        Column("prio", "priority", "count"),
        Column("stack", "stack"),
        Column("running", "running", "count"),
        Column("of", "max_parallel", "count"),
        Column("open", "open_tasks", "count"),
        Column("repository", "repo"),
        Column("verify", "verify", spare=1),
    )
    empty: ClassVar[str] = "no projects; add the first with: qd project add PATH"


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What came of bringing a project's repository up to date."""

    project: str
    status: Literal["ok", "failed"]
    branch: str | None
    behind: int | None
    commit: str | None
    detail: str
    columns: ClassVar[tuple[Column, ...]] = (
        Column("project", "project", "key"),
        Column("status", "status", "state"),
        Column("branch", "branch"),
        Column("behind", "behind", "count"),
        Column("what", "detail"),
    )
    empty: ClassVar[str] = "no projects; add the first with: qd project add PATH"

    @property
    def exit_status(self) -> int:
        """1 for a repository that could not be brought up to date."""
        return 0 if self.status == "ok" else 1


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What became of one project of an imported file."""

    project: str
    status: Literal["added", "updated", "failed"]
    detail: str
    columns: ClassVar[tuple[Column, ...]] = (
        Column("project", "project", "key"),
        Column("status", "status", "state"),
        Column("what", "detail"),
    )
    empty: ClassVar[str] = "the file names no projects"

    @property
    def exit_status(self) -> int:
        """1 for a project that could not be taken in."""
        return 1 if self.status == "failed" else 0


def view(row: ProjectRow, *, checkout: Checkout | None = None, note: str | None = None) -> Project:
    """A project as it is answered."""
    return Project(
        id=row.id,
        name=row.name,
        repo=row.repo,
        path=row.path,
        stack=row.stack,
        priority=row.priority,
        status="paused" if row.paused else "active",
        base=row.base,
        verify=row.verify,
        max_parallel=row.max_parallel,
        running=row.running,
        open_tasks=row.open_tasks,
        auto_merge=row.auto_merge,
        merge_method=row.merge_method,
        agent=row.agent,
        colors=Colours(row.primary_colour, row.accent_colour),
        extra=row.extra,
        created_at=row.created_at,
        updated_at=row.updated_at,
        checkout=checkout,
        note=note,
    )
