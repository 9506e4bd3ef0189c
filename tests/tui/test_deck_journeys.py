"""Journeys on the deck by keyboard alone: what is done on the screen is asserted in the database."""

from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from textual.worker import WorkerFailed

from storage.database import Principal, Role
from tests.tui.screen_kit import at_the_screen, seen, settled, type_, until, value_of
from tests.tui.world import NOW
from tui.screens.forms import FormScreen
from tui.widgets.dialogs import Ask, Choose, Confirm, Once, Read
from tui.widgets.rows import Rows


async def _go(pilot: Any, panel: str, key: Any) -> Rows:
    """Give the keys to a panel, and put its cursor on a row."""
    rows: Rows = pilot.app.screen.query_one(f"#{panel}", Rows)
    pilot.app.screen.focus_panel(panel)
    assert rows.go_to_key(key)
    await settled(pilot)
    return rows


async def test_the_tasks_of_a_project_are_its_own_and_not_those_of_one_whose_name_goes_on(
    day: str, tmp_path: Path
) -> None:
    await value_of(day, "insert into project (id, name, repo, path) values ('qu', 'qu', '/srv/qu', '/srv/qu')")
    await value_of(day, "insert into load (project, max_parallel) values ('qu', 1)")
    async with at_the_screen(day, tmp_path) as pilot:
        await _go(pilot, "projects", "qu")
        await pilot.press("f")
        rows = pilot.app.screen.query_one("#queue", Rows)
        await until(lambda: not rows.keys, pilot)
        assert pilot.app.screen.focused is rows


async def test_a_question_is_answered_where_it_stands(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        await _go(pilot, "inbox", ("question", "1"))
        await pilot.press("a")
        assert "2 unknown" in " ".join(seen(pilot.app).split())
        await pilot.press("2")
        await until(lambda: pilot.app.said and "answered" in pilot.app.said[1], pilot)
        assert await value_of(day, "select answer from question where number = 1") == "unknown"
        rows = pilot.app.screen.query_one("#inbox", Rows)
        await until(lambda: ("question", "1") not in rows.keys, pilot)


async def test_a_permission_is_given_with_one_key(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        await _go(pilot, "inbox", ("approval", "2"))
        await pilot.press("A")
        await until(lambda: pilot.app.said and "allow" in pilot.app.said[1], pilot)
        assert await value_of(day, "select decision from question where number = 2") == "allow"


async def test_a_permission_has_the_same_answers_and_digits_in_the_inbox(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        await _go(pilot, "inbox", ("approval", "2"))
        await pilot.press("a")
        assert "1 allow once 2 deny 3 always" in " ".join(seen(pilot.app).splitlines()[-1].split())
        await pilot.press("a")
        await until(lambda: isinstance(pilot.app.screen, Choose), pilot)
        assert [option.name for option in pilot.app.screen._options] == ["allow once", "deny", "always"]
        await pilot.press("3")
        await until(lambda: isinstance(pilot.app.screen, Confirm), pilot)
        assert "every use of the tool Bash" in " ".join(seen(pilot.app).split())
        await pilot.press("n")
        await until(lambda: pilot.app.said and "nothing was answered" in pilot.app.said[1], pilot)
        await pilot.press("a", "a")
        await until(lambda: isinstance(pilot.app.screen, Choose), pilot)
        await pilot.press("2")
        await until(lambda: isinstance(pilot.app.screen, Ask), pilot)
        await type_(pilot, "never force")
        await pilot.press("enter")
        await until(lambda: pilot.app.said and "deny" in pilot.app.said[1], pilot)
        assert (
            await value_of(day, "select decision || ': ' || answer from question where number = 2")
            == "deny: never force"
        )
        assert await value_of(day, "select count(*) from permission") == 0


async def test_cancelling_asks_says_what_is_lost_and_is_taken_back(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        await _go(pilot, "queue", 14)
        await pilot.press("x")
        await until(lambda: isinstance(pilot.app.screen, Confirm), pilot)
        assert "#14 Cache the rates for a day" in seen(pilot.app)
        await pilot.press("n")
        await until(lambda: pilot.app.said and "nothing was done" in pilot.app.said[1], pilot)
        assert await value_of(day, "select status::text from task where number = 14") == "pending"
        await pilot.press("x")
        await until(lambda: isinstance(pilot.app.screen, Confirm), pilot)
        await pilot.press("y")
        await until(lambda: pilot.app.said and "cancelled" in pilot.app.said[1], pilot)
        assert await value_of(day, "select status::text from task where number = 14") == "cancelled"
        await pilot.press("u")
        await until(lambda: pilot.app.said and "taken back" in pilot.app.said[1], pilot)
        assert await value_of(day, "select status::text from task where number = 14") == "pending"


async def test_what_is_marked_is_done_together_and_taken_back_together(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        rows = await _go(pilot, "queue", 14)
        await pilot.press("space", "space")
        marked = {int(str(key)) for key in rows.marks}
        before = {n: await value_of(day, "select priority from task where number = $1", n) for n in marked}
        await pilot.press("g", "5")
        await until(lambda: pilot.app.said and "2 done" in pilot.app.said[1], pilot)
        assert [await value_of(day, "select priority from task where number = $1", n) for n in marked] == [5, 5]
        assert not rows.marks
        await pilot.press("u")
        await until(lambda: pilot.app.said and "taken back" in pilot.app.said[1], pilot)
        assert {n: await value_of(day, "select priority from task where number = $1", n) for n in marked} == before


async def test_the_line_takes_what_the_command_line_takes(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        await pilot.press("colon")
        await type_(pilot, 'task add "From the line" --project quay --priority 4')
        await pilot.press("enter")
        await until(lambda: pilot.app.said and "From the line" in pilot.app.said[1], pilot)
        assert (
            await value_of(
                day,
                "select t.priority from task t join task_body b on b.task = t.number where b.title = 'From the line'",
            )
            == 4
        )
        await pilot.press("colon")
        await type_(pilot, "task ad")
        await pilot.press("enter")
        await until(lambda: pilot.app.said and pilot.app.said[0] == "bad", pilot)
        assert "did you mean add?" in pilot.app.said[2]
        await pilot.press("at")
        await until(lambda: isinstance(pilot.app.screen, Read), pilot)
        assert "qd task add 'From the line' --project quay --priority 4" in seen(pilot.app)


async def test_a_list_on_the_line_is_shown_and_completion_knows_the_words(day: str, tmp_path: Path) -> None:
    from tui import giving

    async with at_the_screen(day, tmp_path) as pilot:
        await pilot.app.learn_names()
        assert "task cancel " in giving.complete(pilot.app, "task c")
        assert "task add x --project quay " in giving.complete(pilot.app, "task add x --project q")
        assert giving.complete(pilot.app, "task list --status fai") == ["task list --status failed "]
        await pilot.press("colon")
        await type_(pilot, "project list")
        await pilot.press("enter")
        await until(lambda: isinstance(pilot.app.screen, Read), pilot)
        assert "typescript" in seen(pilot.app)


async def test_the_palette_finds_by_a_few_letters_and_says_why_not(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        await pilot.press("ctrl+p")
        await type_(pilot, "que pau")
        await pilot.pause()
        await pilot.press("enter")
        await until(lambda: pilot.app.said and "paused" in pilot.app.said[1], pilot)
        assert await value_of(day, "select value::text from setting where key = 'queue.paused'") == "true"
        await until(lambda: pilot.app.pulse.paused, pilot)
        await pilot.press("P")
        assert "paused already" in pilot.app.said[1]


async def test_filters_narrow_down_and_matches_are_gone_through(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        rows = await _go(pilot, "queue", 3)
        await pilot.press("slash")
        await type_(pilot, "status:pend project:quay")
        await pilot.press("enter")
        await until(lambda: list(rows.keys) == [17, 18], pilot)
        await pilot.press("escape")
        await until(lambda: len(rows.keys) == 22, pilot)
        await pilot.press("n")
        await until(lambda: rows.keys[rows.at] in (17, 18), pilot)
        first = rows.keys[rows.at]
        await pilot.press("n")
        await until(lambda: rows.keys[rows.at] != first, pilot)
        await pilot.press("slash")
        await type_(pilot, "(")
        await until(lambda: "no regular expression" in seen(pilot.app), pilot)
        await pilot.press("escape")


async def test_counts_and_motions_are_those_of_vim(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        rows = await _go(pilot, "queue", 3)
        await pilot.press("0", "4", "j")
        assert rows.at == 4
        await pilot.press("G")
        assert rows.at == 21
        await pilot.press("z", "5", "G")
        assert rows.at == 4
        await pilot.press("home", "j", "j", "k")
        assert rows.at == 1


async def test_read_only_changes_nothing_and_says_why(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path, readonly=True) as pilot:
        before = await value_of(day, "select count(*) from audit")
        await _go(pilot, "queue", 14)
        await pilot.press("x")
        assert "read-only" in pilot.app.said[1]
        await pilot.press("colon")
        await type_(pilot, "task retry 13")
        await pilot.press("enter")
        await until(lambda: pilot.app.said and "read-only" in pilot.app.said[1], pilot)
        assert await value_of(day, "select count(*) from audit") == before


async def test_a_viewer_is_told_which_role_it_takes(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path, who=Principal("user:eve", Role.VIEWER)) as pilot:
        await _go(pilot, "queue", 14)
        await pilot.press("x")
        assert "needs the role supervisor" in pilot.app.said[1]


async def test_what_others_do_appears_by_itself(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        rows = pilot.app.screen.query_one("#queue", Rows)
        await value_of(day, "update task set status = 'cancelled', finished_at = now() where number = 18")
        await value_of(day, "select pg_notify('qd', 'task task:18')")
        await until(lambda: 18 in rows.rows and rows.rows[18].status == "cancelled", pilot)


async def test_a_filter_that_hides_what_waits_is_not_all_clear(seen_day: str, tmp_path: Path) -> None:
    async with at_the_screen(seen_day, tmp_path) as pilot:
        await pilot.press("1", "slash")
        await type_(pilot, "zzz")
        await pilot.press("enter")
        await until(lambda: "0 of 5 match zzz" in seen(pilot.app), pilot)
        assert "all clear" not in seen(pilot.app)


async def test_a_queue_that_a_filter_empties_says_so(seen_day: str, tmp_path: Path) -> None:
    async with at_the_screen(seen_day, tmp_path) as pilot:
        await pilot.press("3", "slash")
        await type_(pilot, "zzz")
        await pilot.press("enter")
        await until(lambda: 'nothing matches "zzz"' in seen(pilot.app), pilot)
        await pilot.press("escape")
        await until(lambda: "3 queue · 22" in seen(pilot.app), pilot)


async def test_what_was_put_aside_is_counted_listed_and_taken_back(seen_day: str, tmp_path: Path) -> None:
    async with at_the_screen(seen_day, tmp_path) as pilot:
        app: Any = pilot.app
        inbox = app.screen.query_one("#inbox", Rows)
        first = inbox.keys[0]
        await pilot.press("1", "i")
        await until(lambda: first not in inbox.keys, pilot)
        assert "4 need you  1 put aside, I lists" in seen(app)
        assert seen(app).splitlines()[0].rstrip().endswith("4 need you")
        await pilot.press("I")
        await until(lambda: inbox.keys == (first,), pilot)
        assert "1 put aside  I back" in seen(app)
        await pilot.press("i")
        await until(lambda: len(inbox.keys) == 5, pilot)
        assert "put aside" not in seen(app).splitlines()[1]


async def test_a_run_that_a_person_holds_is_paused_and_not_silent(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path, (200, 50)) as pilot:
        app: Any = pilot.app
        queue = await _go(pilot, "queue", 4)
        await pilot.press("[")
        await until(lambda: queue.rows[4].paused, pilot)
        assert "‖ paused" in seen(app).splitlines()[queue.at + 2]
        app.store.now = lambda: NOW + timedelta(minutes=10)
        app.store.reload()
        inbox = app.screen.query_one("#inbox", Rows)
        await until(lambda: [row.kind for row in inbox.rows.values() if row.task == 4] == ["paused"], pilot)
        assert "‖ paused         #4" in seen(app)
        app.open("task", task="4")
        await until(lambda: "task · ‖ paused" in seen(app), pilot)
        await pilot.press("q", "]")
        await until(lambda: not queue.rows[4].paused, pilot)


async def test_a_project_opens_on_a_page_of_its_own(seen_day: str, tmp_path: Path) -> None:
    async with at_the_screen(seen_day, tmp_path) as pilot:
        app: Any = pilot.app
        await _go(pilot, "projects", "harbour")
        await pilot.press("enter")
        await until(lambda: "open tasks" in seen(app) and "runs of late" in seen(app), pilot)
        assert "#3 ● in progress Show amounts" in seen(app)
        assert "wait for your approval" in seen(app)
        assert app.place().subject["project"] == "harbour"
        assert "6d ago" in seen(app)
        app.store.now = lambda: NOW - timedelta(minutes=9000)
        app.tick()
        assert "just now" in seen(app)
        await pilot.press("q")
        app.open("agent", agent="claude")
        await until(lambda: "claude-code" in seen(app) and "7.2" in seen(app), pilot)


async def test_a_frame_is_heavy_only_where_there_are_no_colours(seen_day: str, tmp_path: Path) -> None:
    async with at_the_screen(seen_day, tmp_path) as pilot:
        app: Any = pilot.app
        for theme, heavy in (("mono", True), ("dark", False)):
            app.use_theme(theme)
            await settled(pilot)
            assert ("┏" in seen(app)) is heavy


async def test_the_jump_mode_says_what_it_waits_for(seen_day: str, tmp_path: Path) -> None:
    async with at_the_screen(seen_day, tmp_path) as pilot:
        await pilot.press("semicolon")
        assert "the letter of a row goes there" in seen(pilot.app).splitlines()[-1]
        await pilot.press("escape")
        assert "? help" in seen(pilot.app).splitlines()[-1]


async def test_ages_grow_while_nothing_happens_and_only_they_are_painted(
    seen_day: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_the_screen(seen_day, tmp_path, (200, 50)) as pilot:
        app: Any = pilot.app
        queue = app.screen.query_one("#queue", Rows)
        assert "14m" in seen(app)
        painted: list[Any] = []
        monkeypatch.setattr(queue, "refresh", lambda *regions, **_: painted.extend(regions or [None]))
        app.store.now = lambda: NOW + timedelta(minutes=3)
        app.tick()
        assert painted
        assert all(region is not None and region.width <= 4 and region.height == 1 for region in painted)


async def test_what_is_due_in_the_middle_of_a_batch_is_painted_after_it(seen_day: str, tmp_path: Path) -> None:
    async with at_the_screen(seen_day, tmp_path) as pilot:
        app: Any = pilot.app
        await until(lambda: app.pictured, pilot)
        compositor, queue = app.screen._compositor, app.screen.query_one("#queue")
        with app.batch_update():
            queue.refresh()
            compositor.update_widgets({queue})
            app.screen._compositor_refresh()
            assert compositor._dirty_regions
        await until(lambda: not compositor._dirty_regions, pilot)


async def test_time_is_told_by_itself(seen_day: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.app.MINUTE_SECONDS", 0.05)
    async with at_the_screen(seen_day, tmp_path, (200, 50)) as pilot:
        app: Any = pilot.app
        app.open("task", task="3")
        await settled(pilot)
        assert "14m ago" in seen(app)
        app.store.now = lambda: NOW + timedelta(minutes=3)
        await until(lambda: "17m ago" in seen(app), pilot)
        await pilot.press("q")
        await until(lambda: "17m" in seen(app), pilot)


async def test_time_passes_before_the_screen_is_built_and_after_it_is_gone(seen_day: str, tmp_path: Path) -> None:
    async with at_the_screen(seen_day, tmp_path) as pilot:
        app: Any = pilot.app
        type(app.screen)().tick()
    app.tick()


async def test_hostile_texts_are_shown_as_they_are(day: str, tmp_path: Path) -> None:
    evil = "[red]x[/red] \x1b[2J\x1b]52;c;aGk=\x07 \u202eesrever\u202c \u200bhidden 👩‍👩‍👧"
    await value_of(day, "update task_body set title = $1 where task = 3", evil)
    await value_of(day, "update question set text = $1", evil)
    await value_of(day, "update event set text = $1 where seq = 2", evil * 300)
    async with at_the_screen(day, tmp_path) as pilot:
        text = seen(pilot.app)
        assert "[red]x[/red]" in text
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "\x07" not in text
        svg = pilot.app.export_screenshot()
        assert "\x1b" not in svg


async def test_a_database_that_goes_away_is_said_and_comes_back_by_itself(
    day: str, tmp_path: Path, server: Any
) -> None:
    from storage.server import server_dsn

    name = urlsplit(day).path.removeprefix("/")
    outside = server_dsn(server, "postgres")
    async with at_the_screen(day, tmp_path) as pilot:
        await value_of(outside, f'alter database "{name}" allow_connections false')
        await value_of(
            outside, "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = $1", name
        )
        await until(lambda: "the database is gone" in seen(pilot.app), pilot)
        assert "this is as of 14:30:00" in seen(pilot.app)
        assert "Show amounts" in seen(pilot.app)
        await _go_quietly(pilot)
        assert "the database cannot be reached" in pilot.app.said[1]
        await value_of(outside, f'alter database "{name}" allow_connections true')
        await value_of(day, "update task_body set title = 'Changed meanwhile' where task = 3")
        await until(lambda: "Changed meanwhile" in seen(pilot.app) and "gone" not in seen(pilot.app), pilot, 30)


async def _go_quietly(pilot: Any) -> None:
    pilot.app.screen.focus_panel("queue")
    await pilot.press("r")


async def test_a_hundred_thousand_tasks_are_one_screenful(day: str, tmp_path: Path) -> None:
    connection = await asyncpg.connect(day)
    await connection.execute(
        """alter table task disable trigger user; alter table task_body disable trigger user;
           insert into task (number, project, priority, status) overriding system value select n + 22, 'harbour', 1 + n % 5, 'pending' from generate_series(1, 100000) n;
           insert into task_body (task, title) select number, 'Task number ' || number from task where number > 22;
           analyze task; analyze task_body"""
    )
    await connection.close()
    async with at_the_screen(day, tmp_path) as pilot:
        rows = await _go(pilot, "queue", 3)
        assert len(rows.keys) == 100_022
        await pilot.press("G")
        await until(lambda: rows.row() is not None, pilot)
        await pilot.press("slash")
        await type_(pilot, "number 5000[12] h")
        await pilot.press("enter")
        await until(lambda: len(rows.keys) == 2, pilot)
        assert "Task number 50001" in seen(pilot.app)
        assert "#50001 " in seen(pilot.app)
        assert len(rows.rows) < 1000


async def test_the_arrangement_is_remembered(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        await pilot.press("5", "H", "3", "plus")
    async with at_the_screen(day, tmp_path) as pilot:
        deck = pilot.app.screen
        assert deck.chosen.focus == "queue"
        assert deck.chosen.hidden == ("budgets",)
        assert deck.chosen.grown == {"queue": 15}
        assert not deck.query_one("#budgets").display


async def test_every_place_opens_and_comes_back(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        for keys, words in (
            ("gs", "engine.max_parallel"),
            ("ga", "builtin"),
            ("gu", "audit trail"),
            ("6", "who was told"),
        ):
            await pilot.press(*keys)
            await until(lambda words=words: words in seen(pilot.app), pilot)
            await pilot.press("q")
            await until(lambda: "1 inbox" in seen(pilot.app), pilot)


async def test_a_setting_is_changed_checked_and_taken_back(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        await pilot.press("g", "s")
        await settled(pilot)
        table = pilot.app.screen.query_one("#table", Rows)
        await until(lambda: "engine.max_parallel" in table.keys, pilot)
        table.go_to_key("engine.max_parallel")
        await pilot.press("e")
        await pilot.pause()
        await pilot.press("backspace")
        await type_(pilot, "many")
        await until(lambda: "valid integer" in seen(pilot.app), pilot)
        await pilot.press(*["backspace"] * 4, "7", "enter")
        await until(lambda: pilot.app.said and "engine.max_parallel is 7" in pilot.app.said[1], pilot)
        assert await value_of(day, "select value::text from setting where key = 'engine.max_parallel'") == "7"
        await pilot.press("u")
        await until(lambda: pilot.app.said and "taken back" in pilot.app.said[1], pilot)
        assert await value_of(day, "select count(*) from setting where key = 'engine.max_parallel'") == 0


async def test_a_bug_ends_in_one_sentence_and_a_report_without_values(day: str, tmp_path: Path) -> None:
    from tui.actions import Place

    secret = "hunter2-not-to-be-seen"

    async def broken(place: Place) -> None:
        value = secret
        raise RuntimeError("out of order") from KeyError(len(value))

    from dataclasses import replace

    with pytest.raises(WorkerFailed):  # noqa: PT012 - the app raises when it is left
        async with at_the_screen(day, tmp_path) as pilot:
            entry = replace(pilot.app.registry.actions["density.change"], run=broken)
            pilot.app.perform(entry)
            await until(lambda: pilot.app.lifeline.report, pilot)
    [report] = list((tmp_path / "logs").glob("crash-*.txt"))
    assert "out of order" in report.read_text()
    assert secret not in report.read_text()
    assert str(report) in pilot.app.lifeline.report


async def test_a_key_of_an_agent_is_shown_once_and_nothing_but_closing_takes_it_away(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        await pilot.press("g", "a")
        await settled(pilot)
        await pilot.press("A")
        await until(lambda: isinstance(pilot.app.screen, FormScreen), pilot)
        form = pilot.app.screen
        for name, text in (("name", "remote"), ("adapter", "builtin"), ("api_key", "yes")):
            form._put([field.name for field in form.form.fields].index(name), text)
        await pilot.press("ctrl+s")
        await until(lambda: isinstance(pilot.app.screen, Once), pilot)
        first = pilot.app.screen._value
        assert first in seen(pilot.app)
        await pilot.press("j", "space", "a")
        assert isinstance(pilot.app.screen, Once)
        await pilot.press("enter")
        await until(lambda: pilot.app.said and "remote" in pilot.app.said[1], pilot)
        known = "select api_key_hash from agent where name = 'remote'"
        was = await value_of(day, known)
        assert was
        assert all(first not in entry.words for entry in pilot.app.store.sent)
        await pilot.press("colon")
        await type_(pilot, "agent edit remote --api-key")
        await pilot.press("enter")
        await until(lambda: isinstance(pilot.app.screen, Once), pilot)
        assert pilot.app.screen._value != first
        assert await value_of(day, known) != was
        await pilot.press("q")
