"""What waits for a service goes on as soon as it, or another of its chain, can take a call again."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from core.budget import engine_side
from storage.queries import budget, budget_runs, services
from storage.queries.budget_runs import Refused
from storage.queries.secrets import mark_secret
from tests.budget.gate import add_runs, add_service, connect, set_budget


class Waiting:
    """A run whose task waits; `cheap` stands in for `main`."""

    def __init__(self, db: asyncpg.Connection, run: int, task: int) -> None:
        self.db, self.run, self.task = db, run, task

    async def refused(self, kind: str, service: str, **data: Any) -> Refused:
        """The last call of the run was refused, and its task waits for it."""
        await budget.add_notice(self.db, self.run, kind, "refused", {"service": service, **data})
        refused = await engine_side.why_refused(self.db, self.run)
        assert refused is not None
        wait = "budget" if kind == "budget" else "time"
        await self.db.execute(
            "update task set status = 'waiting', wait = $1::text::task_wait, not_before = now() + interval '1 day'",
            wait,
        )
        await engine_side.wait(self.db, self.task, refused)
        return refused

    async def out_of_order(self, service: str, seconds: float) -> None:
        """The circuit of a service opens."""
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        await budget.store_circuit(self.db, service, "open", until, 5, "it failed")

    async def wakes(self, seconds: float = 0) -> bool:
        """Whether it goes on, so many seconds from now."""
        return await budget_runs.wake(self.db, datetime.now(UTC) + timedelta(seconds=seconds)) == 1


@pytest.fixture
async def waiting(migrated_database: str) -> AsyncIterator[Waiting]:
    db = await connect(migrated_database)
    run = (await add_runs(db))[0]
    await add_service(db, "cheap", "http://x", usd=5)
    await add_service(db, "main", "http://x", usd=5, fallback="cheap")
    yield Waiting(db, run, await db.fetchval("select task from run"))
    await db.close()


async def spent(waiting: Waiting) -> dict[str, Any]:
    """The budget of the stand-in has no room."""
    rule = await set_budget(waiting.db, "service", "cheap", 0)
    return {"budget": rule, "key": "cheap", "need": 1000}


async def test_a_chain_out_of_money_goes_on_when_the_link_that_was_out_of_order_reopens(waiting: Waiting) -> None:
    await waiting.out_of_order("main", 120)
    await waiting.refused("budget", "cheap", **await spent(waiting))
    reset = await engine_side.next_reset(waiting.db)
    assert reset is not None
    assert 100 < (reset - datetime.now(UTC)).total_seconds() < 121
    assert not await waiting.wakes(110)
    assert await waiting.wakes(121)


async def test_a_time_that_passed_before_the_run_ended_is_not_missed(waiting: Waiting) -> None:
    await waiting.out_of_order("main", 0.2)
    data = await spent(waiting)
    await waiting.refused("budget", "cheap", **data)
    refused = await engine_side.why_refused(waiting.db, waiting.run)
    assert refused is not None
    await waiting.db.execute("update circuit set open_until = $1", refused.at + timedelta(microseconds=1))
    assert await waiting.wakes()


@pytest.mark.parametrize("kind", ["budget", "service"])
@pytest.mark.parametrize("recovers", ["main", "cheap"])
async def test_a_circuit_that_closes_wakes(waiting: Waiting, kind: str, recovers: str) -> None:
    await waiting.out_of_order("main", 300)
    await waiting.out_of_order("cheap", 400)
    await waiting.refused(kind, "main", need=1)
    assert not await waiting.wakes()
    await services.close_circuit(waiting.db, recovers)
    assert await waiting.wakes()
    assert await waiting.db.fetchval("select status::text from task") == "pending"


async def test_what_waits_for_money_is_not_woken_while_the_service_is_out_of_order(waiting: Waiting) -> None:
    rule = await set_budget(waiting.db, "service", "main", 0)
    await waiting.db.execute("update service set suspended = true where name = 'cheap'")
    await waiting.refused("budget", "main", budget=rule, key="main", need=1)
    await waiting.out_of_order("main", 300)
    await set_budget(waiting.db, "service", "main", 5)
    assert not await waiting.wakes()
    assert await waiting.wakes(301)


async def test_a_chain_out_of_order_is_asked_again_when_its_first_link_reopens(waiting: Waiting) -> None:
    await waiting.out_of_order("main", 600)
    await waiting.out_of_order("cheap", 40)
    refused = await waiting.refused("service", "main", retry_seconds=600)
    assert refused.retry_seconds is not None
    assert 30 < refused.retry_seconds <= 40
    assert not await waiting.wakes(30)
    assert await waiting.wakes(41)


async def test_a_key_that_is_set_wakes(waiting: Waiting) -> None:
    await waiting.db.execute("update service set suspended = true where name = 'cheap'")
    await waiting.refused("service", "main", retry_seconds=30)
    assert not await waiting.wakes()
    await mark_secret(waiting.db, "shop", "service.main")
    assert await waiting.wakes()


async def test_a_run_that_begins_waits_for_nothing(waiting: Waiting) -> None:
    from uuid import uuid4

    from storage.queries.engine import insert_run, load_work

    await waiting.refused("service", "main", retry_seconds=30)
    await waiting.db.execute("update task set status = 'in_progress'")
    work = await load_work(waiting.db, waiting.task, "ada")
    assert work is not None
    engine = await waiting.db.fetchval("select id from engine")
    assert await insert_run(
        waiting.db, id=uuid4(), work=work, engine=engine, mark="m", folder="/f", branch="b", worktree="/w"
    )
    assert await waiting.db.fetchval("select count(*) from budget_wait") == 0


async def test_a_limit_of_its_own_wakes_what_the_limit_for_each_was_too_small_for(waiting: Waiting) -> None:
    each = await set_budget(waiting.db, "project", "*", 1)
    await waiting.refused("budget", "main", budget=each, key="shop", need=3_000_000)
    await set_budget(waiting.db, "project", "shop", 2)
    assert not await waiting.wakes()
    await set_budget(waiting.db, "project", "shop", 4)
    assert await waiting.wakes()


async def test_a_limit_that_is_raised_wakes_where_another_of_the_chain_may_answer(waiting: Waiting) -> None:
    rule = await set_budget(waiting.db, "project", "shop", 1)
    await waiting.refused("budget", "main", budget=rule, key="shop", need=3_000_000)
    await set_budget(waiting.db, "project", "shop", 4)
    await waiting.db.execute("update service set suspended = true")
    assert not await waiting.wakes()
    await waiting.db.execute("update service set suspended = false where name = 'cheap'")
    assert await waiting.wakes()


async def test_who_is_named_to_stand_in_later_wakes(waiting: Waiting) -> None:
    await waiting.db.execute("update service set fallback = null where name = 'main'")
    rule = await set_budget(waiting.db, "service", "main", 0)
    await waiting.refused("budget", "main", budget=rule, key="main", need=1000)
    assert not await waiting.wakes()
    await services.update_service(waiting.db, "main", {"fallback": "cheap"})
    assert await waiting.wakes()


@pytest.mark.parametrize(("scope", "key"), [("service", "main"), ("project", "shop")])
async def test_what_others_have_reserved_is_no_room(waiting: Waiting, scope: str, key: str) -> None:
    await waiting.db.execute("update service set fallback = null where name = 'main'")
    rule = await set_budget(waiting.db, scope, key, 5)
    await waiting.db.execute("select budget_open('main', 'shop', $1, 'ada')", waiting.task)
    await waiting.db.execute("update account set reserved = 4999500 where budget = $1", rule)
    await waiting.refused("budget", "main", budget=rule, key=key, need=1000)
    assert not await waiting.wakes()
    await waiting.db.execute("update account set reserved = 0 where budget = $1", rule)
    assert await waiting.wakes()
