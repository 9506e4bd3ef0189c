"""The words of rules: scopes, periods, zones and amounts, checked before the database is asked."""

import re
from decimal import Decimal
from typing import Literal
from zoneinfo import available_timezones

from config.errors import UsageError

PERIODS = ("month", "week", "day", "total")

_HOURS = re.compile(r"[1-9][0-9]{0,3}h", re.ASCII)


def checked_zone(name: str) -> str:
    """A time zone that exists. Raises UsageError."""
    if name not in available_timezones():
        raise UsageError(f"there is no time zone {name!r}", "write it as in Europe/Berlin or UTC")
    return name


def checked_period(text: str) -> str:
    """``month``, ``week``, ``day``, ``total``, or a window of hours such as ``5h``. Raises UsageError."""
    if text not in PERIODS and not _HOURS.fullmatch(text):
        raise UsageError(f"there is no period {text!r}", f"it is one of {', '.join(PERIODS)}, or hours such as 5h")
    return text


def amount_of(unit: str, value: Decimal) -> int:
    """An amount in the unit in which the database counts: micro-dollars, or whole things. Raises UsageError."""
    if unit == "usd":
        return round(value * 1_000_000)
    if value != int(value):
        raise UsageError(f"{value} {unit} cannot be counted", "write a whole number")
    return int(value)


def shown(unit: str, amount: int | None) -> Decimal | None:
    """An amount as people write it."""
    if amount is None:
        return None
    return Decimal(amount) / 1_000_000 if unit == "usd" else Decimal(amount)


def said(unit: str, amount: int) -> str:
    """An amount of the database in a sentence."""
    return f"${amount / 1e6:.2f}" if unit == "usd" else f"{amount:,} {unit}"


Label = Literal["measured", "estimated", "imputed"]


def label(spent: int, estimated: int, imputed: int) -> Label | None:
    """The weakest of what a sum is made of; None where nothing was spent."""
    if imputed:
        return "imputed"
    if estimated:
        return "estimated"
    return "measured" if spent else None
