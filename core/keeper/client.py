"""Start keepers, talk to them, and find out what became of them.

The keeper is started in the background by a double fork: it belongs to init and not to the engine, so an engine
has nothing to reap when a run ends, whether it lives for months or is killed. (Where the engine itself is process 1
of a container, the container needs an init such as ``tini``, as for any program that starts daemons.) A keeper lives
exactly as long as it holds the lock of its folder.
"""

import asyncio
import base64
import contextlib
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from config.errors import ConflictError, UnavailableError
from core.keeper import record, tree
from core.keeper.tree import marked, marks

__all__ = [
    "Exit", "Grace", "Limits", "Reason", "Spec", "Started",
    "alive", "close_stdin", "interrupt", "kill", "launch", "marked", "marks", "pause", "read_exit", "read_started",
    "request", "resume", "send", "status", "stop", "sweep", "told_of_end", "wait",
]  # fmt: skip

START_SECONDS = 30.0
"""A keeper that has not started anything after this time will not."""

_SCRIPT = Path(__file__).with_name("keeper.py")
_LOADER = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""All that the keeper takes from our environment: what a Python that was built elsewhere needs in order to start."""
_POLL_SECONDS = 0.05

Reason = Literal[
    "exited", "signalled", "stopped", "time_limit", "idle_limit", "memory_limit", "output_limit",
    "spool_failed", "spawn_failed",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may use at most; None is no limit. Time while it is paused does not count."""

    wall_seconds: float | None = None
    idle_seconds: float | None = None
    """Without any output, and without having been spoken to."""
    output_bytes: int | None = None
    """Of stdout and stderr together; not a byte more is kept."""
    memory_bytes: int | None = None
    """Of all processes together, looked at every two seconds."""


@dataclass(frozen=True, slots=True)
class Grace:
    """How long each step of ending a run waits for the processes to go by themselves."""

    interrupt_seconds: float = 5
    terminate_seconds: float = 3
    drain_seconds: float = 1
    """For what is left when the main process has ended."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A process to run."""

    argv: Sequence[str]
    env: Mapping[str, str]
    """The complete environment; ``QD_RUN_MARK`` is added."""
    cwd: Path
    mark: str
    """By which every process of the run is found; unique, without spaces."""
    socket: Path
    limits: Limits = Limits()
    grace: Grace = Grace()
    opening: bytes = b""
    """Written to stdin first. Without it and without ``stdin_open``, stdin is ``/dev/null``."""
    stdin_open: bool = False
    """Keep stdin open after the opening, for ``send``."""


@dataclass(frozen=True, slots=True)
class Started:
    """Who runs."""

    pid: int
    keeper_pid: int
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Exit:
    """How a run ended."""

    reason: Reason
    detail: str
    exit_code: int | None
    signal: int | None
    started_at: datetime
    ended_at: datetime
    cpu_seconds: float
    max_rss_bytes: int
    """The largest single process, or all together where a memory limit had them measured."""
    out_bytes: int
    err_bytes: int
    leftovers_killed: int
    """Processes that outlived the main one, or had to be killed beside it."""


async def launch(folder: Path, spec: Spec) -> int:
    """Start a keeper, and by it the process; returns the keeper's pid once ``started.json`` or ``exit.json`` is there.

    A program that cannot be started is no error here but the ``spawn_failed`` of ``read_exit``. Raises ConflictError
    when the folder has held a run before, UnavailableError when no keeper could be started. When this is cancelled
    the run may have begun: ``alive`` and ``marked`` tell.
    """
    ready, starter = _start(folder, spec)
    try:
        async with asyncio.timeout(START_SECONDS):
            line = await _first_line(ready)
    except TimeoutError:
        line = b""
    finally:
        os.close(ready)
        # It has done its part, unless we give up waiting for it. The keeper proper is not this process.
        starter.kill()
        starter.wait()
        (folder / record.SPEC).unlink(missing_ok=True)
    if not line:
        raise UnavailableError(
            f"the keeper of {folder.name} did not start: {_last_words(folder)}",
            f"see {folder / record.LOG}; is the disk full, is Python still installed at {sys.executable}?",
        )
    return int(line)


def alive(folder: Path) -> bool:
    """Whether a keeper holds the lock of this folder."""
    try:
        file = os.open(folder / record.LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


@contextlib.contextmanager
def told_of_end(folder: Path, event: asyncio.Event) -> Iterator[bool]:
    """Have ``event`` set when the keeper of this folder ends; gives False where nobody can tell and one has to look."""
    started = read_started(folder)
    try:
        # Whoever has the pid by now is the keeper if the lock is held after the pid was pinned down.
        file = os.pidfd_open(started.keeper_pid) if started else -1
    except (AttributeError, OSError):  # no Linux, no such process, no more files
        file = -1
    if file < 0:
        yield False
        return
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(file)
        event.set()

    loop.add_reader(file, ended)
    try:
        yield alive(folder)
    finally:
        loop.remove_reader(file)
        os.close(file)


def read_started(folder: Path) -> Started | None:
    """Who runs or ran in this folder, None when nothing has been started or the record is damaged."""
    try:
        data = json.loads((folder / record.STARTED).read_bytes())
        return Started(int(data["pid"]), int(data["keeper_pid"]), datetime.fromisoformat(data["started_at"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_exit(folder: Path) -> Exit | None:
    """How the run of this folder ended, None when that is not (or not legibly) recorded."""
    try:
        data = json.loads((folder / record.EXIT).read_bytes())
        for name in ("started_at", "ended_at"):
            data[name] = datetime.fromisoformat(data[name])
        return Exit(**data) if data["reason"] in get_args(Reason) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


async def wait(folder: Path, socket: Path) -> Exit | None:
    """Wait until the keeper is gone; returns how the run ended, None when the keeper died without telling."""
    while alive(folder):
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                await reader.read()
            finally:
                writer.close()
        await asyncio.sleep(_POLL_SECONDS if alive(folder) else 0)
    return read_exit(folder)


async def request(socket: Path, verb: Mapping[str, Any], timeout: float = 5.0) -> dict[str, Any]:  # noqa: ASYNC109
    """Ask a keeper one thing (see ``core.keeper.verbs``); returns its answer, whose ``ok`` tells whether it did it.

    Raises UnavailableError when there is no keeper at this socket or it does not answer within ``timeout`` seconds.
    """
    line = json.dumps(verb).encode() + b"\n"
    try:
        async with asyncio.timeout(timeout):
            while (answer := await _ask(socket, line)) is None:  # noqa: ASYNC110  there is no event to wait for
                await asyncio.sleep(_POLL_SECONDS)
    except (OSError, ValueError) as error:
        raise UnavailableError(f"the keeper at {socket} does not answer", "the run may have ended") from error
    if not isinstance(answer, dict):
        raise UnavailableError(f"what answers at {socket} is no keeper")
    return answer


async def send(socket: Path, seq: int, data: bytes) -> bool:
    """Write to the agent's stdin once, however often it is repeated with this ``seq`` (from 1, rising).

    Returns False when it had been taken before. Raises ConflictError when the agent takes no input (any more),
    UnavailableError when the keeper is gone.
    """
    answer = await _do(socket, {"do": "input", "seq": seq, "data": base64.b64encode(data).decode()})
    return not answer.get("duplicate", False)


async def close_stdin(socket: Path) -> None:
    """End the agent's input after what has been sent."""
    await _do(socket, {"do": "close_stdin"})


async def interrupt(socket: Path) -> None:
    """Send SIGINT to the agent's process group; ConflictError when the agent has ended."""
    await _do(socket, {"do": "interrupt"})


async def pause(socket: Path) -> None:
    """Stop all processes of the run and its clock; ConflictError when it is ending."""
    await _do(socket, {"do": "pause"})


async def resume(socket: Path) -> None:
    """Let a paused run go on."""
    await _do(socket, {"do": "resume"})


async def stop(socket: Path, reason: str, grace: Grace | None = None) -> None:
    """Begin to end the run: SIGINT, SIGTERM, SIGKILL with grace between; returns at once (see ``wait``)."""
    await _do(socket, {"do": "stop", "reason": reason, "grace": asdict(grace) if grace else None})


async def kill(socket: Path, reason: str) -> None:
    """End the run with SIGKILL to all of it."""
    await _do(socket, {"do": "kill", "reason": reason})


async def status(socket: Path) -> dict[str, Any]:
    """How the run is (``core.keeper.verbs`` lists the fields)."""
    return await _do(socket, {"do": "status"})


async def sweep(mark: str, patience: float = 5.0) -> int:
    """End what a dead keeper left: SIGTERM, after ``patience`` seconds SIGKILL, until nothing carries the mark.

    Returns how many processes there were. Raises UnavailableError when some cannot be killed.
    """
    ended: set[int] = set()
    started = time.monotonic()
    while pids := await asyncio.to_thread(marked, mark):
        elapsed = time.monotonic() - started
        if elapsed > 2 * patience + 5:
            raise UnavailableError(f"{len(pids)} processes of run {mark} cannot be killed: {pids[:5]}")
        if elapsed > patience:
            tree.send(pids, signal.SIGSTOP)  # so that none forks while the others die
            tree.send(pids, signal.SIGKILL)
        else:
            fresh = [pid for pid in pids if pid not in ended]
            tree.send(fresh, signal.SIGTERM)
            tree.send(fresh, signal.SIGCONT)
        ended.update(pids)
        await asyncio.sleep(_POLL_SECONDS)
    return len(ended)


async def _ask(socket: Path, line: bytes) -> Any:
    """One attempt; None when the connection was lost, which a crowd at the socket can bring about.

    Every verb may be repeated, so that it does not matter whether this one arrived.
    """
    reader, writer = await asyncio.open_unix_connection(socket, limit=1 << 20)
    try:
        writer.write(line)
        await writer.drain()
        return json.loads(await reader.readuntil(b"\n"))
    except (ConnectionError, EOFError):
        return None
    except OSError as error:
        # asyncio takes a connection that found the queue full for one that was made.
        if error.errno in (errno.ENOTCONN, errno.EAGAIN):
            return None
        raise
    except asyncio.LimitOverrunError as error:
        raise ValueError("the answer has no end") from error
    finally:
        writer.close()


async def _do(socket: Path, verb: Mapping[str, Any]) -> dict[str, Any]:
    answer = await request(socket, verb)
    if not answer.get("ok"):
        raise ConflictError(f"the keeper refused to {verb['do']}: {answer.get('error')}")
    return answer


def _start(folder: Path, spec: Spec) -> tuple[int, "subprocess.Popen[bytes]"]:
    """Write the spec and spawn the script; returns the pipe that tells when it is ready, and the process."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    spec.socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if alive(folder) or any((folder / name).exists() for name in (record.STARTED, record.EXIT)):
        raise ConflictError(f"the folder {folder} has held a run before", "every run needs a folder of its own")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(folder / record.SPEC, flags, 0o600), "w", encoding="ascii") as file:
        json.dump(_plain(spec), file)
    log = os.open(folder / record.LOG, flags | os.O_APPEND, 0o600)
    ready, theirs = os.pipe()
    try:
        starter = subprocess.Popen(
            [sys.executable, "-I", "-S", os.fspath(_SCRIPT), os.fspath(folder.absolute()), str(theirs)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={name: os.environ[name] for name in _LOADER if name in os.environ},
            pass_fds=(theirs,),
            start_new_session=True,
        )
    except OSError as error:
        os.close(ready)
        (folder / record.SPEC).unlink(missing_ok=True)
        raise UnavailableError(f"no keeper can be started: {error}") from error
    finally:
        os.close(theirs)
        os.close(log)
    return ready, starter


def _plain(spec: Spec) -> dict[str, Any]:
    return {
        "argv": list(spec.argv),
        "env": dict(spec.env),
        "cwd": os.fspath(spec.cwd.absolute()),
        "mark": spec.mark,
        "socket": os.fspath(spec.socket.absolute()),
        "stdin": "pipe" if spec.stdin_open or spec.opening else "null",
        "limits": asdict(spec.limits),
        "grace": asdict(spec.grace),
        "opening": base64.b64encode(spec.opening).decode(),
        "close_stdin": not spec.stdin_open,
    }


async def _first_line(file: int) -> bytes:
    """The one line that is written to the pipe at once, empty when it was closed without."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(file, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(file)
    return os.read(file, 64).strip()


def _last_words(folder: Path) -> str:
    try:
        lines = (folder / record.LOG).read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "it said nothing"
