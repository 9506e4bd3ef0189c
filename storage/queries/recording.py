"""Rows as a recording has them: all that a screen shows of state, and the events; read as JSON, and written back into a
database that is for nothing else.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

EVENTS_AT_A_TIME = 5_000
FAR = "2999-01-01T00:00:00+00:00"
CLOCK = """
create schema replay;
grant usage on schema replay to public;
create table replay.clock (at timestamptz not null);
grant select on replay.clock to public;
insert into replay.clock values (pg_catalog.now());
create function replay.now() returns timestamptz language sql stable as 'select at from replay.clock';
create function replay.clock_timestamp() returns timestamptz language sql stable as 'select at from replay.clock';
do $$ begin execute format('alter database %I set search_path = replay, public, pg_catalog', current_database()); end $$;
"""
"""Makes the clock of a database one that is set: what queries call ``now()`` is then the time of the recording."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A table of which recordings are made. ``blank``: columns with secrets or places of a machine, and what stands there."""

    name: str
    key: tuple[str, ...]
    topics: tuple[str, ...]
    blank: Mapping[str, Any]


TABLES: tuple[Recorded, ...] = (
    Recorded("project", ("id",), ("project",), {"extra": {}}),
    Recorded("load", ("project",), ("queue",), {}),
    Recorded("engine", ("id",), ("engine",), {"host": "recorded", "pid": 1}),
    Recorded("agent", ("name",), ("agent",), {"env": {}, "api_key_hash": None}),
    Recorded("service", ("name",), ("service",), {"base_url": None, "key_env": None}),
    Recorded("budget", ("id",), ("budget",), {}),
    Recorded("account", ("id",), ("budget",), {}),
    Recorded("task", ("number",), ("task",), {}),
    Recorded("task_body", ("task",), ("task",), {"extra": {}}),
    Recorded("task_after", ("parent", "child"), ("task",), {}),
    Recorded("run", ("number",), ("run",), {"mark": "recorded", "folder": "", "shipped_out": 0, "shipped_err": 0}),
    Recorded("run_input", ("run", "seq"), ("run",), {}),
    Recorded("gate", ("run", "round", "position"), ("run",), {}),
    Recorded("question", ("number",), ("question",), {}),
    Recorded("review", ("number",), ("review",), {}),
)
EVENT = Recorded("event", ("run", "seq"), ("event",), {})
BY_NAME: Mapping[str, Recorded] = {table.name: table for table in (*TABLES, EVENT)}


async def read_rows(connection: asyncpg.Connection, table: Recorded) -> dict[tuple[Any, ...], dict[str, Any]]:
    """All rows of a table of state by their keys."""
    rows = await connection.fetch(f"select to_jsonb(t) as row from {table.name} t")  # noqa: S608 - a name of ours
    found = {}
    for record in rows:
        row = dict(record["row"]) | {name: value for name, value in table.blank.items() if name in record["row"]}
        if table.name == "engine":  # its lease would be written with every heartbeat, its name is that of a machine
            row |= {"name": f"engine-{row['id']}", "lease_until": FAR}
        found[tuple(row[name] for name in table.key)] = row
    return found


async def read_events(connection: asyncpg.Connection, after: Mapping[int, int]) -> list[dict[str, Any]]:
    """The next events of all runs, after these numbers; at most :data:`EVENTS_AT_A_TIME`."""
    rows = await connection.fetch(
        """select to_jsonb(e) as row from event e
             left join unnest($1::bigint[], $2::int[]) as k (run, seq) on k.run = e.run
            where e.seq > coalesce(k.seq, 0) order by e.at, e.run, e.seq limit $3""",
        list(after),
        list(after.values()),
        EVENTS_AT_A_TIME,
    )
    return [dict(record["row"]) for record in rows]


async def write_rows(connection: asyncpg.Connection, table: Recorded, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as they are, new or in place of old ones. Triggers and references rest: a recording is in order as it is."""
    if not rows:
        return
    await connection.execute("set local session_replication_role = replica")
    columns = [name for name in rows[0] if name.isidentifier()]
    if table is EVENT:
        settle = ""
    else:
        rest = [name for name in columns if name not in table.key]
        keys = ", ".join(table.key)
        settle = f"on conflict ({keys}) do " + (
            f"update set {', '.join(f'{name} = excluded.{name}' for name in rest)}" if rest else "nothing"
        )
    await connection.executemany(
        f"""insert into {table.name} ({", ".join(columns)}) overriding system value
            select {", ".join(f"r.{name}" for name in columns)}
              from jsonb_populate_record(null::{table.name}, $1::text::jsonb) r {settle}""",  # noqa: S608 - names of ours
        [(json.dumps(dict(row), ensure_ascii=True),) for row in rows],
    )


async def delete_row(connection: asyncpg.Connection, table: Recorded, key: Sequence[Any]) -> None:
    """Take one row out."""
    await connection.execute("set local session_replication_role = replica")
    where = " and ".join(f"{name}::text = ${n}" for n, name in enumerate(table.key, start=1))
    await connection.execute(f"delete from {table.name} where {where}", *(str(part) for part in key))  # noqa: S608 - names of ours


async def empty(connection: asyncpg.Connection, tables: Iterable[Recorded] = BY_NAME.values()) -> None:
    """Take all rows out."""
    await connection.execute(f"truncate {', '.join(table.name for table in tables)} cascade")


async def set_clock(connection: asyncpg.Connection, at: datetime) -> None:
    """Set the clock of a database that has had :data:`CLOCK`; of any other it stays the server's."""
    if await connection.fetchval("select to_regclass('replay.clock')") is not None:
        await connection.execute("update replay.clock set at = $1", at)
