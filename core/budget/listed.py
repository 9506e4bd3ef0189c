"""How the price list of ``genai-prices`` is read: which entry a model's name finds, and which of its prices hold now.

The list itself is plain data from :mod:`core.budget.catalogue`. The rules are those of the package (``types.py``
there): the first model that matches, the last period that is active, dates and times of day in UTC; a test holds them
against it.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import ROUND_CEILING, Decimal
from typing import Any

LARGEST_WINDOW = 100_000_000
"""With prices below a million USD per million tokens, every bound of a call fits into the 64 bits of the ledger."""


def find(book: Mapping[str, Any], provider: str, model: str) -> Mapping[str, Any] | None:
    """The entry of a model, in the provider's own list or in one that it borrows from."""
    return _find(book, provider, model.lower()) or _find(book, provider, _dashed(model.lower()))


def _find(book: Mapping[str, Any], provider: str, model: str) -> Mapping[str, Any] | None:
    if provider not in book:
        return None
    for source in [provider, *book[provider]["borrows"]]:
        for entry in book.get(source, {}).get("models", ()):
            if _matches(entry["match"], model):
                found: Mapping[str, Any] = entry
                return found
    return None


def prices_at(entry: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
    """The prices of an entry that hold now."""
    periods = entry["periods"]
    found: Mapping[str, Any] = next(
        (period["prices"] for period in reversed(periods) if active(period["when"], now)), periods[0]["prices"]
    )
    return found


def price_above(value: Any, start: int) -> int | None:
    """A price in micro-dollars per million, for prompts of more than ``start`` tokens; None where the list has none."""
    if value is None:
        return None
    if not isinstance(value, list):
        return micro(value)
    chosen = value[0]
    for tier, price in value[1]:
        if tier <= start:
            chosen = price
    return micro(chosen)


def micro(usd: Any) -> int:
    """USD as whole micro-dollars, rounded up."""
    return int((Decimal(str(usd)) * 1_000_000).to_integral_value(rounding=ROUND_CEILING))


def active(when: Mapping[str, str] | None, now: datetime) -> bool:
    """Whether a constraint holds now."""
    if when is None:
        return True
    now = now.astimezone(UTC)
    if "date" in when:
        return now.date() >= date.fromisoformat(when["date"])
    start, end = (_utc(time.fromisoformat(when[name])) for name in ("from", "to"))
    moment = now.timetz()
    return (moment >= start or moment < end) if end < start else start <= moment < end


def by_the_hour(entry: Mapping[str, Any]) -> bool:
    """Whether the prices of an entry change within a day."""
    return any(part["when"] and "from" in part["when"] for part in (*entry["periods"], *entry["variants"]))


def _utc(value: time) -> time:
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return datetime.combine(date(1970, 1, 1), value).astimezone(UTC).timetz()


def _matches(clause: Mapping[str, Any], model: str) -> bool:
    (kind, value), *_ = clause.items()
    match kind:
        case "or":
            return any(_matches(part, model) for part in value)
        case "and":
            return all(_matches(part, model) for part in value)
        case "equals":
            return model == str(value).lower()
        case "starts_with":
            return model.startswith(value.lower())
        case "ends_with":
            return model.endswith(value.lower())
        case "contains":
            return value.lower() in model
        case _:
            return re.search(value, model) is not None


def _dashed(model: str) -> str:
    """A compact date (``-20251211``) as the list writes it."""
    return re.sub(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)", r"-\1-\2-\3", model)
