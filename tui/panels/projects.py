"""The projects: who has how much to do."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from core.commands.project_views import Project
from tui.actions import Subject
from tui.ink import Part, plain
from tui.widgets.panel import TablePanel
from tui.widgets.rows import Column, Rows


def _name(row: Project, at: Rows) -> Sequence[Part]:
    return [
        (f"{at.ink.glyph('half')} ", at.ink.project(row.colors.primary)),
        (plain(row.id), at.ink.project(row.colors.primary) + " bold"),
    ]


def _state(row: Project, at: Rows) -> Sequence[Part]:
    return [at.ink.state(row.status)]


def _running(row: Project, at: Rows) -> Sequence[Part]:  # noqa: ARG001
    return [(f"{row.running}/{row.max_parallel}", "run" if row.running else "dim")]


def _open(row: Project, at: Rows) -> Sequence[Part]:  # noqa: ARG001
    return [(f"{row.open_tasks:,}", "text" if row.open_tasks else "dim"), (" open", "dim")]


def _stack(row: Project, at: Rows) -> Sequence[Part]:  # noqa: ARG001
    return [(plain(row.stack or row.repo), "dim")]


def _priority(row: Project, at: Rows) -> Sequence[Part]:  # noqa: ARG001
    return [(str(row.priority), "dim")]


class ProjectsPanel(TablePanel):
    """Projects."""

    number = 2
    name_shown = "projects"
    scopes = ("projects", "rows", "motion")
    topics = ("project", "task")
    statuses = ("active", "paused")
    columns = (
        Column("project", 0, _name, rank=10, order="id", least=12),
        Column("state", 9, _state, rank=7, order="status"),
        Column("runs", 5, _running, right=True, rank=8),
        Column("open", 9, _open, right=True, rank=6, order="open_tasks"),
        Column("stack", 10, _stack, rank=2),
    )

    async def load_all(self) -> Sequence[Project]:
        """All projects, the most important first."""
        found: list[Project] = await self.deck.store.ask("project.list")
        self.deck.learn_projects(found)
        return found

    def key_of(self, row: Project) -> Hashable:
        """Its id."""
        return row.id

    def subject_of(self, row: Any) -> Subject:
        """A project."""
        return Subject("project", {"project": row.id}, plain(row.name), row)

    def fields_of(self, row: Project) -> Mapping[str, str | None]:
        """``project:`` looks at the id."""
        return {"project": row.id, "status": row.status}

    def summary(self) -> list[Part]:
        """How many, and how many of them rest."""
        if not self.loaded:
            return []
        paused = sum(row.status == "paused" for row in self.rows.values())
        parts: list[Part] = [(str(len(self.keys)), "dim")]
        return [*parts, (f", {paused} paused", "warn")] if paused else parts

    def nothing(self) -> Sequence[str]:
        """The way to the first project."""
        keys = self.deck.registry.keys_of("project.add")
        return ("No projects yet", f"{keys} adds a git repository")
