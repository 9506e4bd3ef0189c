"""Names that engines give: identifiers of runs, the engine's own name, and the lock that tells whether one lives."""

import fcntl
import hashlib
import os
import socket
import time
from pathlib import Path
from uuid import UUID


def uuid7() -> UUID:
    """A version 7 UUID (RFC 9562): 48 bits of Unix milliseconds, then random bits."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return UUID(int=value)


def engine_name(state: Path) -> str:
    """The identity that outlives the process: the host and the state folder that it serves."""
    digest = hashlib.sha256(os.fsencode(state)).hexdigest()[:8]
    return f"{socket.gethostname()}:{digest}"


def is_held(lock: Path) -> bool:
    """Whether a living engine of this host holds the lock of its state folder (``Paths.engine_lock``)."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False
