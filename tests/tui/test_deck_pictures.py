"""Pictures of the deck: full, empty, in trouble, with a dialog; on three sizes of terminal and in three themes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.screen_kit import screen_on, settled
from tui.store import Connection

SIZES = [(80, 24), (120, 40), (200, 50)]
THEMES = ["dark", "ansi", "mono"]
Compare = Callable[..., bool]


async def _look(pilot: Pilot[Any]) -> None:
    await settled(pilot)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_deck_in_the_middle_of_the_day(
    snap_compare: Compare, seen_day: str, tmp_path: Path, size: tuple[int, int], theme: str
) -> None:
    assert snap_compare(screen_on(seen_day, tmp_path, theme=theme), terminal_size=size, run_before=_look)


@pytest.mark.parametrize(("size", "theme"), zip(SIZES, THEMES, strict=True), ids=["80x24", "120x40", "200x50"])
def test_an_empty_deck_says_how_to_begin(
    snap_compare: Compare, seen_nothing: str, tmp_path: Path, size: tuple[int, int], theme: str
) -> None:
    assert snap_compare(screen_on(seen_nothing, tmp_path, theme=theme), terminal_size=size, run_before=_look)


@pytest.mark.parametrize(("size", "theme"), zip(SIZES, THEMES, strict=True), ids=["80x24", "120x40", "200x50"])
def test_a_database_that_is_gone_is_said_and_what_is_shown_stays(
    snap_compare: Compare, seen_day: str, tmp_path: Path, size: tuple[int, int], theme: str
) -> None:
    async def trouble(pilot: Pilot[Any]) -> None:
        await settled(pilot)
        app: Any = pilot.app
        await app.store.stop()
        app.store.state, app.store.words = "gone", "the connection was lost"
        app.post_message(Connection("gone", app.store.words))
        await pilot.pause()
        await pilot.pause()

    assert snap_compare(screen_on(seen_day, tmp_path, theme=theme), terminal_size=size, run_before=trouble)


@pytest.mark.parametrize(
    ("keys", "size", "theme"),
    [
        (("3", "x"), (80, 24), "dark"),
        (("question_mark",), (120, 40), "mono"),
        (("ctrl+p", "t", "c"), (120, 40), "dark"),
        (("3", "slash", *"status", "colon", *"pend"), (80, 24), "ansi"),
        (("j", "j", "j", "a"), (120, 40), "dark"),
        (("3", "z"), (200, 50), "light"),
        (("g", "s"), (120, 40), "colour-blind"),
        (("semicolon",), (80, 24), "dark"),
    ],
    ids=["cancel", "help", "palette", "filter", "answer", "zoom", "settings", "jump"],
)  # fmt: skip
def test_what_lies_over_the_deck(
    snap_compare: Compare, seen_day: str, tmp_path: Path, keys: tuple[str, ...], size: tuple[int, int], theme: str
) -> None:
    async def press(pilot: Pilot[Any]) -> None:
        await settled(pilot)
        for key in keys:
            await pilot.press(key)
            await settled(pilot)

    assert snap_compare(screen_on(seen_day, tmp_path, theme=theme), terminal_size=size, run_before=press)


def test_a_poor_terminal_gets_plain_letters(snap_compare: Compare, seen_day: str, tmp_path: Path) -> None:
    assert snap_compare(
        screen_on(seen_day, tmp_path, theme="mono", unicode=False), terminal_size=(80, 24), run_before=_look
    )
