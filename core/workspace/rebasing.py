"""Brings a branch onto a base that has moved.

Only the worktree of the task is used. Whatever happens, a conflict or the end of the engine, it stands afterwards
either on the new base or exactly as before.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from config.errors import ConflictError
from core.workspace.checkout import Worktree, admin_place, is_commit_name, place, write_record
from core.workspace.git import LONG, GitError, git, identity
from core.workspace.locks import locked
from core.workspace.snapshot import clear_half_done

_MARK = "qd-rebase"
_LOCK = "qd-rebase.lock"
_MAX_TEXT = 100_000


@dataclass(frozen=True, slots=True)
class RebaseResult:
    """How a rebase ended. On a conflict ``worktree`` and ``head`` are as before, ``files`` and ``text`` tell of
    it."""

    ok: bool
    worktree: Worktree
    """With the new base, where it went well."""
    head: str
    files: tuple[str, ...] = ()
    text: str = ""


async def rebase(worktree: Worktree, onto: str) -> RebaseResult:
    """Put the branch's own commits on ``onto``. A branch that contains merges is merged with it instead, for
    replaying its commits one by one would drop what was settled in them.

    Raises ``ConflictError`` when the worktree has uncommitted changes or is not on its branch.
    """
    if not worktree.git_dir.is_dir():
        raise GitError("rebase", -1, f"{worktree.repo.git_dir} has forgotten the worktree {worktree.path}")
    async with locked(worktree.git_dir, _LOCK) as lock:
        await _restore(worktree)
        return await _rebase(worktree, onto, lock)


async def restore_after_crash(worktree: Worktree) -> None:
    """Undo a rebase of ours that did not come to its end, if there is one; waits for a git that still works on it."""
    if (worktree.git_dir / _MARK).exists():
        async with locked(worktree.git_dir, _LOCK):
            await _restore(worktree)


async def head_of(worktree: Worktree) -> str:
    """The tip of the worktree's branch."""
    return (await git("rev-parse", "--verify", worktree.ref, at=worktree.repo.place)).text


async def _rebase(worktree: Worktree, onto: str, lock: int) -> RebaseResult:
    before = await head_of(worktree)
    moved = replace(worktree, base_commit=onto)
    if await _is_ancestor(worktree, onto, before):
        write_record(moved)
        return RebaseResult(ok=True, worktree=moved, head=before)
    await _require_clean(worktree)
    merges = await git("rev-list", "--max-count=1", "--merges", f"{onto}..{before}", at=worktree.repo.place)
    await _mark(worktree, before)
    conflict: tuple[tuple[str, ...], str] | None = None
    try:
        conflict = await (_merge if merges.stdout else _replay)(worktree, onto, lock)
    except BaseException:
        await _restore(worktree)
        raise
    if conflict is not None:
        await _restore(worktree)
        return RebaseResult(ok=False, worktree=worktree, head=before, files=conflict[0], text=conflict[1])
    (worktree.git_dir / _MARK).unlink()
    write_record(moved)
    return RebaseResult(ok=True, worktree=moved, head=await head_of(worktree))


async def _restore(worktree: Worktree) -> None:
    mark = worktree.git_dir / _MARK
    try:
        before, *untracked = os.fsdecode(mark.read_bytes()).split("\0")
    except FileNotFoundError:
        return
    if is_commit_name(before):
        at = place(worktree)
        clear_half_done(worktree)
        await git("update-ref", "-m", "quarterdeck: restored", worktree.ref, before, at=worktree.repo.place)
        await git("symbolic-ref", "HEAD", worktree.ref, at=admin_place(worktree))
        await git("reset", "--quiet", "--hard", before, at=at, timeout=LONG)
        for name in set(await _untracked(worktree)) - set(untracked):
            _delete(worktree, name)
    mark.unlink()


async def _mark(worktree: Worktree, before: str) -> None:
    """Note how to undo what begins now. Files that git wrote before it was stopped are known by not having been
    there."""
    mark = worktree.git_dir / _MARK
    scratch = mark.with_suffix(".new")
    scratch.write_bytes(os.fsencode("\0".join([before, *await _untracked(worktree)])))
    scratch.replace(mark)


async def _untracked(worktree: Worktree) -> list[str]:
    return (await git("ls-files", "--others", "--exclude-standard", "-z", at=place(worktree), timeout=LONG)).fields


def _delete(worktree: Worktree, name: str) -> None:
    path = worktree.path / name
    if name.endswith("/"):  # a repository: git makes none here
        return
    path.unlink(missing_ok=True)
    for folder in path.parents:
        if folder == worktree.path or any(folder.iterdir()):
            return
        folder.rmdir()


async def _replay(worktree: Worktree, onto: str, lock: int) -> tuple[tuple[str, ...], str] | None:
    # Where the base was rewritten, what was taken out of it must not come back as the branch's own commits.
    rewritten = not await _is_ancestor(worktree, worktree.base_commit, onto)
    own = rewritten and await _is_ancestor(worktree, worktree.base_commit, worktree.ref)
    upstream = worktree.base_commit if own else onto
    return await _attempt(
        worktree, lock, "rebase", "--merge", "--no-autostash", "--no-autosquash", "--no-fork-point",
        "--no-rebase-merges", "--no-stat", "--empty=drop", "--onto", onto, upstream,
    )  # fmt: skip


async def _merge(worktree: Worktree, onto: str, lock: int) -> tuple[tuple[str, ...], str] | None:
    message = f"Merge {onto[:12]} into {worktree.branch}"
    return await _attempt(
        worktree, lock, "merge", "--no-ff", "--no-stat", "--no-autostash", "--no-log", "-m", message, onto
    )


async def _attempt(worktree: Worktree, lock: int, *command: str) -> tuple[tuple[str, ...], str] | None:
    """None where the command went well, else the files in conflict and what there is to say about them."""
    at = place(worktree)
    settings = (
        "merge.conflictStyle=merge",
        "merge.verifySignatures=false",
        "rebase.missingCommitsCheck=ignore",
        "rebase.autoStash=false",
    )
    said = await git(
        *command,
        at=at,
        settings=settings,
        environment=await identity(at),
        timeout=LONG,
        accept=(0, 1, 2, 128),
        holding=(lock,),
    )
    if said.status == 0:
        return None
    listed = await git("diff", "--name-only", "--diff-filter=U", "-z", *_QUIET, at=at)
    files = tuple(sorted({name.encode("utf-8", "replace").decode() for name in listed.fields}))
    if not files:
        raise GitError(command[0], said.status, said.stderr.strip()[-2000:])
    lines = [line for line in said.text.splitlines() if line.startswith("CONFLICT")]
    patch = await git("diff", *_QUIET, at=at, max_bytes=_MAX_TEXT, accept=(0, 1))
    return files, "\n".join([*lines, patch.text.replace("\0", "\ufffd")])


_QUIET: Sequence[str] = ("--no-ext-diff", "--no-textconv", "--ignore-submodules=all")


async def _require_clean(worktree: Worktree) -> None:
    shown = await git(
        "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all", at=place(worktree), timeout=LONG
    )
    if shown.stdout:
        raise ConflictError(f"{worktree.path} has uncommitted changes", "commit them to its branch before the rebase")
    where = await git("symbolic-ref", "--quiet", "HEAD", at=place(worktree), accept=(0, 1))
    if where.text != worktree.ref:
        raise ConflictError(
            f"{worktree.path} is not on its branch {worktree.branch}", "commit its work to the branch first"
        )


async def _is_ancestor(worktree: Worktree, older: str, newer: str) -> bool:
    asked = await git("merge-base", "--is-ancestor", older, newer, at=worktree.repo.place, accept=(0, 1))
    return asked.status == 0
