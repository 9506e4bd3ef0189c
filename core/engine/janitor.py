"""Clears away what work has left behind: worktrees of tasks that are over, processes without a run, old run folders,
events of runs that were deleted.

Nothing that is not merged is removed before it is kept as a snapshot under ``refs/qd/salvage``.
"""

import asyncio
import logging
import shutil
import time
from pathlib import Path
from uuid import UUID

from config.errors import QuarterdeckError
from core.agents.adapter import adapters
from core.engine.life import stop_processes
from core.engine.prompt import base_environment
from core.engine.runtime import Runtime
from core.keeper import client as keeper
from core.verify.gates import Shell, run_command
from core.workspace import leftovers, worktree
from core.workspace.project_file import read_project_file_at
from core.workspace.worktree import Worktree
from storage.queries import engine as rows
from storage.queries import leavings

log = logging.getLogger("qd.engine")
OVER = ("completed", "failed", "cancelled")


async def clear_worktrees(runtime: Runtime) -> None:
    """Remove the worktrees of tasks that are over. One that somebody works in is left for the next time."""
    for path in await asyncio.to_thread(_worktrees, runtime.paths.worktrees):
        lock = runtime.lock(path)
        if lock.locked():
            continue
        async with lock:
            owner = (await runtime.persist(rows.worktree_owners, [str(path)])).get(str(path))
            if owner and owner[0] in OVER:
                try:
                    await _clear(runtime, path, *owner)
                except QuarterdeckError as error:
                    log.warning("worktree %s stays: %s", path, error.sentence())


async def _clear(runtime: Runtime, path: Path, status: str, run_id: UUID, repository_path: str) -> None:
    repo = await runtime.repository(repository_path)
    tree = await worktree.reopen(repo, path)
    if tree is None:
        return  # nobody knows what it holds: it is shown among the leftovers, and a person decides
    await _tear_down(runtime, tree, run_id)
    if status != "completed":
        await worktree.salvage(tree, str(run_id))
    await worktree.remove(tree, merged_or_salvaged=True, delete_branch=True)
    for adapter in adapters(runtime.paths, runtime.environ):
        await asyncio.to_thread(shutil.rmtree, adapter.state_of(path), ignore_errors=True)


async def _tear_down(runtime: Runtime, tree: Worktree, run_id: UUID) -> None:
    try:
        commands = (await read_project_file_at(tree.repo, tree.base_commit)).teardown
    except QuarterdeckError:
        return
    folder = runtime.paths.runs / str(run_id)
    for position, command in enumerate(commands, start=1):
        shell = Shell(
            folder=folder,
            sockets=runtime.paths.sockets,
            worktree=tree.path,
            env=base_environment(runtime.environ) | {"QD_WORKTREE": str(tree.path), "QD_BRANCH": tree.branch},
            mark=str(run_id),
            seconds=runtime.settings.run.gate_seconds,
        )
        result = await run_command(shell, f"teardown-{position}", command, runtime.pokes.of(folder))
        if result.status != "passed":
            log.warning("teardown command %r of %s failed: %s", command, tree.path, result.output[-500:])
    runtime.pokes.forget(folder)


async def sweep_processes(runtime: Runtime, held: set[str]) -> None:
    """End what runs below our runs folder without being a live run of this engine. ``held``: runs in its hands."""
    suspects = [name for name in await asyncio.to_thread(_unfinished, runtime.paths.runs) if name not in held]
    if not suspects:
        return
    known = await runtime.persist(rows.runs_by_id, suspects)
    for name in suspects:
        status, engine = known.get(name, ("lost", runtime.engine))
        if status in ("starting", "running", "verifying") and engine == runtime.engine:
            continue
        folder = runtime.paths.runs / name
        await stop_processes(folder, runtime.paths.sockets / f"r{UUID(name).hex[-20:]}.sock", name, "it has no run")
        (folder / "swept").touch()


async def prune(runtime: Runtime, held: set[str]) -> None:
    """Remove run folders that are older than the settings keep them, leftover worktrees beyond age and quota, and the
    events of runs that were deleted.
    """
    async with runtime.db.connection() as connection:
        for run in await leavings.runs_left_behind(connection):
            await leavings.delete_events(connection, run)
    settings = runtime.settings.worktree
    oldest = time.time() - settings.keep_days * 86400
    for folder in await asyncio.to_thread(_older_than, runtime.paths.runs, oldest):
        if folder.name not in held and not keeper.alive(folder):
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    async with runtime.db.connection() as connection:
        found = await asyncio.to_thread(_worktrees, runtime.paths.worktrees)
        owners = await rows.worktree_owners(connection, [str(path) for path in found])
    known = {path for path in found if str(path) in owners and owners[str(path)][0] not in OVER}
    left = sorted(await leftovers.leftovers(runtime.paths.worktrees, known), key=lambda item: item.modified_at)
    size = sum(item.size_bytes for item in left)
    for item in left:
        lock = runtime.lock(runtime.paths.worktrees / item.path.parent.name / item.path.name)
        if lock.locked() or (item.modified_at.timestamp() >= oldest and size <= settings.quota_bytes):
            continue
        async with lock:
            try:
                await leftovers.clean(item)
            except QuarterdeckError as error:
                log.warning("%s stays: %s", item.path, error.sentence())
            else:
                size -= item.size_bytes


def _worktrees(root: Path) -> list[Path]:
    return [path for path in root.glob("*/*") if path.is_dir()] if root.is_dir() else []


def _unfinished(runs: Path) -> list[str]:
    """Run folders whose agent or gate may still have processes."""
    if not runs.is_dir():
        return []
    names = []
    for folder in runs.iterdir():
        if not folder.is_dir() or (folder / "swept").exists():
            continue
        if not (folder / "exit.json").exists() or keeper.alive(folder):
            try:
                UUID(folder.name)
            except ValueError:
                continue
            names.append(folder.name)
    return names


def _older_than(runs: Path, oldest: float) -> list[Path]:
    if not runs.is_dir():
        return []
    return [folder for folder in runs.iterdir() if folder.is_dir() and folder.stat().st_mtime < oldest]
