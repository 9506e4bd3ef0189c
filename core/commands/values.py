"""The values that commands take, as annotated types: each is checked and explained in one place.

A value arrives as the text of a command line or as JSON; the message of a ``ValueError`` follows the option's name and
the value.
"""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from core.commands.checks import After, Before, Within

_SPAN = re.compile(r"(?:in\s+|\+)(\d+(?:\.\d+)?)\s*([smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_NUMBER = re.compile(r"#?(\d{1,18})", re.ASCII)
_ATTEMPT = re.compile(r"#?(\d{1,18})\.(\d{1,4})", re.ASCII)
_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)


def clean_text(text: str) -> str:
    """Text as Postgres can store it: no NUL, no lone surrogates."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _line(text: str) -> str:
    line = " ".join(clean_text(text).split())
    line = "".join(character for character in line if character.isprintable())
    if not line:
        raise ValueError("must not be empty")
    if len(line) > 500:
        raise ValueError(f"has {len(line)} characters, at most 500 are possible")
    return line


def _time(value: Any) -> Any:
    if isinstance(value, str):
        span = _SPAN.fullmatch(value.strip())
        if span:
            return datetime.now(UTC) + timedelta(**{_UNITS[span[2]]: float(span[1])})
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise ValueError(
                "is no time; write 2026-05-01T09:00:00Z, or a span from now such as +90m, +2h, +3d"
            ) from None
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.astimezone()).astimezone(UTC)
    raise ValueError("is no time")


def _task(value: Any) -> Any:
    if isinstance(value, int | UUID) and not isinstance(value, bool):
        return value
    found = _NUMBER.fullmatch(str(value).strip())
    if found:
        return int(found[1])
    try:
        return UUID(str(value).strip())
    except ValueError:
        raise ValueError("is no task; name it by its number (42 or #42) or its id") from None


def _run(value: Any) -> Any:
    text = str(value).strip()
    if found := _ATTEMPT.fullmatch(text):
        return f"{int(found[1])}.{int(found[2])}"
    if found := _NUMBER.fullmatch(text):
        return str(int(found[1]))
    try:
        return str(UUID(text))
    except ValueError:
        raise ValueError("is no run; name it TASK.ATTEMPT (42.2), by its id, or by the task for its latest") from None


def _slug(text: str) -> str:
    if not _SLUG.fullmatch(text):
        raise ValueError("may hold a–z, 0–9, '.', '_' and '-', begins with a letter or digit, at most 63 characters")
    return text


Text = Annotated[str, After(clean_text)]
"""Text of any length."""

Line = Annotated[str, After(_line)]
"""One line of at most 500 characters, without control characters."""

Time = Annotated[datetime, Before(_time)]
"""An aware time in UTC. Without an offset it is local; ``+2h`` counts from now."""

TaskRef = Annotated[int | UUID, Before(_task)]
"""A task by its number (``42``, ``#42``) or its id."""

RunRef = Annotated[str, Before(_run)]
"""A run as ``TASK.ATTEMPT``, by its id, or by its task (then the latest)."""

Slug = Annotated[str, After(_slug)]
"""The id of a project or the name of an agent."""

Priority = Annotated[int, Within(ge=1, le=5)]
"""1 to 5, 5 is the highest."""

Usd = Annotated[Decimal, Within(gt=0, max_digits=14, decimal_places=6)]
"""An amount of US dollars above zero."""
