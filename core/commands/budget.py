"""Budgets: limits per service, project, task, agent and day; what is left of them, and what should be known of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, ClassVar, Literal, TypeVar

import asyncpg

from config.errors import ConflictError, NotFoundError, UsageError
from core.budget.rules import Label, amount_of, checked_period, checked_zone, label, shown
from core.commands.checks import Within
from core.commands.shown import Column
from core.commands.table import Context, Metavar, command
from core.commands.values import Line
from storage.database import Role
from storage.queries import alerts, limits
from storage.queries.limits import BudgetRow, RuleRow, Unit

Scope = Annotated[Literal["service", "project", "task", "agent", "day"], "what is limited"]
Key = Annotated[Line, "name of the service, project or agent, number of the task; * for each of them; - for the day"]
Row = TypeVar("Row", BudgetRow, RuleRow)
Amount = Annotated[Decimal, Within(ge=0, max_digits=16, decimal_places=6)]


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit with the book of the present period, in its unit. ``hard`` stops, ``soft`` tells; null: counted only.

    ``basis``: the weakest that ``spent`` is made of: measured (the provider's own count), estimated or imputed, of which
    there are so many; null where nothing was spent.
    """

    id: int
    scope: str
    key: str
    unit: str
    period: str
    hard: Decimal | None
    soft: Decimal | None
    spent: Decimal
    reserved: Decimal
    remaining: Decimal | None
    overrun: Decimal
    time_zone: str
    starts_on: int
    thresholds: tuple[int, ...]
    period_start: datetime | None
    period_end: datetime | None
    estimated: Decimal
    imputed: Decimal
    basis: Label | None
    columns: ClassVar[tuple[Column, ...]] = (
        Column("scope", "scope"),
        Column("of", "key", "key"),
        Column("unit", "unit"),
        Column("per", "period"),
        Column("limit", "hard", "count"),
        Column("spent", "spent", "count"),
        Column("basis", "basis", spare=1),
        Column("reserved", "reserved", "count"),
        Column("left", "remaining", "count"),
        Column("renewed", "period_end", "time"),
    )
    empty: ClassVar[str] = "no budgets; set one with: qd budget set project ID --usd 20"


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that a person should know. ``failure``: why it has not reached the outside."""

    id: int
    at: datetime
    kind: str
    text: str
    seen_by: str | None
    delivered_at: datetime | None
    failure: str | None
    attempts: int
    columns: ClassVar[tuple[Column, ...]] = (
        Column("no", "id", "key"),
        Column("at", "at", "time"),
        Column("kind", "kind", "state"),
        Column("what", "text"),
        Column("seen by", "seen_by"),
        Column("told", "delivered_at", "time"),
        Column("not told because", "failure"),
    )
    empty: ClassVar[str] = "no alerts"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the check of the books."""

    what: str
    wrong: int


@command("budget.list", role=Role.VIEWER)
async def list_budgets(ctx: Context, *, scope: Scope | None = None) -> list[Budget]:
    """List the budgets with what is left of them."""
    async with ctx.db.transaction(ctx.who) as connection:
        return [_shown(row) for row in await limits.list_budgets(connection, scope)]


@command("budget.set", role=Role.SUPERVISOR)
async def set_budget(
    ctx: Context,
    scope: Scope,
    key: Key,
    *,
    usd: Annotated[Amount | None, "hard limit in US dollars"] = None,
    tokens: Annotated[Amount | None, "hard limit in tokens"] = None,
    calls: Annotated[Amount | None, "hard limit in calls"] = None,
    runs: Annotated[Amount | None, "hard limit in runs"] = None,
    soft: Annotated[Amount | None, "tell a person from here on, in the same unit"] = None,
    unit: Annotated[Unit | None, "unit, where no hard limit is given"] = None,
    no_hard: Annotated[bool, "count, and stop nothing"] = False,
    no_soft: Annotated[bool, "take the soft limit away"] = False,
    period: Annotated[Line | None, "month, week, day, total, or a window such as 5h", Metavar("PERIOD")] = None,
    time_zone: Annotated[Line | None, "where its days and months begin", Metavar("ZONE")] = None,
    starts_on: Annotated[int | None, Within(ge=1, le=28), "day on which its month begins"] = None,
    threshold: Annotated[tuple[Annotated[int, Within(ge=1, le=1000)], ...], "alert at this percent"] = (),
) -> Budget:
    """Set a limit. It holds at once, for calls that come; an increase lets what waited for it go on.

    Without --period a task's limit is for all of it, a day's for the day, and any other for the month. What is not
    given stays as it is.
    """
    bounds: dict[Unit, Decimal | None] = {"usd": usd, "tokens": tokens, "calls": calls, "runs": runs}
    given = {name: value for name, value in bounds.items() if value is not None}
    if len(given) > 1 or (not given and unit is None):
        raise UsageError("a budget has one limit", "give one of --usd, --tokens, --calls, --runs, or --unit")
    which, hard = next(iter(given.items())) if given else (unit, None)
    assert which is not None
    if unit not in (None, which):
        raise UsageError(f"a limit in {which} is not one in {unit}", "leave --unit out")
    if (given and no_hard) or (soft is not None and no_soft):
        raise UsageError("a limit is both given and taken away", "say one of the two")
    whose = await _checked_key(ctx, scope, key)
    span = checked_period(period or {"task": "total", "day": "day"}.get(scope, "month"))
    if scope == "day" and span != "day":
        raise UsageError("the budget of the day is per day", "leave --period out")
    async with ctx.db.transaction(ctx.who) as connection:
        old = next(iter(await limits.find_rules(connection, scope, whose, which, span)), None)
        if not (given or soft is not None or no_hard or old):
            raise UsageError("a budget has one limit", "give one of --usd, --tokens, --calls, --runs, or --soft")
        rule = await limits.set_budget(
            connection,
            scope,
            whose,
            which,
            span,
            amount_of(which, hard) if hard is not None else (old.hard if old and not no_hard else None),
            amount_of(which, soft) if soft is not None else (old.soft if old and not no_soft else None),
            zone=checked_zone(time_zone) if time_zone else (old.zone if old else "UTC"),
            starts_on=starts_on or (old.starts_on if old else 1),
            thresholds=sorted(set(threshold)) or None,
        )
        done = _shown(next(row for row in await limits.list_budgets(connection, scope) if row.id == rule))
    await ctx.db.ring("budget", "service")
    return done


@command("budget.override", role=Role.SUPERVISOR)
async def override_budget(
    ctx: Context,
    scope: Scope,
    key: Key,
    amount: Annotated[Amount, "how much more, in the budget's unit"],
    *,
    unit: Annotated[Unit, "unit of the budget"] = "usd",
    period: Annotated[Line | None, "its period, where there are several budgets", Metavar("PERIOD")] = None,
) -> Budget:
    """Let a budget go beyond its limit, in this period only. What waited for it goes on."""
    async with ctx.db.transaction(ctx.who) as connection:
        row = await _find(connection, scope, _plain(key), unit, period)
        if row.hard is None:
            raise ConflictError(f"the budget of {scope} {key} has no limit to go beyond", "there is nothing to do")
        if not await limits.override_budget(connection, row.id, row.key, amount_of(unit, amount)):
            raise ConflictError(
                f"nothing has been spent of the budget of {scope} {key}", "raise it with `qd budget set`"
            )
        done = _shown(await _find(connection, scope, row.key, unit, row.period))
    await ctx.db.ring("budget", "service")
    return done


@command("budget.remove", role=Role.SUPERVISOR, destructive=True)
async def remove_budget(
    ctx: Context,
    scope: Scope,
    key: Key,
    *,
    unit: Annotated[Unit, "unit of the budget"] = "usd",
    period: Annotated[Line | None, "its period, where there are several budgets", Metavar("PERIOD")] = None,
) -> Budget:
    """Remove a limit. The ledger stays."""
    async with ctx.db.transaction(ctx.who) as connection:
        found = await limits.find_rules(connection, scope, _plain(key), unit, period)
        rule = _only(found, scope, key, unit)
        row = next(row for row in await limits.list_budgets(connection, scope) if row.id == rule.id)
        await limits.remove_budget(connection, rule.id)
    await ctx.db.ring("budget", "service")
    return _shown(row)


@command("budget.alerts", role=Role.VIEWER)
async def list_alerts(
    ctx: Context, *, every: Annotated[bool, "also those that somebody has seen"] = False
) -> list[Alert]:
    """List what a person should know about money, the newest first."""
    async with ctx.db.transaction(ctx.who) as connection:
        found = await alerts.list_alerts(connection, unseen=not every)
    return [
        Alert(row.id, row.at, row.kind, row.text, row.seen_by, row.delivered_at, row.failure, row.attempts)
        for row in found
    ]


@command("budget.seen", role=Role.SUPERVISOR)
async def see_alerts(
    ctx: Context, alert: Annotated[tuple[int, ...], "numbers of alerts; without them, all"] = ()
) -> list[Alert]:
    """Take alerts out of the inbox."""
    async with ctx.db.transaction(ctx.who) as connection:
        await alerts.see_alerts(connection, list(alert) or None, ctx.who.actor)
        found = await alerts.list_alerts(connection, unseen=True)
    await ctx.db.ring("alert")
    return [
        Alert(row.id, row.at, row.kind, row.text, row.seen_by, row.delivered_at, row.failure, row.attempts)
        for row in found
    ]


@command("budget.check", role=Role.VIEWER)
async def check_books(ctx: Context) -> list[Check]:
    """Check the books: that what is spent and reserved is the sum of the ledger, and nothing is beyond its limit."""
    from storage.queries.budget import reconcile

    async with ctx.db.transaction(ctx.who) as connection:
        return [Check(what, wrong) for what, wrong in (await reconcile(connection)).items()]


async def _checked_key(ctx: Context, scope: str, key: str) -> str:
    if scope == "day":
        if key != "-":
            raise UsageError(f"the budget of the day has no key {key!r}", "write - in its place")
        return ""
    if key == "*":
        return key
    if scope == "task":
        key = key.removeprefix("#")
        if not re.fullmatch(r"[0-9]{1,18}", key):
            raise UsageError(f"{key!r} is no task", "name it by its number")
    queries = {
        "service": "select exists (select 1 from service where name = $1)",
        "project": "select exists (select 1 from project where id = $1)",
        "agent": "select exists (select 1 from agent where name = $1)",
        "task": "select exists (select 1 from task where number = $1::text::bigint)",
    }
    async with ctx.db.transaction(ctx.who) as connection:
        if not await connection.fetchval(queries[scope], key):
            raise NotFoundError(f"there is no {scope} {key!r}", f"see `qd {scope} list`")
    return key


async def _find(connection: asyncpg.Connection, scope: str, key: str, unit: str, period: str | None) -> BudgetRow:
    found = [row for row in await limits.list_budgets(connection, scope, key) if row.unit == unit]
    return _only([row for row in found if period in (None, row.period)], scope, key, unit)


def _plain(key: str) -> str:
    """The key as the database has it."""
    return "" if key == "-" else key.removeprefix("#")


def _only(found: Sequence[Row], scope: str, key: str, unit: str) -> Row:
    if not found:
        raise NotFoundError(f"there is no budget of {scope} {key or 'day'} in {unit}", "see `qd budget list`")
    if len(found) > 1:
        periods = ", ".join(row.period for row in found)
        raise UsageError(f"{scope} {key} has several budgets in {unit}", f"say which with --period: {periods}")
    return found[0]


def _shown(row: BudgetRow) -> Budget:
    remaining = None if row.hard is None else max(row.hard - row.spent - row.reserved, 0)
    return Budget(
        id=row.id,
        scope=row.scope,
        key=row.key,
        unit=row.unit,
        period=row.period,
        hard=shown(row.unit, row.hard),
        soft=shown(row.unit, row.soft),
        spent=shown(row.unit, row.spent) or Decimal(0),
        reserved=shown(row.unit, row.reserved) or Decimal(0),
        remaining=shown(row.unit, remaining),
        overrun=shown(row.unit, row.overrun) or Decimal(0),
        time_zone=row.zone,
        starts_on=row.starts_on,
        thresholds=row.thresholds,
        period_start=row.starts,
        period_end=row.ends,
        estimated=shown(row.unit, row.estimated) or Decimal(0),
        imputed=shown(row.unit, row.imputed) or Decimal(0),
        basis=label(row.spent, row.estimated, row.imputed),
    )
