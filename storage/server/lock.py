"""One process at a time starts, stops or removes a server."""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from config.errors import UnavailableError
from storage.server.place import Place

WAIT_SECONDS = 240.0
"""Longer than the slowest start: whoever waits here wants the server that another one is starting."""

POLL = 0.01


@asynccontextmanager
async def locked(place: Place) -> AsyncIterator[int]:
    """Hold the lock of the cluster; gives its file descriptor. A process that is killed lets go of it.

    Raises:
        UnavailableError: somebody else held it all the time.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    place.lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        lock = os.open(place.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            if os.geteuid() != place.account.uid:
                os.fchown(lock, place.account.uid, place.account.gid)
            if _take(lock) and _is_at(lock, place):
                yield lock
                return
        finally:
            os.close(lock)
        if time.monotonic() > deadline:
            raise UnavailableError(
                f"another process has held {place.lock} for {WAIT_SECONDS:.0f} s", "end that process and try again"
            )
        await asyncio.sleep(POLL)


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(lock: int, place: Place) -> bool:
    """Whether the file that we locked still has that name: a cluster that is removed takes its lock with it."""
    try:
        return os.path.samestat(os.fstat(lock), place.lock.stat())
    except FileNotFoundError:
        return False
