"""What an engine makes of what the gateway says: without processes, on a real database."""

from collections.abc import AsyncIterator

import pytest

from core.engine.ending import attempt_failed
from storage.queries import budget
from tests.budget.gate import set_budget
from tests.engine.money_kit import Till, till


@pytest.fixture
async def desk(migrated_database: str) -> AsyncIterator[Till]:
    async with till(migrated_database) as made:
        yield made


async def serve(desk: Till, run: int, ago: str) -> None:
    """A call of a run that was granted so long ago."""
    await desk.sql.execute(
        """insert into charge (id, at, task, run, status) select qd_uuid7(), clock_timestamp() - $2::text::interval, task, number, 'settled'
             from run where number = $1""",
        run,
        ago,
    )


async def refuse(desk: Till, run: int, ago: str) -> None:
    """A call of a run that was refused so long ago."""
    await desk.sql.execute(
        "insert into run_notice (run, kind, text, at) values ($1, 'budget', 'used up', clock_timestamp() - $2::text::interval)",
        run,
        ago,
    )


async def test_an_agent_that_got_no_answer_after_its_refusal_is_interrupted_once(desk: Till) -> None:
    stubborn, fresh, answered = await desk.runs(3, tasks=3)
    lives = {run: await desk.life(run) for run in (stubborn, fresh, answered)}
    await serve(desk, stubborn, "2 minutes")
    await refuse(desk, stubborn, "31 s")
    await refuse(desk, stubborn, "1 s")
    await refuse(desk, fresh, "1 s")
    await refuse(desk, answered, "31 s")
    await serve(desk, answered, "20 s")
    await refuse(desk, answered, "1 s")
    for _ in range(2):
        await desk.runtime.money.look(lives)
    assert desk.asked == ["interrupt"]
    await desk.sql.execute("update run_notice set at = at - interval '1 minute' where run = $1", answered)
    await desk.sql.execute("update charge set at = at - interval '1 minute'")
    await desk.runtime.money.look(lives)
    assert desk.asked == ["interrupt"] * 2


async def test_books_that_do_not_balance_are_told_once_a_day(desk: Till) -> None:
    await set_budget(desk.sql, "day", "", 5, period="day")
    await desk.runtime.money.check_books()
    assert await desk.sql.fetchval("select count(*) from alert") == 0
    await desk.sql.execute("update account set spent = spent + 1")
    for _ in range(2):
        await desk.runtime.money.check_books()
    texts = [row["text"] for row in await desk.sql.fetch("select text from alert where kind = 'books'")]
    assert texts == [
        "the books of the ledger do not balance: spent is not the sum of the ledger (1); see `qd budget check`"
    ]


async def test_a_task_whose_service_has_no_key_waits_for_a_person_who_is_told_what_to_do(desk: Till) -> None:
    (run,) = await desk.runs()
    life = await desk.life(run)
    await budget.add_notice(
        desk.sql, run, "service", "set it", {"service": "main", "keyless": True, "retry_seconds": 30}
    )
    judgement = await desk.runtime.money.after(life, attempt_failed("it failed"))
    assert (judgement.outcome, judgement.wait, judgement.reason) == ("wait", "person", "set it")
    assert judgement.refused is not None
    assert judgement.refused.service == "main"
