"""Which secrets exist; their values are never in the database."""

from datetime import datetime

import asyncpg


async def mark_secret(connection: asyncpg.Connection, project: str, name: str) -> None:
    """Remember that a secret exists."""
    await connection.execute(
        "insert into secret (project, name) values ($1, $2) on conflict (project, name) do update set updated_at = clock_timestamp()",
        project,
        name,
    )


async def unmark_secret(connection: asyncpg.Connection, project: str, name: str) -> bool:
    """Forget that a secret exists."""
    return bool(
        await connection.execute("delete from secret where project = $1 and name = $2", project, name) == "DELETE 1"
    )


async def list_secrets(connection: asyncpg.Connection, project: str | None) -> list[tuple[str, str, datetime]]:
    """(project, name, when it was set): all, or those of one project and the shared ones."""
    rows = await connection.fetch(
        "select project, name, updated_at from secret where $1::text is null or project in ($1, '') order by project, name",
        project,
    )
    return [tuple(row) for row in rows]
