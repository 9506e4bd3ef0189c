"""A branch lands by moving its base forward, on the remote or here; a person's work in the way is never touched."""

import asyncio
from pathlib import Path

import pytest
from test_repository import advance
from workspace_kit import commit, fingerprint, make_remote, make_repository, run_git, write

from config.errors import ConflictError, UnavailableError
from core.workspace.landing import BaseMovedError, Landed, land
from core.workspace.repository import base_commit, open_repository
from core.workspace.worktree import Worktree, create, rebase


async def worker(person: Path, place: Path, number: int = 1) -> Worktree:
    """A worktree with one commit, on the present main."""
    repo = await open_repository(person)
    worktree = await create(repo, place / f"wt{number}", f"qd/{number}-x", await base_commit(repo, "main"))
    commit(worktree.path, f"work {number}", **{f"work{number}_dot_txt": "w"})
    return worktree


async def merge(worktree: Worktree) -> Landed:
    return await land(worktree, "main", method="merge", message="Land it")


async def forward(worktree: Worktree) -> Landed:
    return await land(worktree, "main", method="fast-forward", message="unused")


async def test_fast_forward_brings_a_clean_checkout_of_the_base_along(person: Path, tmp_path: Path) -> None:
    worktree = await worker(person, tmp_path)
    write(person, untracked_dot_txt="mine", x_dot_log="ignored")
    landed = await forward(worktree)
    assert landed == Landed(run_git(person, "rev-parse", worktree.branch), "main", None)
    assert run_git(person, "rev-parse", "main") == landed.commit
    assert run_git(person, "status", "--porcelain", "--branch") == "## main\n?? untracked.txt"
    assert (person / "work1.txt").exists()


async def test_a_merge_commit_has_the_base_first_and_our_message(person: Path, tmp_path: Path) -> None:
    worktree = await worker(person, tmp_path)
    landed = await merge(worktree)
    assert run_git(person, "log", "-1", "--format=%P|%s", "main") == (
        f"{worktree.base_commit} {run_git(person, 'rev-parse', worktree.branch)}|Land it"
    )
    assert landed.commit == run_git(person, "rev-parse", "HEAD")


async def test_landing_again_after_a_crash_does_nothing(person: Path, tmp_path: Path) -> None:
    worktree = await worker(person, tmp_path)
    await merge(worktree)
    after = run_git(person, "rev-parse", "main")
    await merge(worktree)
    assert run_git(person, "rev-parse", "main") == after


@pytest.mark.parametrize("change", ["unstaged", "staged", "deleted"])
async def test_a_checkout_of_the_base_with_changes_refuses_and_is_not_touched(
    person: Path, tmp_path: Path, change: str
) -> None:
    worktree = await worker(person, tmp_path)
    if change == "deleted":
        (person / "b.txt").unlink()
    else:
        write(person, a_dot_txt="mine")
    if change == "staged":
        run_git(person, "add", "a.txt")
    before = fingerprint(person)
    with pytest.raises(ConflictError) as caught:
        await merge(worktree)
    assert "main is checked out in" in caught.value.message
    assert str(person) in caught.value.message
    assert "then approve again" in caught.value.hint
    assert not isinstance(caught.value, BaseMovedError)
    assert fingerprint(person) == before


async def test_an_untracked_file_that_would_be_overwritten_refuses_and_is_not_touched(
    person: Path, tmp_path: Path
) -> None:
    worktree = await worker(person, tmp_path)
    write(person, work1_dot_txt="mine, not committed")
    before = fingerprint(person)
    with pytest.raises(ConflictError, match="overwritten"):
        await merge(worktree)
    assert fingerprint(person) == before


async def test_a_linked_worktree_of_the_person_with_changes_refuses_too(person: Path, tmp_path: Path) -> None:
    run_git(person, "checkout", "-q", "-b", "elsewhere")
    run_git(person, "worktree", "add", "-q", str(tmp_path / "linked"), "main")
    worktree = await worker(person, tmp_path)
    write(tmp_path / "linked", a_dot_txt="mine")
    with pytest.raises(ConflictError, match="linked"):
        await merge(worktree)
    run_git(tmp_path / "linked", "checkout", "-q", "a.txt")
    await merge(worktree)
    assert (tmp_path / "linked" / "work1.txt").exists()


async def test_changes_on_another_branch_do_not_hinder_and_are_not_touched(person: Path, tmp_path: Path) -> None:
    worktree = await worker(person, tmp_path)
    run_git(person, "checkout", "-q", "-b", "mine")
    write(person, a_dot_txt="mine")
    before = fingerprint(person)
    landed = await merge(worktree)
    after = fingerprint(person)
    assert (after.head, after.state, after.index, after.files) == (
        before.head,
        before.state,
        before.index,
        before.files,
    )
    assert run_git(person, "rev-parse", "main") == landed.commit


def rebasing_main(person: Path) -> None:
    run_git(person, "branch", "side", "HEAD~1")
    run_git(person, "config", "advice.skippedCherryPicks", "false")
    commit(person, "two", a_dot_txt="two")
    run_git(person, "-c", "sequence.editor=sed -i s/^pick/edit/", "rebase", "-i", "HEAD~1", check=False)


def bisecting_main(person: Path) -> None:
    run_git(person, "bisect", "start", "HEAD", "HEAD~1")


def merging_into_main(person: Path) -> None:
    run_git(person, "checkout", "-q", "-b", "side", "HEAD~1")
    commit(person, "side", side_dot_txt="s")
    run_git(person, "checkout", "-q", "main")
    run_git(person, "merge", "-q", "--no-commit", "--no-ff", "side")


@pytest.mark.parametrize("state", [rebasing_main, bisecting_main, merging_into_main], ids=lambda state: state.__name__)
async def test_a_base_in_the_middle_of_something_refuses_and_is_not_touched(
    person: Path, tmp_path: Path, state: object
) -> None:
    commit(person, "another", n_dot_txt="n")
    assert callable(state)
    state(person)
    worktree = await worker(person, tmp_path)
    before = fingerprint(person)
    with pytest.raises(ConflictError, match=r"a (rebase|bisect|merge) of main is going on") as caught:
        await merge(worktree)
    assert "finish or abort it there" in caught.value.hint
    assert fingerprint(person) == before


async def test_a_base_that_has_moved_is_refused_until_the_branch_stands_on_it(person: Path, tmp_path: Path) -> None:
    worktree = await worker(person, tmp_path)
    moved = commit(person, "moved", m_dot_txt="m")
    for method in (merge, forward):
        with pytest.raises(BaseMovedError, match="main has moved"):
            await method(worktree)
    result = await rebase(worktree, moved)
    await forward(result.worktree)
    assert run_git(person, "log", "--format=%s", "main") == "work 1\nmoved\nFirst"


async def test_of_landings_at_the_same_moment_each_stands_on_the_one_before(person: Path, tmp_path: Path) -> None:
    workers = [await worker(person, tmp_path, number) for number in range(5)]

    async def until_landed(worktree: Worktree) -> int:
        for turn in range(50):
            try:
                await merge(worktree)
            except BaseMovedError:
                result = await rebase(worktree, await base_commit(worktree.repo, "main"))
                assert result.ok
                worktree = result.worktree
            else:
                return turn
        raise AssertionError("never landed")

    turns = await asyncio.gather(*(until_landed(worktree) for worktree in workers))
    assert sum(turns) > 0
    assert {path.name for path in person.glob("work*.txt")} == {f"work{number}.txt" for number in range(5)}
    merges = run_git(person, "log", "--first-parent", "--merges", "--format=%s", "main")
    assert merges == "\n".join(["Land it"] * 5)
    assert run_git(person, "status", "--porcelain") == ""


async def test_a_bare_repository_without_remote_is_its_own_target(person: Path, tmp_path: Path) -> None:
    run_git(tmp_path, "clone", "-q", "--bare", str(person), "bare.git")
    run_git(tmp_path / "bare.git", "remote", "remove", "origin")
    landed = await merge(await worker(tmp_path / "bare.git", tmp_path))
    assert run_git(tmp_path / "bare.git", "rev-parse", "main") == landed.commit


async def test_a_work_tree_that_lies_elsewhere_is_brought_along(tmp_path: Path) -> None:
    person = make_repository(tmp_path / "p")
    (person / ".git").rename(tmp_path / "store")
    (person / ".git").write_text(f"gitdir: {tmp_path}/store\n")
    run_git(person, "config", "core.worktree", "../p")
    worktree = await worker(person, tmp_path)
    write(person, a_dot_txt="mine")
    before = fingerprint(person)
    with pytest.raises(ConflictError, match="main is checked out in"):
        await merge(worktree)
    assert fingerprint(person) == before
    run_git(person, "checkout", "-q", "a.txt")
    landed = await merge(worktree)
    assert run_git(person, "rev-parse", "HEAD") == landed.commit
    assert run_git(person, "status", "--porcelain") == ""
    assert (person / "work1.txt").exists()


async def test_a_remote_gets_the_push_and_the_person_s_repository_stays_as_it_is(tmp_path: Path) -> None:
    origin, mine = make_remote(tmp_path)
    write(mine, a_dot_txt="dirty and on main")
    worktree = await worker(mine, tmp_path)
    before = fingerprint(mine)
    landed = await merge(worktree)
    assert landed.remote == "origin"
    assert run_git(origin, "rev-parse", "main") == landed.commit
    assert fingerprint(mine) == before
    assert await base_commit(worktree.repo, "main") == landed.commit


async def test_a_remote_that_moved_without_our_knowing_refuses_the_push(tmp_path: Path) -> None:
    origin, mine = make_remote(tmp_path)
    worktree = await worker(mine, tmp_path)
    theirs = advance(tmp_path, origin)
    with pytest.raises(BaseMovedError, match="main of origin has moved"):
        await merge(worktree)
    assert run_git(origin, "rev-parse", "main") == theirs


async def test_a_remote_that_refuses_by_policy_is_a_conflict_with_its_words(tmp_path: Path) -> None:
    origin, mine = make_remote(tmp_path)
    hook = origin / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'main is protected' >&2\nexit 1\n")
    hook.chmod(0o755)
    worktree = await worker(mine, tmp_path)
    with pytest.raises(ConflictError, match="main is protected") as caught:
        await merge(worktree)
    assert "pull request" in caught.value.hint


async def test_an_unreachable_remote_is_unavailable(tmp_path: Path) -> None:
    origin, mine = make_remote(tmp_path)
    worktree = await worker(mine, tmp_path)
    origin.rename(tmp_path / "away")
    with pytest.raises(UnavailableError, match="could not be pushed to origin"):
        await merge(worktree)


async def test_a_shallow_clone_lands_on_its_remote(tmp_path: Path) -> None:
    origin, _ = make_remote(tmp_path)
    advance(tmp_path, origin)
    run_git(tmp_path, "clone", "-q", "--depth=1", f"file://{origin}", "shallow")
    landed = await merge(await worker(tmp_path / "shallow", tmp_path))
    assert run_git(origin, "rev-parse", "main") == landed.commit


async def test_the_person_s_hooks_are_not_run_by_a_landing(person: Path, tmp_path: Path) -> None:
    worktree = await worker(person, tmp_path)
    for name in ("pre-push", "pre-receive", "update", "post-receive", "push-to-checkout", "post-update"):
        hook = person / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran-{name}'\n")
        hook.chmod(0o755)
    await merge(worktree)
    assert not list(tmp_path.glob("ran-*"))
