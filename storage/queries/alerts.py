"""What a person should know of budgets and services."""

from dataclasses import dataclass
from datetime import datetime

import asyncpg


@dataclass(frozen=True, slots=True)
class AlertRow:
    """Something that a person should know."""

    id: int
    at: datetime
    kind: str
    scope: str
    key: str
    text: str
    seen_by: str | None
    delivered_at: datetime | None
    attempts: int
    failure: str | None


async def list_alerts(connection: asyncpg.Connection, *, unseen: bool, limit: int = 200) -> list[AlertRow]:
    """The newest first."""
    rows = await connection.fetch(
        """select id, at, kind, scope, key, text, seen_by, delivered_at, attempts, failure from alert
            where not $1 or seen_at is null order by id desc limit $2""",
        unseen,
        limit,
    )
    return [AlertRow(**row) for row in rows]


async def see_alerts(connection: asyncpg.Connection, ids: list[int] | None, actor: str) -> int:
    """Mark alerts as seen, all of them for None; how many."""
    status = await connection.execute(
        "update alert set seen_by = $2, seen_at = clock_timestamp() where seen_at is null and ($1::bigint[] is null or id = any($1))",
        ids,
        actor,
    )
    return int(status.split()[-1])
