"""Who may do what with the queue, in the database itself, and what is written down about it."""

import json
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from queue_kit import HOUR, World, add, connected

from storage.queries import queue

WRITES = (
    'select task_add(\'[{"project": "p", "title": "x"}]\')',
    "update task set priority = 5",
    "delete from task",
    "update load set paused = true",
    "update lane set head = 5",
    "insert into setting (key, value) values ('queue.paused', 'true')",
    "select task_claim(1, 1, array['a'])",
    "select task_cancel(1, 'no')",
    "select engine_rescue(1)",
)


async def test_a_viewer_reads_and_cannot_write(queue_world: World) -> None:
    await queue_world.project()
    await queue_world.register()
    number = await queue_world.add()
    async with connected(queue_world.dsn, "viewer", "a guest") as guest:
        assert await guest.fetchval("select count(*) from task") == 1
        assert await queue.reconcile(guest)
        for statement in WRITES:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await guest.execute(statement)
    assert await queue_world.status(number) == "pending"


FORGERIES = (
    "update audit set actor = 'nobody'",
    "delete from audit",
    "truncate audit",
    "insert into audit (actor, role, kind, key, action) values ('me', 'admin', 'task', '1', 'update')",
    "alter table audit disable trigger all",
    "drop table audit",
    "alter table task disable trigger audit",
    "set session_replication_role = replica",
    "create or replace function qd_audit_task() returns trigger language plpgsql as 'begin return null; end'",
)


@pytest.mark.parametrize("role", ["viewer", "agent", "supervisor", "admin", "engine"])
async def test_nobody_can_change_the_audit_trail(queue_world: World, role: str) -> None:
    async with connected(queue_world.dsn, role) as connection:
        await connection.execute(f"set session authorization qd_{role}")
        for statement in FORGERIES:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


async def test_a_forged_search_path_does_not_lead_the_audit_astray(queue_world: World) -> None:
    await queue_world.project()
    async with connected(queue_world.dsn, "supervisor", "mallory") as connection:
        await connection.execute("create temporary table audit (like audit)")
        await connection.execute("set search_path = pg_temp, public, pg_catalog")
        await connection.execute("set search_path = pg_temp, public")
        [number] = await add(connection, [{"project": "p", "title": "x"}])
        await connection.execute("update task set priority = 5 where number = $1", number)
        assert await connection.fetchval("select count(*) from pg_temp.audit") == 0
    assert await queue_world.owner.fetchval("select count(*) from audit where actor = 'mallory' and kind = 'task'") == 2


async def test_the_engine_s_role_suffices_for_all_that_the_engine_does(queue_world: World) -> None:
    await queue_world.project()
    await queue_world.agent("limited", 2)
    engine = await queue_world.register()
    hands = queue_world.engine
    await queue_world.add(not_before=datetime.now(UTC) + timedelta(hours=1))
    await queue_world.add(cron="* * * * *")
    numbers = [await queue_world.add(agent="limited") for _ in range(4)]
    await queue_world.add(after=numbers[:1], deadline=datetime.now(UTC) + timedelta(hours=1))
    held = [*await queue_world.claim(engine, 2, ["limited"]), *await queue_world.claim(engine, 2, ["limited"])]
    assert await queue.finish(hands, held[0].number, held[0].lease_token, "completed", reason="well") == "completed"
    assert await queue.task_lost(hands, held[1].number, held[1].lease_token, "gone", 3) == "waiting"
    assert await queue.heartbeat(hands, engine, HOUR, [])
    assert await queue.release(hands, engine) == 0
    assert len(await queue.recur(hands, datetime.now(UTC))) == 1
    assert await queue.promote(hands) >= 0
    assert await queue.expire(hands) is None
    assert await queue.sweep(hands) >= 0
    await hands.execute("update engine set lease_until = now() - interval '1 s' where id = $1", engine)
    assert await queue.rescue(hands, 3) == 1
    assert set((await queue.reconcile(hands)).values()) == {0}


async def test_every_change_is_written_down_with_who_and_in_which_role(queue_world: World) -> None:
    await queue_world.project()
    engine = await queue_world.register()
    async with connected(queue_world.dsn, "supervisor", "ada") as person:
        [number] = await add(person, [{"project": "p", "title": "work", "priority": 2}])
        await person.execute("update task set priority = 4 where number = $1", number)
    [task] = await queue_world.claim(engine)
    await queue.finish(queue_world.engine, number, task.lease_token, "completed")
    rows = await queue_world.owner.fetch(
        "select actor, role, action, before, after from audit where kind = 'task' and key = $1 order by id", str(number)
    )
    trail = [(r["actor"], r["role"], r["action"], _read(r["before"]), _read(r["after"])) for r in rows]
    assert trail[0][:4] == ("ada", "qd_supervisor", "insert", {})
    assert trail[0][4]["status"] == "pending"
    assert trail[1:] == [
        ("ada", "qd_supervisor", "update", {"priority": 2}, {"priority": 4}),
        (
            "engine test",
            "qd_engine",
            "update",
            {"status": "pending", "token": 0},
            {"status": "in_progress", "token": 1, "engine": engine},
        ),
        ("engine test", "qd_engine", "update", {"status": "in_progress", "engine": engine}, {"status": "completed"}),
    ]
    body = await queue_world.owner.fetchrow("select actor, after from audit where kind = 'task_body'")
    assert (body["actor"], _read(body["after"])["title"]) == ("ada", "work")


async def test_a_deleted_task_leaves_what_it_was_in_the_trail(queue_world: World) -> None:
    await queue_world.project()
    number = await queue_world.add()
    async with connected(queue_world.dsn, "supervisor", "ada") as person:
        await person.execute("delete from task where number = $1", number)
    row = await queue_world.owner.fetchrow(
        "select actor, before from audit where kind = 'task' and action = 'delete' and key = $1", str(number)
    )
    assert (row["actor"], _read(row["before"])["project"]) == ("ada", "p")


async def test_a_write_that_changes_nothing_leaves_no_trace(queue_world: World) -> None:
    await queue_world.project()
    number = await queue_world.add(priority=3)
    before = await queue_world.owner.fetchval("select count(*) from audit")
    await queue_world.engine.execute("update task set priority = 3 where number = $1", number)
    assert await queue_world.owner.fetchval("select count(*) from audit") == before


def _read(value: str | None) -> dict[str, object]:
    read: dict[str, object] = json.loads(value or "{}")
    return read
