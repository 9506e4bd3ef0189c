"""The engine as a program: ``python -P -m core.engine``. `qd up` starts it in the background.

With ``--leashed`` it belongs to whoever started it: when its standard input ends it stops, and its runs with it.
"""

import asyncio
import fcntl
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from config.errors import ConflictError, QuarterdeckError, UnavailableError
from config.paths import Paths, resolve_paths
from config.settings import Settings
from core import version
from core.commands.agent import ensure_default_agents
from core.engine.bell import Bell
from core.engine.engine import Engine
from core.engine.identity import engine_name
from core.engine.runtime import Runtime
from core.engine.shipper import Shipper
from core.faces.opening import find_database, load_settings
from storage.database import Database, Principal, Role
from storage.queries import queue
from storage.source import Source

log = logging.getLogger("qd.engine")
T = TypeVar("T")

DATABASE_SECONDS = 60.0
"""How long an engine that starts waits for its database."""


def main() -> int:
    """Run the engine until it is told to stop. The exit codes are those of `qd`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    os.umask(os.umask(0o077) | 0o002)  # what is made here is never the whole world's to change
    paths = resolve_paths(os.environ)
    try:
        lock = hold_lock(paths.engine_lock)
        try:
            asyncio.run(serve(paths, dict(os.environ), leashed="--leashed" in sys.argv[1:]))
        finally:
            os.close(lock)
    except QuarterdeckError as error:
        log.error("%s", error.sentence())  # noqa: TRY400 - a sentence, not a traceback, is what a person needs here
        return error.exit_code
    return 0


def hold_lock(path: Path) -> int:
    """Become the one engine of this state folder, until the process ends. Raises ConflictError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(lock, 32).decode("ascii", "replace").strip()
        os.close(lock)
        raise ConflictError(f"an engine is running already (pid {pid or 'unknown'})", "see `qd status`") from None
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return lock


async def serve(paths: Paths, environ: Mapping[str, str], *, leashed: bool = False) -> None:
    """Open the database, register, and work until a signal or a person says stop."""
    source = find_database(paths, environ)
    name = engine_name(paths.state)
    who = Principal(f"engine:{name}", Role.ENGINE)
    db = await _reach(source, who)
    try:
        engine_id, settings = await _patiently(lambda: _announce(db, who, paths, environ))
        bell = Bell(db)
        runtime = Runtime(
            engine=engine_id,
            name=name,
            db=db,
            paths=paths,
            settings=settings,
            environ=environ,
            bell=bell,
            shipper=Shipper(db, bell, settings.engine.ship_interval),
        )
        engine = Engine(
            runtime,
            read_settings=lambda: load_settings(db, who, paths, environ),
            revive=source.ensure if source.embedded else None,
        )
        _heed_signals(engine)
        if leashed:
            _heed_leash(engine)
        bell.ring("engine", "task")
        log.info("engine %s runs (pid %s, schema of %s)", name, os.getpid(), source.shown)
        await engine.run()
        log.info("engine %s stopped", name)
    finally:
        await db.close()


async def _reach(source: Source, who: Principal) -> Database:
    """Bring the database up where it is ours, and connect."""

    async def reach() -> Database:
        await source.ensure()
        return await Database.open(source.dsn, bound=who, most=8, least=2)

    return await _patiently(reach)


async def _announce(db: Database, who: Principal, paths: Paths, environ: Mapping[str, str]) -> tuple[int, Settings]:
    """Register this engine; its number and the settings that it begins with."""
    settings = await load_settings(db, who, paths, environ)
    await ensure_default_agents(db, who, paths, environ)
    async with db.connection() as connection:
        number = await queue.register(
            connection,
            name=engine_name(paths.state),
            host=socket.gethostname(),
            pid=os.getpid(),
            version=version(),
            max_parallel=settings.engine.max_parallel,
            lease=timedelta(seconds=settings.engine.lease_seconds),
        )
    return number, settings


async def _patiently(step: Callable[[], Awaitable[T]]) -> T:
    """Do it, again and again while the database is being started or recovers from a crash."""
    deadline = asyncio.get_running_loop().time() + DATABASE_SECONDS
    while True:
        try:
            return await step()
        except UnavailableError as error:
            if asyncio.get_running_loop().time() > deadline:
                raise
            log.warning("%s; trying again", error.sentence())
            await asyncio.sleep(0.5)


def _heed_signals(engine: Engine) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, engine.stopping.set)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _heed_leash(engine: Engine) -> None:
    loop = asyncio.get_running_loop()

    def readable() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            loop.remove_reader(sys.stdin.fileno())
            engine.stop_runs = True
            engine.stopping.set()

    loop.add_reader(sys.stdin.fileno(), readable)


if __name__ == "__main__":
    sys.exit(main())
