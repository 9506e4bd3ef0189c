"""Starts and stops the engine of this host and state folder.

The engine is a process of its own that outlives `qd`. That it runs is what its lock says; how it is, its row in the
database.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from config.errors import ConflictError, UnavailableError
from core.commands.table import Context, command
from core.engine.identity import engine_name, is_held
from storage.database import Role
from storage.queries import status as rows

START_SECONDS = 90.0
"""How long an engine may take until it says that it runs."""

STOP_SECONDS = 60.0
"""How long an engine may take to end; with its runs, it waits for their grace as well."""

TELL_SECONDS = 10.0
"""How long the database may not know an engine that is just starting."""

_LOOK_SECONDS = 0.05

ENGINE = (sys.executable, "-P", "-m", "core.engine")
"""How an engine is started."""


@dataclass(frozen=True, slots=True)
class Power:
    """The engine of this host after `up` or `down`; ``changed`` is false when it was so before."""

    state: Literal["running", "stopped"]
    pid: int | None
    changed: bool
    log: Path


@command("up", role=Role.SUPERVISOR, says="engine {state}, pid {pid}")
async def up(
    ctx: Context, *, foreground: Annotated[bool, "stay in this process, with the log on the terminal"] = False
) -> Power:
    """Start the engine (and the embedded database) in the background.

    Does nothing when it runs already. Returns when it is ready to claim tasks.
    """
    if foreground:
        await ctx.db.close()
        environ = _environment(ctx.environ)
        os.execve(ENGINE[0], ENGINE, environ)  # noqa: S606 - the process becomes the engine
    log = ctx.paths.logs / "engine.log"
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        if not is_held(ctx.paths.engine_lock):
            pid = await _start(ctx, log, deadline)
            if pid is not None:
                return Power("running", pid, changed=True, log=log)
        elif (row := await _row(ctx)) is not None and row.pid == _lock_pid(ctx.paths.engine_lock) and _is_ready(row):
            return Power("running", row.pid, changed=False, log=log)
        await asyncio.sleep(_LOOK_SECONDS)
    raise UnavailableError(f"the engine is not ready after {START_SECONDS:.0f} s", f"see {log}")


@command("down", role=Role.SUPERVISOR, says="engine {state}")
async def down(
    ctx: Context, *, stop_runs: Annotated[bool, "end the runs too: interrupted, then terminated, then killed"] = False
) -> Power:
    """Stop the engine of this host; runs go on unless told otherwise.

    The next engine takes the runs up again. Returns when the engine is gone.
    """
    log = ctx.paths.logs / "engine.log"
    if not is_held(ctx.paths.engine_lock):
        return Power("stopped", None, changed=False, log=log)
    told_by = asyncio.get_running_loop().time() + TELL_SECONDS
    while is_held(ctx.paths.engine_lock) and not await _tell(ctx, "stop_runs" if stop_runs else "stop"):
        if asyncio.get_running_loop().time() >= told_by:
            pid = _lock_pid(ctx.paths.engine_lock)
            raise ConflictError(
                f"the engine of this state folder (pid {pid}) works on another database than this command",
                f"name that one with --database-url, or end the engine: kill {pid}",
            )
        await asyncio.sleep(_LOOK_SECONDS)
    grace = ctx.settings.run.interrupt_seconds + ctx.settings.run.terminate_seconds
    try:
        async with asyncio.timeout(STOP_SECONDS + (grace if stop_runs else 0)):
            while is_held(ctx.paths.engine_lock):  # noqa: ASYNC110 - another process's lock rings no bell
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        raise UnavailableError(
            f"the engine (pid {_lock_pid(ctx.paths.engine_lock)}) has been told to stop and is still there",
            f"wait for it, or see {log}",
        ) from None
    return Power("stopped", None, changed=True, log=log)


async def _tell(ctx: Context, wanted: str) -> bool:
    """Tell the engine that holds the lock what it is to do; False while the database does not know it."""
    row = await _row(ctx)
    if row is None or row.pid != _lock_pid(ctx.paths.engine_lock):
        return False
    async with ctx.db.transaction(ctx.who) as connection:
        await rows.want(connection, row.id, wanted)
    await ctx.db.ring("engine")
    return True


async def _row(ctx: Context) -> rows.EngineRow | None:
    """What this host's engine last said of itself."""
    async with ctx.db.transaction(ctx.who) as connection:
        return await rows.engine_by_name(connection, engine_name(ctx.paths.state))


def _is_ready(row: rows.EngineRow) -> bool:
    return row.alive and row.state == "running" and row.wanted == "run"


async def _start(ctx: Context, log: Path, deadline: float) -> int | None:
    """Start an engine and wait until it runs; its pid, or None when another one held the lock.

    Raises UnavailableError with its last words.
    """
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with log.open("ab") as output:
        began = output.tell()
        process = subprocess.Popen(  # noqa: ASYNC220 - a fork and no wait
            ENGINE,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=ctx.paths.state,
            env=_environment(ctx.environ),
            start_new_session=True,
        )
    try:
        while (ended := process.poll()) is None and asyncio.get_running_loop().time() < deadline:
            row = await _row(ctx)
            if row is not None and row.pid == process.pid and _is_ready(row):
                return row.pid
            await asyncio.sleep(_LOOK_SECONDS)
    finally:
        process.returncode = process.returncode or 0  # it is to outlive us: nobody here waits for it
    if ended == ConflictError.exit_code:
        return None
    how = "is not ready" if ended is None else f"ended as it started (exit code {ended})"
    raise UnavailableError(f"the engine {how}: {_last_line(log, began)}", f"see {log}")


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What the engine inherits: nothing that puts somebody else's modules before ours."""
    return {name: value for name, value in environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def _lock_pid(path: Path) -> int | None:
    try:
        return int(path.read_text("ascii"))
    except (OSError, ValueError):
        return None


def _last_line(log: Path, began: int) -> str:
    """The last line that an engine wrote since ``began`` bytes of its log."""
    with log.open("rb") as file:
        file.seek(max(began, file.seek(0, os.SEEK_END) - 65536))
        lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines()]
    return next((line for line in reversed(lines) if line), "it said nothing")[:1000]
