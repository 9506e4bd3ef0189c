"""Calls that agents make past the gateway and tell of: in the ledger, against every limit, and never for nothing."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from core.budget import engine_side
from core.engine.cost import price_of, told_calls
from core.engine.ending import stopped
from core.engine.journal import Journal
from core.events import Event, EventKind
from storage.queries.budget import Tokens, services
from storage.queries.screen import charged
from storage.queries.status import counts
from storage.queries.tasks import tasks_by_number
from tests.budget.gate import account, add_service, books, set_budget
from tests.engine.money_kit import Till, till

DEAR = {"input": 10, "output": 50}


@pytest.fixture
async def desk(migrated_database: str) -> AsyncIterator[Till]:
    async with till(migrated_database) as made:
        yield made
        assert await books(made.sql) == {}


def usage(model: str | None = "claude-sonnet-4-5", cost: float | None = None, **tokens: int) -> Event:
    """What an agent tells of one call."""
    data: dict[str, Any] = {"model": model, "tokens": tokens}
    return Event(EventKind.USAGE, "", data if cost is None else {**data, "cost_usd": cost})


async def tell(desk: Till, run: int, *events: Event) -> None:
    """An agent tells of calls."""
    shipping = asyncio.create_task(desk.runtime.shipper.run())
    at = await desk.sql.fetchval("select events from run where number = $1", run)
    try:
        await Journal(desk.runtime.shipper, run, desk.runtime.money.services, events=at).write(events)
    finally:
        shipping.cancel()


async def test_what_an_agent_tells_is_in_the_ledger_with_its_basis(desk: Till) -> None:
    (run,) = await desk.runs()
    for scope, key, period in (("project", "shop", "month"), ("agent", "ada", "week"), ("day", "", "day")):
        await set_budget(desk.sql, scope, key, 5, period=period)
    await set_budget(desk.sql, "project", "shop", 100, unit="runs")
    await set_budget(desk.sql, "project", "shop", 100, unit="calls")
    await set_budget(desk.sql, "project", "shop", 10**6, unit="tokens")
    await tell(desk, run, usage(cost=0.25, input=100, output=20), usage(input=1000, output=100, cache_read=10))
    await tell(desk, run, usage(cost=0.5))
    rows = await desk.sql.fetch(
        "select kind, status, basis, service, agent, tokens, tokens_cache_read from charge order by at, id"
    )
    assert [tuple(row) for row in rows] == [
        ("reported", "settled", "estimated", None, "ada", 120, 0),
        ("reported", "settled", "estimated", None, "ada", 1110, 10),
        ("reported", "settled", "estimated", None, "ada", 0, 0),
    ]
    listed = 1000 * 3 + 100 * 15 + 3
    for scope, key in (("agent", "ada"), ("day", "")):
        assert (await account(desk.sql, scope, key))["spent"] == 750_000 + listed
    spent = await desk.sql.fetch("select unit, spent from account where key = 'shop'")
    assert {row["unit"]: row["spent"] for row in spent} == {
        "usd": 750_000 + listed,
        "runs": 1,
        "calls": 3,
        "tokens": 1230,
    }
    assert await desk.sql.fetchval("select cost_usd * 1000000 from run") == 750_000 + listed
    assert await desk.sql.fetchval("select cost_basis from run") == "estimated"
    task = await desk.sql.fetchval("select task from run")
    assert [found.cost_basis for found in await tasks_by_number(desk.sql, [task])] == ["estimated"]
    recently = datetime.now(UTC) - timedelta(hours=1)
    spend = await counts(desk.sql, recently, recently)
    assert (spend.today_basis, spend.month_basis) == ("estimated", "estimated")
    in_the_ledger = Decimal(750_000 + listed) / 1_000_000
    assert (spend.today_usd, spend.month_usd) == (in_the_ledger, in_the_ledger)
    assert await charged(desk.sql, recently, recently, ["main"]) == (in_the_ledger, in_the_ledger)


async def test_what_the_gateway_has_metered_is_not_counted_again(desk: Till) -> None:
    (run,) = await desk.runs()
    await desk.sql.execute(
        "insert into charge (id, at, task, run, kind, status) select qd_uuid7(), now(), task, number, 'call', 'reserved' from run"
    )
    await desk.sql.execute("select budget_set('task', task::text, 'usd', 'total', 1, null) from run")
    await tell(desk, run, usage(cost=0.25), usage("no-such-model", input=5))
    assert await desk.sql.fetchval("select count(*) from charge") == 1
    life = await desk.life(run)
    await desk.runtime.money.hold(life, set())
    assert life.stopped is None, "the ledger alone decides for a run that is metered"


async def test_a_call_that_was_refused_hides_nothing_of_what_an_agent_tells(desk: Till) -> None:
    (run,) = await desk.runs()
    await desk.sql.execute(
        "insert into charge (id, at, task, run, kind, status) select qd_uuid7(), now(), task, number, 'call', 'released' from run"
    )
    await desk.sql.execute("select budget_set('task', task::text, 'usd', 'total', 1, null) from run")
    await tell(desk, run, usage(cost=5))
    assert await desk.sql.fetchval("select spent from account") == 5_000_000
    life = await desk.life(run)
    await desk.runtime.money.hold(life, set())
    assert life.stopped is not None
    await desk.sql.execute("update run set cost_usd = 5, cost_basis = 'estimated'")
    await engine_side.end_run(desk.sql, run)
    assert await desk.sql.fetchval("select cost_usd from run") == 5


@pytest.mark.parametrize(
    ("scope", "unit", "limit", "kind"),
    [
        ("project", "usd", 0.2, "budget"),
        ("agent", "tokens", 100, "budget"),
        ("day", "calls", 1, "budget"),
        ("task", "usd", 0.2, "cost"),
    ],
)
async def test_a_run_that_goes_beyond_a_limit_is_stopped(
    desk: Till, scope: str, unit: str, limit: float, kind: str
) -> None:
    (run,) = await desk.runs()
    life = await desk.life(run)
    keys = {"project": "shop", "agent": "ada", "day": "", "task": str(life.work.number)}
    period = {"day": "day", "task": "total"}.get(scope, "month")
    rule = await set_budget(desk.sql, scope, keys[scope], limit, unit=unit, period=period)
    await tell(desk, run, usage(cost=0.1, input=60))
    await desk.runtime.money.hold(life, set())
    assert life.stopped is None
    await tell(desk, run, usage(cost=0.15, input=60))
    await desk.runtime.money.hold(life, set())
    assert life.stopped is not None
    assert (life.stopped.kind, "stop" in desk.asked) == (kind, True)
    assert await desk.sql.fetchval("select count(*) from alert where kind = 'exhausted'") == 1
    if kind == "budget":
        judgement = await desk.runtime.money.after(life, stopped(life.stopped))
        assert (judgement.wait, judgement.refused and judgement.refused.budget) == ("budget", rule)
        await desk.sql.execute("update budget set hard = null")
        await desk.sql.execute("update account set hard = null, ceiling = null")
        assert (await desk.runtime.money.after(life, stopped(life.stopped))).wait == "time", "there is room again"
        await set_budget(desk.sql, scope, keys[scope], 0, unit=unit, period=period)
    where = {"project": "shop", "task": life.work.number, "agent": "ada"}
    refused = await engine_side.may_start(desk.sql, **where, speaks=frozenset())
    assert refused is not None, "the next run of an agent that tells of calls does not begin"
    assert refused.budget == rule


async def test_an_unknown_model_is_told_and_stopped_where_dollars_are_limited(desk: Till) -> None:
    (run,) = await desk.runs()
    life = await desk.life(run)
    await tell(desk, run, usage("no-such-model", input=500))
    row = await desk.sql.fetchrow("select cost_micro, basis, tokens, note from charge")
    assert tuple(row)[:3] == (0, "imputed", 500)
    assert "qd service price" in row["note"]
    life.journal = Journal(desk.runtime.shipper, run, desk.runtime.money.services, events=1)
    shipping = asyncio.create_task(desk.runtime.shipper.run())
    said: set[str] = set()
    for _ in range(2):
        await desk.runtime.money.hold(life, said)
    assert life.stopped is None
    assert await desk.sql.fetchval("select count(*) from event where kind = 'error'") == 1
    await set_budget(desk.sql, "day", "", 5, period="day")
    await desk.runtime.money.hold(life, said)
    shipping.cancel()
    assert life.stopped is not None
    assert (life.stopped.kind, "no-such-model" in life.stopped.words) == ("unpriced", True)


async def test_a_price_is_looked_for_in_the_list_then_at_the_services_then_at_worst(desk: Till) -> None:
    used = Tokens(input=100, output=10)
    none = await services(desk.sql)
    assert price_of("no-such-model", used, none) is None
    await add_service(desk.sql, "own", "http://x", prices={"mine-*": DEAR})
    priced = price_of("mine-1", used, await services(desk.sql))
    assert priced is not None
    assert (priced.micro, priced.basis) == (1500, "estimated")
    assert price_of("no-such-model", used, await services(desk.sql)) is None
    await add_service(desk.sql, "worst", "http://x", prices={}, worst_price={"input": 20, "output": 100})
    worst = price_of("no-such-model", used, await services(desk.sql))
    assert worst is not None
    assert (worst.micro, worst.basis) == (3000, "imputed")
    assert told_calls([Event(EventKind.USAGE, "", {"model": "x"})], none) == []
