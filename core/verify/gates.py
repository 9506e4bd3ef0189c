"""The gates: the project's own commands, run in the worktree of a change, each under a keeper with a time limit."""

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from config.errors import QuarterdeckError
from core.keeper import client as keeper

KEPT_OUTPUT = 100_000
"""Bytes of a command's output that are stored; the rest stays in the run's folder."""
MOST_STARTS = 3
"""How often a command is begun whose keeper is killed each time."""
_END_SECONDS = 30.0
FED_BACK = 12_000
"""Characters of a failing command's output that the next attempt is told."""

GateStatus = Literal["passed", "failed", "timeout"]


@dataclass(frozen=True, slots=True)
class GateResult:
    """How one command ended. ``seconds`` is wall time."""

    position: int
    command: str
    status: GateStatus
    exit_code: int | None
    seconds: float
    output: str

    def feedback(self) -> str:
        """What an agent is told of a failure."""
        how = "ran out of time" if self.status == "timeout" else f"ended with exit code {self.exit_code}"
        tail = self.output[-FED_BACK:]
        cut = "…\n" if len(self.output) > len(tail) else ""
        return f"The check `{self.command}` {how}. Its output:\n\n```\n{cut}{tail.strip()}\n```"


@dataclass(frozen=True, slots=True)
class Shell:
    """Where and how commands of a project are run: ``folder`` takes the spools, by ``mark`` processes are found."""

    folder: Path
    sockets: Path
    worktree: Path
    env: Mapping[str, str]
    mark: str
    seconds: float
    memory_bytes: int | None = None


async def run_gates(shell: Shell, commands: Sequence[str], poke: asyncio.Event) -> AsyncIterator[GateResult]:
    """Run the commands one after the other and stop at the first that does not pass.

    Gates that an engine left running when it died are ended first: two rounds at once in one worktree would disturb
    each other, and the end of the one sweeps what carries the mark of both.
    """
    for folder in await asyncio.to_thread(lambda: sorted(shell.folder.glob("gate-*"))):
        await _make_way(folder, _socket(shell, folder.name))
    for position, command in enumerate(commands, start=1):
        result = await run_command(shell, f"gate-{position}", command, poke, position=position)
        yield result
        if result.status != "passed":
            return


async def run_command(shell: Shell, name: str, command: str, poke: asyncio.Event, *, position: int = 0) -> GateResult:
    """One shell command in the worktree, under a keeper, so that all it starts ends with it.

    It is begun anew when its keeper is killed, which says nothing of the work, or was started by an engine that died.
    """
    folder = shell.folder / name
    spec = keeper.Spec(
        argv=("sh", "-c", f"exec 2>&1\n{command}"),
        env=dict(shell.env),
        cwd=shell.worktree,
        mark=shell.mark,
        socket=_socket(shell, name),
        limits=keeper.Limits(
            wall_seconds=shell.seconds, idle_seconds=None, output_bytes=1_000_000_000, memory_bytes=shell.memory_bytes
        ),
        grace=keeper.Grace(),
    )
    for _ in range(MOST_STARTS):
        await _make_way(folder, spec.socket)
        started = time.monotonic()
        await keeper.launch(folder, spec)
        end = await wait_for_exit(folder, poke)
        seconds = time.monotonic() - started
        if end is not None:
            break
        await keeper.sweep(shell.mark)
    output = await asyncio.to_thread(_tail, folder / "stdout.spool")
    if end is None:
        return GateResult(position, command, "failed", None, seconds, output + "\n[the command's keeper was killed]")
    if end.reason == "time_limit":
        return GateResult(position, command, "timeout", None, seconds, output)
    if end.reason == "spawn_failed":
        output = end.detail or "the command could not be started"
    passed = end.reason == "exited" and end.exit_code == 0
    if end.reason not in ("exited", "signalled"):
        output += f"\n[ended: {end.reason.replace('_', ' ')}]"
    code = end.exit_code if end.exit_code is not None else (-end.signal if end.signal else None)
    return GateResult(position, command, "passed" if passed else "failed", code, seconds, output)


def _socket(shell: Shell, name: str) -> Path:
    """Where the keeper of a command listens: short, since the path of a socket has little room."""
    return shell.sockets / f"{shell.folder.name[-12:]}-{name[:8]}.sock"


async def _make_way(folder: Path, socket: Path) -> None:
    """Clear away an earlier start of the command, whose keeper may have outlived its engine."""
    while keeper.alive(folder):
        with contextlib.suppress(QuarterdeckError):  # it is just ending
            await keeper.kill(socket, "begun anew")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await keeper.wait(folder, socket)
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def wait_for_exit(folder: Path, poke: asyncio.Event, *, look: float = 1.0) -> keeper.Exit | None:
    """Wait until a keeper's command has ended; None when the keeper was killed.

    ``look``: seconds between two looks without a poke.
    """
    while True:
        poke.clear()
        if end := keeper.read_exit(folder):
            return end
        if not keeper.alive(folder):
            return keeper.read_exit(folder)
        try:
            async with asyncio.timeout(look):
                await poke.wait()
        except TimeoutError:
            continue


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as spool:
            size = spool.seek(0, 2)
            spool.seek(max(0, size - KEPT_OUTPUT))
            data = spool.read()
    except FileNotFoundError:
        return ""
    text = data.decode("utf-8", "replace").replace("\0", "\ufffd")
    return text if size <= KEPT_OUTPUT else f"[… {size - KEPT_OUTPUT} bytes before this]\n{text}"
