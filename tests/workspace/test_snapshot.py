"""What an agent leaves is kept: committed to its branch or salvaged, whatever state it left its worktree in."""

import os
import shutil
from pathlib import Path

import pytest
from workspace_kit import commit, fingerprint, make_repository, run_git, write

from config.errors import UsageError
from core.workspace.repository import Repository, base_commit
from core.workspace.worktree import Worktree, commit_all, create, head, is_empty_change, remove, salvage, would_be_lost


def files_of(person: Path, commit_name: str | None) -> dict[str, str]:
    assert commit_name
    names = run_git(person, "ls-tree", "-r", "-z", "--name-only", commit_name).split("\0")
    return {name: run_git(person, "show", f"{commit_name}:{name}") for name in names if name}


def settled(worktree: Worktree) -> bool:
    """HEAD is on the branch and nothing is uncommitted or half done."""
    on_branch = run_git(worktree.path, "symbolic-ref", "HEAD") == worktree.ref
    return on_branch and run_git(worktree.path, "status", "--porcelain") == ""


async def test_nothing_to_commit_is_none(worktree: Worktree) -> None:
    assert await commit_all(worktree, "m") is None
    assert await is_empty_change(worktree)


async def test_changed_new_and_deleted_files_are_committed_and_ignored_ones_are_not(
    worktree: Worktree, person: Path
) -> None:
    write(worktree.path, a_dot_txt="changed", new__file_dot_txt="new", x_dot_log="ignored")
    (worktree.path / "b.txt").unlink()
    made = await commit_all(worktree, "The work\n\nof an agent")
    assert files_of(person, made) == {".gitignore": "*.log\n.env", "a.txt": "changed", "new/file.txt": "new"}
    assert run_git(person, "log", "-1", "--format=%s", made or "") == "The work"
    assert settled(worktree)
    assert await commit_all(worktree, "again") is None


async def test_what_the_agent_committed_itself_stays_as_it_is(worktree: Worktree) -> None:
    own = commit(worktree.path, "own", own_dot_txt="x")
    assert await commit_all(worktree, "m") is None
    assert await head(worktree) == own


async def test_locks_of_a_git_that_was_killed_hold_nothing_up(worktree: Worktree, person: Path) -> None:
    locks = [worktree.git_dir / "index.lock", worktree.git_dir / "HEAD.lock", person / f".git/{worktree.ref}.lock"]
    for lock in locks:
        lock.touch()
    write(worktree.path, work_dot_txt="x")
    made = await commit_all(worktree, "m")
    assert files_of(person, made)["work.txt"] == "x"
    assert settled(worktree)
    locks[-1].touch()
    await remove(worktree, merged_or_salvaged=True, delete_branch=True)
    assert run_git(person, "branch", "--list", worktree.branch) == ""


async def test_a_detached_head_is_brought_onto_the_branch(worktree: Worktree, person: Path) -> None:
    run_git(worktree.path, "checkout", "-q", "--detach")
    own = commit(worktree.path, "own", own_dot_txt="x")
    assert await commit_all(worktree, "m") == own
    run_git(worktree.path, "checkout", "-q", "-b", "another-name")
    write(worktree.path, more_dot_txt="y")
    made = await commit_all(worktree, "m")
    assert await head(worktree) == made
    assert files_of(person, made)["more.txt"] == "y"
    assert settled(worktree)


async def test_work_on_an_older_commit_does_not_drop_the_newer_ones(worktree: Worktree, person: Path) -> None:
    newer = commit(worktree.path, "newer", newer_dot_txt="x")
    run_git(worktree.path, "checkout", "-q", "--detach", "HEAD~1")
    older = commit(worktree.path, "beside", beside_dot_txt="y")
    made = await commit_all(worktree, "m")
    assert run_git(person, "log", "-1", "--format=%P", made or "").split() == [newer, older]


async def test_a_merge_left_in_the_middle_is_committed_as_one(worktree: Worktree, person: Path) -> None:
    commit(worktree.path, "ours", a_dot_txt="ours")
    theirs = commit(person, "theirs", a_dot_txt="theirs", c_dot_txt="c")
    run_git(worktree.path, "merge", "main", check=False)
    write(worktree.path, a_dot_txt="both", more_dot_txt="m")
    made = await commit_all(worktree, "m")
    assert files_of(person, made) | {".gitignore": ""} == {
        ".gitignore": "", "a.txt": "both", "b.txt": "b", "c.txt": "c", "more.txt": "m",
    }  # fmt: skip
    assert theirs in run_git(person, "log", "-1", "--format=%P", made or "").split()
    assert settled(worktree)


async def test_a_rebase_left_in_the_middle_loses_no_commit(worktree: Worktree, person: Path) -> None:
    commit(worktree.path, "one", a_dot_txt="ours")
    second = commit(worktree.path, "two", two_dot_txt="two")
    commit(person, "theirs", a_dot_txt="theirs")
    run_git(worktree.path, "rebase", "main", check=False)
    write(worktree.path, a_dot_txt="being settled")
    made = await commit_all(worktree, "m")
    assert files_of(person, made)["a.txt"] == "being settled"
    run_git(person, "merge-base", "--is-ancestor", second, made or "")
    assert settled(worktree)
    assert not (worktree.git_dir / "rebase-merge").exists()


async def test_a_lock_or_a_damaged_index_of_a_killed_agent_does_not_stop_it(worktree: Worktree, person: Path) -> None:
    (worktree.git_dir / "index.lock").touch()
    (worktree.git_dir / "index").write_bytes(b"garbage")
    write(worktree.path, new_dot_txt="n")
    made = await commit_all(worktree, "m")
    assert set(files_of(person, made)) == {".gitignore", "a.txt", "b.txt", "new.txt"}
    assert settled(worktree)


async def test_a_deleted_branch_and_a_damaged_head_do_not_stop_it(worktree: Worktree, person: Path) -> None:
    own = commit(worktree.path, "own", own_dot_txt="x")
    run_git(worktree.path, "checkout", "-q", "--detach")
    run_git(worktree.path, "branch", "-D", worktree.branch)
    assert await commit_all(worktree, "m") == own
    (worktree.git_dir / "HEAD").write_text("nonsense")
    write(worktree.path, new_dot_txt="n")
    assert "new.txt" in files_of(person, await commit_all(worktree, "m"))


async def test_repositories_made_inside_are_kept_as_files(worktree: Worktree, person: Path) -> None:
    make_repository(worktree.path / "app", src__main_dot_py="print()")
    run_git(worktree.path, "init", "-q", "unborn")
    write(worktree.path / "unborn", file_dot_txt="x")
    make_repository(worktree.path / "app" / "inner", deep_dot_txt="y")
    made = await commit_all(worktree, "m")
    files = files_of(person, made)
    assert (files["app/src/main.py"], files["unborn/file.txt"], files["app/inner/deep.txt"]) == ("print()", "x", "y")
    assert await commit_all(worktree, "again") is None


async def test_a_repository_that_the_agent_committed_as_a_link_is_kept_as_files(
    worktree: Worktree, person: Path
) -> None:
    make_repository(worktree.path / "app", main_dot_py="print()")
    run_git(worktree.path, "add", "app")
    run_git(worktree.path, "commit", "-q", "-m", "link")
    assert files_of(person, await commit_all(worktree, "m"))["app/main.py"] == "print()"


async def test_worktrees_inside_are_left_out_of_the_branch_but_salvaged(worktree: Worktree, person: Path) -> None:
    run_git(worktree.path, "worktree", "add", "-q", "-b", "nested", str(worktree.path / "nested"))
    write(worktree.path / "nested", idea_dot_txt="uncommitted")
    assert await commit_all(worktree, "m") is None
    assert files_of(person, await salvage(worktree, "r1"))["nested/idea.txt"] == "uncommitted"


async def test_a_salvage_keeps_untracked_staged_and_deleted_and_touches_nothing(
    worktree: Worktree, person: Path
) -> None:
    write(worktree.path, a_dot_txt="staged", untracked_dot_txt="u", x_dot_log="ignored")
    run_git(worktree.path, "add", "a.txt")
    write(worktree.path, a_dot_txt="and changed again")
    (worktree.path / "b.txt").unlink()
    before, mine = fingerprint(worktree.path), fingerprint(person)
    ref = await salvage(worktree, "0198-run")
    assert ref == "refs/qd/salvage/0198-run"
    assert files_of(person, ref) == {".gitignore": "*.log\n.env", "a.txt": "and changed again", "untracked.txt": "u"}
    assert fingerprint(worktree.path) == before
    assert fingerprint(person) == mine


async def test_a_salvage_keeps_commits_that_only_the_branch_has(worktree: Worktree, person: Path) -> None:
    own = commit(worktree.path, "own", own_dot_txt="x")
    ref = await salvage(worktree, "r1")
    await remove(worktree, merged_or_salvaged=True, delete_branch=True)
    assert run_git(person, "rev-parse", ref or "") == own


async def test_a_salvage_keeps_commits_of_a_rebase_in_the_middle(worktree: Worktree, person: Path) -> None:
    second = commit(worktree.path, "own", a_dot_txt="ours")
    commit(person, "theirs", a_dot_txt="theirs")
    run_git(worktree.path, "rebase", "main", check=False)
    ref = await salvage(worktree, "r1")
    run_git(person, "merge-base", "--is-ancestor", second, ref or "")


async def test_a_later_salvage_of_the_same_run_keeps_the_earlier_one(worktree: Worktree, person: Path) -> None:
    write(worktree.path, one_dot_txt="1")
    await salvage(worktree, "r1")
    first = run_git(person, "rev-parse", "refs/qd/salvage/r1")
    (worktree.path / "one.txt").unlink()
    write(worktree.path, two_dot_txt="2")
    await salvage(worktree, "r1")
    run_git(person, "merge-base", "--is-ancestor", first, "refs/qd/salvage/r1")
    assert "two.txt" in files_of(person, "refs/qd/salvage/r1")
    assert await salvage(worktree, "r1") == "refs/qd/salvage/r1"


async def test_nothing_is_salvaged_where_nothing_would_be_lost(worktree: Worktree, person: Path) -> None:
    assert await salvage(worktree, "r1") is None
    own = commit(worktree.path, "own", own_dot_txt="x")
    run_git(person, "merge", "-q", "--ff-only", own)
    assert await salvage(worktree, "r1") is None
    assert run_git(person, "for-each-ref", "refs/qd") == ""


async def test_commits_are_salvaged_after_the_folder_is_gone(worktree: Worktree, person: Path) -> None:
    own = commit(worktree.path, "own", own_dot_txt="x")
    shutil.rmtree(worktree.path)
    assert run_git(person, "rev-parse", await salvage(worktree, "r1") or "") == own
    shutil.rmtree(worktree.git_dir)
    assert await would_be_lost(worktree, ignoring=("refs/heads/qd/*", "refs/qd/salvage/*"))


async def test_changes_in_a_submodule_are_salvaged(
    worktree: Worktree, person: Path, tmp_path: Path, home: Path
) -> None:
    (home / ".gitconfig").write_text('[protocol "file"]\n\tallow = always\n')
    lib = make_repository(tmp_path / "lib")
    run_git(worktree.path, "submodule", "--quiet", "add", str(lib), "lib")
    bare = await commit_all(worktree, "with lib")
    assert run_git(person, "ls-tree", bare or "", "lib").startswith("160000")
    kept = commit(worktree.path / "lib", "in the submodule", inner_dot_txt="i")
    bumped = await commit_all(worktree, "newer lib")
    assert kept in run_git(person, "ls-tree", bumped or "", "lib")
    write(worktree.path / "lib", loose_dot_txt="uncommitted")
    assert files_of(person, await salvage(worktree, "r1"))["lib/loose.txt"] == "uncommitted"


async def test_a_conflict_about_a_submodule_does_not_stop_it(
    worktree: Worktree, person: Path, tmp_path: Path, home: Path
) -> None:
    (home / ".gitconfig").write_text('[protocol "file"]\n\tallow = always\n')
    lib = make_repository(tmp_path / "lib")
    run_git(worktree.path, "submodule", "--quiet", "add", str(lib), "lib")
    start = commit(worktree.path, "with lib")
    inner = run_git(worktree.path / "lib", "rev-parse", "HEAD")
    theirs = commit(worktree.path / "lib", "theirs", t_dot_txt="t")
    commit(worktree.path, "theirs")
    run_git(worktree.path, "checkout", "-q", "--detach", start)
    run_git(worktree.path / "lib", "checkout", "-q", inner)
    ours = commit(worktree.path / "lib", "ours", o_dot_txt="o")
    commit(worktree.path, "ours")
    run_git(worktree.path, "merge", worktree.branch, check=False)
    assert run_git(worktree.path, "ls-files", "--unmerged")
    assert await salvage(worktree, "r1")
    made = await commit_all(worktree, "m")
    assert ours in run_git(person, "ls-tree", made or "", "lib")
    assert theirs != ours


async def test_a_submodule_outside_of_a_sparse_checkout_stays(repo: Repository, person: Path, tmp_path: Path) -> None:
    lib = make_repository(tmp_path / "lib")
    run_git(person, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(lib), "out/lib")
    commit(person, "with lib", in__a_dot_txt="a", out__b_dot_txt="b")
    run_git(person, "sparse-checkout", "set", "in")
    worktree = await create(repo, tmp_path / "sparse" / "1", "qd/2-x", await base_commit(repo, "main"))
    assert not (worktree.path / "out").exists()
    assert await commit_all(worktree, "m") is None
    write(worktree.path, in__new_dot_txt="n", beside__the__cone_dot_txt="c")
    made = await commit_all(worktree, "m")
    names = run_git(person, "ls-tree", "-r", "--name-only", made or "").split()
    assert {"out/lib", "out/b.txt", "in/new.txt", "beside/the/cone.txt"} <= set(names)


async def test_an_edit_within_the_same_tick_as_the_index_is_not_missed(worktree: Worktree, person: Path) -> None:
    index, file = worktree.git_dir / "index", worktree.path / "a.txt"
    run_git(person, "config", "core.trustctime", "false")
    os.utime(file, (1_700_000_000, 1_700_000_000))
    run_git(worktree.path, "add", "a.txt")
    file.write_text("ONE\ntwo\nthree\n")  # the same size
    for path in (file, index):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    assert files_of(person, await commit_all(worktree, "m"))["a.txt"].startswith("ONE")


@pytest.mark.parametrize("name", ["", "../x", "a b", "-x", "a" * 200, "x.lock"])
async def test_a_name_that_is_no_run_s_is_refused(worktree: Worktree, name: str) -> None:
    with pytest.raises(UsageError):
        await salvage(worktree, name)
