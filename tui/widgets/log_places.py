"""Where one is in a log: the number of an event and a row in it. Walks over what is held and laid out."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from core.tasks.log_pages import LogEvent
from tui.widgets.log_rows import LogLayout, Row
from tui.widgets.log_window import LogWindow

Place = tuple[int, int]
"""The number of an event, and a row in it."""


@dataclass(frozen=True, slots=True)
class Places:
    """The rows of a window in a layout."""

    window: LogWindow
    layout: LogLayout

    def event(self, seq: int) -> LogEvent | None:
        """The event of this number, where it is held."""
        return self.window.events[self.window.index(seq)] if self.window.holds(seq) else None

    def nearest(self, place: Place) -> Place:
        """The place itself, or the one nearest to it that there is."""
        if not self.window.events:
            return (0, 0)
        event = self.window.events[self.window.index(place[0])]
        return event.seq, min(place[1], len(self.layout.rows(event)) - 1) if event.seq == place[0] else 0

    def stepped(self, place: Place, by: int) -> Place:
        """The place so many rows further down or up, or the last one on the way that is held."""
        start = self.nearest(place)
        passed = [at for at, _ in islice(self.onwards(start) if by >= 0 else self.backwards(start), abs(by) + 1)]
        return passed[-1] if passed else start

    def from_end(self, count: int) -> list[Place]:
        """The last rows, in their order."""
        if not self.window.events:
            return []
        event = self.window.events[-1]
        return self.up_to((event.seq, len(self.layout.rows(event)) - 1), count)

    def up_to(self, place: Place, count: int) -> list[Place]:
        """So many rows that end with a place, in their order."""
        return [at for at, _ in islice(self.backwards(place), count)][::-1]

    def starting(self, place: Place, count: int) -> list[Place]:
        """So many rows that begin with a place."""
        return [at for at, _ in islice(self.onwards(place), count)]

    def onwards(self, place: Place) -> Iterator[tuple[Place, Row]]:
        """The rows from a place on."""
        first = place[1]
        for n in range(self.window.index(place[0]), len(self.window.events)):
            event = self.window.events[n]
            rows = self.layout.rows(event)
            for row in range(first, len(rows)):
                yield (event.seq, row), rows[row]
            first = 0

    def backwards(self, place: Place) -> Iterator[tuple[Place, Row]]:
        """The rows from a place back to the first."""
        if not self.window.events:
            return
        last: int | None = place[1]
        for n in range(self.window.index(place[0]), -1, -1):
            event = self.window.events[n]
            rows = self.layout.rows(event)
            for row in range(len(rows) - 1 if last is None else min(last, len(rows) - 1), -1, -1):
                yield (event.seq, row), rows[row]
            last = None
