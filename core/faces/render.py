"""Draws results for people: a table for a list, key and value for one thing, a line for each item of a stream.

A state is a glyph, a word and a colour, so that none of them carries meaning alone. Colours only where a terminal
shows them; glyphs are plain ASCII where the output can hold no others.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, TextIO

from core.commands.shown import Column, Style
from core.faces.plain import harmless, in_local_time, jsonable, one_line

_STATES: dict[str, tuple[str, str, str]] = {
    "pending": ("○", "o", ""),
    "blocked": ("◌", "#", "yellow"),
    "waiting": ("◔", "~", "yellow"),
    "starting": ("◐", ">", "cyan"),
    "in_progress": ("●", ">", "cyan"),
    "running": ("●", ">", "cyan"),
    "verifying": ("◑", ">", "cyan"),
    "review": ("◆", "?", "magenta"),
    "open": ("◆", "?", "magenta"),
    "approved": ("✓", "+", "green"),
    "merged": ("✓", "+", "green"),
    "completed": ("✓", "+", "green"),
    "succeeded": ("✓", "+", "green"),
    "passed": ("✓", "+", "green"),
    "answered": ("✓", "+", "green"),
    "active": ("●", "+", "green"),
    "enabled": ("●", "+", "green"),
    "ok": ("✓", "+", "green"),
    "failed": ("✗", "x", "red"),
    "timeout": ("✗", "x", "red"),
    "lost": ("✗", "x", "red"),
    "dead": ("✗", "x", "red"),
    "missing": ("✗", "x", "red"),
    "conflict": ("✗", "x", "red"),
    "rejected": ("✗", "x", "red"),
    "changes_requested": ("↻", "~", "yellow"),
    "paused": ("‖", "=", "yellow"),
    "draining": ("◔", "~", "yellow"),
    "note": ("·", ".", ""),
}
_INKS = {
    "bold": "1", "red": "31", "green": "32", "yellow": "33", "magenta": "35", "cyan": "36", "bright_black": "90",
    "bold bright_black": "1;90",
}  # fmt: skip
_HEADER = "bold bright_black"
_OTHER = ("·", "-", "bright_black")
_RIGHT: frozenset[Style] = frozenset({"count", "usd", "seconds", "bytes", "time"})


@dataclass(frozen=True, slots=True)
class Screen:
    """Where to draw: the stream, its width (None: as wide as need be), and what it can show."""

    out: TextIO
    width: int | None
    colour: bool
    ascii: bool
    now: datetime


def draw(screen: Screen, result: Any) -> None:
    """Draw the result of a command."""
    if result is None:
        return
    if isinstance(result, str):
        _write(screen, harmless(result))
    elif isinstance(result, list | tuple):
        _draw_list(screen, result)
    elif dataclasses.is_dataclass(result) and not isinstance(result, type):
        field = getattr(result, "prints", None)
        if field:
            _write(screen, _coloured(screen, harmless(str(getattr(result, field) or ""))))
        else:
            _draw_one(screen, result)
    else:
        _write(screen, one_line(str(jsonable(result))))


def draw_item(screen: Screen, item: Any) -> None:
    """Draw one item of a stream on a line of its own (continued, indented, where its text has several)."""
    if isinstance(item, str):
        _write(screen, harmless(item))
        return
    if table := getattr(item, "table", None):
        _write(screen, "")
        _draw_list(screen, getattr(item, table))
        _write(screen, item.closing.format(**{name: getattr(item, name) for name in field_names(item)}))
        return
    cells = []
    for column in columns_of(type(item)):
        value = _value(item, column.field)
        if column.style == "time" and isinstance(value, datetime):
            cells.append(value.astimezone().strftime("%H:%M:%S"))
        elif isinstance(value, str):
            cells.append(harmless(value).replace("\n", "\n    "))
        else:
            cells.append(cell(screen, value, column.style)[0])
    _write(screen, "  ".join(filter(None, cells)))


def field_names(item: Any) -> list[str]:
    """The names of a dataclass's fields."""
    return [field.name for field in dataclasses.fields(item)]


def columns_of(kind: type[Any]) -> tuple[Column, ...]:
    """What a table of this result type shows: as declared beside it, else all its fields."""
    declared: tuple[Column, ...] | None = getattr(kind, "columns", None)
    if declared is not None:
        return declared
    return tuple(
        Column(field.name.replace("_", " "), field.name, _style_by_name(field.name))
        for field in dataclasses.fields(kind)
    )


def cell(screen: Screen, value: Any, style: Style) -> tuple[str, str]:
    """A value as one line of text, and its colour."""
    if value is None or value == () or value == []:
        return "", ""
    match style:
        case "state":
            word = str(value.value if isinstance(value, Enum) else value)
            glyph, letter, colour = _STATES.get(word, _OTHER)
            return f"{letter if screen.ascii else glyph} {word.replace('_', ' ')}", colour
        case "time" if isinstance(value, datetime):
            return relative(value, screen.now), ""
        case "usd" if isinstance(value, Decimal | int | float):
            return usd(float(value)), ""
        case "seconds" if isinstance(value, int | float | timedelta):
            return duration(value.total_seconds() if isinstance(value, timedelta) else value), ""
        case "bytes" if isinstance(value, int):
            return size(value), ""
        case "count" if isinstance(value, int):
            return f"{value:,}", ""
        case "yes" if isinstance(value, bool):
            return ("yes" if value else ""), ""
        case "key":
            return one_line(str(value)), "bold"
    return _words(value, screen), ""


def usd(amount: float) -> str:
    """``$1,234.50``; what is less than a cent has four places."""
    return f"${amount:,.2f}" if amount == 0 or abs(amount) >= 0.01 else f"${amount:,.4f}"


def relative(at: datetime, now: datetime) -> str:
    """``3 min ago``, ``in 2 h``."""
    seconds = (now - at).total_seconds()
    if abs(seconds) < 1:
        return "now"
    words = duration(abs(seconds), coarse=True)
    return f"{words} ago" if seconds > 0 else f"in {words}"


def duration(seconds: float, *, coarse: bool = False) -> str:
    """``0.4 s``, ``12 s``, ``3 min``, ``2 h 05 min``, ``4 d``."""
    if seconds < 10 and not coarse:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min"
    if seconds < 48 * 3600:
        hours, minutes = divmod(int(seconds) // 60, 60)
        return f"{hours} h" if coarse else f"{hours} h {minutes:02} min"
    return f"{seconds // 86400:.0f} d"


def size(count: int) -> str:
    """``12 B``, ``3.4 kB``, ``1.2 GB``."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


_TELLING = frozenset({"reason", "change"})
"""Fields in which the database tells what happened."""


def _draw_list(screen: Screen, items: Sequence[Any]) -> None:
    if not items:
        _write(screen, "nothing there")
        return
    if not dataclasses.is_dataclass(items[0]):
        for item in items:
            _write(screen, one_line(str(jsonable(item))))
        return
    from core.faces.grid import GAP, Strip, cut, fit, folded, padded

    columns = columns_of(type(items[0]))
    cells = [
        [cell(screen, _told(column.field, _value(item, column.field)), column.style) for item in items]
        for column in columns
    ]
    strips = [
        Strip(
            [column.title, *(text for text, _ in drawn)],
            right=column.style in _RIGHT,
            flexible=column.style not in _RIGHT and column.style not in ("state", "key"),
            spare=column.spare,
            key=column.style == "key",
        )
        for column, drawn in zip(columns, cells, strict=True)
    ]
    places = fit(strips, screen.width)
    for row in range(len(items) + 1):
        texts = [strips[at].cells[row] for at, _ in places]
        parts = [
            folded(text, width) if columns[at].folds else [cut(text, width)]
            for text, (at, width) in zip(texts, places, strict=True)
        ]
        for number in range(max(map(len, parts))):
            line = [
                _inked(
                    screen,
                    padded(part[number] if number < len(part) else "", width, right=strips[at].right),
                    cells[at][row - 1][1] if row else _HEADER,
                )
                for part, (at, width) in zip(parts, places, strict=True)
            ]
            _write(screen, (" " * GAP).join(line).rstrip())


def _draw_one(screen: Screen, item: Any) -> None:
    from core.faces.grid import folded

    styles = {column.field: column.style for column in columns_of(type(item))}
    rows: list[tuple[str, str, str]] = []
    unset: Mapping[str, str] = getattr(item, "unset", {})
    for field in dataclasses.fields(item):
        if field.name in unset and getattr(item, field.name) is None:
            rows.append((field.name.replace("_", " "), unset[field.name], "yellow"))
            continue
        style = styles.get(field.name) or _style_by_name(field.name)
        for name, value, inner_style in _expanded(screen, field.name, getattr(item, field.name), style):
            if isinstance(value, datetime):
                rows.append((name, f"{value.astimezone():%Y-%m-%d %H:%M:%S} ({relative(value, screen.now)})", ""))
            elif isinstance(value, str) and inner_style == "text":
                rows.append((name, harmless(_told(field.name, value)), ""))
            else:
                rows.append((name, *cell(screen, value, inner_style)))
    shown = [row for row in rows if row[1]]
    width = max((len(name) for name, _, _ in shown), default=0)
    room = None if screen.width is None else max(20, screen.width - width - 2)
    for name, value, colour in shown:
        lines = [part for line in value.split("\n") for part in folded(line, room)]
        for number, line in enumerate(lines):
            label = f"{'' if number else name:<{width}}  "
            _write(screen, f"{_inked(screen, label, 'bright_black')}{_inked(screen, line, colour)}".rstrip())


def _expanded(screen: Screen, name: str, value: Any, style: Style) -> list[tuple[str, Any, Style]]:
    """A field as rows: what it holds in turn has rows of its own."""
    label = name.replace("_", " ")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [
            row
            for inner in dataclasses.fields(value)
            for row in _expanded(screen, f"{name} {inner.name}", getattr(value, inner.name), _style_by_name(inner.name))
        ]
    if isinstance(value, tuple | list) and value and dataclasses.is_dataclass(value[0]):
        return [(label, _summary(screen, item), "text") for item in value]
    if isinstance(value, tuple | list) and style == "text":
        return [(label, "\n".join(str(jsonable(item)) for item in value), "text")]
    return [(label, value, style)]


def _summary(screen: Screen, item: Any) -> str:
    """A thing that is held by another, in one line."""
    cells = (cell(screen, _value(item, column.field), column.style)[0] for column in columns_of(type(item)))
    return "  ".join(filter(None, cells))


def _words(value: Any, screen: Screen) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case datetime():
            return relative(value, screen.now)
        case list() | tuple():
            return ", ".join(one_line(str(jsonable(item))) for item in value)
        case dict():
            return ", ".join(f"{one_line(str(key))} {one_line(str(jsonable(item)))}" for key, item in value.items())
    return one_line(str(jsonable(value)))


def _value(item: Any, path: str) -> Any:
    for name in path.split("."):
        item = getattr(item, name, None)
    return item


def _told(field: str, value: Any) -> Any:
    """A value as it is read: in what the database says, times are those of the person's clock."""
    return in_local_time(value) if field in _TELLING and isinstance(value, str) else value


def _style_by_name(name: str) -> Style:
    if name in ("status", "state"):
        return "state"
    if name.endswith("_usd"):
        return "usd"
    if name.endswith("_at") or name == "at":
        return "time"
    if name.endswith("_bytes"):
        return "bytes"
    return "seconds" if name == "seconds" or name.endswith("_seconds") else "text"


def _coloured(screen: Screen, text: str) -> str:
    """Lines of a diff in their colours; other text as it is."""
    if not screen.colour or not text.startswith("diff --git "):
        return text
    codes = {"+": "32", "-": "31", "@": "36"}
    return "\n".join(f"\x1b[{codes[line[0]]}m{line}\x1b[0m" if line[:1] in codes else line for line in text.split("\n"))


def _inked(screen: Screen, text: str, ink: str) -> str:
    """Text in its colour, blanks around it without."""
    bare = text.strip()
    if not screen.colour or not ink or not bare:
        return text
    return text.replace(bare, f"\x1b[{_INKS[ink]}m{bare}\x1b[0m", 1)


def _write(screen: Screen, text: str) -> None:
    screen.out.write(text if text.endswith("\n") else f"{text}\n")
