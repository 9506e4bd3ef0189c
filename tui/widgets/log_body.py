"""What a log view shows and how: its window of pages, what follows, the rows that are seen, and their painting.

Where one is, is the number of an event and a row in it, so that whatever is loaded, dropped or added around it moves
nothing that is seen. New events are painted at most every ``pace`` seconds, and of all rows only those that differ.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from textual.geometry import Region
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from config.errors import QuarterdeckError
from core.tasks.log_pages import Needle, Range
from tui.ink import Ink
from tui.widgets.log_places import Place, Places
from tui.widgets.log_rows import LogLayout
from tui.widgets.log_window import LogSource, LogWindow

_EDGE = 60
"""Events from the edge of the window at which the next page is read."""


@dataclass(frozen=True, slots=True)
class LogState:
    """What a line below the log says of it."""

    following: bool = True
    new: int = 0
    seq: int = 0
    """The event under the cursor."""
    end: int = 0
    kinds: tuple[str, ...] = ()
    since: datetime | None = None
    needle: str = ""
    selected: int = 0
    trouble: str = ""


class LogBody(ScrollView, can_focus=True):
    """The log of one run, or nothing until :meth:`open` says which.

    It follows; how one moves about is :class:`LogView`'s.
    """

    DEFAULT_CSS = "LogBody { overflow: hidden hidden; background: $qd-ground; }"
    BINDINGS = []  # noqa: RUF012 - the keys of the screen are those of the registry
    ALLOW_SELECT = False

    class Changed(Message):
        """Where one is in the log, or what is shown of it, is different now."""

        def __init__(self, state: LogState) -> None:
            super().__init__()
            self.state = state

    def __init__(
        self,
        *,
        ink: Callable[[], Ink],
        pace: float = 0.2,
        id: str | None = None,  # noqa: A002 - Textual's name
        classes: str | None = None,
    ) -> None:
        """``pace``: least seconds between two paints of new events."""
        super().__init__(id=id, classes=classes)
        self._ink = ink
        self.pace = pace
        self.layout_of = LogLayout(ink())
        self.window: LogWindow | None = None
        self.following = True
        self.new = 0
        """Events that came since it was followed."""
        self._followed_to = 0
        self.marks: set[int] = set()
        self.needle: Needle | None = None
        self.since: datetime | None = None
        self.trouble = ""
        self._top: Place = (0, 0)
        self._cursor: Place = (0, 0)
        self._anchor: Place | None = None
        self._shown: list[Place] = []
        self._painted: list[Strip] = []
        self._loading = asyncio.Lock()
        self._flushed = 0.0
        self._due = False
        self._told = LogState()
        self._wanted = Range()

    # ── what is shown ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def open(self, source: LogSource, *, begun: datetime | None = None, wanted: Range = Range()) -> None:  # noqa: B008
        """Show another log, from its end."""
        self.window, self._wanted = LogWindow(source, wanted), wanted
        self.layout_of.begun = begun
        self.layout_of.turned.clear()
        self.layout_of.forget()
        self.marks.clear()
        self._anchor, self.following, self.new = None, True, 0
        await self._guarded(self.window.to_end())
        self._followed_to = self.window.last
        self.repaint()

    def poke(self) -> None:
        """There may be new events: look, at once or when the pace allows it."""
        if self._due or self.window is None:
            return
        self._due = True
        wait = self._flushed + (self.pace if self.following else 1.0) - time.monotonic()
        if wait <= 0:
            self.run_worker(self._flush(), group="log flush", exit_on_error=True)
        else:
            self.set_timer(wait, self._flush)

    async def _flush(self) -> None:
        self._due = False
        self._flushed = time.monotonic()
        window = self.window
        if window is None:
            return
        async with self._loading:
            if self.following or not window.events:
                await self._guarded(window.catch_up())
                self._followed_to = window.last
                self._cursor = self._places.nearest(self._cursor) if self._any else self._cursor
            elif (found := await self._guarded(window.beyond(self._followed_to))) is not None:
                self.new = found
        self._flushed = time.monotonic()
        self.repaint()

    async def _guarded(self, work: Awaitable[int | bool | None]) -> int | bool | None:
        """The result of some reading; a failure is told below the log, and what is shown stays."""
        try:
            result = await work
        except QuarterdeckError as error:
            self.trouble = error.sentence()
            return None
        self.trouble = ""
        return result

    async def _show(self, place: Place) -> None:
        """Put the cursor on a place, wherever in the log it is."""
        window = self.window
        if window is None:
            return
        if not window.holds(place[0]):
            async with self._loading:
                await self._guarded(window.around(place[0]))
        self.following = False
        self._cursor = (
            self._places.nearest(place) if self._any else place
        )  # where one was, for when there are rows again
        if self._cursor not in self._shown_places():
            self._top = self._places.stepped(self._cursor, -(self._room // 3))
        self.repaint()

    # ── painting ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def repaint(self) -> None:
        """Paint the rows that differ from what was painted last, and say what has changed."""
        width, height = self.size.width, self._room
        if not self.is_mounted or width <= 0:
            return
        if self.layout_of.width != width:
            self.layout_of.width = width
            self.layout_of.forget()
        self._shown = self._shown_places()
        if self.following and self._shown:
            self._cursor, self._top = self._shown[-1], self._shown[0]
        strips = [self._strip(place) for place in self._shown]
        strips += self._rest(len(strips), height, width)
        old, self._painted = self._painted, strips
        if len(old) != len(strips):
            self.refresh()
        else:
            regions = [Region(0, y, width, 1) for y, strip in enumerate(strips) if strip != old[y]]
            if regions:
                self.refresh(*regions)
        self._load_ahead()
        self._tell()

    def render_line(self, y: int) -> Strip:
        """One row, as Textual wants it."""
        if len(self._painted) != self._room or self.layout_of.width != self.size.width:
            self.repaint()
        if y < len(self._painted):
            return self._painted[y]
        return Strip.blank(self.size.width, self.layout_of.ink.style(""))

    def on_resize(self) -> None:
        """Another width breaks lines elsewhere."""
        self._painted = []
        self.layout_of.forget()
        self.repaint()

    def on_focus(self) -> None:
        """The cursor is seen only where the keys go."""
        self.repaint()

    def on_blur(self) -> None:
        """As :meth:`on_focus`."""
        self.repaint()

    def notify_style_update(self) -> None:
        """Another theme: everything is written anew."""
        self.layout_of.ink = self._ink()
        self._painted = []
        super().notify_style_update()

    def _strip(self, place: Place) -> Strip:
        event = self._places.event(place[0])
        assert event is not None
        here = place == self._cursor and not self.following and self.has_focus
        chosen = self._anchor is not None and min(self._anchor, self._cursor) <= place <= max(
            self._anchor, self._cursor
        )
        ground = "cursor" if here else "resting" if chosen else "ground"
        return self.layout_of.strip(event, place[1], ground=ground, marked=place[0] in self.marks, cursor=here)

    def _rest(self, drawn: int, height: int, width: int) -> list[Strip]:
        ink = self.layout_of.ink
        blank = Strip.blank(width, ink.style(""))
        rest = [blank] * (height - drawn)
        if drawn or not rest:
            return rest
        words = self.trouble or ("no such events" if self._narrowed_down else "nothing happened in this run yet")
        rest[len(rest) // 2] = ink.strip(
            [(" ", ""), (ink.fit(words, width - 2).strip().center(width - 2), "dim")], width
        )
        return rest

    @property
    def _narrowed_down(self) -> bool:
        return self.window is not None and self.window.range != self._wanted

    def _tell(self) -> None:
        window = self.window
        end = window.last if window is not None else 0
        state = LogState(
            self.following,
            0 if self.following else self.new,
            self._cursor[0] if self._any else 0,
            max(end, self._told.end if window is not None and not window.at_end else 0),
            window.range.kinds if window is not None else (),
            self.since,
            self.needle.pattern if self.needle else "",
            0 if self._anchor is None else abs(self._cursor[0] - self._anchor[0]) + 1,
            self.trouble,
        )
        if state != self._told:
            self._told = state
            self.post_message(self.Changed(state))

    # ── places and pages ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _room(self) -> int:
        return max(1, self.size.height)

    @property
    def _any(self) -> bool:
        return self.window is not None and bool(self.window.events)

    @property
    def _places(self) -> Places:
        assert self.window is not None
        return Places(self.window, self.layout_of)

    def _settle(self) -> None:
        """Follow no more: what is seen now is what one reads."""
        if self.following:
            self.following = False
            self._shown = self._shown_places(from_end=True)
            if self._shown:
                self._top, self._cursor = self._shown[0], self._shown[-1]

    def _shown_places(self, *, from_end: bool = False) -> list[Place]:
        """What is seen, from the top."""
        if not self._any:
            return []
        if self.following or from_end:
            return self._places.from_end(self._room)
        found = self._places.starting(self._places.nearest(self._top), self._room)
        if len(found) < self._room:
            found = self._places.up_to(found[-1], self._room)
            self._top = found[0]
        return found

    def _load_ahead(self) -> None:
        """Read the next page where one comes near the edge of the window."""
        window = self.window
        if window is None or not window.events or self.following or self._loading.locked():
            return
        at = window.index(self._top[0])
        above = at < _EDGE and not window.at_start
        below = len(window.events) - at < _EDGE + self._room and not window.at_end
        if above or below:
            self.run_worker(self._more(window, above=above), group="log pages", exit_on_error=True)

    async def _more(self, window: LogWindow, *, above: bool) -> None:
        if self._loading.locked():
            return
        async with self._loading:
            await self._guarded(window.more_above() if above else window.more_below())
        self.repaint()
