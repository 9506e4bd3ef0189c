"""Reserve and settle with all rules against a bare pair of updates of one counter, 16 clients on one hot row.

Bare is the least that can hold a budget: one row, an update before the call, another after it. Ours checks the token,
finds the accounts, bounds the output, writes the ledger and tells thresholds. Both are driven by pgbench with prepared
statements.
"""

import statistics

import asyncpg

from bench.framework import Environment, Figure, at_least, in_turn, median_ratio

CLIENTS = 16
ROUNDS = 7
SECONDS = 2

BARE = """
update bare set reserved = reserved + 1000 where id = 1 and spent + reserved + 1000 <= hard;
update bare set reserved = reserved - 1000, spent = spent + 700 where id = 1;
"""
OURS = """
\\set run random(1, 20)
\\set id random(1, 9000000000000000000)
select outcome from budget_reserve(lpad(to_hex(:id::bigint), 32, '0')::uuid,
sha256(('t' || :run)::bytea), 'main', 'm', 1, 1000, 3000, 4000, 16, 15000000, 1, true);
select budget_settle(lpad(to_hex(:id::bigint), 32, '0')::uuid, 'settled', 'measured', 2000, 100, 0, 0, 0, 50, 0);
"""
WORLD = """
insert into project (id, name, repo, path) values ('p', 'p', '/x', '/x');
insert into load (project) values ('p');
insert into agent (name, adapter) values ('a', 'command');
select engine_register('e', 'h', 1, '0', 4, '1 hour');
select * from task_add('[{"project": "p", "title": "t"}]');
insert into run (id, task, attempt, project, agent, engine, lease_token, mark, folder, status)
select qd_uuid7(), (select number from task), n, 'p', 'a', 1, 1, 'm', '/f', 'running' from generate_series(1, 20) n;
insert into run_token (hash, run) select sha256(('t' || n)::bytea), n from generate_series(1, 20) n;
insert into service (name, provider) values ('main', 'anthropic');
select budget_set('service', 'main', 'usd', 'month', 1000000000000, null);
select gateway_register('g', 1, 'u', '0', '1 hour');
select budget_open('main', 'p', (select number from task), 'a');
create table bare (id int primary key, spent bigint not null, reserved bigint not null, hard bigint not null)
  with (fillfactor = 40);
insert into bare values (1, 0, 0, 1000000000000);
grant select, update on bare to qd_engine;
"""


async def run(env: Environment) -> list[Figure]:
    """Pairs of both sides by turns."""
    async with env.database() as dsn:
        owner = await asyncpg.connect(dsn)
        try:
            await owner.execute(WORLD)

            async def bare() -> float:
                return await env.pgbench(dsn, BARE, clients=CLIENTS, seconds=SECONDS, role="qd_engine")

            async def ours() -> float:
                return await env.pgbench(dsn, OURS, clients=CLIENTS, seconds=SECONDS, role="qd_engine")

            slow, quick = await in_turn(ROUNDS, ours, bare)
            wrong = await owner.fetch("select what, n from budget_reconcile() where n > 0")
        finally:
            await owner.close()
        assert not wrong, wrong
    return [
        Figure("reserve + settle on one service, 16 clients", statistics.median(slow), "/s"),
        Figure("two bare updates of one row, 16 clients", statistics.median(quick), "/s"),
        at_least("all rules : bare updates", median_ratio(slow, quick), "", 0.5),
    ]
