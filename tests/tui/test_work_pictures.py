"""Pictures of the screens that show work: reviews, tasks, forms, figures. The clock is frozen."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from config.paths import Paths
from storage.server import server_dsn
from tests.postgres import _execute, apart
from tests.tui.change_kit import screen_of, settle, shows, write

Steps = Callable[[Pilot[int]], Awaitable[None]]


@pytest.fixture(scope="session")
def changes(server: Paths, _template: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A database with a change that waits for its review, shared by whoever only looks, and its folder."""
    folder = tmp_path_factory.mktemp("changes")
    apart(_execute(server, f'create database "a_change" template "{_template}"'))
    dsn = server_dsn(server, "a_change")
    apart(settle(dsn, folder))
    return dsn, folder


async def _open(pilot: Pilot[int], what: str, *wanted: str, **names: str) -> None:
    app: Any = pilot.app
    await app.store.ready()
    await shows(pilot, "to review" if what != "analytics" else "queue")
    app.open(what, **names)
    await shows(pilot, *wanted)


async def _review(pilot: Pilot[int]) -> None:
    await _open(pilot, "review", "def rounded", task="1")
    await pilot.press("J", "J", "e")
    await write(pilot, "Why is this here?")
    await pilot.press("enter")
    await shows(pilot, "1 note to send")


async def _send_back(pilot: Pilot[int]) -> None:
    await _review(pilot)
    await pilot.press("c")
    await shows(pilot, "request changes of #1", "1 note to send")


async def _files(pilot: Pilot[int]) -> None:
    await _open(pilot, "review", "def rounded", task="1")
    await pilot.press("2", "j", "j", "j")
    await pilot.pause()


async def _task(pilot: Pilot[int]) -> None:
    await _open(pilot, "task", "Sum up the legs", task="1")


async def _graph(pilot: Pilot[int]) -> None:
    await _task(pilot)
    await pilot.press("2", "l", "j")
    await shows(pilot, "after #1")


async def _form(pilot: Pilot[int]) -> None:
    app: Any = pilot.app
    await app.store.ready()
    await shows(pilot, "to review")
    await pilot.press("t")
    await shows(pilot, "new task")
    await write(pilot, "Draw the coast")
    await pilot.press("tab", "tab", "tab", "tab")
    await shows(pilot, "Task that has to be completed first")


async def _form_wrong(pilot: Pilot[int]) -> None:
    await _form(pilot)
    await pilot.press("shift+tab")
    await write(pilot, "9")
    await shows(pilot, "less than or equal to 5")


async def _figures(pilot: Pilot[int]) -> None:
    await _open(pilot, "analytics", "cost by day")


STATES: dict[str, Steps] = {
    "review": _review, "send back": _send_back, "files": _files, "task": _task, "graph": _graph, "form": _form, "form wrong": _form_wrong, "figures": _figures,
}  # fmt: skip
SIZES = {"80x24": (80, 24), "120x40": (120, 40), "200x50": (200, 50)}
CASES = [
    *((state, size, "dark") for state in ("review", "task", "form", "figures") for size in SIZES),
    *((state, "120x40", theme) for state in ("review", "graph", "form wrong", "figures") for theme in ("ansi", "mono")),
    ("files", "80x24", "dark"), ("graph", "80x24", "dark"), ("send back", "80x24", "mono"), ("review", "120x40", "light"),
]  # fmt: skip


@pytest.mark.parametrize(("state", "size", "theme"), CASES, ids=["-".join(case).replace(" ", "_") for case in CASES])
def test_picture(snap_compare: Any, changes: tuple[str, Path], state: str, size: str, theme: str) -> None:
    assert snap_compare(screen_of(*changes, theme=theme), terminal_size=SIZES[size], run_before=STATES[state])


def test_picture_without_unicode(snap_compare: Any, changes: tuple[str, Path]) -> None:
    assert snap_compare(screen_of(*changes, theme="mono", unicode=False), terminal_size=(80, 24), run_before=_graph)


@pytest.mark.parametrize("size", ["80x24", "200x50"])
def test_picture_of_figures_with_budgets(snap_compare: Any, seen_day: str, tmp_path: Path, size: str) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await _open(pilot, "analytics", "cost by day")
        if size == "80x24":
            await pilot.press("4")
            await shows(pilot, "service openai")

    assert snap_compare(screen_of(seen_day, tmp_path), terminal_size=SIZES[size], run_before=steps)


def test_picture_of_no_figures(snap_compare: Any, seen_nothing: str, tmp_path: Path) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await _open(pilot, "analytics", "Nothing was done in these days")

    assert snap_compare(screen_of(seen_nothing, tmp_path), terminal_size=(80, 24), run_before=steps)
