"""Worktrees that no task needs any more: found, measured, and cleaned without losing work."""

import asyncio
import os
import re
from collections.abc import Iterator, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from config.errors import ConflictError
from core.workspace.checkout import record_path, recorded
from core.workspace.git import GitError
from core.workspace.snapshot import OUR_BRANCHES, SNAPSHOTS, salvage, would_be_lost
from core.workspace.worktree import delete_folder, remove


@dataclass(frozen=True, slots=True)
class Leftover:
    """A folder among the worktrees that no task is known to need."""

    path: Path
    size_bytes: int
    """What it takes on the disk."""
    modified_at: datetime
    """The latest change of anything in it."""
    branch: str | None
    """None where it is not known whose it is."""
    unmerged: bool
    """It holds work that neither another branch nor a remote has; also said of what cannot be looked into."""
    salvaged: bool
    """All such work is in snapshots."""


async def leftovers(worktrees_root: Path, known: Set[Path]) -> list[Leftover]:
    """The folders ``<root>/<project>/<worktree>`` that are not in ``known``, the oldest first."""
    wanted = {path.parent.resolve() / path.name for path in known}
    folders = await asyncio.to_thread(_folders, worktrees_root)
    found = [await _examine(path) for path in folders if path not in wanted]
    return sorted((leftover for leftover in found if leftover), key=lambda leftover: leftover.modified_at)


async def clean(leftover: Leftover) -> str | None:
    """Remove a leftover and its branch, after a snapshot of what would be lost; returns the ref of the snapshot, if
    one was needed.

    Raises ``ConflictError`` for a folder that may hold work but of which no repository is known.
    """
    worktree = recorded(leftover.path)
    if worktree is None:
        if await asyncio.to_thread(_holds_files, leftover.path):
            raise ConflictError(
                f"{leftover.path} belongs to no repository that is known, so its work cannot be saved",
                "look into it and delete it",
            )
        await asyncio.to_thread(delete_folder, leftover.path)
        record_path(leftover.path).unlink(missing_ok=True)
        return None
    ref = await salvage(worktree, _snapshot_name(leftover))
    await remove(worktree, merged_or_salvaged=True, delete_branch=True)
    if leftover.path.exists():
        raise ConflictError(
            f"not all of {leftover.path} could be deleted; its work is saved", f"run: sudo rm -rf '{leftover.path}'"
        )
    return ref


async def _examine(path: Path) -> Leftover | None:
    """None for a folder that somebody removes at this moment."""
    try:
        size, modified = await asyncio.to_thread(_measure, path)
    except FileNotFoundError:
        return None
    worktree = recorded(path)
    unmerged, salvaged = True, False
    if worktree is not None:
        try:
            unmerged = await would_be_lost(worktree, ignoring=(OUR_BRANCHES, SNAPSHOTS))
            salvaged = unmerged and not await would_be_lost(worktree, ignoring=(OUR_BRANCHES,))
        except GitError:
            pass  # what git cannot read is shown, and not cleaned without a look
    elif not await asyncio.to_thread(_holds_files, path):
        unmerged = False
    branch = worktree.branch if worktree else None
    return Leftover(path, size, datetime.fromtimestamp(modified, UTC), branch, unmerged, salvaged)


def _folders(root: Path) -> list[Path]:
    root = root.resolve()
    if not root.is_dir():
        return []
    projects = [entry for entry in sorted(root.iterdir()) if entry.is_dir() and not entry.is_symlink()]
    return [
        path
        for project in projects
        for path in sorted(project.iterdir())
        if path.is_dir() and not path.is_symlink() and not path.name.startswith(".")
    ]


def _measure(path: Path) -> tuple[int, float]:
    size, modified = 0, path.lstat().st_mtime
    for state in _states(path):
        size += state.st_blocks * 512
        modified = max(modified, state.st_mtime)
    return size, modified


def _states(path: Path) -> Iterator[os.stat_result]:
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            try:
                yield (Path(folder) / name).lstat()
            except OSError:
                continue


def _holds_files(path: Path) -> bool:
    return any(files for _, _, files in os.walk(path))


def _snapshot_name(leftover: Leftover) -> str:
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", f"{leftover.path.parent.name}-{leftover.path.name}").strip("-")
    return f"leftover-{name[:60]}-{leftover.modified_at:%Y%m%d%H%M%S}"
