"""Adding tasks: in bulk, and one by one against a bare INSERT.

Bare is one row in one table with the columns, checks and indexes of the two that hold a task.
"""

import json
import statistics
from time import perf_counter

from bench.framework import Environment, Figure, at_least, at_most, in_turn, median_ratio
from bench.queue_world import add, engine_connection, make_world, work

ROUNDS = 9
BULK, BATCH = 5_000, 1_000
SINGLE = 200

BARE_TABLE = """
create table bare (
  like task including all,
  like task_body including defaults including constraints,
  unique (id)
);
alter table bare drop column task;
create index on bare (parent) where parent is not null;
grant all on bare to qd_engine;
"""
BARE = """
insert into bare (project, agent, priority, title, description, status) values ($1, $2, $3, $4, $5, 'pending')
returning number, id
"""


async def run(env: Environment) -> list[Figure]:
    """Everything durable, from one client."""
    async with env.database() as dsn:
        async with engine_connection(dsn, None) as owner:
            await make_world(owner)
            await owner.execute(BARE_TABLE)
        async with engine_connection(dsn) as connection:

            async def bulk() -> float:
                batches = [[work(n) for n in range(start, start + BATCH)] for start in range(0, BULK, BATCH)]
                begun = perf_counter()
                for batch in batches:
                    await add(connection, batch)
                return BULK / (perf_counter() - begun)

            async def single() -> float:
                times = []
                for n in range(SINGLE):
                    document = json.dumps([work(n)])
                    begun = perf_counter()
                    await connection.fetch("select number, id from task_add($1::jsonb)", document)
                    times.append(perf_counter() - begun)
                return statistics.median(times) * 1000

            async def bare() -> float:
                times = []
                for n in range(SINGLE):
                    task = work(n)
                    values = [task[name] for name in ("project", "agent", "priority", "title", "description")]
                    begun = perf_counter()
                    await connection.fetch(BARE, *values)
                    times.append(perf_counter() - begun)
                return statistics.median(times) * 1000

            [many] = await in_turn(ROUNDS, bulk)
            one, plain = await in_turn(ROUNDS, single, bare)
    return [
        at_least("tasks added in bulk, a thousand at a time", statistics.median(many), "/s", 15_000),
        Figure("one task added, p50", statistics.median(one), "ms"),
        Figure("one bare INSERT, p50", statistics.median(plain), "ms"),
        at_most("one task : one bare INSERT", median_ratio(one, plain), "×", 2),
    ]
