"""Opens what a command works with: the database, the settings, and as whom.

The database is the one of ``QD_DATABASE_URL`` (or ``--database-url``, which a face puts in its place), else of ``database_url`` in
``config.toml``, else the embedded one. ``DATABASE_URL`` is never read: it belongs to the person's own project.
"""

import os
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg

from config.errors import UnavailableError, UsageError
from config.paths import Paths
from config.reader import read_config, settings_from
from config.settings import Settings
from core.commands.table import Context, utc_now
from storage.database import Database, Principal, Role, unreachable
from storage.migrate import is_current, migrate

ROLES = (Role.ADMIN, Role.SUPERVISOR, Role.VIEWER)
"""What ``QD_ROLE`` may say."""

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
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise unreachable(error) from error


class NoDatabase(Database):
    """Stands where the database would be for a command that said it needs none."""

    def __init__(self) -> None:
        """Nothing is opened."""

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """Raises :class:`UnavailableError`, always."""
        raise UnavailableError("this command works without a database")
        yield


def find_database(paths: Paths, environ: Mapping[str, str], config: Mapping[str, Any] | None = None) -> Source:
    """Where the database is; ``config`` saves reading the file again. Raises :class:`UsageError` for a wrong address."""
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
    from storage.queries.settings import all_settings

    async with db.transaction(who) as connection:
        return settings_from(read_config(paths, environ), await all_settings(connection))


def principal(environ: Mapping[str, str]) -> Principal:
    """The person at this terminal: the operating system's user, an admin unless ``QD_ROLE`` says less. Raises :class:`UsageError`."""
    import pwd

    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    wanted = environ.get("QD_ROLE") or Role.ADMIN
    if wanted not in ROLES:
        raise UsageError(f"QD_ROLE is {wanted!r}", f"set it to {', '.join(ROLES)}, or unset it")
    return Principal(f"user:{name}", Role(wanted))


@asynccontextmanager
async def open_context(
    paths: Paths,
    environ: Mapping[str, str],
    *,
    cwd: Path,
    stdin: Callable[[], str] | None = None,
    offline: bool = False,
    now: Callable[[], datetime] = utc_now,
) -> AsyncIterator[Context]:
    """A context for commands, its database open as long as the block lasts.

    Raises :class:`UsageError` for a wrong configuration, :class:`UnavailableError` where the database cannot be reached or brought up.
    """
    who = principal(environ)
    if offline:
        yield Context(NoDatabase(), who, paths, Settings(), environ, cwd, stdin, now)
        return
    config = read_config(paths, environ)
    db = await open_database(find_database(paths, environ, config))
    try:
        from storage.queries.settings import all_settings

        async with db.transaction(who) as connection:
            settings = settings_from(config, await all_settings(connection))
        yield Context(db, who, paths, settings, environ, cwd, stdin, now)
    finally:
        await db.close()


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
