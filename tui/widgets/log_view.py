"""The log of a run, to be read: how one moves about in it, what is shown of it, search, marks and selection.

It opens at the end of a million events at once, follows what comes, and stays where one reads. While it follows, the
last row is at the bottom; going up ends that, and new events are only counted until one is back at the end.
"""

import re
from datetime import datetime
from typing import ClassVar

from textual import events

from config.errors import QuarterdeckError, UsageError
from core.tasks.log_pages import Needle, Range
from tui.widgets.log_body import LogBody, LogState
from tui.widgets.log_places import Place
from tui.widgets.log_rows import Stamps
from tui.widgets.log_window import LogWindow

__all__ = ["LogState", "LogView", "needle_of"]

_STAMPS: tuple[Stamps, ...] = ("clock", "since", "off")


class LogView(LogBody):
    """The log of one run, or nothing until :meth:`open` says which."""

    scopes: ClassVar[tuple[str, ...]] = ("log", "motion")

    # ── moving about ──────────────────────────────────────────────────────────────────────────────────────────────────

    def move(self, by: int) -> None:
        """Move the cursor by rows; the log follows again when it goes down from the last one."""
        if not self._any:
            return
        self._settle()
        target = self._places.stepped(self._cursor, by)
        if by > 0 and target == self._cursor and self.window is not None and self.window.at_end:
            self.follow()
            return
        self._cursor = target
        self._bring_cursor_into_view()
        self.repaint()

    def page(self, pages: float) -> None:
        """Move cursor and view by pages."""
        if not self._any:
            return
        self._settle()
        by = round(pages * self._room)
        before = self._top
        self._top = self._places.stepped(self._top, by)
        self._cursor = self._places.stepped(self._cursor, by)
        if by > 0 and self._top == before and self.window is not None and self.window.at_end:
            self.follow()
            return
        self._bring_cursor_into_view()
        self.repaint()

    def step(self, events_: int) -> None:
        """Move the cursor to the beginning of another event."""
        if not self._any or self.window is None:
            return
        self._settle()
        place = self.window.index(self._cursor[0])
        if events_ < 0 and self._cursor[1] > 0:
            events_ += 1
        place = max(0, min(place + events_, len(self.window.events) - 1))
        self._cursor = (self.window.events[place].seq, 0)
        self._bring_cursor_into_view()
        self.repaint()

    def jump(self, to: int | None) -> None:
        """Go to the event of this number, or to the end and follow."""
        if to is None:
            self.follow()
        else:
            self.run_worker(self._jump(to), group="log", exclusive=True)

    async def _jump(self, to: int) -> None:
        if self.window is None:
            return
        if to <= 1:
            async with self._loading:
                await self._guarded(self.window.to_start())
            to = self.window.events[0].seq if self.window.events else 0
        await self._show((to, 0))

    def follow(self) -> None:
        """Go to the end and stay there."""
        self.following, self.new, self._anchor = True, 0, None
        self._due = False
        self._flushed = 0.0
        self.poke()

    def pause(self) -> None:
        """Stay where one is."""
        self._settle()
        self.repaint()

    def next_mark(self, direction: int) -> bool:
        """Go to the next marked event; False where there is none."""
        marks = sorted(self.marks)
        if not marks:
            return False
        here = self._cursor[0]
        after = [seq for seq in marks if (seq > here if direction > 0 else seq < here)]
        to = (after or marks)[0 if direction > 0 else -1]
        self.run_worker(self._show((to, 0)), group="log", exclusive=True)
        return True

    # ── what is shown of it ───────────────────────────────────────────────────────────────────────────────────────────

    def set_kinds(self, kinds: tuple[str, ...]) -> None:
        """Show events of these kinds only; of all for none."""
        self._narrow(kinds=kinds)

    def set_since(self, at: datetime | None, after: int) -> None:
        """Show what came after an event (the first one since ``at``)."""
        self.since = at
        self._narrow(after=after)

    def _narrow(self, *, kinds: tuple[str, ...] | None = None, after: int | None = None) -> None:
        if self.window is None:
            return
        old = self.window.range
        wanted = Range(old.after if after is None else after, old.before, old.kinds if kinds is None else kinds)
        if wanted != old:
            self.run_worker(self._narrowed(wanted), group="log", exclusive=True)

    async def _narrowed(self, wanted: Range) -> None:
        assert self.window is not None
        self.window = LogWindow(self.window.source, wanted)
        place = self._cursor
        if self.following:
            await self._guarded(self.window.to_end())
            self.repaint()
        else:
            await self._show(place)

    def toggle_wrap(self) -> bool:
        """Break long lines, or cut them at the edge."""
        self.layout_of.wrap = not self.layout_of.wrap
        self.layout_of.left = 0
        self._laid_out_anew()
        return self.layout_of.wrap

    def next_stamps(self) -> Stamps:
        """Times of the day, since the start of the run, none."""
        self.layout_of.stamps = _STAMPS[(_STAMPS.index(self.layout_of.stamps) + 1) % len(_STAMPS)]
        self._laid_out_anew()
        return self.layout_of.stamps

    def toggle_fold(self) -> None:
        """Fold the event under the cursor, or unfold it."""
        if self._any:
            self._settle()
            self.layout_of.turn(self._cursor[0])
            self._cursor = self._places.nearest((self._cursor[0], 0))
            self._bring_cursor_into_view()
            self.repaint()

    def toggle_folds(self) -> bool:
        """Fold all long output, or show it in full."""
        self.layout_of.fold = not self.layout_of.fold
        self.layout_of.turned.clear()
        self._laid_out_anew()
        return self.layout_of.fold

    def shift(self, cells: int) -> None:
        """Scroll to the side, where lines are not wrapped."""
        if not self.layout_of.wrap:
            self.layout_of.left = max(0, self.layout_of.left + cells)
            self.repaint()

    def _laid_out_anew(self) -> None:
        self.layout_of.forget()
        if self._any:
            self._top, self._cursor = self._places.nearest(self._top), self._places.nearest(self._cursor)
        if self._any and self._anchor is not None:
            self._anchor = self._places.nearest(self._anchor)
        self.repaint()

    # ── searching ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def look_for(self, text: str) -> None:
        """Search for a text; ``re:`` before it makes it a regular expression.

        The case of letters counts where there is a capital among them. Raises :class:`UsageError`.
        """
        needle = needle_of(text)
        self.needle = needle
        self.layout_of.needle = _pattern(needle) if needle else None
        self.repaint()
        if needle is not None:
            self.run_worker(self.next_match(-1 if self.following else 1), group="log", exclusive=True)

    async def next_match(self, direction: int) -> bool:
        """Go to the next row that holds what is searched for, from the other end on where there is none left."""
        window, needle = self.window, self.needle
        if window is None or needle is None or not window.events:
            return False
        self._settle()
        here, row = self._cursor
        if (place := self._match_in(here, row, direction)) is not None:
            await self._show(place)
            return True
        limits = window.range
        ahead = Range(here, limits.before, limits.kinds) if direction > 0 else Range(limits.after, here, limits.kinds)
        found: int | None = None
        try:
            for wanted in (ahead, limits):
                found = await window.source.search(needle, wanted, backwards=direction < 0)
                if found is not None:
                    break
            self.trouble = "" if found is not None else f'nothing holds "{needle.pattern[:60]}"'
        except QuarterdeckError as error:
            self.trouble = error.sentence()
        if found is None:
            self.repaint()
            return False
        await self._show((found, 0))
        self._unfold_to_match(found)
        place = self._match_in(found, -1 if direction > 0 else 1 << 30, direction)
        await self._show(place or (found, 0))
        return True

    def _match_in(self, seq: int, row: int, direction: int) -> Place | None:
        """The next row of an event that matches."""
        event, pattern = self._places.event(seq), self.layout_of.needle
        if event is None or pattern is None:
            return None
        places = [
            n for n, shown in enumerate(self.layout_of.rows(event)) if pattern.search(shown.text) and not shown.note
        ]
        ahead = [n for n in places if (n > row if direction > 0 else n < row)]
        return (seq, ahead[0 if direction > 0 else -1]) if ahead else None

    def _unfold_to_match(self, seq: int) -> None:
        event = self._places.event(seq)
        if (
            event is not None
            and self._match_in(seq, -1, 1) is None
            and any(row.note for row in self.layout_of.rows(event))
        ):
            self.layout_of.turn(seq)

    # ── marks, copying ────────────────────────────────────────────────────────────────────────────────────────────────

    def toggle_mark(self) -> None:
        """Mark the event under the cursor, or no more."""
        if self._any:
            self._settle()
            self.marks ^= {self._cursor[0]}
            self.repaint()

    def clear_marks(self) -> None:
        """Mark and select nothing."""
        self.marks.clear()
        self._anchor = None
        self.repaint()

    def toggle_selection(self) -> None:
        """Begin to select rows at the cursor, or select none."""
        if self._any:
            self._settle()
            self._anchor = None if self._anchor is not None else self._cursor
            self.repaint()

    def selected_text(self) -> str:
        """The text of the rows that are selected, else of the whole event under the cursor."""
        if not self._any:
            return ""
        if self._anchor is None:
            event = self._places.event(self._cursor[0])
            return "" if event is None else "\n".join(row.text for row in self.layout_of.rows(event) if not row.note)
        first, last = sorted((self._anchor, self._cursor))
        return "\n".join(row.text for place, row in self._places.onwards(first) if place <= last)

    def visible_text(self) -> str:
        """The text of what is seen, without its gutter."""
        found = ((self._places.event(seq), row) for seq, row in self._shown_places())
        return "\n".join(self.layout_of.rows(event)[row].text for event, row in found if event is not None)

    def _bring_cursor_into_view(self) -> None:
        if self._cursor < self._top:
            self._top = self._cursor
        elif self._cursor not in self._shown_places():
            self._top = self._places.stepped(self._cursor, 1 - self._room)

    # ── mouse ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Up three rows; ends following."""
        event.stop()
        self._scroll(-3)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Down three rows; at the end it follows."""
        event.stop()
        self._scroll(3)

    def _scroll(self, by: int) -> None:
        if not self._any or (by > 0 and self.following):
            return
        self._settle()
        before = self._top
        self._top = self._places.stepped(self._top, by)
        shown = self._shown_places()
        if by > 0 and self._top == before and self.window is not None and self.window.at_end:
            self.follow()
            return
        if self._cursor not in shown:
            self._cursor = shown[0] if self._cursor < shown[0] else shown[-1]
        self.repaint()

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on a row; a second click folds the event or unfolds it."""
        line = event.y - self.content_offset.y
        if 0 <= line < len(self._shown):
            place = self._shown[line]
            self._settle()
            self._cursor = place
            if event.chain > 1:
                self.toggle_fold()
            self.repaint()


def needle_of(text: str) -> Needle | None:
    """What is typed to search for. Raises :class:`UsageError` for what is no regular expression."""
    regex = text.startswith("re:")
    pattern = text.removeprefix("re:") if regex else text
    if not pattern:
        return None
    needle = Needle(pattern, regex, any(letter.isupper() for letter in pattern))
    _pattern(needle)
    return needle


def _pattern(needle: Needle) -> re.Pattern[str]:
    try:
        return re.compile(
            needle.pattern if needle.regex else re.escape(needle.pattern), 0 if needle.case else re.IGNORECASE
        )
    except re.error as error:
        raise UsageError(f'"{needle.pattern[:80]}" is no regular expression: {error}') from None
