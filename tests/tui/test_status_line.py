"""The status line: whole groups at every width, and money by the ledger against the budgets."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.tui.screen_kit import at_the_screen, seen, settled, until
from tests.tui.world import NOW
from tui.ink import width_of
from tui.widgets.bars import Group, fitted

GROUPS: list[Group] = [
    [(2, [("quarterdeck", "")]), (9, [("qd", "")])],
    [(1, [("3/4 running", "")]), (5, [("3/4", "")]), (5, [])],
    [(3, [("today $6.74 of $25", "")]), (4, [("today $6.74", "")]), (4, [])],
]


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (60, " quarterdeck  3/4 running  today $6.74 of $25"),
        (44, " quarterdeck  3/4  today $6.74 of $25"),
        (30, " qd  3/4  today $6.74 of $25"),
        (25, " qd  3/4  today $6.74"),
        (12, " qd  3/4"),
        (4, " qd"),
    ],
)
def test_what_matters_least_is_left_out_first_and_whole(width: int, shown: str) -> None:
    parts = fitted(GROUPS, width, 2)
    assert "".join(text for text, _ in parts) == shown
    assert width_of(parts) <= width


def first_line(app: Any) -> str:
    """What the status line says."""
    return seen(app).splitlines()[0]


async def test_a_demonstration_is_called_one_at_every_width(seen_day: str, tmp_path: Path) -> None:
    async with at_the_screen(seen_day, tmp_path, (200, 50), notice="demo · scripted model") as pilot:
        for width in (200, 120, 100, 80, 60, 44):
            await pilot.resize_terminal(width, 24)
            await until(lambda width=width: pilot.app.screen.size.width == width, pilot)
            assert "demo · scripted model" in first_line(pilot.app)
            assert "…" not in first_line(pilot.app)
            assert "5 need you" in first_line(pilot.app)


async def test_money_is_that_of_the_ledger_against_its_limits(day: str, tmp_path: Path) -> None:
    async with at_the_screen(day, tmp_path) as pilot:
        app: Any = pilot.app
        assert "today $6.74 of $25   month $198.31 of $250" in first_line(app)
        connection = await asyncpg.connect(day)
        await connection.execute("update account set spent = 20500000 where unit = 'usd' and hard = 25000000")
        await connection.close()
        app.store.reload()
        await until(lambda: "today $20.50 of $25" in first_line(app), pilot)
        assert app.money.day.tone == "warn"


async def test_without_budgets_the_ledger_alone_speaks(day: str, tmp_path: Path) -> None:
    connection = await asyncpg.connect(day)
    await connection.execute("delete from account")
    await connection.execute("delete from budget")
    await connection.execute("delete from charge")
    await connection.execute(
        """insert into charge (id, at, service, status, basis, cost_micro)
           values (gen_random_uuid(), $1, 'anthropic', 'settled', 'measured', 1230000)""",
        NOW,
    )
    await connection.close()
    async with at_the_screen(day, tmp_path) as pilot:
        app: Any = pilot.app
        assert "today $1.23   month $1.23" in first_line(app)
        assert app.money.month.spent == Decimal("1.23")


async def test_where_nothing_was_charged_it_says_so(seen_nothing: str, tmp_path: Path) -> None:
    async with at_the_screen(seen_nothing, tmp_path) as pilot:
        await settled(pilot)
        assert "nothing was charged" in first_line(pilot.app)
