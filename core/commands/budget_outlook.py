"""What is to come: the end of a period, the cost of a task, and the tasks whose cost is out of line."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, ClassVar, Literal
from uuid import UUID

import asyncpg

from config.errors import ConflictError, NotFoundError, UsageError
from core.budget.alerts import groups, out_of_line
from core.budget.forecast import ENOUGH, task_cost
from core.budget.outlook import foresee
from core.budget.rules import Label, label, shown
from core.commands.checks import Within
from core.commands.shown import Column
from core.commands.table import Context, command
from core.commands.values import Slug, TaskRef
from storage.database import Role
from storage.queries import charges, limits, spending
from storage.queries.charges import usd
from storage.queries.limits import BudgetRow, Unit

Like = Literal["its project and agent", "its project", "all tasks"]
LIKE: tuple[Like, ...] = ("its project and agent", "its project", "all tasks")


@dataclass(frozen=True, slots=True)
class Forecast:
    """What becomes of a budget, in its unit: its period ends between ``low`` and ``high`` with the share ``holds``, and it is used
    up at ``runs_out_at``. Foretold from so many ``samples``: days, or hours where the period is short. ``budget``: its
    number; null: a project without one. ``spent_basis``: the weakest that ``spent`` is made of. ``basis``: what is to come is
    always an estimate.
    """

    budget: int | None
    scope: str
    key: str
    unit: Unit
    period: str
    spent: Decimal
    spent_basis: Label | None
    limit: Decimal | None
    low: Decimal | None
    middle: Decimal | None
    high: Decimal | None
    holds: float
    samples: int
    runs_out_at: datetime | None
    period_end: datetime | None
    basis: Literal["estimated"] = "estimated"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("scope", "scope"),
        Column("of", "key", "key"),
        Column("unit", "unit"),
        Column("per", "period"),
        Column("spent", "spent", "count"),
        Column("basis", "spent_basis", spare=1),
        Column("limit", "limit", "count"),
        Column("end at least", "low", "count"),
        Column("about", "middle", "count"),
        Column("at most", "high", "count"),
        Column("runs out", "runs_out_at", "time"),
        Column("seen", "samples", "count"),
    )
    empty: ClassVar[str] = "nothing to foretell yet: there is no budget, and no project has spent anything"


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
    """Foretell where budgets stand at the end of their periods, and when they run out: the middle, and 80 % of all cases.

    Of tasks, those that are not over and have spent something. A project without a budget is foretold for the month.
    """
    now = ctx.now()
    found: list[Forecast] = []
    async with ctx.db.transaction(ctx.who) as connection:
        budgets = await limits.list_budgets(connection)
        at_work = await spending.tasks_at_work(connection)
        found += [
            await _foretold(connection, row, now)
            for row in budgets
            if row.key != "*" and (row.scope != "task" or (row.spent and row.key in at_work))
        ]
        known = {row.key for row in budgets if (row.scope, row.unit, row.period) == ("project", "usd", "month")}
        found += [
            await _foretold(connection, await limits.unlimited(connection, "project", total.name, now), now)
            for total in await charges.sum_charges(connection, "project", now - timedelta(days=31))
            if total.name and total.name not in known
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
    ctx: Context, *, limit: Annotated[int, Within(ge=1, le=2000), "of the last so many tasks"] = 200
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


async def _foretold(connection: asyncpg.Connection, row: BudgetRow, now: datetime) -> Forecast:
    seen = await foresee(connection, row, now)
    return Forecast(
        budget=row.id or None,
        scope=row.scope,
        key=row.key,
        unit=row.unit,
        period=row.period,
        spent=shown(row.unit, row.spent) or Decimal(0),
        spent_basis=label(row.spent, row.estimated, row.imputed),
        limit=shown(row.unit, row.hard),
        low=shown(row.unit, seen.end.low if seen.end else None),
        middle=shown(row.unit, seen.end.middle if seen.end else None),
        high=shown(row.unit, seen.end.high if seen.end else None),
        holds=seen.end.holds if seen.end else 0.8,
        samples=seen.samples,
        runs_out_at=seen.runs_out_at,
        period_end=row.ends,
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
