"""Plots in characters: sparklines, columns, bars with their limits, lines that burn down. Parts to be written with ink; pure, ASCII where need be."""

from collections.abc import Callable, Sequence

from tui.ink import Ink, Part

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_ASCII_EIGHTHS = " ..--==##"


def sparkline(ink: Ink, values: Sequence[float | None], width: int, tone: str = "run") -> list[Part]:
    """Values as columns of one line, the last at the right; what is not known is a gap. More values than cells are added up side by side."""
    shown = _fitted(values, width)
    most = max((value for value in shown if value is not None), default=0.0)
    signs = _EIGHTHS if ink.unicode else _ASCII_EIGHTHS
    text = ""
    for value in shown:
        if value is None or value <= 0 or most <= 0:
            text += " " if value is None else signs[1] if value > 0 else ("·" if ink.unicode else ".")
        else:
            text += signs[max(1, min(8, round(value / most * 8)))]
    return [(text.rjust(width), tone)]


def columns(ink: Ink, values: Sequence[float | None], width: int, height: int, tone: str = "run") -> list[list[Part]]:
    """Values as columns of ``height`` lines, from top to bottom, each ``width`` cells wide."""
    shown = _fitted(values, width)
    most = max((value for value in shown if value is not None), default=0.0)
    wide = max(1, width // max(1, len(shown)))
    signs = _EIGHTHS if ink.unicode else _ASCII_EIGHTHS
    lines: list[list[Part]] = []
    for line in range(height - 1, -1, -1):
        text = ""
        for value in shown:
            filled = 0 if value is None or most <= 0 else round(value / most * height * 8) - line * 8
            if line == 0 and value is not None and value > 0:
                filled = max(filled, 1)
            sign = signs[max(0, min(8, filled))]
            text += sign * (wide - 1 if wide > 2 else wide) + (" " if wide > 2 else "")
        lines.append([(text.ljust(width)[:width], tone)])
    return lines


def limit_bar(ink: Ink, spent: float, reserved: float, hard: float, soft: float | None, width: int) -> list[Part]:
    """A bar of a budget: what is spent in full, what is reserved hatched, the soft limit marked, what is beyond the hard one cut off."""
    if width < 1:
        return []
    if hard <= 0:
        return [(" " * width, "dim")]
    full = max(0, min(width, round(spent / hard * width)))
    held = max(0, min(width, round((spent + reserved) / hard * width)) - full)
    share = (spent + reserved) / hard
    tone = "bad" if share >= 1 else "warn" if (soft is not None and spent + reserved >= soft) or share >= 0.8 else "ok"
    solid, hatched, rest, mark = ("█", "▒", "░", "┆") if ink.unicode else ("#", "/", ".", "!")
    cells = [(solid, tone)] * full + [(hatched, tone)] * held + [(rest, "dim")] * (width - full - held)
    if soft is not None and 0 < soft < hard:
        cells[min(width - 1, int(soft / hard * width))] = (mark, "warn bold")
    parts: list[Part] = []
    for sign, shade in cells:
        if parts and parts[-1][1] == shade:
            parts[-1] = (parts[-1][0] + sign, shade)
        else:
            parts.append((sign, shade))
    return parts


def burn_down(
    ink: Ink,
    left: Sequence[float],
    limit: float,
    span: int,
    width: int,
    height: int,
    ahead: tuple[float, float, float] | None = None,
) -> list[list[Part]]:
    """What is left of a limit after each of the days so far, over a period of ``span`` days; dots are an even pace.

    ``left`` holds one value for each day, the first at the beginning of the period. ``ahead``: what will be left at the end, at most, about and at least:
    the way there is hatched, its middle a line.
    """
    if width < 2 or height < 1 or limit <= 0 or span < 1:
        return [[] for _ in range(max(0, height))]
    point, even, fill = ("●", "·", "│") if ink.unicode else ("*", ".", "|")
    grid: list[list[tuple[str, str]]] = [[(" ", "")] * width for _ in range(height)]

    def row(value: float) -> int:
        return max(0, min(height - 1, height - 1 - round(max(0.0, value) / limit * (height - 1))))

    for x in range(width):
        grid[row(limit * (1 - x / (width - 1)))][x] = (even, "dim")
    if ahead is not None and left:
        _foretell(ink, grid, row, (min(len(left) - 1, span), left[-1], span), ahead)
    before = None
    for day, value in enumerate(left[: span + 1]):
        x, y = min(width - 1, round(day / span * (width - 1))), row(value)
        tone = "ok" if value >= limit * (1 - day / span) else "warn" if value > 0 else "bad"
        if before is not None:
            for between in range(min(before, y) + 1, max(before, y)):
                grid[between][x] = (fill, tone)
        grid[y][x] = (point, tone)
        before = y
    return [_joined(cells) for cells in grid]


def _foretell(
    ink: Ink,
    grid: list[list[tuple[str, str]]],
    row: Callable[[float], int],
    now: tuple[int, float, int],
    ahead: tuple[float, float, float],
) -> None:
    """Draw how it may go on from ``now`` (day, what is left, days of the period) to the end."""
    day, value, span = now
    hatch, line = ("░", "○") if ink.unicode else (":", "o")
    width = len(grid[0])
    first = min(width - 1, round(day / span * (width - 1)))
    for x in range(first + 1, width):
        share = (x - first) / max(1, width - 1 - first)
        most, middle, least = (value + (end - value) * share for end in ahead)
        for y in range(row(most), row(least) + 1):
            grid[y][x] = (hatch, "edge")
        if (x - first) % 2 == 0 or x == width - 1:
            grid[row(middle)][x] = (line, "run" if middle > 0 else "bad")


def _joined(cells: Sequence[tuple[str, str]]) -> list[Part]:
    parts: list[Part] = []
    for sign, tone in cells:
        if parts and parts[-1][1] == tone:
            parts[-1] = (parts[-1][0] + sign, tone)
        else:
            parts.append((sign, tone))
    return parts


def _fitted(values: Sequence[float | None], width: int) -> list[float | None]:
    """As many values as there are cells at most: neighbours are added up."""
    if width < 1:
        return []
    if len(values) <= width:
        return list(values)
    shown: list[float | None] = []
    for n in range(width):
        group = [v for v in values[n * len(values) // width : (n + 1) * len(values) // width] if v is not None]
        shown.append(sum(group) if group else None)
    return shown
