"""What cannot start costs a claim nothing, however much of it stands in front."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from queue_kit import World, break_function, connected

from storage.queries import queue

MANY = 100_000


async def _fill(world: World, *, blocked: int = 0, full: int = 0, disabled: int = 0, ready: int = 0) -> None:
    """Tasks that cannot start, of the best priority and added first, and some of the middle priority that can."""
    for name, limit in (("open", 1000), ("full", 0)):
        await world.project(name, limit)
    await world.agent("off")
    await world.owner.execute("update agent set enabled = false where name = 'off'")
    async with world.owner.transaction():
        await world.owner.execute("set local session_replication_role = replica")
        await world.owner.execute(
            """
            with made as (
              insert into task (project, agent, priority, status, waiting_on)
              select case kind when 'full' then 'full' else 'open' end,
                     case kind when 'disabled' then 'off' else '' end,
                     case kind when 'ready' then 3 else 5 end,
                     case kind when 'blocked' then 'blocked' else 'pending' end::task_status,
                     (kind = 'blocked')::int
                from (values ('blocked', $1::int), ('full', $2), ('disabled', $3), ('ready', $4)) shape (kind, n),
                     generate_series(1, n)
              returning number)
            insert into task_body (task, title) select number, 'work' from made
            """,
            blocked,
            full,
            disabled,
            ready,
        )
    await world.owner.execute(
        "select task_touch(project, agent, max(priority)) from task where status = 'pending' group by project, agent"
    )
    await world.owner.execute("vacuum analyze task")


@asynccontextmanager
async def _explained(world: World) -> AsyncIterator[tuple[asyncpg.Connection, list[str]]]:
    """A connection of the engine on which a claim reports the plan and the cost of its look at the tasks."""
    await break_function(
        world.owner,
        "task_claim",
        "    select array_agg(number), array_agg(priority) into v_taken, v_priorities from (",
        """      declare v_plan json; begin
        execute format($q$explain (analyze, buffers, format json) select t.number from task t
           where t.project = %L and t.agent = %L and t.status = 'pending'
           order by t.priority desc, t.number limit %s for no key update of t skip locked$q$,
           v_project, v_lane, v_room) into v_plan;
        raise notice '%', v_plan;
      end;
    select array_agg(number), array_agg(priority) into v_taken, v_priorities from (""",
    )
    plans: list[str] = []
    async with connected(world.dsn) as connection:
        connection.add_log_listener(lambda _, message: plans.append(str(message.message)))
        yield connection, plans


SHAPES = {
    "nothing in the way": {"ready": 100},
    "half blocked": {"blocked": MANY // 10, "ready": MANY // 10},
    "half in a full project": {"full": MANY // 10, "ready": MANY // 10},
    "half for a disabled agent": {"disabled": MANY // 10, "ready": MANY // 10},
    "a hundred thousand of all sorts": {
        "blocked": MANY // 4,
        "full": MANY // 4,
        "disabled": MANY // 4,
        "ready": MANY // 4,
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
async def test_a_claim_reads_a_handful_of_pages_whatever_stands_in_front(queue_world: World, shape: str) -> None:
    await _fill(queue_world, **SHAPES[shape])
    engine = await queue_world.register()
    async with _explained(queue_world) as (connection, plans):
        for _ in range(5):
            [task] = await queue.claim(connection, engine, 1, ["a", "off"])
            assert (task.project, task.priority) == ("open", 3)
    assert len(plans) == 5, "one look at one lane for each claim"
    for plan in plans:
        top = json.loads(plan)[0]["Plan"]
        assert _indexes(top) == {"task_ready"}
        assert _scans(top) == {"Index Scan"}
        assert top["Shared Hit Blocks"] + top["Shared Read Blocks"] <= 12


async def test_the_pages_that_a_claim_reads_do_not_grow_with_the_queue(queue_world: World) -> None:
    await _fill(queue_world, ready=100)
    engine = await queue_world.register()
    few = await _pages_of_a_claim(queue_world, engine)
    await queue_world.owner.execute(
        "insert into task (project, priority, status) select 'open', 3, 'pending' from generate_series(1, $1)", MANY
    )
    await queue_world.owner.execute("vacuum analyze task")
    many = await _pages_of_a_claim(queue_world, engine)
    assert many <= few * 1.5 + 10


async def _pages_of_a_claim(world: World, engine: int) -> float:
    """Mean of the pages that one whole claim touches, its locks, its audit and its counters included."""
    pages = 0.0
    async with connected(world.dsn, "owner") as connection:
        for _ in range(30):
            await queue.claim(connection, engine, 1, ["a"])
        for _ in range(20):
            plan = await connection.fetchval(
                "explain (analyze, buffers, format json) select * from task_claim($1, 1, array['a'])", engine
            )
            top = json.loads(plan)[0]["Plan"]
            pages += top["Shared Hit Blocks"] + top["Shared Read Blocks"]
    return pages / 20


async def test_the_plans_of_a_connection_that_met_an_empty_queue_still_go_by_the_index(queue_world: World) -> None:
    await _fill(queue_world)
    await queue_world.owner.execute("alter table task set (autovacuum_enabled = off)")
    engine = await queue_world.register()
    async with connected(queue_world.dsn) as connection:
        for _ in range(10):
            await queue_world.add("open")
            [task] = await queue.claim(connection, engine, 1, ["a"])
            await queue.finish(connection, task.number, task.lease_token, "completed")
        await queue_world.owner.execute(
            "insert into task (project, priority, status) select 'open', 3, 'pending' from generate_series(1, $1)", MANY
        )
        await queue_world.owner.execute("select task_touch('open', '', 3)")
        before = await _sequential(queue_world, connection)
        for _ in range(10):
            [task] = await queue.claim(connection, engine, 1, ["a"])
            await queue.finish(connection, task.number, task.lease_token, "completed")
        assert await _sequential(queue_world, connection) == before


async def _sequential(world: World, connection: asyncpg.Connection) -> int:
    """How often the table of tasks was read from end to end."""
    await connection.execute("select pg_stat_force_next_flush()")
    await connection.execute("select 1")
    count: int = await world.owner.fetchval("select seq_scan from pg_stat_user_tables where relname = 'task'")
    return count


async def test_a_lane_whose_hint_is_too_good_does_not_hold_up_the_others(queue_world: World) -> None:
    for n in range(20):
        await queue_world.project(f"stale{n}")
        await queue_world.owner.execute("insert into lane (project, agent, head) values ($1, '', 5)", f"stale{n}")
    await queue_world.project()
    number = await queue_world.add(priority=1)
    engine = await queue_world.register()
    assert [task.number for task in await queue_world.claim(engine)] == [number]
    assert await queue_world.owner.fetchval("select count(*) from lane where head is not null") == 0


def _nodes(plan: dict[str, object]) -> list[dict[str, object]]:
    below = plan.get("Plans", [])
    assert isinstance(below, list)
    return [plan, *(node for part in below for node in _nodes(part))]


def _indexes(plan: dict[str, object]) -> set[object]:
    return {node["Index Name"] for node in _nodes(plan) if "Index Name" in node}


def _scans(plan: dict[str, object]) -> set[object]:
    return {node["Node Type"] for node in _nodes(plan) if re.search("Scan", str(node["Node Type"]))}
