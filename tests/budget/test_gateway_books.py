"""The gateway's dealings with the ledger: what is granted late is granted once, and paid for."""

import asyncio
import uuid
from datetime import timedelta

from core.budget.engine_side import issue_token
from core.budget.gateway.books import Books
from storage.queries import budget
from storage.queries.budget import Ask, Settlement, Tokens
from tests.budget.gate import account, add_runs, add_service, books, connect, open_pool, until

UNDER_WAY = "select count(*) > 0 from pg_stat_activity where datname = current_database() and state = 'active' and query like '%budget_reserve(%'"


def ask(micro: int) -> Ask:
    return Ask(uuid.uuid4(), "main", "m", 1, micro, 1, 1, 0)


async def test_a_call_that_is_granted_as_its_patience_ends_is_charged(migrated_database: str) -> None:
    db, keeper = await connect(migrated_database), await connect(migrated_database)
    (run,) = await add_runs(db)
    await add_service(db, "main", "http://127.0.0.1:9", usd=1)
    token = await issue_token(db, run)
    pool = await open_pool(migrated_database)
    gateway = await budget.register(db, name="g", pid=1, url="u", version="0", lease=timedelta(hours=1))
    mine, stop = Books(pool, gateway, lease=60), asyncio.Event()
    working = asyncio.create_task(mine.run(stop))
    await until(lambda: mine._group is not None)
    other, wanted = ask(1_000_000), ask(900_000)
    assert (await mine.reserve(other, token, 0)).outcome == "granted"

    waiting = asyncio.create_task(mine.reserve(wanted, token, 0.3))
    deadline = asyncio.get_running_loop().time() + 0.3
    async with keeper.transaction():
        await keeper.execute("select pg_advisory_xact_lock(hashtext('qd.budget'))")  # what asks now is answered later
        await mine.settle(Settlement(other.id, "released"))
        await until(lambda: db.fetchval(UNDER_WAY))
        await until(lambda: asyncio.get_running_loop().time() > deadline + 0.05)
    assert (await waiting).outcome == "granted"
    await until(lambda: db.fetchval(UNDER_WAY + ""))
    await until(lambda: mine.pending == 0)
    await mine.settle(Settlement(wanted.id, "settled", 700_000, Tokens(input=1)))

    assert await db.fetchval("select status from charge where id = $1", wanted.id) == "settled"
    assert (await account(db, "service", "main"))["spent"] == 700_000
    stop.set()
    await working
    assert await books(db) == {}
    await pool.close()
    await keeper.close()
    await db.close()
