"""Results that are long: of a log as much is shown as can be read, and its end first."""

from pathlib import Path

from textual.pilot import Pilot

from tests.tui.screen_kit import at_the_screen, says, seen, settled, type_, until, value_of
from tui.widgets.dialogs import Choose, Read


async def _long_log(dsn: str) -> None:
    await value_of(
        dsn,
        """insert into event (run, seq, at, kind, text)
           select r.number, 100 + n, v.at, 'output', 'line ' || n from run r, generate_series(1, 5000) n,
             lateral (select at from event e where e.run = r.number order by seq desc limit 1) v
            where r.task = 3 and r.attempt = 1""",
    )


async def _shown(pilot: Pilot[int]) -> None:
    await until(lambda: isinstance(pilot.app.screen, Read), pilot)
    await says(pilot, "these are the last 1,000")
    assert "line 4001" in seen(pilot.app)
    await pilot.press("G")
    await settled(pilot)
    assert "line 5000" in seen(pilot.app)


async def test_of_a_long_log_the_line_shows_the_end(day: str, tmp_path: Path) -> None:
    await _long_log(day)
    async with at_the_screen(day, tmp_path) as pilot:
        await pilot.press("colon")
        await type_(pilot, "run logs 3")
        await pilot.press("enter")
        await _shown(pilot)


async def test_who_says_how_much_of_a_log_gets_that(day: str, tmp_path: Path) -> None:
    await _long_log(day)
    async with at_the_screen(day, tmp_path) as pilot:
        await pilot.press("colon")
        await type_(pilot, "run logs 3 --tail 2")
        await pilot.press("enter")
        await until(lambda: isinstance(pilot.app.screen, Read), pilot)
        lines = ["".join(text for text, _ in line) for line in pilot.app.screen._lines]
        assert [line.split()[-1] for line in lines] == ["4999", "5000"]


async def test_of_a_long_log_the_palette_shows_the_end(day: str, tmp_path: Path) -> None:
    await _long_log(day)
    async with at_the_screen(day, tmp_path) as pilot:
        await pilot.press("ctrl+p")
        await until(lambda: isinstance(pilot.app.screen, Choose), pilot)
        await type_(pilot, "run logs")
        await pilot.press("enter")
        await until(lambda: not isinstance(pilot.app.screen, Choose) and pilot.app.screen.is_modal, pilot)
        await type_(pilot, "3")
        await pilot.press("enter")
        await _shown(pilot)
