"""A database as it looks in the middle of a day's work, with a frozen clock: what the pictures and the journeys of the screen begin with."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg

from config.paths import Paths
from config.settings import Settings
from core.commands.table import Context
from storage.database import Database, Principal, Role

NOW = datetime(2026, 5, 6, 14, 30, 0, tzinfo=UTC)
"""The time on every picture."""

ANN = Principal("user:ann", Role.ADMIN)


def at(minutes: float) -> datetime:
    """So many minutes ago."""
    return NOW - timedelta(minutes=minutes)


async def settle_in(connection: asyncpg.Connection) -> None:
    """Fill an empty database: three projects, twenty-two tasks in every state, runs at work, things that need the person."""
    await _projects(connection)
    await connection.execute(
        "insert into engine (name, host, pid, version, max_parallel, lease_until) values ('here', 'harbour-1', 4711, '1', 4, now() + interval '99 years')"
    )
    for name, adapter, model in (("builtin", "builtin", "claude-sonnet-4-5"), ("claude", "claude-code", None)):
        await connection.execute(
            "insert into agent (name, adapter, model, created_at) values ($1, $2, $3, $4)",
            name,
            adapter,
            model,
            at(9000),
        )
    await connection.execute("alter table task disable trigger user; alter table run disable trigger user")
    for task in _TASKS:
        await _task(connection, *task)
    for parent, child in ((3, 9), (3, 10), (9, 11), (5, 12)):
        await connection.execute("insert into task_after (parent, child) values ($1, $2)", parent, child)
    await connection.execute("alter table task enable trigger user; alter table run enable trigger user")
    await _talk(connection)
    await _budgets(connection)
    for table in ("task", "question"):
        await connection.execute(f"select setval(pg_get_serial_sequence('{table}', 'number'), 100)")
    await connection.execute("truncate audit restart identity")


async def stop_clock(connection: asyncpg.Connection, database: str) -> None:
    """Have the database itself believe that it is :data:`NOW`: what asks for the time by its name finds ours first."""
    await connection.execute(
        f"create function public.clock_timestamp() returns timestamptz stable language sql as $$ select '{NOW.isoformat()}'::timestamptz $$"
    )
    await connection.execute("grant execute on function public.clock_timestamp() to public")
    await connection.execute(f'alter database "{database}" set search_path = public, pg_catalog')


async def _projects(connection: asyncpg.Connection) -> None:
    for name, colour, accent, stack, running, paused in (
        ("harbour", "#3b82c4", "#8ab8e0", "python", 2, False),
        ("lantern", "#c4703b", "#e0ab8a", "typescript", 1, False),
        ("quay", "#3b9e6a", "#8accab", "go", 0, True),
    ):
        await connection.execute(
            "insert into project (id, name, repo, path, stack, primary_colour, accent_colour, created_at) values ($1, $1, $2, $2, $3, $4, $5, $6)",
            name, f"/srv/{name}", stack, colour, accent, at(9000),
        )  # fmt: skip
        await connection.execute(
            "insert into load (project, max_parallel, running, paused) values ($1, 2, $2, $3)", name, running, paused
        )


_TASKS: tuple[tuple[int, str, str, str, int, float, int, str | None], ...] = (
    (1, "harbour", "Add up the units of a voyage", "completed", 3, 300, 1, None),
    (2, "harbour", "Read and write quoted fields", "completed", 4, 280, 2, None),
    (3, "harbour", "Show amounts with their unit, and say which rate was used for them", "in_progress", 5, 14, 1, None),
    (4, "harbour", "Make table columns line up", "in_progress", 3, 8, 1, None),
    (5, "lantern", "Escape HTML in every template", "review", 5, 35, 1, None),
    (6, "lantern", "List the headings of a text", "review", 2, 90, 1, None),
    (7, "lantern", "Take the accents off slugs", "in_progress", 3, 26, 2, None),
    (8, "harbour", "Decide what a missing port means", "waiting", 4, 22, 1, None),
    (9, "harbour", "Report on voyages by month", "blocked", 3, 60, 0, None),
    (10, "harbour", "Work out when a ship arrives", "blocked", 3, 60, 0, None),
    (11, "harbour", "Put the report on one page", "blocked", 2, 59, 0, None),
    (12, "lantern", "Put a whole page together", "blocked", 3, 58, 0, None),
    (
        13,
        "lantern",
        "Upgrade the parser to version 4",
        "failed",
        4,
        47,
        3,
        "npm test: 3 of 41 tests fail after 3 attempts",
    ),
    (14, "harbour", "Cache the rates for a day", "pending", 4, 50, 0, None),
    (15, "harbour", "Name the columns in the export", "pending", 3, 49, 0, None),
    (16, "lantern", "Draw the sitemap", "pending", 2, 45, 0, None),
    (17, "quay", "Measure the cold start", "pending", 5, 44, 0, None),
    (18, "quay", "Drop the old flags", "pending", 1, 43, 0, None),
    (19, "lantern", "Check every link at night", "waiting", 2, 40, 0, None),
    (20, "harbour", "Rename the module of rates", "cancelled", 3, 200, 0, "cancelled by user:ann: not needed"),
    (21, "lantern", "Shrink the pictures", "completed", 1, 1500, 1, None),
    (22, "harbour", "Explain the format in the README", "completed", 2, 1460, 1, None),
)


async def _task(
    connection: asyncpg.Connection,
    number: int, project: str, title: str, status: str, priority: int, minutes: float, attempts: int, reason: str | None,
) -> None:  # fmt: skip
    ended = status in ("completed", "failed", "cancelled")
    wait = {8: "person", 19: "time"}.get(number)
    live = status == "in_progress" or number == 8
    await connection.execute(
        """insert into task (number, project, priority, status, wait, attempts, engine, not_before, created_at, updated_at, claimed_at, finished_at, waiting_on)
           overriding system value values ($1, $2, $3, $4::text::task_status, $5::text::task_wait, $6, $7, $8, $9, $9, $10, $11, $12)""",
        number, project, priority, status, wait, attempts, 1 if status == "in_progress" else None,
        NOW + timedelta(hours=9) if number == 19 else None, at(minutes + 60), at(minutes) if attempts else None,
        at(minutes) if ended else None, 1 if status == "blocked" else 0,
    )  # fmt: skip
    await connection.execute(
        "insert into task_body (task, title, reason, id) values ($1, $2, $3, $4)",
        number,
        title,
        reason,
        UUID(int=number),
    )
    for attempt in range(1, attempts + 1):
        last = attempt == attempts
        run_status = "running" if last and live else "failed" if not last or status == "failed" else "succeeded"
        began = minutes + (attempts - attempt) * 9
        await connection.execute(
            """insert into run (id, task, attempt, project, agent, engine, lease_token, mark, folder, status, started_at, finished_at, cost_usd,
                                files_changed, insertions, deletions, events)
               values ($1, $2, $3, $4, $5, 1, 1, 'm', '/f', $6::text::run_status, $7, $8, $9, $10, $11, $12, 6)""",
            UUID(int=number * 100 + attempt), number, attempt, project, "claude" if number % 2 else "builtin", run_status, at(began),
            None if run_status == "running" else at(began - 6), 0.05 * number + 0.11 * attempt, number % 5 + 1, number * 7, number * 3,
        )  # fmt: skip
        await connection.execute(
            """insert into charge (id, at, service, kind, status, basis, cost_micro)
               values (qd_uuid7(), $1, 'anthropic', 'call', 'settled', null, $2)""",
            at(began), round((0.05 * number + 0.11 * attempt) * 1_000_000),
        )  # fmt: skip


async def _talk(connection: asyncpg.Connection) -> None:
    events = {
        3: (("status", "Claude Code 2.1 with claude-sonnet-4-5"), ("message", "I look at how amounts are written today."),
            ("tool_call", "Read harbour/amounts.py"), ("tool_result", "1 \"\"\"Amounts and their units.\"\"\""), ("edit", "harbour/amounts.py +24 −6"),
            ("tool_call", "python -m unittest")),
        4: (("status", "built-in agent"), ("message", "The widest cell of a column decides."), ("tool_call", "grep -n ljust"), ("error", "rg: not found"),
            ("edit", "harbour/table.py +12 −9"), ("verify", "python -m unittest: 31 passed")),
        7: (("status", "built-in agent"), ("thinking", "NFKD first, then drop what combines."), ("tool_call", "Write lantern/slug.ts"),
            ("edit", "lantern/slug.ts +18 −2"), ("message", "The letters ß and ł need a table of their own."), ("tool_call", "npm test")),
        8: (("status", "built-in agent"), ("message", "A voyage may have no port of arrival yet."), ("question", "Is a missing port an error, or is it unknown?")),
    }  # fmt: skip
    for n, (task, said) in enumerate(events.items()):
        run = await connection.fetchval("select number from run where task = $1 order by attempt desc limit 1", task)
        for seq, (kind, text) in enumerate(said, start=1):
            moment = NOW - timedelta(seconds=200 - seq * 11 - n)
            await connection.execute(
                "insert into event (run, seq, at, kind, text) values ($1, $2, $3, $4, $5)", run, seq, moment, kind, text
            )
    for number, run_of, kind, text, options, data, minutes in (
        (1, 8, "question", "Is a missing port an error, or is it unknown?", ["an error", "unknown"], {}, 6),
        (2, 3, "permission", "Bash: git push --force origin main", [], {"tool": "Bash"}, 3),
    ):
        await connection.execute(
            """insert into question (number, run, task, project, ref, kind, text, options, data, asked_at)
               overriding system value select $1, number, task, project, 'q', $3, $4, $5, $6, $7 from run where task = $2 order by attempt desc limit 1""",
            number, run_of, kind, text, options, data, at(minutes),
        )  # fmt: skip
    for task, minutes in ((5, 30.0), (6, 84.0)):
        await connection.execute(
            "insert into review (task, run, created_at) select $1, number, $2 from run where task = $1 order by attempt desc limit 1",
            task,
            at(minutes),
        )


async def _budgets(connection: asyncpg.Connection) -> None:
    for scope, key, unit, period, hard, spent, reserved in (
        ("service", "anthropic", "usd", "month", 200_000_000, 148_310_000, 2_100_000),
        ("service", "openai", "usd", "month", 50_000_000, 50_000_000, 0),
        ("day", "", "usd", "day", 25_000_000, 6_740_000, 2_100_000),
        ("project", "lantern", "usd", "week", 40_000_000, 9_400_000, 400_000),
    ):
        await connection.execute(
            """with b as (insert into budget (scope, key, unit, period, hard) values ($1, $2, $3, $4, $5) returning id)
               insert into account (budget, key, unit, starts, ends, hard, ceiling, spent, reserved)
               select id, $2, $3, $8, $9, $5, $5, $6, $7 from b""",
            scope, key, unit, period, hard, spent, reserved, at(3000), NOW + timedelta(days=9),
        )  # fmt: skip


def opener(dsn: str, folder: Path, *, who: Principal = ANN) -> Callable[[], AbstractAsyncContextManager[Context]]:
    """Opens a context on a database with the clock frozen."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Context]:
        db = await Database.open(dsn)
        try:
            paths = Paths(config=folder / "config", state=folder / "state", database=folder / "postgres")
            yield Context(db, who, paths, Settings(), {"QD_DATABASE_URL": dsn}, folder, None, lambda: NOW)
        finally:
            await db.close()

    return opened


__all__ = ["ANN", "NOW", "json", "opener", "settle_in"]
