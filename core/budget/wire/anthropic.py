"""The Anthropic Messages API (https://docs.anthropic.com/en/api/messages and /messages-streaming).

``input_tokens`` leaves the cache out. A stream opens with a snapshot of the usage (``message_start``) and reports
totals so far with each ``message_delta``; the last one of a message is the truth.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from core.budget.prices import Share
from core.budget.wire.anthropic_tools import LEAST_THINKING, limited, own, shorter
from core.budget.wire.base import (
    Demand,
    Fault,
    LineReader,
    Reader,
    Refusal,
    Terms,
    Tokens,
    Used,
    WholeReader,
    count,
    event_of,
    fault_of,
    objects,
    objects_in,
    positive,
    table,
)

ERRORS = {
    Refusal.BUDGET: (402, "billing_error"),
    Refusal.TOKEN: (401, "authentication_error"),
    Refusal.REQUEST: (400, "invalid_request_error"),
    Refusal.NOT_FOUND: (404, "not_found_error"),
    Refusal.TOO_LARGE: (413, "request_too_large"),
    Refusal.UNAVAILABLE: (529, "overloaded_error"),
}


INLINE = ("image", "base64")
"""A picture in the request itself: the types of a block and of its source."""

SILENT = (
    *(b'"message_start"', b'"message_delta"', b'"message_stop"', b'"error"'),
    *(b'"ping"', b'"content_block_stop"'),
)
"""Events that carry nothing of the answer itself."""


class AnthropicWire:
    """``POST /v1/messages``."""

    name = "anthropic"
    provider = "anthropic"
    base_url = "https://api.anthropic.com"
    image_tokens = 5_000

    def demand(self, body: dict[str, Any]) -> Demand:
        """What the request asks for. Raises ValueError."""
        model, output = body.get("model"), positive(body, "max_tokens")
        if not isinstance(model, str) or not model:
            raise ValueError("model: Field required")
        if output is None:
            raise ValueError("max_tokens: Field required")
        thinking = table(body.get("thinking"))
        least = LEAST_THINKING + 1 if thinking.get("type") == "enabled" else 1
        beside = own(body)
        opaque = beside.opaque
        fallbacks = objects_in(body.get("fallbacks"))
        longest = max(output, *(count(entry.get("max_tokens")) for entry in fallbacks), 1)
        fast = any(entry.get("speed") == "fast" for entry in (body, *fallbacks))
        short = long = False
        for item in objects([body.get("system"), body.get("messages"), body.get("tools"), body.get("cache_control")]):
            if item.get("type") == "ephemeral":
                short, long = short or item.get("ttl") != "1h", long or item.get("ttl") == "1h"
            kinds = (item.get("type"), table(item.get("source")).get("type", "text"))
            if kinds[0] in ("image", "document") and kinds[1] not in ("text", "content") and kinds != INLINE:
                opaque = True
        pictures = [block for message in objects_in(body.get("messages")) for block in _pictures(message)]
        return Demand(
            model=model,
            stream=body.get("stream") is True,
            output=longest,
            least=min(least, output),
            choices=1 + beside.speakers,
            writes_5m=short,
            writes_1h=long,
            searches=beside.searches,
            rounds=beside.rounds,
            grows=beside.grows,
            others=beside.others,
            opaque=opaque,
            unseen=thinking.get("type") not in (None, "disabled"),
            images=len(pictures),
            hidden=sum(len(picture) for picture in pictures),
            options={
                "inference_geo": str(body.get("inference_geo") or "auto"),
                **({"speed": "fast"} if fast else {}),
            },
        )

    def adapt(self, body: dict[str, Any], terms: Terms) -> dict[str, Any]:
        """The request on these terms; the model thinks less where it may say less."""
        output = count(body.get("max_tokens")) if terms.output is None else terms.output
        return {**shorter(body, output), **limited(body, output), "model": terms.model}

    def reader(self, demand: Demand, body: Mapping[str, Any]) -> Reader:  # noqa: ARG002 - a stream is read the same for all
        """A reader for the answer."""
        return _Stream(long=demand.writes_1h) if demand.stream else _Whole(long=demand.writes_1h)

    def refusal(self, kind: Refusal, message: str) -> tuple[int, dict[str, Any]]:
        """Status and body of the error."""
        status, type_ = ERRORS[kind]
        return status, {"type": "error", "error": {"type": type_, "message": message}, "request_id": None}

    def auth(self, key: str) -> dict[str, str]:
        """The header of a key, or of a person's own access token."""
        return {"authorization": f"Bearer {key}"} if key.startswith("sk-ant-oat") else {"x-api-key": key}


def _pictures(block: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """The data of the pictures that the model sees of a message: in its content, in results of tools, in documents.

    Anywhere else, as in the input of a tool, what looks like a picture is read as text.
    """
    source = table(block.get("source"))
    if (block.get("type"), source.get("type")) == INLINE and str(source.get("media_type")).startswith("image/"):
        yield str(source.get("data", ""))
    for inner in objects_in(block.get("content") if depth == 0 or block.get("type") == "tool_result" else None):
        yield from _pictures(inner, depth + 1)
    if block.get("type") == "document" and source.get("type") == "content":
        for inner in objects_in(source.get("content")):
            yield from _pictures(inner, depth + 1)


def read_usage(usage: Mapping[str, Any], before: Used | None = None, *, long: bool = False) -> Used:
    """A usage object as ours. Fields that it leaves out stay as they were before.

    ``long``: cache writes whose time to live is not said may be those of an hour.
    """
    was = before.tokens if before else Tokens()

    def value(name: str, old: int) -> int:
        return count(usage[name]) if usage.get(name) is not None else old

    written = value("cache_creation_input_tokens", was.cache_write_5m + was.cache_write_1h)
    parts = table(usage.get("cache_creation"))
    hour = count(parts["ephemeral_1h_input_tokens"]) if "ephemeral_1h_input_tokens" in parts else was.cache_write_1h
    minutes = count(parts["ephemeral_5m_input_tokens"]) if parts else was.cache_write_5m
    unsaid = max(written - hour - minutes, 0)
    tokens = Tokens(
        input=value("input_tokens", was.input),
        cache_read=value("cache_read_input_tokens", was.cache_read),
        cache_write_5m=minutes + (0 if long else unsaid),
        cache_write_1h=hour + (unsaid if long else 0),
        output=value("output_tokens", was.output),
        thinking=count(table(usage.get("output_tokens_details")).get("thinking_tokens")) or was.thinking,
    )
    tools = table(usage.get("server_tool_use"))
    names = ("service_tier", "speed", "inference_geo")
    told = {name: str(usage[name]) for name in names if isinstance(usage.get(name), str)}
    choices = {**(before.choices if before else {}), **told}
    searches = count(tools.get("web_search_requests")) if tools else (before.searches if before else 0)
    return Used(tokens, {}, searches, choices)


def by_pass(top: Used, passes: Any, *, long: bool = False) -> Used:
    """A call with what ``usage.iterations`` adds to the count of its message: each pass has its own price."""
    if not objects_in(passes):
        return top
    shares = _shares(top.tokens, [(entry.get("type"), _share(entry, long=long)) for entry in objects_in(passes)])
    return replace(top, tokens=_sum(shares), shares=shares)


def _share(entry: Mapping[str, Any], *, long: bool) -> Share:
    model = entry.get("model")
    return Share(model if isinstance(model, str) else None, read_usage(entry, long=long).tokens)


def _shares(top: Tokens, passes: list[tuple[Any, Share]]) -> tuple[Share, ...]:
    """A call by its passes. ``top``, the count of the whole message, leaves out what summarized it and who advised."""
    beside = tuple(share for kind, share in passes if kind in ("compaction", "advisor_message"))
    spoken = tuple(share for kind, share in passes if kind not in ("compaction", "advisor_message"))
    if _sum(spoken).total < top.total:
        spoken = (Share(None, top),)
    return spoken + beside


def _sum(shares: tuple[Share, ...]) -> Tokens:
    names = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "thinking")
    return Tokens(*(sum(getattr(share.tokens, name) for share in shares) for name in names))


class _Stream(LineReader):
    def __init__(self, *, long: bool) -> None:
        super().__init__()
        self._long = long
        self._top: Used | None = None
        self._passes: Any = None

    def _line(self, line: bytes) -> None:
        if b'"content_block_delta"' in line:
            self._grow(line, "delta")
            return
        if not any(mark in line for mark in SILENT):
            self._grow(line)
            return
        event = event_of(line)
        match event.get("type"):
            case "message_start":
                message = table(event.get("message"))
                self.model = str(message.get("model") or "") or None
                self._count(table(message.get("usage")))
            case "message_delta":
                self._count(table(event.get("usage")))
                self.text = 0
                self.complete = table(event.get("delta")).get("stop_reason") is not None
            case "error":
                self.fault = fault_of(event) or Fault("error", "")

    def _count(self, usage: Mapping[str, Any]) -> None:
        self._top = read_usage(usage, self._top, long=self._long)
        self._passes = usage.get("iterations") or self._passes
        self._used = by_pass(self._top, self._passes, long=self._long)


class _Whole(WholeReader):
    def __init__(self, *, long: bool) -> None:
        super().__init__()
        self._long = long

    def _whole(self, value: dict[str, Any]) -> None:
        self.fault = fault_of(value)
        if isinstance(value.get("usage"), dict):
            self.model = str(value.get("model") or "") or None
            top = read_usage(value["usage"], long=self._long)
            self._used = by_pass(top, value["usage"].get("iterations"), long=self._long)
            self.complete = True
