"""The log view: opening, following, reading back, folding, searching, copying."""

import asyncio

import pytest
from textual.pilot import Pilot

from config.errors import UsageError
from core.tasks.log_pages import LogEvent
from tests.tui.log_kit import LogApp, MadeLog, event, shown
from tui.widgets.log_view import LogView
from tui.widgets.log_window import MOST_EVENTS, PAGE

SIZE = (100, 20)


def mixed(seq: int) -> LogEvent:
    """Every third event is the output of a tool, of forty lines."""
    if seq % 3 == 0:
        return event(seq, "\n".join(f"result {seq} row {n}" for n in range(40)), "tool_result")
    return event(seq, f"line {seq}")


async def settled(pilot: Pilot[None]) -> LogView:
    """Wait until nothing is loading, and hand over the view."""
    view = pilot.app.query_one(LogView)
    async with asyncio.timeout(20):
        while True:
            await pilot.pause()
            await pilot.app.workers.wait_for_complete()
            await pilot.pause()
            if not view._due and not view._loading.locked() and not len(pilot.app.workers):
                return view


async def test_a_million_events_open_at_the_end_with_one_page():
    log = MadeLog(1_000_000)
    async with LogApp(log).run_test(size=SIZE) as pilot:
        await settled(pilot)
        assert shown(pilot.app)[-1] == "line 1000000"
        assert log.asked == 1


async def test_it_follows_what_comes():
    log = MadeLog(50)
    async with LogApp(log).run_test(size=SIZE) as pilot:
        view = await settled(pilot)
        log.length = 53
        view.poke()
        await settled(pilot)
        assert shown(pilot.app)[-3:] == ["line 51", "line 52", "line 53"]


async def test_a_log_that_is_far_ahead_is_shown_at_its_end_and_not_read_through():
    log = MadeLog(50)
    async with LogApp(log).run_test(size=SIZE) as pilot:
        view = await settled(pilot)
        log.length = 900_000
        before = log.asked
        view.poke()
        await settled(pilot)
        assert shown(pilot.app)[-1] == "line 900000"
        assert log.asked <= before + 2


async def test_reading_back_stops_the_following_and_counts_what_is_new():
    log = MadeLog(500)
    async with LogApp(log).run_test(size=SIZE) as pilot:
        view = await settled(pilot)
        view.move(-30)
        await settled(pilot)
        seen = shown(pilot.app)
        log.length = 812
        view._flushed = 0
        view.poke()
        await settled(pilot)
        assert shown(pilot.app) == seen
        assert not view.following
        assert view.new == 312
        view.jump(None)
        await settled(pilot)
        assert view.following
        assert view.new == 0
        assert shown(pilot.app)[-1] == "line 812"


@pytest.mark.parametrize("kinds", [(), ("message",)])
async def test_new_is_what_came_after_one_stopped_following_however_far_up_one_reads(kinds):
    log = MadeLog(20_000)
    counted: list[int] = []
    count = log.count

    async def noted(wanted):
        counted.append(wanted.after)
        return await count(wanted)

    log.count = noted
    async with LogApp(log).run_test(size=SIZE) as pilot:
        view = await settled(pilot)
        view.set_kinds(kinds)
        await settled(pilot)
        view.jump(1)
        await settled(pilot)
        log.length = 20_001
        view._flushed = 0
        view.poke()
        await settled(pilot)
        assert view.new == 1
        assert all(after == 20_000 for after in counted), "what was there before is not gone through"


async def test_going_down_at_the_end_follows_again():
    async with LogApp(MadeLog(100)).run_test(size=SIZE) as pilot:
        view = await settled(pilot)
        view.move(-1)
        assert not view.following
        view.move(1)
        assert not view.following
        view.move(1)
        assert view.following


async def test_the_wheel_scrolls_and_the_log_does_not_fight_it():
    log = MadeLog(300)
    async with LogApp(log).run_test(size=SIZE) as pilot:
        view = await settled(pilot)
        view._scroll(-3)
        assert shown(pilot.app)[-1] == "line 297"
        log.length = 400
        view._flushed = 0
        view.poke()
        await settled(pilot)
        assert shown(pilot.app)[-1] == "line 297"


async def test_the_whole_log_can_be_read_from_end_to_start_and_back_in_bounded_memory():
    log = MadeLog(4 * MOST_EVENTS)
    async with LogApp(log).run_test(size=(100, 60)) as pilot:
        view = await settled(pilot)
        seen: set[str] = set()
        for direction, stop in ((-1, "line 1"), (1, f"line {log.length}")):
            seen.clear()
            for _ in range(2000):
                seen.update(shown(pilot.app))
                if stop in shown(pilot.app):
                    break
                view.page(direction)
                await settled(pilot)
                assert len(view.window.events) <= MOST_EVENTS + PAGE
            assert {f"line {n}" for n in range(1, log.length + 1)} <= seen


async def test_pages_that_are_loaded_above_move_nothing():
    async with LogApp(MadeLog(5000)).run_test(size=SIZE) as pilot:
        view = await settled(pilot)
        view.jump(2500)
        await settled(pilot)
        seen = shown(pilot.app)
        await view.window.more_above()
        view.repaint()
        assert shown(pilot.app) == seen


async def test_jumping_goes_to_the_start_and_to_a_number():
    async with LogApp(MadeLog(1_000_000)).run_test(size=SIZE) as pilot:
        view = await settled(pilot)
        view.jump(1)
        await settled(pilot)
        assert shown(pilot.app)[0] == "line 1"
        view.jump(654_321)
        await settled(pilot)
        assert "line 654321" in shown(pilot.app)
        assert view._cursor == (654_321, 0)


async def test_long_output_is_folded_and_says_how_much_there_is():
    log = MadeLog(3, mixed)
    async with LogApp(log).run_test(size=(100, 60)) as pilot:
        view = await settled(pilot)
        assert shown(pilot.app)[:2] == ["line 1", "line 2"]
        assert shown(pilot.app)[9:11] == ["result 3 row 7", "… 32 more lines"]
        view.toggle_fold()
        assert "result 3 row 39" in shown(pilot.app)
        view.toggle_fold()
        assert "result 3 row 39" not in shown(pilot.app)


async def test_a_check_that_failed_shows_how_its_output_ends():
    output = "\n".join(f"row {n}" for n in range(100))
    made = LogEvent(1, event(1).at, "verify", "failed: make test", 0, {"passed": False}, output)
    async with LogApp(MadeLog(1, lambda _: made)).run_test(size=SIZE) as pilot:
        await settled(pilot)
        assert shown(pilot.app)[:3] == ["failed: make test", "… 93 more lines", "row 93"]
        assert "row 99" in shown(pilot.app)
        view = pilot.app.query_one(LogView)
        assert "✗ check" in view.render_line(0).text


async def test_wrapping_shows_all_of_a_line_and_without_it_the_cut_is_shown():
    words = " ".join(f"word{n}" for n in range(60))
    async with LogApp(MadeLog(1, lambda seq: event(seq, words))).run_test(size=(60, 20)) as pilot:
        view = await settled(pilot)
        assert " ".join(" ".join(shown(pilot.app)).split()) == words
        view.toggle_wrap()
        assert shown(pilot.app)[0].endswith("…")
        assert shown(pilot.app)[1] == ""
        view.shift(30)
        assert shown(pilot.app)[0].startswith(words[30:40])


async def test_times_are_of_the_day_since_the_start_or_off():
    async with LogApp(MadeLog(100)).run_test(size=SIZE) as pilot:
        view = await settled(pilot)
        assert view.next_stamps() == "since"
        assert view.render_line(19).text.split()[0] == "0:01:40"
        assert view.next_stamps() == "off"
        assert view.render_line(19).text.split()[0] == "▪"


async def test_only_events_of_some_kinds():
    async with LogApp(MadeLog(1000, mixed)).run_test(size=SIZE) as pilot:
        view = await settled(pilot)
        view.set_kinds(("message",))
        await settled(pilot)
        assert shown(pilot.app)[-2:] == ["line 998", "line 1000"]
        view.set_kinds(("error",))
        await settled(pilot)
        assert any("no such events" in row for row in shown(pilot.app))


async def test_only_what_came_after_a_time():
    async with LogApp(MadeLog(1000)).run_test(size=SIZE) as pilot:
        view = await settled(pilot)
        view.set_since(event(990).at, 989)
        await settled(pilot)
        assert shown(pilot.app)[:2] == ["line 990", "line 991"]


async def test_search_finds_what_is_not_loaded_and_goes_round():
    def make(seq: int) -> LogEvent:
        return event(seq, f"Needle {seq}" if seq in (10, 5000) else "")

    async with LogApp(MadeLog(10_000, make)).run_test(size=SIZE) as pilot:
        view = await settled(pilot)
        view.look_for("needle")
        await settled(pilot)
        assert view._cursor[0] == 5000
        for direction, where in ((-1, 10), (-1, 5000), (1, 10), (1, 5000)):
            assert await view.next_match(direction)
            assert view._cursor[0] == where
        view.look_for("nowhere at all")
        await settled(pilot)
        assert "nothing holds" in view.trouble


async def test_search_steps_through_the_rows_of_one_event_and_unfolds_it():
    async with LogApp(MadeLog(3, mixed)).run_test(size=SIZE) as pilot:
        view = await settled(pilot)
        view.jump(1)
        await settled(pilot)
        view.look_for("row 3")
        await settled(pilot)
        rows = []
        for _ in range(3):
            rows.append(view._cursor)
            await view.next_match(1)
        assert rows == [(3, 3), (3, 3), (3, 3)]
        view.look_for("re:row 3[5-9]")
        await settled(pilot)
        assert shown(pilot.app)[view._shown.index(view._cursor)].startswith("result 3 row 35")


async def test_what_is_no_regular_expression_is_refused_in_words():
    async with LogApp(MadeLog(3)).run_test(size=SIZE) as pilot:
        view = await settled(pilot)
        with pytest.raises(UsageError, match="no regular expression"):
            view.look_for("re:(")


async def test_what_is_found_stands_on_another_ground():
    async with LogApp(MadeLog(30)).run_test(size=SIZE) as pilot:
        view = await settled(pilot)
        view.look_for("line 29")
        await settled(pilot)
        strip = view.render_line(18)
        ground = {
            segment.text: segment.style.bgcolor.name for segment in strip if segment.style and segment.style.bgcolor
        }
        assert ground["line 29"] == pilot.app.ink.palette.match


async def test_selected_rows_and_whole_events_can_be_copied():
    async with LogApp(MadeLog(6, mixed)).run_test(size=(100, 60)) as pilot:
        view = await settled(pilot)
        view.jump(1)
        await settled(pilot)
        assert view.selected_text() == "line 1"
        view.toggle_selection()
        view.move(1)
        assert view.selected_text() == "line 1\nline 2"
        assert view.visible_text().startswith("line 1\nline 2\nresult 3 row 0")


async def test_marks_are_found_again():
    async with LogApp(MadeLog(5000)).run_test(size=SIZE) as pilot:
        view = await settled(pilot)
        view.move(-5)
        view.toggle_mark()
        marked = view._cursor[0]
        view.jump(1)
        await settled(pilot)
        assert view.next_mark(1)
        await settled(pilot)
        assert view._cursor[0] == marked


async def test_only_rows_that_differ_are_painted():
    log = MadeLog(5)
    async with LogApp(log).run_test(size=SIZE) as pilot:
        view = await settled(pilot)
        regions = []
        refresh = view.refresh

        def noted(*found, **how):
            regions.append(found)
            return refresh(*found, **how)

        view.refresh = noted
        view.repaint()
        assert regions == []
        log.length = 6
        view.poke()
        await settled(pilot)
        assert [[region.y for region in found] for found in regions] == [[5]]


async def test_a_source_that_fails_is_told_and_what_is_shown_stays():
    class Broken(MadeLog):
        async def first(self, wanted, limit):  # noqa: ARG002
            raise UsageError("the database cannot be reached")

    log = Broken(50)
    async with LogApp(log).run_test(size=SIZE) as pilot:
        view = await settled(pilot)
        log.length = 60
        view.poke()
        await settled(pilot)
        assert shown(pilot.app)[-1] == "line 50"
        assert "cannot be reached" in view.trouble


@pytest.mark.parametrize("kinds", [("error",), ("edit", "verify")])
async def test_a_paused_log_narrowed_down_to_nothing_says_so_and_comes_back(kinds: tuple[str, ...]):
    async with LogApp(MadeLog(300)).run_test(size=SIZE) as pilot:
        view = await settled(pilot)
        view.move(-30)
        view.toggle_selection()
        view.set_kinds(kinds)
        await settled(pilot)
        assert any("no such events" in line for line in shown(pilot.app))
        view.move(-1)
        view.page(1)
        view.toggle_wrap()
        view.next_mark(1)
        assert view.selected_text() == ""
        assert view.visible_text() == ""
        view.set_kinds(())
        await settled(pilot)
        assert "line 270" in shown(pilot.app)


async def test_a_paused_log_that_shows_nothing_shows_what_comes():
    log = MadeLog(300, lambda seq: event(seq, kind="error" if seq > 300 else "message"))
    async with LogApp(log).run_test(size=SIZE) as pilot:
        view = await settled(pilot)
        view.move(-30)
        view.set_kinds(("error",))
        await settled(pilot)
        log.length = 302
        view._flushed = 0
        view.poke()
        await settled(pilot)
        assert [line for line in shown(pilot.app) if line.strip()] == ["line 301", "line 302"]
