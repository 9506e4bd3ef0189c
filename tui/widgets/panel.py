"""Panels of the deck: a frame with a number, a name and a summary in its upper edge, around lines that are painted only where they change."""

from typing import TYPE_CHECKING

from rich.text import Text

from tui.ink import Ink, Part, width_of
from tui.widgets.rows import Rows, Table

_FRAME = """
    NAME { border: round $qd-edge; border-title-align: left; border-subtitle-align: right; background: $qd-ground; padding: 0; overflow-x: hidden;
             overflow-y: auto; scrollbar-size: 1 1;
             border-title-background: $qd-ground; border-title-color: $qd-text; border-subtitle-color: $qd-dim; border-subtitle-background: $qd-ground; }
    NAME:focus { border: round $qd-focus; }
    NAME.-folded { border: none; border-top: round $qd-edge; }
    NAME.-folded:focus { border: none; border-top: round $qd-focus; }
    NAME.-heavy:focus { border: heavy $qd-focus; }
    NAME.-heavy.-folded:focus { border: none; border-top: heavy $qd-focus; }
    NAME.-ascii, NAME.-ascii.-heavy:focus { border: ascii $qd-edge; scrollbar-size: 0 0; }
    NAME.-ascii:focus { border: ascii $qd-focus; }
    NAME.-ascii.-folded, NAME.-ascii.-folded:focus { border: none; border-top: ascii $qd-edge; }
"""


if TYPE_CHECKING:
    from tui.widgets.lines import Lines as _Base
else:
    _Base = object


class Framed(_Base):
    """What every panel has besides its lines. Mixed into :class:`Rows` or :class:`Lines`, before them.

    At run time it is no widget: Textual looks for style sheets along the first base that is one.
    """

    number = 0
    name_shown = ""
    _titled: Text | None = None

    @property
    def words(self) -> Ink:
        """What to write with."""
        return self.ink

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
        if self.has_focus and not ink.unicode:  # its frame is that of the others
            parts.append((ink.glyph("cursor") + " ", "focus bold"))
        if self.number:
            parts.append((f"{self.number} ", "focus bold" if self.has_focus else "dim"))
        parts += [(self.name_shown, tone)]
        more = [*self.summary(), *self._marked_words()]
        if more:
            parts += [(f" {ink.glyph('dot')} ", "dim"), *more]
        text = Text()
        room = max(4, self.size.width - 2 if self.size.width else 200)
        for words, tone_ in parts:
            shown = ink.ascii(words)
            if width_of([(text.plain + shown, "")]) > room:
                break
            text.append(shown, ink.style(tone_))
        if folded and len(text) < room:
            text.append(" ")
        if self._titled != text:  # what Textual gives back for its title is markup, and equal to nothing
            self._titled = text
            self.border_title = text

    def _marked_words(self) -> list[Part]:
        marks = getattr(self, "marks", ())
        return [(f" {self.words.glyph('mark')} {len(marks):,} marked", "focus")] if marks else []

    def notify_style_update(self) -> None:
        """Another theme: the title has other colours, and the frame another weight."""
        super().notify_style_update()
        if self.is_mounted:
            self.set_class(self.has_focus and self.words.palette.mono, "-heavy")
            self.title_now()

    def watch_has_focus(self, has_focus: bool) -> None:
        """The title shows who has the keys."""
        super().watch_has_focus(has_focus)
        self.set_class(has_focus and self.words.palette.mono, "-heavy")
        self.title_now()
        self.repaint()


class RowsPanel(Framed, Rows, can_focus=True):
    """A panel that is a windowed table."""

    DEFAULT_CSS = _FRAME.replace("NAME", "RowsPanel")

    def changed(self) -> None:
        """The summary counts the rows."""
        self.title_now()


class TablePanel(Framed, Table, can_focus=True):
    """A panel that is a short table."""

    DEFAULT_CSS = _FRAME.replace("NAME", "TablePanel")

    def changed(self) -> None:
        """The summary counts the rows."""
        self.title_now()
