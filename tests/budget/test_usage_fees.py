"""What a call used beside the tokens of its one pass: other models, tools with a price of their own, thinking counted apart."""

import json
import uuid
from typing import Any

import pytest

from core.budget.gateway.routing import Quote
from core.budget.prices import Used, own_card
from core.budget.wire import AnthropicWire, ChatWire, GeminiWire, ResponsesWire, Terms, Wire
from storage.queries.budget import Ask, Tokens

CHEAP = own_card('{"input": 1, "output": 1, "search": 10}', known=True)
DEAR = own_card('{"input": 10, "output": 10}', known=True)
ASK = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}


def used(wire: Wire, body: dict[str, Any], answer: dict[str, Any] | list[dict[str, Any]]) -> Used:
    """What an answer says that it used: whole, or event by event."""
    asked = {"contents": [], "messages": [], "input": "x", "sse": True, **body, "stream": isinstance(answer, list)}
    reader = wire.reader(wire.demand(asked), asked)
    if isinstance(answer, list):
        reader.feed(b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in answer))
    else:
        reader.feed(json.dumps(answer).encode())
    reader.close()
    assert reader.used is not None
    return reader.used


def cost(found: Used) -> int:
    """Micro-dollars at 1 USD per million tokens, 10 USD for the model ``dear``."""
    ask = Ask(uuid.uuid4(), "s", "m", 0, 0, 0, 0, 0)
    return Quote(ask, CHEAP, "m", free=False, asked=None, others={"dear": DEAR}).cost(found)


def iteration(kind: str, read: int, said: int, **more: Any) -> dict[str, Any]:
    return {"type": kind, "input_tokens": read, "output_tokens": said, "cache_read_input_tokens": 0, **more}


def test_anthropic_a_summary_and_an_advisor_are_paid_for_beside_the_message() -> None:
    passes = [
        iteration("compaction", 1000, 100),
        iteration("message", 200, 20),
        iteration("advisor_message", 300, 30, model="dear"),
        iteration("message", 250, 25),
    ]
    usage = {"input_tokens": 450, "output_tokens": 45, "iterations": passes}
    start = {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 200, "output_tokens": 1}}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}
    answers: tuple[Any, ...] = ({"model": "m", "usage": usage}, [start, end], [start, end, end])
    for answer in answers:
        found = used(AnthropicWire(), ASK, answer)
        assert found.tokens == Tokens(input=1750, output=175)
        assert cost(found) == 1000 + 100 + 450 + 45 + 10 * 330


def test_anthropic_passes_that_are_not_all_told_do_not_make_a_message_cheaper() -> None:
    usage = {"input_tokens": 450, "output_tokens": 45, "iterations": [iteration("message", 250, 25)]}
    assert used(AnthropicWire(), ASK, {"usage": usage}).tokens == Tokens(input=450, output=45)
    assert used(AnthropicWire(), ASK, {"usage": {**usage, "iterations": []}}).tokens == Tokens(input=450, output=45)


def test_anthropic_models_that_the_provider_may_ask_are_known_and_limited() -> None:
    advisor = {"type": "advisor_20260301", "name": "advisor", "model": "dear", "max_uses": 2}
    body = {**ASK, "tools": [advisor], "fallbacks": [{"model": "dearer", "max_tokens": 400}]}
    demand = AnthropicWire().demand(body)
    assert (demand.others, demand.choices, demand.rounds, demand.output) == (("dear", "dearer"), 4, 6, 400)
    sent = AnthropicWire().adapt(body, Terms("m", 50))
    assert (sent["tools"][0]["max_tokens"], sent["fallbacks"][0]["max_tokens"], sent["max_tokens"]) == (50, 50, 50)
    with pytest.raises(ValueError, match="name the models"):
        AnthropicWire().demand({**ASK, "fallbacks": "default"})


def test_chat_what_was_thought_beside_the_completion_is_output() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "total_tokens": 410,
        "completion_tokens_details": {"reasoning_tokens": 300},
    }
    found = used(ChatWire(), {"model": "grok-4"}, {"model": "grok-4", "usage": usage})
    assert found.tokens == Tokens(input=100, output=310, thinking=300)


@pytest.mark.parametrize(
    ("body", "usage", "searches"),
    [
        ({"model": "gpt-4o-search-preview"}, {}, 1),
        ({"model": "gpt-4o", "web_search_options": {}}, {}, 1),
        ({"model": "gpt-4o"}, {}, 0),
        ({"model": "grok-4", "search_parameters": {"mode": "on"}}, {"num_sources_used": 7}, 7),
    ],
)
def test_chat_a_search_has_its_fee(body: dict[str, Any], usage: dict[str, int], searches: int) -> None:
    told = {"prompt_tokens": 100, "completion_tokens": 10, **usage}
    assert used(ChatWire(), body, {"usage": told}).searches == searches
    stream = [{"choices": [], "usage": told}]
    assert used(ChatWire(), body, stream).searches == searches
    assert ChatWire().demand({"messages": [], **body}).searches >= searches


def test_a_search_of_a_model_without_a_price_for_it_costs_the_dearest_and_is_not_called_measured() -> None:
    searched = Used(searches=2)
    assert (DEAR.cost(searched), DEAR.knows(searched), DEAR.knows(Used())) == (70_000, False, True)
    assert (CHEAP.cost(searched), CHEAP.knows(searched)) == (20_000, True)


def test_responses_tools_with_a_fixed_price_are_reserved_and_paid_for() -> None:
    tools = [{"type": "file_search"}, {"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "4g"}}]
    body = {"model": "m", "input": "x", "tools": tools, "max_tool_calls": 3}
    assert ResponsesWire().demand(body).fees == 3 * 2_500 + 120_000
    output = [{"type": "file_search_call"}, {"type": "file_search_call"}, {"type": "message"}]
    answer = {"usage": {"input_tokens": 10, "output_tokens": 10}, "output": output}
    assert cost(used(ResponsesWire(), body, answer)) == 20 + 5_000
    ran = {**answer, "output": [*output, {"type": "code_interpreter_call"}]}
    assert cost(used(ResponsesWire(), body, [{"type": "response.completed", "response": ran}])) == 20 + 125_000


@pytest.mark.parametrize(("model", "searches"), [("gemini-2.5-pro", 1), ("gemini-3.5-flash", 3)])
def test_gemini_grounding_is_paid_for_by_the_answer_or_by_the_query(model: str, searches: int) -> None:
    def part(*queries: str) -> dict[str, Any]:
        return {
            "candidates": [{"groundingMetadata": {"webSearchQueries": list(queries)}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5},
        }

    body = {"model": model, "tools": [{"googleSearch": {}}]}
    assert used(GeminiWire(), body, part("a", "b", "c")).searches == searches
    assert used(GeminiWire(), body, [part("a"), part("a", "b"), part("c")]).searches == searches
    assert GeminiWire().demand({"contents": [], "stream": False, **body}).searches >= searches
