"""Keeps what is in a worktree: as a commit on its branch, or as a snapshot under ``refs/qd/salvage``.

Nothing of the agent's state has to be sound for that: its HEAD may be detached, a merge or rebase half done, its own
``.git`` rewritten, the folder gone.
"""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from config.errors import UsageError
from core.workspace.checkout import Worktree, admin_place, is_commit_name
from core.workspace.content import scratch_index, write_branch_tree, write_snapshot_tree
from core.workspace.git import Place, git, identity

SALVAGE = "refs/qd/salvage"
OUR_BRANCHES = "refs/heads/qd/*"
SNAPSHOTS = f"{SALVAGE}/*"
_HALF_DONE = (
    "MERGE_HEAD", "MERGE_MODE", "MERGE_MSG", "MERGE_RR", "AUTO_MERGE", "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD",
    "SQUASH_MSG", "rebase-merge", "rebase-apply", "sequencer", "BISECT_START", "BISECT_LOG", "BISECT_NAMES",
    "BISECT_TERMS", "BISECT_EXPECTED_REV", "BISECT_ANCESTORS_OK", "index.lock", "HEAD.lock",
)  # fmt: skip
_NAMED_BY_HALF_DONE = ("rebase-merge/orig-head", "rebase-apply/orig-head", "rebase-merge/autostash")
_PRIVATE = ("refs/bisect/*", "refs/rewritten/*", "refs/worktree/*")


@dataclass(frozen=True, slots=True)
class _Heads:
    """The commits that a worktree stands on; ``tip`` of its branch and ``head`` are None where they are missing."""

    tip: str | None
    head: str | None
    merging: tuple[str, ...]
    hidden: tuple[str, ...]
    """Commits that only half-done work names."""

    @property
    def all(self) -> list[str]:
        return list(dict.fromkeys(c for c in (self.tip, self.head, *self.merging, *self.hidden) if c))


async def commit_all(worktree: Worktree, message: str) -> str | None:
    """Bring everything in the worktree that is not ignored onto its branch, on top of all that branch and HEAD had.

    Afterwards HEAD is on the branch, the index agrees, and no merge or rebase is half done. Returns the new tip, None
    where the branch held everything already.
    """
    heads = await _heads(worktree)
    with scratch_index(worktree) as index:
        tree = await write_branch_tree(worktree, index)
        parents = await _independent(worktree, [heads.tip, heads.head, *heads.merging])
        commit = await _commit(worktree, tree, parents, message)
        if commit != heads.tip:
            unlock_branch(worktree)
            await _move(worktree, worktree.ref, commit, heads.tip)
        if worktree.git_dir.is_dir():
            clear_half_done(worktree)
            await git("symbolic-ref", "HEAD", worktree.ref, at=admin_place(worktree))
            index.replace(worktree.git_dir / "index")
    return commit if commit != heads.tip else None


async def salvage(worktree: Worktree, run_id: str) -> str | None:
    """Snapshot all that would be lost with the worktree and its branch, changing neither.

    Returns the name of the ref (``refs/qd/salvage/<run>``) that keeps it, None when nothing would be lost.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", run_id):
        raise UsageError(f"{run_id!r} cannot name a snapshot", "use letters, digits, - and _")
    ref = f"{SALVAGE}/{run_id}"
    earlier = (await git("rev-parse", "--verify", "--quiet", ref, at=worktree.repo.place, accept=(0, 1))).text or None
    heads = await _heads(worktree)
    tree = await _content(worktree)
    if not await _unsaved(worktree, heads, tree, (OUR_BRANCHES,)):
        return ref if earlier else None
    parents = await _independent(worktree, [earlier, *heads.all])
    commit = await _commit(worktree, tree, parents, f"Snapshot of {worktree.branch}")
    await _move(worktree, ref, commit, earlier)
    return ref


async def would_be_lost(worktree: Worktree, *, ignoring: Sequence[str] = (OUR_BRANCHES,)) -> bool:
    """Whether the worktree has content or commits that no ref keeps; refs that match a pattern in ``ignoring`` do not
    count."""
    return await _unsaved(worktree, await _heads(worktree), await _content(worktree), ignoring)


def clear_half_done(worktree: Worktree) -> None:
    """Forget merges, rebases and locks that were left half done in the worktree."""
    for name in _HALF_DONE:
        path = worktree.git_dir / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def unlock_branch(worktree: Worktree) -> None:
    """Take away the lock that a git of the agent, killed in the middle, has left on the branch of its worktree."""
    (worktree.repo.git_dir / f"{worktree.ref}.lock").unlink(missing_ok=True)


async def _unsaved(worktree: Worktree, heads: _Heads, tree: str | None, ignoring: Sequence[str]) -> bool:
    repo = worktree.repo.place
    if heads.all:
        uncounted = [f"--exclude={pattern}" for pattern in (*ignoring, *_PRIVATE)]
        loose = await git(
            "rev-list", "--max-count=1", *heads.all, "--not", worktree.base_commit, *uncounted, "--glob=refs/*", at=repo
        )
        if loose.stdout:
            return True
    if tree is None or tree in await _trees(worktree, heads.all):
        return False
    if SNAPSHOTS in ignoring:
        return True
    kept = await git("for-each-ref", "--format=%(tree)", f"{SALVAGE}/", at=repo)
    return tree not in kept.text.splitlines()


async def _content(worktree: Worktree) -> str | None:
    if not worktree.present:
        return None
    with scratch_index(worktree) as index:
        return await write_snapshot_tree(worktree, index)


async def _heads(worktree: Worktree) -> _Heads:
    at = admin_place(worktree)
    merging = _listed(worktree, "MERGE_HEAD")
    hidden = [commit for name in _NAMED_BY_HALF_DONE for commit in _listed(worktree, name)]
    # Without an administrative folder HEAD would be the person's.
    own_head = worktree.ref if at == worktree.repo.place else "HEAD"
    tip, head, *others = await _resolve(at, [worktree.ref, own_head, *merging, *hidden], "commit")
    known = set(others)
    return _Heads(tip, head, tuple(c for c in merging if c in known), tuple(c for c in hidden if c in known))


def _listed(worktree: Worktree, name: str) -> list[str]:
    try:
        words = (worktree.git_dir / name).read_text("utf-8", "replace").split()
    except OSError:
        return []
    return [word for word in words if is_commit_name(word)]


async def _resolve(at: Place, names: Sequence[str], kind: str) -> list[str | None]:
    """The objects that the names stand for, peeled to a kind; None for a name that stands for none."""
    query = "".join(f"{name}^{{{kind}}}\n" for name in names).encode()
    lines = (await git("cat-file", "--batch-check=%(objectname) %(objecttype)", at=at, stdin=query)).text.splitlines()
    return [line.split()[0] if line.endswith(f" {kind}") else None for line in lines]


async def _trees(worktree: Worktree, commits: Sequence[str]) -> list[str | None]:
    return await _resolve(worktree.repo.place, commits, "tree") if commits else []


async def _independent(worktree: Worktree, commits: Sequence[str | None]) -> list[str]:
    """The commits that none of the others contains, in their order."""
    distinct = list(dict.fromkeys(commit for commit in commits if commit))
    if len(distinct) < 2:
        return distinct
    kept = (await git("merge-base", "--independent", *distinct, at=worktree.repo.place)).text.split()
    return [commit for commit in distinct if commit in kept]


async def _commit(worktree: Worktree, tree: str | None, parents: Sequence[str], message: str) -> str:
    """A commit of the tree on the parents; the only parent itself where it has that tree (or there is none)."""
    trees = await _trees(worktree, parents)
    if len(parents) == 1 and tree in (None, trees[0]):
        return parents[0]
    repo = worktree.repo.place
    flags = [flag for parent in parents for flag in ("-p", parent)]
    text = message.replace("\0", "").encode("utf-8", "replace")
    made = await git(
        "commit-tree", *flags, tree or trees[0] or "", at=repo, stdin=text, environment=await identity(repo)
    )
    return made.text


async def _move(worktree: Worktree, ref: str, commit: str, before: str | None) -> None:
    await git("update-ref", "-m", "quarterdeck", ref, commit, before or "", at=worktree.repo.place)
