"""Which database is used, and how it is brought up.

It is the one of ``QD_DATABASE_URL`` (or ``--database-url``, which a face puts in its place), else of ``database_url``
in ``config.toml``, else the embedded one. ``DATABASE_URL`` is never read: it belongs to the person's own project.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from config.errors import UnavailableError, UsageError
from config.paths import Paths
from config.reader import read_config, settings_from
from config.settings import Settings
from storage.database import Database, Principal, unreachable
from storage.migrate import is_current, migrate
from storage.queries.settings import all_settings

_PASSWORD = re.compile(r"(://[^/@:?]*):[^@/?]*@|(password=)[^&\s]*")


@dataclass(frozen=True, slots=True)
class Source:
    """Where the database is, and how to bring it up."""

    url: str | None = field(repr=False)
    """None: the embedded server."""
    paths: Paths

    @property
    def embedded(self) -> bool:
        """Whether the server is ours to start."""
        return self.url is None

    @property
    def dsn(self) -> str:
        """For asyncpg; with the password, so never shown."""
        if self.url is not None:
            return self.url
        from storage.server import server_dsn

        return server_dsn(self.paths)

    @property
    def shown(self) -> str:
        """The address without its password."""
        return redacted(self.dsn)

    async def ensure(self) -> None:
        """Bring the server up where it is ours, and its schema up to date. Raises :class:`UnavailableError`."""
        if self.embedded:
            from storage.server import ensure_server

            await ensure_server(self.paths)
        try:
            await migrate(self.dsn)
        except (
            OSError,
            TimeoutError,
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
        ) as error:
            raise unreachable(error) from error


def find_database(paths: Paths, environ: Mapping[str, str], config: Mapping[str, Any] | None = None) -> Source:
    """Where the database is; ``config`` saves reading the file again.

    Raises :class:`UsageError` for a wrong address.
    """
    url = environ.get("QD_DATABASE_URL")
    if url is None or not url.strip():
        url = (read_config(paths, environ) if config is None else config).get("database_url")
    elif not re.match(r"postgres(ql)?://", url):
        raise UsageError(
            f"{redacted(url)!r} is no address of a database", "write postgresql://user:password@host:port/name"
        )
    return Source(url or None, paths)


async def load_settings(db: Database, who: Principal, paths: Paths, environ: Mapping[str, str]) -> Settings:
    """The settings as they are now: defaults, file, database. Raises :class:`UsageError` for a wrong file."""
    async with db.transaction(who) as connection:
        return settings_from(read_config(paths, environ), await all_settings(connection))


async def open_database(source: Source) -> Database:
    """Connect, at once where all is up; else the server is started, the schema brought up to date.

    Raises :class:`UnavailableError`; :class:`UsageError` for an address that is none.
    """
    try:
        try:
            db = await Database.open(source.dsn)
        except UnavailableError:
            if not source.embedded:
                raise
            await source.ensure()
            db = await Database.open(source.dsn)
    except ValueError as error:  # asyncpg's word for an address that it cannot read
        raise UsageError(f"{source.shown} is no address of a database: {redacted(str(error))}") from None
    try:
        async with db.connection() as connection:
            current = await is_current(connection)
        if not current:
            await source.ensure()
    except BaseException:
        await db.close()
        raise
    return db


def redacted(text: str) -> str:
    """The text without the passwords of addresses in it."""
    return _PASSWORD.sub(lambda found: f"{found[1]}:***@" if found[1] else f"{found[2]}***", text)
