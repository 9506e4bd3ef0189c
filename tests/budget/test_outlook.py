"""Budgets burn down and are foretold by their own period, time zone and unit, whatever they limit."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from core.budget import alerts
from core.budget.forecast import exhaustion
from core.budget.outlook import foresee
from storage.queries.analytics import burns
from storage.queries.limits import BudgetRow, list_budgets
from storage.queries.spending import totals
from tests.budget.gate import add_runs, connect, set_budget


@pytest.fixture
async def db(migrated_database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(migrated_database)
    await add_runs(connection)
    yield connection
    await connection.close()


async def charge(db: asyncpg.Connection, at: datetime, micro: int = 1_000_000, tokens: int = 100) -> None:
    """A call of the run for the project `shop`, at a time."""
    await db.execute(
        """insert into charge (id, at, project, task, run, agent, status, basis, cost_micro, tokens, tokens_input)
           select qd_uuid7(), $1, project, task, number, agent, 'settled', 'measured', $2, $3, $3 from run""",
        at,
        micro,
        tokens,
    )


async def only(db: asyncpg.Connection, scope: str = "project") -> BudgetRow:
    """The one budget of a scope."""
    (row,) = await list_budgets(db, scope)
    return row


async def test_a_month_burns_down_by_the_days_of_its_own_zone(db: asyncpg.Connection) -> None:
    zone = ZoneInfo("Asia/Tokyo")
    rule = await db.fetchval("select budget_set('project', 'shop', 'usd', 'month', 9000000, null, 'Asia/Tokyo', 5)")
    starts = (await only(db)).starts
    assert starts is not None
    assert starts.astimezone(zone).hour == 0
    await db.execute("delete from account")
    await charge(db, starts)
    await charge(db, starts + timedelta(hours=23, minutes=59), 2_000_000)
    await charge(db, starts + timedelta(hours=24), 500_000)
    await db.execute("select budget_open(null, 'shop', null, null, $1)", starts + timedelta(hours=30))
    (burn,) = await burns(db, starts + timedelta(hours=30))
    assert (burn.budget, burn.key, burn.period, burn.starts.day, burn.ends.day) == (rule, "shop", "month", 5, 5)
    assert burn.used == (Decimal(3), Decimal("0.5"))
    assert burn.left == [9, 6, 5.5]
    assert burn.span == (burn.ends.date() - burn.starts.date()).days


async def test_short_periods_and_other_units_burn_down_too(db: asyncpg.Connection) -> None:
    day, window = (
        await set_budget(db, "day", "", 1000, unit="tokens", period="day"),
        await set_budget(db, "agent", "ada", 7, unit="calls", period="5h"),
    )
    now = datetime.now(UTC)
    await db.execute("delete from account")
    rows = {
        row["id"]: row
        for row in await db.fetch(
            "select b.id, p.starts from budget b, budget_period(b.period, b.zone, b.starts_on, $1) p", now
        )
    }
    await charge(db, rows[day]["starts"], tokens=300)
    await charge(db, rows[window]["starts"], tokens=0)
    await db.execute("select budget_open(null, null, null, 'ada', $1)", now)
    found = {burn.budget: burn for burn in await burns(db, now)}
    assert (found[day].unit, found[day].span, found[day].left[:2]) == ("tokens", 24, [1000, 700])
    assert len(found[day].used) == now.hour + 1
    assert found[window].left[0] == 7
    assert 5 <= found[window].left[1] <= 6, "the charge of the day may fall into it as well"
    assert found[window].ends - found[window].starts == timedelta(hours=5)


@pytest.mark.parametrize(
    ("scope", "key", "unit"),
    [("project", "shop", "tokens"), ("agent", "ada", "calls"), ("agent", "ada", "usd"), ("project", "shop", "runs")],
)
async def test_when_a_month_of_any_scope_and_unit_runs_out_is_foretold(
    db: asyncpg.Connection, scope: str, key: str, unit: str
) -> None:
    now = datetime.now(UTC)
    for day in range(1, 15):
        await charge(db, now - timedelta(days=day))
    each = {"usd": 1, "tokens": 100, "calls": 1, "runs": 1}[unit]
    await set_budget(db, scope, key, 10**9, unit=unit)
    row = await only(db, scope)
    limit = row.spent / (1e6 if unit == "usd" else 1) + 0.5 * each
    await set_budget(db, scope, key, -(-limit // 1), unit=unit)
    seen = await foresee(db, await only(db, scope), now)
    assert seen.runs_out_at is not None
    assert seen.samples == 14
    assert seen.runs_out_at - now <= timedelta(days=1)
    if seen.end is not None and row.ends is not None and row.ends - now > timedelta(days=2):
        await alerts.look(db, now)
        assert f"{scope} {key} will end its month" in await db.fetchval(
            "select text from alert where kind = 'forecast'"
        )


async def test_a_budget_that_is_never_renewed_runs_out_too(db: asyncpg.Connection) -> None:
    now = datetime.now(UTC)
    for day in range(1, 11):
        await charge(db, now - timedelta(days=day, minutes=1))
    await set_budget(db, "project", "shop", 15, period="total")
    seen = await foresee(db, await only(db), now)
    assert seen.end is None
    assert seen.runs_out_at == now + timedelta(days=5)


async def test_a_task_runs_out_within_hours(db: asyncpg.Connection) -> None:
    now = datetime.now(UTC)
    for hour in range(1, 6):
        await charge(db, now - timedelta(hours=hour))
    task = await db.fetchval("select task::text from run")
    await set_budget(db, "task", task, 8, period="total")
    seen = await foresee(db, await only(db, "task"), now)
    assert seen.runs_out_at == now + timedelta(hours=3)


def test_what_is_never_renewed_and_holds_for_a_year_does_not_run_out() -> None:
    assert exhaustion(0, 10**9, [1] * 10) is None
    assert exhaustion(0, None, [1] * 10) is None
    assert exhaustion(5, 5, []) == 0
    assert exhaustion(0, 5, [1, 1]) is None


async def test_a_step_that_is_seen_in_part_alone_is_none_to_foretell_from(db: asyncpg.Connection) -> None:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    await charge(db, hour - timedelta(hours=2, seconds=1), 5)
    await charge(db, hour - timedelta(hours=2), 7)
    await charge(db, hour - timedelta(seconds=1), 9)
    await charge(db, datetime.now(UTC), 11)
    assert await totals(db, "project", "shop", "usd", "UTC", "hour", 2) == [7, 9]
