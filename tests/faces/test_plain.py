"""Values made fit to be shown."""

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.faces.plain import harmless, in_local_time, json_text, jsonable, one_line
from storage.database import Role


@dataclass(frozen=True, slots=True)
class Thing:
    second: int
    first: Decimal
    at: datetime
    held: tuple["Thing", ...] = ()


def test_json_follows_the_fields_and_the_forms_that_scripts_rely_on() -> None:
    at = datetime(2026, 5, 1, 11, 0, tzinfo=timezone(timedelta(hours=2)))
    thing = Thing(2, Decimal("1.500000"), at, (Thing(3, Decimal(0), at),))
    assert json_text(thing) == (
        '{"second": 2, "first": 1.5, "at": "2026-05-01T09:00:00Z", "held": '
        '[{"second": 3, "first": 0.0, "at": "2026-05-01T09:00:00Z", "held": []}]}'
    )
    assert jsonable({"a": UUID(int=1), "b": timedelta(minutes=2), "c": Role.ADMIN, 4: {None}}) == {
        "a": "00000000-0000-0000-0000-000000000001",
        "b": 120.0,
        "c": "admin",
        "4": [None],
    }


def test_what_has_no_form_in_json_is_a_bug_that_shows() -> None:
    with pytest.raises(TypeError, match="object"):
        jsonable(object())


@given(st.text(st.characters(min_codepoint=0, max_codepoint=0x10FFFF)))
def test_json_holds_the_text_unchanged_and_nothing_that_a_terminal_obeys(text: str) -> None:
    shown = json_text([text])
    assert json.loads(shown) == [text]
    assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in shown)
    shown.encode()


@given(st.text(st.characters(min_codepoint=0, max_codepoint=0x10FFFF)))
def test_harmless_text_moves_no_cursor_and_can_be_written(text: str) -> None:
    shown = harmless(text)
    assert all(c.isprintable() or c in "\n\t\u200c\u200d" for c in shown)
    shown.encode()
    assert "\n" not in one_line(text)


def test_the_colours_of_a_programs_output_go_and_the_rest_is_visible() -> None:
    assert harmless("\x1b[1;31mred\x1b[0m \x1b]0;title\x07 \u202eevil") == "red \u241b]0;title\u2407 \ufffdevil"
    assert one_line("a\r\n\tb  c\r") == "a b c\u240d"


def test_a_time_is_told_in_utc() -> None:
    assert jsonable(datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)) == "2026-01-02T03:04:05.000678Z"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("starts at 2026-05-06T23:30:00Z", "starts at 2026-05-07 01:30"),
        ("until 2026-01-06 23:30:00.123456+00, or earlier", "until 2026-01-07 00:30, or earlier"),
        ("2026-05-06T23:30:00+05:30", "2026-05-06 20:00"),
        ("2026-99-06T23:30:00Z", "2026-99-06T23:30:00Z"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00+14:00"),
        ("release 2026-05-06 of a-b", "release 2026-05-06 of a-b"),
    ],
)
def test_exact_times_in_a_text_are_those_of_the_person(monkeypatch: pytest.MonkeyPatch, text: str, told: str) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert in_local_time(text) == told
    finally:
        monkeypatch.undo()
        time.tzset()
