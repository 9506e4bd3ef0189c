"""What a person sets about the screen itself: where copies go, when it rings, how dense it is."""

from pathlib import Path
from typing import Any

import asyncpg
from textual.pilot import Pilot

from config.errors import UsageError
from tests.tui.screen_kit import at_the_screen, screen_on, seen, settled, until
from tui.widgets.rows import Rows


async def _set(dsn: str, key: str, value: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("insert into setting (key, value) values ($1, $2::text::jsonb)", key, value)
        await connection.execute("select pg_notify('qd', 'settings')")
    finally:
        await connection.close()


async def test_where_copies_go_is_a_setting_that_is_taken_up_at_once(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        await pilot.press("3", "y")
        await until(lambda: pilot.app.said and "sent to the terminal" in pilot.app.said[1], pilot)
        assert "copied" not in pilot.app.said[1], "nobody knows whether the terminal took it"
        await _set(day, "screen.clipboard", '"off"')
        await until(lambda: pilot.app.lifeline.wishes.clipboard == "off", pilot)
        await pilot.press("y")
        await until(lambda: pilot.app.said and "the clipboard is off: saved to" in pilot.app.said[1], pilot)
    [saved] = (tmp_path / "state" / "copies").iterdir()
    assert saved.read_text().strip()


async def test_what_was_set_while_the_line_was_down_is_taken_up_when_it_is_back(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        connection = await asyncpg.connect(day)
        try:
            await connection.execute("alter table setting disable trigger user")  # nobody hears of it
            await connection.execute("""insert into setting (key, value) values ('screen.clipboard', '"off"')""")
        finally:
            await connection.close()
        assert pilot.app.lifeline.wishes.clipboard == "auto"
        pilot.app.store.reload()
        await until(lambda: pilot.app.lifeline.wishes.clipboard == "off", pilot)


async def test_what_is_copied_holds_nothing_that_a_shell_s_terminal_would_obey(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        await _set(day, "screen.clipboard", '"off"')
        await until(lambda: pilot.app.lifeline.wishes.clipboard == "off", pilot)
        await pilot.app.copy("ls\x1b[201~\nrm -rf \u202e/")
    [saved] = (tmp_path / "state" / "copies").iterdir()
    assert saved.read_text() == "ls␛[201~\nrm -rf \ufffd/"


async def test_quiet_hours_are_checked_while_one_types_and_hold_at_once(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        await pilot.press("g", "s")
        await settled(pilot)
        table = pilot.app.screen.query_one("#table", Rows)
        await until(lambda: "screen.quiet_hours" in table.keys, pilot)
        table.go_to_key("screen.quiet_hours")
        await pilot.press("e")
        await until(lambda: "By itself" in seen(pilot.app), pilot)
        await pilot.press(*["backspace"] * 4, *"22", "colon", *"00")
        await until(lambda: "two times of the day" in seen(pilot.app), pilot)
        await pilot.press("minus", *"07", "colon", *"30", "enter")
        await until(lambda: pilot.app.lifeline.wishes.quiet_hours == "22:00-07:30", pilot)


async def test_an_action_that_is_done_at_once_may_refuse_too(day: str, tmp_path: Path) -> None:
    from dataclasses import replace

    def refuses(_place: Any) -> None:
        raise UsageError("it is not to be had", "ask again")

    async with at_the_screen(day, tmp_path) as pilot:
        pilot.app.perform(replace(pilot.app.registry.actions["density.change"], run=refuses))
        assert pilot.app.said == ("bad", "density: change: it is not to be had", "ask again")


def _first_row(pilot: Pilot[Any]) -> tuple[int, int]:
    """Where the first task of the queue stands."""
    lines = seen(pilot.app).splitlines()
    y = next(n for n, line in enumerate(lines) if "#3 " in line and "in progress" in line)
    return lines[y].rindex("#3 "), y


async def test_there_are_two_densities_and_the_mouse_knows_both(seen_day: str, tmp_path: Path) -> None:
    async with at_the_screen(seen_day, tmp_path) as pilot:
        dense = _first_row(pilot)
        await pilot.press("g", "v")
        await settled(pilot)
        roomy = _first_row(pilot)
        assert (roomy[0] - dense[0], roomy[1] - dense[1]) == (1, 1)
        queue = pilot.app.screen.query_one("#queue", Rows)
        await pilot.click(queue, offset=(5, roomy[1] + 1 - queue.region.y))
        assert queue.at == 1
        await pilot.resize_terminal(80, 24)
        await settled(pilot)
        assert "1 inbox" in seen(pilot.app)
    again = screen_on(seen_day, tmp_path)
    assert again.memory.get("dense", True) is False
