"""Taking back: the queue, the ``:`` line, forms and what was put aside; what cannot be taken back now is said, and kept."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.tui.screen_kit import at_the_screen, says, settled, type_, until, value_of
from tui.screens.forms import FormScreen
from tui.widgets.rows import Rows


async def test_a_pause_of_the_queue_is_taken_back(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        await pilot.press("P")
        await until(lambda: pilot.app.pulse.paused, pilot)
        await until(lambda: bool(pilot.app.undos), pilot)
        await pilot.press("u")
        await says(pilot, "taken back: queue: pause")
        await until(lambda: not pilot.app.pulse.paused, pilot)


@pytest.mark.parametrize(
    "change",
    [
        "update task set not_before = now() + interval '7 days' where number = 14",
        "insert into task_after (parent, child) values (14, 18)",
    ],
)
async def test_a_cancelling_that_a_retry_would_not_turn_round_is_not_taken_back(
    day: str, tmp_path: Path, change: str
) -> None:
    await value_of(day, change)
    async with at_the_screen(day, tmp_path) as pilot:
        from core.commands.table import find
        from tui.undoing import before, inverse

        given = {"task": "14"}
        was = await before(pilot.app.store, find("task.cancel"), given)
        assert await inverse(pilot.app.store, find("task.cancel"), given, was) is None


@pytest.mark.parametrize(
    ("line", "look", "changed"),
    [
        ("task priority 14 1", "select priority from task where number = 14", 1),
        ("task edit 14 --title Other", "select title from task_body where task = 14", "Other"),
        ("task edit 14 --agent claude", "select agent from task where number = 14", "claude"),
        ("task edit 14 --description 'In full.'", "select description from task_body where task = 14", "In full."),
        ("project pause harbour", "select paused from load where project = 'harbour'", True),
        ("project edit harbour --stack rust", "select stack from project where id = 'harbour'", "rust"),
        ("agent disable claude", "select enabled from agent where name = 'claude'", False),
        ("agent edit builtin --model other", "select model from agent where name = 'builtin'", "other"),
        (
            "settings set engine.max_parallel 3",
            "select value::text from setting where key = 'engine.max_parallel'",
            "3",
        ),
    ],
)
async def test_a_command_of_the_line_is_taken_back(
    day: str, tmp_path: Path, line: str, look: str, changed: object
) -> None:
    before = await value_of(day, look)
    async with at_the_screen(day, tmp_path) as pilot:
        await pilot.press("colon")
        await type_(pilot, line)
        await pilot.press("enter")
        await until(lambda: bool(pilot.app.undos) or (pilot.app.said and pilot.app.said[0] == "bad"), pilot)
        assert await value_of(day, look) == changed, pilot.app.said
        await until(lambda: pilot.app.said is not None, pilot)
        assert "u takes it back" in pilot.app.said[2]
        await pilot.press("u")
        await says(pilot, "taken back")
        assert await value_of(day, look) == before
        assert not pilot.app.undos


async def test_an_edit_in_a_form_is_taken_back(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        rows = pilot.app.screen.query_one("#queue", Rows)
        pilot.app.screen.focus_panel("queue")
        assert rows.go_to_key(14)
        await settled(pilot)
        await pilot.press("e")
        await until(lambda: isinstance(pilot.app.screen, FormScreen), pilot)
        form = pilot.app.screen
        for name, text in (("title", "Other"), ("max_cost", "2.5"), ("path", "a/*, b/*")):
            form._put([field.name for field in form.form.fields].index(name), text)
        await pilot.press("ctrl+s")
        await until(lambda: bool(pilot.app.undos), pilot)
        look = "select title || coalesce(max_cost_usd::text, '-') || array_to_string(paths, '+') from task join task_body on task = number where number = 14"
        assert await value_of(day, look) == "Other2.500000a/*+b/*"
        await until(lambda: not isinstance(pilot.app.screen, FormScreen), pilot)
        await pilot.press("u")
        await says(pilot, "taken back")
        assert await value_of(day, look) == "Cache the rates for a day-"


async def test_what_was_put_aside_is_there_again(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        rows = pilot.app.screen.query_one("#inbox", Rows)
        pilot.app.screen.focus_panel("inbox")
        assert rows.go_to_key(("review", "6"))
        await settled(pilot)
        await pilot.press("i")
        await until(lambda: ("review", "6") not in rows.keys, pilot)
        await pilot.press("u")
        await until(lambda: ("review", "6") in rows.keys, pilot)


async def test_what_cannot_be_taken_back_is_said_and_kept_until_it_can_or_is_dropped(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        await pilot.press("colon")
        await type_(pilot, "agent edit builtin --adapter claude-code")
        await pilot.press("enter")
        await until(lambda: bool(pilot.app.undos), pilot)
        await value_of(day, "delete from agent where name = 'builtin'")
        await pilot.press("u")
        await says(pilot, "is not taken back")
        assert "u tries again, :undo drop forgets it" in pilot.app.said[2]
        assert len(pilot.app.undos) == 1
        await pilot.press("colon")
        await type_(pilot, "undo drop")
        await pilot.press("enter")
        await says(pilot, "not to be taken back any more")
        assert not pilot.app.undos


async def test_of_several_only_what_is_left_is_tried_again(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        rows = pilot.app.screen.query_one("#queue", Rows)
        pilot.app.screen.focus_panel("queue")
        for key in (14, 15):
            assert rows.go_to_key(key)
            await pilot.press("space")
        await pilot.press("g", "5")
        await says(pilot, "2 done")
        await value_of(day, "update task set status = 'completed', finished_at = clock_timestamp() where number = 15")
        await pilot.press("u")
        await says(pilot, "1 of 2 are")
        assert len(pilot.app.undos[-1].commands) == 1
        assert await value_of(day, "select priority from task where number = 14") == 4


async def test_what_is_being_taken_back_is_not_taken_back_a_second_time(
    day: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.type_ahead.PATIENCE_SECONDS", 0.01)
    async with at_the_screen(day, tmp_path) as pilot:
        await pilot.press("P")
        await until(lambda: bool(pilot.app.undos), pilot)
        answer, given, do = asyncio.Event(), [], pilot.app.do

        async def slow(name: str, arguments: Any) -> Any:
            given.append(name)
            await answer.wait()
            return await do(name, arguments)

        monkeypatch.setattr(pilot.app, "do", slow)
        await pilot.press("u")
        await until(lambda: bool(given), pilot)
        await pilot.press("u")
        await says(pilot, "there is nothing to take back")
        answer.set()
        await says(pilot, "taken back: queue: pause")
        assert given == ["queue.resume"]


@pytest.mark.parametrize(
    "line", ["project pause quay", "project resume harbour", "agent enable claude", "queue resume", "down"]
)
async def test_what_has_changed_nothing_is_not_taken_back(day: str, tmp_path: Path, line: str) -> None:
    await value_of(day, "delete from engine")
    async with at_the_screen(day, tmp_path) as pilot:
        await pilot.press("colon")
        await type_(pilot, line)
        await pilot.press("enter")
        await until(lambda: pilot.app.said is not None and pilot.app.said[0] == "ok", pilot)
        assert not pilot.app.undos


async def test_of_several_only_what_was_changed_is_taken_back(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        rows = pilot.app.screen.query_one("#projects", Rows)
        pilot.app.screen.focus_panel("projects")
        await pilot.press("*")
        await until(lambda: len(rows.marks) == 3, pilot)
        await pilot.press("v")
        await says(pilot, "3 done")
        await pilot.press("u")
        await says(pilot, "taken back")
        paused = "select string_agg(project, ' ') from load where paused"
        assert await value_of(day, paused) == "quay"
