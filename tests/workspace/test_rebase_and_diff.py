"""A branch is brought onto a moved base, or stands exactly as before with the conflict in words."""

import asyncio
from pathlib import Path

import pytest
from workspace_kit import commit, fingerprint, make_repository, run_git, write

from config.errors import ConflictError
from core.workspace import rebasing
from core.workspace.git import GitError
from core.workspace.repository import open_repository
from core.workspace.worktree import Worktree, commit_all, create, diff, diff_so_far, diff_stat, head, rebase, reopen


async def test_a_base_that_has_not_moved_changes_nothing(worktree: Worktree) -> None:
    own = commit(worktree.path, "own", own_dot_txt="x")
    result = await rebase(worktree, worktree.base_commit)
    assert (result.ok, result.head, result.worktree) == (True, own, worktree)


async def test_own_commits_are_put_on_the_moved_base(worktree: Worktree, person: Path) -> None:
    commit(worktree.path, "own", own_dot_txt="x")
    run_git(person, "branch", "mine-on-top", worktree.branch)
    run_git(person, "config", "rebase.updateRefs", "true")
    moved = commit(person, "moved", c_dot_txt="c")
    before = fingerprint(person)
    result = await rebase(worktree, moved)
    assert result.ok
    assert result.worktree.base_commit == moved
    assert run_git(person, "log", "--format=%s", worktree.branch) == "own\nmoved\nFirst"
    assert (worktree.path / "c.txt").exists()
    assert run_git(worktree.path, "status", "--porcelain", "--branch") == f"## {worktree.branch}"
    assert fingerprint(person) == before
    assert await reopen(worktree.repo, worktree.path) == result.worktree


async def test_a_conflict_is_told_and_the_worktree_is_as_before(worktree: Worktree, person: Path) -> None:
    commit(worktree.path, "harmless", own_dot_txt="x")
    commit(worktree.path, "own", a_dot_txt="ours\n", b_dot_txt="ours\n")
    write(worktree.path, x_dot_log="ignored")
    moved = commit(person, "moved", a_dot_txt="theirs\n", b_dot_txt="theirs\n")
    before = fingerprint(worktree.path)
    result = await rebase(worktree, moved)
    assert not result.ok
    assert result.files == ("a.txt", "b.txt")
    assert "CONFLICT (content): Merge conflict in a.txt" in result.text
    assert "++theirs" in result.text.replace(" ", "").replace("+ ", "+") or "theirs" in result.text
    after = fingerprint(worktree.path)
    assert (after.head, after.state, after.refs) == (before.head, before.state, before.refs)
    assert {name: content for name, (_, content) in after.files.items()} == {
        name: content for name, (_, content) in before.files.items()
    }
    assert await head(worktree) == result.head


async def test_a_file_deleted_there_and_changed_here_is_a_conflict_too(worktree: Worktree, person: Path) -> None:
    commit(worktree.path, "own", a_dot_txt="ours\n")
    (person / "a.txt").unlink()
    result = await rebase(worktree, commit(person, "deleted"))
    assert (result.ok, result.files) == (False, ("a.txt",))
    assert "CONFLICT (modify/delete)" in result.text


async def test_a_branch_with_merges_keeps_what_was_settled_in_them(worktree: Worktree, person: Path) -> None:
    commit(worktree.path, "own", a_dot_txt="ours\n")
    commit(person, "theirs", a_dot_txt="theirs\n")
    run_git(worktree.path, "merge", "main", check=False)
    write(worktree.path, a_dot_txt="settled\n", also_dot_txt="made in the merge\n")
    await commit_all(worktree, "merged")
    moved = commit(person, "further", c_dot_txt="c")
    result = await rebase(worktree, moved)
    assert result.ok
    assert (worktree.path / "a.txt").read_text() == "settled\n"
    assert (worktree.path / "also.txt").exists()
    run_git(person, "merge-base", "--is-ancestor", moved, result.head)


async def test_a_merge_that_conflicts_leaves_the_worktree_as_before(worktree: Worktree, person: Path) -> None:
    commit(worktree.path, "own", a_dot_txt="ours\n")
    commit(person, "theirs", a_dot_txt="theirs\n")
    run_git(worktree.path, "merge", "-X", "ours", "-m", "m", "main")
    before = await head(worktree)
    result = await rebase(worktree, commit(person, "again", a_dot_txt="theirs again\n"))
    assert (result.ok, result.files, await head(worktree)) == (False, ("a.txt",), before)
    assert run_git(worktree.path, "status", "--porcelain") == ""


async def test_what_was_taken_out_of_a_rewritten_base_does_not_come_back(worktree: Worktree, person: Path) -> None:
    bad = commit(person, "leaks a secret", secret_dot_txt="s")
    result = await rebase(worktree, bad)
    commit(worktree.path, "own", own_dot_txt="x")
    run_git(person, "reset", "-q", "--hard", "HEAD~1")
    rewritten = commit(person, "better", c_dot_txt="c")
    result = await rebase(result.worktree, rewritten)
    assert result.ok
    assert run_git(person, "log", "--format=%s", worktree.branch) == "own\nbetter\nFirst"


async def test_uncommitted_changes_refuse_a_rebase(worktree: Worktree, person: Path) -> None:
    write(worktree.path, a_dot_txt="uncommitted")
    with pytest.raises(ConflictError, match="uncommitted changes"):
        await rebase(worktree, commit(person, "moved"))
    assert (worktree.path / "a.txt").read_text() == "uncommitted"


async def test_a_cancelled_rebase_leaves_the_worktree_as_before(
    worktree: Worktree, person: Path, tmp_path: Path
) -> None:
    before = commit(worktree.path, "own", own_dot_txt="x")
    commit(person, "attributes", _dot_gitattributes="*.slow filter=slow\n", c_dot_txt="c")
    moved = commit(person, "moved", large_dot_slow="content")
    run_git(person, "config", "filter.slow.smudge", f"touch '{tmp_path}/slowly'; sleep 300; cat")
    task = asyncio.create_task(rebase(worktree, moved))
    while not (tmp_path / "slowly").exists() and not task.done():
        await asyncio.sleep(0.01)
    assert (worktree.git_dir / "rebase-merge").exists()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await head(worktree) == before
    assert run_git(worktree.path, "status", "--porcelain", "--branch") == f"## {worktree.branch}"
    assert not (worktree.git_dir / "rebase-merge").exists()


async def test_a_rebase_that_a_crash_interrupted_is_undone_when_reopened(worktree: Worktree, person: Path) -> None:
    before = commit(worktree.path, "own", a_dot_txt="ours\n")
    moved = commit(person, "moved", a_dot_txt="theirs\n")
    (worktree.git_dir / rebasing._MARK).write_text(before)
    run_git(worktree.path, "rebase", moved, check=False)
    again = await reopen(worktree.repo, worktree.path)
    assert again == worktree
    assert await head(worktree) == before
    assert run_git(worktree.path, "status", "--porcelain", "--branch") == f"## {worktree.branch}"


async def test_another_failure_is_an_error_and_leaves_the_worktree_as_before(worktree: Worktree, person: Path) -> None:
    before = commit(worktree.path, "own", c_dot_txt="ours")
    write(worktree.path, d_dot_txt="untracked and in the way")
    moved = commit(person, "moved", d_dot_txt="theirs")
    with pytest.raises(GitError, match=r"d\.txt"):
        await rebase(worktree, moved)
    assert await head(worktree) == before
    assert (worktree.path / "d.txt").read_text() == "untracked and in the way"


async def test_a_diff_counts_lines_renames_and_binaries(worktree: Worktree) -> None:
    write(worktree.path, a_dot_txt="one\n2\nthree\nfour\n")
    (worktree.path / "b.txt").rename(worktree.path / "renamed.txt")
    (worktree.path / "data.bin").write_bytes(b"\0\1\2" * 100)
    made = await commit_all(worktree, "m")
    stat = await diff_stat(worktree, worktree.base_commit, made or "")
    assert (stat.files_changed, stat.insertions, stat.deletions) == (3, 2, 1)
    shown = {file.path: (file.insertions, file.deletions) for file in stat.files}
    assert shown == {"a.txt": (2, 1), "data.bin": (None, None), "renamed.txt": (0, 0)}


async def test_a_long_diff_is_cut_at_a_line_and_says_so(worktree: Worktree) -> None:
    write(worktree.path, long_dot_txt="a line of text\n" * 10_000)
    made = await commit_all(worktree, "m")
    text = await diff(worktree.repo, worktree.base_commit, made or "", max_bytes=2000)
    assert len(text.encode()) < 2100
    assert text.splitlines()[-2] == "+a line of text"
    assert text.endswith("… cut after 2000 bytes\n")


def _all_files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


async def test_the_diff_so_far_has_what_is_committed_what_is_not_and_new_files(worktree: Worktree) -> None:
    commit(worktree.path, "own", own_dot_txt="committed\n")
    write(worktree.path, a_dot_txt="one\ntwo\nthree\nedited\n", new__deep_dot_txt="untracked\n", x_dot_log="ignored\n")
    write(worktree.path, staged_dot_txt="staged\n")
    run_git(worktree.path, "add", "staged.txt")
    (worktree.path / "b.txt").unlink()
    patch = await diff_so_far(worktree, max_bytes=100_000)
    assert {line for line in patch.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")} == {
        "+committed", "+edited", "+untracked", "+staged", "-b",
    }  # fmt: skip
    assert "x.log" not in patch


async def test_the_diff_so_far_leaves_index_and_repository_as_they_were(worktree: Worktree, person: Path) -> None:
    write(worktree.path, staged_dot_txt="staged\n", new_dot_txt="untracked\n")
    run_git(worktree.path, "add", "staged.txt")
    before = _all_files(person / ".git")
    assert "+untracked" in await diff_so_far(worktree, max_bytes=100_000)
    assert _all_files(person / ".git") == before
    assert run_git(worktree.path, "status", "--porcelain").splitlines() == ["A  staged.txt", "?? new.txt"]


async def test_the_diff_so_far_is_told_while_the_agent_holds_its_index(worktree: Worktree) -> None:
    write(worktree.path, new_dot_txt="untracked\n")
    lock = worktree.git_dir / "index.lock"
    lock.touch()
    assert "+untracked" in await diff_so_far(worktree, max_bytes=100_000)
    assert lock.exists()
    (worktree.git_dir / "index").write_bytes(b"garbage")
    assert "+untracked" in await diff_so_far(worktree, max_bytes=100_000)


async def test_the_diff_so_far_finds_what_it_compares_with_in_a_folder_with_a_colon(tmp_path: Path) -> None:
    person = make_repository(tmp_path / 'a:b "c"' / "project")
    repo = await open_repository(person)
    worktree = await create(repo, tmp_path / "1", "qd/1-task", run_git(person, "rev-parse", "HEAD"))
    write(worktree.path, a_dot_txt="one\ntwo\nthree\nfour\n")
    assert "+four" in await diff_so_far(worktree, max_bytes=100_000)
