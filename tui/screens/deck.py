"""The deck: the home screen. Panels for what needs the person, the projects, the queue, what happens now, and the money."""

from collections.abc import Iterable
from dataclasses import replace

from textual import events
from textual.containers import Container
from textual.geometry import Offset, Region, Size, Spacing
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.widget import Widget

from tui.arrangement import PANELS, Arrangement, Box, arrange, from_memory
from tui.panels.budgets import BudgetsPanel
from tui.panels.inbox import InboxPanel
from tui.panels.live import LivePanel
from tui.panels.projects import ProjectsPanel
from tui.panels.queue import QueuePanel
from tui.screens.base import BaseScreen
from tui.widgets.bars import Bar
from tui.widgets.panel import Framed
from tui.widgets.rows import Chosen


class _Placed(Layout):
    """Puts each panel where the arrangement says."""

    name = "deck"

    def arrange(self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True) -> ArrangeResult:  # noqa: ARG002
        """Placements of the panels that are seen."""
        assert isinstance(parent, Panels)
        placements = []
        for child in children:
            box = parent.boxes.get(child.id or "")
            if box is not None:
                region = Region(box.x, box.y, box.width, box.height)
                placements.append(WidgetPlacement(region, Offset(), Spacing(), child))
        return placements


_PLACED = _Placed()


class Panels(Container):
    """Holds the panels."""

    DEFAULT_CSS = "Panels { height: 1fr; width: 1fr; background: $qd-ground; overflow: hidden; }"

    def __init__(self, *children: Widget) -> None:
        super().__init__(*children)
        self.boxes: dict[str, Box] = {}

    @property
    def layout(self) -> Layout:
        """Our own way to place them."""
        return _PLACED


class DeckScreen(BaseScreen):
    """Home."""

    scopes = ("deck",)

    def __init__(self) -> None:
        super().__init__()
        self.chosen = Arrangement()

    def body(self) -> Iterable[Widget]:
        """The panels."""
        yield Panels(
            InboxPanel(id="inbox"),
            ProjectsPanel(id="projects"),
            QueuePanel(id="queue"),
            LivePanel(id="log"),
            BudgetsPanel(id="budgets"),
        )

    def on_mount(self) -> None:
        """As it was left."""
        self.chosen = from_memory(self.deck.memory.get("deck", {}))
        self._place_panels()
        self.focus_panel(self.chosen.focus)

    def on_resize(self, event: events.Resize) -> None:
        """Another size, another arrangement."""
        del event
        self._place_panels()

    def on_screen_resume(self) -> None:
        """Back on the deck: the panel that had the keys has them again."""
        if self.is_mounted and self.focused is None:
            self.focus_panel(self.chosen.focus)

    def _place_panels(self) -> None:
        panels = self.query_one(Panels)
        room = self.size.height - sum(bar.display for bar in self.query(Bar))
        boxes = arrange(self.size.width, max(0, room), self.chosen)
        for name in PANELS:
            panel = self.query_one(f"#{name}", Framed)
            box = boxes.get(name)
            panel.display = box is not None
            panel.set_class(box is not None and box.folded, "-folded")
            panel.settle()
        panels.boxes = boxes
        panels.refresh(layout=True)

    def repaint_bars(self) -> None:
        """The lines around; the banner takes a line of the panels. Not before they are there: the first state of the whole may be the quicker."""
        if not self.is_mounted:
            return
        had = self.query_one("#banner").display
        super().repaint_bars()
        if had != self.query_one("#banner").display:
            self._place_panels()

    # ── what actions ask ────────────────────────────────────────────────────────────────────────────────────────────

    def rearrange(self, chosen: Arrangement) -> None:
        """Take up another arrangement, and remember it."""
        self.chosen = chosen
        self.deck.memory.set("deck", chosen.to_memory())
        self._place_panels()
        self.focus_panel(chosen.focus)

    def focus_panel(self, name: str) -> None:
        """Give the keys to a panel; a hidden one is shown."""
        hidden = tuple(panel for panel in self.chosen.hidden if panel != name)
        chosen = replace(self.chosen, focus=name, hidden=hidden)
        if chosen != self.chosen:
            self.chosen = chosen
            self.deck.memory.set("deck", chosen.to_memory())
            self._place_panels()
        panel = self.query_one(f"#{name}")
        if panel.focusable:
            self.set_focus(panel, scroll_visible=False)  # at once: the next key may be there already
        else:
            panel.focus(scroll_visible=False)  # there is no room yet
        self.deck.place_changed()

    def next_panel(self, by: int) -> None:
        """Give the keys to the next panel that is not hidden."""
        shown = [panel for panel in PANELS if panel not in self.chosen.hidden]
        at = shown.index(self.chosen.focus) if self.chosen.focus in shown else 0
        self.focus_panel(shown[(at + by) % len(shown)])

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """A panel that was clicked has the keys, and is opened where it was folded."""
        name = event.widget.id or ""
        if name in PANELS and name != self.chosen.focus and event.widget is self.focused:
            self.focus_panel(name)

    def on_chosen(self, message: Chosen) -> None:
        """A row was opened by a double click."""
        del message
        self.deck.press("enter")
