"""What the screen remembers: written at each change, shared by several screens, and back after a kill."""

import json
import os
import signal
from pathlib import Path
from typing import Any

from tests.tui.screen_kit import at_the_screen, settled, type_, until
from tests.tui.terminal import terminal
from tui.memory import Memory
from tui.widgets.rows import Rows


def test_what_is_remembered_is_on_the_disk_at_once(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "state" / "screen.json")
    memory.set("theme", "light")
    assert Memory(tmp_path / "state" / "screen.json").get("theme", "") == "light"


def test_two_screens_lose_nothing_of_each_other(tmp_path: Path) -> None:
    one, other = Memory(tmp_path / "screen.json"), Memory(tmp_path / "screen.json")
    one.set("theme", "light")
    other.set("dense", False)
    assert one.get("dense", True) is False
    one.set("aside", ["a"])
    other.set("aside", [*other.get("aside", []), "b"])
    assert one.get("aside", []) == ["a", "b"]
    assert json.loads((tmp_path / "screen.json").read_text()) == {"theme": "light", "dense": False, "aside": ["a", "b"]}


def test_a_file_that_holds_something_else_is_as_good_as_none(tmp_path: Path) -> None:
    path = tmp_path / "screen.json"
    path.write_text("[1, 2")
    memory = Memory(path)
    assert memory.get("theme", "dark") == "dark"
    memory.set("theme", "light")
    assert json.loads(path.read_text()) == {"theme": "light"}


def test_a_folder_that_cannot_be_written_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    memory = Memory(tmp_path / "file" / "screen.json")
    memory.set("theme", "light")
    assert memory.get("theme", "") == "light"


async def test_one_comes_back_to_the_same_place(seen_day: str, tmp_path: Path) -> None:
    async with at_the_screen(seen_day, tmp_path) as pilot:
        app: Any = pilot.app
        await pilot.press("3", "slash")
        await type_(pilot, "project:harbour")
        await pilot.press("enter", "j", "j")
        queue = app.screen.query_one("#queue", Rows)
        await until(lambda: len(queue.keys) < 22 and queue.at == 2, pilot)
        under = queue.keys[2]
        await pilot.press("enter")
        await settled(pilot)
        await pilot.press("3")
        await settled(pilot)
        place = app.screen
        assert place.what == "task"
        app.exit()
    async with at_the_screen(seen_day, tmp_path) as pilot:
        app = pilot.app
        assert (app.screen.what, app.screen.names) == (place.what, place.names)
        await until(lambda: app.screen.pane == place.pane, pilot)
        await pilot.press("q")
        await settled(pilot)
        queue = app.screen.query_one("#queue", Rows)
        await until(lambda: queue.keys and queue.keys[queue.at] == under, pilot)
        assert queue.filter.text == "project:harbour"
        assert queue.has_focus


async def test_a_place_that_is_not_understood_is_left_out(seen_day: str, tmp_path: Path) -> None:
    places = [
        {"what": "task", "names": {"number": "3"}},
        {"what": "moon"},
        7,
        {"what": "deck"},
        {"what": "task", "names": {"task": 3}},
    ]
    tables = {"deck queue": {"cursor": {"a": 1}, "filter": "((", "order": "moon"}, "deck inbox": 3}
    Memory(tmp_path / "screen.json").set("place", {"places": places, "tables": tables})
    async with at_the_screen(seen_day, tmp_path) as pilot:
        app: Any = pilot.app
        assert app.screen.what == "deck"
        assert not app.screen.query_one("#queue", Rows).filter


def test_a_screen_that_is_killed_comes_back(seen_day: str, world_environ: dict[str, str]) -> None:
    environ = world_environ | {"QD_DATABASE_URL": seen_day}
    file = Path(world_environ["QD_HOME"]) / "state" / "screen.json"
    with terminal(environ, "--readonly", size=(120, 40)) as line:
        line.wait("Put the report")
        line.send("3jj\r")
        line.wait("attempts")
        line.wait(lambda: file.exists() and '"task"' in file.read_text())
        os.kill(line.pid, signal.SIGKILL)
        assert line.ended() == -signal.SIGKILL
    with terminal(environ, "--readonly", size=(120, 40)) as line:
        line.wait("attempts")
        line.send("Q")
        assert line.ended() == 0
