"""The life of the embedded server: started or adopted, looked at, stopped, removed.

Whoever needs the database calls :func:`ensure_server`. The server outlives its starter. A lock beside the cluster lets
one process at a time start or stop it; what a kill at any moment leaves behind is put right by the next call.
"""

import asyncio
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from config.errors import UnavailableError
from config.paths import Paths
from storage.server import postmaster
from storage.server.binaries import find_binaries, reachable
from storage.server.cluster import ROLE, check_owner, check_version, configure, is_cluster, make_cluster
from storage.server.lock import locked
from storage.server.log import ServerLog
from storage.server.place import POINTER, Place, find_place, prepare_sockets, remedy, write_pointer
from storage.server.postmaster import Postmaster

PORT = 5432
START_SECONDS = 120.0
"""For one start, with the recovery from a crash in it."""

RETRY_SECONDS = 30.0
"""How long the remains of a dead server may stand in the way of the next one."""

_IN_THE_WAY = ("shared memory block", "lock file ")


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A running embedded server."""

    dsn: str
    """Of the database ``quarterdeck``, for asyncpg."""
    pid: int
    version: str
    """Of the running server, as ``18.4``."""
    data: Path


def socket_dir(paths: Paths) -> Path:
    """The folder of the server's socket: where a running one says, else where the next one will open it.

    It reads one small file at most.

    Raises:
        UnavailableError: there is no account that could run the server.
    """
    place = find_place(paths)
    running = postmaster.look(place.data)
    return place.sockets if running is None or running.sockets is None else running.sockets


def server_dsn(paths: Paths, database: str = ROLE) -> str:
    """The address of a database of the embedded server, for asyncpg, whether the server runs or not."""
    return _dsn(socket_dir(paths), database)


def server_status(paths: Paths) -> ServerInfo | None:
    """Look whether the server runs, without connecting; it may still be starting."""
    place = find_place(paths)
    running = postmaster.look(place.data)
    return None if running is None else _info(place, running)


async def ensure_server(paths: Paths, settings: Mapping[str, str] | None = None) -> ServerInfo:
    """Adopt the running server, or start it, with its database made if need be.

    However many processes call this at once, one server comes of it. ``settings`` (of Postgres) are for a server that
    this call starts; one that runs is used as it is, whatever version of ours has started it.

    Raises:
        UnavailableError: it cannot run here, with the last words of its log and the remedy.
    """
    place = find_place(paths)
    running = postmaster.look(place.data)
    if running is not None and running.state == postmaster.READY:
        ServerLog(place.log, place.account).cut()
        return _info(place, running)
    with _plain_errors(place):
        place.home.parent.mkdir(parents=True, exist_ok=True)
        place = find_place(paths)  # whether the server's account can reach that folder is known now that it exists
        if "\n" in str(place.data):
            raise UnavailableError(f"Postgres cannot work in {str(place.data)!r}: its name holds a line break")
        async with locked(place) as lock:
            return _info(place, await _running(place, settings or {}, lock))


async def stop_server(paths: Paths) -> bool:
    """Shut the server down, with all its connections, and wait until it is gone; False when none ran.

    Raises:
        UnavailableError: it is not ours to stop, or would not end.
    """
    place = find_place(paths)
    with _plain_errors(place):
        if not is_cluster(place.data):
            return False
        async with locked(place):
            return await _stop(place)


async def remove_server(paths: Paths) -> None:
    """Stop the server and delete its cluster with everything in it, wherever that lies. There is no way back.

    Raises:
        UnavailableError: it would not stop, or a folder may not be deleted.
    """
    place = find_place(paths)
    with _plain_errors(place):
        if place.data.parent.is_dir():
            async with locked(place):
                await _stop(place)
                for folder in (place.data, place.data.with_name(place.data.name + ".new")):
                    await _remove_tree(folder)
                for leftover in [place.home / POINTER, *place.sockets.glob(f".s.PGSQL.{PORT}*")]:
                    leftover.unlink(missing_ok=True)
                place.lock.unlink()
        for folder in (place.home, place.sockets, place.sockets.parent):
            _remove_if_empty(folder)


async def _running(place: Place, settings: Mapping[str, str], lock: int) -> Postmaster:
    """The server, brought up if need be; the caller holds the lock."""
    found = postmaster.look(place.data)
    if found is not None and found.state == "stopping":
        await postmaster.until_gone(place.data, START_SECONDS)
    elif found is not None:
        ready = await postmaster.until_ready(place.data, found.pid, START_SECONDS)
        if ready is not None:
            return ready
    binaries = find_binaries()
    check_owner(place)
    if is_cluster(place.data):
        check_version(place, binaries)
    binaries = await asyncio.to_thread(reachable, binaries, place.account)
    prepare_sockets(place)
    if not is_cluster(place.data):
        write_pointer(place)
        await make_cluster(place, binaries, settings, ServerLog(place.log, place.account), lock)
    configure(place, settings)
    deadline = time.monotonic() + RETRY_SECONDS
    while True:
        log = ServerLog(place.log, place.account)
        with log.opened() as output:
            pid = await postmaster.spawn(place, binaries, output)
        try:
            ready = await postmaster.until_ready(place.data, pid, START_SECONDS)
        except TimeoutError:
            message = f"the embedded Postgres in {place.data} is not ready after {START_SECONDS:.0f} s"
            raise UnavailableError(message + log.last_words(), "wait for it and try again") from None
        if ready is not None:
            return ready
        if time.monotonic() > deadline or not any(sign in log.text() for sign in _IN_THE_WAY):
            message = f"the embedded Postgres in {place.data} did not start{log.last_words()}"
            raise UnavailableError(message, remedy(place))
        postmaster.end_orphans(place.data, place.account)
        await asyncio.sleep(0.1)


async def _stop(place: Place) -> bool:
    running = postmaster.look(place.data)
    if running is None:
        return False
    await postmaster.end(place.data, running)
    return True


@contextmanager
def _plain_errors(place: Place) -> Iterator[None]:
    """Turn what the operating system refuses into one sentence."""
    try:
        yield
    except TimeoutError as error:
        raise UnavailableError(
            f"the embedded Postgres in {place.data} did not come to its end in time (its log is {place.log})",
            "try again",
        ) from error
    except OSError as error:
        reason = (error.strerror or str(error)) + (f" ({error.filename})" if error.filename else "")
        raise UnavailableError(f"the embedded Postgres cannot use {place.data}: {reason}", remedy(place)) from error


async def _remove_tree(folder: Path) -> None:
    """Delete a folder, in which processes of a server that was killed may still write for a moment."""
    deadline = time.monotonic() + 5
    while folder.exists():
        try:
            await asyncio.to_thread(shutil.rmtree, folder)
        except OSError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(postmaster.POLL)


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # it is not there, or others keep things in it


def _info(place: Place, running: Postmaster) -> ServerInfo:
    return ServerInfo(_dsn(running.sockets or place.sockets, ROLE), running.pid, running.version, place.data)


def _dsn(sockets: Path, database: str) -> str:
    host = quote(os.fsencode(sockets), safe="/")
    return f"postgresql://{ROLE}@/{quote(database, safe='')}?host={host}&port={PORT}"
