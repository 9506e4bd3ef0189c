"""`qd metrics`: how the crew does."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from core.commands.shown import Column
from core.commands.table import Context, command
from core.commands.values import Slug
from storage.database import Role
from storage.queries import analytics


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


@command("metrics", role=Role.VIEWER)
async def metrics(
    ctx: Context,
    *,
    days: Annotated[int, Field(ge=1, le=3650), "Of the last so many days, today included (UTC)"] = 30,
    project: Annotated[Slug | None, "Of this project only"] = None,
    by: Annotated[Literal["project", "agent", "day"], "One line for each of these"] = "project",
) -> list[Metric]:
    """Show rates, durations and costs.

    Tasks count where they ended, runs and their cost where they began.
    """
    today = ctx.now().replace(hour=0, minute=0, second=0, microsecond=0)
    since = today - timedelta(days=days - 1)
    async with ctx.db.transaction(ctx.who) as connection:
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
