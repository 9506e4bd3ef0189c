"""What changed between two commits; nothing that a repository configures for showing diffs is run."""

import os
from dataclasses import dataclass

from core.workspace.checkout import Worktree
from core.workspace.content import looking_on, write_passing_tree
from core.workspace.git import LONG, Place, git
from core.workspace.repository import Repository

_PLAIN = (
    "--no-ext-diff",
    "--no-textconv",
    "--no-color",
    "--find-renames",
    "--submodule=short",
    "--ignore-submodules=dirty",
)
MAX_FILES = 10_000


@dataclass(frozen=True, slots=True)
class FileStat:
    """One changed file; lines are None for a binary one."""

    path: str
    insertions: int | None
    deletions: int | None


@dataclass(frozen=True, slots=True)
class DiffStat:
    """The size of a change; ``files`` holds at most 10,000 of them."""

    files_changed: int
    insertions: int
    deletions: int
    files: tuple[FileStat, ...]


async def diff_stat(where: Worktree | Repository, base: str, head: str) -> DiffStat:
    """Count what changed from one commit to another."""
    listed = await git(
        "diff-tree", "-r", "-z", "--numstat", *_PLAIN, "--end-of-options", base, head, at=_place(where), timeout=LONG
    )
    fields = iter(listed.stdout.split(b"\0"))
    files = []
    for field in fields:
        if field:
            added, removed, name = field.split(b"\t", 2)
            if not name:  # a rename: the old name and the new one follow
                next(fields)
                name = next(fields)
            files.append(FileStat(_shown(name), _count(added), _count(removed)))
    return DiffStat(
        len(files),
        sum(file.insertions or 0 for file in files),
        sum(file.deletions or 0 for file in files),
        tuple(files[:MAX_FILES]),
    )


async def diff(where: Worktree | Repository, base: str, head: str, *, max_bytes: int, context: int = 3) -> str:
    """The change as a patch, with ``context`` unchanged lines around each part of it.

    It is cut at a line when it is longer than ``max_bytes``; the last line then says so.
    """
    return await _patch(_place(where), base, head, max_bytes, context)


async def diff_so_far(worktree: Worktree, *, max_bytes: int, context: int = 3) -> str:
    """What a commit of the worktree as it is now would change of its base, as :func:`diff` shows it: what is committed, what is
    not, and new files that are not ignored. Leaves no trace in the repository."""
    with looking_on(worktree) as at:
        return await _patch(at, worktree.base_commit, await write_passing_tree(worktree, at), max_bytes, context)


async def _patch(at: Place, base: str, head: str, max_bytes: int, context: int) -> str:
    output = await git(
        "diff-tree", "-p", f"--unified={context}", *_PLAIN, "--src-prefix=a/", "--dst-prefix=b/", "--end-of-options", base, head,
        at=at, timeout=LONG, max_bytes=max_bytes,
    )  # fmt: skip
    text = output.stdout.decode("utf-8", "replace").replace("\0", "\ufffd")
    if not output.truncated:
        return text
    return text[: text.rfind("\n") + 1] + f"… cut after {max_bytes} bytes\n"


def _place(where: Worktree | Repository) -> Place:
    return (where.repo if isinstance(where, Worktree) else where).place


def _count(field: bytes) -> int | None:
    return None if field == b"-" else int(field)


def _shown(name: bytes) -> str:
    return os.fsdecode(name).encode("utf-8", "replace").decode("utf-8")
