"""Token counts: disjoint classes, and only numbers that can be true."""

from collections.abc import Mapping
from typing import Any

CLASSES = ("input", "output", "cache_read", "cache_write")
"""The classes of tokens; each token of a call is in exactly one."""

TOKEN_LIMIT = 10**12
"""More tokens than any call has: a larger number is a mistake."""

COST_LIMIT = 10**6
"""USD; more than any call costs."""

ANTHROPIC_NAMES = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_input_tokens",
    "cache_write": "cache_creation_input_tokens",
}
"""Our classes by the names of the Messages API, which are disjoint there too."""


def token_count(value: Any) -> int | None:
    """The value as a number of tokens; None when it cannot be one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= TOKEN_LIMIT or value != int(value):
        return None
    return int(value)


def usage_fault(data: Mapping[str, Any]) -> str | None:
    """What is wrong with the data of a usage event, or None when it can be counted."""
    model, tokens, cost = data.get("model"), data.get("tokens", {}), data.get("cost_usd")
    if model is not None and not isinstance(model, str):
        return "model is not a text"
    if not isinstance(tokens, Mapping):
        return "tokens is not an object"
    for name, value in tokens.items():
        if name not in CLASSES:
            return f"tokens.{str(name)[:40]} is not one of {', '.join(CLASSES)}"
        if token_count(value) is None:
            return f"tokens.{name} is not a number of tokens"
    if cost is not None and (
        isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 <= cost <= COST_LIMIT
    ):
        return "cost_usd is not an amount in USD"
    if not tokens and cost is None:
        return "there are neither tokens nor cost_usd"
    return None


def anthropic_tokens(usage: Any) -> dict[str, int]:
    """Our classes of tokens out of a usage object of the Messages API; what is missing or impossible counts
    as 0.
    """
    given = usage if isinstance(usage, Mapping) else {}
    return {ours: token_count(given.get(theirs)) or 0 for ours, theirs in ANTHROPIC_NAMES.items()}
