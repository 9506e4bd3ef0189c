"""The live settings: one row per key that was set."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg


@dataclass(frozen=True, slots=True)
class SettingRow:
    """A value that was set live."""

    key: str
    value: Any
    updated_at: datetime


async def all_settings(connection: asyncpg.Connection) -> dict[str, Any]:
    """Every value that was set, by key; the marks that the program sets for itself are left out."""
    return {row.key: row.value for row in await setting_rows(connection)}


async def setting_rows(connection: asyncpg.Connection) -> list[SettingRow]:
    """Every value that was set, with its time; there are at most as many as there are settings."""
    rows = await connection.fetch(
        "select key, value, updated_at from setting where key not like '.%' order by key limit 1000"
    )
    return [SettingRow(**row) for row in rows]


async def set_setting(connection: asyncpg.Connection, key: str, value: Any) -> None:
    """Set a value, known to be valid."""
    await connection.execute(
        """insert into setting (key, value) values ($1, coalesce($2, 'null'::jsonb))
           on conflict (key) do update set value = excluded.value, updated_at = clock_timestamp()""",
        key,
        value,
    )


async def unset_setting(connection: asyncpg.Connection, key: str) -> bool:
    """Go back to the file or the default; False when it was not set."""
    return bool(await connection.execute("delete from setting where key = $1", key) == "DELETE 1")


async def take_mark(connection: asyncpg.Connection, name: str) -> bool:
    """Set a mark that the program leaves for itself (``.seeded``); False when it was there already."""
    return bool(
        await connection.execute(
            "insert into setting (key, value) values ($1, 'true') on conflict (key) do nothing", f".{name}"
        )
        == "INSERT 0 1"
    )
