"""What is read on the screen: texts in lines of any width, choices found by a few letters."""

from hypothesis import given
from hypothesis import strategies as st

from tui.ink import width_of, wrapped
from tui.screens.audit import spoken, who
from tui.widgets.dialogs import Option, narrowed


def text_of(lines: list[list[tuple[str, str]]]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


def test_what_is_too_long_goes_on_under_its_beginning() -> None:
    line = [("   x", "focus"), ("  ", ""), ("Cancel the task; a run of it is stopped.", "text")]
    assert text_of(wrapped(line, 24, hang=6)) == ["   x  Cancel the task; a", "      run of it is ", "      stopped."]


def test_a_word_without_blanks_is_broken_and_not_lost() -> None:
    assert text_of(wrapped([("ab" * 12, "")], 10)) == ["ababababab", "ababababab", "abab"]


@given(st.text(alphabet="ab \u4e2d", max_size=80), st.integers(4, 40), st.integers(0, 2))
def test_no_line_is_too_wide_and_no_letter_is_lost(text: str, width: int, hang: int) -> None:
    lines = wrapped([(text, "")], width, hang=hang)
    assert all(width_of(line) <= width for line in lines)
    assert "".join("".join(text_of(lines)).split()) == "".join(text.split())


def test_the_first_letters_of_words_find_what_they_begin() -> None:
    options = [Option("match: next", "the next row"), Option("theme: choose"), Option("task: cancel", "stop it")]
    assert [option.name for option in narrowed(options, "tc")] == ["theme: choose", "task: cancel", "match: next"]
    assert narrowed(options, "task")[0].name == "task: cancel"


def test_what_was_changed_is_said_in_words() -> None:
    assert [spoken(value) for value in ("in_progress", True, None, ["a", "b_c"], "tests/_x", 3)] == [
        "in progress", "yes", "nothing", "a, b c", "tests/_x", "3",
    ]  # fmt: skip
    assert [who(actor) for actor in ("user:ann", "engine:harbour-1", "slack:U1:ann")] == [
        "ann",
        "engine harbour-1",
        "slack U1:ann",
    ]
