"""Nothing that happens at the same time can deadlock, or leave the books wrong."""

import asyncio
from typing import Any

import asyncpg
import pytest
from chaos_mix import Mix
from chaos_mix import run as run_mix
from queue_kit import World, add, break_function, connected

from storage.queries import queue


@pytest.mark.slow
async def test_everything_at_once_neither_deadlocks_nor_spoils_the_books(queue_world: World) -> None:
    mix = await run_mix(queue_world, Mix(operations=8000))
    assert mix.faults == []
    statuses = dict(await queue_world.owner.fetch("select status::text, count(*) from task group by 1"))
    assert {"completed", "failed", "cancelled"} <= set(statuses)


async def _add_while_the_parent_ends(world: World) -> str:
    """A child is added while its parent's end is not committed yet: the child's status when both are through."""
    await world.project()
    engine = await world.register()
    parent = await world.add()
    [claimed] = await world.claim(engine)
    async with connected(world.dsn) as other, asyncio.TaskGroup() as group, world.engine.transaction():
        assert await queue.finish(world.engine, parent, claimed.lease_token, "completed") == "completed"
        adding = group.create_task(add(other, [{"project": "p", "title": "child", "after": [parent]}]))
        await _settled(world, adding, other)
    [child] = adding.result()
    return await world.status(child)


async def _settled(world: World, work: asyncio.Task[Any], connection: asyncpg.Connection) -> None:
    """Until ``work`` is done or waits for a lock."""
    pid = connection.get_server_pid()
    async with asyncio.timeout(20):
        while not work.done() and not await world.owner.fetchval("select cardinality(pg_blocking_pids($1)) > 0", pid):
            await asyncio.sleep(0.01)


async def test_a_child_added_while_its_parent_ends_starts(queue_world: World) -> None:
    assert await _add_while_the_parent_ends(queue_world) == "pending"
    assert await queue_world.wrong() == {}


async def test_without_the_lock_on_parents_that_child_would_wait_for_ever(queue_world: World) -> None:
    await break_function(queue_world.owner, "task_add", "order by t.number for share", "order by t.number")
    assert await _add_while_the_parent_ends(queue_world) == "blocked"
    assert (await queue_world.wrong())["lost wake-up"] == 1


async def test_two_parents_that_end_at_once_release_their_child_once(queue_world: World) -> None:
    await queue_world.project()
    engine = await queue_world.register()
    parents = [await queue_world.add(), await queue_world.add()]
    child = await queue_world.add(after=parents)
    tokens = {task.number: task.lease_token for task in await queue_world.claim(engine, 2)}
    async with connected(queue_world.dsn) as other, asyncio.TaskGroup() as group, queue_world.engine.transaction():
        await queue.finish(queue_world.engine, parents[0], tokens[parents[0]], "completed")
        ending = group.create_task(queue.finish(other, parents[1], tokens[parents[1]], "completed"))
        await _settled(queue_world, ending, other)
        assert not ending.done()
    assert await queue_world.status(child) == "pending"
    assert await queue_world.wrong() == {}


async def test_a_task_that_others_are_adding_children_to_is_claimed_as_soon_as_they_are_done(
    queue_world: World,
) -> None:
    await queue_world.project()
    engine = await queue_world.register()
    parent = await queue_world.add()
    async with connected(queue_world.dsn) as other:
        async with other.transaction():
            await add(other, [{"project": "p", "title": "child", "after": [parent]}])
            assert await queue_world.claim(engine) == []
        assert [task.number for task in await queue_world.claim(engine)] == [parent]


async def test_claimers_of_one_project_wait_for_each_other_and_then_go_on(queue_world: World) -> None:
    await queue_world.project()
    engine = await queue_world.register()
    numbers = [await queue_world.add(), await queue_world.add()]
    async with connected(queue_world.dsn) as other, asyncio.TaskGroup() as group, queue_world.engine.transaction():
        [first] = await queue_world.claim(engine)
        waiting = group.create_task(queue.claim(other, engine, 1, ["a"]))
        await _settled(queue_world, waiting, other)
        assert not waiting.done()
    [second] = waiting.result()
    assert [first.number, second.number] == numbers


async def test_a_claimer_that_holds_a_project_never_waits_for_another(queue_world: World) -> None:
    await queue_world.project("stale")
    await queue_world.project("busy")
    engine = await queue_world.register()
    await queue_world.owner.execute("insert into lane (project, agent, head) values ('stale', '', 5)")
    number = await queue_world.add("busy")
    heard = asyncio.Event()
    await queue_world.owner.add_listener("qd", lambda *_: heard.set())
    async with connected(queue_world.dsn) as other, asyncio.timeout(20):
        async with other.transaction():
            await other.execute("select 1 from load where project = 'busy' for no key update")
            assert await queue_world.claim(engine) == [], "it held the stale project, and did not wait for the busy one"
            await heard.wait()
        assert [task.number for task in await queue_world.claim(engine)] == [number]
