"""Worktrees: made, taken up again, removed. The door to all that can be done with one."""

import asyncio
import contextlib
import os
import re
import shutil
import stat
import unicodedata
from dataclasses import replace
from pathlib import Path

from config.errors import ConflictError
from core.workspace.checkout import (
    Worktree,
    administrative,
    find_administrative,
    record_path,
    recorded,
    write_record,
)
from core.workspace.diff import DiffStat, FileStat, diff, diff_so_far, diff_stat
from core.workspace.git import LONG, GitError, git
from core.workspace.include import include
from core.workspace.locks import locked
from core.workspace.rebasing import RebaseResult, head_of, rebase, restore_after_crash
from core.workspace.repository import Repository
from core.workspace.snapshot import OUR_BRANCHES, commit_all, salvage, unlock_branch, would_be_lost
from core.workspace.submodules import update_submodules

__all__ = [
    "BranchInUseError",
    "DiffStat", "FileStat", "RebaseResult", "Worktree", "at", "branch_name", "commit_all", "create", "diff",
    "diff_so_far", "diff_stat", "head", "include", "is_empty_change", "rebase", "remove", "reopen", "salvage", "update_submodules",
    "would_be_lost",
]  # fmt: skip

_SLUG_LENGTH = 40

head = head_of


class BranchInUseError(ConflictError):
    """The branch is checked out in another worktree: of another engine that shares the repository, say."""


def branch_name(number: int, title: str) -> str:
    """The branch of a task, ``qd/<number>-<slug>``: ASCII and a valid name of a ref, whatever the title."""
    plain = unicodedata.normalize("NFKD", title[:1000]).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if len(slug) > _SLUG_LENGTH:
        cut = slug[: _SLUG_LENGTH + 1]
        slug = (cut[: cut.rfind("-")] if "-" in cut[20:] else cut[:_SLUG_LENGTH]).strip("-")
    return f"qd/{number}-{slug or 'task'}"


async def create(repo: Repository, path: Path, branch: str, commit: str) -> Worktree:
    """Make a worktree at ``path`` on a new branch that starts at ``commit``.

    What an earlier attempt left is taken up: the branch as it is, and a worktree of that branch at that very path.
    Raises ``ConflictError`` when the path is in use for something else, ``BranchInUseError`` when the branch is.
    """
    path = path.parent.resolve() / path.name
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = Worktree(repo, path, branch, commit, repo.git_dir)
    async with locked(repo.git_dir) as lock:
        if not path.exists():
            write_record(fresh)
            added = await _add(lock, fresh, "-b", branch, str(path), commit)
            if added is None:
                return replace(fresh, git_dir=_admin_of_new(repo, path))
        try:
            return await _take_up(lock, fresh)
        except BaseException:
            if not path.exists():
                record_path(path).unlink(missing_ok=True)
            raise


async def reopen(repo: Repository, path: Path) -> Worktree | None:
    """The worktree at ``path`` as it was made, a rebase of ours that a crash interrupted undone; None if there is none.

    One that the repository has forgotten (``git worktree prune``) can still be salvaged and removed.
    """
    worktree = recorded(path.parent.resolve() / path.name)
    if worktree is None or worktree.repo.git_dir != repo.git_dir or not worktree.present:
        return None
    worktree = replace(worktree, repo=repo)
    await restore_after_crash(worktree)
    return worktree


def at(repo: Repository, path: Path) -> Worktree | None:
    """The worktree at ``path`` to look at, as it is; None where it is not on this host, or is not of this repository."""
    worktree = recorded(path)
    return worktree if worktree is not None and worktree.repo.git_dir == repo.git_dir and worktree.present else None


async def is_empty_change(worktree: Worktree) -> bool:
    """Whether the branch holds the very content of its base."""
    trees = await git(
        "rev-parse", f"{worktree.ref}^{{tree}}", f"{worktree.base_commit}^{{tree}}", at=worktree.repo.place
    )
    ours, base = trees.text.splitlines()
    return ours == base


async def remove(worktree: Worktree, *, merged_or_salvaged: bool, delete_branch: bool = False) -> None:
    """Remove the folder, what the repository knows of it and, where asked, the branch.

    Raises ``ConflictError`` when that would lose work, unless the caller knows it ``merged_or_salvaged``. Files that
    may not be deleted (made as root from inside a container) stay behind in the folder; the worktree is gone
    nonetheless.
    """
    if not merged_or_salvaged:
        gone = (OUR_BRANCHES,) if delete_branch else ()
        if await would_be_lost(worktree, ignoring=gone):
            raise ConflictError(f"{worktree.path} holds work that is saved nowhere else", "salvage it first")
    await asyncio.to_thread(delete_folder, worktree.path)
    async with locked(worktree.repo.git_dir):
        _forget(worktree.repo, worktree.path)
        if delete_branch:
            unlock_branch(worktree)
            # git refuses, rightly, while the person has it checked out to look at it
            await git("branch", "--quiet", "-D", worktree.branch, at=worktree.repo.place, accept=(0, 1, 128))
    record_path(worktree.path).unlink(missing_ok=True)


def delete_folder(path: Path) -> bool:
    """Delete a folder, also what is write-protected in it; tells whether all of it could be deleted."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        with contextlib.suppress(OSError):
            path.chmod(stat.S_IRWXU)
        for folder, folders, _ in os.walk(path):  # opens each folder before it is entered
            for entry in (Path(folder) / name for name in folders):
                if not entry.is_symlink():
                    with contextlib.suppress(OSError):
                        entry.chmod(stat.S_IRWXU)
        shutil.rmtree(path, ignore_errors=True)
    return not path.exists()


async def _add(lock: int, worktree: Worktree, *what: str) -> GitError | None:
    try:
        await git("worktree", "add", "--quiet", *what, at=worktree.repo.place, timeout=LONG, holding=(lock,))
    except GitError as error:
        if error.status is None:
            raise
        return error
    return None


def _admin_of_new(repo: Repository, path: Path) -> Path:
    """The administrative folder of a worktree that no agent has been in yet: its own pointer can be trusted, after a
    look."""
    pointer = os.fsdecode((path / ".git").read_bytes()).removeprefix("gitdir: ").removesuffix("\n")
    admin = Path(pointer)
    if admin.parent.resolve() == (repo.git_dir / "worktrees").resolve() and admin.is_dir():
        return admin
    found = find_administrative(repo.git_dir, path)
    if found is None:
        raise GitError("worktree", 0, f"{repo.git_dir} does not know the new worktree {path}")
    return found


async def _take_up(lock: int, fresh: Worktree) -> Worktree:
    """Make the worktree where something of an earlier attempt stands in the way."""
    repo, path = fresh.repo, fresh.path
    await _clear_unfinished(fresh)
    existing = await reopen(repo, path)
    if existing is not None and existing.branch == fresh.branch and existing.git_dir.is_dir():
        return existing
    if path.exists() and (path.is_symlink() or not path.is_dir() or any(path.iterdir())):
        raise ConflictError(f"{path} exists and is no worktree of {fresh.branch}", "move it away")
    _forget(repo, path)
    await _free_branch(fresh)
    known = await git("rev-parse", "--verify", "--quiet", fresh.ref, at=repo.place, accept=(0, 1))
    if known.status == 0:
        error = await _add(lock, fresh, str(path), fresh.branch)
        fork = await git("merge-base", fresh.ref, fresh.base_commit, at=repo.place, accept=(0, 1))
        fresh = replace(fresh, base_commit=fork.text or fresh.base_commit)
    else:
        error = await _add(lock, fresh, "-b", fresh.branch, str(path), fresh.base_commit)
    if error is not None:
        if "refs/heads/qd' exists" in error.detail:
            raise ConflictError(
                f"{repo.path} has a branch named qd, so that there can be no {fresh.branch}",
                "rename it: git branch -m qd …",
            ) from error
        raise error
    write_record(fresh)
    return replace(fresh, git_dir=_admin_of_new(repo, path))


async def _clear_unfinished(fresh: Worktree) -> None:
    """Delete a worktree whose making was cut short: no agent has been in it, and files are missing from it."""
    admin = find_administrative(fresh.repo.git_dir, fresh.path)
    try:
        unfinished = admin is not None and (admin / "locked").read_text("utf-8", "replace").strip() == "initializing"
    except OSError:
        return
    if unfinished and fresh.present:
        await asyncio.to_thread(delete_folder, fresh.path)


async def _free_branch(fresh: Worktree) -> None:
    """Forget worktrees of the branch whose folder is gone. Raises ``ConflictError`` where one is still there."""
    listed = await git("worktree", "list", "--porcelain", "-z", at=fresh.repo.place)
    where = None
    for field in listed.fields:
        if field.startswith("worktree "):
            where = Path(field.removeprefix("worktree "))
        elif field == f"branch {fresh.ref}" and where is not None:
            if where.exists():
                raise BranchInUseError(f"{fresh.branch} is checked out in {where}", "remove that worktree first")
            _forget(fresh.repo, where)


def _forget(repo: Repository, path: Path) -> None:
    """Make the repository forget the worktree at ``path`` and those that were made inside it."""
    path = path.parent.resolve() / path.name
    for admin, work_tree in list(administrative(repo.git_dir)):
        if work_tree.is_relative_to(path):
            shutil.rmtree(admin, ignore_errors=True)
