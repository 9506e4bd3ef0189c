"""The log as the database answers it: pages in both directions, a place by time, searches; among a million events."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from config.errors import UsageError
from core.tasks.log_pages import TEXT_LIMIT, LogPages, Needle, Range
from storage.database import Database, Principal, Role
from tests.tui.log_kit import LogApp, shown
from tests.tui.test_log_view import settled
from tui.log_file import save_log

BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
WHO = Principal("user:ann", Role.VIEWER)


@pytest.fixture
async def db(migrated_database: str) -> AsyncIterator[Database]:
    """A database to fill."""
    opened = await Database.open(migrated_database)
    yield opened
    await opened.close()


def pages(db: Database, run: int = 7) -> LogPages:
    """The log of a run, as a screen reads it."""

    async def read(query):
        async with db.transaction(WHO) as connection:
            return await query(connection)

    return LogPages(read, run)


async def fill(db: Database, count: int, text: str = "'line ' || n") -> None:
    """So many events of run 7, a second apart; every tenth is an edit."""
    async with db.connection() as connection:
        await connection.execute(
            f"""insert into event (run, seq, at, kind, text)
                select 7, n, $1::timestamptz + n * interval '1 second', case when n % 10 = 0 then 'edit' else 'output' end, {text}
                  from generate_series(1, {count}) n""",
            BEGAN,
        )


def seqs(found) -> list[int]:
    return [event.seq for event in found]


async def test_pages_in_both_directions(db):
    await fill(db, 50)
    log = pages(db)
    assert seqs(await log.first(Range(), 3)) == [1, 2, 3]
    assert seqs(await log.last(Range(), 3)) == [48, 49, 50]
    assert seqs(await log.first(Range(after=20, before=23), 9)) == [21, 22]
    assert seqs(await log.last(Range(before=20, kinds=("edit",)), 9)) == [10]
    assert await log.count(Range(after=5, kinds=("edit",))) == 5
    assert await log.end() == 50


async def test_the_place_of_a_time(db):
    await fill(db, 1000)
    log = pages(db)
    for seconds, seq in ((-5, 1), (1, 1), (500, 500), (500.5, 501), (9999, 1001)):
        assert await log.number_at(BEGAN + timedelta(seconds=seconds)) == seq


@pytest.mark.parametrize(
    ("needle", "backwards", "found"),
    [
        (Needle("LINE 42"), False, 42),
        (Needle("LINE 42", case=True), False, None),
        (Needle("line 42"), True, 429),
        (Needle(r"line 4[78]$", regex=True), False, 47),
        (Needle("100%"), False, None),
        (Needle("line_42"), False, None),
        (Needle(r"\b42\b", regex=True), False, 42),
        (Needle(r"^line 42$", regex=True), False, 42),
    ],
)
async def test_searches(db, needle, backwards, found):
    await fill(db, 500)
    assert await pages(db).search(needle, Range(), backwards=backwards) == found


async def test_the_edges_of_a_line_are_those_of_every_line_of_a_text(db):
    await fill(db, 3, "'one' || e'\\n' || 'two ' || n || e'\\n' || 'three'")
    assert await pages(db).search(Needle("^two 2$", regex=True), Range()) == 2


async def test_what_a_failed_check_printed_is_found_and_shown(db):
    await fill(db, 300)
    async with db.connection() as connection:
        await connection.execute(
            """update event set kind = 'verify', text = 'failed: make test', data = jsonb_build_object('output', $1::text)
                where run = 7 and seq = 20""",
            "\n".join(f"ok {n}" for n in range(50)) + "\nAssertionError: 3 apples",
        )
    log = pages(db)
    assert await log.search(Needle("assertionerror: 3"), Range()) == 20
    assert await log.search(Needle(r"^Assertion\w+:", regex=True), Range(kinds=("verify",)), backwards=True) == 20
    async with LogApp(log).run_test(size=(100, 20)) as pilot:
        view = await settled(pilot)
        view.look_for("3 apples")
        await settled(pilot)
        assert view._cursor[0] == 20
        assert "AssertionError: 3 apples" in "\n".join(shown(pilot.app))


async def test_a_text_is_searched_to_its_end(db):
    await fill(db, 3, "case n when 2 then repeat('x', 100000) || ' the tail' else 'x' end")
    assert await pages(db).search(Needle("the tail"), Range()) == 2


async def test_what_is_no_regular_expression_of_the_database_is_refused(db):
    await fill(db, 3)
    with pytest.raises(UsageError, match="no regular expression"):
        await pages(db).search(Needle("(?<=a)(", regex=True), Range())


async def test_long_texts_are_cut_on_the_screen_and_whole_in_the_file(db, tmp_path):
    await fill(db, 3, "repeat('x', case n when 2 then 3000000 else 5 end)")
    log = pages(db)
    found = await log.first(Range(), 9)
    assert [(len(event.text), event.size) for event in found] == [(5, 0), (TEXT_LIMIT, 3_000_000), (5, 0)]
    path = tmp_path / "run.log"
    events, written = await save_log(log, Range(), path)
    assert events == 3
    assert path.stat().st_size == written > 3_000_000
    with pytest.raises(FileExistsError):
        await save_log(log, Range(), path)


async def test_a_million_events_open_at_once_and_are_searched_from_end_to_end(db):
    await fill(db, 1_000_000, "case n when 3 then 'the needle' else 'x' end")
    log = pages(db)
    async with LogApp(log).run_test(size=(100, 20)) as pilot:
        begun = time.perf_counter()
        view = await settled(pilot)
        await view.window.to_end()
        assert time.perf_counter() - begun < 5  # it takes milliseconds: a reader of all of it would take minutes
        view.look_for("needle")
        await settled(pilot)
        assert view._cursor[0] == 3
        assert "the needle" in shown(pilot.app)
        view.jump(None)
        await settled(pilot)
        assert view.window.last == 1_000_000
        assert len(view.window.events) <= 400
