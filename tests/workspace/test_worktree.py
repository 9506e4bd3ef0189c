"""Worktrees are made, taken up and removed; the person's repository is as it was, whatever its state."""

import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from test_repository import leave_mid_rebase
from workspace_kit import commit, fingerprint, make_repository, run_git, write

from config.errors import ConflictError
from core.workspace.git import GitError, git
from core.workspace.repository import Repository, base_commit, fetch, open_repository
from core.workspace.worktree import (
    BranchInUseError,
    Worktree,
    branch_name,
    commit_all,
    create,
    diff_stat,
    head,
    is_empty_change,
    rebase,
    remove,
    reopen,
    salvage,
    update_submodules,
)


@pytest.mark.parametrize(
    ("title", "branch"),
    [
        ("Fix the login page", "qd/7-fix-the-login-page"),
        ("", "qd/7-task"),
        ("🚀🚀🚀", "qd/7-task"),
        ("../../etc/passwd; rm -rf ~ $(x) .lock", "qd/7-etc-passwd-rm-rf-x-lock"),
        ("Über Größe", "qd/7-uber-groe"),
        ("-x@{0}^~:?*[\\\x00\x1b", "qd/7-x-0"),
        ("a" * 10_000, "qd/7-" + "a" * 40),
        ("word " * 2000, "qd/7-word-word-word-word-word-word-word-word"),
    ],
)
def test_any_title_gives_a_branch_that_git_takes(title: str, branch: str, tmp_path: Path) -> None:
    assert branch_name(7, title) == branch
    run_git(tmp_path, "check-ref-format", "--branch", branch)


def dirty(root: Path) -> Path:
    person = make_repository(root / "p")
    commit(person, "second", d_dot_txt="d")
    write(person, a_dot_txt="stashed\n")
    run_git(person, "stash")
    write(person, a_dot_txt="unstaged\n", b_dot_txt="staged\n", new_dot_txt="untracked", x_dot_log="ignored")
    run_git(person, "add", "b.txt")
    (person / "d.txt").unlink()
    return person


def in_the_middle_of_a_rebase(root: Path) -> Path:
    person = make_repository(root / "p")
    leave_mid_rebase(person, "main")
    return person


def in_the_middle_of_a_merge(root: Path) -> Path:
    person = make_repository(root / "p")
    run_git(person, "checkout", "-q", "-b", "side")
    commit(person, "theirs", a_dot_txt="theirs")
    run_git(person, "checkout", "-q", "main")
    commit(person, "ours", a_dot_txt="ours")
    run_git(person, "merge", "side", check=False)
    return person


def detached(root: Path) -> Path:
    person = make_repository(root / "p")
    run_git(person, "checkout", "-q", "--detach")
    commit(person, "on no branch", z_dot_txt="z")
    return person


def bare(root: Path) -> Path:
    make_repository(root / "seed")
    run_git(root, "clone", "-q", "--bare", "seed", "p.git")
    return root / "p.git"


def shallow(root: Path) -> Path:
    commit(make_repository(root / "seed"), "second", c_dot_txt="c")
    run_git(root, "clone", "-q", "--depth=1", f"file://{root}/seed", "p")
    return root / "p"


def with_a_submodule(root: Path) -> Path:
    make_repository(root / "lib")
    person = make_repository(root / "p")
    run_git(person, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(root / "lib"), "lib")
    run_git(person, "commit", "-q", "-m", "with lib")
    write(person / "lib", a_dot_txt="changed in the submodule")
    return person


def sparse(root: Path) -> Path:
    person = make_repository(root / "p", in__a_dot_txt="a\n", out__b_dot_txt="b\n", a_dot_txt="one\n")
    run_git(person, "sparse-checkout", "set", "in")
    return person


def with_large_file_pointers(root: Path) -> Path:
    person = make_repository(root / "p", _dot_gitattributes="*.bin filter=lfs diff=lfs -text\n", a_dot_txt="one\n")
    run_git(person, "config", "filter.lfs.clean", "sed s/big/pointer/")
    run_git(person, "config", "filter.lfs.smudge", "sed s/pointer/big/")
    run_git(person, "config", "filter.lfs.required", "true")
    commit(person, "large", large_dot_bin="big\n")
    return person


def with_its_work_tree_elsewhere(root: Path) -> Path:
    person = make_repository(root / "p")
    (person / ".git").rename(root / "store")
    (person / ".git").write_text(f"gitdir: {root}/store\n")
    run_git(person, "config", "core.worktree", str(person))
    return person


def a_linked_worktree(root: Path) -> Path:
    make_repository(root / "main")
    run_git(root / "main", "worktree", "add", "-q", "-b", "side", str(root / "p"))
    write(root / "p", a_dot_txt="changed")
    return root / "p"


def with_hooks_that_leave_a_trace(root: Path) -> Path:
    person = make_repository(root / "p")
    for name in (
        "post-checkout",
        "pre-commit",
        "commit-msg",
        "pre-rebase",
        "post-rewrite",
        "reference-transaction",
        "post-commit",
    ):
        hook = person / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch '{person}/ran-{name}'\n")
        hook.chmod(0o755)
    return person


STATES = [
    dirty, in_the_middle_of_a_rebase, in_the_middle_of_a_merge, detached, bare, shallow, with_a_submodule, sparse,
    with_large_file_pointers, with_its_work_tree_elsewhere, a_linked_worktree, with_hooks_that_leave_a_trace,
]  # fmt: skip


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
async def test_a_whole_task_leaves_the_person_s_repository_as_it_was(
    state: Callable[[Path], Path], tmp_path: Path
) -> None:
    person = state(tmp_path)
    repo = await open_repository(person)
    before = fingerprint(person)

    await fetch(repo, if_older_than=0)
    base = await base_commit(repo, "main")
    older = run_git(person, "rev-parse", "--verify", "-q", f"{base}~1", check=False) or base
    worktree = await create(repo, tmp_path / "wt" / "1", "qd/1-x", older)
    await update_submodules(worktree)
    assert await is_empty_change(worktree)
    write(worktree.path, made_dot_txt="by an agent\n", more_dot_bin="big\n")
    assert await salvage(worktree, "run-0") == "refs/qd/salvage/run-0"
    assert await commit_all(worktree, "Work of an agent")
    result = await rebase(worktree, base)
    assert result.ok
    assert not await is_empty_change(result.worktree)
    stat_ = await diff_stat(repo, base, result.head)
    assert [file.path for file in stat_.files] == ["made.txt", "more.bin"]
    await remove(result.worktree, merged_or_salvaged=True, delete_branch=True)

    assert fingerprint(person) == before
    assert not worktree.path.exists()
    assert run_git(person, "for-each-ref", "refs/heads/qd") == ""


async def test_filters_that_the_person_configured_are_applied(tmp_path: Path) -> None:
    person = with_large_file_pointers(tmp_path)
    repo = await open_repository(person)
    worktree = await create(repo, tmp_path / "wt", "qd/1-x", await base_commit(repo, "main"))
    assert (worktree.path / "large.bin").read_text() == "big\n"
    write(worktree.path, large_dot_bin="big and more\n")
    await commit_all(worktree, "m")
    assert run_git(person, "show", "qd/1-x:large.bin") == "pointer and more"


async def test_the_worktree_stands_on_a_new_branch_at_the_base(worktree: Worktree, person: Path) -> None:
    assert (worktree.path / "a.txt").read_text() == "one\ntwo\nthree\n"
    assert run_git(worktree.path, "symbolic-ref", "HEAD") == "refs/heads/qd/1-task"
    assert await head(worktree) == worktree.base_commit == run_git(person, "rev-parse", "main")
    assert worktree.git_dir.parent == person / ".git/worktrees"
    assert run_git(person, "config", "--get-regexp", "branch.qd.*", check=False) == ""


async def test_two_git_processes_make_a_worktree(
    repo: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, ...]] = []

    async def counted(*args: str, **options: object) -> object:
        calls.append(args)
        return await git(*args, **options)  # type: ignore[arg-type]

    await fetch(repo, if_older_than=0)
    for module in ("repository", "worktree", "checkout"):
        monkeypatch.setattr(f"core.workspace.{module}.git", counted, raising=False)
    await fetch(repo, if_older_than=60)
    await create(repo, tmp_path / "wt", "qd/1-x", await base_commit(repo, "main"))
    assert [call[0] for call in calls] == ["for-each-ref", "worktree"]


async def test_a_branch_of_an_earlier_attempt_is_taken_up_as_it_is(
    worktree: Worktree, person: Path, tmp_path: Path
) -> None:
    write(worktree.path, kept_dot_txt="kept")
    kept = await commit_all(worktree, "first attempt")
    await remove(worktree, merged_or_salvaged=False)
    newer = commit(person, "main goes on", c_dot_txt="c")
    again = await create(worktree.repo, tmp_path / "elsewhere", worktree.branch, newer)
    assert await head(again) == kept
    assert (again.path / "kept.txt").exists()
    assert again.base_commit == worktree.base_commit


async def test_a_worktree_that_was_made_just_before_a_crash_is_taken_up(worktree: Worktree) -> None:
    write(worktree.path, begun_dot_txt="begun")
    again = await create(worktree.repo, worktree.path, worktree.branch, worktree.base_commit)
    assert again == worktree
    assert (again.path / "begun.txt").exists()


async def test_a_worktree_whose_making_was_cut_short_is_made_anew(worktree: Worktree) -> None:
    (worktree.git_dir / "locked").write_text("initializing")
    (worktree.path / "a.txt").unlink()
    again = await create(worktree.repo, worktree.path, worktree.branch, worktree.base_commit)
    assert (again.path / "a.txt").exists()
    assert not (again.git_dir / "locked").exists()


async def test_a_stale_entry_is_pruned_for_its_own_path_only(worktree: Worktree, person: Path, tmp_path: Path) -> None:
    other = tmp_path / "on a stick"
    run_git(person, "worktree", "add", "-q", "-b", "person", str(other))
    other.rename(tmp_path / "unplugged")
    worktree.path.rename(tmp_path / "lost")
    again = await create(worktree.repo, worktree.path, worktree.branch, worktree.base_commit)
    assert again.path.is_dir()
    assert str(other) in run_git(person, "worktree", "list")


async def test_a_branch_that_is_checked_out_elsewhere_is_a_conflict(worktree: Worktree, tmp_path: Path) -> None:
    with pytest.raises(BranchInUseError, match=r"qd/1-task is checked out in"):
        await create(worktree.repo, tmp_path / "second", worktree.branch, worktree.base_commit)


async def test_a_folder_that_is_in_the_way_is_left_alone(repo: Repository, tmp_path: Path) -> None:
    (tmp_path / "wt").mkdir()
    (tmp_path / "wt" / "precious").write_text("x")
    with pytest.raises(ConflictError, match="exists and is no worktree"):
        await create(repo, tmp_path / "wt", "qd/1-x", await base_commit(repo, "main"))
    assert (tmp_path / "wt" / "precious").read_text() == "x"


async def test_a_branch_named_qd_is_a_conflict_with_its_remedy(repo: Repository, person: Path, tmp_path: Path) -> None:
    run_git(person, "branch", "qd")
    with pytest.raises(ConflictError, match="has a branch named qd"):
        await create(repo, tmp_path / "wt", "qd/1-x", await base_commit(repo, "main"))
    assert not list(tmp_path.glob(".wt*"))


async def test_a_worktree_is_reopened_after_a_restart(worktree: Worktree) -> None:
    again = await reopen(await open_repository(worktree.repo.path), worktree.path)
    assert again == worktree
    assert await reopen(worktree.repo, worktree.path.parent / "2") is None


async def test_a_worktree_that_the_repository_has_forgotten_can_still_be_saved(
    worktree: Worktree, person: Path
) -> None:
    write(worktree.path, work_dot_txt="work")
    shutil.rmtree(worktree.git_dir)
    again = await reopen(worktree.repo, worktree.path)
    assert again is not None
    with pytest.raises(GitError, match="has forgotten"):
        await rebase(again, worktree.base_commit)
    with pytest.raises(ConflictError, match="is no worktree"):
        await create(worktree.repo, worktree.path, worktree.branch, worktree.base_commit)
    assert await salvage(again, "r1")
    await remove(again, merged_or_salvaged=True)
    assert run_git(person, "show", "refs/qd/salvage/r1:work.txt") == "work"


async def test_submodules_are_checked_out_or_noted(tmp_path: Path, home: Path) -> None:
    person = with_a_submodule(tmp_path)
    repo = await open_repository(person)
    worktree = await create(repo, tmp_path / "wt" / "1", "qd/1-x", await base_commit(repo, "main"))
    note = await update_submodules(worktree)
    assert note is not None
    assert "the submodules could not be checked out" in note
    (home / ".gitconfig").write_text('[protocol "file"]\n\tallow = always\n')
    assert await update_submodules(worktree) is None
    assert (worktree.path / "lib" / "a.txt").exists()
    await remove(worktree, merged_or_salvaged=False)
    assert not worktree.path.exists()


async def test_unsaved_work_is_not_removed(worktree: Worktree, person: Path) -> None:
    write(worktree.path, work_dot_txt="work")
    with pytest.raises(ConflictError, match="saved nowhere else"):
        await remove(worktree, merged_or_salvaged=False)
    await commit_all(worktree, "m")
    with pytest.raises(ConflictError):
        await remove(worktree, merged_or_salvaged=False, delete_branch=True)
    assert (worktree.path / "work.txt").exists()
    await remove(worktree, merged_or_salvaged=False)
    assert run_git(person, "show", "qd/1-task:work.txt") == "work"


async def test_commits_on_no_branch_are_not_removed(worktree: Worktree) -> None:
    run_git(worktree.path, "checkout", "-q", "--detach")
    commit(worktree.path, "loose", loose_dot_txt="x")
    run_git(worktree.path, "checkout", "-q", "--detach", "HEAD")
    with pytest.raises(ConflictError):
        await remove(worktree, merged_or_salvaged=False)


async def test_removal_copes_with_a_folder_that_is_gone_or_write_protected(worktree: Worktree, person: Path) -> None:
    locked = worktree.path / "node_modules" / "deep"
    locked.mkdir(parents=True)
    (locked / "file").write_text("x")
    locked.chmod(0o500)
    locked.parent.chmod(0o000)
    await remove(worktree, merged_or_salvaged=True, delete_branch=True)
    assert not worktree.path.exists()
    await remove(worktree, merged_or_salvaged=True, delete_branch=True)
    assert run_git(person, "worktree", "list").count("\n") == 0


async def test_removal_deletes_a_link_and_not_what_it_points_to(worktree: Worktree, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    write(precious, file="x")
    worktree.path.rename(tmp_path / "away")
    worktree.path.symlink_to(precious)
    await remove(worktree, merged_or_salvaged=True)
    assert not worktree.path.is_symlink()
    assert (precious / "file").read_text() == "x"


async def test_a_branch_that_the_person_looks_at_is_not_deleted_under_them(worktree: Worktree, person: Path) -> None:
    run_git(worktree.path, "checkout", "-q", "--detach")
    run_git(person, "checkout", "-q", worktree.branch)
    before = fingerprint(person)
    await remove(worktree, merged_or_salvaged=True, delete_branch=True)
    assert fingerprint(person) == before


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make what an engine may not delete")
async def test_what_may_not_be_deleted_stays_and_the_worktree_is_gone_nonetheless(
    worktree: Worktree, person: Path
) -> None:
    junk = worktree.path / "junk"
    junk.mkdir()
    (junk / "file").write_text("x")
    os.system(f"chattr +i '{junk}' 2>/dev/null")
    try:
        await remove(worktree, merged_or_salvaged=True, delete_branch=True)
    finally:
        os.system(f"chattr -i '{junk}' 2>/dev/null")
    assert worktree.branch not in run_git(person, "branch", "--list", "--all")
    assert str(worktree.path) not in run_git(person, "worktree", "list")


async def test_worktrees_that_an_agent_made_inside_its_own_are_forgotten_with_it(
    worktree: Worktree, person: Path
) -> None:
    run_git(worktree.path, "worktree", "add", "-q", "-b", "nested", str(worktree.path / ".agents" / "n"))
    await remove(worktree, merged_or_salvaged=True)
    assert run_git(person, "worktree", "list").count("\n") == 0


async def test_everything_works_without_a_home(
    repo: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOME")
    worktree = await create(repo, tmp_path / "wt", "qd/1-x", await base_commit(repo, "main"))
    write(worktree.path, x_dot_txt="x")
    made = await commit_all(worktree, "m")
    assert run_git(repo.path, "log", "-1", "--format=%an <%ae>", made or "") == "Quarterdeck <quarterdeck@localhost>"


def test_the_record_lies_outside_of_what_the_agent_may_write(worktree: Worktree) -> None:
    assert stat.S_ISREG((worktree.path.parent / ".1.worktree.json").stat().st_mode)
    assert replace(worktree, path=worktree.path) == worktree
