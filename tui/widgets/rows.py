"""A table of rows that are called by keys: windowed, so that a hundred thousand scroll like a hundred.

The order is a sequence of keys; rows are loaded for what is seen, a few pages around it, and both ends. Columns have fixed widths, one takes what is
left; where the pane is narrow the columns of the lowest rank go first. The cursor and the marks stay on their keys, whatever comes, goes or moves.
"""

import bisect
import sys
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from rich.cells import cell_len
from textual import events
from textual.message import Message
from textual.strip import Strip

from config.errors import UsageError
from tui.actions import Subject
from tui.filter import FIELDS, Filter, parse_filter
from tui.ink import Part, width_of
from tui.store import Fresh, Subscription, Trouble
from tui.widgets.lines import Lines

_AROUND = 3
"""Pages that are loaded before and after what is seen."""
SLID_SECONDS = 0.8
"""So long after another row has come under the cursor by itself no key changes what it shows: it was meant for the row before."""
MOST_MARKED = 5_000
"""Rows that can be marked at a time."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column. ``width`` in cells, 0 for the one that takes what is left; ``rank``: those of the lowest go first where it is narrow."""

    title: str
    width: int
    cell: Callable[[Any, "Rows"], Sequence[Part]]
    right: bool = False
    rank: int = 5
    order: str = ""
    """By what the rows are sorted when this column is chosen; empty: it cannot be."""
    least: int = 16
    """The least width of the one that takes what is left: before it gets less, others go."""
    numbers: bool = False
    """Whether it holds the numbers of tasks: it is as wide as the largest of them."""


@dataclass
class Chosen(Message):
    """The row under the cursor was opened (enter, or a click on it)."""

    subject: Subject


class Rows(Lines):
    """A table. Subclasses say what its keys and rows are, and what its columns."""

    scopes: ClassVar[tuple[str, ...]] = ("rows", "motion")
    topics: ClassVar[tuple[str, ...]] = ()
    swept: ClassVar[bool] = True
    """Whether it is loaded again at the slow pace of the sweep, for bells that were lost."""
    columns: ClassVar[tuple[Column, ...]] = ()
    headed: ClassVar[bool] = False
    """Whether the names of the columns are shown above."""
    statuses: ClassVar[tuple[str, ...]] = ()
    """The states that a filter may name."""
    comes_back: ClassVar[bool] = True
    """Whether the cursor is put back where it stood when the screen was left."""
    whole: ClassVar[bool] = False
    """Whether rows come with the keys, all at once."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id, classes=classes)
        self.keys: Sequence[Hashable] = ()
        self.rows: dict[Hashable, Any] = {}
        self.marks: dict[Hashable, Subject] = {}
        """What is marked, whether it is loaded now or not, in the order in which it was marked."""
        self.filter = Filter()
        self.last_filter = Filter()
        self.order = ""
        self.descending = False
        self.loaded = False
        self.trouble = ""
        self.jumps: dict[int, str] = {}
        """Labels of the jump mode: row → label."""
        self._at = 0
        self._slid: float | None = None
        """When another row came under the cursor by itself."""
        self._asked_for: tuple[Any, ...] = ()
        """With which filter and in which order the keys were loaded."""
        self._wanted: Hashable = None
        """The key on which the cursor stood when the screen was left."""
        self._order: Subscription | None = None
        self._window: Subscription | None = None
        self._held = (0, 0)
        """The places whose rows are loaded, or are being loaded."""
        self._widths: tuple[int, list[tuple[Column, int]]] = (-1, [])
        self._digits = 0
        """How wide the largest number of a task is, with its sign."""

    # ── what subclasses say ─────────────────────────────────────────────────────────────────────────────────────────

    async def load_keys(self) -> Sequence[Hashable]:
        """All keys in their order, as ``filter`` and ``order`` want them."""
        raise NotImplementedError

    async def load_rows(self, keys: Sequence[Hashable]) -> Mapping[Hashable, Any]:
        """The rows of some keys."""
        raise NotImplementedError

    def subject_of(self, row: Any) -> Subject:
        """What a row is, for actions."""
        raise NotImplementedError

    def nothing(self) -> Sequence[str]:
        """What is said in place of an empty table: what would be there, and which key makes the first one."""
        return ("nothing here",)

    def changed(self) -> None:
        """Called after the table has other keys or rows."""

    @property
    def pace(self) -> float:
        """Least seconds between two loads, where that is more than everything else has."""
        return 0.0

    # ── life ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_mount(self) -> None:
        """Begin to load."""
        store = self.deck.store
        self.deck.whereabouts.recall(self)
        self._order = store.subscribe(self, self.topics, self._load_keys, swept=self.swept, pace=self.pace)
        if not self.whole:
            self._window = store.subscribe(self, self.topics, self._load_window)

    def on_unmount(self) -> None:
        """Load no more."""
        for subscription in (self._order, self._window):
            if subscription is not None:
                subscription.close()

    def on_fresh(self, message: Fresh) -> None:
        """Show what was loaded."""
        message.stop()
        if isinstance(message.data, Trouble):
            self.trouble = message.data.words
        elif message.of is self._order:
            self.trouble = ""
            keys, rows = message.data
            if rows is not None:
                self.rows = dict(rows)
            self._take_keys(keys)
        elif message.of is self._window:
            self.rows = dict(message.data)
            self._see()
        self._renew(self.rows)
        self._measure()
        self.changed()
        self.repaint()
        if self.has_focus:
            self.deck.place_changed()

    def on_resize(self) -> None:
        """Another size shows other rows, the cursor among them."""
        self.bring_into_view(self._at)
        self._see()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Other rows are seen: load what is missing."""
        super().watch_scroll_y(old_value, new_value)
        self._see()

    def reload(self) -> None:
        """Load keys and rows again: others are wanted now."""
        for subscription in (self._order, self._window):
            if subscription is not None:
                subscription.refresh(superseded=True)

    async def _load_keys(self) -> tuple[tuple[Hashable, ...], Mapping[Hashable, Any] | None]:
        keys = tuple(await self.load_keys())
        if self.loaded:
            return keys, None
        return keys, await self.load_rows(
            keys[: (_AROUND + 1) * self.room]
        )  # nobody waits for rows and then again for what is in them

    async def _load_window(self) -> Mapping[Hashable, Any]:
        first, last = self._seen()
        self._held = (first, last)
        ends = (*self.keys[: self.room], *self.keys[-self.room :])  # one key away from anywhere
        wanted = tuple(dict.fromkeys((*self.keys[first:last], *ends)))
        return await self.load_rows(wanted) if wanted else {}

    def _seen(self) -> tuple[int, int]:
        room = self.room
        return max(0, self.top - _AROUND * room), self.top + (_AROUND + 1) * room

    def _see(self) -> None:
        """Read ahead: load when less than a page is held before or after what is seen."""
        first, last = max(0, self.top - self.room), min(len(self.keys), self.top + 2 * self.room)
        if self._window is not None and (first < self._held[0] or last > self._held[1]):
            self._window.refresh()

    def _take_keys(self, keys: Sequence[Hashable]) -> None:
        held = self.keys[self._at] if self._at < len(self.keys) else self._wanted
        self._wanted = None
        asked, before = (self.filter, self.order, self.descending), self._asked_for
        self.keys, self.loaded, self._asked_for = keys, True, asked
        try:
            self._at = keys.index(held)
        except ValueError:
            self._at = max(0, min(self._at, len(keys) - 1))
            self._slid = time.monotonic() if held is not None and keys and asked == before else None
        if self.marks:  # what is not shown any more is not worked on unseen
            shown = set(keys)
            self.marks = {key: subject for key, subject in self.marks.items() if key in shown}
        self.set_length(len(keys) + self.fixed_lines + self.foot_lines)
        self.bring_into_view(self._at)
        if self._window is not None:
            self._window.refresh()

    # ── what actions ask ────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def at(self) -> int:
        """The row under the cursor."""
        return self._at

    @property
    def just_slid(self) -> bool:
        """Whether another row has come under the cursor a moment ago, and nobody has moved it since."""
        return self._slid is not None and time.monotonic() - self._slid < SLID_SECONDS

    def row(self) -> Any | None:
        """The row under the cursor, where it is loaded."""
        return self.rows.get(self.keys[self._at]) if self._at < len(self.keys) else None

    def subject(self) -> Subject | None:
        """What is under the cursor."""
        row = self.row()
        return None if row is None else self.subject_of(row)

    def marked(self) -> tuple[Subject, ...]:
        """What is marked."""
        return tuple(self.marks.values())

    def stand(self) -> dict[str, Any]:
        """How it stands, for :meth:`recall`."""
        cursor = self.keys[self._at] if self.comes_back and self._at < len(self.keys) else self._wanted
        return {"cursor": cursor, "filter": self.filter.text, "order": self.order, "descending": self.descending}

    def recall(self, stand: Mapping[str, Any]) -> None:
        """Stand as :meth:`stand` has said; what is not understood is as it is by itself."""
        cursor, text, order = stand.get("cursor"), stand.get("filter"), stand.get("order")
        self._wanted = tuple(cursor) if isinstance(cursor, list) else cursor if isinstance(cursor, str | int) else None
        with suppress(UsageError):
            self.filter = self.last_filter = parse_filter(text if isinstance(text, str) else "", self.statuses)
        if order in {column.order for column in self.columns}:
            self.order, self.descending = order, stand.get("descending") is True

    def move(self, by: int) -> None:
        """Move the cursor."""
        self.go(self._at + by)

    def page(self, pages: float) -> None:
        """Move the cursor by pages."""
        self.go(self._at + round(pages * self.room))

    def jump(self, to: int | None) -> None:
        """Move the cursor to a row counted from 1, or to the last."""
        self.go(sys.maxsize if to is None else to - 1)

    def go(self, to: int) -> None:
        """Put the cursor on a row; on one that is still being loaded, as soon as it is there."""
        self._at = max(0, min(to, len(self.keys) - 1) if self.loaded else to)
        self._slid = None
        self.bring_into_view(self._at)
        self.changed()
        self.repaint()
        self.deck.place_changed()

    def go_to_key(self, key: Hashable) -> bool:
        """Put the cursor on a key; False where it is not among the rows."""
        try:
            self.go(self.keys.index(key))
        except ValueError:
            return False
        return True

    def toggle_mark(self) -> None:
        """Mark the row under the cursor, or no more."""
        row = self.row()
        if row is None:
            return
        key = self.keys[self._at]
        if self.marks.pop(key, None) is None:
            self.marks[key] = self.subject_of(row)
        self.move(1)

    async def mark_all(self) -> int:
        """Mark all rows that the filter lets through, also those that are not loaded; how many. Raises UsageError for too many."""
        keys = self.keys
        if len(keys) > MOST_MARKED:
            raise UsageError(
                f"{len(keys):,} rows are too many to be marked", f"narrow them down to {MOST_MARKED:,} first"
            )
        await self._mark(keys)
        return len(self.marks)

    async def renew_marks(self) -> tuple[Subject, ...]:
        """What is marked, as it is now; what is gone is marked no more."""
        await self._mark(tuple(self.marks))
        return self.marked()

    async def _mark(self, keys: Sequence[Hashable]) -> None:
        rows = await self.load_rows(keys) if keys else {}
        self.marks = {key: self.subject_of(rows[key]) for key in keys if key in rows}
        self._marks_changed()

    def keep_marks(self, subjects: Sequence[Subject]) -> None:
        """Mark none but these, of those that are marked."""
        kept = {frozenset(subject.names.items()) for subject in subjects}
        self.marks = {key: found for key, found in self.marks.items() if frozenset(found.names.items()) in kept}
        self._marks_changed()

    def clear_marks(self) -> None:
        """Mark nothing."""
        self.marks.clear()
        self._marks_changed()

    def next_mark(self, direction: int) -> bool:
        """Move to the next marked row; False where there is none."""
        return self._to_next(
            [n for n, key in enumerate(self.keys) if key in self.marks] if self.marks else [], direction
        )

    def _renew(self, rows: Mapping[Hashable, Any]) -> None:
        for key in self.marks.keys() & rows.keys():
            self.marks[key] = self.subject_of(rows[key])

    def _marks_changed(self) -> None:
        self.changed()
        self.repaint()
        self.deck.place_changed()

    def look_for(self, text: str) -> None:
        """Show only what a filter lets through. Raises UsageError for a filter that is none."""
        self.filter = parse_filter(text, self.statuses)
        if self.filter:
            self.last_filter = self.filter
        self.changed()
        self.reload()

    async def next_match(self, direction: int) -> bool:
        """Move to the next row that the last filter lets through; False where there is none."""
        if not self.last_filter or not self.keys:
            return False
        if self.filter == self.last_filter:
            self.go((self._at + direction) % len(self.keys))
            return True
        held, self.filter = self.filter, self.last_filter
        try:
            matching = set(await self.load_keys())
        finally:
            self.filter = held
        return self._to_next([n for n, key in enumerate(self.keys) if key in matching], direction)

    def _to_next(self, places: Sequence[int], direction: int) -> bool:
        """Go to the next of some rows, from the other end on where there is none left."""
        if not places:
            return False
        if direction > 0:
            self.go(places[bisect.bisect_right(places, self._at) % len(places)])
        else:
            self.go(places[bisect.bisect_left(places, self._at) - 1])
        return True

    def sort(self) -> str:
        """Sort by the next column that can be sorted by; what it is now."""
        orders = ["", *dict.fromkeys(column.order for column in self.columns if column.order)]
        self.order = orders[(orders.index(self.order) + 1) % len(orders)] if self.order in orders else ""
        self.descending = False
        self.reload()
        return self.order

    def reverse(self) -> None:
        """Turn the order round."""
        self.descending = not self.descending
        self.reload()

    # ── mouse ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on a row; open it when it is there already."""
        line = event.y - self.content_offset.y - self.fixed_lines if event.widget is self else -1
        at = self.top + line
        if 0 <= at < len(self.keys) and line >= 0:
            opened = event.chain > 1
            self.go(at)
            if opened and (subject := self.subject()) is not None:
                self.post_message(Chosen(subject))

    # ── painting ────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def fixed_lines(self) -> int:
        """Lines above that do not scroll."""
        return 1 if self.headed and self.keys else 0

    def draw_fixed(self, line: int, width: int) -> Strip:  # noqa: ARG002 - there is one
        """The names of the columns."""
        parts: list[Part] = [(" ", "")]
        for column, size in self._fitted(width - 1):
            name = column.title
            if column.order and column.order == self.order:
                name += self.ink.glyph("up" if self.descending else "down")
            parts += [(self.ink.fit(name, size, right=column.right), "dim bold"), (" ", "")]
        return self.ink.strip(parts, width)

    def draw(self, line: int, width: int) -> Strip:
        """One row, or what is said where there are none."""
        if not self.keys:
            return self._empty_line(line, width)
        if line >= len(self.keys):
            return self.ink.strip((), width)
        here = line == self._at
        ground = ("cursor" if self.has_focus else "resting") if here else "ground"
        key = self.keys[line]
        row = self.rows.get(key)
        marked = key in self.marks
        lead: Part = (self.ink.glyph("mark"), "focus bold") if marked else (" ", "")
        if here and not marked:
            lead = (self.ink.glyph("cursor"), "focus" if self.has_focus else "edge")
        if row is None:
            return self.ink.strip([lead, (self.ink.glyph("more"), "dim")], width, ground)
        parts = [lead]
        label = self.jumps.get(line)
        if label:
            parts = [(label, "focus bold reverse")]
        room = width - cell_len(parts[0][0])
        for column, size in self._fitted(room):
            cell = list(column.cell(row, self))
            gap = size - width_of(cell)
            if gap < 0:
                cell = _cut(cell, size, self.ink.glyph("more"))
                gap = 0
            pad: Part = (" " * gap, "")
            parts += [pad, *cell] if column.right else [*cell, pad]
            parts.append((" ", ""))
        return self.ink.strip(parts, width, ground)

    def _empty_line(self, line: int, width: int) -> Strip:
        if self.trouble:
            words: Sequence[str] = (self.trouble,)
            tone = "bad"
        elif not self.loaded:
            words, tone = ("loading" + self.ink.glyph("more"),), "dim"
        elif self.filter:
            words, tone = (f'nothing matches "{self.filter.text}"', "esc shows everything again"), "dim"
        else:
            words, tone = self.nothing(), "dim"
        height = self.room
        first = max(0, (height - len(words)) // 2) if height > len(words) + 2 else 0
        if not first <= line < first + len(words):
            return self.ink.strip((), width)
        text = words[line - first]
        shown = self.ink.fit(text, min(cell_len(text), width - 2))
        left = max(1, (width - cell_len(shown)) // 2) if first else 1
        return self.ink.strip([(" " * left, ""), (shown, tone if line > first or self.trouble else "text")], width)

    def _fitted(self, width: int) -> list[tuple[Column, int]]:
        """The columns that fit, with their widths."""
        if self._widths[0] != width:
            shown = [(column, max(column.width, self._digits if column.numbers else 0)) for column in self.columns]
            while len(shown) > 1 and sum(size or column.least for column, size in shown) + len(shown) > width:
                shown.remove(min(reversed(shown), key=lambda item: item[0].rank))
            left = width - sum(size for _, size in shown) - len(shown)
            self._widths = (width, [(column, size or max(4, left)) for column, size in shown])
        return self._widths[1]

    def _measure(self) -> None:
        """Make room for the largest number of a task."""
        if not any(column.numbers for column in self.columns):
            return
        if self.keys and isinstance(self.keys[0], int):
            largest = max(cast("Sequence[int]", self.keys))
        else:
            largest = max((getattr(row, "task", 0) or 0 for row in self.rows.values()), default=0)
        digits = len(f"#{largest}")
        if digits != self._digits:
            self._digits, self._widths = digits, (-1, [])

    def notify_style_update(self) -> None:
        """Another theme or density may have other widths."""
        self._widths = (-1, [])
        super().notify_style_update()


class Table(Rows):
    """A table that is short enough to be loaded whole."""

    whole = True

    async def load_all(self) -> Sequence[Any]:
        """All rows, in their order."""
        raise NotImplementedError

    def key_of(self, row: Any) -> Hashable:
        """What a row is called."""
        raise NotImplementedError

    def words_of(self, row: Any) -> str:
        """What a filter looks at."""
        texts = [text.strip() for column in self.columns for text, _ in column.cell(row, self)]
        return "\n".join([" ".join(texts), *texts])

    def fields_of(self, row: Any) -> Mapping[str, str | None]:
        """What ``project:``, ``status:``, ``agent:`` and ``reason:`` look at."""
        return {name: getattr(row, name, None) for name in FIELDS}

    def sort_key(self, row: Any) -> Any:
        """By what rows are sorted when a column is chosen."""
        value = getattr(row, self.order)
        return (value is None, value)

    async def load_keys(self) -> Sequence[Hashable]:
        """All keys that the filter lets through."""
        return [self.key_of(row) for row in await self._chosen()]

    async def load_rows(self, keys: Sequence[Hashable]) -> Mapping[Hashable, Any]:
        """Rows come with the keys."""
        return {key: self.rows[key] for key in keys if key in self.rows}

    async def _load_keys(self) -> tuple[tuple[Hashable, ...], Mapping[Hashable, Any] | None]:
        rows = {self.key_of(row): row for row in await self._chosen()}
        return tuple(rows), rows

    async def _chosen(self) -> list[Any]:
        rows = [row for row in await self.load_all() if self.filter.accepts(self.words_of(row), self.fields_of(row))]
        if self.order:
            rows.sort(key=self.sort_key)
        if self.descending:
            rows.reverse()
        return rows


def _cut(parts: Sequence[Part], width: int, more: str) -> list[Part]:
    """Parts cut to a width, the cut shown."""
    from rich.cells import set_cell_size

    left, out = width - 1, []
    for text, tone in parts:
        size = cell_len(text)
        if size > left:
            out.append((set_cell_size(text, left) + more, tone))
            return out
        out.append((text, tone))
        left -= size
    return out
