"""The audit trail on the screen: as it is written, in the words, the money and the time of the person."""

import time
from pathlib import Path

import pytest

from storage.queries.audit import AuditRow
from tests.tui.screen_kit import at_the_screen, seen, settled, until
from tests.tui.world import NOW
from tui.screens.audit import changed
from tui.widgets.rows import Rows


async def test_what_is_changed_meanwhile_is_there_at_once(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        await pilot.press("g", "u")
        await settled(pilot)
        rows = pilot.app.screen.query_one("#table", Rows)
        before = len(rows.keys)
        await pilot.app.do("project.pause", {"id": "harbour"})
        await until(lambda: len(rows.keys) > before, pilot, 8)


async def test_a_limit_is_money_and_a_time_is_local(day: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        for limit in (20, 25):
            await pilot.app.do("budget.set", {"scope": "agent", "key": "claude", "usd": limit})
        await pilot.press("g", "u")
        await settled(pilot)
        assert "hard $20.00 → $25.00" in seen(pilot.app)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    at = {"merged_at": "2026-05-06T13:55:09.228641+00:00"}
    entry = AuditRow(1, NOW, "demo", "admin", "review", "12", "update", {"merged_at": None}, at)
    assert changed(entry) == "merged at nothing → 2026-05-06 22:55"


async def test_the_reason_of_a_task_that_waits_has_the_time_of_the_person(
    day: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    async with at_the_screen(day, tmp_path, size=(200, 50)) as pilot:
        assert "starts at 2026-05-07 08:30" in seen(pilot.app)
        pilot.app.open("task", task="19")
        await settled(pilot)
        assert "starts at 2026-05-07 08:30" in seen(pilot.app)
