"""Budgets: limits per service, project, task, agent and day; what is left of them, and for how long."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, ClassVar, Literal

import asyncpg
from pydantic import Field

from config.errors import ConflictError, NotFoundError, UsageError
from core.budget.alerts import groups, out_of_line
from core.budget.forecast import ENOUGH, period_end, task_cost
from core.budget.rules import amount_of, checked_period, checked_zone, shown
from core.commands.shown import Column
from core.commands.table import Context, Metavar, command
from core.commands.values import Line, Slug
from storage.database import Role
from storage.queries import budget, spending
from storage.queries import services as rows
from storage.queries.services import BudgetRow, Unit, usd

Scope = Annotated[Literal["service", "project", "task", "agent", "day"], "what is limited"]
Key = Annotated[Line, "name of the service, project or agent, number of the task; * for each of them; - for the day"]
Amount = Annotated[Decimal, Field(ge=0, max_digits=16, decimal_places=6)]


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit with the book of the present period, in its unit. ``hard`` stops, ``soft`` tells; null: counted only."""

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
    columns: ClassVar[tuple[Column, ...]] = (
        Column("scope", "scope"),
        Column("of", "key", "key"),
        Column("unit", "unit"),
        Column("per", "period"),
        Column("limit", "hard", "count"),
        Column("spent", "spent", "count"),
        Column("reserved", "reserved", "count"),
        Column("left", "remaining", "count"),
        Column("renewed", "period_end", "time"),
    )
    empty: ClassVar[str] = "no budgets; set one with: qd budget set project ID --usd 20"


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a month will have cost at its end: between ``low`` and ``high`` with the share ``holds``."""

    scope: str
    key: str
    spent_usd: Decimal
    budget_usd: Decimal | None
    low_usd: Decimal | None
    middle_usd: Decimal | None
    high_usd: Decimal | None
    holds: float
    days: int
    runs_out_at: datetime | None
    period_end: datetime
    columns: ClassVar[tuple[Column, ...]] = (
        Column("scope", "scope"),
        Column("of", "key", "key"),
        Column("spent", "spent_usd", "usd"),
        Column("budget", "budget_usd", "usd"),
        Column("end at least", "low_usd", "usd"),
        Column("about", "middle_usd", "usd"),
        Column("at most", "high_usd", "usd"),
        Column("runs out", "runs_out_at", "time"),
        Column("days seen", "days", "count"),
    )
    empty: ClassVar[str] = "nothing to foretell yet: no service and no project has spent anything"


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a task of a project will cost: between ``low`` and ``high`` with the share ``holds``."""

    project: str
    agent: str | None
    low_usd: Decimal
    middle_usd: Decimal
    high_usd: Decimal
    holds: float
    samples: int
    like: Literal["its project and agent", "its project", "all tasks"]


@dataclass(frozen=True, slots=True)
class Outlier:
    """A task whose cost is out of line, and why."""

    task: int
    project: str
    agent: str
    cost_usd: Decimal
    reason: str
    columns: ClassVar[tuple[Column, ...]] = (
        Column("task", "task", "key"),
        Column("project", "project"),
        Column("agent", "agent"),
        Column("cost", "cost_usd", "usd"),
        Column("why", "reason"),
    )
    empty: ClassVar[str] = "no task is out of line"


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
        return [_shown(row) for row in await rows.list_budgets(connection, scope)]


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
    unit: Annotated[Unit | None, "unit of a budget that has a soft limit only"] = None,
    period: Annotated[Line | None, "month, week, day, total, or a window such as 5h", Metavar("PERIOD")] = None,
    time_zone: Annotated[Line, "where its days and months begin", Metavar("ZONE")] = "UTC",
    starts_on: Annotated[int, Field(ge=1, le=28), "day on which its month begins"] = 1,
    threshold: Annotated[tuple[Annotated[int, Field(ge=1, le=1000)], ...], "alert at this percent"] = (),
) -> Budget:
    """Set a limit. It holds at once, for calls that come; an increase lets what waited for it go on.

    Without --period a task's limit is for all of it, a day's for the day, and any other for the month.
    """
    limits: dict[Unit, Decimal | None] = {"usd": usd, "tokens": tokens, "calls": calls, "runs": runs}
    given = {name: value for name, value in limits.items() if value is not None}
    if len(given) > 1 or (not given and (soft is None or unit is None)):
        raise UsageError(
            "a budget has one limit", "give one of --usd, --tokens, --calls, --runs, or --soft with --unit"
        )
    which, hard = next(iter(given.items())) if given else (unit, None)
    assert which is not None
    whose = await _checked_key(ctx, scope, key)
    span = checked_period(period or {"task": "total", "day": "day"}.get(scope, "month"))
    if scope == "day" and span != "day":
        raise UsageError("the budget of the day is per day", "leave --period out")
    async with ctx.db.transaction(ctx.who) as connection:
        rule = await rows.set_budget(
            connection,
            scope,
            whose,
            which,
            span,
            amount_of(which, hard) if hard is not None else None,
            amount_of(which, soft) if soft is not None else None,
            zone=checked_zone(time_zone),
            starts_on=starts_on,
            thresholds=sorted(set(threshold)) or None,
        )
        done = _shown(next(row for row in await rows.list_budgets(connection, scope) if row.id == rule))
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
) -> Budget:
    """Let a budget go beyond its limit, in this period only. What waited for it goes on."""
    async with ctx.db.transaction(ctx.who) as connection:
        row = await _find(connection, scope, "" if key == "-" else key, unit)
        if row.hard is None:
            raise ConflictError(f"the budget of {scope} {key} has no limit to go beyond", "there is nothing to do")
        if not await rows.override_budget(connection, row.id, row.key, amount_of(unit, amount)):
            raise ConflictError(
                f"nothing has been spent of the budget of {scope} {key}", "raise it with `qd budget set`"
            )
        done = _shown(await _find(connection, scope, row.key, unit))
    await ctx.db.ring("budget", "service")
    return done


@command("budget.remove", role=Role.SUPERVISOR, destructive=True)
async def remove_budget(
    ctx: Context, scope: Scope, key: Key, *, unit: Annotated[Unit, "unit of the budget"] = "usd"
) -> Budget:
    """Remove a limit. The ledger stays."""
    async with ctx.db.transaction(ctx.who) as connection:
        row = await _find(connection, scope, "" if key == "-" else key, unit)
        await rows.remove_budget(connection, row.id)
    await ctx.db.ring("budget", "service")
    return _shown(row)


@command("budget.forecast", role=Role.VIEWER)
async def forecast(ctx: Context) -> list[Forecast]:
    """Foretell the month's end of services and projects, and when budgets run out: the middle, and 80 % of all
    cases.
    """
    now = ctx.now()
    found: list[Forecast] = []
    async with ctx.db.transaction(ctx.who) as connection:
        budgets = [row for row in await rows.list_budgets(connection) if row.unit == "usd" and row.period == "month"]
        known = {(row.scope, row.key) for row in budgets}
        found += [
            await _outlook(connection, row.scope, row.key, row, row.ends, now)
            for row in budgets
            if row.scope in ("service", "project") and row.ends is not None
        ]
        month = (now.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(day=1)
        found += [
            await _outlook(connection, "project", total.name, None, month, now)
            for total in await rows.sum_charges(connection, "project", now - timedelta(days=31))
            if total.name and ("project", total.name) not in known
        ]
    return found


@command("budget.estimate", role=Role.VIEWER)
async def estimate(
    ctx: Context,
    project: Annotated[Slug, "project of the task"],
    *,
    agent: Annotated[Slug | None, "agent that would do it"] = None,
) -> Estimate:
    """Foretell what a task of a project will cost before it runs: in nine of ten cases it lies between the bounds."""
    async with ctx.db.transaction(ctx.who) as connection:
        costs = await spending.task_costs(connection)
    like: tuple[Literal["its project and agent", "its project", "all tasks"], ...] = (
        "its project and agent",
        "its project",
        "all tasks",
    )
    for words, group in zip(like, groups(project, agent or "", costs), strict=True):
        interval = task_cost(group) if len(group) >= ENOUGH or words == "all tasks" else None
        if interval:
            return Estimate(
                project,
                agent,
                usd(interval.low),
                usd(interval.middle),
                usd(interval.high),
                interval.holds,
                interval.samples,
                words,
            )
    raise ConflictError("too few tasks have ended to foretell the cost of the next", "ten are needed")


@command("budget.outliers", role=Role.VIEWER)
async def outliers(
    ctx: Context, *, limit: Annotated[int, Field(ge=1, le=2000), "of the last so many tasks"] = 200
) -> list[Outlier]:
    """List tasks whose cost is out of line for their kind, and why."""
    async with ctx.db.transaction(ctx.who) as connection:
        costs = await spending.task_costs(connection)
    found = []
    for position in range(max(len(costs) - limit, 0), len(costs)):
        task = costs[position]
        if reason := out_of_line(task, costs[:position]):
            found.append(Outlier(task.task, task.project, task.agent, usd(task.micro), reason))
    return found[::-1]


@command("budget.alerts", role=Role.VIEWER)
async def list_alerts(
    ctx: Context, *, every: Annotated[bool, "also those that somebody has seen"] = False
) -> list[Alert]:
    """List what a person should know about money, the newest first."""
    async with ctx.db.transaction(ctx.who) as connection:
        found = await rows.list_alerts(connection, unseen=not every)
    return [Alert(row.id, row.at, row.kind, row.text, row.seen_by, row.delivered_at, row.failure) for row in found]


@command("budget.seen", role=Role.SUPERVISOR)
async def see_alerts(
    ctx: Context, alert: Annotated[tuple[int, ...], "numbers of alerts; without them, all"] = ()
) -> list[Alert]:
    """Take alerts out of the inbox."""
    async with ctx.db.transaction(ctx.who) as connection:
        await rows.see_alerts(connection, list(alert) or None, ctx.who.actor)
        found = await rows.list_alerts(connection, unseen=True)
    await ctx.db.ring("alert")
    return [Alert(row.id, row.at, row.kind, row.text, row.seen_by, row.delivered_at, row.failure) for row in found]


@command("budget.check", role=Role.VIEWER)
async def check_books(ctx: Context) -> list[Check]:
    """Check the books: that what is spent and reserved is the sum of the ledger, and nothing is beyond its limit."""
    async with ctx.db.transaction(ctx.who) as connection:
        return [Check(what, wrong) for what, wrong in (await budget.reconcile(connection)).items()]


async def _checked_key(ctx: Context, scope: str, key: str) -> str:
    if scope == "day":
        if key != "-":
            raise UsageError(f"the budget of the day has no key {key!r}", "write - in its place")
        return ""
    if key == "*":
        return key
    if scope == "task":
        key = key.removeprefix("#")
        if not key.isdecimal():
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


async def _find(connection: asyncpg.Connection, scope: str, key: str, unit: str) -> BudgetRow:
    found = [row for row in await rows.list_budgets(connection, scope, key.removeprefix("#")) if row.unit == unit]
    if not found:
        raise NotFoundError(f"there is no budget of {scope} {key or 'day'} in {unit}", "see `qd budget list`")
    return found[0]


async def _outlook(
    connection: asyncpg.Connection, scope: str, key: str, row: BudgetRow | None, ends: datetime, now: datetime
) -> Forecast:
    daily = await spending.daily_totals(connection, scope, key, row.zone if row else "UTC")
    spent = row.spent if row else sum(daily)
    hard = row.hard if row else None
    outlook = period_end(spent, hard, daily, max((ends - now).total_seconds(), 0) / 86400)
    runs_out = None
    if outlook and outlook.runs_out_in is not None:
        runs_out = now + timedelta(days=outlook.runs_out_in)
    return Forecast(
        scope=scope,
        key=key,
        spent_usd=usd(spent),
        budget_usd=usd(hard) if hard is not None else None,
        low_usd=usd(outlook.end.low) if outlook else None,
        middle_usd=usd(outlook.end.middle) if outlook else None,
        high_usd=usd(outlook.end.high) if outlook else None,
        holds=outlook.end.holds if outlook else 0.8,
        days=len(daily),
        runs_out_at=runs_out,
        period_end=ends,
    )


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
    )
