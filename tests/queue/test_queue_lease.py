"""An engine may die, be slow, or lose a reply: nothing is worked on twice, nothing is lost."""

import asyncio
from datetime import UTC, datetime, timedelta

from queue_kit import HOUR, World, connected

from storage.queries import queue

MAX_RESCUES = 3


async def test_the_task_of_a_dead_engine_is_claimed_again_after_a_pause(queue_world: World) -> None:
    await queue_world.project()
    dead, alive = await queue_world.register("dead"), await queue_world.register("alive")
    number = await queue_world.add()
    [first] = await queue_world.claim(dead)
    assert await queue_world.rescue_all() == 0, "its lease is good"
    await queue_world.end_lease(dead)
    assert await queue_world.rescue_all() > 0
    task = await queue_world.task(number)
    assert (task["status"], task["wait"], task["rescues"], task["failures"]) == ("waiting", "time", 1, 0)
    assert task["reason"] == "its engine died; it starts again"
    assert await queue_world.claim(alive) == []
    await queue_world.make_due(number)
    assert await queue.promote(queue_world.engine) == 1
    [second] = await queue_world.claim(alive)
    assert (second.number, second.rescues) == (number, 1)
    assert second.lease_token > first.lease_token
    assert await queue_world.wrong() == {}


async def test_the_pause_grows_with_every_engine_that_dies(queue_world: World) -> None:
    await queue_world.project()
    number = await queue_world.add()
    pauses = []
    for n in range(3):
        engine = await queue_world.register(f"e{n}")
        await queue_world.claim(engine)
        await queue_world.end_lease(engine)
        await queue_world.rescue_all(max_rescues=9)
        pauses.append((await queue_world.task(number))["not_before"] - datetime.now(UTC))
        await queue_world.make_due(number)
        await queue.promote(queue_world.engine)
    assert pauses[0] < pauses[1] < pauses[2]
    assert pauses[2] < timedelta(minutes=1)


async def test_the_late_report_of_a_dead_engine_is_refused(queue_world: World) -> None:
    await queue_world.project()
    dead, alive = await queue_world.register("dead"), await queue_world.register("alive")
    number = await queue_world.add()
    [first] = await queue_world.claim(dead)
    await queue_world.end_lease(dead)
    await queue_world.rescue_all()
    assert await queue.finish(queue_world.engine, number, first.lease_token, "failed") is None
    await queue_world.make_due(number)
    await queue.promote(queue_world.engine)
    [second] = await queue_world.claim(alive)
    assert await queue.finish(queue_world.engine, number, first.lease_token, "failed") is None
    assert await queue.task_lost(queue_world.engine, number, first.lease_token, "late", MAX_RESCUES) is None
    assert await queue_world.status(number) == "in_progress"
    assert await queue.finish(queue_world.engine, number, second.lease_token, "completed") == "completed"
    assert await queue.finish(queue_world.engine, number, second.lease_token, "completed") is None
    assert await queue_world.wrong() == {}


async def test_a_task_that_kills_its_engine_three_times_is_set_aside_with_what_depends_on_it(
    queue_world: World,
) -> None:
    await queue_world.project()
    number = await queue_world.add()
    child = await queue_world.add(after=[number])
    other = await queue_world.add(after=[number], on_failure="cancel")
    for n in range(MAX_RESCUES):
        engine = await queue_world.register(f"e{n}")
        assert [task.number for task in await queue_world.claim(engine)] == [number]
        await queue_world.end_lease(engine)
        await queue_world.rescue_all(MAX_RESCUES)
        await queue_world.make_due(number)
        await queue.promote(queue_world.engine)
    task = await queue_world.task(number)
    assert (task["status"], task["reason"]) == ("failed", "set aside: its engine died 3 times under it")
    assert [await queue_world.status(n) for n in (child, other)] == ["failed", "cancelled"]
    assert await queue_world.wrong() == {}


async def test_a_run_that_is_lost_three_times_sets_its_task_aside(queue_world: World) -> None:
    await queue_world.project()
    engine = await queue_world.register()
    number = await queue_world.add()
    statuses = []
    for _ in range(MAX_RESCUES):
        [task] = await queue_world.claim(engine)
        statuses.append(
            await queue.task_lost(queue_world.engine, number, task.lease_token, "its keeper died", MAX_RESCUES)
        )
        await queue_world.make_due(number)
        await queue.promote(queue_world.engine)
    assert statuses == ["waiting", "waiting", "failed"]
    assert "its keeper died" in (await queue_world.task(number))["reason"]
    assert await queue_world.wrong() == {}


async def test_a_claim_whose_reply_was_lost_is_given_back_by_the_heartbeat(queue_world: World) -> None:
    await queue_world.project()
    engine = await queue_world.register()
    known, unknown = await queue_world.add(), await queue_world.add()
    await queue_world.claim(engine, 2)
    assert await queue.heartbeat(queue_world.engine, engine, HOUR, [known])
    assert await queue_world.status(unknown) == "in_progress", "its reply may be on its way"
    await queue_world.age(known, unknown)
    assert await queue.heartbeat(queue_world.engine, engine, HOUR, [known])
    task = await queue_world.task(unknown)
    assert (await queue_world.status(known), task["status"], task["rescues"]) == ("in_progress", "waiting", 0)
    assert await queue.promote(queue_world.engine) == 1
    assert [task.number for task in await queue_world.claim(engine)] == [unknown]
    assert await queue_world.wrong() == {}


async def test_an_engine_gives_back_what_it_does_not_keep(queue_world: World) -> None:
    await queue_world.project()
    await queue_world.agent("limited", 2)
    engine = await queue_world.register()
    kept, given = await queue_world.add(agent="limited"), await queue_world.add(agent="limited")
    await queue_world.claim(engine, 2, ["limited"])
    await queue_world.age(kept, given)
    assert await queue.release(queue_world.engine, engine, [kept]) == 1
    assert await queue.release(queue_world.engine, engine, [kept]) == 0
    assert [await queue_world.status(n) for n in (kept, given)] == ["in_progress", "waiting"]
    assert await queue_world.wrong() == {}


async def test_an_engine_that_was_declared_dead_learns_it_from_its_heartbeat(queue_world: World) -> None:
    engine = await queue_world.register()
    assert await queue.heartbeat(queue_world.engine, engine, HOUR, [])
    await queue_world.end_lease(engine)
    assert not await queue.heartbeat(queue_world.engine, engine, HOUR, []), "a lease that ran out does not come back"
    await queue_world.rescue_all()
    assert not await queue.heartbeat(queue_world.engine, engine, HOUR, [])
    assert await queue_world.register() == engine, "the same engine come back"
    assert await queue.heartbeat(queue_world.engine, engine, HOUR, [])


async def test_an_engine_that_comes_back_in_time_still_holds_its_tasks(queue_world: World) -> None:
    await queue_world.project()
    engine = await queue_world.register()
    number = await queue_world.add()
    [task] = await queue_world.claim(engine)
    assert await queue_world.register() == engine
    assert await queue_world.rescue_all() == 0
    assert await queue.finish(queue_world.engine, number, task.lease_token, "completed") == "completed"


async def test_two_rescuers_at_once_rescue_each_task_once(queue_world: World) -> None:
    for name in ("p", "q", "r"):
        await queue_world.project(name)
    engines = [await queue_world.register(f"e{n}") for n in range(3)]
    numbers = [await queue_world.add(project) for project in ("p", "q", "r") for _ in range(4)]
    for engine in engines:
        held = 0
        while held < 4:
            held += len(await queue_world.claim(engine, 4 - held))
        await queue_world.end_lease(engine)

    async def rescuer() -> int:
        async with connected(queue_world.dsn) as connection:
            total = 0
            for _ in range(20):
                total += await queue.rescue(connection, MAX_RESCUES)
            return total

    async with asyncio.timeout(60):
        await asyncio.gather(*(rescuer() for _ in range(4)))
    rows = await queue_world.owner.fetch(
        "select rescues, lease_token, status::text from task where number = any($1)", numbers
    )
    assert {tuple(row) for row in rows} == {(1, 2, "waiting")}
    assert await queue_world.wrong() == {}


async def test_a_rescue_ends_the_run_and_honours_a_wish_to_cancel(queue_world: World) -> None:
    await queue_world.project()
    engine = await queue_world.register()
    number = await queue_world.add()
    await queue_world.claim(engine)
    assert await queue_world.owner.fetchval("select task_cancel($1, 'not needed any more')", number) == "requested"
    await queue_world.end_lease(engine)
    await queue_world.rescue_all()
    task = await queue_world.task(number)
    assert (task["status"], task["reason"]) == ("cancelled", "not needed any more")
    assert await queue_world.wrong() == {}
