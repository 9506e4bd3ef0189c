"""Usage out of recorded answers of every protocol, however they are cut, against the provider's own totals."""

import json
import random
from collections.abc import Mapping
from typing import Any

import pytest

from core.budget.wire import AnthropicWire, ChatWire, GeminiWire, Reader, ResponsesWire, Terms, Wire
from core.budget.wire.base import dump, input_bound
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


# ── the bound of a prompt ───────────────────────────────────────────────────────────────────────────────────────────


def bound(wire: Wire, body: dict[str, Any], window: int = 1_000_000) -> int:
    return input_bound(wire, wire.demand(body), len(dump(body)), window)


def test_text_is_bounded_by_its_bytes() -> None:
    text = "日本語 text 🙂" * 50
    body = {**ASK, "messages": [{"role": "user", "content": text}]}
    assert len(text.encode()) < bound(AnthropicWire(), body) < len(text.encode()) + 2500


def test_a_picture_counts_as_a_picture_and_not_as_its_bytes() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 900_000}}
    body = {**ASK, "messages": [{"role": "user", "content": [image]}]}
    assert 5_000 < bound(AnthropicWire(), body) < 9_000


BYTES = "A" * 900_000
SHOT = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": BYTES}}
URL = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{BYTES}"}}
INPUT = {"type": "input_image", "image_url": f"data:image/png;base64,{BYTES}"}
INLINE = {"inlineData": {"mimeType": "image/png", "data": BYTES}}


def said(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


@pytest.mark.parametrize(
    ("wire", "body", "images"),
    [
        (AnthropicWire(), said({"type": "tool_result", "tool_use_id": "t", "content": [SHOT]}), 1),
        (AnthropicWire(), said({"type": "document", "source": {"type": "content", "content": [SHOT, SHOT]}}), 2),
        (AnthropicWire(), said({"type": "tool_use", "id": "t", "name": "n", "input": SHOT}), 0),
        (AnthropicWire(), said({"type": "tool_use", "id": "t", "name": "n", "input": {"content": [SHOT]}}), 0),
        (AnthropicWire(), {"messages": [], "tools": [{"name": "n", "input_schema": {"default": SHOT}}]}, 0),
        (AnthropicWire(), {"messages": [], "system": [SHOT]}, 0),
        (ChatWire(), said(URL), 1),
        (ChatWire(), {"messages": [{"role": "assistant", "content": [URL]}]}, 0),
        (ChatWire(), {"messages": [], "tools": [{"type": "function", "function": {"parameters": URL}}]}, 0),
        (ResponsesWire(), {"input": [{"role": "user", "content": [INPUT]}]}, 1),
        (ResponsesWire(), {"input": [{"type": "function_call_output", "output": [INPUT]}]}, 1),
        (
            ResponsesWire(),
            {"input": [{"type": "computer_call_output", "output": {**INPUT, "type": "computer_screenshot"}}]},
            1,
        ),
        (ResponsesWire(), {"input": [{"type": "reasoning", "content": [INPUT]}]}, 0),
        (GeminiWire(), {"contents": [{"parts": [INLINE]}]}, 1),
        (GeminiWire(), {"contents": [{"parts": [{"functionResponse": {"name": "f", "response": INLINE}}]}]}, 0),
        (GeminiWire(), {"contents": [], "systemInstruction": {"parts": [INLINE]}}, 0),
    ],
)
def test_a_picture_counts_as_one_only_where_the_provider_reads_pictures(
    wire: Wire, body: dict[str, Any], images: int
) -> None:
    asked = {"model": "m", "max_tokens": 10, "stream": False, **body}
    if images:
        assert bound(wire, asked) < images * wire.image_tokens + 3_000
    else:
        assert bound(wire, asked) > len(BYTES)


@pytest.mark.parametrize(
    ("wire", "body"),
    [
        (
            AnthropicWire(),
            {
                **ASK,
                "messages": [
                    {"role": "user", "content": [{"type": "document", "source": {"type": "url", "url": "x"}}]}
                ],
            },
        ),
        (
            AnthropicWire(),
            {
                **ASK,
                "messages": [
                    {"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}
                ],
            },
        ),
        (ResponsesWire(), {"model": "m", "input": "x", "previous_response_id": "resp_1"}),
        (ResponsesWire(), {"model": "m", "input": "x", "conversation": "conv_1"}),
        (
            ChatWire(),
            {"model": "m", "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
        ),
        (GeminiWire(), {"model": "m", "stream": False, "contents": [{"parts": [{"fileData": {"fileUri": "x"}}]}]}),
        (GeminiWire(), {"model": "m", "stream": False, "contents": [], "cachedContent": "c"}),
    ],
)
def test_what_the_request_does_not_show_is_bounded_by_the_window(wire: Wire, body: dict[str, Any]) -> None:
    assert bound(wire, body, 200_000) == 200_000


def test_each_search_of_the_web_may_be_another_round_with_what_it_found() -> None:
    once = bound(AnthropicWire(), {**ASK, "tools": [{"name": "mine"}]}, 200_000)
    tool = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    searched = bound(AnthropicWire(), {**ASK, "tools": [tool]}, 200_000)
    assert 4 * once < searched - (0 + 10_000 + 20_000 + 30_000) < 4 * once + 500
    assert bound(AnthropicWire(), {**ASK, "tools": [tool]}, 20_000) <= 4 * 20_000, "no round is longer than the window"


SEARCH = {"type": "web_search_20250305", "name": "web_search"}


def added(tool: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": tool}}


FETCH = {"type": "web_fetch_20250910", "name": "web_fetch"}


def test_a_tool_of_the_provider_s_is_sent_on_with_the_limit_that_was_reserved_for() -> None:
    sent = AnthropicWire().adapt({**ASK, "tools": [SEARCH, {**FETCH, "max_uses": 2}, {"name": "mine"}]}, Terms("m"))
    limits = {"max_uses": 2, "max_content_tokens": 25_000}
    assert sent["tools"] == [{**SEARCH, "max_uses": 5}, {**FETCH, **limits}, {"name": "mine"}]
    asked = {"model": "m", "input": "x", "tools": [{"type": "web_search"}]}
    assert ResponsesWire().adapt(asked, Terms("m"))["max_tool_calls"] == 5
    assert ResponsesWire().adapt({**asked, "max_tool_calls": 2}, Terms("m"))["max_tool_calls"] == 2
    assert ResponsesWire().adapt(asked, Terms("m", priced=False)) == asked, "a subscription is asked as the client asks"
    assert "max_tool_calls" not in ResponsesWire().adapt({**asked, "tools": [{"type": "function"}]}, Terms("m"))


def test_a_tier_that_is_left_to_the_account_is_the_one_that_was_reserved() -> None:
    asks: tuple[tuple[Wire, dict[str, Any]], ...] = (
        (ChatWire(), {"model": "gpt-5.2", "messages": []}),
        (ResponsesWire(), {"model": "gpt-5.2", "input": "x"}),
    )
    for wire, body in asks:
        assert wire.adapt(body, Terms("gpt-5.2", service_tier="default"))["service_tier"] == "default"
        asked = {**body, "service_tier": "priority"}
        assert wire.adapt(asked, Terms("gpt-5.2", service_tier="default")) == asked
        assert wire.adapt(body, Terms("gpt-5.2")) == body
    gemini = GeminiWire().demand({"model": "m", "stream": False, "contents": [], "serviceTier": "PRIORITY"})
    assert gemini.options == {"service_tier": "priority"}


@pytest.mark.parametrize(
    ("wire", "more", "rounds", "opaque"),
    [
        (AnthropicWire(), {"context_management": {"edits": [{"type": "clear_thinking_20251015"}]}}, 0, False),
        (AnthropicWire(), {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}, 0, False),
        (AnthropicWire(), {"context_management": {"edits": [{"type": "compact_20260112"}]}}, 1, True),
        (AnthropicWire(), {"tools": [{"type": "tool_search_tool_regex_20251119"}]}, 10, False),
        (AnthropicWire(), {"tools": [{"type": "code_execution_20250825"}]}, 10, True),
        (AnthropicWire(), {"mcp_servers": [{"type": "url", "url": "https://x"}]}, 10, True),
        (AnthropicWire(), {"tools": [{**SEARCH, "type": "web_search_20260318", "max_uses": 2}]}, 10, False),
        (AnthropicWire(), {"tools": [{"type": "of_tomorrow_20270101"}]}, 10, True),
        (AnthropicWire(), {"tools": [{"type": "bash_20250124"}, {"type": "custom"}, {"name": "mine"}]}, 0, False),
        (AnthropicWire(), {"messages": [{"role": "user", "content": [added(SEARCH)]}]}, 10, True),
        (AnthropicWire(), {"messages": [{"role": "user", "content": [added({"name": "mine"})]}]}, 0, False),
        (ResponsesWire(), {"tools": [{"type": "mcp", "server_url": "https://x"}]}, 5, True),
        (ResponsesWire(), {"tools": [{"type": "code_interpreter"}], "max_tool_calls": 3}, 3, True),
        (ResponsesWire(), {"tools": [{"type": "web_search"}, {"type": "function"}]}, 5, False),
        (ResponsesWire(), {"tools": [{"type": "shell"}, {"type": "local_shell"}]}, 0, False),
        (ResponsesWire(), {"tools": [{"type": "shell", "environment": {"type": "container_auto"}}]}, 5, True),
        (ResponsesWire(), {"context_management": [{"type": "compaction", "compact_threshold": 1000}]}, 1, False),
        (GeminiWire(), {"tools": [{"functionDeclarations": []}]}, 0, False),
        (GeminiWire(), {"tools": [{"google_search": {}}]}, 1, False),
        (GeminiWire(), {"tools": [{"codeExecution": {}}]}, 5, True),
    ],
)
def test_what_the_provider_does_on_its_own_is_bounded_by_rounds(
    wire: Wire, more: dict[str, Any], rounds: int, opaque: bool
) -> None:
    demand = wire.demand({**ASK, "input": "x", "contents": [], **more})
    assert (demand.rounds, demand.opaque) == (rounds, opaque)


def test_a_model_that_may_say_less_thinks_less() -> None:
    demand = AnthropicWire().demand({**ASK, "max_tokens": 5000, "thinking": {"type": "enabled", "budget_tokens": 4000}})
    assert demand.least == 1025
    body = {**ASK, "max_tokens": 5000, "thinking": {"type": "enabled", "budget_tokens": 4000}}
    for output, thinks in ((2500, 1875), (1100, 1024)):
        sent = AnthropicWire().adapt(body, Terms("m", output))
        assert (sent["max_tokens"], sent["thinking"]["budget_tokens"]) == (output, thinks)


def test_an_answer_in_the_background_is_refused() -> None:
    with pytest.raises(ValueError, match="background"):
        ResponsesWire().demand({"model": "m", "input": "x", "background": True})
