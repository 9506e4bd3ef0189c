"""The views for people and programs outside, read as they stand: who performs how, which patterns are worth most, which errors are
met most.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import asyncpg

from storage.queries.records import from_record

MOST = 500
"""Lines of one answer."""


@dataclass(frozen=True, slots=True)
class Performance:
    """What an agent came to in one week (from its Monday, UTC) on one project; rate in percent, durations in hours."""

    week: datetime
    project_id: str
    agent: str
    tasks_attempted: int
    tasks_succeeded: int
    success_rate: Decimal
    avg_hours_to_complete: Decimal | None
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class ValuablePattern:
    """A pattern with its record; ``success_rate`` is smoothed, 0 to 1, ``value_score`` its uses times that."""

    name: str
    slug: str
    category: str
    projects: tuple[str, ...] | None
    usage_count: int
    success_rate: Decimal
    value_score: Decimal


@dataclass(frozen=True, slots=True)
class CommonError:
    """An error that runs met more than twice, and what mended it most often."""

    project_id: str | None
    error_type: str
    error_message: str
    occurrence_count: int
    times_fixed: int
    most_common_fix: str | None
    prevention_rule: str | None


async def agent_performance(
    connection: asyncpg.Connection, since: datetime, project: str | None = None
) -> list[Performance]:
    """By week, project and agent, the latest first."""
    rows = await connection.fetch(
        """select * from agent_performance where week >= date_trunc('week', $1::timestamptz) and ($2::text is null or project_id = $2)
            order by week desc, project_id, agent limit $3""",
        since,
        project,
        MOST,
    )
    return _read(Performance, rows)


async def valuable_patterns(connection: asyncpg.Connection, project: str | None = None) -> list[ValuablePattern]:
    """Those of most worth first; with a project, its own and those that hold for all."""
    rows = await connection.fetch(
        """select * from valuable_patterns where $1::text is null or projects is null or $1 = any(projects)
            order by value_score desc, name limit $2""",
        project,
        MOST,
    )
    return _read(ValuablePattern, rows)


async def common_errors(connection: asyncpg.Connection, project: str | None = None) -> list[CommonError]:
    """Those that are met most first."""
    rows = await connection.fetch(
        """select * from common_errors where $1::text is null or project_id = $1
            order by occurrence_count desc, error_message limit $2""",
        project,
        MOST,
    )
    return _read(CommonError, rows)


def _read(kind: type[Any], rows: list[asyncpg.Record]) -> list[Any]:
    return [found for row in rows if (found := from_record(kind, row))]
