"""Panels of the deck: a frame with a number, a name and a summary in its upper edge, around lines that are painted only where they change."""

from typing import Any

from rich.text import Text
from textual.widget import Widget

from tui.ink import Ink, Part, width_of
from tui.widgets.rows import Rows, Table


class Framed(Widget):
    """What every panel has besides its lines. Mixed into :class:`Rows` or :class:`Lines`."""

    DEFAULT_CSS = """
    Framed { border: round $qd-edge; border-title-align: left; border-subtitle-align: right; background: $qd-ground; padding: 0; overflow-x: hidden; overflow-y: auto; scrollbar-size: 1 1;
             border-title-background: $qd-ground; border-title-color: $qd-text; border-subtitle-color: $qd-dim; border-subtitle-background: $qd-ground; }
    Framed:focus { border: round $qd-focus; }
    Framed.-folded { border: none; border-top: round $qd-edge; }
    Framed.-folded:focus { border: none; border-top: round $qd-focus; }
    Framed.-heavy:focus { border: heavy $qd-focus; }
    Framed.-heavy.-folded:focus { border: none; border-top: heavy $qd-focus; }
    Framed.-ascii, Framed.-ascii.-heavy:focus { border: ascii $qd-edge; scrollbar-size: 0 0; }
    Framed.-ascii:focus { border: ascii $qd-focus; }
    Framed.-ascii.-folded, Framed.-ascii.-folded:focus { border: none; border-top: ascii $qd-edge; }
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

    def settle(self) -> None:
        """The panel was folded, opened, hidden or shown."""
        self.title_now()

    def on_mount(self) -> None:
        """The title is there before the lines."""
        self.set_class(not self.words.unicode, "-ascii")
        self.title_now()

    def title_now(self) -> None:
        """Write the title anew, where it differs."""
        ink = self.words
        tone = "focus bold" if self.has_focus else "text bold"
        folded = self.has_class("-folded")
        parts: list[Part] = [(ink.glyph("rule") + " ", "edge")] if folded else []
        if self.number:
            parts.append((f"{self.number} ", "focus bold" if self.has_focus else "dim"))
        parts += [(self.name_shown, tone)]
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

    def watch_has_focus(self, has_focus: bool) -> None:  # noqa: FBT001 - Textual calls it
        """The title shows who has the keys."""
        super().watch_has_focus(has_focus)
        self.set_class(has_focus and self.words.palette.mono, "-heavy")
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


class TablePanel(Framed, Table, can_focus=True):
    """A panel that is a short table."""

    def changed(self) -> None:
        """The summary counts the rows."""
        self.title_now()
