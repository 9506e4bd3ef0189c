"""A pane of lines that paints only what has changed: the base of every table, list and text on the screen.

A subclass says how many lines there are and draws one (:meth:`draw`). :meth:`repaint` compares what is seen with what was painted last and refreshes
only the cells that differ: a pane in which one figure has changed costs a few bytes on the line, not a screenful.
"""

from typing import TYPE_CHECKING

from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.ink import Ink

if TYPE_CHECKING:
    from tui.app import QuarterdeckApp


class Lines(ScrollView, can_focus=True):
    """Lines of the full width of the pane, scrolled by whole lines."""

    DEFAULT_CSS = """
    Lines { scrollbar-size: 1 1; overflow-x: hidden; overflow-y: auto; background: $qd-ground; }
    """
    BINDINGS = []  # noqa: RUF012 - the keys of the screen are those of the registry

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id, classes=classes)
        self._painted: dict[int, Strip] = {}
        self._was = (0, 0, 0)

    @property
    def deck(self) -> "QuarterdeckApp":
        """The app."""
        return self.app  # type: ignore[return-value]

    @property
    def ink(self) -> Ink:
        """What to write with."""
        return self.deck.ink

    @property
    def top(self) -> int:
        """The first line that is seen."""
        return round(self.scroll_offset.y)

    @property
    def _height(self) -> int:
        return max(1, self.scrollable_content_region.height)

    @property
    def room(self) -> int:
        """How many lines are seen at a time."""
        return max(1, self._height - self.fixed_lines - self.foot_lines)

    @property
    def line_width(self) -> int:
        """How many cells a line has."""
        return max(0, self.scrollable_content_region.width)

    def draw(self, line: int, width: int) -> Strip:
        """One line, exactly ``width`` cells wide; also for lines below the last."""
        raise NotImplementedError

    @property
    def fixed_lines(self) -> int:
        """Lines above that do not scroll."""
        return 0

    def draw_fixed(self, line: int, width: int) -> Strip:
        """One of the lines that do not scroll."""
        raise NotImplementedError

    @property
    def foot_lines(self) -> int:
        """Lines below that do not scroll."""
        return 0

    def draw_foot(self, line: int, width: int) -> Strip:
        """One of the lines below that do not scroll."""
        raise NotImplementedError

    def _line(self, y: int, width: int) -> Strip:
        if y < self.fixed_lines:
            return self.draw_fixed(y, width)
        foot = y - (self._height - self.foot_lines)
        if foot >= 0:
            return self.draw_foot(foot, width)
        return self.draw(self.top + y - self.fixed_lines, width)

    def set_length(self, lines: int) -> None:
        """How many lines there are."""
        if lines != self.virtual_size.height:
            size = Size(0, lines)
            if self.styles.auto_dimensions:
                self.virtual_size = size
            else:  # what it holds does not change its size, so that the screen need not be laid out anew
                self.set_reactive(Lines.virtual_size, size)
            self._scroll_update(size)  # the scroll bar comes and goes with it, not with the next layout

    def repaint(self) -> None:
        """Paint what differs from what was painted last."""
        width, height = self.line_width, self._height
        if not self.is_mounted or width <= 0:
            return
        if self._was != (self.top, width, height):
            self._painted.clear()
            self.refresh()
            return
        regions = []
        for y in range(height):
            old = self._painted.get(y)
            if old is None:
                self.refresh()
                return
            new = self._line(y, width)
            if new != old:
                left, right = _difference(old, new)
                regions.append(Region(left, y, max(1, right - left), 1))
                self._painted[y] = new
        if regions:
            self.refresh(*regions)

    def tick(self) -> None:
        """Time has passed: paint what differs for it."""
        self.repaint()

    def render_line(self, y: int) -> Strip:
        """One line of the pane, as Textual wants it."""
        width = self.line_width
        self._was = (self.top, width, self._height)
        strip = self._line(y, width) if width else Strip.blank(self.size.width)
        self._painted[y] = strip
        return strip

    def bring_into_view(self, line: int, *, margin: int = 1) -> None:
        """Scroll as little as it takes for a line to be seen, with some lines around it."""
        room = self.room
        margin = min(margin, (room - 1) // 2)
        top = self.top
        if line < top + margin:
            top = max(0, line - margin)
        elif line > top + room - 1 - margin:
            top = line - room + 1 + margin
        if top != self.top:
            self.scroll_to(y=top, animate=False, immediate=True)

    def notify_style_update(self) -> None:
        """Another theme: everything is written anew."""
        self._painted.clear()
        super().notify_style_update()


def _difference(old: Strip, new: Strip) -> tuple[int, int]:
    """From which cell to which two strips of one width differ."""
    width = new.cell_length
    left, right = 0, width
    mine, theirs = _cells(new), _cells(old)
    if len(mine) != len(theirs):
        return 0, width
    while left < right and mine[left] == theirs[left]:
        left += 1
    while right > left and mine[right - 1] == theirs[right - 1]:
        right -= 1
    return left, right


def _cells(strip: Strip) -> list[tuple[str, object]]:
    from rich.cells import get_character_cell_size

    cells: list[tuple[str, object]] = []
    for segment in strip:
        for character in segment.text:
            cells += [(character, segment.style)] * get_character_cell_size(character)
    return cells
