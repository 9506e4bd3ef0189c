"""Keeps a whole database in a file and brings it back, with the programs that Postgres has for that.

A backup is an archive of ``pg_dump`` in its custom format, which ``pg_restore`` of anybody can read. The programs are
those of the embedded server, of the newest version, so that they read every server that we support.
"""

import asyncio
import os
import re
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

import asyncpg

from config.errors import ConflictError, QuarterdeckError, UnavailableError, UsageError
from storage.migrate import HEAD, migrate
from storage.server.binaries import find_binaries
from storage.source import Source, redacted

_NEW_SCHEMA = "drop schema public cascade; create schema public"


async def back_up(source: Source, file: Path) -> None:
    """Write the database into ``file``, which is whole or not there, and readable by its owner alone.

    Raises:
        QuarterdeckError: it could not be written, or the server could not be read.
    """
    scratch = file.with_name(f".{file.name}.{os.getpid()}")
    address, environ = _address(source.dsn)
    try:
        os.close(os.open(scratch, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        await _run("pg_dump", "--format=custom", "--no-owner", "--no-password", "--file", scratch, address, env=environ)
        scratch.rename(file)
    except OSError as error:
        raise QuarterdeckError(f"{file} cannot be written: {error.strerror}", "choose another place") from error
    finally:
        scratch.unlink(missing_ok=True)


async def schema_of(file: Path) -> str:
    """The schema that a backup holds, such as ``0007``.

    Raises:
        UsageError: it is no backup of ours, or one of a newer program.
    """
    try:
        told = await _run("pg_restore", "--data-only", "--table=alembic_version", "--file=-", file)
    except QuarterdeckError as error:
        raise UsageError(f"{file} is no backup that can be read", "give a file that `qd backup` has written") from error
    found = re.search(r"^COPY public\.alembic_version .*\n(\w+)\n\\\.$", told, re.MULTILINE)
    if found is None:
        raise UsageError(f"{file} is a backup of something else", "give a file that `qd backup` has written")
    if found[1] > HEAD:
        raise UsageError(f"{file} has schema {found[1]}, this program knows schema {HEAD}", "upgrade Quarterdeck")
    return found[1]


async def restore(source: Source, file: Path, scratch_folder: Path) -> None:
    """Put what a backup holds in the place of all that the database holds, in one transaction, and bring it up to date.

    Raises:
        ConflictError: somebody else is connected, or rows of somebody else would be lost.
        QuarterdeckError: it failed; the database is as it was.
    """
    connection = await asyncpg.connect(source.dsn)
    try:
        await _check_alone(connection)
        if not source.embedded:
            await _check_ours(connection, file)
    finally:
        await connection.close()
    address, environ = _address(source.dsn)
    with tempfile.TemporaryDirectory(prefix="restore-", dir=scratch_folder) as folder:
        script = Path(folder, "all.sql")
        # First the whole script: psql cannot tell a source that broke off from one that has ended.
        await _run("pg_restore", "--no-owner", "--exit-on-error", "--file", script, file)
        await _run(
            *("psql", "--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1", "--single-transaction"),
            *("--output", os.devnull, "--command", _NEW_SCHEMA, "--file", script, address),
            env=environ,
        )
    await migrate(source.dsn)


async def _check_alone(connection: asyncpg.Connection) -> None:
    others = await connection.fetchval(
        """select count(*) from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"""
    )
    if others:
        raise ConflictError(
            f"the database is in use by others ({others} connections)",
            "stop the engine with `qd down` and close what shows it",
        )


async def _check_ours(connection: asyncpg.Connection, file: Path) -> None:
    """In a database that we did not make, tables of others may lie beside ours."""
    told = await _run("pg_restore", "--list", file)
    known = set(re.findall(r" TABLE public (\S+) ", told))
    for name in await connection.fetch("select tablename from pg_tables where schemaname = 'public'"):
        table = name["tablename"]
        quoted = '"' + table.replace('"', '""') + '"'
        if table not in known and await connection.fetchval(f"select exists (select 1 from {quoted})"):  # noqa: S608
            raise ConflictError(
                f"the table {table} is not in the backup, and its rows would be lost",
                "restore into an empty database, named with --database-url",
            )


def _address(dsn: str) -> tuple[str, dict[str, str]]:
    """An address without its password, and the environment that holds it: everybody can read the arguments of others."""
    parts = urlsplit(dsn)
    who, at, where = parts.netloc.rpartition("@")
    user, _, password = who.partition(":")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    password = query.pop("password", "") or unquote(password)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    if password:
        environ["PGPASSWORD"] = password
    return urlunsplit(parts._replace(netloc=user + at + where, query=urlencode(query))), environ


async def _run(name: str, *arguments: str | Path, env: dict[str, str] | None = None) -> str:
    """Run a program of Postgres to its end; returns what it printed. Raises :class:`QuarterdeckError` with its words."""
    program: Sequence[str] = (find_binaries().program(name), *map(str, arguments))
    try:
        process = await asyncio.create_subprocess_exec(
            *program,
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise UnavailableError(f"{program[0]} cannot be run: {error.strerror}", "install Quarterdeck anew") from error
    try:
        out, err = await process.communicate()
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    if process.returncode:
        words = " ".join(err.decode("utf-8", "replace").split())
        raise QuarterdeckError(f"{name} failed: {redacted(words[-1000:]) or f'exit code {process.returncode}'}")
    return out.decode("utf-8", "replace")
