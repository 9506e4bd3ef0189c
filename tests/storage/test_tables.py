"""The models describe the schema that the migrations make."""

import re
from pathlib import Path

import pgvector.sqlalchemy  # noqa: F401 - teaches reflection the type halfvec
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlmodel import SQLModel, select

import storage.tables
from storage.migrate import HEAD
from storage.tables.queue import Task, TaskBody
from storage.tables.registry import Project
from storage.tables.states import TaskStatus


def engine_of(dsn: str):
    import asyncpg
    from sqlalchemy.pool import NullPool

    return create_async_engine("postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(dsn), poolclass=NullPool)


async def test_the_models_and_the_migrations_describe_the_same_tables(migrated_database: str) -> None:

    def differences(connection) -> list[object]:
        def ours(_object, name, kind, _reflected, _compare_to) -> bool:
            partition = kind == "table" and re.fullmatch(r"event_\w+", name)
            return kind != "index" and not partition and name != "alembic_version"

        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "include_object": ours, "target_metadata": SQLModel.metadata}
        )
        return compare_metadata(context, SQLModel.metadata)

    engine = engine_of(migrated_database)
    async with engine.connect() as connection:
        found = await connection.run_sync(differences)
    await engine.dispose()
    assert found == [], storage.tables.__doc__


async def test_a_session_reads_and_writes_through_the_models(migrated_database: str) -> None:
    engine = engine_of(migrated_database)
    async with AsyncSession(engine) as session:
        session.add(Project(id="app", name="App", repo="/r", path="/r"))
        session.add(Task(project="app", status=TaskStatus.REVIEW))
        await session.flush()
        number = (await session.execute(select(Task.number))).scalar_one()
        session.add(TaskBody(task=number, title="mend it"))
        await session.commit()
        task = (await session.execute(select(Task))).scalar_one()
        assert (task.status, task.priority, task.created_at.tzinfo is not None) == (TaskStatus.REVIEW, 3, True)
    await engine.dispose()


def test_the_newest_migration_is_the_one_that_the_program_expects() -> None:
    versions = Path(storage.tables.__file__).parents[1] / "migrations" / "versions"
    revisions = [re.search(r'^revision = "(\w+)"', path.read_text(), re.MULTILINE) for path in versions.glob("0*.py")]
    assert max(found[1] for found in revisions if found) >= HEAD


async def test_what_belongs_to_a_task_or_a_run_is_found_without_looking_at_all_the_rest(migrated_database: str) -> None:
    async with engine_of(migrated_database).connect() as connection:
        found = await connection.exec_driver_sql(
            """select c.conrelid::regclass::text from pg_constraint c
                where c.contype = 'f' and c.confrelid in ('task'::regclass, 'run'::regclass)
                  and not exists (select 1 from pg_index i where i.indrelid = c.conrelid and i.indkey[0] = c.conkey[1] and i.indpred is null)"""
        )
        assert found.scalars().all() == []
