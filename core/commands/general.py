"""The words that stand alone: how everything stands, and which version this is."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from core import version as program_version
from core.commands.shown import Column
from core.commands.table import Context, command
from core.engine.identity import engine_name, is_held
from storage.database import Role
from storage.queries import status as rows
from storage.source import find_database


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """One engine; ``state`` is ``dead`` when its lease has run out under it."""

    state: str
    pid: int
    host: str
    version: str
    started_at: datetime
    columns: ClassVar[tuple[Column, ...]] = (
        Column("state", "state", "state"),
        Column("pid", "pid"),
        Column("host", "host"),
        Column("started", "started_at", "time"),
    )


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """Where the database is; ``url`` without its password."""

    mode: str
    version: str
    url: str


@dataclass(frozen=True, slots=True)
class Spend:
    """What the ledger has as spent, in USD, since midnight and since the first of the month (local time)."""

    today_usd: Decimal
    month_usd: Decimal
    today_basis: str | None
    month_basis: str | None


@dataclass(frozen=True, slots=True)
class Status:
    """How everything stands."""

    engine: EngineStatus | None
    engines: tuple[EngineStatus, ...]
    database: DatabaseStatus
    tasks: dict[str, int]
    runs: dict[str, int]
    questions: int
    spend: Spend

    unset: ClassVar[Mapping[str, str]] = {"engine": "none runs on this host; start it with: qd up"}


@dataclass(frozen=True, slots=True)
class Version:
    """Which program this is."""

    version: str
    python: str
    platform: str


@command("status", role=Role.VIEWER)
async def status(ctx: Context) -> Status:
    """Show how everything stands: engine, database, queue, runs, spend."""
    now = ctx.now().astimezone()
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    async with ctx.db.transaction(ctx.who) as connection:
        engines = await rows.engines(connection)
        counts = await rows.counts(connection, day, day.replace(day=1))
        version = await rows.server_version(connection)
    source = find_database(ctx.paths, ctx.environ)
    mine = next((one for one in engines if one.name == engine_name(ctx.paths.state) and one.alive), None)
    if mine and not is_held(ctx.paths.engine_lock):  # killed: its lease outlives it
        engines = [replace(one, alive=False) if one is mine else one for one in engines]
        mine = None
    return Status(
        engine=_engine(mine) if mine else None,
        engines=tuple(_engine(one) for one in engines if one.alive or one.state == "running"),
        database=DatabaseStatus("embedded" if source.embedded else "external", version, source.shown),
        tasks=counts.tasks,
        runs=counts.runs,
        questions=counts.questions,
        spend=Spend(counts.today_usd, counts.month_usd, counts.today_basis, counts.month_basis),
    )


@command("version", role=Role.VIEWER, offline=True, says="qd {version} (Python {python}, {platform})")
async def version(ctx: Context) -> Version:  # noqa: ARG001 - every command has a context
    """Show the version of the program."""
    return Version(program_version(), platform.python_version(), f"{platform.system()} {platform.machine()}")


def _engine(row: rows.EngineRow) -> EngineStatus:
    state: Any = row.state if row.alive or row.state != "running" else "dead"
    return EngineStatus(state, row.pid, row.host, row.version, row.started_at)
