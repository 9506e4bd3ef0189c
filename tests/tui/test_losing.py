"""What a command on the line takes away is said as exactly as its key says it."""

from pathlib import Path

import pytest

from tests.tui.screen_kit import at_the_screen, settled, type_, until, value_of
from tui.widgets.dialogs import Confirm


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("task delete #8", "lines of log"),
        ("task cancel 8", "Run 8.1 is stopped, after $"),
        ("project remove quay", "quay: all tasks of it ("),
        ("run stop 8.1", "run 8.1: the agent is interrupted"),
        ("review reject 5 no", "the change is not merged and the task is cancelled"),
        ("worktree clean", "orktrees"),
    ],
)
async def test_the_line_says_what_is_lost(day: str, tmp_path: Path, line: str, told: str) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        await pilot.press("colon")
        await type_(pilot, line)
        await pilot.press("enter")
        await until(lambda: isinstance(pilot.app.screen, Confirm), pilot)
        await settled(pilot)
        assert told in pilot.app.screen._loses
        await pilot.press("n")
        await until(lambda: pilot.app.said and "nothing was done" in pilot.app.said[1], pilot)


async def test_the_line_says_at_once_that_there_is_no_such_task(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        await pilot.press("colon")
        await type_(pilot, "task delete 4242")
        await pilot.press("enter")
        await until(lambda: pilot.app.said and "4242" in pilot.app.said[1], pilot)
        assert not isinstance(pilot.app.screen, Confirm)
        assert await value_of(day, "select count(*) from task where number = 8") == 1


@pytest.mark.parametrize("line", ["record /nowhere/session.jsonl", "task wait 5"])
async def test_what_goes_on_until_it_is_interrupted_is_not_begun_on_the_line(
    day: str, tmp_path: Path, line: str
) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        await pilot.press("colon")
        await type_(pilot, line)
        await pilot.press("enter")
        await until(lambda: pilot.app.said and "a terminal of its own" in pilot.app.said[1], pilot)
