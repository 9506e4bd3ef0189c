"""The change feed: one LISTEN connection per process, and the bell that wakes whoever waits.

A notification is a bell, not a message: it says what changed (topics), and the listener reads the state. Bells
can be lost with a connection, so the feed tests itself (it rings for itself and expects to hear it), reconnects by
itself, and tells its listeners to look at everything (topic ``*``) after each gap and at a slow pace anyway.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Callable

import asyncpg

from storage.database import CHANNEL

Listener = Callable[[frozenset[str]], None]
EVERYTHING = frozenset({"*"})
LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""The words of asyncpg for a connection that does not hold."""


class ChangeFeed:
    """Listens for changes. ``on_change`` is called in the event loop with the topics of each bell.

    ``sweep``: seconds between two looks at everything; ``probe``: seconds between two self-tests.
    """

    def __init__(self, dsn: str, on_change: Listener, *, sweep: float = 15.0, probe: float = 10.0) -> None:
        self._dsn = dsn
        self._on_change = on_change
        self._sweep = sweep
        self._probe = probe
        self._echo = asyncio.Event()
        self._token = f"probe:{uuid.uuid4().hex}"
        self.connected = asyncio.Event()
        """Set while the feed hears the database."""

    async def run(self) -> None:
        """Listen until cancelled. A database that is away is tried again, at first after 50 ms, at most every 2 s."""
        delay = 0.05
        while True:
            try:
                await self._listen()
                delay = 0.05
            except LOST:
                self.connected.clear()
                await asyncio.sleep(delay)
                delay = min(delay * 2, 2.0)

    async def _listen(self) -> None:
        connection = await asyncpg.connect(
            self._dsn, timeout=10, server_settings={"application_name": "quarterdeck feed"}
        )
        try:
            await connection.add_listener(CHANNEL, self._hear)
            self.connected.set()
            self._on_change(EVERYTHING)
            await self._watch(connection)
        finally:
            self.connected.clear()
            with contextlib.suppress(*LOST):
                await connection.close(timeout=1)

    async def _watch(self, connection: asyncpg.Connection) -> None:
        loop = asyncio.get_running_loop()
        swept = loop.time()
        while True:
            self._echo.clear()
            await connection.execute("select pg_notify($1, $2)", CHANNEL, self._token, timeout=5)
            async with asyncio.timeout(5):
                await self._echo.wait()
            pause = self._probe
            while pause > 0 and not connection.is_closed():
                step = min(pause, self._sweep, 1.0)
                await asyncio.sleep(step)
                pause -= step
                if loop.time() - swept >= self._sweep:
                    swept = loop.time()
                    self._on_change(EVERYTHING)
            if connection.is_closed():
                raise ConnectionResetError("the database closed the connection of the feed")

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        topics = frozenset(str(payload).split())
        if self._token in topics:
            self._echo.set()
            topics -= {self._token}
        topics = frozenset(topic for topic in topics if not topic.startswith("probe:"))
        if topics:
            self._on_change(topics)
