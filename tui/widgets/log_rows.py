"""How one event of a log looks: a gutter with mark, time and kind, and its text in rows, folded where it is long."""

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from rich.segment import Segment
from textual.strip import Strip

from core.tasks.log_pages import LogEvent
from tui.ink import Ink
from tui.safe_text import PLAIN, Pen, Piece, lines_of, pen_after, pieces, rows_of, segments

FOLD = 8
"""Lines of a tool's output that are shown while it is folded."""
Stamps = Literal["clock", "since", "off"]
"""Times: of the day, since the start of the run, or none. None of them moves on by itself."""

_KINDS: dict[str, tuple[str, str, str, str, str]] = {
    # glyph, ASCII, word, tone of the gutter, tone of the text
    "status": ("●", "*", "status", "dim", "dim"),
    "message": ("▪", "-", "message", "text", "text"),
    "thinking": ("∴", ":", "thinking", "dim", "dim italic"),
    "tool_call": ("▸", ">", "tool", "run", "text"),
    "tool_result": ("└", "|", "result", "dim", "text"),
    "edit": ("±", "+", "edit", "focus", "focus"),
    "usage": ("Σ", "=", "usage", "dim", "dim"),
    "question": ("?", "?", "question", "ask", "ask"),
    "answer": ("»", ">", "answer", "ask", "text"),
    "verify": ("✓", "+", "check", "ok", "text"),
    "error": ("✗", "x", "error", "bad", "bad"),
    "output": ("│", "|", "output", "dim", "text"),
}
_OTHER = ("·", ".", "other", "dim", "text")
_WORD = 8
_FOLDED = frozenset({"tool_result", "output", "verify"})
_CONTROL = Pen(control=True)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of an event, ready to be written."""

    pieces: Sequence[Piece]
    tone: str
    note: bool = False
    """It is ours, not the agent's: the line that says what is folded."""

    @property
    def text(self) -> str:
        """What is seen of it."""
        return "".join(text for text, _ in self.pieces)


@dataclass
class LogLayout:
    """How events are laid out; :meth:`forget` after a change of anything but ``left``."""

    ink: Ink
    width: int = 80
    wrap: bool = True
    stamps: Stamps = "clock"
    fold: bool = True
    """Whether long output is folded; events in ``turned`` are as the others are not."""
    begun: datetime | None = None
    """The start of the run, for times since."""
    left: int = 0
    """Cells that are scrolled out on the left, where lines are not wrapped."""
    needle: re.Pattern[str] | None = None
    """What is searched for: shown on another ground."""
    turned: set[int] = field(default_factory=set)
    _made: "OrderedDict[int, tuple[Row, ...]]" = field(default_factory=OrderedDict)

    @property
    def gutter(self) -> int:
        """Cells before the text."""
        return 1 + (9 if self._stamped else 0) + _WORD + 3

    @property
    def _stamped(self) -> bool:
        return self.stamps != "off" and self.width >= 60

    def forget(self) -> None:
        """Lay everything out anew."""
        self._made.clear()

    def turn(self, seq: int) -> None:
        """Fold an event, or unfold it."""
        self.turned ^= {seq}
        self._made.pop(seq, None)

    def rows(self, event: LogEvent) -> tuple[Row, ...]:
        """The rows of an event: one at least."""
        made = self._made.get(event.seq)
        if made is None:
            made = self._made[event.seq] = tuple(self._lay_out(event))
            if len(self._made) > 600:
                self._made.popitem(last=False)
        return made

    def strip(
        self, event: LogEvent, number: int, *, ground: str = "ground", marked: bool = False, cursor: bool = False
    ) -> Strip:
        """One row of an event in the whole width."""
        row = self.rows(event)[number]
        edge = self.ink.glyph("mark") if marked and number == 0 else self.ink.glyph("cursor") if cursor else " "
        tone = "warn" if marked else "focus" if cursor else "dim" if number == 0 else ""
        before = [Segment(edge, self.ink.style(tone, ground))]
        if number == 0:
            before += self._gutter(event, ground)
        else:
            before.append(Segment(" " * (self.gutter - 1), self.ink.style("", ground)))
        room = max(self.width - self.gutter, 1)
        body = Strip(segments(row.pieces, self.ink, ground, row.tone))
        if self.needle is not None and not row.note:
            body = self._with_matches(body)
        if self.left and not self.wrap:
            body = body.crop(self.left)
        if body.cell_length > room:
            body = Strip([*body.crop(0, room - 1), Segment(self.ink.glyph("more"), self.ink.style("warn", ground))])
        return Strip([*before, *body]).extend_cell_length(self.width, self.ink.style(row.tone, ground)).simplify()

    def _gutter(self, event: LogEvent, ground: str) -> list[Segment]:
        made = []
        if self._stamped:
            made.append(Segment(f"{self._stamp(event.at):>8} ", self.ink.style("dim", ground)))
        glyph, letter, word, tone, _ = _look(event)
        shown = glyph if self.ink.unicode else letter
        made.append(Segment(f"{shown} {word:<{_WORD}} ", self.ink.style(tone, ground)))
        return made

    def _stamp(self, at: datetime) -> str:
        if self.stamps == "clock" or self.begun is None:
            return at.astimezone().strftime("%H:%M:%S")
        seconds = max(0, int((at - self.begun).total_seconds()))
        hours, rest = divmod(seconds, 3600)
        return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours < 1000 else f"{hours // 24}d"

    def _lay_out(self, event: LogEvent) -> list[Row]:
        tone = _look(event)[4]
        lines = _text(event)
        folded = event.kind in _FOLDED and len(lines) > FOLD + 1 and self.fold is not (event.seq in self.turned)
        if not folded:
            return self._parsed(lines, tone, PLAIN)
        hidden = len(lines) - FOLD
        note = Row([(f"{self.ink.glyph('more')} {hidden:,} more lines", PLAIN)], "warn", note=True)
        if event.kind != "verify":
            return [*self._parsed(lines[:FOLD], tone, PLAIN), note]
        # A check says at its end what is wrong.
        pen = pen_after("\n".join(lines[: 1 + hidden]))
        return [*self._parsed(lines[:1], tone, PLAIN), note, *self._parsed(lines[1 + hidden :], tone, pen)]

    def _parsed(self, lines: Sequence[str], tone: str, pen: Pen) -> list[Row]:
        room = max(self.width - self.gutter, 2)
        made = []
        for line in lines:
            parsed, pen = pieces(line, pen)
            rows = rows_of(parsed, room) if self.wrap else [parsed]
            made += [Row(row, tone) for row in rows]
        return made or [Row([], tone)]

    def _with_matches(self, body: Strip) -> Strip:
        assert self.needle is not None
        found = [match.span() for match in self.needle.finditer(body.text) if match.end() > match.start()]
        if not found:
            return body
        spot = self.ink.style("", "match")
        made: list[Segment] = []
        place = 0
        for segment in body:
            made += _split(segment, place, found, spot)
            place += len(segment.text)
        return Strip(made)


def _split(segment: Segment, place: int, spans: Sequence[tuple[int, int]], spot: object) -> list[Segment]:
    """A segment that begins at character ``place``, with what lies in ``spans`` in another style."""
    text, style, _ = segment
    made: list[Segment] = []
    at = 0
    for first, last in spans:
        start, end = max(first - place, at), min(last - place, len(text))
        if start >= end:
            continue
        if start > at:
            made.append(Segment(text[at:start], style))
        made.append(Segment(text[start:end], spot))  # type: ignore[arg-type] # a Style
        at = end
    if at < len(text):
        made.append(Segment(text[at:], style))
    return made


def _look(event: LogEvent) -> tuple[str, str, str, str, str]:
    look = _KINDS.get(event.kind, _OTHER)
    data = event.data or {}
    if event.kind == "verify" and (data.get("passed") is False or event.text.startswith(("failed", "timeout"))):
        return ("✗", "x", look[2], "bad", "bad")
    if event.kind == "tool_result" and data.get("error") is True:
        return ("✗", "x", look[2], "bad", "bad")
    return look


def _text(event: LogEvent) -> list[str]:
    """The lines that are shown of an event."""
    if event.kind == "usage" and not event.text:
        return [_usage(event.data or {})]
    lines = lines_of(event.text)
    if event.output:
        lines += lines_of(event.output)
    if event.size:
        lines.append(f"… {event.size:,} bytes in all; saving the log saves them")
    return lines


def _usage(data: dict[str, object]) -> str:
    tokens = data.get("tokens")
    if not isinstance(tokens, dict):
        return ""
    words = {"input": "in", "output": "out", "cache_read": "from cache", "cache_write": "to cache"}
    told = [
        f"{count:,} {words[name]}"
        for name, count in tokens.items()
        if name in words and isinstance(count, int) and count
    ]
    return " · ".join(told)
