"""Keeps engines that share a repository out of each other's way: a file lock in its git directory.

The lock is ``flock``: the kernel lets go of it when its holder dies, so that none is ever stale. A git that is handed
the descriptor holds the lock too, and so outlives a killed engine without the next one running into it.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path

from config.errors import UnavailableError

LOCAL = "qd.lock"
"""Held around short writes of state that all worktrees share."""
REMOTE = "qd-remote.lock"
"""Held while talking to a remote, so that a slow one does not hold up local work."""


@contextlib.asynccontextmanager
async def locked(git_dir: Path, name: str = LOCAL, *, patience: float = 300.0) -> AsyncIterator[int]:
    """Hold a lock of a repository, waiting for it up to ``patience`` seconds; raises ``UnavailableError`` after that.

    Yields the descriptor that holds it.
    """
    descriptor = _open(git_dir / name)
    try:
        await _acquire(descriptor, git_dir / name, patience)
        yield descriptor
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    flags = os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags | os.O_RDWR, 0o666)
    except PermissionError:  # made by another user's engine: reading is enough to lock it
        return os.open(path, flags & ~os.O_CREAT | os.O_RDONLY)


async def _acquire(descriptor: int, path: Path, patience: float) -> None:
    pause, deadline = 0.002, asyncio.get_running_loop().time() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EINTR):
                raise
        else:
            return
        if asyncio.get_running_loop().time() > deadline:
            raise UnavailableError(
                f"another engine has held {path} for {patience:g} s", "look for a git process that hangs there"
            )
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.05)
