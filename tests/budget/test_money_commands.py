"""`qd service`, `qd charge` and `qd budget` where it matters: what is not given stays, what is gone is gone, CSV."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from core.secrets import FileStore
from tests.budget.gate import add_runs, connect
from tests.command_line import CommandLine, command_line


@pytest.fixture
async def qd(migrated_database: str, tmp_path: Path) -> CommandLine:
    """`qd` on a database of its own, with a service and a project."""
    made = command_line(migrated_database, tmp_path)
    db = await connect(migrated_database)
    await add_runs(db)
    await db.close()
    assert (await made("service", "add", "main", "--provider", "anthropic", "--budget", "50")).code == 0
    return made


@pytest.fixture
async def db(migrated_database: str) -> AsyncIterator[asyncpg.Connection]:
    """The database behind it."""
    connection = await connect(migrated_database)
    yield connection
    await connection.close()


async def edited(qd: CommandLine, *words: str) -> Any:
    """The service after a change."""
    return (await qd("service", "edit", "main", *words, "--json")).json


# ── services ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_every_field_of_a_service_is_set_and_taken_away_again(qd: CommandLine) -> None:
    await qd("service", "add", "cheap", "--provider", "anthropic")
    given = await edited(
        qd,
        *(
            "--base-url",
            "https://x.example/v",
            "--fallback",
            "cheap",
            "--catalogue",
            "groq",
            "--model",
            "a*",
            "--model",
            "b",
        ),
        *("--map", "a*=c", "--quota", "--budget", "7.5", "--time-zone", "Asia/Tokyo", "--starts-on", "5"),
    )
    assert (given["base_url"], given["fallback"], given["kind"]) == ("https://x.example/v", "cheap", "quota")
    assert (given["models"], given["model_map"], given["budget_usd"]) == (["a*", "b"], {"a*": "c"}, 7.5)
    assert given["period_start"].endswith("T15:00:00Z"), "midnight of the fifth in Tokyo"
    other = await edited(qd, "--provider", "openai")
    assert (other["provider"], other["models"], other["budget_usd"]) == ("openai", ["a*", "b"], 7.5)
    bare = await edited(
        qd, "--no-base-url", "--no-fallback", "--no-catalogue", "--any-model", "--no-map", "--no-quota", "--no-budget"
    )
    assert (bare["base_url"], bare["fallback"], bare["kind"]) == (None, None, "metered")
    assert (bare["models"], bare["model_map"], bare["budget_usd"]) == ([], {}, None)
    assert bare["period_start"].endswith("T15:00:00Z"), "what is not given stays"
    assert (await qd("charge", "add", "main", "1000")).code == 0, "without a budget nothing stops it"


SENSELESS: tuple[tuple[str, ...], ...] = (
    (),
    ("--model", "a", "--any-model"),
    ("--budget", "5", "--no-budget"),
    ("--fallback", "main", "--no-fallback"),
    ("--provider", "other"),
    ("--base-url", "file:///etc/passwd"),
    ("--base-url", "https://user:key@x.example"),
    ("--starts-on", "31"),
    ("--time-zone", "Mars/Base"),
    ("--budget", "-1"),
    ("--budget", "nan"),
    ("--budget", "1e30"),
    ("--map", "x"),
    ("--key-env", "NOT_SET"),
)


async def test_a_change_that_makes_no_sense_is_refused_and_changes_nothing(qd: CommandLine) -> None:
    before = (await qd("service", "show", "main", "--json")).json
    for words in SENSELESS:
        assert (await qd("service", "edit", "main", *words)).code == 2, words
    assert (await qd("service", "show", "main", "--json")).json == before


async def test_a_budget_of_nothing_lets_nothing_be_spent(qd: CommandLine) -> None:
    assert (await qd("service", "budget", "main", "0", "--json")).json["budget_usd"] == 0
    assert (await qd("charge", "add", "main", "0.000001")).code == 5


async def test_a_price_says_what_a_search_costs_and_how_much_a_model_can_say(qd: CommandLine) -> None:
    more = ("--search", "5", "--most-output", "4096")
    shown = (await qd("service", "price", "main", "m*", "--input", "1", "--output", "2", *more, "--json")).json
    assert shown["prices"]["m*"] == {"input": 1, "output": 2, "search": 5, "most_output": 4096}
    assert (await qd("service", "edit", "main", "--no-stream-options", "--json")).json["stream_options"] is False


async def test_a_price_is_taken_back(qd: CommandLine) -> None:
    price = ("--input", "1", "--output", "2")
    await qd("service", "price", "main", "m*", *price)
    await qd("service", "price", "main", "--worst", *price)
    assert (await qd("service", "unprice", "main", "other")).code == 3
    assert (await qd("service", "unprice", "main", "m*", "--json")).json["prices"] == {}
    assert (await qd("service", "unprice", "main", "--worst", "--json")).json["worst_price"] is None
    assert (await qd("service", "unprice", "main")).code == 2


async def test_with_a_service_its_keys_are_removed_those_of_projects_too(qd: CommandLine, tmp_path: Path) -> None:
    for words in ((), ("--project", "shop")):
        assert (await qd("secret", "set", "service.main", *words, stdin="sk-1")).code == 0
    assert (await qd("service", "remove", "main")).code == 0
    assert (await qd("secret", "list", "--json")).json == []
    store = FileStore(tmp_path / "home" / "config")
    assert (store.get("service.main"), store.get("service.main", "shop")) == (None, None)


async def test_a_key_that_no_header_takes_is_refused(qd: CommandLine) -> None:
    for key in ("sk-1\nsk-2", "sk 1", "sk-ü", "\udcff\udcfe", ""):
        assert (await qd("secret", "set", "service.main", stdin=key)).code == 2
    assert (await qd("service", "edit", "main", "--key-env", "K", K="sk-1\nx")).code == 2
    assert (await qd("secret", "set", "alerts.url", stdin="json://a\njson://b\n")).code == 0
    assert [row["name"] for row in (await qd("secret", "list", "--json")).json] == ["alerts.url"]


async def test_a_charge_by_hand_is_of_what_there_is(qd: CommandLine) -> None:
    assert (await qd("charge", "add", "main", "1", "--task", "1", "--json")).json["project"] == "shop"
    assert (await qd("charge", "add", "main", "1", "--project", "none")).code == 3
    assert (await qd("charge", "add", "main", "1", "--task", "999")).code == 3
    assert (await qd("charge", "add", "none", "1")).code == 3
    for amount in ("0", "-1", "nan", "inf", "1e40", "0.0000001", "x"):
        assert (await qd("charge", "add", "main", amount)).code == 2


async def test_a_suspension_is_told(qd: CommandLine) -> None:
    await qd("service", "suspend", "main", "--reason", "too dear")
    await qd("service", "suspend", "main", "--reason", "too dear")
    texts = [row["text"] for row in (await qd("budget", "alerts", "--json")).json]
    assert len(texts) == 1
    assert texts[0].startswith("service main is suspended: too dear (")


# ── budgets ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_not_given_of_a_budget_stays(qd: CommandLine) -> None:
    words = ("budget", "set", "project", "shop")
    await qd(
        *words, "--usd", "20", "--soft", "10", "--time-zone", "Europe/Berlin", "--starts-on", "3", "--threshold", "70"
    )
    raised = (await qd(*words, "--usd", "30", "--json")).json
    kept = ("soft", "time_zone", "starts_on", "thresholds")
    assert [raised[name] for name in ("hard", *kept)] == [30, 10, "Europe/Berlin", 3, [70]]
    softer = (await qd(*words, "--unit", "usd", "--soft", "15", "--json")).json
    assert [softer[name] for name in ("hard", *kept)] == [30, 15, "Europe/Berlin", 3, [70]]
    counted = (await qd(*words, "--unit", "usd", "--no-hard", "--no-soft", "--json")).json
    assert [counted[name] for name in ("hard", "soft", "time_zone")] == [None, None, "Europe/Berlin"]
    for wrong in (("--unit", "calls"), ("--usd", "1", "--no-hard"), ("--usd", "1", "--unit", "calls"), ()):
        assert (await qd(*words, *wrong)).code == 2


async def test_the_limit_for_each_is_not_removed_in_place_of_one_s_own(qd: CommandLine) -> None:
    await qd("budget", "set", "project", "*", "--usd", "5")
    await qd("charge", "add", "main", "1", "--project", "shop")
    assert (await qd("budget", "remove", "project", "shop")).code == 3
    assert (await qd("budget", "override", "project", "shop", "2", "--json")).json["hard"] == 7
    assert (await qd("budget", "remove", "project", "*")).code == 0
    assert (await qd("budget", "list", "--scope", "project", "--json")).json == []


async def test_of_several_periods_the_right_one_is_named(qd: CommandLine) -> None:
    await qd("budget", "set", "service", "main", "--usd", "5", "--period", "day")
    await qd("charge", "add", "main", "1")
    assert (await qd("budget", "override", "service", "main", "1")).code == 2
    assert (await qd("budget", "override", "service", "main", "1", "--period", "day", "--json")).json["hard"] == 6
    assert (await qd("budget", "remove", "service", "main")).code == 2
    assert (await qd("budget", "remove", "service", "main", "--period", "day", "--json")).json["period"] == "day"
    assert (await qd("service", "show", "main", "--json")).json["budget_usd"] == 50


WRONG: tuple[tuple[str, ...], ...] = (
    ("set", "task", "9" * 30, "--usd", "1"),
    ("set", "task", "１", "--usd", "1"),
    ("set", "project", "=cmd()", "--usd", "1"),
    ("set", "project", "shop", "--usd", "1", "--period", "0h"),
    ("set", "project", "shop", "--usd", "1", "--period", "fortnight"),
    ("set", "project", "shop", "--calls", "1.5"),
    ("set", "project", "shop", "--usd", "9" * 20),
    ("set", "project", "shop", "--usd", "1", "--threshold", "0"),
    ("set", "day", "x", "--usd", "1"),
    ("remove", "task", "9" * 30),
    ("override", "project", "shop", "1"),
    ("estimate",),
    ("estimate", "shop", "--task", "1"),
    ("estimate", "none"),
    ("estimate", "--task", "999"),
)


async def test_wrong_words_are_a_sentence_and_no_crash(qd: CommandLine) -> None:
    for words in WRONG:
        outcome = await qd("budget", *words)
        assert outcome.code in (2, 3), outcome
        assert outcome.err.startswith("qd: ")
        assert "internal" not in outcome.err


async def test_many_at_once_set_and_spend_and_the_books_stay_right(qd: CommandLine) -> None:
    changes = [qd("service", "budget", "main", str(40 + n)) for n in range(4)]
    spending = [qd("charge", "add", "main", "3", "--project", "shop") for _ in range(8)]
    rules = [qd("budget", "set", "project", "shop", "--usd", str(10 + n)) for n in range(4)]
    done = await asyncio.gather(*changes, *spending, *rules)
    assert {outcome.code for outcome in done} <= {0, 5}
    assert all(row["wrong"] == 0 for row in (await qd("budget", "check", "--json")).json)


async def test_the_cost_of_a_task_is_foretold_before_it_runs(qd: CommandLine, db: asyncpg.Connection) -> None:
    await db.execute(
        """with added as (select number from task_add((select jsonb_agg(jsonb_build_object('project', 'shop', 'title', 't' || n, 'agent', 'ada'))
                                                          from generate_series(1, 40) n)))
           insert into charge (id, at, service, project, task, agent, status, basis, cost_micro)
           select qd_uuid7(), now(), 'main', 'shop', number, 'ada', 'settled', 'measured', 1000000 + number * 37 % 100 * 1000 from added"""
    )
    await db.execute("update task set status = 'completed' where number > 1")
    told = (await qd("budget", "estimate", "--task", "#1", "--agent", "ada", "--json")).json
    assert (told["like"], told["samples"], told["basis"]) == ("its project and agent", 40, "estimated")
    assert 1 <= told["low_usd"] <= told["middle_usd"] <= told["high_usd"] <= 1.1


async def test_a_month_without_a_budget_begins_with_its_first_day(qd: CommandLine, db: asyncpg.Connection) -> None:
    await db.execute(
        """insert into charge (id, at, service, project, status, basis, cost_micro)
           select qd_uuid7(), date_trunc('month', now() at time zone 'UTC') at time zone 'UTC' - make_interval(days => n), 'main', 'shop',
                  'settled', 'measured', 5000000 from generate_series(1, 4) n"""
    )
    await qd("charge", "add", "main", "2", "--project", "shop")
    rows = {row["key"]: row for row in (await qd("budget", "forecast", "--json")).json}
    assert rows["shop"]["spent"] == 2


async def test_sums_say_what_they_are_made_of(qd: CommandLine, db: asyncpg.Connection) -> None:
    for basis, micro in (("measured", 1_000_000), ("estimated", 200_000), ("imputed", 30_000)):
        await db.execute(
            """insert into charge (id, at, service, status, basis, cost_micro) values (qd_uuid7(), now(), 'main', 'settled', $1, $2)""",
            basis,
            micro,
        )
    (row,) = (await qd("charge", "sum", "--json")).json
    assert (row["measured_usd"], row["estimated_usd"], row["imputed_usd"], row["cost_usd"]) == (1, 0.2, 0.03, 1.23)


# ── CSV ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def read(text: str) -> list[dict[str, str]]:
    """CSV as its readers have it."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


async def test_csv_has_the_fields_and_values_of_json(qd: CommandLine, db: asyncpg.Connection) -> None:
    await qd("charge", "add", "main", "12.5", "--note", 'two "words", and a comma')
    (charge,) = (await qd("charge", "list", "--json")).json
    (row,) = read((await qd("charge", "list", "--csv")).out)
    flat = {name: value for name, value in charge.items() if name != "tokens"}
    flat |= {f"tokens.{kind}": count for kind, count in charge["tokens"].items()}
    assert set(row) == set(flat)
    assert row["note"] == 'two "words", and a comma'
    assert (row["cost_usd"], row["run"], row["at"], row["tokens.input"]) == ("12.5", "", charge["at"], "0")
    for words in (
        ("service", "list"),
        ("budget", "list"),
        ("budget", "forecast"),
        ("charge", "sum"),
        ("budget", "alerts"),
    ):
        plain = (await qd(*words, "--json")).json
        rows = read((await qd(*words, "--csv")).out)
        assert len(rows) == len(plain)
        assert all(set(row) == set(fields) for row, fields in zip(rows, plain, strict=True)), words
    (one,) = read((await qd("service", "show", "main", "--csv")).out)
    assert (one["name"], one["has_key"], one["models"]) == ("main", "false", "")


async def test_csv_of_nothing_is_its_titles(qd: CommandLine) -> None:
    assert (await qd("budget", "outliers", "--csv")).out == "task,project,agent,cost_usd,basis,reason\n"


async def test_a_text_in_csv_is_never_a_formula(qd: CommandLine, db: asyncpg.Connection) -> None:
    await qd("charge", "add", "main", "1")
    for text in ("=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "  =1+1", "＝1+1"):
        await db.execute("update charge set note = $1, model = $1", text)
        (row,) = read((await qd("charge", "list", "--csv")).out)
        assert (row["note"], row["model"], row["cost_usd"]) == (f"'{text}", f"'{text}", "1.0")


async def test_csv_holds_nothing_that_a_terminal_would_obey(qd: CommandLine, db: asyncpg.Connection) -> None:
    await qd("charge", "add", "main", "1")
    await db.execute("update charge set note = E'\\x1b]0;title\\x07line\\nbreak'")
    out = (await qd("charge", "list", "--csv")).out
    assert "\x1b" not in out
    assert read(out)[0]["note"].endswith("line\nbreak")


async def test_a_stream_is_csv_too_and_two_forms_at_once_are_refused(qd: CommandLine) -> None:
    assert (await qd("charge", "list", "--csv", "--json")).code == 2
    assert (await qd("run", "logs", "1.1", "--csv")).out.startswith("run,seq,at,kind,text,data")
