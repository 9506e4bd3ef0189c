"""Connections: what a database that lets nobody in looks like to a caller."""

from urllib.parse import urlsplit

import asyncpg
import pytest

from config.errors import UnavailableError
from config.paths import Paths
from storage.database import Database
from storage.server import server_dsn


async def test_a_database_that_lets_nobody_in_cannot_be_reached(server: Paths, fresh_database: str) -> None:
    name = urlsplit(fresh_database).path.removeprefix("/")
    outside = await asyncpg.connect(server_dsn(server, "postgres"))
    db = await Database.open(fresh_database, least=0)
    try:
        await outside.execute(f'alter database "{name}" allow_connections false')
        with pytest.raises(UnavailableError, match=r"the database cannot be reached .*not currently accepting"):
            async with db.connection():
                pass
        await outside.execute(f'alter database "{name}" allow_connections true')
        async with db.connection() as connection:
            with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match="is not yet defined"):
                await connection.execute("create temp sequence s; select currval('s')")
    finally:
        await db.close()
        await outside.close()
