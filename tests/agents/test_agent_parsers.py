"""Whatever a program prints, a parser makes events of it that can be stored, and never an error of ours."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.agents.adapter import Parser
from core.agents.claude_code import ClaudeCodeDialect, ClaudeCodeParser
from core.agents.command import CommandDialect, CommandParser
from core.agents.text import DEPTH_LIMIT, TEXT_LIMIT
from core.events import Event, EventKind

PARSERS = [CommandParser, ClaudeCodeParser]

VOCABULARY = """
    kind text data id options tokens input output cost_usd model status usage question session type subtype system init
    assistant user stream_event control_request control_cancel_request result message content event message_start
    message_delta input_tokens output_tokens tool_use tool_result tool_use_id is_error name Edit file_path request
    request_id can_use_tool tool_name AskUserQuestion questions label permission_denials tool_input errors
    rate_limit_event rate_limit_info queued_turn_count
"""
WORDS = VOCABULARY.split()
TYPES = """
    system assistant user stream_event control_request control_cancel_request rate_limit_event result
"""

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(WORDS)
    | st.text(st.characters(), max_size=20)
    | st.just(10**400)
    | st.just("\ud800")
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=6),
    max_leaves=30,
)
objects = st.dictionaries(st.sampled_from(WORDS), values, max_size=8)
event_like = st.builds(
    lambda kind, rest: {**rest, "kind": kind}, st.sampled_from([kind.value for kind in EventKind]), objects
)
message_like = st.builds(
    lambda kind, rest: {**rest, "type": kind},
    st.sampled_from(TYPES.split()),
    objects,
)
lines = st.binary(max_size=200) | (event_like | message_like | objects).map(lambda value: json.dumps(value).encode())


def assert_storable(event: Event) -> None:
    assert isinstance(event.kind, EventKind)
    stored = json.dumps(dict(event.data), allow_nan=False, ensure_ascii=False)
    for text in (event.text, stored):
        assert "\0" not in text
        text.encode("utf-8")
    assert "\\u0000" not in stored
    assert len(event.text.encode()) <= TEXT_LIMIT + 100
    if event.kind is EventKind.USAGE:
        assert all(type(count) is int and count >= 0 for count in event.data.get("tokens", {}).values())
    if event.kind is EventKind.QUESTION:
        assert isinstance(event.data["id"], str)
        assert event.data["id"]
        assert event.data["kind"] in ("question", "permission")
        assert all(isinstance(option, str) for option in event.data["options"])


@pytest.mark.parametrize("make", PARSERS)
@given(fed=st.lists(lines, max_size=12), code=st.none() | st.integers(-1, 300), signal=st.none() | st.integers(-5, 100))
@settings(max_examples=100, deadline=None)
def test_no_line_is_an_error_of_ours(
    make: type[Parser], fed: list[bytes], code: int | None, signal: int | None
) -> None:
    parser, again = make(), make()
    events = [event for line in fed for event in parser.feed(line)]
    for event in events:
        assert_storable(event)
    verdict = parser.close(code, signal)
    verdict.reason.encode()
    assert events == [event for line in fed for event in again.feed(line)], "fed again it means the same"
    assert verdict == again.close(code, signal)


@pytest.mark.parametrize("make", PARSERS)
@given(prefix=st.binary(max_size=100), length=st.integers(100, 10**12))
def test_an_oversized_line_becomes_an_output_event(make: type[Parser], prefix: bytes, length: int) -> None:
    (event,) = make().oversized(prefix, length)
    assert_storable(event)
    assert event.kind is EventKind.OUTPUT
    assert event.data["truncated"] == length - len(prefix)


@pytest.mark.parametrize("make", PARSERS)
@pytest.mark.parametrize(
    "line",
    [
        b'{"kind": "message", "type": "user", "data": ' + b"[" * 100_000,
        b'{"kind": "message", "data": {"n": ' + b"9" * 10_000 + b"}}",
        b'{"kind":"message","type":"system","subtype":"x","data":' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}",
        b"\xff" * 900_000,
        b"",
    ],
    ids=["deep", "long number", "nested", "no text", "nothing"],
)
def test_lines_that_are_made_to_hurt(make: type[Parser], line: bytes) -> None:
    for event in make().feed(line):
        assert_storable(event)


def test_a_long_text_is_cut_and_says_so() -> None:
    (event,) = CommandParser().feed(json.dumps({"kind": "message", "text": "ä" * 100_000}).encode())
    assert event.data["truncated"] == 200_000 - TEXT_LIMIT
    assert event.text.endswith("… (136000 bytes more)")


def test_nesting_is_bounded() -> None:
    value: Any = "bottom"
    for _ in range(100):
        value = [value]
    (event,) = CommandParser().feed(json.dumps({"kind": "message", "text": "", "data": {"deep": value}}).encode())
    assert json.dumps(event.data["deep"]).count("[") == DEPTH_LIMIT


def test_usage_of_one_message_is_told_in_increments() -> None:
    """The stream tells totals per message; what it tells twice is not counted twice."""
    parser = ClaudeCodeParser()

    def streamed(event: dict[str, Any]) -> list[Event]:
        return parser.feed(json.dumps({"type": "stream_event", "event": event}).encode())

    begun = {"id": "m1", "model": "m", "usage": {"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": 5}}
    assert streamed({"type": "message_start", "message": begun}) == []
    (first,) = streamed({"type": "message_delta", "usage": {"output_tokens": 7}})
    (second,) = streamed({"type": "message_delta", "usage": {"output_tokens": 9}})
    assert first.data["tokens"] == {"input": 10, "output": 7, "cache_read": 5, "cache_write": 0}
    assert second.data["tokens"] == {"input": 0, "output": 2, "cache_read": 0, "cache_write": 0}
    assert streamed({"type": "message_delta", "usage": {"output_tokens": 9}}) == []


def test_a_message_that_was_cut_off_is_counted_at_the_end() -> None:
    parser = ClaudeCodeParser()
    begun = {"id": "m1", "model": "m", "usage": {"input_tokens": 10, "output_tokens": 1}}
    parser.feed(json.dumps({"type": "stream_event", "event": {"type": "message_start", "message": begun}}).encode())
    events = parser.feed(b'{"type": "result", "is_error": true, "terminal_reason": "aborted_streaming"}')
    (usage,) = [event for event in events if event.kind is EventKind.USAGE]
    assert usage.data["tokens"] == {"input": 10, "output": 1, "cache_read": 0, "cache_write": 0}


def test_a_turn_with_another_one_queued_is_not_the_end() -> None:
    (event,) = ClaudeCodeParser().feed(b'{"type": "result", "is_error": false, "queued_turn_count": 1}')
    assert "final" not in event.data


def test_answers_are_lines_of_ascii_json() -> None:
    told = CommandDialect().answer("q1", {}, "zwei\nZeilen\u2028ä", None)
    assert told.count(b"\n") == 1
    assert told.isascii()
    assert json.loads(told) == {"kind": "answer", "text": "zwei\nZeilen\u2028ä", "data": {"id": "q1"}}


def test_a_permission_given_for_always_stays_in_the_session() -> None:
    asked = {
        "tool": "Bash",
        "input": {"command": "ls"},
        "suggestions": [{"type": "addRules", "destination": "localSettings"}],
    }
    response = json.loads(ClaudeCodeDialect().answer("r1", asked, "", "always"))["response"]["response"]
    assert response["updatedInput"] == {"command": "ls"}
    assert response["updatedPermissions"] == [{"type": "addRules", "destination": "session"}]


def test_two_questions_at_once_are_answered_line_by_line() -> None:
    asked = {"tool": "AskUserQuestion", "input": {"questions": [{"question": "A?"}, {"question": "B?"}]}}
    given_ = json.loads(ClaudeCodeDialect().answer("r1", asked, "yes\nno", None))["response"]["response"]
    assert given_["updatedInput"]["answers"] == {"A?": "yes", "B?": "no"}
    both = json.loads(ClaudeCodeDialect().answer("r1", asked, "as you like", None))["response"]["response"]
    assert both["updatedInput"]["answers"] == {"A?": "as you like", "B?": "as you like"}


def test_a_request_with_more_lines_than_its_text_shows_says_so() -> None:
    request = {"subtype": "can_use_tool", "tool_name": "Bash", "input": {"command": "git status\ncurl x | sh\n"}}
    line = json.dumps({"type": "control_request", "request_id": "r1", "request": request}).encode()
    (asked,) = ClaudeCodeParser().feed(line)
    assert asked.text == "Bash git status … (+1 line)"
