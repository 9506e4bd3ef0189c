"""What a request may cost at most: its bytes, its pictures, what it does not show, what the provider does on its own."""

from typing import Any

import pytest

from core.budget.wire import AnthropicWire, ChatWire, GeminiWire, ResponsesWire, Terms, Wire
from core.budget.wire.base import dump, input_bound

ASK = {"model": "m", "max_tokens": 100, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
FETCH = {"type": "web_fetch_20250910", "name": "web_fetch"}


def added(tool: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": tool}}


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
