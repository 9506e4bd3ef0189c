"""People rewire, cancel and retry tasks while engines work on them: no wake-up is lost, nothing starts too early."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import asyncpg

from config.errors import ConflictError, NotFoundError
from core.tasks.edit import Edit, edit_task
from storage.database import Database, Principal, Role
from storage.queries import tasks
from storage.queries.guard import transact

ENGINE = Principal("engine", Role.ENGINE)
PERSON = Principal("user:test", Role.SUPERVISOR)
STEPS = 150


class Crowd:
    """Everybody who works on one database; ``latest`` is about the newest number."""

    def __init__(self, db: Database, engine: int, seed: int) -> None:
        self.db = db
        self.engine = engine
        self.seed = seed
        self.latest = 0

    async def play(self, number: int, step: Callable[[random.Random], Awaitable[None]]) -> None:
        """Do a step again and again; what is refused is refused."""
        chance = random.Random(self.seed * 100 + number)
        for _ in range(STEPS):
            try:
                await step(chance)
            except (ConflictError, NotFoundError):
                continue

    def some(self, chance: random.Random, most: int = 3) -> list[int]:
        low = max(1, self.latest - 15)
        return sorted({chance.randint(low, max(low, self.latest)) for _ in range(chance.randint(0, most))})

    async def add(self, chance: random.Random) -> None:
        item = {
            "project": chance.choice("pq"),
            "title": "t",
            "after": self.some(chance),
            "priority": chance.randint(1, 5),
        }
        [added] = await transact(self.db, PERSON, lambda connection: tasks.add_many(connection, [item]))
        self.latest = max(self.latest, added.number)

    async def rewire(self, chance: random.Random) -> None:
        number, after = chance.randint(max(1, self.latest - 15), max(1, self.latest)), self.some(chance)
        edit = Edit({"after": after}, datetime.now(UTC))
        await transact(self.db, PERSON, lambda connection: edit_task(connection, number, edit))

    async def cancel_or_retry(self, chance: random.Random) -> None:
        number = chance.randint(1, max(1, self.latest))
        if chance.random() < 0.3:
            await transact(self.db, PERSON, lambda connection: tasks.cancel(connection, number, "no"))
        else:
            over = ["failed", "cancelled"]
            await transact(
                self.db, PERSON, lambda connection: tasks.move(connection, number, over, "pending", fresh=True)
            )

    async def work(self, chance: random.Random) -> None:
        await self.work_once(chance.choice(["completed"] * 12 + ["failed", "retry", "cancelled"]))

    async def work_once(self, outcome: str) -> bool:
        async def claim(connection: asyncpg.Connection) -> list[asyncpg.Record]:
            return list(await connection.fetch("select number, lease_token from task_claim($1, 2, '{a}')", self.engine))

        claimed = await transact(self.db, ENGINE, claim)
        for number, token in claimed:
            await asyncio.sleep(0)

            async def finish(connection: asyncpg.Connection, number: int = number, token: int = token) -> None:
                await connection.execute("select task_finish($1, $2, $3)", number, token, outcome)

            await transact(self.db, ENGINE, finish)
        return bool(claimed)


async def test_every_task_ends_however_people_and_engines_get_in_each_other_s_way(migrated_database: str) -> None:
    db = await Database.open(migrated_database, most=9)
    try:
        async with db.connection() as connection:
            for project in "pq":
                await connection.execute(
                    "insert into project (id, name, repo, path) values ($1, $1, '/r', '/r')", project
                )
                await connection.execute("insert into load (project, max_parallel) values ($1, 3)", project)
            await connection.execute("insert into agent (name, adapter) values ('a', 'command')")
            engine = await connection.fetchval("select engine_register('e', 'h', 1, '1', 9, '1 hour')")
        crowd = Crowd(db, engine, seed=7)
        steps = [
            crowd.add,
            crowd.add,
            crowd.work,
            crowd.work,
            crowd.work,
            crowd.rewire,
            crowd.rewire,
            crowd.cancel_or_retry,
        ]
        async with asyncio.timeout(120), asyncio.TaskGroup() as group:
            for number, step in enumerate(steps):
                group.create_task(crowd.play(number, step))
        while await crowd.work_once("completed"):
            pass
        async with db.connection() as connection:
            assert not await connection.fetch("select * from queue_reconcile() where n > 0")
            left = await connection.fetch(
                "select number, status from task where status not in ('completed', 'failed', 'cancelled')"
            )
            assert not left
    finally:
        await db.close()
