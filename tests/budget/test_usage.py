"""Usage out of recorded answers of every protocol, however they are cut, against the provider's own totals."""

import json
import random
from collections.abc import Mapping
from typing import Any

import pytest

from core.budget.wire import AnthropicWire, ChatWire, GeminiWire, Reader, ResponsesWire, Terms, Wire
from storage.queries.budget import Tokens


def sse(*events: Mapping[str, Any]) -> bytes:
    return b"".join(f"event: {e.get('type', 'x')}\ndata: {json.dumps(e)}\n\n".encode() for e in events)


def read(reader: Reader, data: bytes, seed: int = 0) -> bytes:
    """Feed an answer in pieces of any size; what the client gets."""
    dice, got, at = random.Random(seed), b"", 0
    while at < len(data):
        size = dice.choice([1, 2, 7, 50, 4000])
        got += reader.feed(data[at : at + size])
        at += size
    return got + reader.close()


def reader_of(wire: Wire, body: dict[str, Any]) -> Reader:
    return wire.reader(wire.demand(body), body)


ASK = {"model": "m", "max_tokens": 100, "stream": True, "messages": [{"role": "user", "content": "hi"}]}

START = {
    "type": "message_start",
    "message": {
        "model": "claude-x",
        "usage": {
            "input_tokens": 4,
            "cache_creation_input_tokens": 3000,
            "cache_read_input_tokens": 12000,
            "cache_creation": {"ephemeral_5m_input_tokens": 1000, "ephemeral_1h_input_tokens": 2000},
            "output_tokens": 1,
        },
    },
}


@pytest.mark.parametrize("seed", range(4))
def test_anthropic_the_last_delta_is_the_truth_and_the_classes_are_disjoint(seed: int) -> None:
    reader = reader_of(AnthropicWire(), ASK)
    data = sse(
        START,
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm\n"}},
        {
            "type": "content_block_delta",
            "index": 1,
            "delta": {"type": "input_json_delta", "partial_json": '{"usage": 1}'},
        },
        {"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 40}},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use"},
            "usage": {
                "input_tokens": 6,
                "cache_creation_input_tokens": 3000,
                "cache_read_input_tokens": 12000,
                "output_tokens": 90,
                "output_tokens_details": {"thinking_tokens": 50},
                "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0},
            },
        },
        {"type": "message_stop"},
    )
    assert read(reader, data, seed) == data
    assert reader.complete
    assert reader.used is not None
    assert reader.used.tokens == Tokens(6, 12000, 1000, 2000, 90, 50)
    assert (reader.used.searches, reader.model) == (2, "claude-x")


def test_anthropic_broken_off_knows_its_input_and_the_text_that_came() -> None:
    reader = reader_of(AnthropicWire(), ASK)
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x" * 300}}
    read(reader, sse(START, text) + b'event: content_block_delta\ndata: {"type":"conte')
    assert not reader.complete
    assert reader.used is not None
    assert reader.used.tokens.prompt == 15004
    assert 300 <= reader.text <= 400


STREAMS: tuple[tuple[Wire, dict[str, Any], Any], ...] = (
    (
        AnthropicWire(),
        {"model": "m", "max_tokens": 9, "stream": True},
        [
            {"type": "content_block_start", "content_block": {"type": "tool_use", "id": "t", "name": "TEXT"}},
            {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "TEXT"}},
            {"type": "content_block_delta", "delta": {"text": "TEXT", "type": "text_delta"}, "index": 0},
            {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "TEXT"}},
            {"type": "content_block_delta", "delta": {"type": "of_tomorrow", "words": ["TEXT"]}},
            {"type": "of_tomorrow", "words": "TEXT"},
        ],
    ),
    (
        ChatWire(),
        {"model": "gpt-4o", "stream": True},
        [
            {"choices": [{"delta": {"content": "TEXT"}}]},
            {"choices": [{"delta": {"reasoning_content": "TEXT", "content": ""}}, {"delta": {"content": "TEXT"}}]},
            {"choices": [{"delta": {"tool_calls": [{"function": {"name": "TEXT", "arguments": "TEXT"}}]}}]},
            {"choices": [{"delta": {"refusal": "TEXT"}}], "usage": None},
        ],
    ),
    (
        ResponsesWire(),
        {"model": "gpt-4o", "stream": True},
        [
            {"type": "response.output_text.delta", "delta": "TEXT"},
            {"type": "response.function_call_arguments.delta", "delta": "TEXT"},
            {"type": "response.output_item.added", "item": {"type": "function_call", "name": "TEXT"}},
        ],
    ),
    (
        GeminiWire(),
        {"model": "m", "stream": True, "sse": True},
        [
            {"candidates": [{"content": {"parts": [{"text": "TEXT"}, {"functionCall": {"name": "TEXT"}}]}}]},
        ],
    ),
)


@pytest.mark.parametrize("spaced", [True, False])
@pytest.mark.parametrize(("wire", "body", "events"), STREAMS, ids=[wire.name for wire, _, _ in STREAMS])
def test_what_was_streamed_is_bounded_by_its_bytes(
    wire: Wire, body: dict[str, Any], events: list[Any], spaced: bool
) -> None:
    words = '日本語 "text" 🙂\n' * 3
    separators = (", ", ": ") if spaced else (",", ":")
    for ascii_only in (True, False):
        for event in events:
            line = json.dumps(event, ensure_ascii=ascii_only, separators=separators)
            times = line.count("TEXT")
            line = line.replace("TEXT", json.dumps(words, ensure_ascii=ascii_only)[1:-1])
            reader = reader_of(wire, body)
            read(reader, f"data: {line}\n\n".encode())
            assert times * len(words.encode()) <= reader.text <= times * len(words.encode()) + 60, event
            assert not reader.complete


def test_a_line_that_cannot_be_read_counts_whole() -> None:
    reader = reader_of(ChatWire(), {"model": "gpt-4o", "stream": True})
    read(reader, b'data: {"choices": [{"delta": {"content": "' + b"x" * 100 + b"\n\n")
    assert reader.text > 100


def test_a_provider_that_counts_along_is_not_done_with_its_first_count() -> None:
    reader = reader_of(ChatWire(), {"model": "grok-x", "stream": True, "stream_options": {"include_usage": True}})
    words = {"choices": [{"index": 0, "delta": {"content": "lorem"}, "finish_reason": None}]}
    reader.feed(chunk(**words, usage={"prompt_tokens": 10, "completion_tokens": 1}))
    reader.feed(chunk(**words))
    assert (reader.complete, reader.used and reader.used.tokens.output, reader.text) == (False, 1, 5)
    reader.feed(chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]))
    reader.feed(chunk(choices=[], usage={"prompt_tokens": 10, "completion_tokens": 2}))
    assert (reader.complete, reader.used and reader.used.tokens.output) == (True, 2)


def test_thinking_that_is_not_shown_is_known_from_the_request() -> None:
    talk: dict[str, Any] = {"messages": [], "contents": [], "input": "x", "max_tokens": 5000}
    unseen: list[tuple[Wire, dict[str, Any], bool]] = [
        (AnthropicWire(), {"model": "claude-x"}, False),
        (AnthropicWire(), {"model": "claude-x", "thinking": {"type": "disabled"}}, False),
        (AnthropicWire(), {"model": "claude-x", "thinking": {"type": "enabled", "budget_tokens": 1024}}, True),
        (AnthropicWire(), {"model": "claude-x", "thinking": {"type": "adaptive"}}, True),
        (ChatWire(), {"model": "gpt-4.1-mini"}, False),
        (ChatWire(), {"model": "gpt-5.2"}, True),
        (ChatWire(), {"model": "gpt-5.2", "reasoning_effort": "none"}, False),
        (ChatWire(), {"model": "some-model"}, True),
        (ResponsesWire(), {"model": "o3"}, True),
        (ResponsesWire(), {"model": "gpt-5.2", "reasoning": {"effort": "none"}}, False),
    ]
    for wire, body, expected in unseen:
        assert wire.demand({**talk, **body}).unseen is expected, body


def test_anthropic_cache_writes_of_an_unsaid_kind_are_taken_for_the_dearer_that_was_asked_for() -> None:
    usage = {"input_tokens": 1, "cache_creation_input_tokens": 500, "output_tokens": 1}
    for ttl, expected in (("5m", Tokens(1, 0, 500, 0, 1)), ("1h", Tokens(1, 0, 0, 500, 1))):
        block = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": ttl}}
        reader = reader_of(AnthropicWire(), {**ASK, "stream": False, "system": [block]})
        read(reader, json.dumps({"model": "m", "usage": usage}).encode())
        assert reader.used is not None
        assert reader.used.tokens == expected


def test_anthropic_an_error_in_the_middle_is_a_fault() -> None:
    reader = reader_of(AnthropicWire(), ASK)
    read(reader, sse(START, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}))
    assert reader.fault is not None
    assert (reader.fault.kind, reader.complete) == ("overloaded_error", False)


def chunk(**more: Any) -> bytes:
    return f"data: {json.dumps({'id': 'c', 'model': 'gpt-x', **more})}\n\n".encode()


CHAT_USAGE = {
    "prompt_tokens": 2000,
    "completion_tokens": 300,
    "total_tokens": 2300,
    "prompt_tokens_details": {"cached_tokens": 1500, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 256},
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ends", [b"\n\n", b"\r\n\r\n"])
def test_chat_the_usage_that_only_the_gateway_asked_for_does_not_reach_the_client(seed: int, ends: bytes) -> None:
    body = {"model": "gpt-x", "stream": True, "messages": []}
    wire = ChatWire()
    assert wire.adapt(body, Terms("gpt-x"))["stream_options"] == {"include_usage": True}
    reader = reader_of(wire, body)
    said = chunk(choices=[{"index": 0, "delta": {"content": 'the "usage" of words\n\n'}}], usage=None)
    last = chunk(choices=[], usage=CHAT_USAGE)
    done = b"data: [DONE]\n\n"
    data = (said + last + done).replace(b"\n\n", ends)
    assert read(reader, data, seed) == (said + done).replace(b"\n\n", ends)
    assert reader.used is not None
    assert reader.used.tokens == Tokens(500, 1500, 0, 0, 300, 256)


def test_chat_what_the_client_asked_for_reaches_it() -> None:
    body = {"model": "gpt-x", "stream": True, "messages": [], "stream_options": {"include_usage": True}}
    data = (
        chunk(choices=[{"index": 0, "delta": {"content": "x"}}])
        + chunk(choices=[], usage=CHAT_USAGE)
        + b"data: [DONE]\n\n"
    )
    assert read(reader_of(ChatWire(), body), data) == data


def test_responses_the_last_event_carries_the_usage() -> None:
    usage = {
        "input_tokens": 900,
        "input_tokens_details": {"cached_tokens": 128},
        "output_tokens": 70,
        "output_tokens_details": {"reasoning_tokens": 64},
        "total_tokens": 970,
    }
    for end in ("response.completed", "response.incomplete"):
        reader = reader_of(ResponsesWire(), {"model": "gpt-x", "stream": True, "input": "hi"})
        response = {
            "model": "gpt-x-2026",
            "usage": usage,
            "output": [{"type": "web_search_call"}],
            "service_tier": "priority",
        }
        delta = {"type": "response.output_text.delta", "delta": 'a "response.completed" b'}
        data = sse(delta, {"type": end, "response": response})
        assert read(reader, data) == data
        assert reader.used is not None
        assert reader.used.tokens == Tokens(772, 128, 0, 0, 70, 64)
        assert (reader.used.searches, reader.used.choices) == (1, {"service_tier": "priority"})


def test_responses_a_failure_is_a_fault() -> None:
    reader = reader_of(ResponsesWire(), {"model": "gpt-x", "stream": True, "input": "hi"})
    error = {"code": "rate_limit_exceeded", "message": "slow down"}
    read(reader, sse({"type": "response.failed", "response": {"error": error, "usage": None}}))
    assert reader.fault is not None
    assert (reader.fault.kind, reader.complete) == ("rate_limit_exceeded", False)


GEMINI_USAGE = {
    "promptTokenCount": 1000,
    "cachedContentTokenCount": 600,
    "toolUsePromptTokenCount": 50,
    "candidatesTokenCount": 30,
    "thoughtsTokenCount": 200,
    "totalTokenCount": 1280,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 700}, {"modality": "AUDIO", "tokenCount": 300}],
}


@pytest.mark.parametrize("sse_", [True, False])
def test_gemini_thinking_is_output_and_the_cache_is_a_part_of_the_prompt(sse_: bool) -> None:
    body = {"model": "gemini-x", "stream": True, "sse": sse_, "contents": []}
    first = {"candidates": [{"content": {"parts": [{"text": "a"}]}}], "usageMetadata": {"promptTokenCount": 1000}}
    last = {"candidates": [{"finishReason": "STOP"}], "usageMetadata": GEMINI_USAGE, "modelVersion": "gemini-x-001"}
    if sse_:  # noqa: SIM108
        data = b"".join(b"data: " + json.dumps(value).encode() + b"\r\n\r\n" for value in (first, last))
    else:
        data = json.dumps([first, last]).encode()
    reader = reader_of(GeminiWire(), body)
    assert read(reader, data) == data
    assert reader.complete
    assert reader.used is not None
    assert reader.used.tokens == Tokens(450, 600, 0, 0, 230, 200)
    assert reader.used.tokens.total == GEMINI_USAGE["totalTokenCount"]
    assert reader.used.parts == {"input_audio": 300}


def test_gemini_an_array_that_breaks_off_keeps_its_last_whole_count() -> None:
    reader = reader_of(GeminiWire(), {"model": "gemini-x", "stream": True, "sse": False, "contents": []})
    read(
        reader,
        json.dumps([{"candidates": [], "usageMetadata": GEMINI_USAGE}]).encode()[:-1] + b',{"candidates": [{"con',
    )
    assert reader.used is not None
    assert (reader.used.tokens.output, reader.complete) == (230, False)


@pytest.mark.parametrize(
    "wire", [AnthropicWire(), ChatWire(), ResponsesWire(), GeminiWire()], ids=lambda wire: wire.name
)
def test_an_answer_of_any_bytes_breaks_no_reader(wire: Wire) -> None:
    dice = random.Random(5)
    for stream in (True, False):
        body = {
            "model": "m",
            "max_tokens": 5,
            "stream": stream,
            "sse": True,
            "messages": [],
            "input": "",
            "contents": [],
        }
        for _ in range(30):
            data = b"data: " + bytes(dice.choice(b'{}[]":,\\ntue1\n\xff\x00 "usage" null') for _ in range(300))
            reader = reader_of(wire, body)
            assert read(reader, data) == data
            assert reader.used is None or reader.used.tokens.total >= 0
