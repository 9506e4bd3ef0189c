"""`qd metrics`: how the crew does."""

from dataclasses import astuple, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from core.commands.checks import Within
from core.commands.shown import Column
from core.commands.table import Context, command
from core.commands.values import Slug
from storage.database import Role
from storage.queries import analytics, analytics_views


@dataclass(frozen=True, slots=True)
class Metric:
    """What one day, project or agent came to; durations in seconds."""

    key: str
    completed: int
    failed: int
    first_try: int
    success_rate: float | None
    """Completed of all tasks that ended either way, 0 to 1."""
    runs: int
    median_seconds: float | None
    cost_usd: Decimal
    cost_per_task_usd: Decimal | None
    """Cost for each task that was completed."""
    columns: ClassVar[tuple[Column, ...]] = (
        Column("of", "key", "key"),
        Column("completed", "completed", "count"),
        Column("failed", "failed", "count"),
        Column("first try", "first_try", "count"),
        Column("runs", "runs", "count"),
        Column("median", "median_seconds", "seconds"),
        Column("cost", "cost_usd", "usd"),
        Column("per task", "cost_per_task_usd", "usd"),
    )
    empty: ClassVar[str] = "Nothing was done in that time."


@dataclass(frozen=True, slots=True)
class PerformanceView:
    """What an agent came to in the week that began then, on one project; the rate in percent."""

    week: datetime
    project_id: str
    agent: str
    tasks_attempted: int
    tasks_succeeded: int
    success_rate: Decimal
    avg_hours_to_complete: Decimal | None
    cost_usd: Decimal
    columns: ClassVar[tuple[Column, ...]] = (
        Column("week", "week", "time"),
        Column("project", "project_id", "key"),
        Column("agent", "agent", "key"),
        Column("attempted", "tasks_attempted", "count"),
        Column("succeeded", "tasks_succeeded", "count"),
        Column("percent", "success_rate"),
        Column("hours", "avg_hours_to_complete"),
        Column("cost", "cost_usd", "usd"),
    )


@dataclass(frozen=True, slots=True)
class PatternView:
    """A pattern with its record; the rate 0 to 1, smoothed."""

    name: str
    slug: str
    category: str
    projects: tuple[str, ...] | None
    usage_count: int
    success_rate: Decimal
    value_score: Decimal
    columns: ClassVar[tuple[Column, ...]] = (
        Column("pattern", "slug", "key"),
        Column("name", "name"),
        Column("category", "category"),
        Column("projects", "projects"),
        Column("uses", "usage_count", "count"),
        Column("rate", "success_rate"),
        Column("value", "value_score"),
    )


@dataclass(frozen=True, slots=True)
class ErrorView:
    """An error that runs met more than twice."""

    project_id: str | None
    error_type: str
    error_message: str
    occurrence_count: int
    times_fixed: int
    most_common_fix: str | None
    prevention_rule: str | None
    columns: ClassVar[tuple[Column, ...]] = (
        Column("project", "project_id", "key"),
        Column("type", "error_type"),
        Column("error", "error_message"),
        Column("met", "occurrence_count", "count"),
        Column("fixed", "times_fixed", "count"),
        Column("rule", "prevention_rule"),
    )


@command("metrics", role=Role.VIEWER)
async def metrics(
    ctx: Context,
    *,
    days: Annotated[int, Within(ge=1, le=3650), "Of the last so many days, today included (UTC)"] = 30,
    project: Annotated[Slug | None, "Of this project only"] = None,
    by: Annotated[Literal["project", "agent", "day"], "One line for each of these"] = "project",
    view: Annotated[
        Literal["agent_performance", "valuable_patterns", "common_errors"] | None,
        "In their place: how agents did week by week, which patterns are worth most, which errors are met most",
    ] = None,
) -> list[Metric] | list[PerformanceView] | list[PatternView] | list[ErrorView]:
    """Show rates, durations and costs.

    Tasks count where they ended, runs and their cost where they began. The views are those of the database, by the
    same names.
    """
    today = ctx.now().replace(hour=0, minute=0, second=0, microsecond=0)
    since = today - timedelta(days=days - 1)
    async with ctx.db.transaction(ctx.who) as connection:
        match view:
            case "agent_performance":
                performance = await analytics_views.agent_performance(connection, since, project)
                return [PerformanceView(*astuple(row)) for row in performance]
            case "valuable_patterns":
                patterns = await analytics_views.valuable_patterns(connection, project)
                return [PatternView(*astuple(row)) for row in patterns]
            case "common_errors":
                errors = await analytics_views.common_errors(connection, project)
                return [ErrorView(*astuple(row)) for row in errors]
        rows = await analytics.metrics(connection, by, since, project)
    return [_view(row) for row in rows]


def _view(row: analytics.Metric) -> Metric:
    ended = row.completed + row.failed
    return Metric(
        row.key,
        row.completed,
        row.failed,
        row.first_try,
        round(row.completed / ended, 4) if ended else None,
        row.runs,
        row.median_seconds,
        row.cost_usd,
        (row.cost_usd / row.completed).quantize(Decimal("0.000001")) if row.completed else None,
    )
