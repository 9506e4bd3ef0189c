"""Rings the bell of the database, at most every few milliseconds, however much changes."""

import asyncio
from collections.abc import Iterable

import asyncpg

from config.errors import UnavailableError
from storage.database import Database

SPACING = 0.005
"""Seconds between two rings: measured, a NOTIFY in each transaction cuts the inserts per second to a fifth."""


class Bell:
    """Collects topics and rings for all of them at once. The first ring of a burst is not held back."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._topics: dict[str, None] = {}
        self._waiting = asyncio.Event()

    def ring(self, *topics: str) -> None:
        """Say that something changed. Returns at once."""
        self._topics.update(dict.fromkeys(topics))
        self._waiting.set()

    async def run(self) -> None:
        """Ring until cancelled. A ring that is lost with the database is made good by the listeners' sweep."""
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            topics, self._topics = self._topics, {}
            await self._send(topics)
            await asyncio.sleep(SPACING)

    async def flush(self) -> None:
        """Ring for what is still waiting: before the process ends."""
        topics, self._topics = self._topics, {}
        await self._send(topics)

    async def _send(self, topics: Iterable[str]) -> None:
        try:
            await self._db.ring(*topics)
        except (UnavailableError, asyncpg.PostgresError):
            return
