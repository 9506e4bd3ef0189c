"""What is to come: the end of a month, the cost of a task, and the tasks whose cost is out of line."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, ClassVar, Literal
from uuid import UUID

import asyncpg
from pydantic import Field

from config.errors import ConflictError, NotFoundError, UsageError
from core.budget.alerts import groups, out_of_line
from core.budget.forecast import ENOUGH, period_end, task_cost
from core.commands.shown import Column
from core.commands.table import Context, command
from core.commands.values import Slug, TaskRef
from storage.database import Role
from storage.queries import charges, limits, spending
from storage.queries.charges import usd
from storage.queries.limits import BudgetRow

Like = Literal["its project and agent", "its project", "all tasks"]
LIKE: tuple[Like, ...] = ("its project and agent", "its project", "all tasks")


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a month will have cost at its end: between ``low`` and ``high`` with the share ``holds``. ``basis``: what is
    to come is always an estimate.
    """

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
    basis: Literal["estimated"] = "estimated"
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
    """What a task will cost: between ``low`` and ``high`` with the share ``holds``. ``like``: the tasks that it is
    foretold from.
    """

    project: str
    agent: str | None
    low_usd: Decimal
    middle_usd: Decimal
    high_usd: Decimal
    holds: float
    samples: int
    like: Like
    basis: Literal["estimated"] = "estimated"


@dataclass(frozen=True, slots=True)
class Outlier:
    """A task whose cost is out of line, and why."""

    task: int
    project: str
    agent: str
    cost_usd: Decimal
    basis: str
    """The weakest of its charges: measured, estimated or imputed."""
    reason: str
    columns: ClassVar[tuple[Column, ...]] = (
        Column("task", "task", "key"),
        Column("project", "project"),
        Column("agent", "agent"),
        Column("cost", "cost_usd", "usd"),
        Column("basis", "basis"),
        Column("why", "reason"),
    )
    empty: ClassVar[str] = "no task is out of line"


@command("budget.forecast", role=Role.VIEWER)
async def forecast(ctx: Context) -> list[Forecast]:
    """Foretell the month's end of services and projects, and when budgets run out: the middle, and 80 % of all
    cases.
    """
    now = ctx.now()
    found: list[Forecast] = []
    async with ctx.db.transaction(ctx.who) as connection:
        budgets = [row for row in await limits.list_budgets(connection) if row.unit == "usd" and row.period == "month"]
        known = {(row.scope, row.key) for row in budgets}
        found += [
            await _outlook(connection, row.scope, row.key, row, row.ends, now)
            for row in budgets
            if row.scope in ("service", "project") and row.ends is not None
        ]
        month = (now.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=32)).replace(day=1)
        found += [
            await _outlook(connection, "project", total.name, None, month, now)
            for total in await charges.sum_charges(connection, "project", now - timedelta(days=31))
            if total.name and ("project", total.name) not in known
        ]
    return found


@command("budget.estimate", role=Role.VIEWER)
async def estimate(
    ctx: Context,
    project: Annotated[Slug | None, "project of the task"] = None,
    *,
    agent: Annotated[Slug | None, "agent that would do it"] = None,
    task: Annotated[TaskRef | None, "a task that there is, in place of its project and agent"] = None,
) -> Estimate:
    """Foretell what a task will cost before it runs: in nine of ten cases it lies between the bounds."""
    if (project is None) == (task is None):
        raise UsageError("it is not clear what is to be foretold", "name a project, or a task with --task")
    async with ctx.db.transaction(ctx.who) as connection:
        if task is not None:
            project, agent = await _whose(connection, task, agent)
        assert project is not None
        if not await connection.fetchval("select exists (select 1 from project where id = $1)", project):
            raise NotFoundError(f"there is no project {project!r}", "see `qd project list`")
        costs = await spending.task_costs(connection)
    for words, group in zip(LIKE, groups(project, agent or "", costs), strict=True):
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
            found.append(Outlier(task.task, task.project, task.agent, usd(task.micro), task.basis, reason))
    return found[::-1]


async def _outlook(
    connection: asyncpg.Connection, scope: str, key: str, row: BudgetRow | None, ends: datetime, now: datetime
) -> Forecast:
    daily = await spending.daily_totals(connection, scope, key, row.zone if row else "UTC")
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    spent = row.spent if row else await spending.spent_since(connection, scope, key, first)
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


async def _whose(connection: asyncpg.Connection, task: int | UUID, agent: str | None) -> tuple[str, str | None]:
    """(project, agent) of a task."""
    column = "id" if isinstance(task, UUID) else "number"
    found = await connection.fetchrow(
        f"select t.project, t.agent from task t join task_body b on b.task = t.number where {column} = $1",  # noqa: S608 - one of two names
        task,
    )
    if found is None:
        raise NotFoundError(f"there is no task {task}", "see `qd task list`")
    return found["project"], agent or found["agent"]
