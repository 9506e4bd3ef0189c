"""OpenAI chat completions (https://platform.openai.com/docs/api-reference/chat), also spoken by many other providers.

A stream reports its usage only when it is asked to (``stream_options.include_usage``), in a last event with no
choices. The gateway always asks, and keeps that event from a client that did not.
"""

from collections.abc import Mapping
from typing import Any

from core.budget.wire import openai
from core.budget.wire.base import (
    SEARCH_TOKENS,
    Demand,
    LineReader,
    Reader,
    Refusal,
    Terms,
    WholeReader,
    count,
    event_of,
    fault_of,
    objects_in,
    positive,
    table,
)

SOURCES = 20
"""Sources that a live search of xAI takes into account, where the request does not say how many."""


class ChatWire:
    """``POST /v1/chat/completions``."""

    name = "chat"
    provider = "openai"
    base_url = openai.BASE_URL
    image_tokens = openai.IMAGE_TOKENS

    def demand(self, body: dict[str, Any]) -> Demand:
        """What the request asks for. Raises ValueError."""
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise ValueError("you must provide a model parameter")
        limits = [n for name in ("max_completion_tokens", "max_tokens") if (n := positive(body, name)) is not None]
        said = [message for message in objects_in(body.get("messages")) if message.get("role") == "user"]
        images, hidden = openai.pictures(part for message in said for part in objects_in(message.get("content")))
        searches = _searches(body, model)
        return Demand(
            model=model,
            stream=body.get("stream") is True,
            output=max(limits) if limits else None,
            choices=positive(body, "n") or 1,
            searches=searches,
            rounds=int(searches > 0),
            grows=searches * SEARCH_TOKENS,
            opaque=openai.refers(body.get("messages")),
            unseen=openai.may_think(model, body.get("reasoning_effort")),
            images=images,
            hidden=hidden,
            options=openai.options(body),
        )

    def adapt(self, body: dict[str, Any], terms: Terms) -> dict[str, Any]:
        """The request on these terms, its usage asked for."""
        sent = {**body, "model": terms.model, **openai.tier(body, terms)}
        if terms.output is not None:
            names = [name for name in ("max_completion_tokens", "max_tokens") if body.get(name) is not None]
            for name in names or [terms.limit_field]:
                sent[name] = terms.output
        if not terms.stream_options:
            sent.pop("stream_options", None)
        elif body.get("stream") is True:
            sent["stream_options"] = {**table(body.get("stream_options")), "include_usage": True}
        return sent

    def reader(self, demand: Demand, body: Mapping[str, Any]) -> Reader:
        """A reader for the answer; it keeps the usage from a client that has not asked for it."""
        if not demand.stream:
            return _Whole(demand.searches)
        return _Stream(demand.searches, hide=table(body.get("stream_options")).get("include_usage") is not True)

    def refusal(self, kind: Refusal, message: str) -> tuple[int, dict[str, Any]]:
        """Status and body of the error."""
        return openai.error(kind, message)

    def auth(self, key: str) -> dict[str, str]:
        """The header of a key."""
        return {"authorization": f"Bearer {key}"}


class _Stream(LineReader):
    def __init__(self, searches: int, *, hide: bool) -> None:
        super().__init__()
        self._searches = searches
        self._hide = hide
        self._held = b""
        self._ended = False

    def feed(self, chunk: bytes) -> bytes:
        if not self._hide:
            return super().feed(chunk)
        self._cut(chunk)
        held = self._held + chunk
        blank = b"\r\n\r\n" if b"\r\n" in held else b"\n\n"
        at = held.rfind(blank)  # what has no end yet may be the event that is kept back
        if at < 0:
            self._held = held
            return b""
        whole, self._held = held[: at + len(blank)], held[at + len(blank) :]
        if b'"usage"' not in whole:
            return whole
        return blank.join(event for event in whole.split(blank) if not _is_usage_alone(event))

    def close(self) -> bytes:
        super().close()
        held, self._held = self._held, b""
        return b"" if _is_usage_alone(held) else held

    def _line(self, line: bytes) -> None:
        if b'"usage":null' not in line and (b'"usage"' in line or b'"error"' in line):
            event = event_of(line)
            self.fault = self.fault or fault_of(event)
            self.model = self.model or (str(event.get("model") or "") or None)
            if isinstance(event.get("usage"), dict):
                # Some providers count along with every part; the last count comes when nothing is left to say.
                self._used = openai.read_usage(event["usage"], event.get("service_tier"), self._searches)
                self._ended = self._ended or _has_ended(event)
                self.text, self.complete = 0, self._ended or not event.get("choices")
                return
        if line.rstrip() != b"data: [DONE]":
            self._ended = self._ended or (b'"finish_reason"' in line and _has_ended(event_of(line)))
            self._grow(line, "choices", "delta")


class _Whole(WholeReader):
    def __init__(self, searches: int) -> None:
        super().__init__()
        self._searches = searches

    def _whole(self, value: dict[str, Any]) -> None:
        self.fault = fault_of(value)
        if isinstance(value.get("usage"), dict):
            self.model = str(value.get("model") or "") or None
            self._used = openai.read_usage(value["usage"], value.get("service_tier"), self._searches)
            self.complete = True


def _searches(body: Mapping[str, Any], model: str) -> int:
    """Most searches, or sources, that are paid for: xAI pays by the source, others search once before they answer."""
    live = table(body.get("search_parameters"))
    if live and live.get("mode") != "off":
        return count(live.get("max_search_results")) or SOURCES
    asks = body.get("web_search_options") is not None or "search" in model
    return 1 if asks else 0


def _has_ended(event: Mapping[str, Any]) -> bool:
    choices = event.get("choices")
    return isinstance(choices, list) and any(table(choice).get("finish_reason") for choice in choices)


def _is_usage_alone(event: bytes) -> bool:
    if b'"usage"' not in event or not event.lstrip(b"\n").startswith(b"data:"):
        return False
    value = event_of(event.lstrip(b"\n"))
    return value.get("choices") == [] and isinstance(value.get("usage"), dict)
