"""The part of a log that is held in memory: a window of pages that moves along the run, and what it is read from."""

from bisect import bisect_left
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from core.tasks.log_pages import LogEvent, Needle, Range

PAGE = 200
"""Events that are read at a time."""
MOST_EVENTS = 3_000
MOST_CHARACTERS = 8_000_000
"""What a window holds at most; whatever is furthest from where one reads goes first."""


class LogSource(Protocol):
    """Where a log is read from, as :class:`core.tasks.log_pages.LogPages` does."""

    async def first(self, wanted: Range, limit: int) -> list[LogEvent]:
        """The first events of a range."""

    async def last(self, wanted: Range, limit: int) -> list[LogEvent]:
        """The last events of a range, in their order."""

    async def end(self) -> int:
        """The number of the last event."""

    async def count(self, wanted: Range) -> int:
        """How many events a range has."""

    async def number_at(self, at: datetime) -> int:
        """The number of the first event at or after a time."""

    def all(self, wanted: Range) -> AsyncIterator[LogEvent]:
        """All events of a range with their whole texts."""

    async def search(self, needle: Needle, wanted: Range, *, backwards: bool = False) -> int | None:
        """The number of the nearest event that holds the needle."""


class LogWindow:
    """Consecutive events of a range of the log."""

    def __init__(self, source: LogSource, wanted: Range = Range()) -> None:  # noqa: B008 - it is immutable
        self.source = source
        self.range = wanted
        self.events: list[LogEvent] = []
        self.at_start = True
        """Whether nothing comes before the window."""
        self.at_end = True
        """Whether nothing came after it when it was read last."""
        self._characters = 0

    def index(self, seq: int) -> int:
        """The place of an event, or of the next one that is held; the last one where there is none."""
        return min(bisect_left(self.events, seq, key=_number), max(len(self.events) - 1, 0))

    def holds(self, seq: int) -> bool:
        """Whether an event of this number is held."""
        place = bisect_left(self.events, seq, key=_number)
        return place < len(self.events) and self.events[place].seq == seq

    @property
    def last(self) -> int:
        """The number after which nothing was read yet."""
        return self.events[-1].seq if self.events else self.range.after

    async def to_end(self) -> None:
        """Hold the last page."""
        found = await self.source.last(self.range, PAGE)
        self._hold(found, at_start=len(found) < PAGE, at_end=True)

    async def to_start(self) -> None:
        """Hold the first page."""
        found = await self.source.first(self.range, PAGE)
        self._hold(found, at_start=True, at_end=len(found) < PAGE)

    async def around(self, seq: int) -> None:
        """Hold a page before and a page from ``seq`` on."""
        before = await self.source.last(replace(self.range, before=min(seq, self.range.before)), PAGE)
        after = await self.source.first(replace(self.range, after=max(seq - 1, self.range.after)), PAGE)
        self._hold(before + after, at_start=len(before) < PAGE, at_end=len(after) < PAGE)

    async def more_above(self) -> bool:
        """Take in the page before; whether there was any."""
        if self.at_start or not self.events:
            return False
        first = self.events[0].seq
        found = await self.source.last(replace(self.range, before=first), PAGE)
        self.at_start = len(found) < PAGE
        self.events[:0] = found
        self._characters += _size(found)
        self._shed(from_end=True)
        return bool(found)

    async def more_below(self) -> bool:
        """Take in the page after, or what is new; whether there was any."""
        found = await self.source.first(replace(self.range, after=self.last), PAGE)
        self.at_end = len(found) < PAGE
        self.events += found
        self._characters += _size(found)
        self._shed(from_end=False)
        return bool(found)

    async def catch_up(self) -> bool:
        """Hold the end of the log, however far it has gone on; whether there was anything new."""
        moved = await self.more_below()
        if not self.at_end:
            await self.to_end()
        return moved

    async def beyond(self, seq: int) -> int:
        """How many events there are after both the window and ``seq``."""
        after = max(seq, self.last)
        if not self.range.kinds:
            return max(0, await self.source.end() - after)
        return await self.source.count(replace(self.range, after=after))

    def _hold(self, found: Sequence[LogEvent], *, at_start: bool, at_end: bool) -> None:
        self.events = list(found)
        self.at_start, self.at_end = at_start, at_end
        self._characters = _size(found)

    def _shed(self, *, from_end: bool) -> None:
        """Give up a page at a time until the window is small enough, never the page that was just read."""
        while len(self.events) > 2 * PAGE and (len(self.events) > MOST_EVENTS or self._characters > MOST_CHARACTERS):
            going = self.events[-PAGE:] if from_end else self.events[:PAGE]
            self._characters -= _size(going)
            if from_end:
                del self.events[-PAGE:]
                self.at_end = False
            else:
                del self.events[:PAGE]
                self.at_start = False


def _number(event: LogEvent) -> int:
    return event.seq


def _size(events: Sequence[LogEvent]) -> int:
    return sum(len(event.text) + len(event.output) for event in events)
