"""Streams in the form in which the providers publish them (``recorded``), against the providers' own totals, at every cut.

Sources: https://platform.claude.com/docs/en/build-with-claude/streaming, https://platform.openai.com/docs/api-reference,
https://docs.x.ai/docs/api-reference, https://ai.google.dev/api/generate-content.
"""

import random
from pathlib import Path
from typing import Any

import pytest

from core.budget.gateway.circuit import trouble_in_stream
from core.budget.wire import AnthropicWire, ChatWire, GeminiWire, Reader, ResponsesWire, Wire
from storage.queries.budget import Tokens

RECORDED = Path(__file__).parent / "recorded"
ANTHROPIC, CHAT, RESPONSES, GEMINI = AnthropicWire(), ChatWire(), ResponsesWire(), GeminiWire()
ASKED = {
    "model": "m",
    "stream": True,
    "max_tokens": 500,
    "messages": [],
    "input": "x",
    "contents": [],
    "stream_options": {"include_usage": True},
}

WHOLE: tuple[tuple[str, Wire, Tokens, int, str], ...] = (
    ("anthropic_text.sse", ANTHROPIC, Tokens(25, 0, 0, 0, 15), 0, "claude-opus-4-8"),
    ("anthropic_tool.sse", ANTHROPIC, Tokens(472, 0, 0, 0, 89), 0, "claude-haiku-4-5-20251001"),
    ("anthropic_thinking_cache.sse", ANTHROPIC, Tokens(4, 11812, 346, 1024, 284, 241), 0, "claude-sonnet-4-5-20250929"),
    ("anthropic_search.sse", ANTHROPIC, Tokens(10682, 0, 0, 0, 510), 1, "claude-opus-4-8"),
    ("chat_text.sse", CHAT, Tokens(86, 1920, 0, 0, 10), 0, "gpt-4o-mini-2024-07-18"),
    ("chat_tool_reasoning.sse", CHAT, Tokens(88, 0, 0, 0, 210, 192), 0, "gpt-5.2"),
    ("chat_xai.sse", CHAT, Tokens(26, 6, 0, 0, 111, 102), 0, "grok-4-0709"),
    ("responses_text.sse", RESPONSES, Tokens(37, 0, 0, 0, 11), 0, "gpt-4.1-2025-04-14"),
    ("responses_tools_reasoning.sse", RESPONSES, Tokens(4232, 4096, 0, 0, 1600, 1536), 1, "gpt-5.2-2025-12-11"),
    ("gemini_thinking_cache.sse", GEMINI, Tokens(430, 600, 0, 0, 97, 76), 0, "gemini-2.5-flash"),
    ("gemini_grounded.json", GEMINI, Tokens(72, 0, 0, 0, 59, 50), 2, "gemini-3.5-flash"),
)

BROKEN: tuple[tuple[str, Wire, str, str | None], ...] = (
    ("anthropic_overloaded.sse", ANTHROPIC, "overloaded_error", "server"),
    ("chat_error.sse", CHAT, "server_error", "server"),
    ("responses_failed.sse", RESPONSES, "server_error", "server"),
    ("responses_error.sse", RESPONSES, "context_length_exceeded", None),
    ("gemini_overloaded.sse", GEMINI, "UNAVAILABLE", "server"),
)


def reader_for(name: str, wire: Wire) -> Reader:
    model = "gemini-3.5-flash" if name == "gemini_grounded.json" else "m"
    asked: dict[str, Any] = {**ASKED, "model": model, "sse": name.endswith(".sse")}
    return wire.reader(wire.demand(asked), asked)


def feed(reader: Reader, data: bytes, seed: int) -> bytes:
    dice, at, got = random.Random(seed), 0, b""
    while at < len(data):
        size = dice.choice([1, 3, 40, 900, 10_000])
        got += reader.feed(data[at : at + size])
        at += size
    return got + reader.close()


@pytest.mark.parametrize(("name", "wire", "tokens", "searches", "model"), WHOLE, ids=[name for name, *_ in WHOLE])
def test_a_whole_stream_counts_what_its_provider_counts(
    name: str, wire: Wire, tokens: Tokens, searches: int, model: str
) -> None:
    data = (RECORDED / name).read_bytes()
    for seed in range(5):
        reader = reader_for(name, wire)
        assert feed(reader, data, seed) == data, "the client gets what the provider sent"
        assert reader.used is not None
        assert (reader.used.tokens, reader.used.searches, reader.model) == (tokens, searches, model)
        assert (reader.complete, reader.fault) == (True, None)


@pytest.mark.parametrize(("name", "wire", "tokens"), [row[:3] for row in WHOLE], ids=[name for name, *_ in WHOLE])
def test_a_stream_that_is_cut_anywhere_claims_no_more_than_it_was_told(name: str, wire: Wire, tokens: Tokens) -> None:
    data = (RECORDED / name).read_bytes()
    for end in range(0, len(data), 37):
        reader = reader_for(name, wire)
        assert feed(reader, data[:end], end) == data[:end]
        if reader.used is not None:
            assert reader.used.tokens.output <= tokens.output
            assert reader.used.tokens.prompt <= tokens.prompt
        if reader.complete:
            assert reader.used is not None
            assert reader.used.tokens == tokens, "it said that its count was final"


@pytest.mark.parametrize(("name", "wire", "fault", "trouble"), BROKEN, ids=[name for name, *_ in BROKEN])
def test_an_error_in_a_stream_is_found_and_nothing_is_taken_for_final(
    name: str, wire: Wire, fault: str, trouble: str | None
) -> None:
    data = (RECORDED / name).read_bytes()
    for seed in range(3):
        reader = reader_for(name, wire)
        assert feed(reader, data, seed) == data
        assert reader.fault is not None
        found = trouble_in_stream(reader.fault)
        assert (reader.fault.kind, found.kind if found else None, reader.complete) == (fault, trouble, False)
