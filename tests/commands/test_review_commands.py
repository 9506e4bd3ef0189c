"""`qd review`: list, show, approve, request changes, reject."""

import asyncio
from typing import Any

import pytest

from config.errors import ConflictError, NotFoundError, QuarterdeckError, UnavailableError, UsageError
from core.tasks.watch import Watch
from tests.crew import Crew


async def in_review(crew: Crew) -> int:
    task = await crew.add(description="make it so")
    await crew.to_review(task)
    return task


async def settle(crew: Crew, task: int, status: str, note: str | None = None) -> None:
    """The engine waits for an approval and then says what became of it."""
    async with asyncio.timeout(30):
        while not await crew.connection.fetchval(
            "select true from review where task = $1 and status = 'approved'", task
        ):
            await asyncio.sleep(0.01)
    await crew.connection.execute(
        "update review set status = $2, note = coalesce($3, note) where task = $1 and status = 'approved'",
        task,
        status,
        note,
    )
    if status == "merged":
        await crew.connection.execute("select task_move($1, '{review}', 'completed')", task)
    await crew.db.ring("review", f"task:{task}")


async def test_what_waits_for_a_review_is_listed_and_shown_with_its_checks(crew: Crew) -> None:
    task = await in_review(crew)
    [run] = await crew.runs(task)
    for round_, status in ((1, "failed"), (2, "passed")):
        await crew.connection.execute(
            "insert into gate (run, round, position, command, status, exit_code, seconds, output) values ($1, $2, 1, 'make test', $3, 0, 2, 'ok')",
            run,
            round_,
            status,
        )
    await crew.say(run, [("message", "I did it"), ("output", "…")])
    [review] = await crew.do("review.list")
    assert (review.task, review.title, review.status, review.project) == (task, "mend it", "open", "app")
    assert await crew.do("review.list", status=["merged"]) == []
    shown = await crew.do("review.show", task=task)
    assert (shown.review, shown.description, shown.last_message) == (review, "make it so", "I did it")
    assert [(gate.command, gate.status) for gate in shown.gates] == [("make test", "passed")]
    other = await crew.add()
    with pytest.raises(NotFoundError, match=f"task #{other} has no review"):
        await crew.do("review.show", task=other)


async def test_an_approval_waits_for_the_merge(crew: Crew) -> None:
    task = await in_review(crew)
    async with asyncio.TaskGroup() as group:
        approving = group.create_task(crew.do("review.approve", task=task, note="nice"))
        group.create_task(settle(crew, task, "merged"))
    review = approving.result()
    assert (review.status, review.note, review.actor) == ("merged", "nice", "user:supervisor")
    with pytest.raises(ConflictError, match="is merged by user:supervisor already"):
        await crew.do("review.approve", task=task)


async def test_an_approval_that_cannot_be_merged_says_why(crew: Crew) -> None:
    task = await in_review(crew)
    for status, words in (
        ("open", "it is open for review again: main moves too often"),
        ("conflict", "was sent back: main moves"),
    ):
        async with asyncio.TaskGroup() as group:
            approving = group.create_task(refused(crew, task))
            group.create_task(settle(crew, task, status, "main moves too often"))
        assert words in approving.result()


async def refused(crew: Crew, task: int) -> str:
    with pytest.raises(QuarterdeckError) as caught:
        await crew.do("review.approve", task=task)
    return caught.value.message


async def test_without_an_engine_nothing_is_approved(crew: Crew) -> None:
    task = await in_review(crew)
    await crew.connection.execute("update engine set lease_until = now() - interval '1 s'")
    with pytest.raises(UnavailableError, match="no engine is running") as caught:
        await crew.do("review.approve", task=task)
    assert "qd up" in caught.value.hint
    assert [review.status for review in await crew.do("review.list")] == ["open"]


async def test_an_approval_can_give_up_waiting_and_be_taken_up_again(crew: Crew) -> None:
    task = await in_review(crew)
    with pytest.raises(QuarterdeckError, match=r"approved and not merged after 0\.05 s"):
        await crew.do("review.approve", task=task, timeout=0.05)
    with pytest.raises(ConflictError, match="approved and being merged"):
        await crew.do("task.cancel", task=task)
    async with Watch.on(crew.db.dsn, f"task:{task}") as watch, asyncio.timeout(30):
        assert await watch.changed()
        approving = asyncio.create_task(crew.do("review.approve", task=task))
        assert await watch.changed()
    await settle(crew, task, "merged")
    assert (await approving).status == "merged"


async def test_requested_changes_begin_another_attempt_however_often(crew: Crew) -> None:
    task = await crew.add(max_attempts=1)
    for attempt in (1, 2, 3):
        await crew.to_review(task)
        review = await crew.do("review.request-changes", task=task, text=f"more of {attempt}")
        assert (review.status, review.note) == ("changes_requested", f"more of {attempt}")
        again = await crew.do("task.show", task=task)
        assert (again.status, again.attempts) == ("pending", attempt)
        assert (
            await crew.connection.fetchval("select feedback from task_body where task = $1", task)
            == f"more of {attempt}"
        )
    with pytest.raises(ConflictError, match="is changes requested by user:supervisor already"):
        await crew.do("review.request-changes", task=task, text="x")


async def test_a_rejection_cancels_the_task_with_the_reason(crew: Crew) -> None:
    task = await in_review(crew)
    child = await crew.add(after=[task])
    with pytest.raises(UsageError, match="reason is empty"):
        await crew.do("review.reject", task=task, reason=" ")
    assert (await crew.do("review.reject", task=task, reason="not wanted")).status == "rejected"
    shown = await crew.do("task.show", task=task)
    assert (shown.status, shown.reason) == ("cancelled", "rejected by user:supervisor: not wanted")
    assert (await crew.do("task.show", task=child)).status == "failed"


async def test_two_judgements_at_once_are_one(crew: Crew) -> None:
    task = await in_review(crew)

    async def judge(name: str, **arguments: Any) -> bool:
        try:
            await crew.do(name, task=task, **arguments)
        except ConflictError:
            return False
        return True

    done = await asyncio.gather(judge("review.reject", reason="no"), judge("review.request-changes", text="more"))
    assert sorted(done) == [False, True]


async def test_a_cancelled_task_leaves_no_open_review(crew: Crew) -> None:
    task = await in_review(crew)
    await crew.do("task.cancel", task=task)
    assert await crew.do("review.list") == []
    assert (await crew.do("review.show", task=task)).review.status == "superseded"
