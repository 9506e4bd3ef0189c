"""A screen that is one table: its columns are those that the command line shows for the same things."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, ClassVar

from textual.strip import Strip
from textual.widget import Widget

from core.commands.shown import Column as Shown
from core.faces.render import duration, usd
from tui.actions import Subject
from tui.ink import Part, age, plain, wrapped
from tui.screens.base import BaseScreen
from tui.widgets.panel import TablePanel
from tui.widgets.rows import Chosen, Column, Rows


def column(shown: Shown, width: int, *, rank: int = 5) -> Column:
    """A column of the command line as one of the screen."""

    def cell(row: Any, at: Rows) -> Sequence[Part]:
        value = row
        for name in shown.field.split("."):
            value = getattr(value, name, None)
        return [("", "")] if value is None else [_part(shown, value, at, "text" if rank > 5 else "dim")]

    right = shown.style in ("count", "usd", "seconds", "time", "bytes")
    order = shown.field if "." not in shown.field and shown.style != "text" else ""
    return Column(shown.title, width, cell, right=right, rank=rank, order=order)


def _part(shown: Shown, value: Any, at: Rows, tone: str) -> Part:
    match shown.style:
        case "state":
            return at.ink.state(str(value))
        case "time":
            return age(value, at.deck.store.now()), "dim"
        case "usd":
            return usd(value), "text"
        case "seconds":
            return duration(value), "text"
        case "count":
            return f"{value:,}", "text"
        case "key":
            return plain(str(value)), "text bold"
    if isinstance(value, tuple | list):
        value = ", ".join(str(item) for item in value)
    if isinstance(value, bool):
        value = "true" if value else "false"
    return plain(str(value)), tone


FOOT = 3
"""Lines in which the row under the cursor is shown in full."""


class ListPanel(TablePanel):
    """The table of such a screen, with the names of its columns above."""

    headed = True
    kind: ClassVar[str] = ""

    def about(self, row: Any) -> Sequence[Part]:  # noqa: ARG002 - what subclasses look at
        """The row under the cursor in full: what its columns have no room for."""
        return ()

    @property
    def foot_lines(self) -> int:
        """A rule and the row in full, where there is anything to say and room for it."""
        row = self.row() if self._height >= 12 else None
        return FOOT + 1 if row is not None and self.about(row) else 0

    def draw_foot(self, line: int, width: int) -> Strip:
        """A rule, and some lines of text."""
        if line == 0:
            return self.ink.strip([(self.ink.glyph("rule") * width, "edge")], width)
        row = self.row()
        lines = wrapped(self.about(row), width - 2, most=FOOT, more=self.ink.glyph("more")) if row is not None else []
        return self.ink.strip([(" ", ""), *lines[line - 1]] if line <= len(lines) else (), width)

    def summary(self) -> list[Part]:
        """How many."""
        if not self.loaded:
            return []
        if self.filter:
            return [(f"{len(self.keys):,} match {self.filter.text}", "warn")]
        return [(f"{len(self.keys):,}", "dim")]

    def title_now(self) -> None:
        """As every panel, without a number: there is but one."""
        super().title_now()

    def key_of(self, row: Any) -> Hashable:
        """Its name."""
        return str(getattr(row, "name", None) or getattr(row, "key", None) or row.id)

    def subject_of(self, row: Any) -> Subject:
        """The thing."""
        name = str(self.key_of(row))
        return Subject(self.kind, {self.kind: name}, plain(name), row)


class ListScreen(BaseScreen):
    """A screen with one such table."""

    panel: ClassVar[type[ListPanel]]

    def body(self) -> Iterable[Widget]:
        """The table."""
        table = self.panel(id="table")
        table.styles.height = "1fr"
        yield table

    def on_mount(self) -> None:
        """The table has the keys."""
        self.query_one("#table").focus()

    def on_chosen(self, message: Chosen) -> None:
        """A row was opened by a double click."""
        del message
        self.deck.press("enter")
