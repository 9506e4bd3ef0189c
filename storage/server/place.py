"""Where the embedded server lies and whom it runs as.

For a normal person that is simple: their own account, ``paths.database`` and ``paths.sockets``. Postgres refuses to
run as root, so for root the server runs as an unprivileged account that exists already, and what that account cannot
reach (``/root`` is closed to it) goes below :data:`SHARED`. No folder that is not ours is ever opened to anybody.
"""

import hashlib
import os
import pwd
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.errors import UnavailableError
from config.paths import Paths

SHARED = Path("/var/lib/quarterdeck")
"""What root's server needs and its account could not reach elsewhere: sockets, and if need be cluster and binaries."""

SERVICE_ACCOUNTS = ("postgres", "_postgres", "nobody")
"""Accounts that root's server may run as, the best first. None is ever added."""

POINTER = "LOCATION"
"""File in ``paths.database`` whose first line says where the cluster is, when it could not lie there itself."""

ELSEWHERE = "set QD_DATABASE_URL to a Postgres 15 or newer with pgvector to use that instead"
"""The remedy that is left when the embedded server cannot work on this machine."""

LOW_BYTES = 100 * 2**20
"""With less room than this a failure is put down to the disk."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the operating system."""

    uid: int
    gid: int
    name: str

    def drop(self) -> dict[str, Any]:
        """Arguments of ``subprocess`` that make a child run as this account; none when we are it."""
        return {} if os.geteuid() == self.uid else {"user": self.uid, "group": self.gid, "extra_groups": []}


@dataclass(frozen=True, slots=True)
class Place:
    """All that starting and finding one server takes to know."""

    account: Account
    data: Path
    sockets: Path
    home: Path
    """``paths.database``: the same as ``data``, or the folder that holds the pointer to it."""
    log: Path

    @property
    def lock(self) -> Path:
        """Held while a server is started, stopped or removed."""
        return self.data.with_name(self.data.name + ".lock")


def find_place(paths: Paths) -> Place:
    """Decide where the server of ``paths`` lies, by a few stats and no more.

    Raises:
        UnavailableError: our user id, or root's machine, has no account that Postgres could run as.
    """
    home, log = paths.database, paths.logs / "postgres.log"
    if os.geteuid() != 0:
        return Place(_account(os.geteuid()), home, _own_sockets(paths), home, log)
    apart = SHARED / _digest(home)
    if (home / "PG_VERSION").exists():
        data = home
    elif (told := _pointed(home)) is not None:
        data = told
    else:
        data = home if can_reach(home, _service_account()) else apart / "data"
    owner = _owner(data)
    return Place(_account(owner) if owner else _service_account(), data, apart / "sockets", home, log)


def can_reach(path: Path, account: Account) -> bool:
    """Whether ``account`` may pass through every folder above ``path`` that exists (links and their targets alike)."""
    above = {*path.absolute().parents, *path.resolve().parents}
    return all(_permits(folder, account, 1) for folder in above if folder.exists())


def can_run(program: Path, account: Account) -> bool:
    """Whether ``account`` may read and run the file ``program``."""
    return can_reach(program, account) and _permits(program, account, 4 | 1)


def own_folder(path: Path, mode: int, account: Account | None = None) -> None:
    """Make the folder ``path`` (its parent exists) with this mode, of ``account`` or of us; check it if it exists.

    Raises:
        UnavailableError: what lies there is no folder, or belongs to somebody else.
    """
    owner = os.geteuid() if account is None else account.uid
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {owner, os.geteuid()}:
            raise UnavailableError(
                f"{path} is not a folder of the user that the database server runs as",
                "remove it or give it to that user",
            ) from None
    if path.lstat().st_uid != owner and account is not None:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
    if stat.S_IMODE(path.lstat().st_mode) != mode:
        path.chmod(mode)


def prepare_sockets(place: Place) -> None:
    """Make the folder of the server's socket: mode 0700, of the account that the server runs as."""
    if os.geteuid() == 0:
        shared_folder()
        own_folder(place.sockets.parent, 0o755)
    else:
        place.sockets.parent.mkdir(parents=True, exist_ok=True)
    own_folder(place.sockets, 0o700, place.account)


def shared_folder() -> Path:
    """Root's folder that every account may pass through, made if it is missing."""
    SHARED.parent.mkdir(parents=True, exist_ok=True)
    own_folder(SHARED, 0o755)
    return SHARED


def write_pointer(place: Place) -> None:
    """Leave word in ``paths.database`` where the cluster is, when it is not there."""
    if place.home == place.data:
        return
    place.home.mkdir(mode=0o700, exist_ok=True)
    text = (
        f"{place.data}\n\nThe database lies there, as its server runs as {place.account.name}, who cannot come here.\n"
    )
    (place.home / POINTER).write_bytes(os.fsencode(text))


def remedy(place: Place) -> str:
    """What to do when the server fails at ``place``: make room where the disk is full, else use another server."""
    folder = next(folder for folder in (place.data, *place.data.parents) if folder.is_dir())
    free = shutil.disk_usage(folder).free
    return f"make room on the disk of {folder}, which has {free // 2**20} MB left" if free < LOW_BYTES else ELSEWHERE


def _own_sockets(paths: Paths) -> Path:
    """``paths.sockets``, unless clients would take its name for something else: they split a host at commas."""
    near = paths.sockets
    if "," not in str(near) and str(near).isprintable():
        return near
    return Path(tempfile.gettempdir()) / f"qd-{os.geteuid()}-{_digest(paths.state)}"


def _pointed(home: Path) -> Path | None:
    try:
        first = (home / POINTER).read_bytes().split(b"\n", 1)[0]
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Path(os.fsdecode(first)) if first.startswith(b"/") else None


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def _owner(path: Path) -> int:
    """The user id that owns ``path``; 0 when nothing is there."""
    try:
        return path.stat().st_uid
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _permits(path: Path, account: Account, wanted: int) -> bool:
    """Whether the mode of ``path`` grants ``wanted`` (bits of rwx) to ``account``, who has no further groups."""
    found = path.stat()
    if found.st_uid == account.uid:
        granted = found.st_mode >> 6
    elif found.st_gid == account.gid:
        granted = found.st_mode >> 3
    else:
        granted = found.st_mode
    return granted & wanted == wanted


def _account(uid: int) -> Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise UnavailableError(
            f"the user id {uid} has no entry in the user database, so the embedded Postgres cannot run as it",
            f"add one to /etc/passwd, or {ELSEWHERE}",
        ) from None
    return Account(entry.pw_uid, entry.pw_gid, entry.pw_name)


def _service_account() -> Account:
    for name in SERVICE_ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, name)
    raise UnavailableError(
        "Postgres refuses to run as root, and there is no user postgres or nobody to run it as",
        f"run qd as a normal user, or {ELSEWHERE}",
    )
