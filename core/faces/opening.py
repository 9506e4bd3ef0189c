"""Opens what a command works with: the database, the settings, and as whom."""

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Never

from config.errors import UnavailableError, UsageError
from config.paths import Paths
from config.reader import read_config, settings_from
from config.settings import Settings
from core.commands.table import Context, unheard, unseen, utc_now
from storage.database import Database, Principal, Role
from storage.queries.settings import all_settings
from storage.source import Source, find_database, load_settings, open_database

__all__ = ["NoDatabase", "Source", "find_database", "load_settings", "open_context", "principal"]

ROLES = (Role.ADMIN, Role.SUPERVISOR, Role.VIEWER)
"""What ``QD_ROLE`` may say."""


class NoDatabase(Database):
    """Stands where the database would be for a command that said it needs none."""

    def __init__(self) -> None:
        """Nothing is opened."""

    def connection(self) -> Never:
        """Raises :class:`UnavailableError`, always."""
        raise UnavailableError("this command works without a database")


def principal(environ: Mapping[str, str]) -> Principal:
    """The person at this terminal: the operating system's user, an admin unless ``QD_ROLE`` says less.

    Raises :class:`UsageError`.
    """
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
    note: Callable[[str], object] = unheard,
    advance: Callable[[str, int, int], object] = unseen,
) -> AsyncIterator[Context]:
    """A context for commands, its database open as long as the block lasts.

    Raises :class:`UsageError` for a wrong configuration, :class:`UnavailableError` where the database cannot be
    reached or brought up.
    """
    who = principal(environ)
    if offline:
        yield Context(NoDatabase(), who, paths, Settings(), environ, cwd, stdin, now, note, advance)
        return
    config = read_config(paths, environ)
    db = await open_database(find_database(paths, environ, config))
    try:
        async with db.transaction(who) as connection:
            settings = settings_from(config, await all_settings(connection))
        yield Context(db, who, paths, settings, environ, cwd, stdin, now, note, advance)
    finally:
        await db.close()
