"""`qd worktree`: the leftovers of work on this host."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, ClassVar

from config.errors import ConflictError, NotFoundError, UsageError
from core.commands.shown import Column
from core.commands.table import Context, command
from core.tasks.states import ENDED
from core.workspace import leftovers as workspace
from core.workspace.leftovers import Leftover
from storage.database import Role
from storage.queries.engine import worktree_owners


@dataclass(frozen=True, slots=True)
class LeftoverView:
    """A worktree that no task needs any more."""

    path: Path
    project: str
    branch: str | None
    size_bytes: int
    modified_at: datetime
    unmerged: bool
    """It holds work that is nowhere else."""
    salvaged: bool
    """All such work is kept under ``refs/qd/salvage``."""

    columns: ClassVar[tuple[Column, ...]] = (
        Column("worktree", "path", "key"),
        Column("branch", "branch"),
        Column("size", "size_bytes", "bytes"),
        Column("changed", "modified_at", "time"),
        Column("unmerged", "unmerged", "yes"),
        Column("salvaged", "salvaged", "yes"),
    )
    empty: ClassVar[str] = "No leftover worktrees."


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A leftover that was removed, and where its work is kept if it was nowhere else."""

    path: Path
    size_bytes: int
    snapshot: str | None
    kept: str | None
    """Why it stays, where it could not be removed."""

    columns: ClassVar[tuple[Column, ...]] = (
        Column("worktree", "path", "key"),
        Column("size", "size_bytes", "bytes"),
        Column("work kept in", "snapshot"),
        Column("stays because", "kept"),
    )
    empty: ClassVar[str] = "Nothing to clean."


@command("worktree.list", role=Role.VIEWER)
async def list_worktrees(ctx: Context) -> list[LeftoverView]:
    """List worktrees on this host that no task needs any more, the oldest first."""
    return [_view(item) for item in await _found(ctx)]


@command("worktree.clean", role=Role.SUPERVISOR, destructive=True)
async def clean(
    ctx: Context,
    path: Annotated[tuple[Path, ...], "Only these; without one, all that are old enough"] = (),
    *,
    older_than: Annotated[
        float | None, "Only what did not change for so many days; the setting worktree.keep_days without this"
    ] = None,
) -> list[Cleaned]:
    """Remove leftover worktrees; work that is nowhere else is kept under refs/qd/salvage first."""
    if older_than is not None and older_than < 0:
        raise UsageError(f"older-than {older_than:g}: must be 0 or more days")
    found = {item.path: item for item in await _found(ctx)}
    if path:
        chosen = [_named(found, (ctx.cwd / one).resolve()) for one in path]
    else:
        days = ctx.settings.worktree.keep_days if older_than is None else older_than
        chosen = [item for item in found.values() if item.modified_at <= ctx.now() - timedelta(days=days)]
    return [await _clean(item) for item in chosen]


def _named(found: dict[Path, Leftover], path: Path) -> Leftover:
    if path not in found:
        raise NotFoundError(f"{path} is no leftover worktree", "see `qd worktree list`")
    return found[path]


async def _clean(item: Leftover) -> Cleaned:
    try:
        return Cleaned(item.path, item.size_bytes, await workspace.clean(item), None)
    except ConflictError as error:
        return Cleaned(item.path, item.size_bytes, None, error.sentence())


async def _found(ctx: Context) -> list[Leftover]:
    folders = await asyncio.to_thread(_folders, ctx.paths.worktrees)
    async with ctx.db.transaction(ctx.who) as connection:
        owners = await worktree_owners(connection, [str(path) for path in folders])
    needed = {path for path in folders if str(path) in owners and owners[str(path)][0] not in ENDED}
    return await workspace.leftovers(ctx.paths.worktrees, needed)


def _folders(root: Path) -> list[Path]:
    return [path for path in root.glob("*/*") if path.is_dir()] if root.is_dir() else []


def _view(item: Leftover) -> LeftoverView:
    return LeftoverView(
        item.path, item.path.parent.name, item.branch, item.size_bytes, item.modified_at, item.unmerged, item.salvaged
    )
