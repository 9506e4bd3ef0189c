"""Pauses, limits, agents, and hints that heal."""

import pytest
from queue_kit import World, add, connected

from storage.queries import queue


async def test_the_best_priority_comes_first_and_then_the_oldest(queue_world: World) -> None:
    await queue_world.project()
    engine = await queue_world.register()
    low, high, also_high = [await queue_world.add(priority=n) for n in (1, 5, 5)]
    assert [(await queue_world.claim(engine))[0].number for _ in range(3)] == [high, also_high, low]


async def test_a_claim_takes_tasks_of_one_priority_only(queue_world: World) -> None:
    await queue_world.project()
    engine = await queue_world.register()
    for priority in (5, 5, 4):
        await queue_world.add(priority=priority)
    assert [task.priority for task in await queue_world.claim(engine, 3)] == [5, 5]


async def test_projects_of_equal_priority_take_turns(queue_world: World) -> None:
    engine = await queue_world.register()
    for name in ("p", "q", "r"):
        await queue_world.project(name)
        for _ in range(2):
            await queue_world.add(name)
    turns = [(await queue_world.claim(engine))[0].project for _ in range(6)]
    assert turns[:3] == turns[3:]
    assert set(turns) == {"p", "q", "r"}


async def test_a_paused_queue_gives_out_nothing(queue_world: World) -> None:
    await queue_world.project()
    engine = await queue_world.register()
    await queue_world.add()
    await queue_world.owner.execute("insert into setting (key, value) values ('queue.paused', 'true')")
    assert await queue_world.claim(engine) == []
    await queue_world.owner.execute("update setting set value = 'false'")
    assert len(await queue_world.claim(engine)) == 1


async def test_a_paused_project_gives_out_nothing(queue_world: World) -> None:
    engine = await queue_world.register()
    await queue_world.project("paused")
    await queue_world.project("open")
    await queue_world.add("paused", priority=5)
    other = await queue_world.add("open", priority=1)
    await queue_world.owner.execute("update load set paused = true where project = 'paused'")
    assert [task.number for task in await queue_world.claim(engine)] == [other]
    assert await queue_world.claim(engine) == []
    await queue_world.owner.execute("update load set paused = false where project = 'paused'")
    assert len(await queue_world.claim(engine)) == 1


async def test_a_project_never_runs_more_than_its_limit(queue_world: World) -> None:
    await queue_world.project(limit=2)
    engine = await queue_world.register()
    for _ in range(3):
        await queue_world.add()
    first, second = await queue_world.claim(engine, 10)
    assert await queue_world.claim(engine) == []
    await queue.finish(queue_world.engine, first.number, first.lease_token, "completed")
    assert len(await queue_world.claim(engine, 10)) == 1
    await queue_world.owner.execute("update load set max_parallel = 1")
    await queue.finish(queue_world.engine, second.number, second.lease_token, "completed")
    await queue_world.add()
    assert await queue_world.claim(engine) == [], "the lowered limit counts what runs already"


async def test_tasks_go_to_the_agent_they_name_and_others_to_the_preferred_one(queue_world: World) -> None:
    await queue_world.project()
    await queue_world.agent("b")
    engine = await queue_world.register()
    named = await queue_world.add(agent="b", priority=5)
    anyone = await queue_world.add()
    assert await queue_world.claim(engine, 1, []) == []
    claimed = [(await queue_world.claim(engine, 1, ["a", "b"]))[0] for _ in range(2)]
    assert [(task.number, task.agent) for task in claimed] == [(named, "b"), (anyone, "a")]


async def test_a_task_whose_agent_this_engine_cannot_run_is_left_alone(queue_world: World) -> None:
    await queue_world.project()
    await queue_world.agent("b")
    engine = await queue_world.register()
    await queue_world.add(agent="b")
    assert await queue_world.claim(engine, 1, ["a"]) == []


async def test_a_disabled_agent_gets_nothing_until_it_is_enabled(queue_world: World) -> None:
    await queue_world.project()
    await queue_world.agent("b")
    engine = await queue_world.register()
    await queue_world.add(agent="b")
    await queue_world.owner.execute("update agent set enabled = false where name = 'b'")
    assert await queue_world.claim(engine, 1, ["a", "b"]) == []
    await queue_world.owner.execute("update agent set enabled = true where name = 'b'")
    assert len(await queue_world.claim(engine, 1, ["a", "b"])) == 1


async def test_a_busy_agent_hands_what_anyone_may_do_to_the_next(queue_world: World) -> None:
    await queue_world.project()
    await queue_world.agent("one", 1)
    engine = await queue_world.register()
    for _ in range(3):
        await queue_world.add()
    agents = [task.agent for _ in range(2) for task in await queue_world.claim(engine, 2, ["one", "a"])]
    assert agents == ["one", "a", "a"]


async def test_an_agent_never_does_more_than_its_limit_across_projects(queue_world: World) -> None:
    await queue_world.agent("two", 2)
    engine = await queue_world.register()
    for name in ("p", "q", "r"):
        await queue_world.project(name)
        await queue_world.add(name, agent="two")
    held = [task for _ in range(3) for task in await queue_world.claim(engine, 2, ["two"])]
    assert len(held) == 2
    await queue.finish(queue_world.engine, held[0].number, held[0].lease_token, "completed")
    assert len(await queue_world.claim(engine, 2, ["two"])) == 1


async def test_the_limit_of_an_agent_follows_its_setting(queue_world: World) -> None:
    await queue_world.project()
    await queue_world.agent("x", 3)
    engine = await queue_world.register()
    for _ in range(6):
        await queue_world.add(agent="x")
    held = await queue_world.claim(engine, 10, ["x"])
    assert len(held) == 3
    await queue_world.owner.execute("update agent set max_parallel = 1 where name = 'x'")
    for task in held[:2]:
        await queue.finish(queue_world.engine, task.number, task.lease_token, "completed")
    assert await queue_world.claim(engine, 10, ["x"]) == [], "one is still at work"
    await queue_world.owner.execute("update agent set max_parallel = 2 where name = 'x'")
    assert len(await queue_world.claim(engine, 10, ["x"])) == 1
    await queue_world.owner.execute("update agent set max_parallel = null where name = 'x'")
    assert len(await queue_world.claim(engine, 10, ["x"])) == 2


async def test_a_hint_that_was_lost_with_its_process_is_healed_by_the_sweep(queue_world: World) -> None:
    await queue_world.project()
    engine = await queue_world.register()
    number = await queue_world.add()
    await queue_world.owner.execute("update lane set head = null")
    assert await queue_world.wrong() == {"ready but its lane does not say so": 1}
    assert await queue_world.claim(engine) == []
    assert await queue.sweep(queue_world.engine) == 1
    assert await queue_world.wrong() == {}
    assert [task.number for task in await queue_world.claim(engine)] == [number]


async def test_a_task_that_is_added_while_a_claim_empties_its_lane_is_not_overlooked(queue_world: World) -> None:
    await queue_world.project()
    engine = await queue_world.register()
    await queue_world.add()
    async with connected(queue_world.dsn) as other:
        async with other.transaction():
            [late] = await add(other, [{"project": "p", "title": "late"}])
            assert len(await queue_world.claim(engine)) == 1
        assert await queue_world.wrong() == {}
        assert [task.number for task in await queue_world.claim(engine)] == [late]


async def test_adders_to_one_project_do_not_wait_for_each_other(queue_world: World) -> None:
    await queue_world.project()
    await queue_world.add()
    async with connected(queue_world.dsn) as other, other.transaction():
        await add(other, [{"project": "p", "title": "one"}])
        await queue_world.engine.execute("set lock_timeout = '2s'")
        await queue_world.add()


async def test_a_parent_that_is_done_twice_releases_nobody_early(queue_world: World) -> None:
    await queue_world.project()
    engine = await queue_world.register()
    parent, other = await queue_world.add(), await queue_world.add()
    child = await queue_world.add(after=[parent, other])
    tokens = {task.number: task.lease_token for task in await queue_world.claim(engine, 2)}
    await queue.finish(queue_world.engine, parent, tokens[parent], "completed")
    await queue_world.owner.fetchval("select task_move($1, '{completed}', 'pending')::text", parent)
    [again] = await queue_world.claim(engine)
    await queue.finish(queue_world.engine, parent, again.lease_token, "completed")
    assert await queue_world.status(child) == "blocked"
    await queue.finish(queue_world.engine, other, tokens[other], "completed")
    assert await queue_world.status(child) == "pending"
    assert await queue_world.wrong() == {}


@pytest.mark.parametrize("most", [0, -1])
async def test_hands_that_are_full_take_nothing(queue_world: World, most: int) -> None:
    await queue_world.project()
    engine = await queue_world.register()
    await queue_world.add()
    assert await queue_world.claim(engine, most) == []
