"""A threshold is told when it is passed: once for each budget, whatever passed it, and again when it is passed anew."""

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from storage.queries import limits
from storage.queries.services import list_services
from tests.budget.gate import add_runs, add_service, books, connect, set_budget


@pytest.fixture
async def db(migrated_database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(migrated_database)
    await add_runs(connection)
    await add_service(connection, "main", "http://x")
    yield connection
    assert await books(connection) == {}
    await connection.close()


async def spend(db: asyncpg.Connection, micro: int, tokens: int = 1) -> str:
    """A call of the agent `ada` for the project `shop` on the service `main`; its outcome."""
    charge = uuid4()
    await db.execute("select budget_open('main', 'shop', null, 'ada')")
    outcome: str = await db.fetchval(
        """select outcome from budget_reserve($1, null, 'main', 'm', null, $3, $2, 0, 0, 0, 1, false, p_project => 'shop', p_agent => 'ada')""",
        charge,
        micro,
        tokens,
    )
    await db.execute("select budget_settle($1, 'settled', 'measured', $2, $3)", charge, micro, tokens)
    return outcome


async def told(db: asyncpg.Connection) -> list[tuple[str, str, int]]:
    """(unit, kind, level) of the alerts that are not told yet; they are from then on."""
    rows = await db.fetch(
        """update alert set delivered_at = now() where delivered_at is null
           returning coalesce(data ->> 'unit', '') || ' ' || coalesce((select period from budget b where b.id = budget), '') as unit, kind, level"""
    )
    return sorted((row["unit"], row["kind"], row["level"]) for row in rows)


async def test_budgets_of_one_scope_do_not_swallow_each_others_alerts(db: asyncpg.Connection) -> None:
    await set_budget(db, "project", "shop", 1)
    await set_budget(db, "project", "shop", 1, period="total")
    await set_budget(db, "project", "shop", 1000, unit="tokens")
    await spend(db, 500_000, 600)
    assert await told(db) == [(of, "threshold", 50) for of in ("tokens month", "usd month", "usd total")]
    await spend(db, 500_000, 400)
    found = await told(db)
    assert [row for row in found if row[2] == 100] == [
        (of, "threshold", 100) for of in ("tokens month", "usd month", "usd total")
    ]
    await set_budget(db, "project", "shop", None, period="total")
    for unit, other in (("tokens", "usd"), ("usd", "tokens")):
        await set_budget(db, "project", "shop", 1000 if unit == "tokens" else 1, unit=unit)
        await set_budget(db, "project", "shop", None, unit=other)
        assert await spend(db, 1, 1) == "limit"
        assert (f"{unit} month", "exhausted", 0) in await told(db)


@pytest.mark.parametrize("key", ["shop", "*"])
async def test_a_threshold_that_a_new_or_lowered_limit_has_passed_already_is_told(
    db: asyncpg.Connection, key: str
) -> None:
    await spend(db, 600_000)
    rule = await set_budget(db, "project", key, 1)
    assert await told(db) == [("usd month", "threshold", 50)]
    row = next(row for row in await limits.list_budgets(db, "project") if row.key == "shop")
    assert row.spent == 600_000, "what was spent before counts from the first moment on"
    await set_budget(db, "project", key, 0.7)
    assert await told(db) == [("usd month", "threshold", 80)]
    await db.execute("select budget_set('project', $1, 'usd', 'month', 700000, 500000)", key)
    assert await told(db) == [("usd month", "soft", 0)]
    await db.execute("select budget_set('project', $1, 'usd', 'month', 700000, 500000, 'UTC', 1, '{70,80}')", key)
    assert await told(db) == [("usd month", "threshold", 70)]
    assert await db.fetchval("select count(*) from alert where budget <> $1", rule) == 0


@pytest.mark.parametrize("key", ["shop", "*"])
@pytest.mark.parametrize("by", ["increase", "override"])
async def test_a_threshold_is_told_again_when_it_is_passed_anew(db: asyncpg.Connection, key: str, by: str) -> None:
    rule = await set_budget(db, "project", key, 1)
    await spend(db, 1_000_000)
    assert await spend(db, 1) == "limit"
    assert [row[1:] for row in await told(db)] == [
        ("exhausted", 0),
        ("threshold", 50),
        ("threshold", 80),
        ("threshold", 100),
    ]
    if by == "increase":
        await set_budget(db, "project", key, 2)
    else:
        assert await limits.override_budget(db, rule, "shop", 1_000_000)
    assert await told(db) == [], "half of it is used, as was told"
    await spend(db, 600_000)
    assert [row[1:] for row in await told(db)] == [("threshold", 80)]
    await spend(db, 400_000)
    assert await spend(db, 1) == "limit"
    assert [row[1:] for row in await told(db)] == [("exhausted", 0), ("threshold", 100)]


async def test_an_increase_of_the_rule_for_each_lets_an_exhausted_service_answer_again(db: asyncpg.Connection) -> None:
    await db.execute("delete from budget where scope = 'service'")
    await set_budget(db, "service", "*", 1)
    await spend(db, 1_000_000)
    assert await spend(db, 1) == "limit"
    assert await db.fetchval("select exhausted_until from service") is not None
    await set_budget(db, "service", "*", 2)
    assert await db.fetchval("select exhausted_until from service") is None


async def test_a_limit_of_nothing_is_no_threshold_that_was_passed(db: asyncpg.Connection) -> None:
    await set_budget(db, "project", "shop", 0)
    await set_budget(db, "day", "", 0, period="day")
    assert await told(db) == []


@pytest.mark.parametrize("key", ["main", "*"])
async def test_a_service_whose_budget_is_removed_is_not_exhausted_any_more(db: asyncpg.Connection, key: str) -> None:
    await db.execute("delete from budget where scope = 'service'")
    rule = await set_budget(db, "service", key, 1)
    await spend(db, 1_000_000)
    assert await spend(db, 1) == "limit"
    assert [row.exhausted for row in await list_services(db)] == [True]
    assert await limits.remove_budget(db, rule)
    assert [row.exhausted for row in await list_services(db)] == [False]
