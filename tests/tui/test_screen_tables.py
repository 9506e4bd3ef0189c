"""Tables over many rows: what is read, when, and what a key paints."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from textual.widget import Widget

from storage.queries import screen as queries
from tests.tui.screen_kit import at_the_screen, screen_on, seen, settled, type_, until, value_of
from tui.panels.queue import QueuePanel
from tui.widgets.dialogs import Confirm
from tui.widgets.prompt import Prompt
from tui.widgets.rows import Rows


async def _many(dsn: str, count: int) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("set session_replication_role = replica")
        await connection.execute(
            f"""insert into task (number, project, status, priority) overriding system value
                  select 1000 + n, 'harbour', 'pending', 1 from generate_series(1, {count}) n;
                insert into task_body (task, title) select 1000 + n, 'Mend part ' || n from generate_series(1, {count}) n"""
        )
    finally:
        await connection.close()


async def test_a_load_that_is_superseded_is_given_up_and_the_next_begins_at_once(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        store, begun, given_up = pilot.app.store, [], []

        async def load() -> int:
            begun.append(len(begun))
            try:
                if len(begun) == 1:
                    await asyncio.Event().wait()
            except asyncio.CancelledError:
                given_up.append(True)
                raise
            return len(begun)

        subscription = store.subscribe(pilot.app.screen, ("nothing",), load, swept=False)
        await until(lambda: begun, pilot)
        subscription.refresh(superseded=True)
        await until(lambda: subscription.loaded, pilot)
        assert (given_up, subscription.data) == ([True], 2)
        subscription.close()


async def test_a_key_paints_the_rows_that_differ_and_nothing_else(
    day: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        rows = pilot.app.screen.query_one("#queue", Rows)
        pilot.app.screen.focus_panel("queue")
        await settled(pilot)
        wholly: list[Widget] = []
        plain = Widget.refresh

        def refresh(self: Widget, *regions: Any, **more: Any) -> Widget:
            if self is rows and not regions:
                wholly.append(self)
            return plain(self, *regions, **more)

        monkeypatch.setattr(Widget, "refresh", refresh)
        await pilot.press("j", "j", "k")
        await settled(pilot)
        assert not wholly


async def test_both_ends_of_a_long_table_are_there_before_one_goes_to_them(day: str, tmp_path: Path) -> None:
    await _many(day, 2000)
    async with at_the_screen(day, tmp_path) as pilot:
        rows = pilot.app.screen.query_one("#queue", Rows)
        pilot.app.screen.focus_panel("queue")
        await settled(pilot)
        assert len(rows.keys) > 2000
        assert len(rows.rows) < 300
        rows.jump(None)
        assert rows.row() is not None
        await settled(pilot)
        rows.page(-1)
        assert rows.row() is not None


async def test_a_row_that_is_gone_from_under_the_keys_is_not_asked_for_again_and_again(
    day: str, tmp_path: Path
) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        rows = pilot.app.screen.query_one("#queue", Rows)
        asked: list[int] = []
        plain = rows.load_rows

        async def load_rows(keys: Any) -> Any:
            asked.append(len(keys))
            return {key: row for key, row in (await plain(keys)).items() if key != rows.keys[0]}

        rows.load_rows = load_rows  # type: ignore[method-assign]
        assert rows._window is not None
        rows._window.refresh()
        await until(lambda: rows._window.loaded and rows.keys[0] not in rows.rows, pilot)
        await pilot.pause(0.2)
        assert len(asked) < 5


async def test_what_is_typed_last_is_what_is_shown(day: str, tmp_path: Path) -> None:
    await _many(day, 500)
    async with at_the_screen(day, tmp_path) as pilot:
        rows = pilot.app.screen.query_one("#queue", Rows)
        pilot.app.screen.focus_panel("queue")
        await pilot.press("slash")
        await type_(pilot, "part 77")
        await until(lambda: "1 match part 77" in seen(pilot.app), pilot)
        assert [rows.rows[key].title for key in rows.keys] == ["Mend part 77"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("Parser to", {13}), ("pars.r to", {13}), ("^#13 ", {13}), ("100%", set()), ("_", set()), ("rates.*harbour", {14, 20}),
     ("^upgrade", {13}), ("version 4$", {13}), (r"\bport\b", {8}), ("^lantern$", {5, 6, 7, 12, 13, 16, 19, 21}), (r"\\", set())],
)  # fmt: skip
async def test_letters_and_regular_expressions_look_at_the_same_words(
    seen_day: str, pattern: str, expected: set[int]
) -> None:
    connection = await asyncpg.connect(seen_day)
    try:
        async with connection.transaction():
            assert set(await queries.task_numbers(connection, queries.TaskSearch(pattern=pattern))) == expected
            others = await queries.task_numbers(connection, queries.TaskSearch(pattern=pattern, inverse=True))
            assert len(others) == 22 - len(expected)
    finally:
        await connection.close()


async def test_the_order_of_work_is_state_then_priority_then_what_ended_last(seen_day: str) -> None:
    connection = await asyncpg.connect(seen_day)
    try:
        async with connection.transaction():
            found = await queries.task_numbers(connection, queries.TaskSearch())
    finally:
        await connection.close()
    assert found == (3, 4, 7, 5, 6, 8, 19, 17, 14, 15, 16, 18, 9, 10, 12, 11, 13, 20, 2, 1, 22, 21)


def _held_back(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """The rows of the queue come only once this is set."""
    there = asyncio.Event()
    queued = QueuePanel.load_keys

    async def late(self: QueuePanel) -> Any:
        await there.wait()
        return await queued(self)

    monkeypatch.setattr(QueuePanel, "load_keys", late)
    return there


async def test_a_cursor_that_is_moved_before_the_rows_are_there_is_where_it_was_sent(
    day: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = _held_back(monkeypatch)
    app = screen_on(day, tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(lambda: app.store.state == "live", pilot)
        await pilot.press("3", "j", "j")
        there.set()
        await settled(pilot)
        rows = app.screen.query_one("#queue", Rows)
        assert (rows.loaded, rows.at) == (True, 2)
        assert rows.row() is not None


async def test_what_passes_by_is_loaded_at_its_own_pace_and_the_rest_at_once(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        store = pilot.app.store
        loads: list[str] = []

        def load(name: str) -> Any:
            async def loading() -> int:
                loads.append(name)
                return len(loads)

            return loading

        slow = store.subscribe(pilot.app.screen, ("event",), load("slow"), pace=3600)
        quick = store.subscribe(pilot.app.screen, ("event",), load("quick"))
        await until(lambda: slow.loaded and quick.loaded, pilot)
        for times in (2, 3):
            store.reload()
            await until(lambda times=times: loads.count("quick") == times, pilot)
        assert loads.count("slow") == 1
        slow.refresh()
        await until(lambda: loads.count("slow") == 2, pilot)
        slow.close()
        quick.close()


async def test_the_live_log_is_slower_on_a_slow_line(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        live = pilot.app.screen.query_one("#log", Rows)
        usual = live.pace
        pilot.app.choices = replace(pilot.app.choices, low_bandwidth=True)
        assert 0.25 <= usual <= 0.5
        assert live.pace > usual


async def test_no_false_reason_is_given_before_anything_is_loaded(
    day: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = _held_back(monkeypatch)
    app = screen_on(day, tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(lambda: app.store.state == "live" and app.pulse is not None, pilot)
        await pilot.press("3")
        for key in ("x", "e", "enter", "y", "s"):
            await pilot.press(key)
            await until(lambda: app.said is not None, pilot)
            assert app.said is not None
            assert "still being loaded" in app.said[1], key
        there.set()
        await settled(pilot)
        await pilot.press("x")
        await until(lambda: isinstance(app.screen, Confirm), pilot)


async def test_an_empty_table_says_that_there_is_nothing(seen_nothing: str, tmp_path: Path) -> None:
    async with at_the_screen(seen_nothing, tmp_path) as pilot:
        pilot.app.screen.focus_panel("queue")
        for key, words in (("enter", "subject: open: there is nothing here"), ("x", "there is nothing here")):
            await pilot.press(key)
            assert pilot.app.said[1] == words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("reason:tests", {13}), ("!project:harbour status:pending", {16, 17, 18}), ("!status:completed,blocked,in_progress project:lantern", {5, 6, 13, 16, 19}),
        ("status: sitemap", {16}), ("!status:", set(range(1, 23))), ("project:har% status:pending", set()), ("agent:cl !reason:tests project:lan", {5, 7, 21}),
        ("project:quay$", {17, 18}), ("project:qu$", set()), ("!project:harbour$ !project:lantern$", {17, 18}), ("re:^upgrade", {13}), ("!re:^upgrade status:failed", set()),
    ],
)  # fmt: skip
async def test_fields_of_a_filter_look_where_they_say(day: str, tmp_path: Path, text: str, expected: set[int]) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        rows = pilot.app.screen.query_one("#queue", Rows)
        rows.look_for(text)
        await until(lambda: set(rows.keys) == expected, pilot)


async def test_a_filter_that_is_still_being_typed_flashes_no_error(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        rows = pilot.app.screen.query_one("#queue", Rows)
        pilot.app.screen.focus_panel("queue")
        await pilot.press("slash")
        await until(lambda: isinstance(pilot.app.screen, Prompt), pilot)
        assert "a regex, ^ and $" in seen(pilot.app)
        for letter in "status:failed":
            await type_(pilot, letter) if letter != ":" else await pilot.press("colon")
            assert "there is no" not in seen(pilot.app)
            if letter == ":":
                await until(lambda: len(rows.keys) == 22, pilot)
        await until(lambda: list(rows.keys) == [13], pilot)
        await type_(pilot, "x")
        assert 'there is no state "failedx"' in seen(pilot.app)


@pytest.mark.parametrize(
    ("panel", "text", "expected"),
    [
        ("inbox", "status:review", {("review", "5"), ("review", "6")}),
        ("inbox", "status:failed project:lantern", {("failed", "13")}),
        ("inbox", "agent:builtin !status:review", {("question", "1")}),
        ("projects", "project:qu", {"quay"}),
        ("projects", "!status:paused project:la", {"lantern"}),
    ],
)
async def test_every_table_of_the_deck_has_the_fields_of_a_filter(
    seen_day: str, tmp_path: Path, panel: str, text: str, expected: set[object]
) -> None:
    async with at_the_screen(seen_day, tmp_path) as pilot:
        rows = pilot.app.screen.query_one(f"#{panel}", Rows)
        rows.look_for(text)
        await until(lambda: set(rows.keys) == expected, pilot)


async def test_the_live_log_is_narrowed_down_to_an_agent(seen_day: str, tmp_path: Path) -> None:
    async with at_the_screen(seen_day, tmp_path) as pilot:
        rows = pilot.app.screen.query_one("#log", Rows)
        every = len(rows.keys)
        rows.look_for("agent:claude status:in_progress")
        await until(lambda: 0 < len(rows.keys) < every, pilot)
        assert {row.agent for row in rows.rows.values()} == {"claude"}


@pytest.mark.parametrize(("attempt", "kind"), [(1, "failed"), (3, "conflict")])
async def test_a_failure_is_a_conflict_only_where_its_last_run_met_one(
    day: str, tmp_path: Path, attempt: int, kind: str
) -> None:
    await value_of(
        day,
        "insert into review (task, run, status) select task, number, 'conflict' from run where task = 13 and attempt = $1",
        attempt,
    )
    async with at_the_screen(day, tmp_path) as pilot:
        rows = pilot.app.screen.query_one("#inbox", Rows)
        assert (kind, "13") in rows.keys


async def test_a_filter_that_is_taken_up_again_holds(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        rows = pilot.app.screen.query_one("#queue", Rows)
        pilot.app.screen.focus_panel("queue")
        pilot.app.memory.set("filters", ["project:quay", "status:failed"])
        await pilot.press("slash")
        await until(lambda: isinstance(pilot.app.screen, Prompt), pilot)
        await pilot.press("up")
        await until(lambda: list(rows.keys) == [13], pilot)
        await pilot.press("up", "enter")
        await until(lambda: set(rows.keys) == {17, 18}, pilot)
        assert rows.filter.text == "project:quay"


async def test_the_edge_of_a_cell_is_one_in_every_table(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        rows = pilot.app.screen.query_one("#projects", Rows)
        rows.look_for("^quay$")
        await until(lambda: list(rows.keys) == ["quay"], pilot)
