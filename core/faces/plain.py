"""Makes values fit to be shown: JSON for programs, harmless text for terminals.

Text from agents and repositories is not trusted: what a terminal would obey or cannot show (control characters,
bidirectional overrides, what hides, what no character is assigned to) becomes visible. What that is, :func:`shows` says.
"""

import dataclasses
import json
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")
_JOINERS = "\u200c\u200d"
"""Make one picture or letter of several, and nothing else."""
_EXACT_TIME = re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d(?::?\d\d)?)(?!\d)")
"""As RFC 3339 has it, and as Postgres writes it into a text."""
_UNSAFE_IN_JSON = re.compile(r"[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def jsonable(value: Any) -> Any:
    """A result as JSON has it: dataclasses become objects with their fields in order, times RFC 3339 in UTC, money
    and durations numbers.
    """
    match value:
        case None | bool() | int() | float():
            return value
        case Enum():
            return jsonable(value.value)
        case str():
            return str(value)
        case Decimal():
            return float(value)
        case datetime():
            return rfc3339(value)
        case timedelta():
            return value.total_seconds()
        case UUID() | PurePath() | date():
            return str(value)
        case Mapping():
            return {str(key): jsonable(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [jsonable(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: jsonable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    raise TypeError(f"a result holds a {type(value).__name__}, which has no form in JSON")


def json_text(value: Any, *, indent: int | None = None) -> str:
    """JSON in one line (or indented), in which nothing is left that a terminal would obey."""
    text = json.dumps(jsonable(value), ensure_ascii=False, indent=indent, allow_nan=False)
    return _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def in_local_time(text: str) -> str:
    """A text of the database in which exact times stand as the person's clock has them: ``2026-05-06 14:30``."""
    return _EXACT_TIME.sub(_on_the_clock, text) if "-" in text else text


def _on_the_clock(found: re.Match[str]) -> str:
    try:
        return f"{datetime.fromisoformat(found[0]).astimezone():%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError):  # looks like a time, and is none
        return found[0]


def rfc3339(at: datetime) -> str:
    """``2026-05-01T09:00:00.123456Z``."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def shows(letter: str) -> bool:
    """Whether a character stands for itself on every terminal: it is printable, or the space."""
    return letter.isprintable()


def is_space(letter: str) -> bool:
    """Whether a character is one of the blanks of Unicode (category Zs)."""
    return unicodedata.category(letter) == "Zs"


def harmless(text: str) -> str:
    """Text with what a terminal would obey or cannot show made visible; line breaks, tabs and joiners stay.

    Colours of a program's output go.
    """
    text = _COMMANDS.sub(_visible, _SGR.sub("", text).replace("\r\n", "\n"))
    return text if text.isascii() else _BEYOND_ASCII.sub(_shown, text)


def one_line(text: str) -> str:
    """Harmless text in one line."""
    return " ".join(harmless(text).split())


_SGR = re.compile(r"\x1b\[[0-9;:]*m")


def _visible(found: re.Match[str]) -> str:
    code = ord(found[0])
    return chr(0x2400 + code) if code < 0x20 else "\u2421"


def _shown(found: re.Match[str]) -> str:
    run = found[0]
    if run.isprintable():
        return run
    return "".join(
        letter if shows(letter) or letter in _JOINERS else " " if is_space(letter) else "\ufffd" for letter in run
    )
