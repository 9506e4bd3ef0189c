"""The content of a work tree, written as a git tree through an index that is thrown away.

Repositories that an agent made inside its worktree would be lost: git takes them for submodules and stores no more
than the name of a commit. Their files are taken in as plain files. Git itself never looks into them, for their
configuration may be the agent's.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core.workspace.checkout import Worktree, administrative, is_commit_name, place
from core.workspace.git import LONG, GitError, Output, Place, git

_LISTING = 512 * 1024 * 1024
_NESTED_LIMIT = 500


@contextlib.contextmanager
def scratch_index(worktree: Worktree) -> Iterator[Path]:
    """A copy of the worktree's index that can be changed and thrown away, or moved in the index's place."""
    near = worktree.git_dir if worktree.git_dir.is_dir() else worktree.repo.git_dir
    with tempfile.TemporaryDirectory(prefix="qd-index-", dir=near) as folder:
        index = Path(folder) / "index"
        _copy_index(worktree, index)
        yield index


@contextlib.contextmanager
def looking_on(worktree: Worktree) -> Iterator[Place]:
    """A place to look at the worktree from while an agent is at work in it: index and new objects are thrown away, the
    repository is read alone."""
    with tempfile.TemporaryDirectory(prefix="qd-look-") as folder:
        index, objects = Path(folder) / "index", Path(folder) / "objects"
        objects.mkdir()
        _copy_index(worktree, index)
        yield place(worktree, index=index, objects=objects)


def _copy_index(worktree: Worktree, index: Path) -> None:
    # The time of the file is part of what git concludes from: a newer copy would make fresh edits look old.
    with contextlib.suppress(OSError):
        shutil.copy2(worktree.git_dir / "index", index, follow_symlinks=False)


async def write_branch_tree(worktree: Worktree, index: Path) -> str:
    """Write what belongs on the branch; ``index`` agrees with the tree afterwards.

    A submodule stays one, at the commit that is checked out in it; worktrees that the agent made inside its own are
    left out.
    """
    return await _write(worktree, place(worktree, index=index), _for_branch)


async def write_passing_tree(worktree: Worktree, at: Place) -> str:
    """As :func:`write_branch_tree`, at a place of :func:`looking_on`."""
    return await _write(worktree, at, _for_branch)


async def write_snapshot_tree(worktree: Worktree, index: Path) -> str:
    """Write everything that is not ignored: changed submodules and the agent's own worktrees too, as plain files."""
    return await _write(worktree, place(worktree, index=index), _for_snapshot)


@dataclass(frozen=True, slots=True)
class _Nested:
    """A folder with a repository of its own. ``link``: the commit that the index names for it; None where it is not
    in the index."""

    path: str
    link: str | None
    submodule: bool
    linked: bool
    """It is a worktree of the same repository."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What stands for a nested repository: its files, a commit, or (neither) nothing."""

    files: bool = False
    commit: str | None = None


_Judge = Callable[[Worktree, _Nested], Awaitable[_Verdict]]


async def _write(worktree: Worktree, at: Place, judge: _Judge) -> str:
    assert at.index is not None
    try:
        links = await _links(at) if at.index.is_file() else await _refill(worktree, at)
    except GitError:
        links = await _refill(worktree, at)  # the agent's index is damaged
    loose = [field[:-1] for field in (await _untracked(at)).fields if field.endswith("/")]
    await _add(at, [*links, *loose])
    for nested in await _describe(worktree, links, loose):
        verdict = await judge(worktree, nested)
        await _put(at, nested, verdict)
    return (await git("write-tree", at=at, timeout=LONG)).text


async def _refill(worktree: Worktree, at: Place) -> dict[str, str]:
    assert at.index is not None
    at.index.unlink(missing_ok=True)
    at.index.with_name("index.lock").unlink(missing_ok=True)
    known = await git("rev-parse", "--verify", "--quiet", worktree.ref, at=worktree.repo.place, accept=(0, 1))
    await git("read-tree", known.text or worktree.base_commit, at=at, timeout=LONG)
    return await _links(at)


async def _links(at: Place) -> dict[str, str]:
    """The commits that the index names, by path; one that a merge left in conflict is settled for our side first."""
    listed = await git("ls-files", "--stage", "-t", "-z", at=at, timeout=LONG, max_bytes=_LISTING)
    links: dict[str, str] = {}
    unsettled: dict[bytes, str] = {}
    for entry in listed.stdout.split(b"\0"):
        head, _, name = entry.partition(b"\t")
        if head[2:].startswith(b"160000 ") and not head.startswith(b"S"):  # S: outside of a sparse checkout
            commit, stage = head[2:].decode().split()[1:]
            if stage != "0":
                unsettled[name] = commit if stage == "2" else unsettled.get(name, commit)
            links[os.fsdecode(name)] = unsettled.get(name, commit)
    for name, commit in unsettled.items():
        lines = (b"0 %s\t%s\0" % (b"0" * len(commit), name), b"160000 %s\t%s\0" % (commit.encode(), name))
        await git("update-index", "-z", "--index-info", at=at, stdin=b"".join(lines))
    return links


async def _add(at: Place, without: Sequence[str]) -> None:
    specs = [".", *(f":(exclude,literal,top){path}" for path in without)]
    stdin = b"\0".join(os.fsencode(spec) for spec in specs)
    await git(
        "add", "--all", "--sparse", "--pathspec-from-file=-", "--pathspec-file-nul", at=at, stdin=stdin, timeout=LONG
    )


async def _describe(worktree: Worktree, links: dict[str, str], loose: Sequence[str]) -> list[_Nested]:
    if not links and not loose:
        return []
    if len(links) + len(loose) > _NESTED_LIMIT:
        raise GitError("add", -1, f"{worktree.path} holds more than {_NESTED_LIMIT} repositories of its own")
    submodules = await _submodules(worktree, links)
    siblings = {path for _, path in administrative(worktree.repo.git_dir)}
    return [
        _Nested(path, links.get(path), path in submodules, worktree.path / path in siblings)
        for path in [*links, *loose]
    ]


async def _submodules(worktree: Worktree, links: dict[str, str]) -> set[str]:
    """Which of the links are submodules: they are links in the base, or the worktree declares them."""
    if not links:
        return set()
    base = await git(
        "ls-tree", "-z", worktree.base_commit, "--", *(f":(literal){path}" for path in links), at=worktree.repo.place
    )
    known = {field.partition("\t")[2] for field in base.fields if field.startswith("160000 ")}
    declarations = worktree.path / ".gitmodules"
    if declarations.is_file() and not declarations.is_symlink():
        declared = await git(
            "config", "-z", "--file", str(declarations), "--get-regexp", r"^submodule\..*\.path$",
            at=worktree.repo.place, accept=(0, 1, 128),
        )  # fmt: skip
        known |= {field.partition("\n")[2] for field in declared.fields}
    return known & set(links)


async def _for_branch(worktree: Worktree, nested: _Nested) -> _Verdict:
    folder = worktree.path / nested.path
    if not nested.submodule:
        return _Verdict(files=not nested.linked and folder.is_dir())
    if not folder.is_dir():
        return _Verdict()
    return _Verdict(commit=await _checked_out(folder) or nested.link)


async def _for_snapshot(worktree: Worktree, nested: _Nested) -> _Verdict:
    folder = worktree.path / nested.path
    if not nested.submodule or nested.link is None:
        return _Verdict(files=folder.is_dir())
    if not folder.is_dir():
        return _Verdict()
    if not (folder / ".git").exists():  # never initialised, or no longer a repository
        return _Verdict(commit=nested.link) if not any(folder.iterdir()) else _Verdict(files=True)
    recorded = await git("rev-parse", "--verify", f"{nested.link}^{{tree}}", at=folder, accept=(0, 1, 128))
    with tempfile.TemporaryDirectory(prefix="qd-index-", dir=worktree.repo.git_dir) as scratch:
        inside = Place(worktree.repo.git_dir, None, folder, Path(scratch) / "index")
        unchanged = await _folder_tree(inside) == recorded.text
    return _Verdict(commit=nested.link) if unchanged else _Verdict(files=True)


async def _checked_out(folder: Path) -> str | None:
    if not (folder / ".git").exists():
        return None
    shown = await git("rev-parse", "--verify", "--quiet", "HEAD", at=folder, accept=(0, 1, 128))
    return shown.text if is_commit_name(shown.text) else None


async def _put(at: Place, nested: _Nested, verdict: _Verdict) -> None:
    if verdict.commit is not None and verdict.commit == nested.link:
        return
    if nested.link is not None:
        name = os.fsencode(nested.path) + b"\0"
        await git("update-index", "--force-remove", "-z", "--stdin", at=at, stdin=name)
    if verdict.commit is not None:
        entry = b"160000 %s\t%s\0" % (verdict.commit.encode(), os.fsencode(nested.path))
        await git("update-index", "-z", "--index-info", at=at, stdin=entry)
    elif verdict.files:
        await _embed(at, nested.path)


async def _embed(at: Place, path: str) -> None:
    assert at.work_tree is not None
    assert at.index is not None
    with tempfile.TemporaryDirectory(prefix="nested-", dir=at.index.parent) as scratch:
        inner = replace(at, work_tree=at.work_tree / path, index=Path(scratch) / "index")
        tree = await _folder_tree(inner)
    await git("read-tree", f"--prefix={path}/", tree, at=at)


async def _folder_tree(at: Place) -> str:
    """The tree of a folder, whatever repositories it is or holds."""
    loose = [field[:-1] for field in (await _untracked(at)).fields if field.endswith("/")]
    await _add(at, loose)
    for path in loose:
        await _embed(at, path)
    return (await git("write-tree", at=at, timeout=LONG)).text


async def _untracked(at: Place) -> Output:
    return await git("ls-files", "--others", "--exclude-standard", "-z", at=at, timeout=LONG, max_bytes=_LISTING)
