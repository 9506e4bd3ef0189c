"""Lands a branch on its base: on the remote where one has the base, else in the repository itself.

It lands by a push that only goes forward, so that git alone decides, in one step, whether the base is still what the
gates were run on. A checkout of the base is brought forward when it is clean, and is the reason for a refusal when it
is not.
"""

import asyncio
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from config.errors import ConflictError, UnavailableError
from core.workspace.checkout import Worktree, administrative
from core.workspace.git import LONG, SETTINGS, GitError, Output, Place, git, identity, last_lines, ssh_environment
from core.workspace.locks import REMOTE, locked
from core.workspace.rebasing import head_of
from core.workspace.repository import FETCHED, Repository, Target, base_target, forget_fetch

_PUSH_SECONDS = 180.0
_RECEIVE = shlex.join([
    "git", *SETTINGS, "-c", "receive.denyCurrentBranch=updateInstead", "-c", "receive.denyNonFastForwards=true",
    "-c", "receive.autoGC=false", "receive-pack",
])  # fmt: skip
_REASON = re.compile(r"^!\t[^\t]*\t(.*)$", re.MULTILINE)
_MOVED = re.compile(
    r"^\[rejected\]|fetch first|non-fast-forward|failed to update ref|cannot lock ref|incorrect old value|stale info"
)
_IN_THE_WAY = re.compile(r"unstaged changes|staged changes|working tree|currently checked out", re.IGNORECASE)
_HALF_MADE = re.compile(r"worktrees/\S*/(HEAD|commondir|gitdir)|worktrees/\S+: ")
"""git reads what all worktrees stand on when it takes a push, also of one that is just being made or removed."""
_PAUSES = (0.1, 0.3, 1.0, 3.0)
"""Seconds."""
_GOING_ON = {
    "MERGE_HEAD": "merge", "CHERRY_PICK_HEAD": "cherry-pick", "REVERT_HEAD": "revert", "sequencer": "cherry-pick",
    "rebase-apply": "rebase", "rebase-merge": "rebase",
}  # fmt: skip
_NAMES_A_BRANCH = {"rebase-merge/head-name": "rebase", "rebase-apply/head-name": "rebase", "BISECT_START": "bisect"}

Method = Literal["merge", "fast-forward"]


class BaseMovedError(ConflictError):
    """The base has moved since the branch was put on it: rebase, run the gates and land again."""


@dataclass(frozen=True, slots=True)
class Landed:
    """``commit`` is on ``branch`` now: the branch's own tip, or the merge of it. ``remote`` is None for the
    repository itself."""

    commit: str
    branch: str
    remote: str | None


@dataclass(frozen=True, slots=True)
class _Checkout:
    path: Path
    git_dir: Path
    branch: str | None


async def land(worktree: Worktree, base: str, *, method: Method, message: str) -> Landed:
    """Put the work of a branch on its base; a branch that is there already has landed.

    Raises :class:`BaseMovedError` unless the branch stands on the present base, ``ConflictError`` when a checkout of
    the base has changes or is in the middle of something, or the remote refuses, ``UnavailableError`` when the remote
    cannot be reached.
    """
    repo = worktree.repo
    async with locked(repo.git_dir, REMOTE):
        target = await base_target(repo, base)
        head = await head_of(worktree)
        if await _is_ancestor(repo, head, target.commit):
            return Landed(head, base, target.remote)
        if not await _is_ancestor(repo, target.commit, head):
            raise _moved(worktree, target)
        commit = head if method == "fast-forward" else await _merge(repo, target, head, message)
        if target.remote is None:
            await _land_here(worktree, target, commit)
        else:
            await _land_there(worktree, target, target.remote, commit)
    return Landed(commit, base, target.remote)


async def _merge(repo: Repository, target: Target, head: str, message: str) -> str:
    # The branch stands on the base, so the merge holds exactly what the gates have seen.
    made = await git(
        "commit-tree", f"{head}^{{tree}}", "-p", target.commit, "-p", head, at=repo.place,
        stdin=message.replace("\0", "").encode("utf-8", "replace"), environment=await identity(repo.place),
    )  # fmt: skip
    return made.text


async def _land_there(worktree: Worktree, target: Target, remote: str, commit: str) -> None:
    repo = worktree.repo
    # Pushed to the address and not to the name: the person's remote-tracking branches stay as they are.
    url = (await git("remote", "get-url", "--push", remote, at=repo.outward)).text
    environment = await ssh_environment(repo.place)
    pushed = await _push(repo, target, url, "git-receive-pack", commit, environment)
    if pushed.status == 0:
        await git("update-ref", f"{FETCHED}/{remote}/{target.branch}", commit, at=repo.place)
        return
    forget_fetch(repo)
    reason = _REASON.search(pushed.text)
    detail = last_lines(pushed.stderr)
    if reason is None:
        raise UnavailableError(
            f"{repo.path}: {target.branch} could not be pushed to {remote}: {detail}",
            "check the network and your access to it, then approve again",
        )
    if _MOVED.search(reason[1]):
        raise _moved(worktree, target)
    raise ConflictError(
        f"{remote} does not take a push to {target.branch}: {reason[1]} {detail}", "land it by a pull request instead"
    )


async def _land_here(worktree: Worktree, target: Target, commit: str) -> None:
    repo = worktree.repo
    main_tree = await _main_work_tree(repo)
    for checkout in await _checkouts(repo, main_tree):
        await _refuse_unfit(checkout, target.branch)
        if checkout.branch == target.branch and checkout.path == main_tree:
            await _bring_forward(worktree, checkout, target, commit)
            return
    for pause in (*_PAUSES, None):
        pushed = await _push(repo, target, str(repo.git_dir), _RECEIVE, commit, {})
        if pushed.status == 0:
            return
        if pause is None or not _HALF_MADE.search(pushed.stderr):
            break
        await asyncio.sleep(pause)
    reason = _REASON.search(pushed.text)
    if reason is None:
        raise GitError("push", pushed.status, last_lines(pushed.stderr))
    if _MOVED.search(reason[1]):
        raise _moved(worktree, target)
    if _IN_THE_WAY.search(reason[1]):
        raise _in_the_way(target.branch, repo.path)
    raise ConflictError(f"{repo.path} does not take {target.branch}: {reason[1]} {last_lines(pushed.stderr)}")


async def _push(
    repo: Repository, target: Target, to: str, receive: str, commit: str, environment: dict[str, str]
) -> Output:
    return await git(
        "push", "--porcelain", "--no-verify", "--no-signed", "--no-follow-tags", "--recurse-submodules=no",
        f"--receive-pack={receive}", "--", to, f"{commit}:refs/heads/{target.branch}",
        at=repo.outward, environment=environment, settings=("push.pushOption=",), timeout=_PUSH_SECONDS,
        accept=range(256),
    )  # fmt: skip


async def _checkouts(repo: Repository, main_tree: Path | None) -> list[_Checkout]:
    """Every work tree of the repository that is there, with the branch that it is on."""
    listed = await git("worktree", "list", "--porcelain", "-z", at=repo.place)
    admins = {path.resolve(): admin for admin, path in administrative(repo.git_dir)}
    found = []
    for path, branch in _parse_worktrees(listed.fields):
        admin = admins.get(path.resolve())
        if admin is None:
            found.append(_Checkout(main_tree or path, repo.git_dir, branch))
        elif path.exists():
            found.append(_Checkout(path, admin, branch))
    return found


def _parse_worktrees(fields: list[str]) -> Iterator[tuple[Path, str | None]]:
    path, branch = None, None
    for field in fields:
        if field.startswith("worktree "):
            if path is not None:
                yield path, branch
            path, branch = Path(field.removeprefix("worktree ")), None
        elif field.startswith("branch refs/heads/"):
            branch = field.removeprefix("branch refs/heads/")
        elif field == "bare":
            path = None
    if path is not None:
        yield path, branch


async def _refuse_unfit(checkout: _Checkout, base: str) -> None:
    for name, what in _NAMES_A_BRANCH.items():
        try:
            named = (checkout.git_dir / name).read_text("utf-8", "replace").strip().removeprefix("refs/heads/")
        except OSError:
            continue
        if named == base:
            raise _going_on(what, base, checkout.path)
    if checkout.branch != base:
        return
    for name, what in _GOING_ON.items():
        if (checkout.git_dir / name).exists():
            raise _going_on(what, base, checkout.path)
    at = Place(checkout.git_dir, None, checkout.path)
    shown = await git("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all", at=at, timeout=LONG)
    if shown.stdout:
        raise _in_the_way(base, checkout.path)


async def _main_work_tree(repo: Repository) -> Path | None:
    """The main work tree where configuration puts it somewhere else, as in a submodule; git's own listing does not
    know."""
    shown = await git("config", "--type=path", "--get", "core.worktree", at=repo.place, accept=(0, 1))
    return (repo.git_dir / shown.text).resolve() if shown.text else None


async def _bring_forward(worktree: Worktree, checkout: _Checkout, target: Target, commit: str) -> None:
    """What ``updateInstead`` does, for a work tree that receive-pack would look for in the wrong place."""
    at = Place(checkout.git_dir, None, checkout.path)
    try:
        await git("read-tree", "-m", "-u", target.commit, commit, at=at, timeout=LONG)
    except GitError as error:
        raise _in_the_way(target.branch, checkout.path) from error
    try:
        await git(
            "update-ref", "-m", "quarterdeck: landed", f"refs/heads/{target.branch}", commit, target.commit, at=at
        )
    except GitError as error:
        await git("read-tree", "-m", "-u", commit, target.commit, at=at, timeout=LONG)
        raise _moved(worktree, target) from error


async def _is_ancestor(repo: Repository, older: str, newer: str) -> bool:
    asked = await git("merge-base", "--is-ancestor", older, newer, at=repo.place, accept=(0, 1))
    return asked.status == 0


def _moved(worktree: Worktree, target: Target) -> BaseMovedError:
    where = f" of {target.remote}" if target.remote else ""
    return BaseMovedError(
        f"{target.branch}{where} has moved since {worktree.branch} was put on it", "rebase it and land again"
    )


def _in_the_way(base: str, path: Path) -> ConflictError:
    return ConflictError(
        f"{base} is checked out in {path} with uncommitted changes, or with files that would be overwritten",
        "commit or stash them there, then approve again",
    )


def _going_on(what: str, base: str, path: Path) -> ConflictError:
    return ConflictError(f"a {what} of {base} is going on in {path}", "finish or abort it there, then approve again")
