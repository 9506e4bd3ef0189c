"""Services: what costs money per use, with a budget, a key, and who stands in at its limit."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

import asyncpg
from pydantic import Field

from config.errors import ConflictError, NotFoundError, UsageError
from core.budget.rules import checked_zone
from core.commands.shown import Column
from core.commands.table import Context, Metavar, command
from core.commands.values import Line, Slug, Usd
from storage.database import Role
from storage.queries import services as rows
from storage.queries.services import ServiceRow, micro, usd

Name = Annotated[Slug, "name of the service"]
Provider = Literal["anthropic", "openai", "gemini", "other"]
Price = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=6)]


@dataclass(frozen=True, slots=True)
class Service:
    """A service with the present period of its budget. ``reason``: why it is not active."""

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
    columns: ClassVar[tuple[Column, ...]] = (
        Column("name", "name", "key"),
        Column("status", "status", "state"),
        Column("provider", "provider"),
        Column("budget", "budget_usd", "usd"),
        Column("spent", "spent_usd", "usd"),
        Column("reserved", "reserved_usd", "usd"),
        Column("left", "remaining_usd", "usd"),
        Column("renewed", "period_end", "time"),
        Column("fallback", "fallback"),
        Column("key", "has_key", "yes"),
    )
    empty: ClassVar[str] = (
        "no services; add one with: qd service add NAME --provider anthropic --key-env ANTHROPIC_API_KEY"
    )


@command("service.add", role=Role.SUPERVISOR)
async def add_service(
    ctx: Context,
    name: Name,
    *,
    provider: Annotated[Provider, "whose protocol it speaks; other: the one of OpenAI, by somebody else"],
    base_url: Annotated[Line | None, "where it listens, if not where the provider does", Metavar("URL")] = None,
    key_env: Annotated[
        Line | None, "variable that holds its key; it is copied to the secret store", Metavar("VAR")
    ] = None,
    budget: Annotated[Usd | None, "most that it may cost per month", Metavar("USD")] = None,
    fallback: Annotated[Slug | None, "service that answers when this one cannot", Metavar("NAME")] = None,
    quota: Annotated[bool, "a subscription: tokens, calls and runs count, dollars do not"] = False,
    catalogue: Annotated[Line | None, "price list of its models, such as groq or openrouter", Metavar("ID")] = None,
    model: Annotated[tuple[Line, ...], "models that it takes; without it, all of its protocol", Metavar("GLOB")] = (),
    map: Annotated[tuple[Line, ...], "model that it speaks in place of another", Metavar("GLOB=MODEL")] = (),  # noqa: A002
    time_zone: Annotated[Line, "where its month begins", Metavar("ZONE")] = "UTC",
    starts_on: Annotated[int, Field(ge=1, le=28), "day on which its month begins"] = 1,
) -> Service:
    """Add a service.

    Its key goes to the secret store: from the variable of --key-env, or with `qd secret set service.NAME`. Agents
    never see it.
    """
    columns: dict[str, Any] = {
        "provider": provider,
        "kind": "quota" if quota else "metered",
        "base_url": _checked_url(base_url, provider),
        "key_env": key_env,
        "fallback": fallback,
        "catalogue": catalogue,
        "models": list(model),
        "model_map": mapping(map),
    }
    zone = checked_zone(time_zone)
    key = _key_from(ctx, key_env)
    async with ctx.db.transaction(ctx.who) as connection:
        if fallback:
            await _find(connection, fallback)
        if fallback == name or not await rows.insert_service(connection, name, columns):
            raise ConflictError(f"there is a service {name} already", "choose another name")
        await rows.set_budget(
            connection,
            "service",
            name,
            "usd",
            "month",
            micro(budget) if budget else None,
            None,
            zone=zone,
            starts_on=starts_on,
        )
        if key:
            await _keep_key(ctx, connection, name, key)
        added = await _view(ctx, connection, name)
    await ctx.db.ring("service", "budget")
    return added


@command("service.list", role=Role.VIEWER)
async def list_services(ctx: Context) -> list[Service]:
    """List the services with what they have spent in this period."""
    async with ctx.db.transaction(ctx.who) as connection:
        keys = {name for project, name, _ in await rows.list_secrets(connection, None) if not project}
        return [_shown(row, keys) for row in await rows.list_services(connection)]


@command("service.show", role=Role.VIEWER)
async def show_service(ctx: Context, name: Name) -> Service:
    """Show a service."""
    async with ctx.db.transaction(ctx.who) as connection:
        return await _view(ctx, connection, name)


@command("service.edit", role=Role.SUPERVISOR)
async def edit_service(
    ctx: Context,
    name: Name,
    *,
    base_url: Annotated[Line | None, "where it listens", Metavar("URL")] = None,
    key_env: Annotated[Line | None, "variable that holds its new key", Metavar("VAR")] = None,
    fallback: Annotated[Slug | None, "service that answers when this one cannot", Metavar("NAME")] = None,
    no_fallback: Annotated[bool, "nobody stands in for it"] = False,
    catalogue: Annotated[Line | None, "price list of its models", Metavar("ID")] = None,
    model: Annotated[tuple[Line, ...], "models that it takes; replaces all before", Metavar("GLOB")] = (),
    map: Annotated[tuple[Line, ...], "model in place of another; replaces all before", Metavar("GLOB=MODEL")] = (),  # noqa: A002
) -> Service:
    """Change a service. Calls that are under way end as they began."""
    columns: dict[str, Any] = {}
    if fallback and no_fallback:
        raise UsageError("a fallback is both given and taken away", "say one of the two")
    if fallback or no_fallback:
        columns["fallback"] = fallback
    if catalogue:
        columns["catalogue"] = catalogue
    if model:
        columns["models"] = list(model)
    if map:
        columns["model_map"] = mapping(map)
    if key_env:
        columns["key_env"] = key_env
    key = _key_from(ctx, key_env)
    async with ctx.db.transaction(ctx.who) as connection:
        before = await _find(connection, name)
        if base_url:
            columns["base_url"] = _checked_url(base_url, before.provider)
        if not columns:
            raise UsageError(f"nothing to change in service {name}", "see `qd service edit --help`")
        if fallback:
            await _find(connection, fallback)
            loop = await rows.fallback_loop(connection, name, fallback)
            if loop:
                raise ConflictError(
                    f"the fallbacks would go in a circle: {' → '.join(loop)}", "choose another fallback"
                )
        await rows.update_service(connection, name, columns)
        if key:
            await _keep_key(ctx, connection, name, key)
        after = await _view(ctx, connection, name)
    await ctx.db.ring("service")
    return after


@command("service.budget", role=Role.SUPERVISOR, says="service {name} may cost {budget_usd} USD per month")
async def budget_service(
    ctx: Context, name: Name, amount: Annotated[Usd, "most that it may cost per month"]
) -> Service:
    """Set the monthly budget of a service. An increase lets what waited for it go on at once."""
    async with ctx.db.transaction(ctx.who) as connection:
        await _find(connection, name)
        old = next(
            (
                row
                for row in await rows.list_budgets(connection, "service")
                if (row.key, row.unit, row.period) == (name, "usd", "month")
            ),
            None,
        )
        zone, starts_on = (old.zone, old.starts_on) if old else ("UTC", 1)
        soft = old.soft if old else None
        await rows.set_budget(
            connection, "service", name, "usd", "month", micro(amount), soft, zone=zone, starts_on=starts_on
        )
        after = await _view(ctx, connection, name)
    await ctx.db.ring("service", "budget")
    return after


@command("service.price", role=Role.SUPERVISOR)
async def price_service(
    ctx: Context,
    name: Name,
    model: Annotated[Line | None, "model, or a pattern with *", Metavar("GLOB")] = None,
    *,
    input: Annotated[Price, "USD per million tokens of input", Metavar("USD")],  # noqa: A002
    output: Annotated[Price, "USD per million tokens of output", Metavar("USD")],
    cache_read: Annotated[Price | None, "read from the cache", Metavar("USD")] = None,
    cache_write_5m: Annotated[Price | None, "written to the cache for five minutes", Metavar("USD")] = None,
    cache_write_1h: Annotated[Price | None, "written to the cache for an hour", Metavar("USD")] = None,
    window: Annotated[int | None, Field(ge=1), "most tokens that the model takes"] = None,
    worst: Annotated[bool, "what a model is billed at that nobody knows"] = False,
) -> Service:
    """Set what a model costs at a service, before the price list; with --worst, what an unknown model counts as."""
    if (model is None) != worst:
        raise UsageError(
            "it is not clear which model is meant", "name a model, or say --worst for those that nobody knows"
        )
    given = {
        "input": input,
        "output": output,
        "cache_read": cache_read,
        "cache_write_5m": cache_write_5m,
        "cache_write_1h": cache_write_1h,
    }
    prices: dict[str, Any] = {field: float(price) for field, price in given.items() if price is not None}
    if window:
        prices["window"] = window
    async with ctx.db.transaction(ctx.who) as connection:
        before = await _find(connection, name)
        columns = {"worst_price": prices} if model is None else {"prices": {**before.prices, model: prices}}
        await rows.update_service(connection, name, columns)
        after = await _view(ctx, connection, name)
    await ctx.db.ring("service")
    return after


@command("service.suspend", role=Role.SUPERVISOR, says="service {name} is {status}")
async def suspend_service(ctx: Context, name: Name, *, reason: Annotated[Line | None, "why"] = None) -> Service:
    """Send no more calls to a service. Its fallback answers; without one, runs wait."""
    return await _switch(ctx, name, {"suspended": True, "suspended_reason": reason})


@command("service.resume", role=Role.SUPERVISOR, says="service {name} is {status}")
async def resume_service(ctx: Context, name: Name) -> Service:
    """Send calls to a service again, also to one that was out of order."""
    return await _switch(ctx, name, {"suspended": False, "suspended_reason": None, "exhausted_until": None})


@command("service.remove", role=Role.SUPERVISOR, destructive=True, says="service {name} is removed")
async def remove_service(ctx: Context, name: Name) -> Service:
    """Remove a service, its budget and its key. What was charged stays in the ledger."""
    from core.secrets import open_store, service_key

    async with ctx.db.transaction(ctx.who) as connection:
        before = await _view(ctx, connection, name)
        calls = await rows.open_charges(connection, name)
        if calls:
            raise ConflictError(
                f"{calls} calls to service {name} are under way", f"`qd service suspend {name}` and wait for them"
            )
        await rows.remove_service(connection, name)
        await rows.unmark_secret(connection, "", service_key(name))
    open_store(ctx.paths, ctx.environ).remove(service_key(name))
    await ctx.db.ring("service", "secret")
    return before


def mapping(pairs: tuple[str, ...]) -> dict[str, str]:
    """``GLOB=MODEL`` as a table. Raises UsageError."""
    table = {}
    for pair in pairs:
        glob, found, model = pair.partition("=")
        if not (found and glob.strip() and model.strip()):
            raise UsageError(
                f"the mapping {pair!r} is none", "write GLOB=MODEL, such as 'claude-opus-*=claude-haiku-4-5'"
            )
        table[glob.strip()] = model.strip()
    return table


async def _switch(ctx: Context, name: str, columns: Mapping[str, Any]) -> Service:
    async with ctx.db.transaction(ctx.who) as connection:
        await _find(connection, name)
        await rows.update_service(connection, name, columns)
        if columns["suspended"] is False:
            await rows.close_circuit(connection, name)
        after = await _view(ctx, connection, name)
    await ctx.db.ring("service", "budget")
    return after


async def _find(connection: asyncpg.Connection, name: str) -> ServiceRow:
    found = await rows.find_service(connection, name)
    if found is None:
        raise NotFoundError(f"there is no service {name!r}", "see `qd service list`")
    return found


async def _view(ctx: Context, connection: asyncpg.Connection, name: str) -> Service:  # noqa: ARG001 - as all views
    keys = {secret for project, secret, _ in await rows.list_secrets(connection, None) if not project}
    return _shown(await _find(connection, name), keys)


def _shown(row: ServiceRow, keys: set[str]) -> Service:
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
    )


def _checked_url(url: str | None, provider: str) -> str | None:
    from urllib.parse import urlsplit

    if url is None:
        if provider == "other":
            raise UsageError("a service of another provider needs --base-url", "such as https://api.groq.com/openai/v1")
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise UsageError(f"the address {url!r} is none", "write https://HOST/PATH, without a key in it")
    return url.rstrip("/")


def _key_from(ctx: Context, variable: str | None) -> str | None:
    if variable is None:
        return None
    key = ctx.environ.get(variable, "").strip()
    if not key:
        raise UsageError(
            f"the variable {variable} is not set here", "set it for this command, or use `qd secret set service.NAME`"
        )
    return key


async def _keep_key(ctx: Context, connection: asyncpg.Connection, service: str, key: str) -> None:
    from core.secrets import open_store, service_key

    open_store(ctx.paths, ctx.environ).put(service_key(service), key)
    await rows.mark_secret(connection, "", service_key(service))
