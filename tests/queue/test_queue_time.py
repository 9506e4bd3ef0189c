"""Delays, retries, deadlines and recurring tasks."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from queue_kit import World, connected

from storage.queries import queue


def _soon() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


async def test_a_task_waits_for_its_time_and_is_then_ready(queue_world: World) -> None:
    await queue_world.project()
    engine = await queue_world.register()
    number = await queue_world.add(not_before=_soon())
    assert await queue.promote(queue_world.engine) == 0
    assert await queue_world.claim(engine) == []
    await queue_world.make_due(number)
    assert await queue.promote(queue_world.engine) == 1
    assert [task.number for task in await queue_world.claim(engine)] == [number]


async def test_a_failed_attempt_is_tried_again_until_there_are_no_more(queue_world: World) -> None:
    await queue_world.project()
    engine = await queue_world.register()
    number = await queue_world.add(max_attempts=3)
    statuses = []
    for _ in range(3):
        [task] = await queue_world.claim(engine)
        statuses.append(
            await queue.finish(
                queue_world.engine,
                number,
                task.lease_token,
                "retry",
                reason="tests fail",
                retry_in=timedelta(hours=1),
                feedback="mend it",
            )
        )
        await queue_world.make_due(number)
        await queue.promote(queue_world.engine)
    assert statuses == ["waiting", "waiting", "failed"]
    row = await queue_world.task(number)
    assert (row["reason"], row["feedback"], row["failures"]) == ("tests fail", "mend it", 3)


async def test_a_retry_without_a_pause_is_ready_at_once(queue_world: World) -> None:
    await queue_world.project()
    engine = await queue_world.register()
    number = await queue_world.add()
    [task] = await queue_world.claim(engine)
    assert await queue.finish(queue_world.engine, number, task.lease_token, "retry") == "pending"
    [again] = await queue_world.claim(engine)
    assert (again.number, again.attempts, again.failures) == (number, 2, 1)


async def test_a_task_that_waits_for_a_person_is_not_woken_by_time(queue_world: World) -> None:
    await queue_world.project()
    engine = await queue_world.register()
    number = await queue_world.add()
    [task] = await queue_world.claim(engine)
    assert await queue.finish(queue_world.engine, number, task.lease_token, "wait", wait="person") == "waiting"
    assert await queue.promote(queue_world.engine) == 0
    assert await queue_world.status(number) == "waiting"


async def test_a_child_whose_time_has_not_come_waits_for_it_after_its_parent(queue_world: World) -> None:
    await queue_world.project()
    engine = await queue_world.register()
    parent = await queue_world.add()
    child = await queue_world.add(after=[parent], not_before=_soon())
    [task] = await queue_world.claim(engine)
    await queue.finish(queue_world.engine, parent, task.lease_token, "completed")
    assert await queue_world.status(child) == "waiting"
    await queue_world.make_due(child)
    assert await queue.promote(queue_world.engine) == 1


async def test_what_nobody_works_on_fails_at_its_deadline_with_what_depends_on_it(queue_world: World) -> None:
    await queue_world.project()
    engine = await queue_world.register()
    working = await queue_world.add(deadline=_soon())
    await queue_world.claim(engine)
    late = await queue_world.add(deadline=_soon())
    child = await queue_world.add(after=[late])
    assert await queue.expire(queue_world.engine) is None
    await queue_world.owner.execute("update task set deadline = now() - interval '1 s' where deadline is not null")
    assert await queue.expire(queue_world.engine) == late
    assert await queue.expire(queue_world.engine) is None
    assert [await queue_world.status(n) for n in (working, late, child)] == ["in_progress", "failed", "failed"]
    assert (await queue_world.task(late))["reason"] == "its deadline passed"
    assert await queue_world.wrong() == {}


async def _recurring(world: World, **fields: Any) -> int:
    await world.project()
    number = await world.add(cron="0 3 * * *", not_before=_soon(), **fields)
    await world.make_due(number)
    return number


async def _next_of(world: World, number: int) -> int:
    following: int = await world.owner.fetchval(
        "select number from task where status = 'waiting' and number > $1", number
    )
    return following


async def test_a_recurring_task_starts_and_leaves_its_next_occurrence(queue_world: World) -> None:
    number = await _recurring(queue_world, description="all of it", priority=4, paths=["src/**"], max_attempts=2)
    assert await queue.promote(queue_world.engine) == 0, "recurring tasks are not promoted like others"
    now = datetime.now(UTC)
    assert await queue.recur(queue_world.engine, now) == [number]
    assert await queue_world.status(number) == "pending"
    following = await _next_of(queue_world, number)
    row = await queue_world.task(following)
    assert row["not_before"] == queue.next_date("0 3 * * *", now)
    assert (row["priority"], row["max_attempts"], row["cron"]) == (4, 2, "0 3 * * *")
    body = await queue_world.owner.fetchrow(
        "select title, description, paths from task_body where task = $1", following
    )
    assert tuple(body) == ("work", "all of it", ["src/**"])
    assert await queue.recur(queue_world.engine, now) == []
    engine = await queue_world.register()
    assert [task.number for task in await queue_world.claim(engine)] == [number]


async def test_dates_that_were_missed_are_not_made_up(queue_world: World) -> None:
    number = await _recurring(queue_world)
    await queue_world.owner.execute("update task set not_before = now() - interval '30 days' where number = $1", number)
    now = datetime.now(UTC)
    assert await queue.recur(queue_world.engine, now) == [number]
    assert (await queue_world.task(await _next_of(queue_world, number)))["not_before"] > now
    assert await queue_world.owner.fetchval("select count(*) from task") == 2


async def test_engines_that_see_the_same_date_start_one_occurrence(queue_world: World) -> None:
    number = await _recurring(queue_world)

    async def engine() -> list[int]:
        async with connected(queue_world.dsn) as connection:
            return await queue.recur(connection, datetime.now(UTC))

    started = await asyncio.gather(*(engine() for _ in range(6)))
    assert [n for numbers in started for n in numbers] == [number]
    assert await queue_world.owner.fetchval("select count(*) from task") == 2


async def test_a_host_whose_clock_is_behind_does_not_start_the_same_date_twice(queue_world: World) -> None:
    number = await _recurring(queue_world)
    date = (await queue_world.task(number))["not_before"].replace(second=0, microsecond=0)
    await queue_world.owner.execute("update task set not_before = $2 where number = $1", number, date)
    await queue_world.owner.execute("update task_body set cron = '* * * * *'")
    assert await queue.recur(queue_world.engine, date - timedelta(seconds=30)) == [number]
    assert (await queue_world.task(await _next_of(queue_world, number)))["not_before"] > date


async def test_the_expression_is_read_in_the_zone_that_the_caller_names(queue_world: World) -> None:
    number = await _recurring(queue_world)
    await queue.recur(queue_world.engine, datetime(2030, 6, 1, 12, tzinfo=ZoneInfo("Europe/Berlin")))
    following = await queue_world.task(await _next_of(queue_world, number))
    assert following["not_before"] == datetime(2030, 6, 2, 1, tzinfo=UTC)


async def test_a_cancelled_occurrence_ends_the_series(queue_world: World) -> None:
    number = await _recurring(queue_world)
    await queue_world.owner.fetchval("select task_cancel($1, 'enough')", number)
    assert await queue.recur(queue_world.engine, datetime.now(UTC)) == []
    assert await queue_world.owner.fetchval("select count(*) from task") == 1


async def test_an_expression_without_a_next_date_runs_a_last_time(queue_world: World) -> None:
    number = await _recurring(queue_world)
    await queue_world.owner.execute("update task_body set cron = '0 0 30 2 *'")
    assert await queue.recur(queue_world.engine, datetime.now(UTC)) == [number]
    assert await queue_world.owner.fetchval("select count(*) from task") == 1


async def test_a_recurring_task_with_no_date_or_with_parents_goes_by_its_expression_too(queue_world: World) -> None:
    await queue_world.project()
    engine = await queue_world.register()
    bare = await queue_world.add(cron="0 3 * * *")
    assert await queue_world.status(bare) == "waiting"
    parent = await queue_world.add()
    child = await queue_world.add(cron="0 3 * * *", after=[parent])
    [task] = await queue_world.claim(engine)
    await queue.finish(queue_world.engine, parent, task.lease_token, "completed")
    assert await queue_world.status(child) == "waiting"
    assert sorted(await queue.recur(queue_world.engine, datetime.now(UTC))) == [bare, child]
    assert await queue_world.owner.fetchval("select count(*) from task where status = 'waiting'") == 2


async def test_a_deadline_moves_with_the_dates_and_does_not_end_a_series(queue_world: World) -> None:
    number = await _recurring(queue_world, deadline=_soon() + timedelta(hours=2))
    await queue_world.owner.execute(
        "update task set not_before = now() - interval '3 h', deadline = now() - interval '1 h' where number = $1",
        number,
    )
    assert await queue.expire(queue_world.engine) is None, "first it leaves its next occurrence behind"
    await queue.recur(queue_world.engine, datetime.now(UTC))
    following = await queue_world.task(await _next_of(queue_world, number))
    assert following["deadline"] - following["not_before"] == timedelta(hours=2)
    assert await queue.expire(queue_world.engine) == number
