"""What the calls cost that an agent tells of: its own figure where it states one, else the price of its tokens.

A call that did not pass the gateway belongs to no service, so its price is looked for in the offline list of
``genai-prices``, then among the prices that a person has set for services, and is at worst the dearest that any service
declares. A model that none of them knows has no price: whoever asks must say so, and never count it as nothing.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import Any

from core.budget.patterns import closest
from core.events import Event, EventKind
from storage.queries.budget import Basis, Service, Tokens
from storage.queries.shipments import Told

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """Micro-dollars of one call, rounded up, and where the figure comes from."""

    micro: int
    basis: Basis


def told_calls(events: Iterable[Event], services: Sequence[Service]) -> list[Told]:
    """The calls that the usage events among these tell of; one with neither cost nor tokens tells of none."""
    found = []
    for event in events:
        if event.kind is not EventKind.USAGE:
            continue
        data = event.data
        tokens = _tokens(data.get("tokens") or {})
        stated = data.get("cost_usd")
        if stated is None and not tokens.total:
            continue
        model = data.get("model")
        model = model[:200] if isinstance(model, str) and model else None
        price = (
            Price(_micro(Decimal(str(stated))), "estimated")
            if stated is not None
            else price_of(model, tokens, services)
        )
        note = None if price else unpriced(model)
        found.append(Told(model, tokens, price.micro if price else 0, price.basis if price else "imputed", note))
    return found


def price_of(model: str | None, tokens: Tokens, services: Sequence[Service]) -> Price | None:
    """The price of a call outside the gateway; None where nobody knows it."""
    if model:
        listed = _listed(model, tokens)
        if listed is not None:
            return Price(_micro(listed), "estimated")
        for service in services:
            own = closest(service.prices, model)
            if own is not None:
                return Price(_at(own, tokens), "estimated")
    worst = [_at(service.worst_price, tokens) for service in services if service.worst_price]
    return Price(max(worst), "imputed") if worst else None


def unpriced(model: str | None) -> str:
    """The sentence for a call whose price nobody knows."""
    named = f"the price of the model {model[:100]!r}" if model else "the model of a call"
    return (
        f"{named} is not known, so its dollars are not counted: let the agent state cost_usd, or set the price with"
        " `qd service price NAME MODEL --input USD --output USD` or a worst case with --worst"
    )


def _tokens(counts: Any) -> Tokens:
    read, write = int(counts.get("cache_read") or 0), int(counts.get("cache_write") or 0)
    return Tokens(
        input=int(counts.get("input") or 0),
        output=int(counts.get("output") or 0),
        cache_read=read,
        cache_write_5m=write,
    )


def _micro(usd: Decimal) -> int:
    return int((usd * MILLION).to_integral_value(rounding=ROUND_CEILING))


def _at(prices: Any, tokens: Tokens) -> int:
    from core.budget.prices import Used, own_card

    return own_card(json.dumps(prices, sort_keys=True), known=True).cost(Used(tokens))


@lru_cache(maxsize=1024)
def _listed(model: str, tokens: Tokens) -> Decimal | None:
    from genai_prices import Usage, calc_price

    usage = Usage(  # the list's input tokens are the total of all classes of input
        input_tokens=tokens.prompt,
        output_tokens=tokens.output,
        cache_read_tokens=tokens.cache_read,
        cache_write_tokens=tokens.cache_write_5m,
    )
    try:
        return Decimal(calc_price(usage, model_ref=model).total_price)
    except LookupError:
        return None
