"""What people see of a service."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

import asyncpg

from config.errors import NotFoundError
from core.budget.rules import Label, label
from core.commands.shown import Column
from core.commands.table import Context
from core.commands.values import Slug
from storage.queries import secrets, services
from storage.queries.charges import usd
from storage.queries.services import ServiceRow

Name = Annotated[Slug, "name of the service"]


@dataclass(frozen=True, slots=True)
class Service:
    """A service with the present period of its budget. ``reason``: why it is not active. ``basis``: the weakest that
    ``spent_usd`` is made of: measured, estimated or imputed, of which there are so many; null where nothing was spent.
    """

    name: str
    provider: str
    kind: str
    base_url: str | None
    budget_usd: Decimal | None
    spent_usd: Decimal
    reserved_usd: Decimal
    remaining_usd: Decimal | None
    status: Literal["active", "suspended", "exhausted", "down"]
    fallback: str | None
    period_start: datetime | None
    period_end: datetime | None
    reason: str | None
    has_key: bool
    models: tuple[str, ...]
    model_map: Mapping[str, str]
    prices: Mapping[str, Any]
    worst_price: Mapping[str, Any] | None
    stream_options: bool
    estimated_usd: Decimal
    imputed_usd: Decimal
    basis: Label | None
    columns: ClassVar[tuple[Column, ...]] = (
        Column("name", "name", "key"),
        Column("status", "status", "state"),
        Column("provider", "provider"),
        Column("budget", "budget_usd", "usd"),
        Column("spent", "spent_usd", "usd"),
        Column("basis", "basis", spare=1),
        Column("reserved", "reserved_usd", "usd"),
        Column("left", "remaining_usd", "usd"),
        Column("renewed", "period_end", "time"),
        Column("fallback", "fallback"),
        Column("key", "has_key", "yes"),
    )
    empty: ClassVar[str] = (
        "no services; add one with: qd service add NAME --provider anthropic --key-env ANTHROPIC_API_KEY"
    )


async def find_service(connection: asyncpg.Connection, name: str) -> ServiceRow:
    """The row of a service. Raises NotFoundError."""
    found = await services.find_service(connection, name)
    if found is None:
        raise NotFoundError(f"there is no service {name!r}", "see `qd service list`")
    return found


async def view_service(ctx: Context, connection: asyncpg.Connection, name: str) -> Service:  # noqa: ARG001 - as all views
    """A service as people see it. Raises NotFoundError."""
    keys = {secret for project, secret, _ in await secrets.list_secrets(connection, None) if not project}
    return shown_service(await find_service(connection, name), keys)


def shown_service(row: ServiceRow, keys: set[str]) -> Service:
    """A row as people see it; ``keys``: the names of the secrets that there are."""
    status: Literal["active", "suspended", "exhausted", "down"] = "active"
    reason = None
    if row.suspended:
        status, reason = "suspended", row.suspended_reason
    elif row.exhausted:
        status, reason = "exhausted", "its budget is used up"
    elif row.circuit == "open":
        status, reason = "down", row.circuit_reason
    return Service(
        name=row.name,
        provider=row.provider,
        kind=row.kind,
        base_url=row.base_url,
        budget_usd=usd(row.hard) if row.hard is not None else None,
        spent_usd=usd(row.spent),
        reserved_usd=usd(row.reserved),
        remaining_usd=usd(max(row.hard - row.spent - row.reserved, 0)) if row.hard is not None else None,
        status=status,
        fallback=row.fallback,
        period_start=row.starts,
        period_end=row.ends,
        reason=reason,
        has_key=f"service.{row.name}" in keys,
        models=row.models,
        model_map=row.model_map,
        prices=row.prices,
        worst_price=row.worst_price,
        stream_options=row.stream_options,
        estimated_usd=usd(row.estimated),
        imputed_usd=usd(row.imputed),
        basis=label(row.spent, row.estimated, row.imputed),
    )
