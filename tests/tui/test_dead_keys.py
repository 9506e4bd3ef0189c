"""No key is dead: enter does something in every table, what is offered is not refused, and what was written is not lost."""

from pathlib import Path
from typing import Any

import pytest

from storage.database import Principal, Role
from tests.tui.change_kit import shows, world
from tests.tui.screen_kit import at_the_screen, says, seen, settled, type_, until, value_of
from tui.screens.task_screen import TaskScreen
from tui.widgets.dialogs import Ask, Confirm, Read
from tui.widgets.rows import Rows


def _footer(pilot: Any) -> str:
    return " ".join(seen(pilot.app).rpartition("\n")[2].split())


@pytest.mark.parametrize(
    ("keys", "opens", "shows"), [("gs", Ask, "By itself"), ("gu", Read, "value"), ("gh", Read, "part")]
)
async def test_enter_opens_settings_entries_and_findings(
    day: str, tmp_path: Path, keys: str, opens: type[Any], shows: str
) -> None:
    await value_of(
        day,
        "insert into audit (actor, role, kind, key, action, after) values ('user:ann', 'admin', 'engine', 'here', 'update', '{\"value\": 1}')",
    )
    async with at_the_screen(day, tmp_path) as pilot:
        await pilot.press(*keys)
        await settled(pilot)
        await until(lambda: pilot.app.screen.query_one("#table", Rows).row() is not None, pilot)
        await pilot.press("enter")
        await until(lambda: isinstance(pilot.app.screen, opens), pilot)
        assert shows in seen(pilot.app)


async def test_enter_shows_an_alert_in_full(day: str, tmp_path: Path) -> None:
    await value_of(
        day, "insert into alert (kind, scope, key, text) values ('outlier', 'task', '3', 'it costs ten times as much')"
    )
    async with at_the_screen(day, tmp_path) as pilot:
        await pilot.press("g", "b")
        await settled(pilot)
        pilot.app.screen.focus_pane("alerts")
        await until(lambda: pilot.app.screen.query_one("#alerts", Rows).row() is not None, pilot)
        await pilot.press("enter")
        await until(lambda: isinstance(pilot.app.screen, Read), pilot)
        assert "it costs ten times as much" in seen(pilot.app)


async def test_what_a_footer_offers_is_not_refused(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path, size=(200, 50)) as pilot:
        for panel, key, without in (
            ("inbox", ("review", "5"), ("s say", "r retry")),
            ("inbox", ("failed", "13"), ("s say",)),
            ("queue", 5, ("s say", "r retry")),
            ("queue", 2, ("s say", "r retry", "x cancel")),
        ):
            rows = pilot.app.screen.query_one(f"#{panel}", Rows)
            pilot.app.screen.focus_panel(panel)
            assert rows.go_to_key(key)
            await settled(pilot)
            for words in without:
                assert words not in _footer(pilot), (panel, key)
        rows = pilot.app.screen.query_one("#inbox", Rows)
        pilot.app.screen.focus_panel("inbox")
        assert rows.go_to_key(("question", "1"))
        await settled(pilot)
        assert "s say" in _footer(pilot)


async def test_the_page_of_a_run_shows_how_it_is_held_and_stopped(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path, size=(160, 40)) as pilot:
        pilot.app.open("run", run="7")
        await until(lambda: "[ hold" in _footer(pilot), pilot)
        assert "S stop" in _footer(pilot)
        assert "] go on" not in _footer(pilot)
        await pilot.press("[")
        await until(lambda: pilot.app.screen.picture.paused, pilot)
        await pilot.press("j")
        assert "] go on" in _footer(pilot)


async def test_a_question_is_answered_on_the_page_of_its_task(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        pilot.app.open("task", task="8")
        await until(lambda: isinstance(pilot.app.screen, TaskScreen) and pilot.app.screen.shown is not None, pilot)
        await until(lambda: "a 2 unknown" in seen(pilot.app), pilot)
        await pilot.press("a", "2")
        await says(pilot, "answered")
        assert await value_of(day, "select answer from question where number = 1") == "unknown"


async def test_a_message_that_could_not_be_sent_is_there_the_next_time(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        rows = pilot.app.screen.query_one("#queue", Rows)
        pilot.app.screen.focus_panel("queue")
        assert rows.go_to_key(7)
        await settled(pilot)
        await pilot.press("s")
        await until(lambda: isinstance(pilot.app.screen, Ask), pilot)
        await value_of(day, "alter table run_input rename to run_input_")
        await type_(pilot, "mind the eszett")
        await pilot.press("enter")
        await until(lambda: pilot.app.said and "is kept: s goes on with it" in pilot.app.said[2], pilot)
        await value_of(day, "alter table run_input_ rename to run_input")
        await pilot.press("s")
        await until(lambda: isinstance(pilot.app.screen, Ask), pilot)
        assert pilot.app.screen._value == "mind the eszett"
        await pilot.press("enter")
        await until(lambda: pilot.app.said and pilot.app.said[0] == "ok", pilot)
        assert await value_of(day, "select data ->> 'text' from run_input") == "mind the eszett"


async def test_cancelling_a_task_at_work_says_what_goes_with_it(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        rows = pilot.app.screen.query_one("#queue", Rows)
        pilot.app.screen.focus_panel("queue")
        assert rows.go_to_key(3)
        await settled(pilot)
        await pilot.press("x")
        await until(lambda: isinstance(pilot.app.screen, Confirm), pilot)
        lost = pilot.app.screen._loses
        assert "Run 3.1 is stopped, after $0.26" in lost
        assert "3 tasks that wait for it fail or are cancelled too." in lost
        await pilot.press("n")


async def test_the_footer_of_a_review_has_what_judges_it_and_no_cancel_beside_reject(
    migrated_database: str, tmp_path: Path
) -> None:
    async with world(migrated_database, tmp_path) as made, made.app().run_test(size=(80, 24)) as pilot:
        await pilot.app.store.ready()  # type: ignore[attr-defined]
        pilot.app.open("review", task=str(made.task))  # type: ignore[attr-defined]
        await shows(pilot, "def rounded")
        for words in ("m merge", "c changes", "X reject", ") next review"):
            assert words in _footer(pilot)
        assert "x cancel" not in _footer(pilot)


async def test_a_text_from_the_editor_that_could_not_be_sent_is_there_the_next_time(
    migrated_database: str, tmp_path: Path
) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\ncat "$1" >> seen\necho "mend the rounding" >> "$1"\n')
    editor.chmod(0o755)
    async with world(migrated_database, tmp_path) as made, made.app().run_test(size=(120, 40)) as pilot:
        app: Any = pilot.app
        await app.store.ready()
        app.store.context.environ["EDITOR"] = f"sh -c 'cd {tmp_path} && ./editor \"$0\"'"
        app.open("review", task=str(made.task))
        await shows(pilot, "def rounded")
        for answer, said in (("n", "nothing was sent"), ("n", "nothing was sent")):
            await pilot.press("C")
            await until(lambda: isinstance(app.screen, Confirm), pilot)
            await pilot.press(answer)
            await until(lambda said=said: app.said and said in app.said[1], pilot)
            assert "is kept: C goes on with it" in app.said[2]
            app.said = None
        assert "mend the rounding" in (tmp_path / "seen").read_text()


async def test_a_dead_engine_is_said_with_the_key_that_starts_one(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        assert "no engine is running" not in seen(pilot.app)
        await value_of(day, "update engine set state = 'stopped'")
        await value_of(day, "select pg_notify('qd', 'engine')")
        await until(lambda: "no engine is running" in seen(pilot.app), pilot)
        banner = next(line for line in seen(pilot.app).splitlines() if "no engine is running" in line)
        keys = pilot.app.registry.keys_of("engine.start")
        assert f"{keys} starts one" in banner
        assert pilot.app.registry.press((keys,), pilot.app.place()) is pilot.app.registry.actions["engine.start"]
        await value_of(day, "update engine set state = 'running'")
        await value_of(day, "select pg_notify('qd', 'engine')")
        await until(lambda: "no engine is running" not in seen(pilot.app), pilot)


@pytest.mark.parametrize("more", [{"readonly": True}, {"who": Principal("user:ben", Role.VIEWER)}])
async def test_who_may_not_start_an_engine_is_shown_no_key_for_it(
    day: str, tmp_path: Path, more: dict[str, Any]
) -> None:
    await value_of(day, "update engine set state = 'stopped'")
    async with at_the_screen(day, tmp_path, **more) as pilot:
        await until(lambda: "no engine is running" in seen(pilot.app), pilot)
        assert "starts one" not in seen(pilot.app)


async def test_a_key_that_was_meant_for_a_row_that_has_gone_changes_no_other(
    day: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.widgets.rows.SLID_SECONDS", 1e9)
    async with at_the_screen(day, tmp_path) as pilot:
        rows = pilot.app.screen.query_one("#inbox", Rows)
        pilot.app.screen.focus_panel("inbox")
        assert rows.go_to_key(("review", "5"))
        await settled(pilot)
        await value_of(day, "update review set status = 'superseded' where task = 5")
        await value_of(day, "select pg_notify('qd', 'review')")
        await until(lambda: ("review", "5") not in rows.keys, pilot)
        await pilot.press("r")
        await says(pilot, "another row has just come under the cursor")
        assert not [entry for entry in pilot.app.store.sent if entry.outcome == "done"]
        await pilot.press("k", "j", "r")
        await says(pilot, "task #13")
