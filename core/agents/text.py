"""Makes what an agent printed fit to be stored and shown.

Agents are untrusted, and the database takes neither NUL nor lone surrogates.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from core.events import Event, EventKind

TEXT_LIMIT = 64_000
"""Bytes of UTF-8 that the text of one event may have."""

DATA_STRING_LIMIT = 16_000
"""Characters that one string in the data of an event may have, where the string is only there to be looked
at.
"""

DEPTH_LIMIT = 24
"""Levels of nesting that are kept in the data of an event."""

INTEGER_LIMIT = 2**63
"""Beyond it a number is kept as text: not every reader of JSON takes it."""


def clean(raw: bytes | str) -> str:
    """The text without NUL and without what is no valid UTF-8; colours (escape sequences) are kept."""
    encoded = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw
    return encoded.decode("utf-8", "replace").replace("\0", "")


def event(kind: EventKind, text: bytes | str = "", data: Mapping[str, Any] | None = None) -> Event:
    """An event whose text and data are safe to store; a text beyond :data:`TEXT_LIMIT` is cut, saying by
    how much.
    """
    safe, kept_data = clean(text), {clean(key): jsonable(value) for key, value in (data or {}).items()}
    encoded = safe.encode()
    if len(encoded) <= TEXT_LIMIT:
        return Event(kind, safe, kept_data)
    left = len(encoded) - TEXT_LIMIT
    kept = encoded[:TEXT_LIMIT].decode("utf-8", "ignore")
    return Event(kind, f"{kept}… ({left} bytes more)", {**kept_data, "truncated": left})


def oversized_event(prefix: bytes, length: int) -> Event:
    """A line that was too long to be kept whole, as an output event."""
    kept = clean(prefix[:TEXT_LIMIT])
    left = max(length - len(prefix[:TEXT_LIMIT]), 0)
    return Event(EventKind.OUTPUT, f"{kept}… ({left} bytes more)", {"truncated": left})


def parse_object(line: bytes) -> dict[str, Any] | None:
    """The JSON object that the line is, or None when it is anything else, however wrong."""
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        value = json.loads(clean(line))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def jsonable(value: Any, depth: int = 0) -> Any:
    """The value as JSON that every reader takes: no NaN, no lone surrogates, no NUL, nesting bounded."""
    match value:
        case None | bool():
            return value
        case str():
            return clean(value)
        case int():
            return value if -INTEGER_LIMIT <= value < INTEGER_LIMIT else _digits(value)
        case float():
            return value if math.isfinite(value) else None
        case _ if depth >= DEPTH_LIMIT:
            return "…"
        case Mapping():
            return {clean(str(key)): jsonable(item, depth + 1) for key, item in value.items()}
        case list() | tuple():
            return [jsonable(item, depth + 1) for item in value]
        case _:
            return clean(str(value))


def clipped(value: Any, limit: int = DATA_STRING_LIMIT, depth: int = 0) -> Any:
    """The value with its long strings cut, for data that is there to be looked at."""
    match value:
        case str() if len(value) > limit:
            return f"{value[:limit]}… ({len(value) - limit} characters more)"
        case Mapping() if depth < DEPTH_LIMIT:
            return {key: clipped(item, limit, depth + 1) for key, item in value.items()}
        case list() if depth < DEPTH_LIMIT:
            return [clipped(item, limit, depth + 1) for item in value]
        case _:
            return value


def first_line(text: str, limit: int = 160) -> str:
    """The first line of a text that has anything on it, shortened for a heading."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _digits(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # more digits than Python turns into text
        return "…"
