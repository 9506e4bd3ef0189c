"""Making and configuring a cluster: the folder that the server's data lies in.

A cluster is made whole under another name, with the database in it, and then renamed: one that was cut short is never
mistaken for a database. What we configure is written anew before every start, in files of our own; a person's settings
go into ``postgresql.conf`` and win.
"""

import asyncio
import os
import pwd
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from config.errors import UnavailableError
from storage.server.binaries import Binaries
from storage.server.log import ServerLog
from storage.server.place import Account, Place, remedy

ROLE = "quarterdeck"
"""The database role that owns everything, and the name of the first database."""

ENVIRONMENT = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C", "TZ": "UTC"}
"""All that Postgres is given: the environment of whoever starts it may hold secrets and marks of a run."""

INITDB_SECONDS = 180
POSTGRESQL_CONF = """\
include 'quarterdeck.conf'    # written by Quarterdeck before every start

# Settings of your own go below this line; they win.
"""
HBA_CONF = "# Written by Quarterdeck before every start.\nlocal all all peer map=quarterdeck\n"

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    # Files, not /dev/shm: that is 64 MB in a container, and systemd empties it when a person logs out.
    "dynamic_shared_memory_type": "mmap",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "512MB",
    "jit": "off",
    "idle_in_transaction_session_timeout": "60s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "datestyle": "ISO, MDY",
    "default_text_search_config": "pg_catalog.english",
    # Errors go to the client that made them; the log is told of them without the statement and its values.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
}


def is_cluster(data: Path) -> bool:
    """Whether ``data`` holds a finished cluster."""
    return (data / "PG_VERSION").exists()


def check_version(place: Place, binaries: Binaries) -> None:
    """Refuse a cluster of another major version, before anything is touched.

    Raises:
        UnavailableError: with both versions.
    """
    made_by = (place.data / "PG_VERSION").read_text(encoding="utf-8", errors="replace").strip()
    if made_by != binaries.major:
        raise UnavailableError(
            f"the database in {place.data} was made by Postgres {made_by}, and this installation carries Postgres "
            f"{binaries.version}",
            "dump it with the release that made it and restore it here, or point QD_DATABASE_URL at "
            f"a Postgres {made_by} that holds it",
        )


def check_owner(place: Place) -> None:
    """Refuse a folder of somebody else.

    Raises:
        UnavailableError: with the user id that it belongs to.
    """
    owner = place.data.stat().st_uid if place.data.exists() else place.account.uid
    if owner not in {place.account.uid, os.geteuid()}:
        raise UnavailableError(
            f"the database in {place.data} belongs to the user id {owner}, not to {place.account.name}",
            "run qd as that user, or choose another QD_HOME",
        )


async def make_cluster(
    place: Place, binaries: Binaries, settings: Mapping[str, str], log: ServerLog, lock: int
) -> None:
    """Create the cluster with the database in it, waiting for the disk as a server with these ``settings`` would.

    ``lock`` is a file descriptor that ``initdb`` inherits: should we be killed, the lock stays held until it is gone,
    so that nobody clears away a folder that is still being written.

    Raises:
        UnavailableError: the folder holds something else, or ``initdb`` failed, with its last words.
    """
    data = place.data
    if data.exists() and any(data.iterdir()):
        raise UnavailableError(
            f"the folder {data} is meant for the database but holds other things",
            "move them, or choose another QD_HOME",
        )
    new = data.with_name(data.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    if os.geteuid() != place.account.uid:
        os.chown(new, place.account.uid, place.account.gid, follow_symlinks=False)
    sync = {**SETTINGS, **settings}["fsync"]
    waiting = ["--no-sync"] if sync == "off" else []
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    access = ["--auth-local=peer", "--auth-host=reject", f"--username={ROLE}"]
    initdb = [binaries.program("initdb"), "--no-instructions", "--no-clean", *waiting, *locale, *access]
    single = [binaries.program("postgres"), "--single", "-D", str(new), "-c", f"fsync={sync}"]
    quiet = ["-c", "exit_on_error=on", "-c", "log_checkpoints=off", "template1"]
    with log.opened() as output:
        made = await _run(place.account, [*initdb, "-D", str(new)], output, lock)
        made = made and await _run(place.account, [*single, *quiet], output, lock, f"CREATE DATABASE {ROLE}\n")
    if not made:
        message = f"the embedded Postgres could not make its database in {new}{log.last_words()}"
        raise UnavailableError(message, remedy(place))
    _replace(new, place.account, {"postgresql.conf": POSTGRESQL_CONF.encode()})
    new.rename(data)


def configure(place: Place, settings: Mapping[str, str]) -> None:
    """Write our part of the configuration: settings, who may connect, and as whom."""
    sockets = '"' + str(place.sockets).replace('"', '""') + '"'
    lines = [f"{_name(name)} = {_quoted(value)}" for name, value in {**SETTINGS, **settings}.items()]
    ours = ["# Written by Quarterdeck before every start.", f"unix_socket_directories = {_quoted(sockets)}", *lines, ""]
    users = {pwd.getpwuid(uid).pw_name for uid in {0, os.geteuid(), place.account.uid}}
    idents = [f'quarterdeck "{user.replace(chr(34), chr(34) * 2)}" {ROLE}' for user in sorted(users)]
    _replace(
        place.data,
        place.account,
        {
            "quarterdeck.conf": os.fsencode("\n".join(ours)),
            "pg_hba.conf": HBA_CONF.encode(),
            "pg_ident.conf": os.fsencode("\n".join(["# Written by Quarterdeck before every start.", *idents, ""])),
        },
    )


async def _run(account: Account, program: Sequence[str], log: int, lock: int, text: str = "") -> bool:
    """Run one of Postgres' programs as ``account`` to its end, its errors to ``log``; whether it went well."""
    process = await asyncio.create_subprocess_exec(
        *program,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=log,
        cwd="/",
        env=ENVIRONMENT,
        umask=0o077,
        pass_fds=(lock,),
        start_new_session=True,
        **account.drop(),
    )
    try:
        async with asyncio.timeout(INITDB_SECONDS):
            await process.communicate(text.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode == 0


def _replace(folder: Path, account: Account, files: Mapping[str, bytes]) -> None:
    """Write files of ``account`` into its ``folder``, never through a link that somebody may have left there."""
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        for name, content in files.items():
            fresh = f".{name}.new"
            with suppress(FileNotFoundError):
                os.unlink(fresh, dir_fd=at)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=at), "wb") as file:
                if os.geteuid() != account.uid:
                    os.fchown(file.fileno(), account.uid, account.gid)
                file.write(content)
            os.rename(fresh, name, src_dir_fd=at, dst_dir_fd=at)
    finally:
        os.close(at)


def _name(setting: str) -> str:
    if not re.fullmatch(r"[a-z_.]+", setting):
        raise ValueError(f"not the name of a Postgres setting: {setting!r}")
    return setting


def _quoted(value: str) -> str:
    """A string of a Postgres configuration file."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n") + "'"
