"""A log view in an app of its own, and logs to show in it."""

import re
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta

from textual.app import App, ComposeResult

from core.tasks.log_pages import LogEvent, Needle, Range
from tui.ink import Ink
from tui.themes import DARK, Palette, textual_theme
from tui.widgets.log_view import LogView

BEGUN = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def event(seq: int, text: str = "", kind: str = "message", **data: object) -> LogEvent:
    """One event, a second after the one before."""
    return LogEvent(seq, BEGUN + timedelta(seconds=seq), kind, text or f"line {seq}", 0, dict(data))


class MadeLog:
    """A log as a database would answer, of any length, made as it is asked for."""

    def __init__(self, length: int, make: Callable[[int], LogEvent] = event) -> None:
        self.length = length
        self.make = make
        self.asked = 0

    def _seqs(self, wanted: Range) -> range:
        return range(wanted.after + 1, min(wanted.before, self.length + 1))

    def _kept(self, seqs: Sequence[int], wanted: Range, limit: int) -> list[LogEvent]:
        found = []
        for seq in seqs:
            made = self.make(seq)
            if not wanted.kinds or made.kind in wanted.kinds:
                found.append(made)
            if len(found) == limit:
                break
        return found

    async def first(self, wanted: Range, limit: int) -> list[LogEvent]:
        self.asked += 1
        return self._kept(self._seqs(wanted), wanted, limit)

    async def last(self, wanted: Range, limit: int) -> list[LogEvent]:
        self.asked += 1
        return self._kept(self._seqs(wanted)[::-1], wanted, limit)[::-1]

    async def end(self) -> int:
        return self.length

    async def count(self, wanted: Range) -> int:
        return len(self._kept(self._seqs(wanted), wanted, self.length))

    async def number_at(self, at: datetime) -> int:
        return max(1, min(self.length + 1, int((at - BEGUN).total_seconds())))

    async def all(self, wanted: Range) -> AsyncIterator[LogEvent]:
        for seq in self._seqs(wanted):
            yield self.make(seq)

    async def search(self, needle: Needle, wanted: Range, *, backwards: bool = False) -> int | None:
        pattern = re.compile(needle.pattern if needle.regex else re.escape(needle.pattern), re.IGNORECASE)
        for seq in self._seqs(wanted)[::-1] if backwards else self._seqs(wanted):
            if pattern.search(self.make(seq).text):
                return seq
        return None


class LogApp(App[None]):
    """One log view and nothing else."""

    ENABLE_COMMAND_PALETTE = False

    def __init__(self, log: MadeLog, *, palette: Palette = DARK, pace: float = 0.0) -> None:
        super().__init__()
        self.log_ = log
        self.ink = Ink(palette, unicode=True)
        self.pace = pace
        self.register_theme(textual_theme(palette))
        self.theme = palette.name

    def compose(self) -> ComposeResult:
        yield LogView(ink=lambda: self.ink, pace=self.pace)

    async def on_mount(self) -> None:
        view = self.query_one(LogView)
        view.focus()
        await view.open(self.log_, begun=BEGUN)


def shown(app: LogApp) -> list[str]:
    """The text of the rows of the view, without the gutter and blanks at the end."""
    view = app.query_one(LogView)
    return [view.render_line(y).text[view.layout_of.gutter :].rstrip() for y in range(view.size.height)]
