"""Services: what costs money per use, with a budget, a key, and who stands in at its limit."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

import asyncpg

from config.errors import ConflictError, UsageError
from core.budget.rules import checked_zone
from core.commands.agent import ensure_default_agents
from core.commands.checks import Within
from core.commands.secret import check_key
from core.commands.service_views import Name, Service, find_service, shown_service, view_service
from core.commands.table import Context, Metavar, command
from core.commands.values import Line, Slug
from storage.database import Role
from storage.queries import limits, secrets, services
from storage.queries.budget import add_alert
from storage.queries.charges import micro

Provider = Literal["anthropic", "openai", "gemini", "other"]
Limit = Annotated[Decimal, Within(ge=0, max_digits=14, decimal_places=6)]


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
    budget: Annotated[Limit | None, "most that it may cost per month", Metavar("USD")] = None,
    fallback: Annotated[Slug | None, "service that answers when this one cannot", Metavar("NAME")] = None,
    quota: Annotated[bool, "a subscription: tokens, calls and runs count, dollars do not"] = False,
    catalogue: Annotated[Line | None, "price list of its models, such as groq or openrouter", Metavar("ID")] = None,
    model: Annotated[tuple[Line, ...], "models that it takes; without it, all of its protocol", Metavar("GLOB")] = (),
    map: Annotated[tuple[Line, ...], "model that it speaks in place of another", Metavar("GLOB=MODEL")] = (),  # noqa: A002
    no_stream_options: Annotated[bool, "it refuses the field by which a stream is asked for its usage"] = False,
    time_zone: Annotated[Line, "where its month begins", Metavar("ZONE")] = "UTC",
    starts_on: Annotated[int, Within(ge=1, le=28), "day on which its month begins"] = 1,
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
        "stream_options": not no_stream_options,
    }
    zone = checked_zone(time_zone)
    key = _key_from(ctx, key_env)
    async with ctx.db.transaction(ctx.who) as connection:
        if fallback:
            await find_service(connection, fallback)
        if fallback == name or not await services.insert_service(connection, name, columns):
            raise ConflictError(f"there is a service {name} already", "choose another name")
        await _limit(connection, name, budget, zone=zone, starts_on=starts_on)
        if key:
            await _keep_key(ctx, connection, name, key)
        added = await view_service(ctx, connection, name)
    await ctx.db.ring("service", "budget")
    await ensure_default_agents(ctx.db, ctx.who, ctx.paths, ctx.environ)
    return added


@command("service.list", role=Role.VIEWER)
async def list_services(ctx: Context) -> list[Service]:
    """List the services with what they have spent in this period."""
    async with ctx.db.transaction(ctx.who) as connection:
        keys = {name for project, name, _ in await secrets.list_secrets(connection, None) if not project}
        return [shown_service(row, keys) for row in await services.list_services(connection)]


@command("service.show", role=Role.VIEWER)
async def show_service(ctx: Context, name: Name) -> Service:
    """Show a service."""
    async with ctx.db.transaction(ctx.who) as connection:
        return await view_service(ctx, connection, name)


@command("service.edit", role=Role.SUPERVISOR)
async def edit_service(
    ctx: Context,
    name: Name,
    *,
    provider: Annotated[Provider | None, "whose protocol it speaks"] = None,
    base_url: Annotated[Line | None, "where it listens", Metavar("URL")] = None,
    no_base_url: Annotated[bool, "where the provider does"] = False,
    key_env: Annotated[Line | None, "variable that holds its new key", Metavar("VAR")] = None,
    budget: Annotated[Limit | None, "most that it may cost per month", Metavar("USD")] = None,
    no_budget: Annotated[bool, "it may cost anything"] = False,
    fallback: Annotated[Slug | None, "service that answers when this one cannot", Metavar("NAME")] = None,
    no_fallback: Annotated[bool, "nobody stands in for it"] = False,
    quota: Annotated[bool | None, "a subscription: tokens, calls and runs count, dollars do not"] = None,
    catalogue: Annotated[Line | None, "price list of its models", Metavar("ID")] = None,
    no_catalogue: Annotated[bool, "the price list of its provider"] = False,
    model: Annotated[tuple[Line, ...], "models that it takes; replaces all before", Metavar("GLOB")] = (),
    any_model: Annotated[bool, "it takes all models of its protocol"] = False,
    map: Annotated[tuple[Line, ...], "model in place of another; replaces all before", Metavar("GLOB=MODEL")] = (),  # noqa: A002
    no_map: Annotated[bool, "it speaks the models that are asked for"] = False,
    stream_options: Annotated[bool | None, "whether a stream can be asked for its usage"] = None,
    time_zone: Annotated[Line | None, "where its month begins", Metavar("ZONE")] = None,
    starts_on: Annotated[int | None, Within(ge=1, le=28), "day on which its month begins"] = None,
) -> Service:
    """Change a service. Calls that are under way end as they began; what is not given stays as it is."""
    columns = _changes(
        ("base_url", base_url, no_base_url),
        ("fallback", fallback, no_fallback),
        ("catalogue", catalogue, no_catalogue),
        ("models", list(model), any_model),
        ("model_map", mapping(map), no_map),
        ("provider", provider, False),
        ("key_env", key_env, False),
        ("stream_options", stream_options, False),
        ("kind", None if quota is None else "quota" if quota else "metered", False),
    )
    if budget is not None and no_budget:
        raise UsageError("the budget is both given and taken away", "say one of the two")
    limits = budget is not None or no_budget or time_zone is not None or starts_on is not None
    key = _key_from(ctx, key_env)
    async with ctx.db.transaction(ctx.who) as connection:
        before = await find_service(connection, name)
        if not (columns or limits):
            raise UsageError(f"nothing to change in service {name}", "see `qd service edit --help`")
        if {"base_url", "provider"} & set(columns):
            address = columns.get("base_url", before.base_url)
            columns["base_url"] = _checked_url(address, provider or before.provider)
        if fallback:
            await find_service(connection, fallback)
            loop = await services.fallback_loop(connection, name, fallback)
            if loop:
                raise ConflictError(
                    f"the fallbacks would go in a circle: {' → '.join(loop)}", "choose another fallback"
                )
        if limits:  # before the row: a reserve takes the lock of the rules first, too
            await _limit(connection, name, budget, no_budget, time_zone, starts_on)
        if columns:
            await services.update_service(connection, name, columns)
        if key:
            await _keep_key(ctx, connection, name, key)
        after = await view_service(ctx, connection, name)
    await ctx.db.ring("service", "budget")
    return after


@command("service.budget", role=Role.SUPERVISOR, says="service {name} may cost {budget_usd} USD per month")
async def budget_service(
    ctx: Context, name: Name, amount: Annotated[Limit, "most that it may cost per month"]
) -> Service:
    """Set the monthly budget of a service. An increase lets what waited for it go on at once."""
    async with ctx.db.transaction(ctx.who) as connection:
        await find_service(connection, name)
        await _limit(connection, name, amount)
        after = await view_service(ctx, connection, name)
    await ctx.db.ring("service", "budget")
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
        before = await view_service(ctx, connection, name)
        calls = await services.open_charges(connection, name)
        if calls:
            raise ConflictError(
                f"{calls} calls to service {name} are under way", f"`qd service suspend {name}` and wait for them"
            )
        await services.remove_service(connection, name)
        known = await secrets.list_secrets(connection, None)
        owners = [project for project, secret, _ in known if secret == service_key(name)]
        for project in owners:
            await secrets.unmark_secret(connection, project, service_key(name))
    store = open_store(ctx.paths, ctx.environ)
    for project in {"", *owners}:
        store.remove(service_key(name), project)
    await ctx.db.ring("service", "secret")
    return before


def _changes(*fields: tuple[str, Any, bool]) -> dict[str, Any]:
    """The columns that are set, of (column, its value, whether it is taken away). Raises UsageError."""
    empty: dict[str, Any] = {"models": [], "model_map": {}}
    columns = {}
    for field, value, taken in fields:
        given = value not in (None, [], {})
        if given and taken:
            raise UsageError(f"the {field.replace('_', ' ')} is both given and taken away", "say one of the two")
        if given or taken:
            columns[field] = empty.get(field) if taken else value
    return columns


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


async def _limit(
    connection: asyncpg.Connection,
    name: str,
    amount: Decimal | None = None,
    unlimited: bool = False,
    zone: str | None = None,
    starts_on: int | None = None,
) -> None:
    """Set what is given of the monthly budget; the rest of it stays."""
    old = next(iter(await limits.find_rules(connection, "service", name, "usd", "month")), None)
    kept = old.hard if old and not unlimited else None
    await limits.set_budget(
        connection,
        "service",
        name,
        "usd",
        "month",
        micro(amount) if amount is not None else kept,
        old.soft if old else None,
        zone=checked_zone(zone) if zone else (old.zone if old else "UTC"),
        starts_on=starts_on or (old.starts_on if old else 1),
    )


async def _switch(ctx: Context, name: str, columns: Mapping[str, Any]) -> Service:
    async with ctx.db.transaction(ctx.who) as connection:
        before = await find_service(connection, name)
        await services.update_service(connection, name, columns)
        if columns["suspended"] and not before.suspended:
            why = f": {columns['suspended_reason']}" if columns["suspended_reason"] else ""
            text = f"service {name} is suspended{why} ({ctx.who.actor})"
            await add_alert(connection, "suspended", "service", name, text, period=ctx.now())
        if columns["suspended"] is False:
            await services.close_circuit(connection, name)
        after = await view_service(ctx, connection, name)
    await ctx.db.ring("service", "budget")
    return after


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
    check_key(key)
    return key


async def _keep_key(ctx: Context, connection: asyncpg.Connection, service: str, key: str) -> None:
    from core.secrets import open_store, service_key

    open_store(ctx.paths, ctx.environ).put(service_key(service), key)
    await secrets.mark_secret(connection, "", service_key(service))
    await services.note_key(connection, service)
