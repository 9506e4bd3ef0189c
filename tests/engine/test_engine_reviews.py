"""A person judges; the engine merges, and says why when it cannot."""

import pytest

from config.errors import QuarterdeckError
from tests.engine.engine_kit import Site, git


async def test_an_approved_change_is_merged(crew: Site) -> None:
    repo = await crew.project(auto_merge=False)
    task = await crew.add("write made.txt yes")
    await crew.reaches(task, "review")
    assert "made.txt" not in git(repo, "ls-tree", "--name-only", "main")
    review = await crew.do("review.approve", task=str(task))
    assert review.status == "merged"
    assert await crew.status(task) == "completed"
    assert git(repo, "show", "main:made.txt") == "yes"
    assert review.merge_commit == git(repo, "rev-parse", "main")
    await crew.tidy()
    await crew.until(lambda: no_branch(repo))


async def test_the_gates_run_again_when_the_base_has_moved(crew: Site) -> None:
    repo = await crew.project(auto_merge=False, verify=["! test -f forbidden.txt"])
    task = await crew.add("write made.txt yes")
    await crew.reaches(task, "review")
    commit(repo, "forbidden.txt", "no")
    with pytest.raises(QuarterdeckError, match="sent back"):
        await crew.do("review.approve", task=str(task))
    assert "made.txt" not in git(repo, "ls-tree", "--name-only", "main")
    assert "the base moved" in str(await crew.sql.fetchval("select note from review"))


async def test_a_conflict_sends_the_task_back_with_the_conflict_as_its_text(crew: Site) -> None:
    repo = await crew.project(auto_merge=False, files={"shared.txt": "base\n"})
    task = await crew.add("attempt 1 write shared.txt mine; attempt 2 prompt told.txt; attempt 2 until never-there.txt")
    await crew.reaches(task, "review")
    commit(repo, "shared.txt", "theirs")
    with pytest.raises(QuarterdeckError, match="conflicts with main"):
        await crew.do("review.approve", task=str(task))
    await crew.reaches(task, "in_progress")
    told = await crew.tree(task) / "told.txt"
    await crew.until(lambda: is_there(told))
    assert "shared.txt" in told.read_text()
    assert git(repo, "show", "main:shared.txt") == "theirs"
    await crew.do("task.cancel", task=str(task))
    await crew.reaches(task, "cancelled")


async def test_a_dirty_checkout_of_the_base_is_not_touched_and_the_review_stays_open(crew: Site) -> None:
    repo = await crew.project(files={"shared.txt": "base\n"})
    (repo / "shared.txt").write_text("my own work\n")
    task = await crew.add("write shared.txt theirs")
    await crew.reaches(task, "review")
    assert (repo / "shared.txt").read_text() == "my own work\n"
    note = await crew.sql.fetchval("select note from review where task = $1", task)
    assert "is checked out in" in note
    git(repo, "checkout", "shared.txt")
    await crew.do("review.approve", task=str(task))
    assert (repo / "shared.txt").read_text() == "theirs\n"


async def test_requested_changes_go_back_to_the_agent_in_the_same_worktree(crew: Site) -> None:
    repo = await crew.project(auto_merge=False)
    task = await crew.add("append made.txt once; attempt 2 prompt told.txt")
    await crew.reaches(task, "review")
    await crew.do("review.request-changes", task=str(task), text="say it twice")
    await crew.until(lambda: crew.sql.fetchval("select count(*) = 2 from run where status = 'succeeded'"))
    await crew.reaches(task, "review")
    await crew.do("review.approve", task=str(task))
    assert git(repo, "show", "main:made.txt") == "once\nonce"
    assert "say it twice" in git(repo, "show", "main:told.txt")


async def test_a_rejected_change_is_kept_but_not_merged(crew: Site) -> None:
    repo = await crew.project(auto_merge=False)
    task = await crew.add("write made.txt yes")
    await crew.reaches(task, "review")
    run = await crew.sql.fetchval("select id from run")
    await crew.do("review.reject", task=str(task), reason="not wanted")
    await crew.reaches(task, "cancelled")
    await crew.tidy()
    assert "made.txt" not in git(repo, "ls-tree", "--name-only", "main")
    assert git(repo, "show", f"refs/qd/salvage/{run}:made.txt") == "yes"


async def no_branch(repo) -> bool:
    return not git(repo, "branch", "--list", "qd/*")


def commit(repo, name: str, text: str) -> None:
    (repo / name).write_text(text + "\n")
    git(repo, "add", "-A")
    git(repo, "-c", "user.name=p", "-c", "user.email=p@x", "commit", "-q", "-m", "theirs")


async def is_there(path) -> bool:
    return path.exists() and path.stat().st_size > 0
