"""What the models of a service cost, where the price list does not know it or knows it wrong."""

from decimal import Decimal
from typing import Annotated, Any

from config.errors import NotFoundError, UsageError
from core.budget.listed import LARGEST_WINDOW
from core.commands.checks import Within
from core.commands.service_views import Name, Service, find_service, view_service
from core.commands.table import Context, Metavar, command
from core.commands.values import Line
from storage.database import Role
from storage.queries import services

Price = Annotated[Decimal, Within(ge=0, max_digits=12, decimal_places=6)]


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
    search: Annotated[Price | None, "USD per thousand searches of the web", Metavar("USD")] = None,
    window: Annotated[int | None, Within(ge=1, le=LARGEST_WINDOW), "most tokens that the model takes"] = None,
    most_output: Annotated[int | None, Within(ge=1, le=LARGEST_WINDOW), "most tokens that the model says"] = None,
    worst: Annotated[bool, "what a model is billed at that nobody knows"] = False,
) -> Service:
    """Set what a model costs at a service, before the price list; with --worst, what an unknown model counts as.

    Of several patterns that fit a model the closest holds.
    """
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
        "search": search,
    }
    prices: dict[str, Any] = {field: float(price) for field, price in given.items() if price is not None}
    counts = {"window": window, "most_output": most_output}
    prices |= {field: number for field, number in counts.items() if number is not None}
    async with ctx.db.transaction(ctx.who) as connection:
        before = await find_service(connection, name)
        columns = {"worst_price": prices} if model is None else {"prices": {**before.prices, model: prices}}
        await services.update_service(connection, name, columns)
        after = await view_service(ctx, connection, name)
    await ctx.db.ring("service")
    return after


@command("service.unprice", role=Role.SUPERVISOR)
async def unprice_service(
    ctx: Context,
    name: Name,
    model: Annotated[Line | None, "model, or a pattern with *, as it was set", Metavar("GLOB")] = None,
    *,
    worst: Annotated[bool, "what a model is billed at that nobody knows"] = False,
) -> Service:
    """Take a price back that was set for a service: the price list holds again, or such a call is refused."""
    if (model is None) != worst:
        raise UsageError("it is not clear which price is meant", "name its model, or say --worst")
    async with ctx.db.transaction(ctx.who) as connection:
        before = await find_service(connection, name)
        if model is not None and model not in before.prices:
            raise NotFoundError(f"service {name} has no price for {model!r}", f"see `qd service show {name}`")
        prices = {glob: price for glob, price in before.prices.items() if glob != model}
        await services.update_service(connection, name, {"worst_price": None} if worst else {"prices": prices})
        after = await view_service(ctx, connection, name)
    await ctx.db.ring("service")
    return after
