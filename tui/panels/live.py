"""What happens now: the newest events of all runs, as they come."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from core.tasks.states import TaskStatus
from storage.queries import screen as queries
from tui.actions import Subject
from tui.ink import Part, plain
from tui.store import Fresh
from tui.widgets.panel import TablePanel
from tui.widgets.rows import Column, Rows

SHOWN = 200
"""Events that are kept on the deck; all of them are in the log of a run."""

SECONDS, SLOW_SECONDS = 0.35, 1.5
"""Least seconds between two pictures, and on a slow line."""

KINDS = {
    "message": "text", "thinking": "dim", "tool_call": "run", "tool_result": "dim", "edit": "ok", "question": "ask", "answer": "ask",
    "verify": "warn", "error": "bad", "status": "dim", "output": "dim", "usage": "dim",
}  # fmt: skip
"""Kind of an event → tone."""

SHORT = {"tool_call": "tool", "tool_result": "result", "thinking": "think"}
"""Kinds whose names are too long for a column."""


def _at(row: queries.LiveEvent, at: Rows) -> Sequence[Part]:  # noqa: ARG001
    return [(row.at.astimezone().strftime("%H:%M:%S"), "dim")]


def _run(row: queries.LiveEvent, at: Rows) -> Sequence[Part]:
    return [(f"#{row.task}", at.deck.tone_of(row.project))]


def _agent(row: queries.LiveEvent, at: Rows) -> Sequence[Part]:  # noqa: ARG001
    return [(plain(row.agent), "dim")]


def _kind(row: queries.LiveEvent, at: Rows) -> Sequence[Part]:  # noqa: ARG001
    return [(SHORT.get(row.kind, row.kind), KINDS.get(row.kind, "dim"))]


def _text(row: queries.LiveEvent, at: Rows) -> Sequence[Part]:  # noqa: ARG001
    tone = KINDS.get(row.kind, "text")
    return [
        (plain(row.text), tone if row.kind in ("error", "question", "message") else "text" if tone != "dim" else "dim")
    ]


class LivePanel(TablePanel):
    """The newest events. Follows the newest until one scrolls up; then says how many have come."""

    number = 4
    name_shown = "live log"
    scopes = ("live", "rows", "motion")
    topics = ("event", "run")
    statuses = tuple(TaskStatus)
    comes_back = False
    columns = (
        Column("time", 8, _at, rank=4),
        Column("task", 4, _run, right=True, rank=8, numbers=True),
        Column("agent", 8, _agent, rank=2),
        Column("kind", 8, _kind, rank=6),
        Column("text", 0, _text, rank=10),
    )

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.follows = True
        self._unseen = 0

    @property
    def pace(self) -> float:
        """What passes by need not be seen line by line: a few pictures a second tell as much, and a slow line carries them."""
        return SLOW_SECONDS if self.deck.choices.low_bandwidth else SECONDS

    async def load_all(self) -> Sequence[queries.LiveEvent]:
        """The newest events, the oldest of them first."""
        return await self.deck.store.read(lambda c: queries.newest_events(c, SHOWN))

    def key_of(self, row: queries.LiveEvent) -> Hashable:
        """Run and number."""
        return row.run, row.seq

    def fields_of(self, row: queries.LiveEvent) -> Mapping[str, str | None]:
        """``status:`` looks at the state of the task."""
        return {"project": row.project, "status": row.state, "agent": row.agent}

    def on_fresh(self, message: Fresh) -> None:
        """Go with the newest, or count what one does not see."""
        before = self.keys[-1] if self.keys else None
        super().on_fresh(message)
        if self.follows:
            self._unseen = 0
            self.go(len(self.keys) - 1)
        elif before in self.keys:
            self._unseen += len(self.keys) - 1 - self.keys.index(before)
            self.title_now()

    def go(self, to: int) -> None:
        """Following ends when one goes up, and begins again at the end."""
        super().go(to)
        self.follows = self.at >= len(self.keys) - 1
        if self.follows:
            self._unseen = 0
        self.title_now()

    def subject_of(self, row: Any) -> Subject:
        """The run that it happened in."""
        names = {"run": f"{row.task}.{row.attempt}", "task": str(row.task), "project": row.project}
        return Subject("run", names, f"run {row.task}.{row.attempt}", row, state=row.state, live=row.live)

    def summary(self) -> list[Part]:
        """Whether it follows."""
        if not self.keys:
            return []
        if self.follows:
            return [("following", "dim")]
        new = f"{self.ink.glyph('down')} {self._unseen} new" if self._unseen else "paused"
        return [(new, "warn"), ("  G follows", "dim")]

    def nothing(self) -> Sequence[str]:
        """What would be here."""
        return ("Nothing happens yet", "what agents do appears here, line by line")
