"""Lays tables and long lines out in the width that there is, counted in the cells of a terminal."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

GAP = 2
"""Blanks between two columns."""
_TEXT, _KEY, _LEAST = 12, 16, 4
"""Cells that are left to a text, to what a row is called, and to a text where all else was not enough."""


@dataclass(frozen=True, slots=True)
class Strip:
    """A column with its cells, of which the first is the title.

    ``flexible``: it may be cut; one that is not is whole or not there. ``spare``: where it is narrow the one with
    the highest number goes first; 0 stays. ``key``: by it a row is named, so it is the last to be cut and always there.
    """

    cells: Sequence[str]
    right: bool = False
    flexible: bool = False
    spare: int = 0
    key: bool = False

    @property
    def natural(self) -> int:
        """The cells that its widest content takes."""
        return max(map(cell_len, self.cells))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing below the title."""
        return not any(self.cells[1:])


def fit(strips: Sequence[Strip], width: int | None) -> list[tuple[int, int]]:
    """Which columns there is room for, by their place, each with its width.

    Where it is narrow, columns that hold nothing go first, then spare ones while the others cannot be cut enough.
    """
    widths = [strip.natural for strip in strips]
    kept = list(range(len(strips)))
    if width is None:
        return list(enumerate(widths))

    def excess(cells: Sequence[int]) -> int:
        return sum(cells[at] for at in kept) + GAP * (len(kept) - 1) - width

    if excess(widths) > 0:
        kept = [at for at in kept if strips[at].key or not strips[at].is_empty] or kept
    least = [min(cells, _TEXT) if strip.flexible else cells for strip, cells in zip(strips, widths, strict=True)]
    for at in sorted(kept, key=lambda at: -strips[at].spare):
        if strips[at].spare and excess(least) > 0:
            kept.remove(at)
    if excess(least) > 0:
        least = [min(cells, _KEY) if strip.key else cells for strip, cells in zip(strips, least, strict=True)]
    if excess(least) > 0:
        least = [min(cells, _LEAST) if strip.flexible else cells for strip, cells in zip(strips, least, strict=True)]
    while excess(least) > 0 and len(kept) > 1:
        kept.remove(next((at for at in reversed(kept) if not strips[at].key), kept[-1]))
    widths = [max(few, min(cells, width)) for cells, few in zip(widths, least, strict=True)]
    while excess(widths) > 0 and (able := [at for at in kept if widths[at] > least[at]]):
        widths[max(able, key=lambda at: widths[at])] -= 1
    return [(at, min(widths[at], width)) for at in kept]


def cut(text: str, width: int) -> str:
    """The text, or its beginning with an ellipsis."""
    return text if cell_len(text) <= width else f"{set_cell_size(text, width - 1).rstrip()}…" if width > 1 else "…"


def padded(text: str, width: int, *, right: bool) -> str:
    """The text in a column of this width."""
    blanks = " " * (width - cell_len(text))
    return f"{blanks}{text}" if right else f"{text}{blanks}"


def folded(line: str, width: int | None) -> list[str]:
    """A line, broken at blanks; a word that is longer stays whole, so that it can be copied."""
    if width is None or cell_len(line) <= width:
        return [line]
    lines, current = [], ""
    for word in re.findall(r"\s*\S+|\s+$", line):
        if current and cell_len(current) + cell_len(word) > width:
            lines.append(current)
            current = word.lstrip()
        else:
            current += word
    return [*lines, current.rstrip()]
