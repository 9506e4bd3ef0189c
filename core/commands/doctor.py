"""What works here: the parts that Quarterdeck needs, and those that it can use."""

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from config.errors import QuarterdeckError
from config.reader import config_file, read_config
from core.commands.shown import Column
from core.commands.table import Context, command
from core.engine.identity import engine_name
from storage.database import Database, Role
from storage.queries import agents as agent_rows
from storage.queries import status as rows
from storage.source import find_database, open_database

LEAST_PYTHON = (3, 11)
LEAST_GIT = (2, 39)
LEAST_BYTES = 2_000_000_000
"""Free room on the disk below which work is likely to fail."""

Answer = Literal["ok", "missing", "failed", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``needed``: without it Quarterdeck does not work; ``hint`` is the remedy."""

    part: str
    status: Answer
    detail: str
    hint: str = ""
    needed: bool = True
    columns: ClassVar[tuple[Column, ...]] = (
        Column("part", "part", "key"),
        Column("status", "status", "state"),
        Column("what was found", "words", folds=True),
    )

    @property
    def words(self) -> str:
        """What was found, with the remedy."""
        return f"{self.detail}; {self.hint}" if self.hint else self.detail

    @property
    def exit_status(self) -> int:
        """1 when something is missing that is needed."""
        return 1 if self.needed and self.status in ("missing", "failed") else 0


@command("doctor", role=Role.VIEWER, offline=True)
async def doctor(
    ctx: Context, *, quick: Annotated[bool, "do not try the adapters out, only look whether they are there"] = False
) -> list[Finding]:
    """Say what works here: database, git, sandboxes, each adapter.

    Each adapter that is installed does a small job with a scripted model, without key and network. The exit code is 1
    when something is missing that is needed; that an adapter is missing or fails counts only when an enabled agent
    uses it.
    """
    used: set[str] = set()
    findings = [_python(), _config(ctx), await _git(), _disk(ctx.paths.state)]
    try:
        db = await open_database(find_database(ctx.paths, ctx.environ))
    except QuarterdeckError as error:
        findings.append(Finding("database", "failed", error.message, error.hint))
    else:
        try:
            findings += await _database(ctx, db)
            used = await _used_adapters(ctx, db)
        except QuarterdeckError as error:
            findings.append(Finding("database", "failed", error.message, error.hint))
        finally:
            await db.close()
    findings += _sandboxes(ctx)
    return findings + await _adapters(ctx, used, quick=quick)


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] < LEAST_PYTHON:
        return Finding("python", "failed", version, "Quarterdeck needs Python 3.11 or newer")
    return Finding("python", "ok", f"{version} ({sys.executable})")


def _config(ctx: Context) -> Finding:
    path = config_file(ctx.paths, ctx.environ)
    try:
        values = read_config(ctx.paths, ctx.environ)
    except QuarterdeckError as error:
        return Finding("configuration", "failed", error.message, error.hint)
    return Finding(
        "configuration",
        "ok",
        f"{path}, {len(values)} settings" if path.exists() else f"{path} is not there: defaults",
    )


async def _git() -> Finding:
    text = await _first_line("git", "--version")
    found = re.search(r"(\d+)\.(\d+)(?:\.\d+)*", text or "")
    if not found:
        return Finding("git", "missing", "git was not found", "install git 2.39 or newer")
    if (int(found[1]), int(found[2])) < LEAST_GIT:
        return Finding("git", "failed", found[0], "Quarterdeck needs git 2.39 or newer")
    return Finding("git", "ok", f"{found[0]} ({shutil.which('git')})")


def _disk(state: Path) -> Finding:
    folder = next(folder for folder in (state, *state.parents) if folder.is_dir())
    free = shutil.disk_usage(folder).free
    shown = f"{free / 1e9:.1f} GB free for {state}"
    if not os.access(folder, os.W_OK):
        return Finding("disk", "failed", f"{folder} may not be written", "set QD_HOME to a folder of yours")
    if free < LEAST_BYTES:
        return Finding("disk", "failed", shown, "make room: worktrees and logs need some gigabytes", needed=False)
    return Finding("disk", "ok", shown)


async def _database(ctx: Context, db: Database) -> list[Finding]:
    from storage.server import server_dsn

    source = find_database(ctx.paths, ctx.environ)
    async with db.transaction(ctx.who) as connection:
        version = await rows.server_version(connection)
        vector = await rows.vector_version(connection)
        engine = await rows.engine_by_name(connection, engine_name(ctx.paths.state))
    ours = source.embedded or source.dsn.endswith(
        server_dsn(ctx.paths).partition("?")[2]
    )  # by address too: the demonstration
    mode = "embedded" if ours else "external"
    found = [Finding("database", "ok", f"Postgres {version}, {mode} ({source.shown})")]
    if vector:
        found.append(Finding("pgvector", "ok", vector))
    else:
        found.append(Finding("pgvector", "missing", "the server does not offer it", "install pgvector there"))
    if engine is not None and engine.alive:
        found.append(
            Finding("engine", "ok", f"{engine.state}, pid {engine.pid}, up to {engine.max_parallel} runs", needed=False)
        )
    else:
        found.append(Finding("engine", "note", "none runs on this host", "start it with `qd up`", needed=False))
    return found


async def _used_adapters(ctx: Context, db: Database) -> set[str]:
    async with db.transaction(ctx.who) as connection:
        return {agent.adapter for agent in await agent_rows.list_agents(connection) if agent.enabled}


def _sandboxes(ctx: Context) -> Iterable[Finding]:
    """Which programs that fence work in are there; none of them is needed."""
    for part, program in (("bubblewrap", "bwrap"), ("docker", "docker"), ("podman", "podman")):
        path = shutil.which(program, path=ctx.environ.get("PATH", os.defpath))
        yield Finding(f"sandbox {part}", "ok" if path else "note", path or "not installed", needed=False)


async def _adapters(ctx: Context, used: set[str], *, quick: bool) -> list[Finding]:
    from core.agents.adapter import adapters

    try:
        found = adapters(ctx.paths, ctx.environ)
    except QuarterdeckError as error:
        return [Finding("adapters", "failed", error.message, error.hint)]
    findings = []
    for adapter in found:
        part, needed = f"adapter {adapter.name}", adapter.name in used
        program = adapter.find(ctx.environ)
        if program is None:
            findings.append(
                Finding(part, "missing" if needed else "note", "its program is not installed", needed=needed)
            )
        elif quick:
            findings.append(Finding(part, "ok", str(program), needed=needed))
        else:
            check = await adapter.check(ctx.environ)
            detail = f"{check.version}: {check.detail}" if check.version else check.detail
            findings.append(Finding(part, "ok" if check.ok else "failed", detail, needed=needed))
    return findings


async def _first_line(*argv: str) -> str | None:
    """What a program prints first; None when it is not there or says nothing within 10 s."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(10):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
    return output.decode("utf-8", "replace").strip().split("\n")[0]
