"""Forms that are sent: once, whatever is pressed meanwhile."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.tui.screen_kit import at_the_screen, seen, until, value_of
from tui import giving
from tui.screens.forms import FormScreen


async def test_a_form_that_is_being_sent_is_not_sent_a_second_time(
    day: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        await pilot.press("3", "t")
        await until(lambda: isinstance(pilot.app.screen, FormScreen), pilot)
        form = pilot.app.screen
        for name, text in (("title", "Once only"), ("project", "harbour")):
            form._put([field.name for field in form.form.fields].index(name), text)
        answer, given = asyncio.Event(), []

        async def slow(*arguments: Any) -> Any:
            given.append(arguments)
            await answer.wait()
            return await giving.give_undoably(*arguments)

        monkeypatch.setattr("tui.screens.forms.give_undoably", slow)
        await pilot.press("ctrl+s")
        await until(lambda: bool(given), pilot)
        await pilot.press("ctrl+s", "escape")
        await pilot.pause()
        assert "it is being sent" in seen(pilot.app)
        answer.set()
        await until(lambda: not isinstance(pilot.app.screen, FormScreen), pilot)
        assert len(given) == 1
        assert await value_of(day, "select count(*) from task_body where title = 'Once only'") == 1
