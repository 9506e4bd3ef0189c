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
