"""Prints the price list of providers as JSON: run as a process of its own, for its memory.

``genai-prices`` holds a thousand models as objects, 80 MB of them; the gateway needs three providers of it. So a
short-lived process reads the list and prints what :mod:`core.budget.prices` keeps: for each provider, in the list's
order, every model with its matching rule, its prices by date, and the variants that a request may choose (service
tier, speed).

Usage: ``python -P -m core.budget.catalogue PROVIDER…``
"""

import json
import sys
from collections.abc import Iterable
from typing import Any


def dump(providers: Iterable[str]) -> dict[str, Any]:
    """The list of these providers, and of those that a provider borrows models from, as plain data."""
    from genai_prices import data_snapshot

    known = {provider.id: provider for provider in data_snapshot.get_snapshot().providers}
    book: dict[str, Any] = {}
    waiting = [name for name in providers if name in known]
    while waiting:
        provider = known[waiting.pop()]
        if provider.id in book:
            continue
        borrows = [name for name in provider.fallback_model_providers or [] if name in known]
        book[provider.id] = {"borrows": borrows, "models": [_model(model) for model in provider.models]}
        waiting += borrows
    return book


def _model(model: Any) -> dict[str, Any]:
    prices = model.prices if isinstance(model.prices, list) else None
    periods = (
        [{"when": _constraint(entry.constraint), "prices": _prices(entry.prices)} for entry in prices]
        if prices is not None
        else [{"when": None, "prices": _prices(model.prices)}]
    )
    variants = [
        {"choice": dict(variant.when), "when": _constraint(variant.constraint), "prices": _prices(variant.prices)}
        for variant in model.price_variants or []
        if "processing" not in variant.when  # batches do not pass the gateway
    ]
    return {
        "match": _match(model.match),
        "window": model.context_window,
        "periods": periods,
        "variants": variants,
    }


def _match(clause: Any) -> dict[str, Any]:
    name, value = next(iter(clause.__dict__.items()))
    if name in ("or_", "and_"):
        return {name.rstrip("_"): [_match(part) for part in value]}
    return {name: value}


def _constraint(constraint: Any) -> dict[str, str] | None:
    if constraint is None:
        return None
    if hasattr(constraint, "start_date"):
        return {"date": constraint.start_date.isoformat()}
    return {"from": constraint.start_time.isoformat(), "to": constraint.end_time.isoformat()}


def _prices(prices: Any) -> dict[str, Any]:
    found = {}
    for key, value in prices.__dict__.items():
        if value is None or key.startswith("_"):
            continue
        tiers = getattr(value, "tiers", None)
        found[key] = (
            str(value) if tiers is None else [str(value.base), [[tier.start, str(tier.price)] for tier in tiers]]
        )
    return found


if __name__ == "__main__":
    json.dump(dump(sys.argv[1:]), sys.stdout)
