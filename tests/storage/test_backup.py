"""A backup holds everything, and a restore happens as a whole or not at all."""

from pathlib import Path

import asyncpg
import pytest

from config.errors import ConflictError, QuarterdeckError, UsageError
from config.paths import Paths
from storage.backup import _address, back_up, restore, schema_of
from storage.database import Database, Principal, Role
from storage.migrate import HEAD, is_current
from storage.source import Source
from tests.postgres import paths_in

ADMIN = Principal("user:me", Role.ADMIN)


@pytest.fixture
def source(migrated_database: str, tmp_path: Path) -> Source:
    return Source(migrated_database, paths_in(tmp_path))


async def said(dsn: str, sql: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_what_was_there_comes_back_with_its_roles_and_its_audit(source: Source, tmp_path: Path) -> None:
    file = tmp_path / "a b.backup"
    await said(source.dsn, "insert into setting (key, value) values ('kept', '1')")
    await back_up(source, file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert await schema_of(file) == HEAD
    await said(source.dsn, "update setting set key = 'later'")
    await restore(source, file, tmp_path)
    assert await said(source.dsn, "select array_agg(key) from setting") == ["kept"]
    db = await Database.open(source.dsn)
    try:
        async with db.connection() as connection:
            assert await is_current(connection)
        async with db.transaction(ADMIN) as connection:
            await connection.execute("insert into setting (key, value) values ('again', '1')")
            trail = await connection.fetchval(
                "select array_agg(key || ' ' || actor order by id) from audit where kind = 'setting'"
            )
            assert trail[-1] == "again user:me"
        with pytest.raises(QuarterdeckError):
            async with db.transaction(Principal("user:you", Role.VIEWER)) as connection:
                await connection.execute("delete from setting")
    finally:
        await db.close()
    assert list(tmp_path.glob("restore-*")) == [], "the script of a restore holds everything, and is gone"


@pytest.mark.parametrize("cut", [0.05, 0.5, 0.999])
async def test_a_backup_that_was_cut_off_changes_nothing(source: Source, tmp_path: Path, cut: float) -> None:
    file = tmp_path / "whole"
    await said(
        source.dsn,
        "insert into audit (actor, role, kind, key, action) select md5(i::text), '', '', '', '' from generate_series(1, 20000) i",
    )
    await back_up(source, file)
    await said(source.dsn, "insert into setting (key, value) values ('later', '1')")
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * cut)])
    with pytest.raises(QuarterdeckError):
        await restore(source, file, tmp_path)
    assert await said(source.dsn, "select array_agg(key) from setting") == ["later"]


async def test_nothing_is_taken_from_under_those_who_use_it(source: Source, tmp_path: Path) -> None:
    await back_up(source, tmp_path / "b")
    other = await asyncpg.connect(source.dsn)
    try:
        with pytest.raises(ConflictError, match="in use by others"):
            await restore(source, tmp_path / "b", tmp_path)
    finally:
        await other.close()


async def test_rows_of_somebody_else_in_a_shared_database_are_not_lost(source: Source, tmp_path: Path) -> None:
    await back_up(source, tmp_path / "b")
    await said(source.dsn, 'create table "their ""own" as select 1 as x')
    with pytest.raises(ConflictError, match=r"their .*own is not in the backup"):
        await restore(source, tmp_path / "b", tmp_path)


async def test_what_is_no_backup_of_ours_is_refused(source: Source, tmp_path: Path, server: Paths) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(UsageError, match="no backup"):
        await schema_of(tmp_path / "text")
    await said(source.dsn, "drop table alembic_version")
    await back_up(source, tmp_path / "other")
    with pytest.raises(UsageError, match="something else"):
        await schema_of(tmp_path / "other")


async def test_a_backup_of_a_newer_program_is_refused(source: Source, tmp_path: Path) -> None:
    await said(source.dsn, "update alembic_version set version_num = '9999'")
    await back_up(source, tmp_path / "b")
    with pytest.raises(UsageError, match="schema 9999"):
        await schema_of(tmp_path / "b")


def test_a_password_is_never_an_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "elsewhere")
    for url in (
        "postgresql://me:p%40ss@h:1/d?sslmode=require",
        "postgresql://me@h:1/d?sslmode=require&password=p%40ss",
    ):
        address, environ = _address(url)
        assert address == "postgresql://me@h:1/d?sslmode=require"
        assert environ["PGPASSWORD"] == "p@ss"
        assert "PGHOST" not in environ
