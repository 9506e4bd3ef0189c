"""The gateway process: opens its parts in order, serves until it is told to end, leaves nothing reserved."""

import asyncio
import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from datetime import timedelta
from zlib import crc32

import aiohttp
from aiohttp import web

from config.errors import ConflictError, UnavailableError
from config.paths import Paths
from core.budget.gateway.books import Books
from core.budget.gateway.boot import Boot, record_file
from core.budget.gateway.call import Calls
from core.budget.gateway.exchange import Means
from core.budget.gateway.journal import Journal
from core.budget.gateway.routing import Services
from core.budget.gateway.server import Doors
from core.budget.prices import PriceBook
from core.secrets.store import SecretStore
from storage.database import Database, Principal, Role
from storage.feed import ChangeFeed
from storage.queries import budget

ENDING_SECONDS = 15.0
"""How long calls under way may go on once the gateway is told to end."""

CONNECTIONS = 8
"""Connections to the database: reserves and settles are short."""


@contextlib.contextmanager
def only_one(paths: Paths) -> Iterator[int]:
    """Be the one gateway of a state folder; the lock that says so. Raises ConflictError when there is one."""
    paths.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(paths.state / "gateway.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(f"a gateway serves {paths.state} already") from None
        yield handle
    finally:
        os.close(handle)


async def until_unwanted(paths: Paths, lock: int, stop: asyncio.Event, seconds: float = 2.0) -> None:
    """Tell the gateway to end once its state folder is gone: nobody could find it there any more, or end it."""
    while not stop.is_set():
        try:
            there = os.stat(paths.state / "gateway.lock")  # noqa: PTH116 - beside fstat
        except OSError:
            there = None
        if there is None or not os.path.samestat(there, os.fstat(lock)):
            stop.set()
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await stop.wait()


async def serve(boot: Boot, store: SecretStore, stop: asyncio.Event, book: PriceBook | None = None) -> None:
    """Serve until ``stop``. ``book``: other prices than the list's, for tests."""
    who = Principal("gateway", Role.ENGINE)
    db = await Database.open(boot.dsn, bound=who, most=CONNECTIONS, least=2)
    try:
        listener = bind(boot)
        host, port = listener.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        name = f"{socket.gethostname()}:{boot.paths.state}"
        async with db.connection() as connection:
            gateway = await budget.register(
                connection,
                name=name,
                pid=os.getpid(),
                url=url,
                version=boot.version,
                lease=timedelta(seconds=boot.settings.lease_seconds),
            )
        books = Books(db, gateway, lease=boot.settings.lease_seconds)
        services = Services(db, store, books, book)
        await services.load()
        await _serve(boot, db, books, services, listener, url, stop)
        with contextlib.suppress(UnavailableError):
            await books.resign()
    finally:
        await db.close()


async def _serve(
    boot: Boot, db: Database, books: Books, services: Services, listener: socket.socket, url: str, stop: asyncio.Event
) -> None:
    journal = Journal(boot.paths.logs / "gateway.log", boot.settings.log, services.secrets)
    if boot.settings.log != "nothing":
        boot.paths.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    reload = asyncio.Event()

    def changed(topics: frozenset[str]) -> None:
        if topics & {"*", "service", "secret", "settings"}:
            reload.set()

    ended = asyncio.Event()
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=20)
    async with (
        aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as http,
        asyncio.TaskGroup() as group,
    ):
        keeper = group.create_task(books.run(ended))
        feed = group.create_task(ChangeFeed(boot.dsn, changed).run())
        loader = group.create_task(_reload(services, reload))
        ringer = group.create_task(_ring(db, books))
        calls = Calls(Means(services, books, http, boot.settings, journal))
        runner = web.AppRunner(
            Doors(services, books, calls, http).application(),
            access_log=None,
            handler_cancellation=True,
            keepalive_timeout=75,
            shutdown_timeout=ENDING_SECONDS,
        )
        await runner.setup()
        await web.SockSite(runner, listener).start()
        _record(boot, url)
        await stop.wait()
        await runner.cleanup()
        ended.set()
        await keeper
        for task in (feed, loader, ringer):
            task.cancel()


QUIET_PORTS = range(20_000, 32_000)
"""Below the ports that systems give to outgoing connections: while a gateway is away, nobody takes its port by chance."""


def bind(boot: Boot) -> socket.socket:
    """Listen where the last gateway of this state folder did, so that agents that outlived it find this one."""
    host, wanted = boot.settings.host, boot.settings.port
    kept = 0
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = int(json.loads(record_file(boot.paths).read_text())["port"])
    first = crc32(str(boot.paths.state).encode())
    quiet = [QUIET_PORTS[(first + place * 97) % len(QUIET_PORTS)] for place in range(8)]
    for port in dict.fromkeys((wanted,) if wanted else (*filter(None, (kept,)), *quiet, 0)):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(1024)
        except OSError:
            listener.close()
            continue
        listener.setblocking(False)  # noqa: FBT003
        return listener
    raise UnavailableError(f"the gateway cannot listen at {host}:{wanted}", "set gateway.port to a free port, or to 0")


def _record(boot: Boot, url: str) -> None:
    draft = record_file(boot.paths).with_suffix(".new")
    told = {"url": url, "port": int(url.rpartition(":")[2]), "pid": os.getpid(), "mark": boot.mark()}
    draft.write_text(json.dumps(told))
    draft.replace(record_file(boot.paths))


async def _reload(services: Services, wanted: asyncio.Event) -> None:
    while True:
        await wanted.wait()
        wanted.clear()
        with contextlib.suppress(UnavailableError):
            await services.load()


async def _ring(db: Database, books: Books) -> None:
    """Ring the bell for what changed, at most every twentieth of a second."""
    while True:
        await books.changed.wait()
        books.changed.clear()
        topics, books.topics = books.topics, set()
        with contextlib.suppress(UnavailableError):
            await db.ring(*sorted(topics))
        await asyncio.sleep(0.05)
