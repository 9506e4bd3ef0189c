"""The Gemini API (https://ai.google.dev/api/generate-content).

The prompt's count includes what came from the cache; thinking is counted beside the candidates. Every part of a
stream carries the counts so far, the last one the truth. A stream is server-sent events with ``alt=sse``, else one
JSON array.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from core.budget.wire.base import (
    SEARCH_TOKENS,
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
    Refusal.BUDGET: (402, "RESOURCE_EXHAUSTED"),
    Refusal.TOKEN: (401, "UNAUTHENTICATED"),
    Refusal.REQUEST: (400, "INVALID_ARGUMENT"),
    Refusal.NOT_FOUND: (404, "NOT_FOUND"),
    Refusal.TOO_LARGE: (413, "INVALID_ARGUMENT"),
    Refusal.UNAVAILABLE: (503, "UNAVAILABLE"),
}


CLIENT_TOOLS = {"functiondeclarations", "computeruse"}
"""Tools that the client runs."""

GROUNDS = {"googlesearch", "googlesearchretrieval", "googlemaps", "enterprisewebsearch"}
"""Tools that look something up before the model answers; a request cannot limit how often."""

QUERIES = 10
"""Queries that a model makes at most to ground one answer."""

BY_ANSWER = ("gemini-1", "gemini-2")
"""Models whose grounding is paid for by the answer, not by the query."""

CODE_ROUNDS = 5
"""Rounds of the model through code that it runs (https://ai.google.dev/gemini-api/docs/code-execution)."""


class GeminiWire:
    """``POST /v1beta/models/{model}:generateContent`` and ``:streamGenerateContent``; the model comes with the
    address.
    """

    name = "gemini"
    provider = "gemini"
    base_url = "https://generativelanguage.googleapis.com"
    image_tokens = 10_000

    def demand(self, body: dict[str, Any]) -> Demand:
        """What the request asks for: ``model``, ``stream`` and ``sse`` are put in by whoever read the address.
        Raises ValueError.
        """
        config = table(body.get("generationConfig") or body.get("generation_config"))
        output = positive(config, "maxOutputTokens") or positive(config, "max_output_tokens")
        opaque = bool(body.get("cachedContent") or body.get("cached_content"))
        for item in objects([body.get("contents"), body.get("systemInstruction"), body.get("system_instruction")]):
            inline = table(item.get("inlineData") or item.get("inline_data"))
            if (inline and not _is_image(inline)) or "fileData" in item or "file_data" in item:
                opaque = True
        shown = [part for content in objects_in(body.get("contents")) for part in objects_in(content.get("parts"))]
        inlines = [table(part.get("inlineData") or part.get("inline_data")) for part in shown]
        # Anywhere else, as in what a function has answered, what looks like a picture is read as text.
        pictures = [str(inline.get("data", "")) for inline in inlines if _is_image(inline)]
        tools = {_plain(name) for tool in body.get("tools") or [] for name in table(tool)} - CLIENT_TOOLS
        by_answer = str(body["model"]).startswith(BY_ANSWER)
        searches = (1 if by_answer else QUERIES) if tools & GROUNDS else 0
        return Demand(
            model=str(body["model"]),
            stream=body["stream"] is True,
            output=output,
            choices=positive(config, "candidateCount") or positive(config, "candidate_count") or 1,
            searches=searches,
            rounds=CODE_ROUNDS if tools - GROUNDS else int(bool(tools)),
            grows=QUERIES * SEARCH_TOKENS if tools & GROUNDS else 0,
            opaque=opaque or bool(tools - GROUNDS),
            images=len(pictures),
            hidden=sum(len(picture) for picture in pictures),
            options=_tier(body.get("serviceTier") or body.get("service_tier")),
        )

    def adapt(self, body: dict[str, Any], terms: Terms) -> dict[str, Any]:
        """The request as the provider takes it, on these terms; its address names the model."""
        sent = {name: value for name, value in body.items() if name not in ("model", "stream", "sse")}
        if terms.output is not None:
            name = "generation_config" if "generation_config" in body else "generationConfig"
            config = {key: value for key, value in table(body.get(name)).items() if key != "max_output_tokens"}
            sent[name] = {**config, "maxOutputTokens": terms.output}
        return sent

    def reader(self, demand: Demand, body: Mapping[str, Any]) -> Reader:
        """A reader for the answer."""
        if not demand.stream:
            return _Whole(demand.model)
        return _Stream(demand.model) if body.get("sse") else _Array(demand.model)

    def refusal(self, kind: Refusal, message: str) -> tuple[int, dict[str, Any]]:
        """Status and body of the error."""
        status, name = ERRORS[kind]
        return status, {"error": {"code": status, "message": message, "status": name}}

    def auth(self, key: str) -> dict[str, str]:
        """The header of a key."""
        return {"x-goog-api-key": key}


def read_usage(usage: Mapping[str, Any], searches: int = 0) -> Used:
    """A usageMetadata object as ours."""
    prompt = count(usage.get("promptTokenCount")) + count(usage.get("toolUsePromptTokenCount"))
    read = min(count(usage.get("cachedContentTokenCount")), prompt)
    thinking = count(usage.get("thoughtsTokenCount"))
    parts: dict[str, int] = {}
    for name, side in (("promptTokensDetails", "input"), ("candidatesTokensDetails", "output")):
        for entry in objects_in(usage.get(name)):
            kind = f"{side}_{str(entry.get('modality', '')).lower()}"
            if kind in ("input_audio", "input_image", "output_audio", "output_image"):
                parts[kind] = parts.get(kind, 0) + count(entry.get("tokenCount"))
    tokens = Tokens(
        input=prompt - read,
        cache_read=read,
        output=count(usage.get("candidatesTokenCount")) + thinking,
        thinking=thinking,
    )
    return Used(tokens, parts, searches)


def _is_image(inline: Mapping[str, Any]) -> bool:
    return str(inline.get("mimeType") or inline.get("mime_type") or "").startswith("image/")


def _tier(asked: Any) -> dict[str, str]:
    name = str(asked or "").lower().removeprefix("service_tier_")
    return {"service_tier": name} if name in ("flex", "priority") else {}


def _plain(name: str) -> str:
    """A field's name in either of the two spellings that the provider takes."""
    return name.replace("_", "").lower()


class _Grounding:
    """The searches of an answer that are paid for: each query since Gemini 3, before it one for each answer that has any.

    https://ai.google.dev/gemini-api/docs/pricing
    """

    def __init__(self, model: str) -> None:
        self._by_query = not model.startswith(BY_ANSWER)
        self._queries: set[str] = set()

    def count(self, value: Mapping[str, Any]) -> int:
        for candidate in objects_in(value.get("candidates")):
            found = table(candidate.get("groundingMetadata"))
            queries = found.get("webSearchQueries")
            self._queries.update(map(str, queries if isinstance(queries, list) else ()))
            if any("maps" in chunk for chunk in objects_in(found.get("groundingChunks"))):
                self._queries.add("")
        return len(self._queries) if self._by_query else min(len(self._queries), 1)


class _Stream(LineReader):
    def __init__(self, model: str) -> None:
        super().__init__()
        self._grounding = _Grounding(model)

    def _line(self, line: bytes) -> None:
        event = event_of(line)
        self.fault = self.fault or fault_of(event)
        if event.get("usageMetadata") is None:
            self._grow(line, "candidates", "content")
        if isinstance(event.get("usageMetadata"), dict):
            self.text = 0
            self._used = read_usage(event["usageMetadata"])
            self.model = str(event.get("modelVersion") or "") or self.model
        searches = self._grounding.count(event)
        if self._used is not None:
            self._used = replace(self._used, searches=searches)
        self.complete = self.complete or _finished(event)


class _Whole(WholeReader):
    def __init__(self, model: str) -> None:
        super().__init__()
        self._grounding = _Grounding(model)

    def _whole(self, value: dict[str, Any]) -> None:
        self.fault = fault_of(value)
        if isinstance(value.get("usageMetadata"), dict):
            self._used = read_usage(value["usageMetadata"], self._grounding.count(value))
            self.model = str(value.get("modelVersion") or "") or None
            self.complete = True


class _Array(_Whole):
    """A stream as one JSON array; broken off, its last complete usage still counts."""

    def close(self) -> bytes:
        text = self._kept.decode("utf-8", "replace")
        self._kept.clear()
        decoder = json.JSONDecoder()
        rest, at = 0, text.find("{")
        while at >= 0:
            try:
                value, end = decoder.raw_decode(text, at)
            except (ValueError, RecursionError):
                break
            if isinstance(value, dict):
                self.fault = self.fault or fault_of(value)
                searches = self._grounding.count(value)
                if isinstance(value.get("usageMetadata"), dict):
                    self._used = read_usage(value["usageMetadata"], searches)
                    self.model = str(value.get("modelVersion") or "") or self.model
                self.complete = self.complete or _finished(value)
            rest, at = end, text.find("{", end)
        self.text = len(text[rest:].encode())
        return b""


def _finished(value: Mapping[str, Any]) -> bool:
    return any(table(candidate).get("finishReason") for candidate in value.get("candidates") or []) or (
        "promptFeedback" in value and "usageMetadata" in value
    )


__all__ = ["Fault", "GeminiWire", "read_usage"]
