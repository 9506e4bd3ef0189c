"""A page to read: headings, words and figures, laid out for the width that there is."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import events
from textual.strip import Strip

from tui.ink import Ink, Part, width_of
from tui.safe_text import pieces, plain_text, rows_of
from tui.widgets.lines import Lines
from tui.widgets.panel import _FRAME as FRAME
from tui.widgets.panel import Framed

Builder = Callable[[int], Sequence[Sequence[Part]]]
"""Writes a page for a width in cells."""


class Page(Framed, Lines, can_focus=True):
    """Lines of parts that a builder writes."""

    DEFAULT_CSS = FRAME.replace("NAME", "Page")
    scopes: ClassVar[tuple[str, ...]] = ("page", "motion")

    def __init__(self, name: str, number: int = 0, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.name_shown, self.number = name, number
        self._builder: Builder = lambda _: ()
        self._lines: Sequence[Sequence[Part]] = ()
        self._written_for = -1
        self.more: list[Part] = []
        """What the title says besides the name."""

    def summary(self) -> list[Part]:
        """As :attr:`more`."""
        return self.more

    def write(self, builder: Builder) -> None:
        """Show another page; one stays where one reads."""
        self._builder = builder
        self._write()

    def _write(self) -> None:
        width = self.line_width
        self._lines = self._builder(max(8, width - 2)) if width else ()
        self._written_for = width
        self.set_length(len(self._lines))
        self.title_now()
        self.repaint()

    def tick(self) -> None:
        """Time has passed: a page may say when something was."""
        if self.is_mounted:
            self._write()

    def on_resize(self, event: events.Resize) -> None:
        """Another width, other lines."""
        del event
        if self.line_width != self._written_for:
            self._write()

    def text(self) -> str:
        """All that stands here."""
        return "\n".join("".join(text for text, _ in line).rstrip() for line in self._lines)

    def selected_text(self) -> str:
        """As :meth:`text`: a page has no cursor."""
        return self.text()

    def move(self, by: int) -> None:
        """Scroll by lines."""
        self.scroll_to(y=max(0, self.top + by), animate=False, immediate=True)

    def page(self, pages: float) -> None:
        """Scroll by pages."""
        self.move(round(pages * self.room))

    def jump(self, to: int | None) -> None:
        """To a line counted from 1, or to the end."""
        self.scroll_to(y=len(self._lines) if to is None else to - 1, animate=False, immediate=True)

    def draw(self, line: int, width: int) -> Strip:
        """One line, with a blank before and after it."""
        parts = self._lines[line] if line < len(self._lines) else ()
        return self.ink.strip([(" ", ""), *parts], width)

    def notify_style_update(self) -> None:
        """Another theme: everything is written anew."""
        super().notify_style_update()
        self._write()


def heading(ink: Ink, text: str, width: int, right: Sequence[Part] = ()) -> list[Part]:
    """The name of a part of a page, with a rule to the end of the line."""
    rule = max(0, width - width_of([(text, "")]) - 1 - (width_of(right) + 1 if right else 0))
    return [(text, "text bold"), (" ", ""), (ink.glyph("rule") * rule, "edge"), *([(" ", ""), *right] if right else [])]


def words(text: str, width: int, tone: str = "text", *, most: int = 400) -> list[list[Part]]:
    """A text of somebody else's, harmless, in lines of a width; headings, lists and code of Markdown set off a little."""
    lines: list[list[Part]] = []
    code = False
    for line in text.strip("\n").split("\n"):
        if line.lstrip().startswith("```"):
            code = not code
            continue
        line_tone = "focus" if code else "text bold" if line.startswith("#") and tone == "text" else tone
        shown = plain_text(line.lstrip("#").lstrip() if line_tone == "text bold" else line)
        indent = len(shown) - len(shown.lstrip())
        hang = min(indent + (2 if shown.lstrip()[:2] in ("- ", "* ") else 0), width // 2)
        rows = (
            ["".join(part for part, _ in row) for row in rows_of(pieces(shown)[0], max(2, width - hang))]
            if shown
            else [""]
        )
        for n, row in enumerate(rows):
            lines.append([(" " * hang if n else "", ""), (row if code or not n else row.lstrip(), line_tone)])
            if len(lines) >= most:
                return [*lines, [("…", "dim")]]
    return lines
