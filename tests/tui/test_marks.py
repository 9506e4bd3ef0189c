"""Marks: what is marked is worked on together, wherever it is loaded, and what that would lose is said first."""

from pathlib import Path
from typing import Any

import pytest

from tests.tui.screen_kit import at_the_screen, seen, settled, type_, until, value_of
from tui.widgets.dialogs import Confirm
from tui.widgets.rows import Rows


async def _many(dsn: str, count: int) -> None:
    await value_of(
        dsn,
        """with made as (insert into task (project, priority, status)
             select 'harbour', 3, 'pending' from generate_series(1, $1) returning number)
           insert into task_body (task, title, id) select number, 'Sweep part ' || number, gen_random_uuid() from made""",
        count,
    )


async def _panel(pilot: Any, name: str) -> Rows:
    pilot.app.screen.focus_panel(name)
    await settled(pilot)
    rows: Rows = pilot.app.screen.query_one(f"#{name}", Rows)
    return rows


def _said(pilot: Any) -> str:
    return pilot.app.said[1] if pilot.app.said else ""


async def test_what_is_marked_and_out_of_sight_is_worked_on_too(day: str, tmp_path: Path) -> None:
    await _many(day, 600)
    async with at_the_screen(day, tmp_path) as pilot:
        rows = await _panel(pilot, "queue")
        await pilot.press("slash")
        await type_(pilot, "sweep part")
        await pilot.press("enter")
        await until(lambda: len(rows.keys) == 600, pilot)
        rows.jump(150)
        await settled(pilot)
        await pilot.press("space")
        first = next(iter(rows.marks))
        rows.jump(450)
        await settled(pilot)
        assert first not in rows.rows
        await pilot.press("space")
        assert "2 marked" in seen(pilot.app)
        await pilot.press("g", "5")
        await until(lambda: "2 done" in _said(pilot), pilot)
        assert await value_of(day, "select count(*) from task where priority = 5 and number > 22") == 2
        assert not rows.marks


async def test_a_star_marks_all_that_match_and_the_count_is_said_before_anything_is_lost(
    day: str, tmp_path: Path
) -> None:
    await _many(day, 300)
    async with at_the_screen(day, tmp_path) as pilot:
        rows = await _panel(pilot, "queue")
        await pilot.press("slash")
        await type_(pilot, "sweep part")
        await pilot.press("enter")
        await until(lambda: len(rows.keys) == 300, pilot)
        await pilot.press("asterisk")
        await until(lambda: "300 marked" in _said(pilot), pilot)
        await pilot.press("x")
        await until(lambda: isinstance(pilot.app.screen, Confirm), pilot)
        assert "task: cancel: 300 marked?" in seen(pilot.app)
        assert "and 297 more" in pilot.app.screen._loses
        await pilot.press("n")
        await until(lambda: "nothing was done" in _said(pilot), pilot)
        assert len(rows.marks) == 300
        await pilot.press("j")
        assert "esc unmark 300" in seen(pilot.app)
        await pilot.press("escape")
        assert not rows.marks


async def test_marks_are_as_things_are_when_it_is_done_and_not_as_they_were_marked(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        rows = await _panel(pilot, "queue")
        for key in (14, 15):
            assert rows.go_to_key(key)
            await pilot.press("space")
        await value_of(
            day,
            """with begun as (update task set status = 'in_progress', attempts = 1 where number = 14)
               insert into run (id, task, attempt, project, agent, engine, lease_token, mark, folder, status, cost_usd)
               values (gen_random_uuid(), 14, 1, 'harbour', 'claude', 1, 1, 'm', '/f', 'running', 0.12)""",
        )
        await pilot.press("x")
        await until(lambda: isinstance(pilot.app.screen, Confirm), pilot)
        assert "Run 14.1 is stopped, after $0.12" in pilot.app.screen._loses
        await pilot.press("n")


async def test_what_was_refused_stays_marked(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        rows = await _panel(pilot, "queue")
        for key in (13, 14):
            assert rows.go_to_key(key)
            await pilot.press("space")
        await pilot.press("r")
        await until(lambda: "1 done, 1 not" in _said(pilot), pilot)
        assert list(rows.marks) == [14]


async def test_what_works_on_one_says_so_while_several_are_marked(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        rows = await _panel(pilot, "queue")
        assert rows.go_to_key(14)
        await pilot.press("space", "space", "e")
        assert "it works on one at a time, and 2 are marked; esc marks none" in _said(pilot)


async def test_the_inbox_has_marks_too_and_answers_all_that_are_marked(day: str, tmp_path: Path) -> None:
    await value_of(
        day,
        """insert into question (run, task, project, ref, kind, text, options, data)
           select number, task, project, 'q2', 'permission', 'Bash: make', '[]', '{"tool": "Bash"}' from run where task = 4""",
    )
    async with at_the_screen(day, tmp_path) as pilot:
        rows = await _panel(pilot, "inbox")
        kinds = [key for key in rows.keys if key[0] == "approval"]  # type: ignore[index]
        assert len(kinds) == 2
        for key in kinds:
            assert rows.go_to_key(key)
            await pilot.press("space")
        assert "2 marked" in seen(pilot.app)
        await pilot.press("a", "2")
        await until(lambda: "2 are answered" in _said(pilot), pilot)
        assert await value_of(day, "select count(*) from question where decision = 'deny'") == 2


async def test_different_questions_are_not_answered_with_one_key(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        rows = await _panel(pilot, "inbox")
        for key in (("approval", "2"), ("question", "1")):
            assert rows.go_to_key(key)
            await pilot.press("space")
        await pilot.press("a", "1")
        assert "the 2 marked have different answers" in _said(pilot)
        assert await value_of(day, "select count(*) from question where status = 'open'") == 2


async def test_merging_many_unread_is_asked_first(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        rows = await _panel(pilot, "inbox")
        for key in (("review", "5"), ("review", "6")):
            assert rows.go_to_key(key)
            await pilot.press("space")
        await pilot.press("m")
        await until(lambda: isinstance(pilot.app.screen, Confirm), pilot)
        assert "Merged unread" in seen(pilot.app)
        await pilot.press("n")
        await until(lambda: "nothing was done" in _said(pilot), pilot)
        assert await value_of(day, "select count(*) from review where status = 'open'") == 2


async def test_the_next_mark_is_one_key_away(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        rows = await _panel(pilot, "queue")
        assert rows.go_to_key(14)
        await pilot.press("space", "k", "k", "k", "apostrophe")
        assert rows.keys[rows.at] == 14


@pytest.mark.parametrize("panel", ["queue", "inbox"])
async def test_all_that_is_marked_is_copied(
    day: str, tmp_path: Path, panel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        await _panel(pilot, panel)
        copied: list[str] = []

        async def copy(text: str) -> None:
            copied.append(text)

        monkeypatch.setattr(pilot.app, "copy", copy)
        await pilot.press("g", "t", "space", "space", "y")
        await until(lambda: bool(copied), pilot)
        assert len(copied[0].splitlines()) == 2
