"""What the keeper reads and leaves in the folder of the run, which is its working directory."""

import os
import time

from core.keeper.wire import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SPEC = "spec.json"
STARTED = "started.json"
EXIT = "exit.json"
LOCK = "keeper.lock"
LOG = "keeper.log"
STDOUT = "stdout.spool"
STDERR = "stderr.spool"

_RESERVED = 4096
"""Bytes set aside for the exit record, so that it can be written when a full disk is what ended the run."""


def take_spec() -> "dict[str, Any]":
    """Read what to run and delete the file, which carries the token of the run; raises OSError or ValueError."""
    with open(SPEC, "rb") as file:
        content = file.read()
    os.unlink(SPEC)
    spec = decode(content)
    if not isinstance(spec, dict):
        raise ValueError("spec.json holds no JSON object")
    return spec


def reserve_exit() -> None:
    """Set aside the room that the exit record needs."""
    with open(EXIT + ".tmp", "wb") as file:
        file.write(b" " * _RESERVED)


def ending(reason: str, detail: str, started: float) -> "dict[str, Any]":
    """The record of a run that ended now and of which nothing else is known."""
    return {
        "reason": reason,
        "detail": detail,
        "exit_code": None,
        "signal": None,
        "started_at": rfc3339(started),
        "ended_at": rfc3339(time.time()),
        "cpu_seconds": 0.0,
        "max_rss_bytes": 0,
        "out_bytes": 0,
        "err_bytes": 0,
        "leftovers_killed": 0,
    }


def write_exit(record: "dict[str, Any]") -> None:
    """Write how the run ended: all of it or nothing, and on the disk when this returns."""
    content = encode(record).encode() + b"\n"
    file = os.open(EXIT + ".tmp", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, content)
        os.ftruncate(file, len(content))
        os.fsync(file)
    finally:
        os.close(file)
    os.rename(EXIT + ".tmp", EXIT)
    folder = os.open(".", os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_started(pid: int, started_at: float) -> None:
    """Write who runs. Not synced to the disk: after a power cut nobody runs any more."""
    line = encode({"pid": pid, "keeper_pid": os.getpid(), "started_at": rfc3339(started_at)})
    with open(STARTED + ".tmp", "wb") as file:
        file.write(line.encode() + b"\n")
    os.rename(STARTED + ".tmp", STARTED)


def rfc3339(at: float) -> str:
    """A moment (seconds since 1970) in UTC, to the microsecond."""
    whole, part = divmod(round(at * 1_000_000), 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{part:06d}Z"
