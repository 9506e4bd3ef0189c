"""Charges: the ledger of what was spent, by whom, on what."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, ClassVar, Literal
from uuid import UUID, uuid4

import asyncpg

from config.errors import ConflictError, NotFoundError, UsageError
from core.budget.rules import Label, label
from core.commands.checks import Within
from core.commands.shown import Column
from core.commands.table import Context, command
from core.commands.values import Line, Slug, TaskRef, Time, Usd
from storage.database import Role
from storage.queries import charges
from storage.queries.charges import ChargeRow, micro, usd


@dataclass(frozen=True, slots=True)
class Charge:
    """One entry of the ledger.

    ``status``: reserved, settled, released, or presumed (its gateway ended before the call did). ``basis``: measured
    (the provider's own count), estimated (what was seen of it, or what an agent tells of a call past the gateway),
    imputed (a declared or reserved worst case). ``kind``: call, reported (past the gateway), or manual.
    """

    id: UUID
    service: str | None
    project: str | None
    task: int | None
    run: UUID | None
    model: str | None
    kind: str
    reserved_usd: Decimal
    cost_usd: Decimal
    tokens: Mapping[str, int]
    status: str
    at: datetime
    basis: str | None
    agent: str | None
    instead_of: str | None
    note: str | None
    columns: ClassVar[tuple[Column, ...]] = (
        Column("at", "at", "time"),
        Column("service", "service", "key"),
        Column("model", "model"),
        Column("project", "project"),
        Column("task", "task", "count"),
        Column("agent", "agent"),
        Column("in", "tokens.input", "count"),
        Column("out", "tokens.output", "count"),
        Column("cost", "cost_usd", "usd"),
        Column("status", "status", "state"),
        Column("basis", "basis"),
    )
    empty: ClassVar[str] = "nothing has been spent; calls of agents appear here as they pass the gateway"


@dataclass(frozen=True, slots=True)
class Sum:
    """What was spent on one thing: in all, and of it what providers counted (``measured``), what was seen of broken
    calls (``estimated``), and what was taken at a declared or reserved worst case (``imputed``).
    """

    name: str | None
    calls: int
    cost_usd: Decimal
    measured_usd: Decimal
    estimated_usd: Decimal
    imputed_usd: Decimal
    reserved_usd: Decimal
    tokens_prompt: int
    tokens_output: int
    basis: Label | None
    """The weakest that ``cost_usd`` is made of; null where it is nothing."""
    columns: ClassVar[tuple[Column, ...]] = (
        Column("name", "name", "key"),
        Column("calls", "calls", "count"),
        Column("cost", "cost_usd", "usd"),
        Column("measured", "measured_usd", "usd", 2),
        Column("estimated", "estimated_usd", "usd", 1),
        Column("imputed", "imputed_usd", "usd", 1),
        Column("reserved", "reserved_usd", "usd"),
        Column("tokens in", "tokens_prompt", "count"),
        Column("out", "tokens_output", "count"),
    )
    empty: ClassVar[str] = "nothing has been spent"


@command("charge.list", role=Role.VIEWER)
async def list_charges(
    ctx: Context,
    *,
    service: Annotated[Slug | None, "of this service"] = None,
    project: Annotated[Slug | None, "of this project"] = None,
    task: Annotated[TaskRef | None, "of this task"] = None,
    since: Annotated[Time | None, "not before"] = None,
    limit: Annotated[int, Within(ge=1, le=100_000), "at most so many"] = 200,
) -> list[Charge]:
    """List charges, the newest first."""
    async with ctx.db.transaction(ctx.who) as connection:
        number = task
        if isinstance(task, UUID):
            number = await connection.fetchval("select task from task_body where id = $1", task)
            if number is None:
                raise NotFoundError(f"there is no task {task}", "see `qd task list`")
        assert not isinstance(number, UUID)
        found = await charges.list_charges(
            connection, service=service, project=project, task=number, since=since, limit=limit
        )
    return [_shown(row) for row in found]


@command("charge.sum", role=Role.VIEWER)
async def sum_charges(
    ctx: Context,
    by: Annotated[Literal["service", "project", "task", "agent", "model", "day"], "what is summed up"] = "service",
    *,
    since: Annotated[Time | None, "not before"] = None,
) -> list[Sum]:
    """Sum up what was spent, the dearest first."""
    async with ctx.db.transaction(ctx.who) as connection:
        found = await charges.sum_charges(connection, by, since)
    return [
        Sum(
            row.name,
            row.calls,
            usd(row.cost_micro),
            usd(row.cost_micro - row.estimated_micro - row.imputed_micro),
            usd(row.estimated_micro),
            usd(row.imputed_micro),
            usd(row.reserved_micro),
            row.tokens_prompt,
            row.tokens_output,
            label(row.cost_micro, row.estimated_micro, row.imputed_micro),
        )
        for row in found
    ]


@command("charge.add", role=Role.SUPERVISOR)
async def add_charge(
    ctx: Context,
    service: Annotated[Slug, "service that it was spent on"],
    amount: Annotated[Usd, "how much"],
    *,
    project: Annotated[Slug | None, "for this project"] = None,
    task: Annotated[int | None, Within(ge=1), "for this task, by its number"] = None,
    note: Annotated[Line | None, "what for"] = None,
) -> Charge:
    """Enter what was spent on a service outside the gateway. Refused beyond a limit, like every charge."""
    charge = uuid4()
    async with ctx.db.transaction(ctx.who) as connection:
        project = await _project_of(connection, project, task)
        outcome, key = await charges.manual_charge(
            connection, charge, service, project, task, micro(amount), note, ctx.who.actor
        )
        if outcome == "unknown":
            raise NotFoundError(f"there is no service {service!r}", "see `qd service list`")
        if outcome == "granted":
            row = await charges.find_charge(connection, charge)
            assert row is not None
            added = _shown(row)
    if outcome != "granted":
        raise ConflictError(
            f"${amount} does not fit the budget of {key or service} ({outcome})", "raise it with `qd budget set`"
        )
    await ctx.db.ring("charge", "budget")
    return added


async def _project_of(connection: asyncpg.Connection, project: str | None, task: int | None) -> str | None:
    """The project that a charge is for: a task's own. Raises NotFoundError, UsageError where both do not fit."""
    if project and not await connection.fetchval("select exists (select 1 from project where id = $1)", project):
        raise NotFoundError(f"there is no project {project!r}", "see `qd project list`")
    if task is None:
        return project
    own: str | None = await connection.fetchval("select project from task where number = $1", task)
    if own is None:
        raise NotFoundError(f"there is no task {task}", "see `qd task list`")
    if project not in (None, own):
        raise UsageError(f"task #{task} is of project {own}, not of {project}", "leave --project out")
    return own


def _shown(row: ChargeRow) -> Charge:
    return Charge(
        id=row.id,
        service=row.service,
        project=row.project,
        task=row.task,
        run=row.run,
        model=row.model,
        kind=row.kind,
        reserved_usd=usd(row.reserved_micro),
        cost_usd=usd(row.cost_micro),
        tokens={
            "input": row.tokens_input,
            "output": row.tokens_output,
            "cache_read": row.tokens_cache_read,
            "cache_write": row.tokens_cache_write_5m + row.tokens_cache_write_1h,
            "cache_write_5m": row.tokens_cache_write_5m,
            "cache_write_1h": row.tokens_cache_write_1h,
            "thinking": row.tokens_thinking,
        },
        status=row.status,
        at=row.at,
        basis=row.basis,
        agent=row.agent,
        instead_of=row.instead_of,
        note=row.note,
    )
