"""Reserve and settle: all or nothing, never over, the books always the sums of the ledger."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from config.errors import UnavailableError
from core.budget.engine_side import issue_token, revoke
from core.budget.gateway.books import digest_of
from storage.database import Database
from storage.queries import budget
from storage.queries.budget import Ask, Grant, Tokens
from tests.budget.gate import account, add_runs, add_service, books, connect, open_pool, set_budget

RATE = 10_000_000
"""Micro-dollars per million tokens of output."""


def ask(micro: int = 1000, output: int = 100, *, least: int = 1, service: str = "main", tokens: int = 10) -> Ask:
    """A call whose prompt costs ``micro``, and each token of its output ten micro-dollars."""
    return Ask(uuid.uuid4(), service, "m", tokens, micro, output, least, RATE)


class Ledger:
    """One run with a token, and short words for what is done with it."""

    def __init__(self, db: asyncpg.Connection, run: int, token: bytes, gateway: int) -> None:
        self.db, self.run, self.token, self.gateway = db, run, token, gateway

    async def reserve(self, what: Ask, **more: Any) -> Grant:
        return await budget.reserve(self.db, what, self.token, self.gateway, **more)

    async def spend(self, micro: int, **more: Any) -> Grant:
        what = ask(max(micro - 10, 0), 1)
        grant = await self.reserve(what, **more)
        if grant.outcome == "granted":
            await budget.settle(self.db, what.id, "settled", micro, Tokens(input=5, output=1))
        return grant


@asynccontextmanager
async def _ledger(dsn: str) -> AsyncIterator[Ledger]:
    db = await connect(dsn)
    run = (await add_runs(db))[0]
    token = await issue_token(db, run)
    gateway = await budget.register(db, name="g", pid=1, url="u", version="0", lease=timedelta(hours=1))
    try:
        yield Ledger(db, run, digest_of(token), gateway)
        assert await books(db) == {}
    finally:
        await db.close()


@pytest.fixture
async def ledger(migrated_database: str) -> AsyncIterator[Ledger]:
    async with _ledger(migrated_database) as made:
        await add_service(made.db, "main", "http://x", usd=1)
        yield made


async def test_a_call_is_reserved_at_its_worst_and_settled_at_its_price(ledger: Ledger) -> None:
    what = ask(1000, 100)
    assert (await ledger.reserve(what)).reserved == 2000
    row = await account(ledger.db, "service", "main")
    assert (row["spent"], row["reserved"]) == (0, 2000)
    assert await budget.settle(ledger.db, what.id, "settled", 700, Tokens(input=20, output=5)) == "settled"
    row = await account(ledger.db, "service", "main")
    assert (row["spent"], row["reserved"]) == (700, 0)


async def test_a_settle_that_is_repeated_changes_nothing(ledger: Ledger) -> None:
    what = ask()
    await ledger.reserve(what)
    await budget.settle(ledger.db, what.id, "settled", 700)
    assert await budget.settle(ledger.db, what.id, "settled", 900) == "repeated"
    assert await budget.settle(ledger.db, what.id, "released") == "repeated"
    assert (await account(ledger.db, "service", "main"))["spent"] == 700


async def test_a_reserve_whose_reply_was_lost_gets_its_first_answer_again(ledger: Ledger) -> None:
    what = ask()
    first = await ledger.reserve(what)
    again = await ledger.reserve(what)
    assert (again.outcome, again.reserved, again.output) == ("granted", first.reserved, first.output)
    assert (await account(ledger.db, "service", "main"))["reserved"] == first.reserved


async def test_all_scopes_or_none(ledger: Ledger) -> None:
    await set_budget(ledger.db, "project", "shop", 5)
    await set_budget(ledger.db, "agent", "ada", 5)
    await set_budget(ledger.db, "day", "", 0.0005, period="day")
    task = await ledger.db.fetchval("select task from run")
    await ledger.db.execute("update task_body set max_cost_usd = 3 where task = $1", task)
    grant = await ledger.reserve(ask())
    assert (grant.outcome, grant.key) == ("limit", "")
    assert await ledger.db.fetchval("select sum(reserved) from account") == 0
    await set_budget(ledger.db, "day", "", 1, period="day")
    assert (await ledger.reserve(ask())).outcome == "granted"
    rows = await ledger.db.fetch(
        "select b.scope, a.reserved from account a join budget b on b.id = a.budget order by 1"
    )
    assert [tuple(row) for row in rows] == [(scope, 2000) for scope in ("agent", "day", "project", "service", "task")]


async def test_output_is_cut_so_that_the_last_dollar_is_usable(ledger: Ledger) -> None:
    await set_budget(ledger.db, "service", "main", 0.0015)
    assert (await ledger.reserve(ask(1000, 100))).output == 50


async def test_a_call_below_its_least_output_is_refused(ledger: Ledger) -> None:
    await set_budget(ledger.db, "service", "main", 0.0015)
    grant = await ledger.reserve(ask(1000, 100, least=51))
    assert (grant.outcome, grant.need) == ("limit", 1510)


async def test_a_patient_call_waits_for_what_others_have_reserved(ledger: Ledger) -> None:
    await set_budget(ledger.db, "service", "main", 0.0025)
    first = ask(1000, 100)
    await ledger.reserve(first)
    assert (await ledger.reserve(ask(300, 100), patient=True)).outcome == "busy"
    assert (await ledger.reserve(ask(300, 100))).output == 20
    await budget.settle(ledger.db, first.id, "released")
    assert (await ledger.reserve(ask(300, 100), patient=True)).output == 100


async def test_tokens_calls_and_runs_are_budgets_too(ledger: Ledger) -> None:
    await set_budget(ledger.db, "service", "main", 15, unit="tokens", period="5h")
    first = ask(0, 100, tokens=10)
    assert (await ledger.reserve(first)).output == 5
    await budget.settle(ledger.db, first.id, "released")
    await set_budget(ledger.db, "service", "main", 10**6, unit="tokens", period="5h")
    await set_budget(ledger.db, "agent", "ada", 2, unit="calls", period="day")
    assert [(await ledger.spend(10)).outcome for _ in range(3)] == ["granted", "granted", "limit"]
    await set_budget(ledger.db, "agent", "ada", 10, unit="calls", period="day")
    await set_budget(ledger.db, "project", "shop", 1, unit="runs", period="week")
    assert (await ledger.spend(10)).outcome == "granted"
    other = (await add_runs(ledger.db))[0]
    ledger.token = digest_of(await issue_token(ledger.db, other))
    assert (await ledger.spend(10)).outcome == "limit"


async def test_a_run_stays_counted_when_the_call_that_counted_it_is_released_and_others_go_on(ledger: Ledger) -> None:
    await set_budget(ledger.db, "service", "main", 1, unit="runs")
    first, second = ask(10), ask(10)
    assert [(await ledger.reserve(one)).outcome for one in (first, second)] == ["granted", "granted"]
    await budget.settle(ledger.db, first.id, "released")
    own, others = ledger.token, digest_of(await issue_token(ledger.db, (await add_runs(ledger.db))[0]))
    ledger.token = others
    assert (await ledger.reserve(ask(10))).outcome == "limit"
    assert await books(ledger.db) == {}
    ledger.token = own
    assert (await ledger.spend(10)).outcome == "granted", "it is counted once"
    await budget.settle(ledger.db, second.id, "settled", 10)
    runs = "select a.spent, a.reserved from account a where a.unit = 'runs'"
    assert tuple(await ledger.db.fetchrow(runs)) == (1, 0)


async def test_a_run_whose_only_call_is_released_is_not_counted(ledger: Ledger) -> None:
    await set_budget(ledger.db, "service", "main", 1, unit="runs")
    only = ask(10)
    await ledger.reserve(only)
    await budget.settle(ledger.db, only.id, "released")
    ledger.token = digest_of(await issue_token(ledger.db, (await add_runs(ledger.db))[0]))
    assert (await ledger.reserve(ask(10))).outcome == "granted"


async def test_a_run_is_counted_once_by_calls_that_are_released_and_reserved_at_the_same_time(
    ledger: Ledger, migrated_database: str
) -> None:
    await set_budget(ledger.db, "service", "main", 1, unit="runs")
    others = digest_of(await issue_token(ledger.db, (await add_runs(ledger.db))[0]))
    pool = await asyncpg.create_pool(migrated_database, min_size=8, max_size=8)

    async def call(token: bytes, status: Any) -> str:
        what = ask(10)
        async with pool.acquire() as connection:
            grant = await budget.reserve(connection, what, token, ledger.gateway)
            if grant.outcome == "granted":
                await budget.settle(connection, what.id, status, 5)
        return grant.outcome

    held = ask(10)
    await ledger.reserve(held)
    found = await asyncio.gather(
        *(call(ledger.token, status) for status in ["released", "settled"] * 12),
        *(call(others, "settled") for _ in range(6)),
    )
    await pool.close()
    assert found[:24] == ["granted"] * 24
    assert "granted" not in found[24:]
    await budget.settle(ledger.db, held.id, "released")
    assert await books(ledger.db) == {}


async def test_a_reset_that_is_moved_keeps_what_was_allowed_on_top_and_the_books_in_order(ledger: Ledger) -> None:
    db = ledger.db
    await ledger.spend(300_000)
    rule = await db.fetchval("select id from budget where scope = 'service'")
    assert await db.fetchval("select budget_override($1, 'main', 500000)", rule)
    # An account of an earlier rule that is over; by another day of reset the present one begins within it.
    await db.execute(
        """insert into account (budget, key, unit, starts, ends, hard, ceiling)
           select budget, key, unit, starts - interval '1 month', (select at - interval '1 ms' from charge), hard, hard from account"""
    )
    for starts_on, zone in ((28, "UTC"), (1, "Asia/Tokyo"), (1, "UTC")):
        await db.execute("select budget_set('service', 'main', 'usd', 'month', 1000000, null, $2, $1)", starts_on, zone)
        row = await account(db, "service", "main")
        assert (row["extra"], row["hard"], row["ceiling"], row["spent"]) == (500_000, 1_500_000, 1_500_000, 300_000)
        assert await books(db) == {}
    assert (await ledger.spend(1_100_000)).outcome == "granted"


async def test_a_limit_of_its_own_goes_before_the_limit_for_each(ledger: Ledger) -> None:
    await set_budget(ledger.db, "task", "*", 0.001, period="total")
    task = await ledger.db.fetchval("select task from run")
    assert (await ledger.spend(1500)).outcome == "limit"
    await set_budget(ledger.db, "task", str(task), 1, period="total")
    assert (await ledger.spend(1500)).outcome == "granted"


async def test_a_rule_that_is_made_later_knows_what_was_spent_and_reserved_before(ledger: Ledger) -> None:
    await ledger.spend(400)
    pending = ask(1000, 100)
    await ledger.reserve(pending)
    await set_budget(ledger.db, "project", "shop", 1)
    await ledger.spend(100)
    row = await account(ledger.db, "project", "shop")
    assert (row["spent"], row["reserved"]) == (500, 2000)
    await budget.settle(ledger.db, pending.id, "settled", 300)
    row = await account(ledger.db, "project", "shop")
    assert (row["spent"], row["reserved"]) == (800, 0)


async def test_a_limit_below_what_is_spent_stops_every_call_and_a_higher_one_lets_them_through(ledger: Ledger) -> None:
    await ledger.spend(5000)
    await set_budget(ledger.db, "service", "main", 0.004)
    assert (await ledger.spend(1)).outcome == "limit"
    assert await ledger.db.fetchval("select exhausted_until is not null from service")
    await set_budget(ledger.db, "service", "main", 0.02)
    assert (await ledger.spend(1)).outcome == "granted"
    assert await ledger.db.fetchval("select exhausted_until is null from service")


async def test_a_person_lets_a_budget_go_beyond_its_limit_for_this_period(ledger: Ledger) -> None:
    rule = await set_budget(ledger.db, "service", "main", 0.001)
    assert (await ledger.spend(990)).outcome == "granted"
    assert (await ledger.spend(500)).outcome == "limit"
    assert await ledger.db.fetchval("select budget_override($1, 'main', 1000)", rule)
    assert (await ledger.spend(500)).outcome == "granted"
    assert (await ledger.spend(5000)).outcome == "limit"


async def test_what_costs_more_than_its_bound_is_entered_and_told(ledger: Ledger) -> None:
    await set_budget(ledger.db, "service", "main", 0.002)
    what = ask(1000, 100)
    await ledger.reserve(what)
    await budget.settle(ledger.db, what.id, "settled", 2600)
    row = await account(ledger.db, "service", "main")
    assert (row["spent"], row["overrun"]) == (2600, 600)
    assert await ledger.db.fetchval("select text like '%0.0006 more than its bound%' from alert where kind = 'overrun'")


async def test_what_a_dead_gateway_reserved_counts_in_full_until_its_late_settle(ledger: Ledger) -> None:
    what = ask(1000, 100)
    await ledger.reserve(what)
    assert await budget.sweep(ledger.db) is None
    await budget.register(ledger.db, name="g", pid=2, url="u", version="0", lease=timedelta(hours=1))
    assert await budget.sweep(ledger.db) == what.id
    assert await budget.sweep(ledger.db) is None
    row = await account(ledger.db, "service", "main")
    assert (row["spent"], row["reserved"]) == (2000, 0)
    assert await budget.settle(ledger.db, what.id, "settled", 700, Tokens(input=9, output=1)) == "settled"
    row = await account(ledger.db, "service", "main")
    assert (row["spent"], row["reserved"], row["overrun"]) == (700, 0, 0)


async def test_a_gateway_that_was_away_too_long_takes_its_lease_up_again(ledger: Ledger) -> None:
    first = ask()
    await ledger.reserve(first)
    await budget.heartbeat(ledger.db, ledger.gateway, timedelta(seconds=-1))
    assert await budget.sweep(ledger.db) == first.id
    assert await budget.sweep(ledger.db) is None
    await budget.heartbeat(ledger.db, ledger.gateway, timedelta(hours=1))
    second = ask()
    await ledger.reserve(second)
    assert await budget.sweep(ledger.db) is None
    await budget.resign(ledger.db, ledger.gateway)
    assert await budget.sweep(ledger.db) == second.id


async def test_a_token_that_is_revoked_reserves_nothing(ledger: Ledger) -> None:
    assert await revoke(ledger.db, ledger.run) == 1
    assert (await ledger.reserve(ask())).outcome == "dead"


async def test_a_suspended_service_takes_no_call(ledger: Ledger) -> None:
    await ledger.db.execute("update service set suspended = true, suspended_reason = 'too dear'")
    grant = await ledger.reserve(ask())
    assert (grant.outcome, grant.reason) == ("suspended", "too dear")


async def test_thresholds_are_told_once_each(ledger: Ledger) -> None:
    await ledger.db.fetchval(
        "select budget_set('service', 'main', 'usd', 'month', 10000, 3000, p_thresholds => '{50,80,100}')"
    )
    for _ in range(10):
        await ledger.spend(1000)
    rows = await ledger.db.fetch("select kind, level from alert order by id")
    assert [tuple(row) for row in rows] == [("soft", 0), ("threshold", 50), ("threshold", 80), ("threshold", 100)]


async def test_a_budget_without_a_limit_counts_and_never_stops(ledger: Ledger) -> None:
    await ledger.db.execute("delete from budget")
    await set_budget(ledger.db, "service", "main", None)
    assert (await ledger.spend(9_000_000)).outcome == "granted"
    assert (await ledger.spend(9_000_000)).outcome == "granted"
    assert (await account(ledger.db, "service", "main"))["spent"] == 18_000_000
    await set_budget(ledger.db, "service", "main", 1)
    assert (await ledger.reserve(ask())).outcome == "limit"


async def test_a_new_period_begins_with_nothing_spent(ledger: Ledger) -> None:
    now = datetime.now(UTC)
    assert (await ledger.spend(900_000)).outcome == "granted"
    assert (await ledger.spend(900_000)).outcome == "limit"
    assert (await ledger.spend(900_000, at=now + timedelta(days=32))).outcome == "granted"


# ── many at once, and the variants that must be caught ──────────────────────────────────────────────────────────────


async def _race(dsn: str, calls: int = 240, limit: float = 0.05) -> tuple[int, int, dict[str, int], int]:
    """Calls at once against one service and two projects, settled at the full reserve: (spent, hard, wrong books, deadlocks)."""
    db = await connect(dsn)
    pool: Database = await open_pool(dsn, 16)
    if not await db.fetchval("select exists (select 1 from service)"):
        await add_service(db, "main", "http://x", usd=limit)
    await set_budget(db, "project", "*", limit / 2)
    await set_budget(db, "agent", "*", limit)
    runs = await add_runs(db, 3) + await add_runs(db, 3, project="mill", agent="bob")
    tokens = [digest_of(await issue_token(db, run)) for run in runs]
    gateway = await budget.register(db, name="g", pid=1, url="u", version="0", lease=timedelta(hours=1))
    deadlocks = 0

    async def one(number: int) -> None:
        nonlocal deadlocks
        what = ask(random.Random(number).randint(200, 900), 10)
        try:
            async with pool.connection() as connection:
                grant = await budget.reserve(connection, what, tokens[number % len(tokens)], gateway)
            if grant.outcome == "granted":
                async with pool.connection() as connection:
                    await budget.settle(connection, what.id, "settled", grant.reserved or 0)
        except (asyncpg.DeadlockDetectedError, UnavailableError):
            deadlocks += 1
        except asyncpg.CheckViolationError:
            return  # the backstop of the table

    try:
        await asyncio.gather(*(one(number) for number in range(calls)))
        row = await account(db, "service", "main")
        return row["spent"] + row["reserved"], row["hard"], await books(db), deadlocks
    finally:
        await pool.close()
        await db.close()


async def test_many_at_once_are_never_over_and_leave_less_than_one_call(migrated_database: str) -> None:
    spent, hard, wrong, deadlocks = await _race(migrated_database)
    assert spent <= hard
    assert hard - spent < 1000
    assert (wrong, deadlocks) == ({}, 0)


async def _mutate(dsn: str, function: str, old: str, new: str, *more: str) -> None:
    """Break a function of the ledger on purpose."""
    db = await connect(dsn)
    source = await db.fetchval("select pg_get_functiondef(oid) from pg_proc where proname = $1", function)
    assert old in source, "the mutant does not apply any more"
    await db.execute(source.replace(old, new))
    for statement in more:
        await db.execute(statement)
    await db.close()


async def test_the_mutant_that_checks_before_it_locks_is_caught(migrated_database: str) -> None:
    await _mutate(
        migrated_database,
        "budget_reserve",
        "and (a.hard is null or a.spent + a.reserved + v_amount <= a.hard)",
        "",
        "alter table account drop constraint within_limit",
    )
    await _mutate(migrated_database, "budget_reserve", "v_micro := ", "perform pg_sleep(0.005); v_micro := ")
    spent, hard, _, _ = await _race(migrated_database)
    assert spent > hard


async def test_with_that_mutant_the_constraint_still_holds_the_limit(migrated_database: str) -> None:
    await _mutate(
        migrated_database, "budget_reserve", "and (a.hard is null or a.spent + a.reserved + v_amount <= a.hard)", ""
    )
    spent, hard, _, _ = await _race(migrated_database)
    assert spent <= hard


async def test_the_mutant_that_forgets_what_it_undid_is_caught(migrated_database: str) -> None:
    await _mutate(migrated_database, "budget_reserve", "v_ids[1:v_done]", "v_ids[1:0]")
    await _mutate(migrated_database, "budget_reserve", "v_micro := ", "perform pg_sleep(0.005); v_micro := ")
    for _ in range(5):  # a race that nobody loses says nothing
        _, _, wrong, _ = await _race(migrated_database)
        if wrong:
            break
    assert "reserved is not the sum of the ledger" in wrong


async def test_the_mutant_that_mixes_the_order_of_locks_is_caught(migrated_database: str) -> None:
    backwards = "foreach v_id in array (select array_agg(x order by x desc) from unnest(c.accounts) x) loop"
    quick = "do $$ begin execute format('alter database %I set deadlock_timeout = 20', current_database()); end $$"
    slow = backwards + " perform pg_sleep(0.002); "
    await _mutate(migrated_database, "budget_settle", "foreach v_id in array c.accounts loop", slow, quick)
    *_, deadlocks = await _race(migrated_database, calls=200, limit=10)
    assert deadlocks > 0


async def test_the_mutant_that_settles_twice_is_caught(ledger: Ledger) -> None:
    source = await ledger.db.fetchval("select pg_get_functiondef(oid) from pg_proc where proname = 'budget_settle'")
    await ledger.db.execute(source.replace("c.status not in ('reserved', 'presumed') or c.status = p_status", "false"))
    what = ask()
    await ledger.reserve(what)
    await budget.settle(ledger.db, what.id, "settled", 700)
    await budget.settle(ledger.db, what.id, "settled", 700)
    assert "spent is not the sum of the ledger" in await books(ledger.db)
    await ledger.db.execute("truncate charge, account")
