"""What a task waits for and what waits for it, drawn: tasks as glyph, number, word and title, dependencies as lines between them."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.geometry import Size
from textual.strip import Strip

from storage.queries.task_page import GraphNode
from tui.actions import Subject
from tui.graph_layout import ASCII, LINES, Drawing, lay_out
from tui.ink import Part, plain
from tui.widgets.lines import Lines
from tui.widgets.panel import _FRAME as FRAME
from tui.widgets.panel import Framed

_TITLE = 30
_LEAST_TITLE = 10


class GraphView(Framed, Lines, can_focus=True):
    """A graph of tasks with a cursor on one of them."""

    DEFAULT_CSS = FRAME.replace("NAME", "GraphView")
    scopes: ClassVar[tuple[str, ...]] = ("graph", "motion")
    number = 2
    name_shown = "dependencies"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._known: Mapping[int, GraphNode] = {}
        self._pairs: Sequence[tuple[int, int]] = ()
        self._more = 0
        self._home = 0
        self._on = 0
        self._left = 0
        self._drawing = Drawing({}, {}, 0, 0, ())
        self._labels: dict[int, list[Part]] = {}
        self._drawn_for = -1

    def summary(self) -> list[Part]:
        """How many tasks, and how many are not drawn."""
        if len(self._known) < 2:
            return []
        parts: list[Part] = [(f"{len(self._known)} tasks", "dim")]
        return [*parts, (f", {self._more:,} more not drawn", "warn")] if self._more else parts

    def show(self, home: int, nodes: Sequence[GraphNode], edges: Sequence[tuple[int, int]], more: int = 0) -> None:
        """Show the tasks around ``home``."""
        if home != self._home:
            self._home = self._on = home
        self._known, self._pairs, self._more = {node.number: node for node in nodes}, edges, more
        if self._on not in self._known:
            self._on = home
        self._draw_anew()

    def on_resize(self, event: events.Resize) -> None:
        """Another width, other titles."""
        del event
        if self.line_width != self._drawn_for:
            self._draw_anew()

    def _draw_anew(self) -> None:
        self._drawn_for = self.line_width
        room = _TITLE
        while True:
            self._labels = {number: self._label(node, room) for number, node in self._known.items()}
            widths = {number: sum(cell_len(text) for text, _ in label) for number, label in self._labels.items()}
            self._drawing = lay_out(list(self._known), self._pairs, widths)
            if self._drawing.width <= self.line_width - 2 or room <= 0:
                break
            room = room - 5 if room > _LEAST_TITLE else 0
        self.virtual_size = Size(0, self._drawing.height + 3)
        self.title_now()
        self._see()
        self._painted.clear()
        self.refresh()

    def _label(self, node: GraphNode, room: int) -> list[Part]:
        ink = self.ink
        sign, tone = ink.sign(node.status)
        word = node.status.replace("_", " ")
        title = ink.ascii(plain(node.title))
        if cell_len(title) > room:
            title = ink.fit(title, room) if room else ""
        home = " bold" if node.number == self._home else ""
        parts: list[Part] = [(f"{sign} ", tone), (f"#{node.number} ", "text" + home), (word, tone)]
        return (
            [*parts, (f" {title}", ("text" if node.status not in ("completed", "cancelled") else "dim") + home)]
            if title
            else parts
        )

    # ── moving about ────────────────────────────────────────────────────────────────────────────────────────────────

    def subject(self) -> Subject | None:
        """The task under the cursor, where it is another than the screen's."""
        node = self._known.get(self._on)
        if node is None or node.number == self._home:
            return None
        return Subject(
            "task",
            {"task": str(node.number), "project": node.project},
            f"#{node.number} {plain(node.title)}",
            node,
            state=node.status,
        )

    @property
    def here(self) -> int:
        """The number of the task under the cursor."""
        return self._on

    def move(self, by: int) -> None:
        """To another task of the same layer; at its end, of the next one."""
        order = [number for layer in self._drawing.layers for number in layer]
        if self._on in order:
            self._go(order[max(0, min(len(order) - 1, order.index(self._on) + by))])

    def across(self, by: int) -> None:
        """To the task of the next layer that stands nearest."""
        layers = self._drawing.layers
        at = next((n for n, layer in enumerate(layers) if self._on in layer), -1)
        if at < 0 or not 0 <= at + by < len(layers) or not layers[at + by]:
            return
        boxes = self._drawing.boxes
        joined = {b if a == self._on else a for a, b in self._pairs if self._on in (a, b)}
        self._go(
            min(layers[at + by], key=lambda number: (number not in joined, abs(boxes[number].y - boxes[self._on].y)))
        )

    def page(self, pages: float) -> None:
        """Move by pages."""
        self.move(round(pages * self.room))

    def jump(self, to: int | None) -> None:
        """To the first or the last task."""
        order = [number for layer in self._drawing.layers for number in layer]
        if order:
            self._go(order[-1] if to is None else order[min(to - 1, len(order) - 1)])

    def selected_text(self) -> str:
        """The task under the cursor."""
        node = self._known.get(self._on)
        return f"#{node.number} {node.title}" if node else ""

    def _go(self, number: int) -> None:
        self._on = number
        self._see()
        self.repaint()
        self.app.place_changed()  # type: ignore[attr-defined]

    def _see(self) -> None:
        """Have the node under the cursor in view."""
        box = self._drawing.boxes.get(self._on)
        if box is None:
            return
        self.bring_into_view(box.y)
        width = max(1, self.line_width - 2)
        if box.x < self._left:
            self._left = max(0, box.x - 2)
        elif box.x + box.width > self._left + width:
            self._left = max(0, box.x + box.width - width)
        if self._drawing.width <= width:
            self._left = 0

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on a task; a second click opens it."""
        x, y = event.x - self.content_offset.x - 1 + self._left, self.top + event.y - self.content_offset.y
        for number, box in self._drawing.boxes.items():
            if box.y == y and box.x <= x < box.x + box.width:
                self._go(number)
                if event.chain > 1:
                    self.app.press("enter")  # type: ignore[attr-defined]

    # ── painting ────────────────────────────────────────────────────────────────────────────────────────────────────

    def draw(self, line: int, width: int) -> Strip:
        """One line of the drawing."""
        ink = self.ink
        if len(self._known) < 2:
            words = (
                "It waits for no task, and none waits for it.",
                "e edits what it comes after",
            )
            return ink.strip(
                [(" ", ""), (words[line], "text" if line == 0 else "dim")] if line < len(words) else (), width
            )
        if line >= self._drawing.height:
            return ink.strip([(" ", ""), *self._words(line - self._drawing.height, width - 2)], width)
        blank = ink.style("")
        shown: dict[int, list[Segment]] = {}
        for number, box in self._drawing.boxes.items():
            if box.y == line:
                shown[box.x] = self._node(number)
        cells = self._drawing.lines.get(line, {})
        segments: list[Segment] = []
        x, end = 0, max([*cells, *(start + 1 for start in shown)], default=-1) + 1
        while x < end:
            if x in shown:
                segments += shown[x]
                x += sum(cell_len(segment.text) for segment in shown[x])
                continue
            sides = cells.get(x, 0)
            sign = (LINES.get(sides, " ") if ink.unicode else ASCII.get(sides, "+")) if sides else " "
            segments.append(Segment(sign, ink.style("edge") if sides else blank))
            x += 1
        strip = Strip(segments).simplify()
        body = strip.crop(self._left, self._left + max(0, width - 2))
        return Strip([Segment(" ", blank), *body.extend_cell_length(max(0, width - 1), blank)], width)

    def _words(self, line: int, width: int) -> list[Part]:
        """What stands below the drawing: the task under the cursor in full."""
        node = self._known.get(self._on)
        if node is None or line not in (1, 2):
            return []
        if line == 1:
            return [
                (f"#{node.number} ", "text bold"),
                (self.ink.fit(plain(node.title), max(1, width - 8)), "text bold"),
            ]
        after = [a for a, b in self._pairs if b == self._on]
        blocks = [b for a, b in self._pairs if a == self._on]
        parts: list[Part] = [
            (plain(node.project), self.app.tone_of(node.project)),  # type: ignore[attr-defined]
            (f"  priority {node.priority}", "dim"),
        ]
        if after:
            parts.append(("  after " + ", ".join(f"#{number}" for number in after[:6]), "dim"))
        if blocks:
            parts.append(("  before " + ", ".join(f"#{number}" for number in blocks[:6]), "dim"))
        return parts

    def _node(self, number: int) -> list[Segment]:
        ink = self.ink
        ground = ("cursor" if self.has_focus else "resting") if number == self._on else "ground"
        return [Segment(ink.ascii(text), ink.style(tone, ground)) for text, tone in self._labels[number]]
