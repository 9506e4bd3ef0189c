"""Waiting for a change without asking again and again: the change feed as something to await."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Self

from storage.feed import ChangeFeed


class Watch:
    """Notices bells for some topics, also while nobody waits: look, then wait, and nothing is missed."""

    def __init__(self, topics: Iterable[str]) -> None:
        self.topics = frozenset(topics) | {"*"}
        self._changed = asyncio.Event()

    def hear(self, topics: frozenset[str]) -> None:
        """Take a bell of the feed."""
        if topics & self.topics:
            self._changed.set()

    async def changed(self, seconds: float | None = None) -> bool:
        """Wait until something may have changed since the last call; False when so many seconds have passed before."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True

    @classmethod
    @asynccontextmanager
    async def on(cls, dsn: str, *topics: str) -> AsyncIterator[Self]:
        """Listen while the block runs. The first call of :meth:`changed` returns once the feed hears the database."""
        watch = cls(topics)
        listening = asyncio.create_task(ChangeFeed(dsn, watch.hear).run(), name="feed of a command")
        try:
            yield watch
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
