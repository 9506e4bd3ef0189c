"""`qd run`: list, show, logs, diff, and what people tell a run."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from config.errors import ConflictError, NotFoundError, UsageError
from core.commands.views import EventView, RunView
from core.workspace.repository import open_repository
from core.workspace.worktree import create
from tests.crew import Crew

INTERFACE = [
    "id",
    "task",
    "attempt",
    "project",
    "agent",
    "engine",
    "status",
    "branch",
    "worktree",
    "pid",
    "session",
    "started_at",
    "finished_at",
    "exit_code",
    "verdict",
    "reason",
    "cost_usd",
    "tokens",
    "events",
    "files_changed",
    "insertions",
    "deletions",
]


def test_a_run_has_the_fields_that_others_rely_on_in_their_order() -> None:
    assert [field.name for field in fields(RunView)] == [*INTERFACE, "cost_basis"]
    assert [field.name for field in fields(EventView)] == ["run", "seq", "at", "kind", "text", "data"]


def test_of_a_check_that_did_not_pass_a_person_reads_what_it_printed() -> None:
    def words(**data: object) -> str:
        return EventView(UUID(int=1), 1, datetime.now(UTC), "verify", "said", data).words

    assert words(passed=False, output="1 failed\n") == "said\n1 failed"
    assert words(passed=True, output="3 passed\n") == "said"


async def seqs(stream: AsyncIterator[EventView]) -> list[int]:
    return [event.seq async for event in stream]


async def started(crew: Crew) -> tuple[int, int]:
    """A task and its running run."""
    task = await crew.add()
    return task, await crew.begin(task)


async def test_a_run_is_named_in_three_ways(crew: Crew) -> None:
    task, _ = await started(crew)
    run = await crew.do("run.show", run=f"#{task}.1")
    assert (run.task, run.attempt, run.status, run.engine, run.agent) == (task, 1, "running", "here", "coder")
    assert await crew.do("run.show", run=str(run.id)) == run
    assert await crew.do("run.show", run=str(task)) == run
    assert await crew.do("run.list") == await crew.do("run.list", task=task, status=["running"], project="app") == [run]
    assert await crew.do("run.list", status=["failed"]) == []
    for name in (f"{task}.2", "999.1", "999"):
        with pytest.raises(NotFoundError):
            await crew.do("run.show", run=name)
    with pytest.raises(UsageError, match="is no run"):
        await crew.do("run.show", run="mine")
    other = await crew.add()
    with pytest.raises(NotFoundError, match=f"task #{other} has no run yet"):
        await seqs(await crew.do("run.logs", run=str(other)))


async def test_a_log_is_paged_filtered_and_cut(crew: Crew) -> None:
    task, run = await started(crew)
    await crew.say(run, [("message" if n % 10 == 0 else "output", f"line {n}") for n in range(1, 2501)])

    async def logged(**arguments: Any) -> list[int]:
        return await seqs(await crew.do("run.logs", run=f"{task}.1", **arguments))

    assert await logged() == list(range(1, 2501))
    assert await logged(since=2490) == list(range(2491, 2501))
    assert await logged(since=10, limit=3) == [11, 12, 13]
    assert await logged(limit=1500) == list(range(1, 1501))
    assert await logged(kind=["message"]) == list(range(10, 2501, 10))
    assert await logged(tail=2) == [2499, 2500]
    assert await logged(tail=2, kind=["message", "error"]) == [2490, 2500]
    assert await logged(since=5000) == []
    with pytest.raises(UsageError, match="kind"):
        await crew.do("run.logs", run=f"{task}.1", kind=["noise"])
    with pytest.raises(UsageError, match="limit 0"):
        await logged(limit=0)


async def test_following_loses_nothing_doubles_nothing_and_ends_with_the_run(crew: Crew) -> None:
    task, run = await started(crew)
    await crew.say(run, [("output", "before")] * 1500)
    stream = await crew.do("run.logs", run=str(task), follow=True)
    following = asyncio.create_task(seqs(stream))
    for size in (1, 700, 1, 1300, 3):
        await crew.say(run, [("output", "more")] * size)
        await asyncio.sleep(0)
    await crew.end(task)
    async with asyncio.timeout(30):
        assert await following == list(range(1, 3506))


async def test_following_a_kind_ends_too(crew: Crew) -> None:
    task, run = await started(crew)
    following = asyncio.create_task(seqs(await crew.do("run.logs", run=str(task), follow=True, kind=["error"])))
    await crew.say(run, [("output", "a"), ("error", "b"), ("output", "c")])
    await crew.say(run, [("output", "a"), ("error", "b")])
    await crew.end(task)
    async with asyncio.timeout(30):
        assert await following == [2, 5]


async def test_following_stops_after_the_limit_though_the_run_goes_on(crew: Crew) -> None:
    task, run = await started(crew)
    following = asyncio.create_task(seqs(await crew.do("run.logs", run=str(task), follow=True, limit=2)))
    await crew.say(run, [("output", "a")] * 3)
    async with asyncio.timeout(30):
        assert await following == [1, 2]


async def test_following_a_task_waits_for_its_first_run(crew: Crew) -> None:
    task = await crew.add()
    following = asyncio.create_task(seqs(await crew.do("run.logs", run=str(task), follow=True)))
    run = await crew.begin(task)
    await crew.say(run, [("output", "a")])
    await crew.end(task)
    async with asyncio.timeout(30):
        assert await following == [1]


async def test_following_a_task_that_never_runs_ends_with_it(crew: Crew) -> None:
    task = await crew.add()
    following = asyncio.create_task(seqs(await crew.do("run.logs", run=str(task), follow=True)))
    await crew.do("task.cancel", task=task)
    async with asyncio.timeout(30):
        assert await following == []


async def test_what_a_run_is_told_is_numbered_without_a_gap(crew: Crew) -> None:
    task, run = await started(crew)
    told = await asyncio.gather(
        *(crew.do("run.send", run=str(task), text=f"message {n}") for n in range(5)),
        crew.do("run.pause", run=f"{task}.1"),
        crew.do("run.resume", run=str(task)),
        crew.do("run.stop", run=str(task)),
    )
    assert sorted(item.seq for item in told) == list(range(1, 9))
    rows = await crew.connection.fetch("select seq, kind, data, actor from run_input where run = $1 order by seq", run)
    by_seq = {item.seq: item for item in told}
    for row in rows:
        item = by_seq[row["seq"]]
        assert (row["kind"], row["data"].get("text"), row["actor"]) == (item.kind, item.text, "user:supervisor")
    assert await crew.connection.fetchval("select inputs from run where number = $1", run) == 8


async def test_a_run_that_has_ended_is_told_nothing(crew: Crew) -> None:
    task, _ = await started(crew)
    await crew.end(task)
    calls: list[tuple[str, dict[str, Any]]] = [("stop", {}), ("pause", {}), ("resume", {}), ("send", {"text": "hello"})]
    for verb, more in calls:
        with pytest.raises(ConflictError, match=f"run {task}.1 has ended \\(succeeded\\)"):
            await crew.do(f"run.{verb}", run=str(task), **more)
    with pytest.raises(UsageError, match="message is empty"):
        await crew.do("run.send", run=str(task), text=" ")


def a_repository(tmp_path: Path) -> tuple[Path, Callable[..., str]]:
    """A repository with one commit, and git in it."""
    repository = tmp_path / "a repository"
    repository.mkdir()

    def git(*words: str) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", *who, *words], cwd=repository, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q", "-b", "main")
    (repository / "list.txt").write_text("one\n")
    git("add", "-A")
    git("commit", "-q", "-m", "first")
    return repository, git


async def test_a_diff_is_the_change_as_a_patch(crew: Crew, tmp_path: Path) -> None:
    repository, git = a_repository(tmp_path)
    base = git("rev-parse", "HEAD")
    (repository / "list.txt").write_text("one\ntwo\n")
    git("commit", "-q", "-a", "-m", "second")
    await crew.connection.execute("update project set path = $1 where id = 'app'", str(repository))
    task, run = await started(crew)
    with pytest.raises(ConflictError, match="has no change yet"):
        await crew.do("run.diff", run=str(task))
    await crew.connection.execute(
        "update run set base_commit = $2, head_commit = $3 where number = $1", run, base, git("rev-parse", "HEAD")
    )
    shown = await crew.do("run.diff", run=str(task))
    assert (shown.run, shown.base) == (f"{task}.1", base)
    assert "+two" in shown.patch.splitlines()
    assert "cut after" in (await crew.do("run.diff", run=str(task), max_bytes=30)).patch


async def test_the_diff_of_a_run_at_work_is_what_stands_in_its_worktree(crew: Crew, tmp_path: Path) -> None:
    repository, git = a_repository(tmp_path)
    base = git("rev-parse", "HEAD")
    tree = await create(await open_repository(repository), tmp_path / "trees" / "1", "qd/1-mend", base)
    (tree.path / "list.txt").write_text("one\nedited\n")
    (tree.path / "new.txt").write_text("not yet added\n")
    await crew.connection.execute("update project set path = $1 where id = 'app'", str(repository))
    task, run = await started(crew)
    await crew.connection.execute(
        "update run set base_commit = $2, branch = $3, worktree = $4 where number = $1",
        run,
        base,
        tree.branch,
        str(tree.path),
    )
    shown = await crew.do("run.diff", run=str(task))
    assert (shown.base, shown.head) == (base, None)
    assert {"+edited", "+not yet added"} <= set(shown.patch.splitlines())
    await crew.end(task)
    assert (await crew.do("run.diff", run=str(task))).patch == ""
