"""Pictures of budgets, knowledge, figures, agents, audit, settings and doctor: full, empty, in trouble, with a dialog. The clock is frozen."""

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.pictures_kit import SIZES, photograph
from tests.tui.screen_kit import at_the_screen, settled, type_
from tui.store import Connection

ONE = ((120, 40),)
PLACES = ("budgets", "knowledge", "analytics", "agents", "audit", "settings")


async def _go(pilot: Pilot[Any], place: str, *keys: str, **names: str) -> None:
    app: Any = pilot.app
    app.open(place, **names)
    await pilot.pause()
    await settled(pilot)
    for key in keys:
        if key.startswith("type "):
            await type_(pilot, key.removeprefix("type "))
        else:
            await pilot.press(key)
        await pilot.pause()
        await settled(pilot)


@pytest.mark.parametrize("place", PLACES)
async def test_full(snapshot: Any, seen_rich: str, tmp_path: Path, place: str) -> None:
    async with at_the_screen(seen_rich, tmp_path) as pilot:
        await _go(pilot, place)
        await photograph(pilot, snapshot)


@pytest.mark.parametrize("place", [place for place in PLACES if place != "settings"])
async def test_empty(snapshot: Any, seen_nothing: str, tmp_path: Path, place: str) -> None:
    async with at_the_screen(seen_nothing, tmp_path) as pilot:
        await _go(pilot, place)
        await photograph(pilot, snapshot, themes=("dark",))
        await photograph(pilot, snapshot, sizes=ONE, themes=("ansi", "mono"))


@pytest.mark.parametrize("place", ["budgets", "knowledge"])
async def test_in_trouble(snapshot: Any, seen_rich: str, tmp_path: Path, place: str) -> None:
    async with at_the_screen(seen_rich, tmp_path) as pilot:
        app: Any = pilot.app
        await _go(pilot, place)
        for columns, lines, theme in ((80, 24, "dark"), (120, 40, "ansi"), (200, 50, "mono")):
            await pilot.resize_terminal(columns, lines)
            app.use_theme(theme)
            await settled(pilot)
            await app.store.stop()
            app.store.state, app.store.words = "gone", "the connection was lost"
            app.post_message(Connection("gone", app.store.words))
            await pilot.pause()
            await pilot.pause()
            assert "as of" in app.trouble
            await photograph(pilot, snapshot, sizes=((columns, lines),), themes=(theme,))
            break


STATES = {
    "raise a limit": ("budgets", ("plus",), SIZES),
    "a new limit": ("budgets", ("c",), SIZES),
    "remove a limit": ("budgets", ("delete",), ONE),
    "burn-down alone": ("budgets", ("j", "2"), ((80, 24),)),
    "spent by model": ("budgets", ("3", "w", "w", "w"), ((80, 24),)),
    "alerts": ("budgets", ("4",), ((80, 24),)),
    "a search": ("knowledge", ("slash", "type rates", "enter"), SIZES),
    "a search that finds nothing": ("knowledge", ("slash", "type xyzzy", "enter"), ONE),
    "code": ("knowledge", ("l",), SIZES),
    "a pattern": ("knowledge", ("l", "l", "l", "l"), ((120, 40), (200, 50))),
    "a lesson": ("knowledge", ("h", "h", "h", "h", "j"), ONE),
    "proposals": ("knowledge", ("h", "h"), SIZES),
    "the preview alone": ("knowledge", ("h", "h", "h", "h", "j", "enter"), ((80, 24),)),
    "who was told": ("knowledge", ("h", "h", "h", "h", "j", "3"), ((80, 24),)),
    "change a setting": ("settings", ("e",), ONE),
    "the seventh day": ("analytics", ("d",), ONE),
}


@pytest.mark.parametrize("state", STATES)
async def test_state(snapshot: Any, seen_rich: str, tmp_path: Path, state: str) -> None:
    place, keys, sizes = STATES[state]
    async with at_the_screen(seen_rich, tmp_path, size=sizes[0]) as pilot:
        await _go(pilot, place, *keys)
        await photograph(
            pilot, snapshot, sizes=sizes[:1], themes=("dark", "ansi", "mono") if len(sizes) == 3 else ("dark",)
        )
        await photograph(pilot, snapshot, sizes=sizes[1:], themes=("dark",))


async def test_what_a_task_knew(snapshot: Any, seen_rich: str, tmp_path: Path) -> None:
    async with at_the_screen(seen_rich, tmp_path) as pilot:
        await _go(pilot, "knew", task="3")
        await photograph(pilot, snapshot, themes=("dark",))
