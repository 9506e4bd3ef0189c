"""The day of :mod:`tests.tui.world` with a month of money and a memory: services, charges, alerts; lessons, decisions, patterns, proposals, and who used them."""

import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from core.commands.table import invoke
from tests.tui.world import NOW, at, opener

MONTH = datetime(2026, 5, 1, tzinfo=UTC)


_PERIODS = {
    "month": (MONTH, datetime(2026, 6, 1, tzinfo=UTC)),
    "week": (datetime(2026, 5, 4, tzinfo=UTC), datetime(2026, 5, 11, tzinfo=UTC)),
    "day": (datetime(2026, 5, 6, tzinfo=UTC), datetime(2026, 5, 7, tzinfo=UTC)),
    "total": (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)),
}


async def enrich(dsn: str) -> None:
    """Add money and memory to a database in the middle of a day's work."""
    connection = await asyncpg.connect(dsn)
    try:
        await _money(connection)
        await _remember(dsn)
        await _use(connection)
        await _trail(connection)
    finally:
        await connection.close()


async def _money(connection: asyncpg.Connection) -> None:
    await connection.execute("delete from account; delete from budget")
    await connection.execute(
        """insert into service (name, provider, fallback, suspended, suspended_reason) values
             ('openai', 'openai', null, false, null), ('anthropic', 'anthropic', 'openai', false, null), ('gemini', 'gemini', null, true, 'the key is being changed')"""
    )
    accounts: dict[str, int] = {}
    for scope, key, unit, period, hard, soft, spent, reserved in (
        ("service", "anthropic", "usd", "month", 200_000_000, 160_000_000, 118_310_000, 7_100_000),
        ("service", "openai", "usd", "month", 50_000_000, None, 50_000_000, 0),
        ("service", "gemini", "usd", "month", None, 10_000_000, 1_250_000, 0),
        ("day", "", "usd", "day", 25_000_000, 20_000_000, 6_740_000, 2_100_000),
        ("project", "lantern", "usd", "week", 40_000_000, None, 9_400_000, 400_000),
        ("project", "harbour", "usd", "month", 120_000_000, 90_000_000, 92_000_000, 3_200_000),
        ("agent", "claude", "tokens", "month", 9_000_000, None, 2_345_678, 120_000),
        ("task", "13", "usd", "total", 12_000_000, None, 11_400_000, 0),
    ):  # fmt: skip
        starts, ends = _PERIODS[period]
        accounts[f"{scope}:{key}"] = await connection.fetchval(
            """with b as (insert into budget (scope, key, unit, period, hard, soft) values ($1, $2, $3, $4, $5, $6) returning id)
               insert into account (budget, key, unit, starts, ends, hard, ceiling, spent, reserved) select id, $2, $3, $9, $10, $5, $5, $7, $8 from b returning id""",
            scope, key, unit, period, hard, soft, spent, reserved, starts, ends,
        )  # fmt: skip
    await _charges(connection, accounts)
    await connection.execute(
        "update account set imputed = 250000 where key = 'gemini'; update account set estimated = 40000 where key = 'claude'"
    )
    for n, (kind, scope, key, text, seen, delivered, failure) in enumerate((
        ("exhausted", "service", "openai", "the budget of service openai is used up: $50.00 of $50.00", None, None, "https://hooks.example.org answers 404"),
        ("soft", "project", "harbour", "project harbour has passed its soft limit: $92.00 of $90.00", None, at(40), None),
        ("outlier", "task", "13", "task #13 cost $11.40, nine times what tasks of lantern cost", None, at(47), None),
        ("threshold", "service", "anthropic", "service anthropic has used 50 % of its budget: $100.20 of $200.00", "user:ann", at(900), None),
    )):  # fmt: skip
        await connection.execute(
            "insert into alert (at, kind, scope, key, text, seen_by, seen_at, attempts, delivered_at, failure) values ($1, $2, $3, $4, $5, $6, $7, 3, $8, $9)",
            at(12 + n * 35), kind, scope, key, text, seen, at(800) if seen else None, delivered, failure,
        )  # fmt: skip


async def _charges(connection: asyncpg.Connection, accounts: dict[str, int]) -> None:
    """A handful of calls each day since the month began, and some from the month before, from which the month is foretold."""
    await connection.execute("delete from charge")  # those of a day that is less rich
    number = 0
    for day in range(-24, 6):
        moment = MONTH + timedelta(days=day, hours=10)
        for project, agent, model, service, share in (
            ("harbour", "claude", "claude-sonnet-4-5", "anthropic", 1.0), ("lantern", "builtin", "claude-sonnet-4-5", "anthropic", 0.35),
            ("quay", "builtin", "gpt-5-mini", "openai", 0.2),
        ):  # fmt: skip
            number += 1
            cost = int((9 + (day * 7) % 5 + (3 if day % 6 == 0 else 0)) * share * 1_100_000)
            mine = [accounts[f"service:{service}"], *([accounts["project:harbour"]] if project == "harbour" else [])]
            await connection.execute(
                """insert into charge (id, at, service, project, task, agent, model, status, basis, accounts, counted, cost_micro, tokens, tokens_input, tokens_output)
                   values ($1, $2, $3, $4, $5, $6, $7, 'settled', 'measured', $8, $8, $9, $10, $11, $12)""",
                UUID(int=number), moment, service, project, 1 + number % 13, agent, model, mine if day >= 0 else [], cost, cost // 40, cost // 50, cost // 200,
            )  # fmt: skip


_ITEMS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("lesson.add", {"error": "AssertionError: 99 cents became 98", "context": "adding up amounts as floats", "fix": "use Decimal from the first reading to the last writing",
                    "worked": True, "rule": "Money is Decimal, everywhere.", "project": "harbour", "path": "harbour/amounts.py", "tag": ("money",)}),
    ("lesson.add", {"error": "npm ERR! missing script: test", "context": "a fresh checkout of lantern", "fix": "run npm run build first", "worked": True,
                    "rule": "Build before the tests of lantern.", "project": "lantern"}),
    ("decision.add", {"question": "How do we keep rates for a day?", "chosen": "a table with the date as its key", "reasoning": "a cache in memory is empty after each start",
                      "alternative": ("a file per day", "memory only"), "project": "harbour", "tag": ("rates",)}),
    ("pattern.add", {"title": "A reader with one error for each line", "template": "def read_{{name}}(path):\n    \"\"\"Read {{what}}, naming the line of whatever is wrong.\"\"\"\n"
                     "    for number, line in enumerate(path.open(), start=1):\n        try:\n            yield parse_{{name}}(line)\n        except ValueError as error:\n"
                     "            raise UsageError(f\"{path}:{number}: {error}\") from None\n",
                     "description": "for text formats that people write by hand", "stack": ("python",)}),
    ("knowledge.add", {"text": ("Tests of a project are run with the command that its README names.\n\nNever with the one that a language usually has.",), "category": "standard",
                       "title": "Run the tests that the project names"}),
    ("knowledge.add", {"text": ("## Rates\n\nRates come from the bank at four in the afternoon. Before that the rates of the day before hold.",), "category": "documentation",
                       "title": "When rates change", "project": "harbour", "tag": ("rates",)}),
    ("knowledge.add", {"text": ("A page without headings is still a page: the table of contents is left out.",), "category": "requirement", "title": "Pages without headings", "project": "lantern"}),
)  # fmt: skip

_CODE = '''def rounded(amount: Decimal, unit: str) -> Decimal:
    """The amount as its unit is written: two places, none for yen."""
    places = 0 if unit == "JPY" else 2
    return amount.quantize(Decimal(1).scaleb(-places))
'''


async def _remember(dsn: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with opener(dsn, Path(folder))() as context:
            for name, arguments in _ITEMS:
                await invoke(context, name, arguments)
            for title, text in (
                ("Name the rate beside each amount", "Amounts in reports say which rate was used, and of which day."),
                ("Let slugs be ASCII", "Slugs of pages hold letters, digits and - alone."),
            ):
                await invoke(context, "knowledge.add", {"text": (text,), "category": "standard", "title": title})
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            "update memory set state = 'proposed', origin = 'consolidation', source = 'consolidation' where title in ('Name the rate beside each amount', 'Let slugs be ASCII')"
        )
        await connection.execute(
            """insert into memory (corpus, kind, title, content, origin, source, path, first_line, last_line, valid_from)
               select id, 'code', 'rounded', $1, 'file', 'harbour/amounts.py@3f2c1a9', 'harbour/amounts.py', 12, 15, $2 from corpus where project = 'harbour'""",
            _CODE, at(900),
        )  # fmt: skip
    finally:
        await connection.close()


async def _use(connection: asyncpg.Connection) -> None:
    await connection.execute(
        "update memory set id = ('00000000-0000-0000-0000-' || lpad(number::text, 12, '0'))::uuid, uses = (number * 5) % 9, wins = (number * 5) % 9 - number % 2"
    )
    await connection.execute("update memory set uses = 0, wins = 0 where state = 'proposed' or uses < 0 or wins < 0")
    await connection.execute(
        "update memory set valid_from = $1::timestamptz - number * interval '7 minutes', created_at = $1::timestamptz - number * interval '7 minutes', "
        "updated_at = $1::timestamptz - number * interval '7 minutes', last_used_at = null",
        NOW,
    )  # fmt: skip
    await connection.execute(
        """insert into injection (run, memory, credit)
           select r.number, m.number, case r.status when 'succeeded' then 'won' when 'failed' then 'lost' end from run r, memory m where m.number <= 2 and r.task in (1, 2, 3, 13)"""
    )
    for task in (2, 3):
        await connection.execute(
            """insert into run_context (run, budget, tokens, considered, items, at)
               select r.number, 3000, 412, 9, jsonb_build_array(
                 jsonb_build_object('section', 'errors to avoid', 'title', 'Money is Decimal, everywhere.', 'source', 'run 2.1', 'why', 'near harbour/amounts.py',
                                    'tokens', 180, 'text', 'AssertionError: 99 cents became 98\n\nMoney is Decimal, everywhere.', 'id', null, 'memory', 1),
                 jsonb_build_object('section', 'decisions', 'title', 'How do we keep rates for a day?', 'source', 'user:ann', 'why', 'its words are in the task',
                                    'tokens', 232, 'text', 'a table with the date as its key', 'id', null, 'memory', 3)), $2
                 from run r where r.task = $1 order by r.attempt desc limit 1""",
            task, at(5),
        )  # fmt: skip


async def _trail(connection: asyncpg.Connection) -> None:
    await connection.execute("truncate audit restart identity")
    for minutes, actor, role, kind, key, action, before, after in (
        (300, "user:ann", "admin", "project", "harbour", "insert", None, {"id": "harbour", "stack": "python"}),
        (60, "user:ann", "supervisor", "task", "13", "insert", None, {"title": "Upgrade the parser to version 4", "priority": 4}),
        (55, "engine:harbour-1", "engine", "task", "13", "update", {"status": "pending"}, {"status": "in_progress"}),
        (47, "engine:harbour-1", "engine", "task", "13", "update", {"status": "in_progress", "reason": None},
         {"status": "failed", "reason": "npm test: 3 of 41 tests fail after 3 attempts"}),
        (12, "user:ann", "supervisor", "budget", "anthropic", "update", {"hard": 150000000}, {"hard": 200000000}),
        (3, "user:ben", "supervisor", "setting", "queue.paused", "delete", {"value": True}, None),
    ):  # fmt: skip
        await connection.execute(
            "insert into audit (at, actor, role, kind, key, action, before, after) values ($1, $2, $3, $4, $5, $6, $7, $8)",
            at(minutes), actor, role, kind, key, action, before and json.dumps(before), after and json.dumps(after),
        )  # fmt: skip
