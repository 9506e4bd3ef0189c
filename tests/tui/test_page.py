"""Texts of others on a page."""

from tui.widgets.page import words


def _lines(text: str, width: int) -> list[str]:
    return ["".join(part for part, _ in line).rstrip() for line in words(text, width)]


def test_a_line_that_is_broken_at_a_space_goes_on_at_the_margin() -> None:
    assert _lines("Strong text is looked for before emphasis", 32) == ["Strong text is looked for before", "emphasis"]
    assert _lines("- a list of things to do", 12) == ["- a list", "  of things", "  to do"]


def test_code_keeps_its_columns() -> None:
    assert _lines("```\nif x:\n    y = 1\n```", 20) == ["if x:", "    y = 1"]
    assert _lines("```\nabcd   x\n```", 5) == ["abcd", "  x"]
