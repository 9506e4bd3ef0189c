"""A screen of several panes: beside each other where it is wide, one at a time where it is narrow. Their numbers give them the keys."""

from typing import TYPE_CHECKING, ClassVar, cast

from rich.text import Text
from textual import events

from tui.screens.base import BaseScreen

if TYPE_CHECKING:
    from tui.widgets.panel import Framed

NARROW = 100
"""Below so many columns one pane is seen at a time."""
WIDE = 170


class PanedScreen(BaseScreen):
    """A screen whose ``panes`` (ids of widgets) stand in ``holders`` (ids of containers, by pane)."""

    panes: ClassVar[tuple[str, ...]] = ()
    holders: ClassVar[dict[str, str]] = {}
    AUTO_FOCUS = ""

    def __init__(self) -> None:
        super().__init__()
        self.pane = self.panes[0]
        """The pane that has the keys."""

    def on_resize(self, event: events.Resize) -> None:
        """Another size, other panes."""
        del event
        self.place_panes()

    def on_screen_resume(self) -> None:
        """Back here: the pane that had the keys has them again."""
        if self.is_mounted and self.focused is None:
            self.focus_pane(self.pane)

    def focus_pane(self, name: str) -> None:
        """Give the keys to a pane."""
        self.pane = name
        self.place_panes()
        panel = self.query_one(f"#{name}")
        if panel.focusable:
            self.set_focus(panel, scroll_visible=False)  # at once: the next key may be there already
        else:
            panel.focus(scroll_visible=False)  # there is no room yet
        self.deck.place_changed()

    def next_pane(self, by: int) -> None:
        """Give the keys to the next pane."""
        self.focus_pane(self.panes[(self.panes.index(self.pane) + by) % len(self.panes)])

    def place_panes(self) -> None:
        """Show the panes that there is room for."""
        width = self.size.width
        narrow = width < NARROW
        self.set_class(narrow, "-narrow")
        self.set_class(width >= WIDE, "-wide")
        for pane in self.panes:
            self.query_one(f"#{pane}").display = not narrow or pane == self.pane
        for holder in dict.fromkeys(self.holders.values()):
            self.query_one(f"#{holder}").display = not narrow or self.holders.get(self.pane) == holder
        self._name_others(narrow=narrow)

    def _name_others(self, *, narrow: bool) -> None:
        """On a narrow screen the edge of the pane names those that are not seen, with the keys that bring them."""
        ink = self.deck.ink
        for pane in self.panes:
            text = Text()
            for number, other in enumerate(self.panes, start=1):
                if narrow and other != pane:
                    text.append(f" {number} ", ink.style("focus"))
                    text.append(ink.ascii(cast("Framed", self.query_one(f"#{other}")).name_shown), ink.style("dim"))
            self.query_one(f"#{pane}").border_subtitle = Text.assemble(text, " ") if narrow else ""

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """A pane that was clicked has the keys."""
        if event.widget.id in self.panes and event.widget.id != self.pane and event.widget is self.focused:
            self.pane = event.widget.id
            self.place_panes()
