"""The running server: found by its pid file, started apart from us, waited for, ended.

A pid file alone proves nothing: after a crash or a reboot its number may be another program's. A process is the server
of a folder only if it runs as the folder's owner with that folder on its command line; there, too, its version is told.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from storage.server.binaries import Binaries
from storage.server.cluster import ENVIRONMENT
from storage.server.place import Account, Place

POLL = 0.01
VERSION = "quarterdeck.version"
"""A setting that only serves to be read on the command line of the server."""

READY = "ready"
_DETACH = '"$@" >&2 & echo "$!"'


@dataclass(frozen=True, slots=True)
class Postmaster:
    """The first process of a running server."""

    pid: int
    state: str
    """As its pid file says: ``starting``, ``ready``, ``stopping``."""
    sockets: Path | None
    """None while it has not opened one yet."""
    version: str


def look(data: Path) -> Postmaster | None:
    """Find the server of this cluster, in a fraction of a millisecond; None when none runs or it is not to be seen."""
    lines = _pid_file(data)
    pid = _pid(lines)
    command = command_of(pid, data) if pid else None
    if pid is None or command is None:
        return None
    version = next((word.partition("=")[2] for word in command if word.startswith(f"{VERSION}=")), "")
    sockets = Path(lines[4]) if len(lines) > 4 and lines[4].startswith("/") else None
    return Postmaster(
        pid, lines[7].strip() if len(lines) > 7 else "starting", sockets, version or _cluster_version(data)
    )


def command_of(pid: int, data: Path) -> list[str] | None:
    """The command line of the process ``pid`` if it is a server of this cluster (alive and no zombie), else None."""
    try:
        command, uid = _process(pid)
        owner = data.stat().st_uid
        folder = command[command.index("-D") + 1] if "-D" in command[:-1] else ""
        return command if folder and uid == owner and Path(folder).samefile(data) else None
    except OSError:
        return None


async def spawn(place: Place, binaries: Binaries, log: int) -> int:
    """Start the server in a session of its own, child of nobody who is alive, and return its process id.

    A shell in between lets go of it, so that it is never our child: neither our end nor our forgetting to wait matters.
    """
    command = [binaries.program("postgres"), "-D", str(place.data), "-c", f"{VERSION}={binaries.version}"]
    shell = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        _DETACH,
        "sh",
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=log,
        cwd="/",
        env=_environment(place.data),
        umask=0o077,
        start_new_session=True,
        **place.account.drop(),
    )
    async with asyncio.timeout(30):
        told, _ = await shell.communicate()
    return int(told or 0)


async def until_ready(data: Path, pid: int, seconds: float) -> Postmaster | None:
    """Wait until a server of this cluster takes connections; None when neither ``pid`` nor another one does.

    Raises:
        TimeoutError: it is still starting after ``seconds``.
    """
    async with asyncio.timeout(seconds):
        while True:
            found = look(data)
            if found is not None and found.state == READY:
                return found
            if found is None and command_of(pid, data) is None:
                return None
            await asyncio.sleep(POLL)


async def end(data: Path, found: Postmaster, grace: float = 30.0) -> None:
    """Shut the server down and wait for it: fast, and after ``grace`` seconds at once (costs a recovery, no data).

    Raises:
        TimeoutError: it is alive after twice ``grace``.
        PermissionError: it is not ours to end.
    """
    for kind in (signal.SIGINT, signal.SIGQUIT):
        if command_of(found.pid, data) is not None:
            os.kill(found.pid, kind)
        try:
            await _until(lambda: command_of(found.pid, data) is None, grace)
        except TimeoutError:
            if kind == signal.SIGQUIT:
                raise
        else:
            return


async def until_gone(data: Path, seconds: float) -> None:
    """Wait for the end of a server that somebody else is shutting down.

    Raises:
        TimeoutError: it is alive after ``seconds``.
    """
    await _until(lambda: look(data) is None, seconds)


def end_orphans(data: Path, account: Account) -> None:
    """Tell the processes of a dead server to go, which hold its shared memory until they notice themselves."""
    import psutil

    for process in psutil.process_iter(["pid", "uids", "cwd", "cmdline"]):
        known = process.info
        title = (known["cmdline"] or [""])[0]
        mine = known["uids"] is not None and known["uids"].effective == account.uid
        if mine and known["cwd"] == str(data.resolve()) and title.startswith("postgres:"):
            try:
                process.send_signal(signal.SIGQUIT)
            except psutil.NoSuchProcess:
                continue


async def _until(condition: Callable[[], bool], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while True:
            if condition():
                return
            await asyncio.sleep(POLL)


def _environment(data: Path) -> dict[str, str]:
    """Ours, and where a stale pid file names a living stranger, word to Postgres that this is no server.

    Postgres leaves the pid in ``PG_GRANDPARENT_PID`` out of account but still looks whether the dead server's shared
    memory is in use; were the file removed instead, it could not.
    """
    stale = _pid(_pid_file(data))
    if stale is None or command_of(stale, data) is not None:
        return ENVIRONMENT
    return {**ENVIRONMENT, "PG_GRANDPARENT_PID": str(stale)}


def _pid_file(data: Path) -> list[str]:
    """Lines: pid, data folder, start, port, socket folder, address, shared memory, state; the last ones come later."""
    try:
        return os.fsdecode((data / "postmaster.pid").read_bytes()).split("\n")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _pid(lines: list[str]) -> int | None:
    return int(lines[0]) if lines and lines[0].isdecimal() and int(lines[0]) > 1 else None


def _process(pid: int) -> tuple[list[str], int]:
    """Command line and effective user of a process; OSError when there is none, or it is not to be seen."""
    folder = Path("/proc") / str(pid)
    if Path("/proc/self/cmdline").exists():
        return os.fsdecode((folder / "cmdline").read_bytes()).split("\0"), folder.stat().st_uid
    import psutil

    try:
        process = psutil.Process(pid)
        return process.cmdline(), process.uids().effective
    except psutil.Error as error:
        raise ProcessLookupError(str(error)) from error


def _cluster_version(data: Path) -> str:
    try:
        return (data / "PG_VERSION").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
