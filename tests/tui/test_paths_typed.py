"""Paths that a person types on the screen: the home of nobody is a word of the screen, not its end."""

from pathlib import Path

import pytest

from tests.tui.screen_kit import at_the_screen, says, settled, type_, until
from tui.widgets.dialogs import Ask


@pytest.mark.parametrize(
    "line",
    [
        "backup ~nobody-here/x",
        "project add ~nobody-here/x",
        "project import ~nobody-here/x",
        "knowledge export ~nobody-here/x",
        "knowledge add --file ~nobody-here/x",
    ],
)
async def test_a_command_with_the_home_of_nobody_is_refused(day: str, tmp_path: Path, line: str) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        await pilot.press("colon")
        await until(lambda: pilot.app.screen.is_modal, pilot)
        pilot.app.screen.query_one("Input").value = line
        await pilot.press("enter")
        await says(pilot, "~nobody-here/x begins with the home of somebody who is not known here")
        assert pilot.app.said[0] == "bad"


async def test_a_log_is_not_saved_in_the_home_of_nobody(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        pilot.app.open("run", run="3.1")
        await settled(pilot)
        await pilot.press("W")
        await until(lambda: isinstance(pilot.app.screen, Ask), pilot)
        pilot.app.screen.query_one("Input").value = ""
        await type_(pilot, "~nobodyhere/x")
        await pilot.press("enter")
        await says(pilot, "begins with the home of somebody")
