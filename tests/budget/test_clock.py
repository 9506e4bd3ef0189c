"""When a budget begins anew: month ends, leap days, daylight saving, to the second."""

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from tests.budget.gate import connect

SECOND = timedelta(seconds=1)


async def period(
    db: asyncpg.Connection, name: str, zone: str, at: datetime, starts_on: int = 1
) -> tuple[datetime, datetime]:
    """The period that holds a moment."""
    row = await db.fetchrow("select * from budget_period($1, $2, $3, $4)", name, zone, starts_on, at)
    return row["starts"], row["ends"]


def wall(zone: str, *parts: int, fold: int = 0) -> datetime:
    """A time by the clock on the wall of a zone, in UTC."""
    return datetime(*parts, tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)  # type: ignore[misc,arg-type]


@pytest.fixture
async def db(migrated_database: str) -> asyncpg.Connection:
    connection = await connect(migrated_database)
    yield connection
    await connection.close()


FIRSTS = [
    ("UTC", (2027, 1, 31), (2027, 2, 1)),
    ("UTC", (2028, 2, 29), (2028, 3, 1)),
    ("UTC", (2027, 2, 28), (2027, 3, 1)),
    ("UTC", (2026, 12, 31), (2027, 1, 1)),
    ("America/New_York", (2026, 10, 31), (2026, 11, 1)),
    ("Asia/Kolkata", (2026, 11, 30), (2026, 12, 1)),
    ("Pacific/Kiritimati", (2026, 12, 31), (2027, 1, 1)),
    ("Australia/Lord_Howe", (2027, 3, 31), (2027, 4, 1)),
]


async def test_a_month_begins_at_its_midnight_to_the_second(db: asyncpg.Connection) -> None:
    for zone, last, first in FIRSTS:
        boundary = wall(zone, *first)
        assert (await period(db, "month", zone, boundary - SECOND))[1] == boundary
        assert (await period(db, "month", zone, boundary))[0] == boundary
        assert (await period(db, "month", zone, wall(zone, *last, 23, 59, 59)))[1] == boundary


async def test_a_day_has_as_many_hours_as_the_clock_gives_it(db: asyncpg.Connection) -> None:
    for day, hours in (((2027, 3, 28), 23), ((2026, 10, 25), 25), ((2026, 10, 26), 24)):
        starts, ends = await period(db, "day", "Europe/Berlin", wall("Europe/Berlin", *day, 12))
        assert (starts, ends - starts) == (wall("Europe/Berlin", *day), timedelta(hours=hours))


async def test_a_midnight_that_comes_twice_begins_one_day_only(db: asyncpg.Connection) -> None:
    # Havana goes back from 01:00 to 00:00 on the first Sunday of November.
    zone, day = "America/Havana", (2026, 11, 1)
    moments = [wall(zone, *day, 0, 30), wall(zone, *day, 0, 30, fold=1), wall(zone, *day, 12)]
    periods = {await period(db, "day", zone, moment) for moment in moments[1:]}
    assert len(periods) == 1
    starts, ends = periods.pop()
    before = await period(db, "day", zone, starts - SECOND)
    assert before[1] == starts
    assert ends == wall(zone, 2026, 11, 2)


async def test_a_midnight_that_does_not_exist_is_the_moment_when_the_clock_jumps(db: asyncpg.Connection) -> None:
    # Beirut goes from 23:59:59 to 01:00:00 on the last Sunday of March.
    zone = "Asia/Beirut"
    jump = datetime(2027, 3, 27, 22, 0, tzinfo=UTC)
    assert (await period(db, "day", zone, jump - SECOND))[1] == jump
    assert (await period(db, "day", zone, jump))[0] == jump
    assert (await period(db, "day", zone, jump + timedelta(hours=1)))[0] == jump


async def test_a_month_that_begins_on_another_day(db: asyncpg.Connection) -> None:
    starts, ends = await period(db, "month", "UTC", datetime(2027, 2, 14, 23, 59, 59, tzinfo=UTC), 15)
    assert (starts, ends) == (datetime(2027, 1, 15, tzinfo=UTC), datetime(2027, 2, 15, tzinfo=UTC))
    starts, ends = await period(db, "month", "UTC", datetime(2028, 2, 29, tzinfo=UTC), 28)
    assert (starts, ends) == (datetime(2028, 2, 28, tzinfo=UTC), datetime(2028, 3, 28, tzinfo=UTC))


async def test_a_window_of_hours_counts_from_the_epoch(db: asyncpg.Connection) -> None:
    starts, ends = await period(db, "5h", "Europe/Berlin", datetime(2026, 10, 25, 1, 30, tzinfo=UTC))
    assert (ends - starts, starts.timestamp() % (5 * 3600)) == (timedelta(hours=5), 0)


_ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/Sao_Paulo",
    "Africa/Cairo",
    "Asia/Beirut",
    "America/Havana",
    "Australia/Lord_Howe",
    "Asia/Tehran",
]


async def test_periods_leave_no_gap_and_never_overlap(db: asyncpg.Connection) -> None:
    dice = random.Random(3)
    for _ in range(400):
        moment = datetime(2015, 1, 1, tzinfo=UTC) + timedelta(seconds=dice.randrange(20 * 365 * 86400))
        zone, name = dice.choice(_ZONES), dice.choice(["month", "week", "day", "5h", "168h"])
        first = dice.randint(1, 28)
        starts, ends = await period(db, name, zone, moment, first)
        assert starts <= moment < ends
        for near in (starts, ends - SECOND):
            assert await period(db, name, zone, near, first) == (starts, ends), (zone, name, first, moment)
        assert (await period(db, name, zone, ends, first))[0] == ends, (zone, name, first, moment)
