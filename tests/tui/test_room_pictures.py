"""Pictures of budgets, knowledge, figures, agents, audit, settings and doctor: full, empty, in trouble, with a dialog. The clock is frozen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pytest_textual_snapshot import SVGImageExtension
from textual.pilot import Pilot

from core.commands.doctor import Finding
from tests.tui.pictures_kit import SIZES, THEMES, photograph, still
from tests.tui.screen_kit import at_the_screen, settled, type_
from tui.screens.doctor import DoctorPanel
from tui.store import Connection
from tui.widgets.rows import Rows

PLACES = ("budgets", "knowledge", "analytics")
DIAGONAL = tuple(zip(SIZES, THEMES, strict=True))


async def _go(pilot: Pilot[Any], place: str, *keys: str, **names: str) -> None:
    app: Any = pilot.app
    app.open(place, **names)
    await pilot.pause()
    await settled(pilot)
    await _press(pilot, keys)


async def _press(pilot: Pilot[Any], keys: Sequence[str]) -> None:
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


async def test_lists(snapshot: Any, seen_rich: str, tmp_path: Path) -> None:
    async with at_the_screen(seen_rich, tmp_path) as pilot:
        for place in ("agents", "audit", "settings"):
            await _go(pilot, place)
            if place == "settings":  # there will be more of them
                pilot.app.screen.query_one("#table", Rows).look_for("worktree")
                await settled(pilot)
            for size, theme in DIAGONAL:
                await photograph(pilot, snapshot, sizes=(size,), themes=(theme,), name=f"{place}-")
            await pilot.press("q")


async def test_owners(snapshot: Any, seen_rich: str, tmp_path: Path) -> None:
    async with at_the_screen(seen_rich, tmp_path) as pilot:
        for kind, name in (("project", "harbour"), ("agent", "builtin")):
            await _go(pilot, kind, **{kind: name})
            for size, theme in DIAGONAL:
                await photograph(pilot, snapshot, sizes=(size,), themes=(theme,), name=f"{kind}-")
            await pilot.press("q")
            await settled(pilot)


DECK: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("help", ("question_mark",)), ("", ("escape",)), ("nothing sent", ("@",)), ("", ("escape",)), ("jump", ("semicolon",)), ("", ("escape",)),
    ("put aside", ("1", "i", "I")), ("", ("i",)), ("a filter that hides", ("slash", "type zzz", "enter")), ("", ("escape",)),
    ("a command", ("colon", "type task a")), ("", ("escape",)), ("one panel", ("4", "z")), ("", ("z",)), ("hidden", ("H",)),
)  # fmt: skip


@pytest.mark.parametrize(("size", "theme"), DIAGONAL, ids=["80x24-dark", "120x40-ansi", "200x50-mono"])
async def test_states_of_the_deck(
    snapshot: Any, seen_day: str, tmp_path: Path, size: tuple[int, int], theme: str
) -> None:
    async with at_the_screen(seen_day, tmp_path, size=size, theme=theme) as pilot:
        for name, keys in DECK:
            await _press(pilot, keys)
            if name:
                await photograph(pilot, snapshot, sizes=(size,), themes=(theme,), name=f"{name}-")


async def test_doctor(snapshot: Any, seen_rich: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def load_all(self: DoctorPanel) -> Sequence[Finding]:  # what there is depends on the machine
        del self
        return (
            Finding("python", "ok", "Python 3.11.7"),
            Finding("database", "ok", "embedded Postgres 18.1"),
            Finding("git", "missing", "git is not installed", "install git 2.38 or newer, and start qd again"),
            Finding(
                "claude-code",
                "missing",
                "claude is not installed",
                "npm install -g @anthropic-ai/claude-code",
                needed=False,
            ),
        )

    monkeypatch.setattr(DoctorPanel, "load_all", load_all)
    async with at_the_screen(seen_rich, tmp_path) as pilot:
        await _go(pilot, "doctor", "j", "j")
        for size, theme in DIAGONAL:
            await photograph(pilot, snapshot, sizes=(size,), themes=(theme,))


async def test_empty(snapshot: Any, seen_nothing: str, tmp_path: Path) -> None:
    async with at_the_screen(seen_nothing, tmp_path) as pilot:
        for place in (*PLACES, "agents", "audit"):
            await _go(pilot, place)
            for size, theme in DIAGONAL:
                await photograph(pilot, snapshot, sizes=(size,), themes=(theme,), name=f"{place}-")
            await pilot.press("q")


@pytest.mark.parametrize("place", ["budgets", "knowledge"])
async def test_in_trouble(snapshot: Any, seen_rich: str, tmp_path: Path, place: str) -> None:
    async with at_the_screen(seen_rich, tmp_path) as pilot:
        app: Any = pilot.app
        await _go(pilot, place)
        await app.store.stop()
        app.store.state, app.store.words = "gone", "the connection was lost"
        app.post_message(Connection("gone", app.store.words))
        await pilot.pause()
        for (columns, lines), theme in DIAGONAL:
            await pilot.resize_terminal(columns, lines)
            app.use_theme(theme)
            await still(pilot)
            assert "as of" in app.trouble
            assert app.export_screenshot() == snapshot.use_extension(SVGImageExtension)(
                name=f"{columns}x{lines}-{theme}"
            )


STATES: dict[str, tuple[str, tuple[tuple[str, Any], ...]]] = {
    "money": ("budgets", (
        ("raise a limit", ("plus",)), ("", ("escape",)), ("a new limit", ("c",)), ("", ("escape",)), ("remove a limit", ("delete",)), ("", ("n",)),
        ("burn-down", ("2",)), ("spent by model", ("3", "w", "w", "w")), ("alerts", ("4",)),
    )),
    "memory": ("knowledge", (
        ("a search", ("slash", "type rates", "enter")), ("a search that finds nothing", ("slash", "ctrl+u", "type xyzzy", "enter")), ("", ("slash", "ctrl+u", "enter")),
        ("code", ("l",)), ("a pattern", ("l", "l", "l")), ("a lesson", ("l", "l", "j")), ("the preview", ("enter",)), ("who was told", ("3",)),
        ("proposals", ("1", "l", "l")), ("marked", ("k", "space", "space")),
    )),
}  # fmt: skip
"""Place → states that follow one another, each with the keys that lead to it."""


@pytest.mark.parametrize("way", STATES)
@pytest.mark.parametrize(("size", "theme"), DIAGONAL, ids=["80x24-dark", "120x40-ansi", "200x50-mono"])
async def test_states(
    snapshot: Any, seen_rich: str, tmp_path: Path, way: str, size: tuple[int, int], theme: str
) -> None:
    place, states = STATES[way]
    async with at_the_screen(seen_rich, tmp_path, size=size, theme=theme) as pilot:
        await _go(pilot, place)
        for name, keys in states:
            await _press(pilot, keys)
            if name:
                await photograph(pilot, snapshot, sizes=(size,), themes=(theme,), name=f"{name}-")


async def test_what_a_task_knew(snapshot: Any, seen_rich: str, tmp_path: Path) -> None:
    async with at_the_screen(seen_rich, tmp_path) as pilot:
        await _go(pilot, "knew", task="3")
        await photograph(pilot, snapshot, themes=("dark",))
