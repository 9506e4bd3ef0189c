"""Worktrees that nobody needs are found with their size and age, and cleaned without losing work."""

import os
import shutil
import time
from pathlib import Path

import pytest
from workspace_kit import commit, run_git, write

from config.errors import ConflictError
from core.workspace.leftovers import clean, leftovers
from core.workspace.repository import Repository, base_commit
from core.workspace.worktree import Worktree, create, salvage


@pytest.fixture
def root(worktree: Worktree) -> Path:
    return worktree.path.parent.parent


async def test_a_known_worktree_is_no_leftover(worktree: Worktree, root: Path) -> None:
    assert await leftovers(root, {worktree.path}) == []
    assert await leftovers(root / "absent", set()) == []


async def test_a_leftover_is_shown_with_size_age_and_branch(worktree: Worktree, root: Path) -> None:
    (worktree.path / "big.log").write_bytes(b"x" * 500_000)
    (found,) = await leftovers(root, set())
    assert (found.path, found.branch, found.unmerged, found.salvaged) == (worktree.path, "qd/1-task", False, False)
    assert 500_000 <= found.size_bytes < 1_500_000
    assert abs(found.modified_at.timestamp() - time.time()) < 120


async def test_the_oldest_comes_first(worktree: Worktree, root: Path, repo: Repository) -> None:
    second = await create(repo, root / "project" / "2", "qd/2-x", await base_commit(repo, "main"))
    for path in (second.path, *second.path.rglob("*")):
        os.utime(path, (1_000_000, 1_000_000))
    assert [found.path.name for found in await leftovers(root, set())] == ["2", "1"]


async def test_unmerged_work_is_salvaged_before_it_is_cleaned(worktree: Worktree, root: Path, person: Path) -> None:
    own = commit(worktree.path, "own", own_dot_txt="x")
    write(worktree.path, loose_dot_txt="l")
    (found,) = await leftovers(root, set())
    assert (found.unmerged, found.salvaged) == (True, False)
    ref = await clean(found)
    assert ref is not None
    assert run_git(person, "show", f"{ref}:loose.txt") == "l"
    run_git(person, "merge-base", "--is-ancestor", own, ref)
    assert not worktree.path.exists()
    assert run_git(person, "for-each-ref", "refs/heads/qd") == ""
    assert list(worktree.path.parent.iterdir()) == []


async def test_what_was_salvaged_or_merged_needs_no_other_snapshot(
    worktree: Worktree, root: Path, person: Path
) -> None:
    own = commit(worktree.path, "own", own_dot_txt="x")
    await salvage(worktree, "r1")
    (found,) = await leftovers(root, set())
    assert (found.unmerged, found.salvaged) == (True, True)
    run_git(person, "merge", "-q", "--ff-only", own)
    (found,) = await leftovers(root, set())
    assert (found.unmerged, found.salvaged) == (False, False)
    assert await clean(found) is None
    assert run_git(person, "for-each-ref", "--format=%(refname)", "refs/qd") == "refs/qd/salvage/r1"


async def test_work_whose_repository_is_gone_is_never_cleaned(worktree: Worktree, root: Path, person: Path) -> None:
    shutil.rmtree(person)
    (found,) = await leftovers(root, set())
    assert (found.branch, found.unmerged, found.salvaged) == (None, True, False)
    with pytest.raises(ConflictError, match="no repository that is known"):
        await clean(found)
    assert worktree.path.exists()


async def test_an_empty_folder_is_cleaned(worktree: Worktree, root: Path) -> None:
    (root / "project" / "3" / "empty").mkdir(parents=True)
    (found,) = await leftovers(root, {worktree.path})
    assert not found.unmerged
    assert await clean(found) is None
    assert not found.path.exists()


async def test_a_worktree_that_the_repository_has_forgotten_is_salvaged_too(
    worktree: Worktree, root: Path, person: Path
) -> None:
    write(worktree.path, loose_dot_txt="l")
    shutil.rmtree(worktree.git_dir)
    (found,) = await leftovers(root, set())
    assert found.unmerged
    assert run_git(person, "show", f"{await clean(found)}:loose.txt") == "l"
