"""The log of one run as something to leaf through: pages in both directions, a place by time, a search."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Protocol, TypeVar

import asyncpg

from config.errors import UnavailableError, UsageError
from storage.queries import events
from storage.queries.events import SEARCH_STEP, TEXT_LIMIT, LogEvent, Needle, Range

__all__ = ["TEXT_LIMIT", "LogEvent", "LogPages", "Needle", "Range", "Read"]

T = TypeVar("T")

_SEARCH_SECONDS = 5
_SAVE_PAGE = 1000


class Read(Protocol):
    """Runs a query in a transaction of whoever reads."""

    async def __call__(self, query: Callable[[asyncpg.Connection], Awaitable[T]], /) -> T:
        """What the query answers."""


class LogPages:
    """Reads the log of the run with this number."""

    def __init__(self, read: Read, run: int) -> None:
        self._read = read
        self.run = run

    async def first(self, wanted: Range, limit: int) -> list[LogEvent]:
        """The first events of a range."""
        return await self._read(lambda db: events.page(db, self.run, wanted, limit=limit))

    async def last(self, wanted: Range, limit: int) -> list[LogEvent]:
        """The last events of a range, in their order."""
        return await self._read(lambda db: events.page(db, self.run, wanted, limit=limit, from_end=True))

    async def end(self) -> int:
        """The number of the last event."""
        return await self._read(lambda db: events.last_number(db, self.run))

    async def count(self, wanted: Range) -> int:
        """How many events a range has."""
        return await self._read(lambda db: events.count(db, self.run, wanted))

    async def number_at(self, at: datetime) -> int:
        """The number of the first event at or after a time."""
        return await self._read(lambda db: events.number_at(db, self.run, at))

    async def search(self, needle: Needle, wanted: Range, *, backwards: bool = False) -> int | None:
        """The number of the nearest event in a range that holds the needle, read in steps until one is found.

        Raises :class:`UsageError` for what is no regular expression, :class:`UnavailableError` when one takes too long.
        """
        low, high = wanted.after, min(wanted.before, await self.end() + 1)
        while low + 1 < high:
            if backwards:  # noqa: SIM108 - one line of this would be hard to read
                step = Range(max(low, high - SEARCH_STEP - 1), high, wanted.kinds)
            else:
                step = Range(low, min(high, low + SEARCH_STEP + 1), wanted.kinds)
            found = await self._read(_bounded(self.run, needle, step, backwards=backwards))
            if found is not None:
                return found
            if backwards:
                high = step.after + 1
            else:
                low = step.before - 1
        return None

    async def all(self, wanted: Range) -> AsyncIterator[LogEvent]:
        """All events of a range with their whole texts, page by page."""
        after = wanted.after
        while found := await self.first(Range(after, wanted.before, wanted.kinds), _SAVE_PAGE):
            for event in found:
                if not event.size:
                    yield event
                    continue
                text = await self._read(_whole(self.run, event.seq))
                yield LogEvent(event.seq, event.at, event.kind, text, 0, event.data, event.output)
            after = found[-1].seq


def _bounded(
    run: int, needle: Needle, step: Range, *, backwards: bool
) -> Callable[[asyncpg.Connection], Awaitable[int | None]]:
    async def query(connection: asyncpg.Connection) -> int | None:
        await connection.execute(f"set local statement_timeout = '{_SEARCH_SECONDS}s'")
        try:
            return await events.search(connection, run, needle, step, backwards=backwards)
        except asyncpg.InvalidRegularExpressionError as error:
            raise UsageError(f"{needle.pattern[:80]!r} is no regular expression ({error})") from None
        except asyncpg.QueryCanceledError:
            raise UnavailableError(
                f"the search for {needle.pattern[:80]!r} took more than {_SEARCH_SECONDS} s", "search for less"
            ) from None

    return query


def _whole(run: int, seq: int) -> Callable[[asyncpg.Connection], Awaitable[str]]:
    return lambda connection: events.whole_text(connection, run, seq)
