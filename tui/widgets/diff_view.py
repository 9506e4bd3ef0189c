"""The change of a run, to be read line by line: files one after the other, unified or side by side, with notes on lines.

A patch of a hundred thousand lines is a list of rows; only those that are seen are coloured and written.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.message import Message
from textual.strip import Strip

from config.errors import UsageError
from tui.ink import Part, plain
from tui.patch import Patch, Side
from tui.widgets.diff_paint import file_heading, grounds_of, tabless, text_segments
from tui.widgets.diff_rows import NoteKey, Row, View, changed_span, file_rows, key_of
from tui.widgets.lines import Lines
from tui.widgets.panel import _FRAME as FRAME
from tui.widgets.panel import Framed
from tui.widgets.syntax import Syntax

Mode = Literal["auto", "unified", "side by side"]
MODES: tuple[Mode, ...] = ("auto", "unified", "side by side")
SPLIT_FROM = 132
"""Cells from which on the two sides stand beside each other by themselves."""


@dataclass
class Moved(Message):
    """The cursor stands in another file."""

    file: int


@dataclass(frozen=True, slots=True)
class Spot:
    """The line under the cursor."""

    path: str
    side: Side
    number: int
    text: str
    sign: str

    @property
    def key(self) -> NoteKey:
        """What a note on it is filed under."""
        return self.path, self.side, self.number


class DiffView(Framed, Lines, can_focus=True):
    """Shows a patch."""

    DEFAULT_CSS = FRAME.replace("NAME", "DiffView")
    scopes: ClassVar[tuple[str, ...]] = ("diff", "motion")
    number = 1
    name_shown = "change"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.patch = Patch([])
        self.notes: Mapping[NoteKey, str] = {}
        self.mode: Mode = "auto"
        self.left = 0
        self.empty: tuple[str, ...] = ("loading…",)
        self.rows: list[Row] = []
        self.unfolded = False
        self._opened: set[tuple[int, int, int]] = set()
        self._shut: set[int] = set()
        self._by_file: list[list[Row]] = []
        self._starts: list[int] = []
        self._at = 0
        self._needle: re.Pattern[str] | None = None
        self._syntax = Syntax()
        self._bodies: OrderedDict[tuple[object, ...], list[Segment]] = OrderedDict()
        self._laid_out: tuple[bool, int] = (False, 0)
        self._digits = 3

    # ── what is shown ───────────────────────────────────────────────────────────────────────────────────────────────

    def show(self, patch: Patch, notes: Mapping[NoteKey, str]) -> None:
        """Show a patch, from its beginning."""
        self.patch, self.notes, self._at, self.left = patch, dict(notes), 0, 0
        self._opened, self._shut, self._syntax = set(), set(), Syntax()
        last = max(
            (max(line.old, line.new) for file in patch.files for hunk in file.hunks for line in hunk.lines[-1:]),
            default=0,
        )
        self._digits = max(3, len(str(last)))
        self._lay_out()
        self.scroll_to(y=0, animate=False, immediate=True)

    def go_on(self, patch: Patch) -> None:
        """Show how the patch has become; the cursor stays on its line, and the line where it is on the screen."""
        row, above, left = self.row(), self._at - self.top, self.left
        held = None if row is None else (self.patch.files[row.file].path, self._spot_of(row))
        self.show(patch, self.notes)
        self.left = left
        if held is None:
            return
        file = next((n for n, change in enumerate(patch.files) if change.path == held[0]), -1)
        rows = self._by_file[file] if file >= 0 else []
        spots = (spot.key if (spot := self._spot_of(row)) else None for row in rows)
        place = next((n for n, key in enumerate(spots) if held[1] and key == held[1].key), 0)
        if rows:
            self._at = self._starts[file] + place
            self.scroll_to(y=max(0, self._at - above), animate=False, immediate=True)
            self.bring_into_view(self._at)

    def say_nothing(self, *words: str) -> None:
        """There is nothing to show: why, and what would be here."""
        self.empty = words
        self.show(Patch([]), {})

    def set_notes(self, notes: Mapping[NoteKey, str]) -> None:
        """Show other notes."""
        self.notes = dict(notes)
        self._lay_out()

    @property
    def split(self) -> bool:
        """Whether the two sides stand beside each other."""
        return self.mode == "side by side" or (self.mode == "auto" and self.line_width >= SPLIT_FROM)

    def next_mode(self) -> Mode:
        """By the width, one above the other, side by side."""
        self.mode = MODES[(MODES.index(self.mode) + 1) % len(MODES)]
        self._lay_out()
        return self.mode

    def summary(self) -> list[Part]:
        """How much has changed."""
        patch = self.patch
        if not patch.files:
            return []
        parts: list[Part] = [
            (f"{len(patch.files)} file{'s' if len(patch.files) != 1 else ''} ", "dim"),
            (f"+{patch.insertions:,} ", "ok"),
            (f"{self.words.glyph('minus')}{patch.deletions:,}", "bad"),
        ]
        if patch.rest:
            parts.append((f" {self.words.glyph('dot')} {plain(patch.rest)}", "warn"))
        return parts

    def _lay_out(self) -> None:
        """Lay all files out; the cursor stays on its line."""
        held = self._held()
        view = self._view()
        self._laid_out = (view.split, view.note_width)
        self._by_file = [file_rows(file, n, view) for n, file in enumerate(self.patch.files)]
        self._put_together(held)

    def _lay_out_file(self, file: int) -> None:
        held = self._held()
        self._by_file[file] = file_rows(self.patch.files[file], file, self._view())
        self._put_together(held)

    def _view(self) -> View:
        width = self.line_width
        room = (width // 2 if self.split else width) - self._digits * 2 - 8
        return View(self.split, self._opened, self.unfolded, self._shut, self.notes, min(100, room))

    def _put_together(self, held: tuple[int, int, int] | None) -> None:
        self.rows, self._starts = [], []
        for rows in self._by_file:
            self._starts.append(len(self.rows))
            self.rows += rows
        self._bodies.clear()
        self.set_length(len(self.rows))
        self._at = min(self._find(held), max(0, len(self.rows) - 1))
        self.title_now()
        self.bring_into_view(self._at)
        self._painted.clear()
        self.refresh()

    def _held(self) -> tuple[int, int, int] | None:
        """Where the cursor is, however the rows are laid out: file, hunk, place."""
        row = self.row()
        return None if row is None else (row.file, row.hunk, max(row.left, row.right))

    def _find(self, held: tuple[int, int, int] | None) -> int:
        if held is None or held[0] >= len(self._starts):
            return 0
        start = self._starts[held[0]]
        for n, row in enumerate(self._by_file[held[0]]):
            if row.hunk == held[1] and (
                held[2] in (row.left, row.right) or (row.kind == "gap" and row.left <= held[2] < row.left + row.size)
            ):
                return start + n
        return start

    def on_resize(self, event: events.Resize) -> None:
        """Another width may have another layout."""
        del event
        view = self._view()
        if self.rows and self._laid_out != (view.split, view.note_width):
            self._lay_out()

    # ── moving about ────────────────────────────────────────────────────────────────────────────────────────────────

    def row(self) -> Row | None:
        """The row under the cursor."""
        return self.rows[self._at] if self._at < len(self.rows) else None

    def spot(self) -> Spot | None:
        """The line under the cursor; None on a heading or a fold."""
        row = self.row()
        return None if row is None else self._spot_of(row)

    def _spot_of(self, row: Row) -> Spot | None:
        if row.kind != "line":
            return None
        file = self.patch.files[row.file]
        line = file.hunks[row.hunk].lines[row.right if row.right >= 0 else row.left]
        path, side, number = key_of(file, line)
        return Spot(path, side, number, line.text, line.sign)

    def file_here(self) -> int:
        """The file under the cursor, -1 where there is none."""
        row = self.row()
        return -1 if row is None else row.file

    def move(self, by: int) -> None:
        """Move the cursor."""
        self.go(self._at + by)

    def page(self, pages: float) -> None:
        """Move the cursor by pages."""
        self.go(self._at + round(pages * self.room))

    def jump(self, to: int | None) -> None:
        """Move the cursor to a row counted from 1, or to the last."""
        self.go(len(self.rows) - 1 if to is None else to - 1)

    def go(self, to: int) -> None:
        """Put the cursor on a row."""
        before = self.file_here()
        self._at = max(0, min(to, len(self.rows) - 1))
        self.bring_into_view(self._at, margin=2)
        self.repaint()
        if self.file_here() != before:
            self.post_message(Moved(self.file_here()))
        self.app.place_changed()  # type: ignore[attr-defined]

    def go_to_file(self, file: int) -> None:
        """Put the cursor on the heading of a file, that at the top."""
        if 0 <= file < len(self._starts):
            self.scroll_to(y=self._starts[file], animate=False, immediate=True)
            self.go(self._starts[file])

    def step_file(self, by: int) -> bool:
        """To the next file, or the one before; False where there is none."""
        to = self.file_here() + by
        if by < 0 and self._at > self._starts[self.file_here()] if self._starts else False:
            to += 1
        if not 0 <= to < len(self._starts):
            return False
        self.go_to_file(to)
        return True

    def step_change(self, by: int) -> bool:
        """To the first line of the next group of changes, or of the one before; False where there is none."""
        at, end = self._at, len(self.rows) if by > 0 else -1
        for place in range(at + by, end, by):
            if self._changed(place) and not (place > 0 and self._changed(place - 1)):
                self.go(place)
                return True
        return False

    def _changed(self, place: int) -> bool:
        row = self.rows[place]
        if row.kind != "line":
            return row.kind == "note" and place > 0 and self._changed(place - 1)
        lines = self.patch.files[row.file].hunks[row.hunk].lines
        return lines[max(row.left, row.right)].sign != " "

    def step_note(self, by: int) -> bool:
        """To the next line with a note, from the other end on where there is none left."""
        places = [n for n, row in enumerate(self.rows[:-1]) if row.kind != "note" and self.rows[n + 1].kind == "note"]
        if not places:
            return False
        ahead = [n for n in places if (n > self._at if by > 0 else n < self._at)]
        self.go(ahead[0 if by > 0 else -1] if ahead else places[0 if by > 0 else -1])
        return True

    def toggle_fold(self) -> bool:
        """Open the fold under the cursor, or close or open the file whose heading it is; False where there is neither."""
        row = self.row()
        if row is None or (row.kind == "gap" and row.hunk < 0) or row.kind not in ("gap", "file"):
            return False
        if row.kind == "gap":
            first = row.left
            self._opened.add((row.file, row.hunk, first))
        else:
            self._shut ^= {row.file}
        self._lay_out_file(row.file)
        return True

    def close_file(self) -> None:
        """Leave only the heading of the file under the cursor, or show all of it."""
        if self.rows:
            self._shut ^= {self.file_here()}
            self._lay_out_file(self.file_here())

    def toggle_folds(self) -> bool:
        """Show all unchanged lines that are known, or fold them; whether they are shown."""
        self.unfolded = not self.unfolded
        self._opened.clear()
        self._lay_out()
        return self.unfolded

    def shift(self, cells: int) -> None:
        """Scroll to the side."""
        self.left = max(0, self.left + cells)
        self._bodies.clear()
        self.repaint()

    # ── searching and copying ───────────────────────────────────────────────────────────────────────────────────────

    def look_for(self, text: str) -> None:
        """Search from here on for a text; ``re:`` before it makes it a regular expression. The case counts where there is a capital.

        Raises :class:`UsageError` for what is no regular expression.
        """
        regex = text.startswith("re:")
        words = text.removeprefix("re:")
        try:
            flags = 0 if any(letter.isupper() for letter in words) else re.IGNORECASE
            self._needle = re.compile(words if regex else re.escape(words), flags) if words else None
        except re.error as error:
            raise UsageError(f'"{words[:80]}" is no regular expression: {error}') from None
        self._bodies.clear()
        if self._needle is None:
            self.repaint()
        elif not self._to_match(1, from_here=True):
            self.repaint()
            raise UsageError(f'nothing in this change holds "{words[:60]}"', "folded lines are not searched")

    async def next_match(self, direction: int) -> bool:
        """Go to the next line that holds what is searched for, from the other end on where there is none left."""
        return self._to_match(direction)

    def _to_match(self, direction: int, *, from_here: bool = False) -> bool:
        needle, count = self._needle, len(self.rows)
        if needle is None or not count:
            return False
        start = self._at if from_here else self._at + direction
        for n in range(count):
            place = (start + n * direction) % count
            if needle.search(self._text(place)):
                self.go(place)
                return True
        return False

    def _text(self, place: int) -> str:
        row = self.rows[place]
        if row.kind == "line":
            lines = self.patch.files[row.file].hunks[row.hunk].lines
            return "\n".join(lines[n].text for n in (row.left, row.right) if n >= 0)
        return self.patch.files[row.file].path if row.kind == "file" else row.text

    def selected_text(self) -> str:
        """The line under the cursor, or the path of the file whose heading it is."""
        return self._text(self._at) if self.rows else ""

    def whole_text(self) -> str:
        """The whole change as text."""
        parts = []
        for file in self.patch.files:
            parts.append(f"{file.kind} {file.path}")
            for hunk in file.hunks:
                parts += [f"@@ {hunk.old},{hunk.new} @@ {hunk.title}", *(line.sign + line.text for line in hunk.lines)]
        return "\n".join(parts) + "\n"

    def visible_text(self) -> str:
        """What is seen, without its gutter."""
        return "\n".join(self._text(place) for place in range(self.top, min(self.top + self.room, len(self.rows))))

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on a row; a second click opens a fold."""
        at = self.top + event.y - self.content_offset.y
        if 0 <= at < len(self.rows):
            self.go(at)
            if event.chain > 1:
                self.toggle_fold()

    def notify_style_update(self) -> None:
        """Another theme: everything is written anew."""
        self._bodies.clear()
        super().notify_style_update()

    # ── painting ────────────────────────────────────────────────────────────────────────────────────────────────────

    def draw(self, line: int, width: int) -> Strip:
        """One row."""
        ink = self.ink
        if not self.rows:
            return self._nothing(line, width)
        if line >= len(self.rows):
            return ink.strip((), width)
        row = self.rows[line]
        here = line == self._at
        ground = ("cursor" if self.has_focus else "resting") if here else "ground"
        lead: Part = (ink.glyph("cursor"), "focus" if self.has_focus else "edge") if here else (" ", "")
        if row.kind == "line":
            return self._line_strip(row, width, lead, ground)
        return ink.strip(
            [lead, *self._row_parts(row, width - 1, here=here)],
            width,
            "raised" if row.kind in ("file", "note") and not here else ground,
        )

    def _nothing(self, line: int, width: int) -> Strip:
        ink = self.ink
        first = max(0, self.room // 2 - len(self.empty))
        if not first <= line < first + len(self.empty):
            return ink.strip((), width)
        words = ink.ascii(self.empty[line - first])
        return ink.strip(
            [(" " * max(1, (width - cell_len(words)) // 2), ""), (words, "text" if line == first else "dim")], width
        )

    def _row_parts(self, row: Row, width: int, *, here: bool) -> list[Part]:
        ink = self.ink
        if row.kind == "file":
            file = self.patch.files[row.file]
            notes = sum(path == file.path for path, _, _ in self.notes)
            return file_heading(ink, file, width, notes=notes, closed=row.file in self._shut)
        if row.kind == "gap":
            dots = " " * (self._digits - 2) + ("⋮" if ink.unicode else ":")
            words = f"{row.size:,} unchanged line{'s' if row.size != 1 else ''}" if row.size else ""
            opens: list[Part] = [("  enter shows them", "dim")] if here and row.hunk >= 0 else []
            return [(f"{dots}  {words}  ", "dim"), (plain(row.text), "dim italic"), *opens]
        if row.kind == "note":
            return [(" " * (self._digits + 1) + f"{ink.glyph('mark')} ", "ask bold"), (row.text, "ask")]
        if row.kind == "words":
            return [(" " * (self._digits + 1), ""), (plain(row.text), "dim")]
        return []

    def _line_strip(self, row: Row, width: int, lead: Part, ground: str) -> Strip:
        ink = self.ink
        edge = Segment(lead[0], ink.style(lead[1], ground))
        lines = self.patch.files[row.file].hunks[row.hunk].lines
        if not self.split:
            place = row.right if row.right >= 0 else row.left
            line = lines[place]
            numbers = f"{line.old or '':>{self._digits}} {line.new or '':>{self._digits}} "
            body = self._body(row, place, row.pair, width - 1 - len(numbers), ground, old=line.sign == "-")
            return Strip([edge, Segment(numbers, ink.style("dim", ground)), *body], width)
        half = (width - 2) // 2
        left = self._side(row, row.left, row.right, half, ground, old=True)
        right = self._side(row, row.right, row.left, width - 2 - half, ground, old=False)
        return Strip([edge, *left, Segment(ink.glyph("edge"), ink.style("edge")), *right], width)

    def _side(self, row: Row, place: int, pair: int, width: int, ground: str, *, old: bool) -> list[Segment]:
        ink = self.ink
        if place < 0:
            return [Segment(" " * width, ink.style("", ground))]
        line = self.patch.files[row.file].hunks[row.hunk].lines[place]
        number = f"{(line.old if old else line.new) or '':>{self._digits}} "
        return [
            Segment(number, ink.style("dim", ground)),
            *self._body(row, place, pair if pair != place else -1, width - len(number), ground, old=old),
        ]

    def _body(self, row: Row, place: int, pair: int, width: int, ground: str, *, old: bool) -> list[Segment]:
        """Sign and text of a line in exactly ``width`` cells."""
        key = (row.file, row.hunk, place, pair, width, ground, old, self.left)
        made = self._bodies.get(key)
        if made is None:
            made = self._bodies[key] = self._made(row, place, pair, width, ground, old=old)
            if len(self._bodies) > 1000:
                self._bodies.popitem(last=False)
        return made

    def _made(self, row: Row, place: int, pair: int, width: int, ground: str, *, old: bool) -> list[Segment]:
        ink, file = self.ink, self.patch.files[row.file]
        lines = file.hunks[row.hunk].lines
        line = lines[place]
        grounds = grounds_of(ink.palette)
        tone, back, part = {
            "+": ("ok", grounds.added, grounds.added_part),
            "-": ("bad", grounds.removed, grounds.removed_part),
        }.get(line.sign, ("", ground, ground))
        colourless = ink.palette.ansi
        back, part = (ground, ground) if colourless else (back, part)
        sign = ink.glyph("minus") if line.sign == "-" else line.sign
        segments = [Segment(f"{sign} ", ink.style(f"{tone} bold" if tone else "", back))]
        room = max(0, width - 2)
        spans = self._syntax.spans(file, row.file, row.hunk, place, old=old)
        emphasis = (
            changed_span(tabless(line.text), tabless(lines[pair].text))
            if pair >= 0 and line.sign != " " and len(line.text) < 2000
            else None
        )
        base = tone if colourless and line.sign != " " else "text"
        body = Strip(text_segments(ink, line, spans, emphasis, base=base, back=back, part=part, needle=self._needle))
        if self.left:
            body = body.crop(self.left)
        if body.cell_length > room:
            body = Strip([*body.crop(0, max(0, room - 1)), Segment(ink.glyph("more"), ink.style("warn", back))])
        return [*segments, *body.extend_cell_length(room, ink.style("", back))]
