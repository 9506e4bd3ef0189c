"""Panels of the deck: a frame with a number, a name and a summary in its upper edge, around lines that are painted only where they change."""

from typing import Any

from rich.text import Text
from textual.widget import Widget

from tui.ink import Ink, Part, width_of
from tui.widgets.rows import Rows, Table


class Framed(Widget):
    """What every panel has besides its lines. Mixed into :class:`Rows` or :class:`Lines`."""

    DEFAULT_CSS = """
    Framed { border: round $qd-edge; border-title-align: left; border-subtitle-align: right; background: $qd-ground; padding: 0;
             border-title-background: $qd-ground; border-title-color: $qd-text; border-subtitle-color: $qd-dim; border-subtitle-background: $qd-ground; }
    Framed:focus { border: round $qd-focus; }
    Framed.-folded { border: none; border-top: round $qd-edge; }
    Framed.-folded:focus { border: none; border-top: round $qd-focus; }
    .-ascii Framed { border: ascii $qd-edge; }
    .-ascii Framed:focus { border: ascii $qd-focus; }
    .-ascii Framed.-folded { border: none; border-top: ascii $qd-edge; }
    """
    number = 0
    name_shown = ""

    @property
    def words(self) -> Ink:
        """What to write with."""
        return self.app.ink  # type: ignore[attr-defined, no-any-return]

    def summary(self) -> list[Part]:
        """What the title says besides the name."""
        return []

    def settle(self, *, seen: bool) -> None:
        """The panel is seen, or folded or hidden."""

    def title_now(self) -> None:
        """Write the title anew, where it differs."""
        ink = self.words
        tone = "focus bold" if self.has_focus else "text bold"
        parts: list[Part] = [(f"{self.number} ", "focus bold" if self.has_focus else "dim"), (self.name_shown, tone)]
        more = self.summary()
        if more:
            parts += [(f" {ink.glyph('dot')} ", "dim"), *more]
        text = Text()
        room = max(4, self.size.width - 2 if self.size.width else 200)
        for words, tone_ in parts:
            shown = ink.ascii(words)
            if width_of([(text.plain + shown, "")]) > room:
                break
            text.append(shown, ink.style(tone_))
        if self.border_title != text:
            self.border_title = text  # type: ignore[assignment]

    def on_focus(self) -> None:
        """The title shows who has the keys."""
        self.title_now()
        self.repaint_all()

    def on_blur(self) -> None:
        """As :meth:`on_focus`."""
        self.title_now()
        self.repaint_all()

    def repaint_all(self) -> None:
        """The cursor looks different with the keys."""
        repaint: Any = getattr(self, "repaint", None)
        if repaint is not None:
            repaint()


class RowsPanel(Framed, Rows, can_focus=True):
    """A panel that is a windowed table."""

    def changed(self) -> None:
        """The summary counts the rows."""
        self.title_now()

    def on_mount(self) -> None:
        """The title is there before the rows."""
        self.title_now()


class TablePanel(Framed, Table, can_focus=True):
    """A panel that is a short table."""

    def changed(self) -> None:
        """The summary counts the rows."""
        self.title_now()

    def on_mount(self) -> None:
        """The title is there before the rows."""
        self.title_now()
