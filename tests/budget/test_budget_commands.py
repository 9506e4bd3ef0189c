"""`qd service`, `qd charge`, `qd budget`, `qd secret`."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from tests.budget.gate import add_runs, books, connect
from tests.command_line import CommandLine, command_line

ADD = ("--provider", "anthropic", "--budget", "50")


@pytest.fixture
async def qd(migrated_database: str, tmp_path: Path) -> CommandLine:
    """`qd` on a database of its own."""
    return command_line(migrated_database, tmp_path)


@pytest.fixture
async def db(migrated_database: str) -> AsyncIterator[asyncpg.Connection]:
    """The database behind it."""
    connection = await connect(migrated_database)
    yield connection
    await connection.close()


async def test_a_service_is_added_budgeted_suspended_and_removed(qd: CommandLine, tmp_path: Path) -> None:
    added = (await qd("service", "add", "main", *ADD, "--key-env", "THE_KEY", "--json", THE_KEY="sk-ant-secret")).json
    assert added["budget_usd"] == 50
    assert (added["spent_usd"], added["remaining_usd"], added["status"], added["has_key"]) == (0, 50, "active", True)
    assert added["period_start"] < added["period_end"]
    assert (await qd("service", "budget", "main", "80", "--json")).json["budget_usd"] == 80
    assert (await qd("service", "suspend", "main", "--reason", "too dear", "--json")).json["status"] == "suspended"
    assert (await qd("service", "resume", "main", "--json")).json["status"] == "active"
    assert (await qd("service", "list", "--json")).json == [(await qd("service", "show", "main", "--json")).json]
    assert (await qd("service", "remove", "main")).code == 0
    assert (await qd("service", "show", "main")).code == 3
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"sk-ant-secret" not in path.read_bytes()


async def test_a_key_that_is_not_there_is_told(qd: CommandLine) -> None:
    assert (await qd("service", "add", "main", *ADD, "--key-env", "NOT_SET")).code == 2


async def test_fallbacks_do_not_go_in_a_circle(qd: CommandLine) -> None:
    await qd("service", "add", "cheap", "--provider", "anthropic")
    await qd("service", "add", "main", *ADD, "--fallback", "cheap", "--map", "claude-*=claude-haiku-4-5")
    refused = await qd("service", "edit", "cheap", "--fallback", "main", "--json")
    assert (refused.code, "circle" in refused.error["message"]) == (5, True)
    assert (await qd("service", "show", "main", "--json")).json["model_map"] == {"claude-*": "claude-haiku-4-5"}


async def test_prices_are_checked(qd: CommandLine) -> None:
    await qd("service", "add", "main", *ADD)
    done = (await qd("service", "price", "main", "gpt-oss*", "--input", "0.1", "--output", "0.5", "--json")).json
    assert done["prices"] == {"gpt-oss*": {"input": 0.1, "output": 0.5}}
    assert (await qd("service", "price", "main", "--worst", "--input", "5", "--output", "25", "--json")).json[
        "worst_price"
    ]
    assert (await qd("service", "price", "main", "--input", "5", "--output", "25")).code == 2


async def test_a_charge_by_hand_counts_and_is_refused_beyond_the_limit(qd: CommandLine) -> None:
    await qd("service", "add", "main", *ADD)
    charge = (await qd("charge", "add", "main", "12.50", "--note", "invoice 7", "--json")).json
    assert (charge["cost_usd"], charge["kind"], charge["status"]) == (12.5, "manual", "settled")
    assert (await qd("service", "show", "main", "--json")).json["remaining_usd"] == 37.5
    assert (await qd("charge", "add", "main", "40")).code == 5
    assert [row["id"] for row in (await qd("charge", "list", "--json")).json] == [charge["id"]]
    assert (await qd("charge", "sum", "service", "--json")).json[0]["cost_usd"] == 12.5
    assert all(row["wrong"] == 0 for row in (await qd("budget", "check", "--json")).json)


async def test_a_budget_of_every_scope_and_unit(qd: CommandLine, db: asyncpg.Connection) -> None:
    await add_runs(db)
    await qd("service", "add", "sub", "--provider", "anthropic", "--quota")
    for words in (
        ("project", "shop", "--usd", "5"),
        ("task", "*", "--usd", "1"),
        ("task", "1", "--usd", "2.5"),
        ("agent", "ada", "--calls", "100", "--period", "day", "--time-zone", "Europe/Berlin"),
        ("day", "-", "--usd", "20", "--threshold", "90"),
        ("service", "sub", "--tokens", "1000000", "--period", "5h", "--soft", "800000"),
        ("service", "sub", "--runs", "40", "--period", "week"),
    ):
        outcome = await qd("budget", "set", *words, "--json")
        assert outcome.code == 0, (words, outcome.err)
    listed = (await qd("budget", "list", "--json")).json
    assert {(row["scope"], row["unit"], row["period"]) for row in listed} >= {
        ("task", "usd", "total"),
        ("agent", "calls", "day"),
        ("service", "tokens", "5h"),
        ("service", "runs", "week"),
    }
    for words in (("project", "none", "--usd", "5"), ("day", "x", "--usd", "5"), ("project", "shop")):
        assert (await qd("budget", "set", *words)).code in (2, 3)
    assert (await qd("budget", "set", "project", "shop", "--usd", "1", "--time-zone", "Mars/Base")).code == 2
    assert (await qd("budget", "remove", "project", "shop")).code == 0


async def test_an_override_lets_a_budget_go_on_in_this_period(qd: CommandLine) -> None:
    await qd("service", "add", "main", "--provider", "anthropic", "--budget", "1")
    await qd("charge", "add", "main", "1")
    assert (await qd("charge", "add", "main", "0.5")).code == 5
    assert (await qd("budget", "override", "service", "main", "0.5", "--json")).json["hard"] == 1.5
    assert (await qd("charge", "add", "main", "0.5")).code == 0


async def test_forecast_estimate_and_outliers_say_when_they_know_nothing(
    qd: CommandLine, db: asyncpg.Connection
) -> None:
    await qd("service", "add", "main", *ADD)
    await qd("charge", "add", "main", "1")
    row = (await qd("budget", "forecast", "--json")).json[0]
    assert (row["key"], row["spent"], row["low"]) == ("main", 1, None)
    assert (await qd("budget", "estimate", "shop")).code == 3
    await add_runs(db)
    assert (await qd("budget", "estimate", "shop")).code == 5
    assert (await qd("budget", "outliers", "--json")).json == []


async def test_a_month_that_will_end_too_dear_is_foretold(qd: CommandLine, db: asyncpg.Connection) -> None:
    await qd("service", "add", "main", *ADD)
    await db.execute(
        """insert into charge (id, at, service, status, basis, cost_micro)
           select qd_uuid7(), now() - make_interval(days => n), 'main', 'settled', 'measured', 40000000 from generate_series(1, 20) n"""
    )
    row = (await qd("budget", "forecast", "--json")).json[0]
    assert row["samples"] == 20
    assert row["low"] == pytest.approx(row["high"])


async def test_alerts_are_seen_once(qd: CommandLine) -> None:
    await qd("service", "add", "main", "--provider", "anthropic", "--budget", "1")
    await qd("charge", "add", "main", "0.9")
    alerts = (await qd("budget", "alerts", "--json")).json
    assert [row["kind"] for row in alerts] == ["threshold", "threshold"]
    assert (await qd("budget", "seen", "--json")).json == []
    assert len((await qd("budget", "alerts", "--every", "--json")).json) == 2


async def test_a_secret_goes_in_and_nothing_shows_it(qd: CommandLine, db: asyncpg.Connection, tmp_path: Path) -> None:
    await add_runs(db)
    assert (await qd("secret", "set", "service.main", stdin="sk-very-secret\n")).out == "secret service.main is set\n"
    await qd("secret", "set", "service.main", "--project", "shop", stdin="sk-shop-secret\n")
    listed = await qd("secret", "list", "--json")
    assert [(row["name"], row["project"]) for row in listed.json] == [("service.main", None), ("service.main", "shop")]
    everything = listed.out + (await qd("audit", "list", "--json")).out
    assert "sk-" not in everything
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"secret\n" not in path.read_bytes()
        assert not path.is_file() or b"sk-" not in path.read_bytes()
    assert (await qd("secret", "set", "empty", stdin="\n")).code == 2
    assert (await qd("secret", "remove", "service.main")).code == 0
    assert (await qd("secret", "remove", "service.main")).code == 3


async def test_a_viewer_changes_nothing(qd: CommandLine) -> None:
    assert (await qd("service", "add", "main", *ADD, QD_ROLE="viewer")).code == 4
    assert (await qd("service", "list", QD_ROLE="viewer")).code == 0
    assert (await qd("secret", "list", QD_ROLE="viewer")).code == 4


async def test_what_is_spent_says_how_much_of_it_no_provider_has_counted(
    qd: CommandLine, db: asyncpg.Connection
) -> None:
    await qd("service", "add", "main", *ADD)
    await db.execute("insert into project (id, name, repo, path) values ('shop', 'shop', '/x', '/x')")
    (empty,) = (await qd("service", "list", "--json")).json
    assert (empty["basis"], empty["estimated_usd"], empty["imputed_usd"]) == (None, 0, 0)
    for basis, micro, weakest in (
        ("measured", 5, "measured"),
        ("estimated", 7, "estimated"),
        ("imputed", 11, "imputed"),
        ("measured", 13, "imputed"),
    ):
        charge = uuid4()
        await db.execute("select budget_open('main', 'shop', null, null)")
        await db.execute(
            """select budget_reserve($1, null, 'main', 'm', null, 0, case when $2 < 10 then $2 * 1000000 else 1 end, 0, 0, 0, 1, false,
                                     p_project => 'shop')""",
            charge,
            micro,
        )
        await db.execute("select budget_settle($1, 'settled', $2, $3)", charge, basis, micro * 1_000_000)
        for row in (
            (await qd("service", "list", "--json")).json[0],
            (await qd("budget", "list", "--json")).json[0],
            (await qd("charge", "sum", "--json")).json[0],
        ):
            assert row["basis"] == weakest
    # A budget that comes later says the same of what was spent before.
    await qd("budget", "set", "project", "shop", "--usd", "50")
    for row in (await qd("budget", "list", "--json")).json:
        assert (row["spent"], row["estimated"], row["imputed"], row["basis"]) == (36, 7, 11, "imputed")
    row = (await qd("service", "show", "main", "--json")).json
    assert (row["spent_usd"], row["estimated_usd"], row["imputed_usd"]) == (36, 7, 11)
    assert {row["spent_basis"] for row in (await qd("budget", "forecast", "--json")).json} == {"imputed"}
    assert await books(db) == {}
