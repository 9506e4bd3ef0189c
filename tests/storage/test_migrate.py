"""A database of an earlier program is brought up to date with all that is in it."""

import asyncio

import asyncpg
import pytest

import storage.migrate
from config.errors import UnavailableError
from storage.migrate import HEAD, is_current, migrate

FIRST_PUBLISHED = "0003"
"""The oldest schema that a person may have."""


@pytest.fixture
async def old_database(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    with monkeypatch.context() as patch:
        patch.setattr(storage.migrate, "HEAD", FIRST_PUBLISHED)
        await migrate(fresh_database)
    return fresh_database


async def test_what_an_earlier_program_has_written_is_kept(old_database: str) -> None:
    connection = await asyncpg.connect(old_database)
    await connection.execute(
        """insert into project (id, name, repo, path) values ('app', 'App', '/r', '/r'); insert into load (project) values ('app');
           insert into agent (name, adapter) values ('a', 'command');
           select engine_register('e', 'here', 1, '1', 4, '1 minute');
           select * from task_add('[{"project": "app", "title": "one"}, {"project": "app", "title": "two"}]');
           insert into service (name, provider) values ('s', 'anthropic');
           insert into corpus (project) values ('app');
           insert into memory (corpus, kind, title, content, origin) select id, 'documentation', 'a title', 'some content', 'person' from corpus"""
    )
    await connection.fetch("select * from task_claim(1, 1, '{a}')")
    tables = [
        row["tablename"]
        for row in await connection.fetch("select tablename from pg_tables where schemaname = 'public'")
    ]
    before = {table: await connection.fetchval(f'select count(*) from "{table}"') for table in tables}
    assert before["task"] == 2
    assert before["posting"] > 0
    await connection.close()
    await migrate(old_database)
    connection = await asyncpg.connect(old_database)
    assert await is_current(connection)
    after = {
        table: await connection.fetchval(f'select count(*) from "{table}"')
        for table in tables
        if await connection.fetchval("select to_regclass($1)", table)
    }
    lost = {table: (before[table], after.get(table, 0)) for table in before if after.get(table, 0) < before[table]}
    assert lost == {}
    assert await connection.fetchval("select count(*) from queue_reconcile() where n <> 0") == 0
    await connection.close()


async def test_many_processes_may_bring_it_up_to_date_at_once(old_database: str) -> None:
    await asyncio.gather(*(migrate(old_database) for _ in range(4)))
    connection = await asyncpg.connect(old_database)
    assert await connection.fetchval("select array_agg(version_num) from alembic_version") == [HEAD]
    await connection.close()


async def test_a_database_of_a_newer_program_is_left_alone(migrated_database: str) -> None:
    connection = await asyncpg.connect(migrated_database)
    await connection.execute("update alembic_version set version_num = '9999'")
    await connection.close()
    with pytest.raises(UnavailableError, match="schema 9999"):
        await migrate(migrated_database)


async def test_what_was_learned_from_already_is_marked_and_the_history_of_a_pattern_goes_by_its_item(
    old_database: str,
) -> None:
    connection = await asyncpg.connect(old_database)
    await connection.execute(
        """insert into project (id, name, repo, path) values ('app', 'App', '/r', '/r'); insert into load (project) values ('app');
           select * from task_add('[{"project": "app", "title": "one"}]');
           insert into run (id, task, attempt, project, agent, engine, lease_token, mark, folder, status)
           select gen_random_uuid(), 1, n, 'app', 'a', 1, 1, 'm', '/f', 'failed' from generate_series(1, 2) n;
           insert into gate (run, round, position, command, status, seconds) select number, 1, 1, 'check', 'failed', 1 from run;
           insert into memory (corpus, kind, title, content)
           select knowledge_corpus('app'), kind::memory_kind, kind, 'x' from unnest(array['lesson', 'pattern']) kind;
           insert into lesson (memory, corpus, type, error, signature) values (1, knowledge_corpus('app'), 'review', 'e', gen_random_uuid());
           insert into sighting (lesson, run, task) values (1, 1, 1);
           insert into pattern (memory, slug, template) values (2, 'mole', 'x');
           insert into review (task, run, status, note) values
             (1, 1, 'rejected', 'Use tabs'), (1, 2, 'merged', 'main moved too often'), (1, 2, 'changes_requested', 'Use spaces')"""
    )
    await connection.close()
    await migrate(old_database)
    connection = await asyncpg.connect(old_database)
    gates = await connection.fetch("select run, learned from gate order by run")
    assert [tuple(row) for row in gates] == [(1, True), (2, False)]
    reviews = await connection.fetch("select engine_note, learned from review order by number")
    assert [tuple(row) for row in reviews] == [(False, True), (True, False), (False, False)]
    assert await connection.fetchval("select key from audit where kind = 'pattern'") == "2"
    assert await connection.fetchval("select count(*) from audit where kind = 'review' and action = 'update'") == 0
    await connection.close()
