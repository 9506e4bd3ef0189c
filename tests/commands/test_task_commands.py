"""`qd task`: add, list, show, edit, cancel, retry, delete, priority, wait."""

import asyncio
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from config.errors import ConflictError, ForbiddenError, NotFoundError, QuarterdeckError, UsageError
from core.commands.views import TaskView
from storage.database import Role
from storage.queries import tasks as rows
from tests.crew import Crew

INTERFACE = [
    "id",
    "number",
    "project",
    "title",
    "description",
    "status",
    "priority",
    "agent",
    "parent",
    "after",
    "paths",
    "branch",
    "attempts",
    "max_attempts",
    "max_cost_usd",
    "cost_usd",
    "reason",
    "not_before",
    "deadline",
    "created_at",
    "updated_at",
    "started_at",
    "finished_at",
]


def test_a_task_has_the_fields_that_others_rely_on_in_their_order() -> None:
    assert [field.name for field in fields(TaskView)][: len(INTERFACE)] == INTERFACE


async def test_a_task_is_added_with_all_that_was_said_of_it(crew: Crew) -> None:
    first = await crew.add()
    before = datetime.now(UTC)
    task = await crew.do(
        "task.add", title="  Sort\tthe\nlist ", project="app", description="all of it", priority="5", after=[f"#{first}"],
        parent=str(first), path=["src/**", "docs/*.md"], agent="coder", not_before="+2h", deadline="2099-01-01T00:00:00Z",
        max_attempts="2", max_cost="1.50", on_failure="cancel",
    )  # fmt: skip
    assert (task.title, task.description, task.priority, task.agent) == ("Sort the list", "all of it", 5, "coder")
    assert (task.after, task.parent, task.paths) == ((first,), first, ("src/**", "docs/*.md"))
    assert (task.status, task.reason) == ("blocked", f"waits for #{first} (pending)")
    assert (task.max_attempts, task.max_cost_usd, task.cost_usd, task.on_failure) == (2, Decimal("1.5"), 0, "cancel")
    assert task.deadline == datetime(2099, 1, 1, tzinfo=UTC)
    assert task.not_before is not None
    assert timedelta(hours=1, minutes=59) < task.not_before - before < timedelta(hours=2, minutes=1)
    assert isinstance(task.id, UUID)
    assert await crew.do("task.show", task=str(task.id)) == task


async def test_a_description_is_read_from_standard_input(crew: Crew) -> None:
    task = await crew.do("task.add", title="t", project="app", description="-", stdin="from\0there\n")
    assert task.description == "from\ufffdthere\n"


async def test_the_project_is_the_one_in_which_the_person_stands(crew: Crew, tmp_path: Path) -> None:
    inner = tmp_path / "repo with space" / "vendor" / "lib"
    (inner / "src").mkdir(parents=True)
    await crew.project("outer", path=str(tmp_path / "repo with space"))
    await crew.project("inner", path=str(inner))
    (tmp_path / "link").symlink_to(inner / "src")
    for folder, project in ((inner.parent, "outer"), (inner / "src", "inner"), (tmp_path / "link", "inner")):
        object.__setattr__(crew.context, "cwd", folder)
        assert (await crew.do("task.add", title="t")).project == project
    object.__setattr__(crew.context, "cwd", tmp_path)
    with pytest.raises(UsageError, match="lies in no registered project"):
        await crew.do("task.add", title="t")


REFUSED: list[tuple[dict[str, Any], type[QuarterdeckError], str]] = [
    ({"project": "nothing"}, NotFoundError, 'there is no project "nothing"'),
    ({"agent": "nobody"}, NotFoundError, 'there is no agent "nobody"'),
    ({"after": ["77"]}, NotFoundError, "there is no task #77"),
    ({"after": [str(uuid4())]}, NotFoundError, "there is no task"),
    ({"parent": "77"}, NotFoundError, "there is no task #77"),
    ({"priority": "6"}, UsageError, "priority '6'"),
    ({"title": " "}, UsageError, "must not be empty"),
    ({"deadline": "2001-01-01T00:00:00Z"}, UsageError, "in the past"),
    ({"deadline": "+1h", "not_before": "+2h"}, UsageError, "is not after the start"),
    ({"not_before": "soon"}, UsageError, "is no time"),
    ({"cron": "61 * * * *"}, UsageError, "cron '61 "),
    ({"cron": "0 0 30 2 *"}, UsageError, "cron"),
    ({"cron": "0 0 * * *", "not_before": "+1h"}, UsageError, "dates alone"),
    ({"max_cost": "0"}, UsageError, "max-cost"),
    ({"max_attempts": "0"}, UsageError, "max-attempts 0"),
    ({"on_failure": "explode"}, UsageError, "on-failure"),
]


async def test_what_makes_no_sense_is_refused_naming_it(crew: Crew) -> None:
    for arguments, error, words in REFUSED:
        with pytest.raises(error) as caught:
            await crew.do("task.add", **({"title": "t", "project": "app"} | arguments))
        assert words in caught.value.sentence()
    assert await crew.do("task.list") == []


async def test_a_task_cannot_wait_for_one_that_did_not_succeed(crew: Crew) -> None:
    lost = await crew.add()
    await crew.do("task.cancel", task=lost)
    with pytest.raises(ConflictError, match=f"task #{lost} did not succeed"):
        await crew.add(after=[lost])


async def test_a_recurring_task_waits_for_its_first_date(crew: Crew) -> None:
    task = await crew.do("task.add", title="t", project="app", cron="30 2 * * *")
    assert (task.status, task.cron) == ("waiting", "30 2 * * *")
    assert (task.not_before.hour, task.not_before.minute, task.not_before.utcoffset()) == (2, 30, timedelta(0))
    assert task.not_before > datetime.now(UTC)
    edited = await crew.do("task.edit", task=task.number, cron="45 3 * * *")
    assert (edited.status, edited.not_before.hour, edited.not_before.minute) == ("waiting", 3, 45)
    with pytest.raises(ConflictError, match="recurs"):
        await crew.do("task.edit", task=task.number, not_before="+1h")
    await crew.do("task.cancel", task=task.number)
    again = await crew.do("task.retry", task=task.number)
    assert (again.status, again.not_before.hour) == ("waiting", 3)


async def test_a_viewer_may_look_and_not_touch(crew: Crew) -> None:
    number = await crew.add()
    assert (await crew.do("task.show", role=Role.VIEWER, task=number)).number == number
    with pytest.raises(ForbiddenError):
        await crew.do("task.cancel", role=Role.VIEWER, task=number)


async def test_a_list_is_filtered_and_paged(crew: Crew) -> None:
    await crew.project("web")
    numbers = [await crew.add(f"number {n}", priority=1 + n % 5) for n in range(6)]
    other = await crew.add("100% of_it", project="web", description="Deep in the TEXT")
    await crew.do("task.cancel", task=numbers[0])

    async def listed(**arguments: Any) -> list[int]:
        return [task.number for task in await crew.do("task.list", **arguments)]

    assert await listed() == [other, *reversed(numbers)]
    assert await listed(project="web") == [other]
    assert await listed(status=["cancelled"]) == [numbers[0]]
    assert await listed(status=["cancelled", "pending"], limit=3) == [other, numbers[5], numbers[4]]
    assert await listed(search="deep in") == [other]
    assert await listed(search="100% of_") == [other]
    assert await listed(search="%") == [other]
    assert await listed(before=numbers[2]) == [numbers[1], numbers[0]]
    assert await listed(order="queue", project="app", status=["pending"]) == [numbers[n] for n in (4, 3, 2, 1, 5)]


async def test_a_list_reads_little_more_than_it_shows(crew: Crew) -> None:
    await rows.add_many(crew.connection, [{"project": "app", "title": str(n)} for n in range(3000)])
    await crew.connection.execute("analyze task")
    filters = ("", "where project = 'app'", "where status = 'pending'", "where status = 'failed'")
    for condition in filters:
        plan = await crew.connection.fetch(
            f"explain select number from task {condition} order by number desc limit 100"
        )
        assert not any("Seq Scan" in line[0] or "Sort" in line[0] for line in plan), condition
    assert len(await crew.do("task.list")) == 100


async def test_many_are_added_in_one_statement_in_their_order(crew: Crew) -> None:
    added = await rows.add_many(crew.connection, [{"project": "app", "title": str(n)} for n in range(500)])
    found = await rows.tasks_by_number(crew.connection, [one.number for one in added])
    assert [task.title for task in found] == [str(n) for n in range(500)]
    assert [task.id for task in found] == [one.id for one in added]


async def test_an_edit_changes_what_it_names_and_nothing_else(crew: Crew) -> None:
    number = await crew.add(description="long", priority=2, path=["a"])
    before = await crew.do("task.show", task=number)
    task = await crew.do(
        "task.edit", task=number, title="new", priority=5, max_cost="2", max_attempts=7, deadline="+3d"
    )
    assert (task.title, task.priority, task.max_cost_usd, task.max_attempts) == ("new", 5, 2, 7)
    assert (task.description, task.paths, task.status, task.created_at) == (
        "long",
        ("a",),
        "pending",
        before.created_at,
    )
    task = await crew.do("task.edit", task=number, clear=["deadline", "max-cost", "path", "description"])
    assert (task.deadline, task.max_cost_usd, task.paths, task.description) == (None, None, (), "")
    with pytest.raises(UsageError, match="nothing to change"):
        await crew.do("task.edit", task=number)
    with pytest.raises(UsageError, match="contradict"):
        await crew.do("task.edit", task=number, deadline="+1d", clear=["deadline"])


async def test_dates_and_dependencies_decide_about_the_state(crew: Crew) -> None:
    parent, child = await crew.add(), await crew.add()
    assert (await crew.do("task.edit", task=child, not_before="+1h")).status == "waiting"
    blocked = await crew.do("task.edit", task=child, after=[parent])
    assert (blocked.status, blocked.after) == ("blocked", (parent,))
    assert (await crew.do("task.edit", task=child, clear=["after"])).status == "waiting"
    assert (await crew.do("task.edit", task=child, clear=["not-before"])).status == "pending"


async def test_a_circle_is_refused_and_named(crew: Crew) -> None:
    first = await crew.add()
    second = await crew.add(after=[first])
    third = await crew.add(after=[second])
    with pytest.raises(ConflictError, match=f"#{first} → #{third} → #{second} → #{first}"):
        await crew.do("task.edit", task=first, after=[third])
    with pytest.raises(ConflictError, match=f"#{first} → #{first}"):
        await crew.do("task.edit", task=first, after=[first])
    assert (await crew.do("task.show", task=first)).status == "pending"


async def test_what_the_crew_relies_on_cannot_be_edited(crew: Crew) -> None:
    other, number = await crew.add(priority=1), await crew.add(priority=5)
    await crew.begin(number)
    for change in ({"agent": "coder"}, {"after": [other]}, {"path": ["x"]}, {"not_before": "+1h"}):
        with pytest.raises(ConflictError, match="cannot be edited while it is in progress"):
            await crew.do("task.edit", task=number, **change)
    assert (await crew.do("task.edit", task=number, title="still", priority=4)).title == "still"
    await crew.end(number)
    with pytest.raises(ConflictError, match="while it is completed"):
        await crew.do("task.priority", task=number, priority=1)


async def test_a_raised_priority_is_claimed_first(crew: Crew) -> None:
    first, second = await crew.add(priority=3), await crew.add(priority=1)
    assert (await crew.do("task.priority", task=second, priority=5)).priority == 5
    assert await crew.claim() == [second]
    assert await crew.claim() == [first]


async def test_a_task_that_changes_its_agent_is_found_by_the_new_one(crew: Crew) -> None:
    await crew.agent("other")
    number = await crew.add(agent="coder")
    await crew.connection.execute("update agent set enabled = false where name = 'coder'")
    assert await crew.claim() == []
    await crew.do("task.edit", task=number, agent="other")
    assert await crew.claim() == [number]


async def test_cancelling_ends_what_waits_for_it_too(crew: Crew) -> None:
    parent = await crew.add()
    fails, cancels = await crew.add(after=[parent]), await crew.add(after=[parent], on_failure="cancel")
    task = await crew.do("task.cancel", task=parent, reason="not now")
    assert (task.status, task.reason) == ("cancelled", "cancelled by user:supervisor: not now")
    assert (await crew.do("task.show", task=fails)).status == "failed"
    assert (await crew.do("task.show", task=cancels)).status == "cancelled"
    assert f"task #{parent}" in await crew.reason(fails)
    with pytest.raises(ConflictError, match="is cancelled already"):
        await crew.do("task.cancel", task=parent)


async def test_a_running_task_is_cancelled_by_its_engine(crew: Crew) -> None:
    number = await crew.add()
    await crew.begin(number)
    task = await crew.do("task.cancel", task=number)
    assert (task.status, task.reason) == ("in_progress", "is being cancelled: cancelled by user:supervisor")
    await crew.end(number, "retry", "cancelled")
    assert (await crew.do("task.show", task=number)).status == "cancelled"


async def test_a_retry_forgets_the_failures_and_waits_for_its_parents(crew: Crew) -> None:
    parent = await crew.add(max_attempts=1)
    child = await crew.add(after=[parent])
    await crew.begin(parent)
    await crew.end(parent, "retry", "failed")
    failed = await crew.do("task.show", task=parent)
    assert (failed.status, failed.reason, failed.attempts) == ("failed", "the tests fail", 1)
    with pytest.raises(ConflictError, match=f"waits for #{parent}, which did not succeed"):
        await crew.do("task.retry", task=child)
    assert (await crew.do("task.retry", task=parent)).status == "pending"
    assert (await crew.do("task.retry", task=child)).status == "blocked"
    with pytest.raises(ConflictError, match="is pending"):
        await crew.do("task.retry", task=parent)
    await crew.begin(parent)
    await crew.end(parent)
    assert (await crew.do("task.show", task=child)).status == "pending"
    with pytest.raises(ConflictError, match="is completed"):
        await crew.do("task.retry", task=parent)


async def test_a_task_that_waits_for_a_person_is_started_again_by_one(crew: Crew) -> None:
    number = await crew.add()
    await crew.begin(number)
    await crew.connection.execute("select task_finish($1, 1, 'wait', 'stopped; retry it', null, 'person')", number)
    assert await crew.reason(number) == "stopped; retry it"
    assert (await crew.do("task.retry", task=number)).status == "pending"


async def test_a_retry_past_the_deadline_is_refused(crew: Crew) -> None:
    number = await crew.add(deadline="+1h")
    await crew.connection.execute("update task set deadline = now() where number = $1", number)
    await crew.connection.fetch("select task_expire()")
    with pytest.raises(ConflictError, match="deadline of task"):
        await crew.do("task.retry", task=number)
    await crew.do("task.edit", task=number, clear=["deadline"])
    assert (await crew.do("task.retry", task=number)).status == "pending"


async def test_deleting_takes_the_runs_along_and_spares_what_is_needed(crew: Crew) -> None:
    parent = await crew.add()
    child = await crew.add(after=[parent], parent=parent)
    with pytest.raises(ConflictError, match=f"#{child} cannot start without task #{parent}"):
        await crew.do("task.delete", task=parent)
    await crew.begin(parent)
    with pytest.raises(ConflictError, match="in progress"):
        await crew.do("task.delete", task=parent)
    await crew.end(parent)
    assert (await crew.do("task.delete", task=parent)).status == "completed"
    with pytest.raises(NotFoundError):
        await crew.do("task.show", task=parent)
    assert await crew.do("run.list") == []
    left = await crew.do("task.show", task=child)
    assert (left.status, left.after, left.parent) == ("pending", (), None)


async def test_every_change_is_in_the_audit_with_who_made_it(crew: Crew) -> None:
    number = await crew.add()
    await crew.do("task.priority", task=number, priority=5)
    trail = await crew.connection.fetch(
        "select actor, action, after from audit where kind = 'task' and key = $1 order by id", str(number)
    )
    assert [row["actor"] for row in trail] == ["user:supervisor"] * 2
    assert trail[-1]["after"]["priority"] == 5


async def test_waiting_returns_when_all_are_completed_or_in_review(crew: Crew) -> None:
    done, reviewed = await crew.add(), await crew.add()
    waiting = asyncio.create_task(crew.do("task.wait", role=Role.VIEWER, task=[done, f"#{reviewed}"]))
    for number, outcome in ((done, "completed"), (reviewed, "review")):
        assert not waiting.done()
        await crew.begin(number)
        await crew.end(number, outcome)
    async with asyncio.timeout(30):
        assert [task.status for task in await waiting] == ["completed", "review"]


async def test_waiting_fails_with_the_words_of_what_failed_once_all_have_ended(crew: Crew) -> None:
    parent = await crew.add()
    child, other = await crew.add(after=[parent]), await crew.add()
    waiting = asyncio.create_task(crew.do("task.wait", task=[parent, child, other]))
    await crew.begin(parent)
    await crew.end(parent, "failed")
    await crew.do("task.cancel", task=other)
    async with asyncio.timeout(30):
        with pytest.raises(QuarterdeckError) as caught:
            await waiting
    words = f"task #{parent} failed: the tests fail; task #{child} failed: task #{parent}, on which it depends, did not succeed"
    assert caught.value.message == f"{words}; task #{other} was cancelled: cancelled by user:supervisor"
    assert caught.value.exit_code == 1


async def test_waiting_ends_when_the_time_is_up(crew: Crew) -> None:
    number = await crew.add()
    with pytest.raises(QuarterdeckError, match=f"the time is up; not done: task #{number}") as caught:
        await crew.do("task.wait", task=[number], timeout=0.05)
    assert caught.value.exit_code == 1


async def test_waiting_for_what_has_ended_returns_at_once(crew: Crew) -> None:
    number = await crew.add()
    await crew.begin(number)
    await crew.end(number)
    assert [task.number for task in await crew.do("task.wait", task=[number], timeout=0)] == [number]


async def test_edits_of_one_another_at_the_same_time_close_no_circle(crew: Crew) -> None:
    numbers = [await crew.add() for _ in range(4)]

    async def wait_for_the_next(position: int) -> bool:
        try:
            await crew.do("task.edit", task=numbers[position], after=[numbers[(position + 1) % 4]])
        except ConflictError:
            return False
        return True

    async with asyncio.timeout(60):
        outcomes = await asyncio.gather(*(wait_for_the_next(position) for position in range(4)))
    assert sorted(outcomes) == [False, True, True, True]
    assert not await crew.connection.fetch("select * from queue_reconcile() where n > 0")
