"""The events of one run as a screen reads them: pages from any place in both directions, a place by time, a search.

Texts are cut at :data:`TEXT_LIMIT`, so that a page has a bounded size whatever agents write. Numbers (``seq``) count from 1
without a gap, so a range of them is a range of the index event_run, which serves everything here.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from storage.queries.patterns import literal, regular

TEXT_LIMIT = 65_536
"""Characters of one text that a page carries."""
SEARCH_STEP = 20_000
"""Events that one statement of a search looks at."""


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One event as it is shown."""

    seq: int
    at: datetime
    kind: str
    text: str
    """At most :data:`TEXT_LIMIT` characters."""
    size: int
    """Bytes of the whole text; 0 where ``text`` is all of it."""
    data: dict[str, Any] | None = None
    """What programs would read; None where that is large."""
    output: str = ""
    """What a check printed."""


@dataclass(frozen=True, slots=True)
class Range:
    """Which events: numbers above ``after`` and below ``before``, of some kinds or of all."""

    after: int = 0
    before: int = 2**31 - 1
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Needle:
    """What is searched for: a part of the text, or a regular expression."""

    pattern: str
    regex: bool = False
    case: bool = False
    """Whether the case of letters counts."""


_COLUMNS = f"""
    seq, at, kind, left(text, {TEXT_LIMIT}) as text, octet_length(text) as size,
    case when pg_column_size(data) <= 2000 then data end as data,
    case when kind = 'verify' then left(data ->> 'output', {TEXT_LIMIT}) end as output
"""


async def page(
    connection: asyncpg.Connection, run: int, wanted: Range, *, limit: int, from_end: bool = False
) -> list[LogEvent]:
    """The first events of a range, or its last ones; in their order either way."""
    direction = "desc" if from_end else "asc"
    condition, values = _condition(run, wanted)
    rows = await connection.fetch(
        f"select {_COLUMNS} from event where {condition} order by seq {direction} limit {int(limit)}",  # noqa: S608 - all values are bound
        *values,
    )
    found = [_event(row) for row in rows]
    return found[::-1] if from_end else found


async def whole_text(connection: asyncpg.Connection, run: int, seq: int) -> str:
    """The whole text of one event; empty where there is none."""
    text: str | None = await connection.fetchval("select text from event where run = $1 and seq = $2", run, seq)
    return text or ""


async def count(connection: asyncpg.Connection, run: int, wanted: Range) -> int:
    """How many events a range has. Meant for short ranges: it looks at each."""
    condition, values = _condition(run, wanted)
    number: int = await connection.fetchval(f"select count(*) from event where {condition}", *values)  # noqa: S608 - all values are bound
    return number


async def last_number(connection: asyncpg.Connection, run: int) -> int:
    """The number of the last event."""
    number: int | None = await connection.fetchval("select max(seq) from event where run = $1", run)
    return number or 0


async def number_at(connection: asyncpg.Connection, run: int, at: datetime) -> int:
    """The number of the first event at or after a time; one more than the last where all are older.

    Times of a run do not run backwards, so that twenty looks by number find the place among a million.
    """
    low, high = 1, await last_number(connection, run) + 1
    while low < high:
        middle = (low + high) // 2
        time = await connection.fetchval("select at from event where run = $1 and seq = $2", run, middle)
        if time is not None and time >= at:
            high = middle
        else:
            low = middle + 1
    return low


async def search(
    connection: asyncpg.Connection, run: int, needle: Needle, wanted: Range, *, backwards: bool = False
) -> int | None:
    """The number of the nearest event in a range that holds the needle; the nearest to its end when ``backwards``.

    The whole text is searched, also where a page cuts it, and what a check printed with it. Looks at :data:`SEARCH_STEP` events at most: a caller goes on with the rest of its range. Raises
    :class:`asyncpg.InvalidRegularExpressionError`.
    """
    condition, values = _condition(run, wanted)
    values.append(f"(?n){regular(needle.pattern)}" if needle.regex else f"%{literal(needle.pattern)}%")
    operator = {(True, True): "~", (True, False): "~*", (False, True): "like", (False, False): "ilike"}[
        needle.regex, needle.case
    ]
    order = "desc" if backwards else "asc"
    number: int | None = await connection.fetchval(
        f"""select seq from event where {condition}
               and (text {operator} ${len(values)} or kind = 'verify' and data ->> 'output' {operator} ${len(values)})
             order by seq {order} limit 1""",  # noqa: S608 - all values are bound
        *values,
    )
    return number


def _condition(run: int, wanted: Range) -> tuple[str, list[Any]]:
    values: list[Any] = [run, wanted.after, wanted.before]
    if not wanted.kinds:
        return "run = $1 and seq > $2 and seq < $3", values
    return "run = $1 and seq > $2 and seq < $3 and kind = any($4)", [*values, list(wanted.kinds)]


def _event(row: asyncpg.Record) -> LogEvent:
    size = row["size"] if len(row["text"]) == TEXT_LIMIT else 0
    return LogEvent(row["seq"], row["at"], row["kind"], row["text"], size, row["data"], row["output"] or "")
