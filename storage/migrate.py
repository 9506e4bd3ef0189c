"""Brings the schema of a database to what this version of the program needs.

Safe to run by any number of processes at once: an advisory lock lets one of them work while the others wait.
A database that is *newer* than the program is refused, since an old program could spoil it.
"""

import asyncpg

from config.errors import UnavailableError

HEAD = "0043"
"""The newest migration. A test holds it against the files, so that a look at the schema needs no Alembic."""

_LOCK = 0x71756172746572  # "quarter": one key, known to all versions
_OLDEST_SERVER = 150000


async def is_current(connection: asyncpg.Connection) -> bool:
    """True when nothing needs to be done."""
    return await _version(connection) == HEAD


async def migrate(dsn: str) -> None:
    """Upgrade the schema, waiting for whoever is at it already.

    Raises :class:`UnavailableError` when the server is too old, lacks pgvector, or holds a newer schema.
    """
    connection = await asyncpg.connect(dsn)
    try:
        if await is_current(connection):
            return
        await _check_server(connection)
        await connection.execute("select pg_advisory_lock($1)", _LOCK)
        version = await _version(connection)
        if version == HEAD:
            return
        if version is not None and version > HEAD:
            raise UnavailableError(
                f"the database has schema {version}, this program knows schema {HEAD}", "upgrade Quarterdeck"
            )
        await _upgrade(dsn)
    finally:
        await connection.close()


async def _version(connection: asyncpg.Connection) -> str | None:
    if await connection.fetchval("select to_regclass('alembic_version')") is None:
        return None
    version: str | None = await connection.fetchval("select version_num from alembic_version")
    return version


async def _check_server(connection: asyncpg.Connection) -> None:
    number = int(await connection.fetchval("show server_version_num"))
    if number < _OLDEST_SERVER:
        raise UnavailableError(
            f"the database server has version {number // 10000}",
            "Quarterdeck needs Postgres 15 or newer with pgvector",
        )
    if not await connection.fetchval("select exists (select 1 from pg_available_extensions where name = 'vector')"):
        raise UnavailableError(
            "the database server lacks the extension pgvector",
            "install it there (package postgresql-NN-pgvector)",
        )


async def _upgrade(dsn: str) -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    def run(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", "storage:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, HEAD)

    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(dsn), poolclass=NullPool
    )
    try:
        async with engine.begin() as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()
