"""Where the panels of the deck stand: a pure function of the size of the screen and of what the person has chosen.

Wide screens have columns; a narrow one stacks the panels, the one with the keys and its companion open, the others folded to their title line.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

PANELS = ("inbox", "projects", "queue", "log", "budgets")
"""In the order of their numbers, from 1."""

NARROW = 100
"""Below so many columns the panels are stacked."""
WIDE = 150
"""From so many columns on the queue and the log have more of the width."""
VAST = 240
"""From so many columns on there are three columns of panels."""
LEAST = 3
"""A panel that is open has a frame and one line."""

_COLUMNS: Mapping[int, tuple[tuple[int, tuple[str, ...]], ...]] = {
    VAST: ((30, ("inbox", "projects", "budgets")), (40, ("queue",)), (30, ("log",))),
    WIDE: ((37, ("inbox", "projects", "budgets")), (63, ("queue", "log"))),
    NARROW: ((43, ("inbox", "projects", "budgets")), (57, ("queue", "log"))),
}
"""From so many columns on, the widest first: share of the width in percent, and the panels from top to bottom."""

_SHARES: Mapping[str, int] = {"inbox": 44, "projects": 26, "budgets": 30, "queue": 60, "log": 40}
"""Share of the height within a column, before the person changes it."""

_COMPANION: Mapping[str, str] = {
    "inbox": "queue",
    "projects": "queue",
    "queue": "log",
    "log": "queue",
    "budgets": "queue",
}
"""What stays open beside the panel that has the keys, on a narrow screen."""


@dataclass(frozen=True, slots=True)
class Box:
    """Where a panel stands. ``folded``: only its title line is seen."""

    x: int
    y: int
    width: int
    height: int
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Arrangement:
    """What the person has chosen."""

    focus: str = "inbox"
    zoomed: bool = False
    hidden: tuple[str, ...] = ()
    grown: Mapping[str, int] = field(default_factory=dict)
    """Panel → how much larger than by itself, in percent of its column."""

    def resized(self, by: int) -> "Arrangement":
        """The panel that has the keys, larger or smaller."""
        grown = max(-60, min(200, self.grown.get(self.focus, 0) + by))
        return replace(self, grown={**self.grown, self.focus: grown})

    def toggled(self, panel: str) -> "Arrangement":
        """A panel hidden, or shown again; the last one stays."""
        hidden = tuple(p for p in self.hidden if p != panel) if panel in self.hidden else (*self.hidden, panel)
        return self if len(hidden) >= len(PANELS) else replace(self, hidden=hidden)

    def to_memory(self) -> dict[str, object]:
        """As it is remembered."""
        return {"focus": self.focus, "zoomed": self.zoomed, "hidden": list(self.hidden), "grown": dict(self.grown)}


def from_memory(values: Mapping[str, object]) -> Arrangement:
    """What was remembered; whatever is not understood is as it is by itself."""
    focus = values.get("focus")
    hidden = values.get("hidden")
    grown = values.get("grown")
    return Arrangement(
        focus if isinstance(focus, str) and focus in PANELS else "inbox",
        values.get("zoomed") is True,
        tuple(p for p in hidden if p in PANELS)[: len(PANELS) - 1] if isinstance(hidden, list) else (),
        {p: n for p, n in grown.items() if p in PANELS and isinstance(n, int)} if isinstance(grown, dict) else {},
    )


def arrange(width: int, height: int, chosen: Arrangement) -> dict[str, Box]:
    """The panels that are seen and where; nothing overlaps, everything fits."""
    shown = [panel for panel in PANELS if panel not in chosen.hidden]
    if not shown or width < 1 or height < 1:
        return {}
    focus = chosen.focus if chosen.focus in shown else shown[0]
    if chosen.zoomed:
        return {focus: Box(0, 0, width, height)}
    if width < NARROW:
        return _stacked(width, height, shown, focus)
    standing = next(columns for least, columns in _COLUMNS.items() if width >= least)
    columns = [(share, [p for p in panels if p in shown]) for share, panels in standing]
    columns = [(share, panels) for share, panels in columns if panels]
    boxes: dict[str, Box] = {}
    x = 0
    for (_, panels), size in zip(columns, _split(width, [share for share, _ in columns]), strict=True):
        y = 0
        weights = [max(8, _SHARES[p] + chosen.grown.get(p, 0)) for p in panels]
        for panel, rows in zip(panels, _split(height, weights), strict=True):
            boxes[panel] = Box(x, y, size, rows)
            y += rows
        x += size
    return boxes


def _stacked(width: int, height: int, shown: Sequence[str], focus: str) -> dict[str, Box]:
    """One column: the focus and its companion open, as far as there is room; titles of the others."""
    companion = _COMPANION[focus]
    opened = [p for p in shown if p in (focus, companion)]
    folded = len(shown) - len(opened)
    if height - folded < LEAST * len(opened) + 4:
        opened, folded = [focus], len(shown) - 1
    if height - folded < LEAST:
        return {focus: Box(0, 0, width, height)}
    sizes = dict(zip(opened, _split(height - folded, [62 if p == focus else 38 for p in opened]), strict=True))
    boxes, y = {}, 0
    for panel in shown:
        rows = sizes.get(panel, 1)
        boxes[panel] = Box(0, y, width, rows, folded=panel not in sizes)
        y += rows
    return boxes


def _split(total: int, weights: Sequence[int]) -> list[int]:
    """A length in parts that go with the weights, whole numbers that add up."""
    whole = sum(weights)
    sizes, rest, left = [], total, whole
    for weight in weights:
        size = round(rest * weight / left) if left else 0
        sizes.append(size)
        rest, left = rest - size, left - weight
    return sizes
