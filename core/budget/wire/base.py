"""What all protocols have in common: demands, faults, readers of answers, and the bound of a prompt."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from core.budget.prices import Used
from storage.queries.budget import Tokens

OVERHEAD = 2_000
"""Tokens that a provider puts before a prompt of its own: the instructions for tools (Anthropic documents up to
735).
"""

SEARCHES = 5
"""Uses of a provider's own tool that a request is allowed when it does not say how many: it is sent on with this limit."""

LOOP = 10
"""Rounds through the model that a provider makes of its own accord in one request, where no limit can be asked for:
https://platform.claude.com/docs/en/agents-and-tools/tool-use/server-tools (``pause_turn``).
"""

SEARCH_TOKENS = 10_000
"""Tokens that the results of one search add to the prompt. OpenAI documents 8,000; Anthropic gives no bound, and what
goes beyond is settled at its true price all the same.
"""

MOST_ROUNDS = 1_000
MOST_CHOICES = 128
MOST_NAME = 200
"""Characters of a model's name. What goes beyond these is no request that a provider would take."""

KEEP = 64_000_000
"""Bytes of an answer that are kept for reading its usage; an answer beyond it is settled by estimate."""


class Refusal(StrEnum):
    """Why the gateway says no."""

    BUDGET = "budget"
    TOKEN = "token"  # noqa: S105 - a reason, not a secret
    REQUEST = "request"
    NOT_FOUND = "not_found"
    TOO_LARGE = "too_large"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Demand:
    """What a request asks for, as far as it can cost something."""

    model: str
    stream: bool
    output: int | None
    """Most tokens of output per answer; None: as many as the model can."""
    least: int = 1
    """Fewer tokens of output make no sense: the request would be refused."""
    choices: int = 1
    """Answers asked for."""
    writes_5m: bool = False
    writes_1h: bool = False
    searches: int = 0
    """Most searches of the web, which have a price of their own."""
    fees: int = 0
    """Most micro-dollars for tools of the provider's that have a fixed price."""
    others: tuple[str, ...] = ()
    """Models that may speak beside the one that is asked, or in its place."""
    rounds: int = 0
    """Times that the provider may send the prompt through the model once more, for tools of its own."""
    grows: int = 0
    """Tokens that each of these rounds adds to the prompt."""
    opaque: bool = False
    """It refers to things whose size the request does not show: files, addresses, earlier answers."""
    long: bool = False
    """It asks for a longer window than the model's usual one."""
    unseen: bool = False
    """The model may think without showing it: what is streamed does not bound what it has spent."""
    images: int = 0
    hidden: int = 0
    """Bytes of pictures in the request, which count as pictures and not as text."""
    options: Mapping[str, str] = field(default_factory=dict)
    """What sets the price: ``service_tier``, ``speed``, ``inference_geo``."""


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms a request is sent on."""

    model: str
    """The model that answers."""
    output: int | None = None
    """Most tokens of output per answer, where the budget pays for less than was asked for; None: as the client asked."""
    limit_field: str = "max_completion_tokens"
    """What chat completions call a limit on output, where the client has none."""
    stream_options: bool = True
    """Whether chat completions can be asked for the usage of a stream."""
    service_tier: str | None = None
    """The tier that the call is reserved at, where the client leaves it to the account; None: as the client says."""
    priced: bool = True
    """Whether it costs dollars. What a subscription does not pay for by its use needs no limit on tools, and its address may know none."""


@dataclass(frozen=True, slots=True)
class Fault:
    """An error that a provider reports in its answer, in its own words for the kind."""

    kind: str
    message: str


class Reader(Protocol):
    """Reads what a call used out of the bytes of its answer, as they pass."""

    complete: bool
    """The provider's final count has been seen."""
    fault: Fault | None
    text: int
    """Bytes of what was generated since the provider's last count."""
    model: str | None
    """The model that spoke, in the provider's words."""

    def feed(self, chunk: bytes) -> bytes:
        """Take in a part of the answer; what of it goes on to the client."""

    def close(self) -> bytes:
        """The answer is over, wherever; what was held back and goes on to the client."""

    @property
    def used(self) -> Used | None:
        """What the provider has counted so far; None when it has said nothing."""


class Wire(Protocol):
    """One protocol."""

    name: str
    provider: str
    base_url: str
    """Where the provider itself listens."""
    image_tokens: int
    """Most tokens that one picture comes to."""

    def demand(self, body: dict[str, Any]) -> Demand:
        """What the request asks for. Raises ValueError in words for the client when it is none."""

    def adapt(self, body: dict[str, Any], terms: Terms) -> dict[str, Any]:
        """The request as it is sent on: on these terms, and with a limit on every tool of the provider's that has none."""

    def reader(self, demand: Demand, body: Mapping[str, Any]) -> Reader:
        """A reader for the answer to this request; ``body`` is what the client sent."""

    def refusal(self, kind: Refusal, message: str) -> tuple[int, dict[str, Any]]:
        """Status and body of the provider's own error for this."""

    def auth(self, key: str) -> dict[str, str]:
        """The headers that carry a key."""


def checked(demand: Demand) -> Demand:
    """The demand, if the ledger can hold it: names are text that a database stores, numbers are those of a request.

    Raises ValueError in words for the client.
    """
    if not is_name(demand.model):
        raise ValueError(f"model: a name of at most {MOST_NAME} printable characters is wanted")
    if demand.choices > MOST_CHOICES:
        raise ValueError(f"at most {MOST_CHOICES} answers may be asked for")
    if demand.rounds > MOST_ROUNDS:
        raise ValueError(f"the provider's own tools may be used at most {MOST_ROUNDS} times")
    return demand


def is_name(text: str) -> bool:
    """Whether this can be the name of a model."""
    return 0 < len(text) <= MOST_NAME and text.isprintable()


def input_bound(wire: Wire, demand: Demand, size: int, window: int) -> int:
    """Most tokens that a prompt can come to, for a request of ``size`` bytes.

    No tokenizer of these providers makes more than one token of a byte. What cannot be seen in the request is
    bounded by the model's window. Each round of the provider's own sends all of it through the model once more, with
    what its tools have found.
    """
    if demand.opaque:
        return window * (1 + demand.rounds)
    text = size - demand.hidden + demand.images * wire.image_tokens + OVERHEAD
    return sum(min(text + passed * demand.grows, window) for passed in range(1 + demand.rounds))


def dump(body: Mapping[str, Any]) -> bytes:
    """The request as bytes. What was looked at is what is sent: a key that is there twice cannot mean two things."""
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(body, separators=(",", ":")).encode()


def count(value: Any) -> int:
    """A number of tokens as a provider reports it; 0 for what cannot be one."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 10**12:
        return 0
    return int(value)


def table(value: Any) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def positive(body: Mapping[str, Any], name: str) -> int | None:
    """A whole number of at least 1, or None where it is not given. Raises ValueError."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name}: a whole number of at least 1 is wanted")
    return value


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a JSON value, from the outside in, whatever its depth."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            yield item
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


def objects_in(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; none where it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


class LineReader:
    """The common part of readers of server-sent events: cuts lines, looks at those that matter.

    Format: https://html.spec.whatwg.org/multipage/server-sent-events.html.
    """

    def __init__(self) -> None:
        self.complete = False
        self.fault: Fault | None = None
        self.text = 0
        self.model: str | None = None
        self._rest = b""
        self._used: Used | None = None

    @property
    def used(self) -> Used | None:
        """What the provider has counted so far."""
        return self._used

    def feed(self, chunk: bytes) -> bytes:
        """Take in a part of the stream."""
        self._cut(chunk)
        return chunk

    def close(self) -> bytes:
        """The last line may have no end."""
        if self._rest:
            self._line(self._rest)
            self._rest = b""
        return b""

    def _cut(self, chunk: bytes) -> None:
        lines = (self._rest + chunk if self._rest else chunk).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > KEEP:
            self._rest = b""
        for line in lines:
            if line.startswith(b"data:"):
                self._line(line)

    def _line(self, line: bytes) -> None:
        raise NotImplementedError

    def _grow(self, line: bytes, *path: str) -> None:
        """Count what a line carries of the answer: every text below ``path`` of its event, whatever it is called.

        No tokenizer makes more than one token of a byte, and no part of an answer is less than a token. A line that
        cannot be read counts whole.
        """
        event = event_of(line)
        found: list[Any] = [event]
        for name in path:
            values = [table(item).get(name) for item in found]
            found = [item for value in values for item in (value if isinstance(value, list) else [value])]
        self.text += max(_bytes(found), 1) if event else len(line)


class WholeReader:
    """A reader for an answer in one piece: kept as it passes, read at its end."""

    def __init__(self) -> None:
        self.complete = False
        self.fault: Fault | None = None
        self.text = 0
        self.model: str | None = None
        self._kept = bytearray()
        self._used: Used | None = None

    @property
    def used(self) -> Used | None:
        """What the provider has counted; None before the end."""
        return self._used

    def feed(self, chunk: bytes) -> bytes:
        """Keep a part of the answer."""
        self.text += len(chunk)
        if len(self._kept) + len(chunk) <= KEEP:
            self._kept += chunk
        return chunk

    def close(self) -> bytes:
        """Read what was kept."""
        try:
            value = json.loads(self._kept)
        except (ValueError, RecursionError):
            value = None
        self._kept.clear()
        if isinstance(value, dict):
            self._whole(value)
        return b""

    def _whole(self, value: dict[str, Any]) -> None:
        raise NotImplementedError


def _bytes(value: Any) -> int:
    """Bytes of all texts in a JSON value."""
    stack, total = [value], 0
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            total += len(item.encode("utf-8", "replace"))
        elif isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
    return total


def fault_of(value: Any) -> Fault | None:
    """The error object of an answer, where it has one."""
    error = value.get("error") if isinstance(value, dict) else None
    if isinstance(error, str):
        return Fault("error", error[:500])
    if not isinstance(error, dict):
        return None
    kind = error.get("code") if isinstance(error.get("code"), str) else error.get("type") or error.get("status")
    return Fault(str(kind or "error")[:100], str(error.get("message") or "")[:500])


def event_of(line: bytes) -> dict[str, Any]:
    """The JSON object of a ``data:`` line; empty when it is none."""
    try:
        value = json.loads(line[5:])
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


__all__ = [
    "Demand",
    "Fault",
    "LineReader",
    "Reader",
    "Refusal",
    "Terms",
    "Tokens",
    "Used",
    "WholeReader",
    "Wire",
    "checked",
    "count",
    "dump",
    "event_of",
    "fault_of",
    "input_bound",
    "is_name",
    "objects",
    "objects_in",
    "positive",
    "table",
]
