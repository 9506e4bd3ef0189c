"""The scroll bar where the terminal has no eighths of a block: its thumb takes whole cells."""

from typing import ClassVar

from textual.scrollbar import ScrollBar, ScrollBarRender


class WholeCells(ScrollBarRender):
    """Painted with blanks alone."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "]
    HORIZONTAL_BARS: ClassVar[list[str]] = [" "]


def choose_scroll_bar(*, unicode: bool) -> None:
    """Have all scroll bars painted with what the terminal can show; Textual knows one way for the whole process."""
    ScrollBar.renderer = ScrollBarRender if unicode else WholeCells
