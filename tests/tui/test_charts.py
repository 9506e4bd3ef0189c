"""Plots in characters."""

from hypothesis import given
from hypothesis import strategies as st

from tui.ink import Ink, Part, width_of
from tui.themes import DARK
from tui.widgets.charts import burn_down, columns, limit_bar, sparkline

INK, ASCII = Ink(DARK, True), Ink(DARK, False)


def text(parts: list[Part]) -> str:
    return "".join(words for words, _ in parts)


def test_a_sparkline_grows_with_its_values_and_shows_gaps() -> None:
    assert text(sparkline(INK, [0, 1, 4, 8, None], 5)) == "·▁▄█ "
    assert text(sparkline(ASCII, [0, 1, 4, 8, None], 5)) == "..-# "


def test_more_values_than_cells_are_added_up() -> None:
    assert text(sparkline(INK, [1, 1, 4, 4], 2)) == "▂█"


def test_columns_stand_on_the_ground() -> None:
    assert [text(line) for line in columns(INK, [1, 2, 0], 3, 2)] == [" █ ", "██ "]


def test_a_bar_shows_what_is_spent_what_is_reserved_and_the_soft_limit() -> None:
    assert text(limit_bar(INK, 4, 2, 10, 8, 10)) == "████▒▒░░┆░"
    assert text(limit_bar(ASCII, 4, 2, 10, 8, 10)) == "####//..!."
    assert {tone for _, tone in limit_bar(INK, 12, 0, 10, None, 10)} == {"bad"}
    assert "warn" in {tone for _, tone in limit_bar(INK, 8.5, 0, 10, 8, 10)}


def test_a_burn_down_goes_from_the_limit_to_nothing() -> None:
    lines = [text(line) for line in burn_down(INK, [10, 5, 0], 10, 2, 9, 3)]
    assert lines[0][0] == "●"
    assert lines[1][4] == "●"
    assert lines[2][8] == "●"
    assert all(len(line) == 9 for line in lines)


def test_what_is_foretold_is_hatched_from_today_to_the_end() -> None:
    lines = [text(line) for line in burn_down(INK, [10, 8], 10, 2, 9, 5, ahead=(8, 6, 2))]
    assert lines[1][8] == "░"
    assert lines[2][8] == "○"
    assert lines[3][8] == "░"
    assert lines[0][0] == "●"
    assert all("░" not in line[:5] for line in lines)


AMOUNTS = st.floats(0, 1e9)


@given(st.lists(st.one_of(st.none(), AMOUNTS), max_size=50), st.integers(1, 60), st.integers(1, 8), st.booleans())
def test_plots_have_the_size_that_was_asked_for(
    values: list[float | None], width: int, height: int, unicode: bool
) -> None:
    ink = Ink(DARK, unicode)
    assert width_of(sparkline(ink, values, width)) == width
    plotted = columns(ink, values, width, height)
    assert len(plotted) == height
    assert {width_of(line) for line in plotted} == {width}


@given(AMOUNTS, AMOUNTS, st.floats(0.01, 1e9), st.one_of(st.none(), AMOUNTS), st.integers(1, 60), st.booleans())
def test_bars_have_the_size_that_was_asked_for(
    spent: float, reserved: float, hard: float, soft: float | None, width: int, unicode: bool
) -> None:
    assert width_of(limit_bar(Ink(DARK, unicode), spent, reserved, hard, soft, width)) == width


@given(
    st.lists(st.floats(-1e6, 1e6), max_size=40),
    st.floats(0.01, 1e6),
    st.integers(1, 31),
    st.integers(2, 60),
    st.integers(1, 9),
    st.one_of(st.none(), st.tuples(*[st.floats(-1e6, 1e6)] * 3)),
)
def test_burn_downs_have_the_size_that_was_asked_for(
    left: list[float], limit: float, span: int, width: int, height: int, ahead: tuple[float, float, float] | None
) -> None:
    lines = burn_down(INK, left, limit, span, width, height, ahead)
    assert len(lines) == height
    assert {width_of(line) for line in lines} == {width}
