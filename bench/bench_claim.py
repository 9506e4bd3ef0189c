"""Claim and finish with all rules against the bare thing in SQL, four clients each, on the same server.

Bare is what every tutorial shows: one table, one partial index, ``FOR UPDATE SKIP LOCKED``, an update at the end. Ours
has limits of projects and agents, dependencies, leases with a fence, and an audit trail. Both are driven by pgbench
with prepared statements.
"""

import statistics

import asyncpg

from bench.framework import Environment, Figure, at_least, in_turn, median_ratio
from bench.queue_world import add_graph, engine_connection, make_world

CLIENTS = 4
ROUNDS = 9
SECONDS = 2
TASKS = 80_000

BARE_TABLE = """
create table bare (
  id bigint generated always as identity primary key, priority smallint not null, state smallint not null default 0,
  attempts smallint not null default 0, created_at timestamptz not null default now(), claimed_at timestamptz,
  finished_at timestamptz);
insert into bare (priority) select 1 + n % 5 from generate_series(1, 400000) n;
create index bare_ready on bare (priority desc, id) where state = 0;
"""
BARE = """
update bare set state = 1, attempts = attempts + 1, claimed_at = clock_timestamp() where id = \
(select id from bare where state = 0 order by priority desc, id for update skip locked limit 1) returning id \\gset
update bare set state = 2, finished_at = clock_timestamp() where id = :id and state = 1;
"""
OURS = """
select coalesce(max(number), 0) as n, coalesce(max(lease_token), 0) as token, count(*) > 0 as got \
from task_claim({engine}, 1, array['free', 'limited']) \\gset
\\if :got
select task_finish(:n, :token, 'completed');
\\endif
"""


async def run(env: Environment) -> list[Figure]:
    """Transactions of both sides by turns."""
    async with env.database() as dsn:
        async with engine_connection(dsn, None) as owner:
            engine = await make_world(owner)
            await add_graph(owner, TASKS)
            await owner.execute(BARE_TABLE)
            await owner.execute("vacuum analyze")

            async def bare() -> float:
                return await env.pgbench(dsn, BARE, clients=CLIENTS, seconds=SECONDS)

            async def ours() -> float:
                script = OURS.format(engine=engine)
                before = await _completed(owner)
                rate = await env.pgbench(dsn, script, clients=CLIENTS, seconds=SECONDS, role="qd_engine")
                # A claim that found nothing is no work: what counts is what was completed.
                return min(rate, (await _completed(owner) - before) / SECONDS)

            slow, quick = await in_turn(ROUNDS, ours, bare)
            wrong = await owner.fetch("select what, n from queue_reconcile() where n > 0")
        assert not wrong, wrong
    return [
        Figure("claims and finishes, all rules, 4 clients", statistics.median(slow), "/s"),
        Figure("claims and finishes, bare SQL, 4 clients", statistics.median(quick), "/s"),
        at_least("all rules : bare SQL", median_ratio(slow, quick), "", 0.35),
    ]


async def _completed(owner: asyncpg.Connection) -> int:
    count: int = await owner.fetchval("select count(*) from task where status = 'completed'")
    return count
