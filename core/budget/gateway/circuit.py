"""Health of a service: what its answers say about it, and when it may be asked again.

A circuit is closed, open until a time, or half open: then one call tries. It opens at once where the provider says so
in its structured fields (a wrong key, an exhausted account, a rate limit with its reset), and after several failures
in a row else.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Any, Literal

from core.budget.wire.base import Fault, objects_in, table

FAILURES = 5
"""Failures in a row that open a circuit."""

KEY_SECONDS = 600.0
"""How long a service with a wrong key is left alone; a new key closes its circuit at once."""

QUOTA_SECONDS = 900.0
"""How long a provider whose own account is exhausted is left alone."""

LONGEST = 6 * 3600.0
"""A provider's reset is believed up to this many seconds."""

Kind = Literal["key", "quota", "rate", "server"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """What an answer says about the health of its service."""

    kind: Kind
    reason: str
    seconds: float | None = None
    """How long to leave it alone, where the provider says so."""


KEY_KINDS = {
    *("authentication_error", "permission_error", "invalid_api_key"),
    *("UNAUTHENTICATED", "PERMISSION_DENIED", "API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "CONSUMER_SUSPENDED"),
}
QUOTA_KINDS = {"billing_error", "insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
RATE_KINDS = {"rate_limit_error", "rate_limit_exceeded", "slow_down", "RESOURCE_EXHAUSTED"}
SERVER_WORDS = ("server", "overload", "internal", "unavailable", "timeout", "timed_out", "deadline", "api_error")
"""What the kinds of errors are called that say something about the service; all others are about the request."""

NO_CREDIT = "Your credit balance is too low"
"""How Anthropic says that an account is empty; the kind of that error is the one of a wrong request."""

WRONG_KEY = Trouble("key", "the provider does not accept the key", KEY_SECONDS)
EXHAUSTED = Trouble("quota", "the provider's own account is exhausted", QUOTA_SECONDS)


def trouble_of(status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> Trouble | None:
    """Judge an answer by its structured fields; None: the service is well (the request may be wrong all the same)."""
    if status < 400:
        return None
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = {}
    error = _error_in(value)
    kinds = {str(error.get(name)) for name in ("type", "code", "status")} | _reasons(error)
    if status == 401 or kinds & KEY_KINDS:
        return WRONG_KEY
    if status == 402 or kinds & QUOTA_KINDS or str(error.get("message")).startswith(NO_CREDIT):
        return EXHAUSTED
    if status == 429:
        return Trouble("rate", "the provider's rate limit is reached", reset_in(headers, error, now))
    if status >= 500 or status == 408:
        return Trouble("server", f"the provider answered {status}", retry_after(headers, now))
    return None


def trouble_in_stream(fault: Fault | None) -> Trouble | None:
    """Judge an error in the middle of an answer; None: it is the request's own, such as a context that is too long."""
    if fault is None:
        return None
    if fault.kind in KEY_KINDS:
        return WRONG_KEY
    if fault.kind in QUOTA_KINDS:
        return EXHAUSTED
    if fault.kind in RATE_KINDS:
        return Trouble("rate", "the provider's rate limit is reached")
    if fault.kind in ("error", "failed") or any(word in fault.kind.lower() for word in SERVER_WORDS):
        return Trouble("server", f"the provider broke off: {fault.kind}")
    return None


def _error_in(value: Any) -> Mapping[str, Any]:
    """The error object of an answer; Gemini wraps that of a stream into an array."""
    first = value[0] if isinstance(value, list) and value else value
    return table(table(first).get("error"))


def _reasons(error: Mapping[str, Any]) -> set[str]:
    """The reasons of Google's ``ErrorInfo`` (https://google.aip.dev/193)."""
    return {str(detail["reason"]) for detail in objects_in(error.get("details")) if "reason" in detail}


def reset_in(headers: Mapping[str, str], error: Mapping[str, Any], now: datetime) -> float | None:
    """Seconds until a rate limit is over, as the provider says; None when it does not.

    Read are ``retry-after``, Anthropic's ``anthropic-ratelimit-*-reset``, OpenAI's ``x-ratelimit-reset-*`` (of the
    limits that have nothing remaining) and Gemini's ``RetryInfo``.
    """
    found = [retry_after(headers, now)]
    for given, value in headers.items():
        name = given.lower()
        if not name.startswith(("anthropic-ratelimit-", "x-ratelimit-reset-")):
            continue
        if name.startswith("x-"):
            remaining = headers.get(name.replace("-reset-", "-remaining-"), "0")
            found.append(_duration(value) if remaining == "0" else None)
        elif name.endswith("-reset"):
            remaining = headers.get(name.removesuffix("-reset") + "-remaining", "0")
            found.append(_moment(value, now) if remaining == "0" else None)
    details = error.get("details")
    found.extend(
        _duration(str(table(detail).get("retryDelay", "")))
        for detail in (details if isinstance(details, list) else [])
        if str(table(detail).get("@type", "")).endswith("RetryInfo")
    )
    seconds = [value for value in found if value is not None]
    return min(max(seconds), LONGEST) if seconds else None


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """The header ``retry-after`` (seconds or a date) or ``retry-after-ms`` in seconds."""
    if (text := headers.get("retry-after-ms")) and (seconds := _number(text)) is not None:
        return min(seconds / 1000, LONGEST)
    text = headers.get("retry-after") or ""
    seconds = _number(text)
    if seconds is None and text:
        seconds = _moment(text, now)
    return None if seconds is None else min(max(seconds, 0.0), LONGEST)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _duration(text: str) -> float | None:
    """``1m30.5s``, ``250ms``, ``2h``."""
    parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:([\d.]+)s)?(?:([\d.]+)ms)?", text.strip())
    if not parts or not text.strip():
        return None
    hours, minutes, seconds, milliseconds = (_number(part or "0") or 0.0 for part in parts.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000


def _moment(text: str, now: datetime) -> float | None:
    """Seconds until a date (RFC 3339, RFC 1123 or Unix seconds)."""
    if (number := _number(text)) is not None:
        moment = datetime.fromtimestamp(min(number, 4e9), UTC)
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            try:
                moment = parsedate_to_datetime(text)
            except ValueError:
                return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - now).total_seconds(), 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """A call that was let through a circuit; what it says later counts only for the state in which it began."""

    epoch: int
    tries: bool = False
    """Whether it is the one that finds out if the service is well again."""


_EPOCHS = count()
"""Every state of every circuit has a number of its own."""


class Circuit:
    """The circuit of one service. Times come in as parameters."""

    def __init__(self, *, until: datetime | None = None, failures: int = 0, reason: str | None = None) -> None:
        self.until = until
        """Open until then; None: closed."""
        self.failures = failures
        self.reason = reason
        self.epoch = next(_EPOCHS)
        """Another one whenever it opens or closes."""
        self.told = False
        """Whether a person has heard that it is out of order, since it last was well."""
        self._probe: Passage | None = None

    @property
    def state(self) -> Literal["closed", "open", "half_open"]:
        """As it is stored and shown."""
        if self._probe is not None:
            return "half_open"
        return "open" if self.until else "closed"

    def enter(self, now: datetime) -> Passage | None:
        """Let a call pass; None when it may not. The first after the time is up is the one that tries."""
        if self.until is None:
            return Passage(self.epoch)
        if now < self.until or self._probe is not None:
            return None
        self._probe = Passage(self.epoch, tries=True)
        return self._probe

    def opens_in(self, now: datetime) -> float:
        """Seconds until a call may try."""
        if self.until is None:
            return 0.0
        return max((self.until - now).total_seconds(), 0.25 if self._probe is not None else 0.0)

    def succeed(self, passage: Passage) -> bool:
        """A call went well; True when that changed something. One that began before the circuit opened says nothing."""
        if passage.epoch != self.epoch:
            return False
        changed = self.until is not None or self.failures > 0
        self.put(until=None, failures=0, reason=None)
        return changed

    def fail(self, trouble: Trouble, now: datetime, passage: Passage) -> bool:
        """A call met trouble; True when the circuit is open now.

        One that began in an earlier state only lengthens a pause, where the provider has said how long it is.
        """
        until = self.until
        if passage.epoch != self.epoch:
            if until is not None and trouble.seconds is not None:
                self.until = max(until, now + timedelta(seconds=trouble.seconds))
            return until is not None
        failures = self.failures + 1
        if trouble.kind == "server" and failures < FAILURES and until is None:
            self.failures, self.reason = failures, trouble.reason
            return False
        excess = failures - (FAILURES if trouble.kind == "server" else 1)
        seconds = trouble.seconds if trouble.seconds is not None else min(5.0 * 2 ** max(min(excess, 6), 0), 300.0)
        again = now + timedelta(seconds=max(seconds, 0.5))
        self.put(until=max(until, again) if until else again, failures=failures, reason=trouble.reason)
        return True

    def is_tried_by(self, passage: Passage) -> bool:
        """Whether this is the call that tries."""
        return passage is self._probe

    def leave(self, passage: Passage) -> None:
        """A call ended; if it was the one that tried and it said nothing about the service, the next may try."""
        if passage is self._probe:
            self._probe = None

    def put(self, *, until: datetime | None, failures: int, reason: str | None) -> None:
        """Set the state, as somebody else has found it. Calls under way began in another one, if it opens or closes."""
        if until is not None or self.until is not None:
            self.epoch, self._probe = next(_EPOCHS), None
            self.told = self.told and until is not None
        self.until, self.failures, self.reason = until, failures, reason
