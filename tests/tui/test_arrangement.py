"""The panels of the deck: whatever the size and the choice, nothing overlaps and everything fits; filters mean what they say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import UsageError
from tui.arrangement import PANELS, Arrangement, arrange, from_memory
from tui.filter import parse_filter


@given(
    width=st.integers(1, 300), height=st.integers(1, 100), focus=st.sampled_from(PANELS), zoomed=st.booleans(),
    hidden=st.lists(st.sampled_from(PANELS), unique=True, max_size=4), grown=st.dictionaries(st.sampled_from(PANELS), st.integers(-60, 200)),
)  # fmt: skip
def test_nothing_overlaps_and_everything_fits(width, height, focus, zoomed, hidden, grown) -> None:  # type: ignore[no-untyped-def]
    boxes = arrange(width, height, Arrangement(focus, zoomed, tuple(hidden), grown))
    taken = set()
    for box in boxes.values():
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= width
        assert box.y + box.height <= height
        for y in range(box.y, box.y + box.height):
            row = {(x, y) for x in (box.x, box.x + box.width // 2, box.x + box.width - 1)}
            assert not row & taken
            taken |= row
    assert focus in hidden or focus in boxes


def test_on_a_small_screen_the_focus_and_its_companion_are_open() -> None:
    boxes = arrange(80, 22, Arrangement("queue"))
    assert [name for name, box in boxes.items() if not box.folded] == ["queue", "log"]
    assert all(box.height == 1 for box in boxes.values() if box.folded)


def test_what_is_remembered_comes_back() -> None:
    chosen = Arrangement("log", hidden=("budgets",)).resized(15).toggled("projects")
    assert from_memory(chosen.to_memory()) == chosen


@pytest.mark.parametrize(
    "values", [{}, {"focus": 3, "hidden": "x", "grown": [1]}, {"hidden": list(PANELS)}, {"grown": {"log": "big"}}]
)
def test_a_memory_that_is_damaged_is_no_trouble(values: dict[str, object]) -> None:
    assert arrange(80, 24, from_memory(values))


@pytest.mark.parametrize(
    ("text", "shown", "not_shown"),
    [
        ("parser", "Mend the PARSER", "Mend the lexer"),
        ("!parser", "Mend the lexer", "Mend the parser"),
        ("~mprs", "Mend the parser", "Lexer"),
        ("^#4 .*line$", "#4 Make it line", "#14 Make it line up"),
    ],
)
def test_filters(text: str, shown: str, not_shown: str) -> None:
    wanted = parse_filter(text)
    assert wanted.accepts(shown, {})
    assert not wanted.accepts(not_shown, {})


def test_fields_narrow_a_filter_down() -> None:
    wanted = parse_filter("project:har status:fail,rev agent:cl parser", ("failed", "review", "pending"))
    assert [one.values for one in wanted.wanted if one.name == "status"] == [("failed", "review")]
    assert wanted.accepts("the parser", {"project": "harbour", "status": "review", "agent": "claude"})
    assert not wanted.accepts("the parser", {"project": "harbour", "status": "pending", "agent": "claude"})
    assert not wanted.accepts("the parser", {"project": "lantern", "status": "review", "agent": "claude"})


def test_a_field_that_ends_is_all_of_it() -> None:
    wanted = parse_filter("project:api$")
    assert wanted.accepts("", {"project": "api"})
    assert not wanted.accepts("", {"project": "api-gateway"})


@pytest.mark.parametrize("text", ["(", "status:nonsense", "[a-"])
def test_a_filter_that_is_none_says_so(text: str) -> None:
    with pytest.raises(UsageError):
        parse_filter(text, ("failed",))
