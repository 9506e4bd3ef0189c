"""Where secrets are kept.

The operating system's keyring holds them where there is one; a server, a container and an installation under
``QD_HOME`` use an encrypted file (Fernet of the ``cryptography`` package: AES-128-CBC with HMAC-SHA-256) whose key lies
beside it in a file that only its owner can read. ``QD_SECRETS`` (``keyring`` or ``file``) decides where that is
wanted otherwise. What the file protects from: backups, logs, another user, a look at the folder. It cannot
protect from a program that runs as the same user with no sandbox; nothing on the same machine can.

Secrets are per project, or shared (project ``""``). A lookup for a project finds its own before the shared one, and
never another project's.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from config.errors import UnavailableError, UsageError
from config.paths import Paths

SHARED = ""
"""The project of what all projects share."""

_SERVICE = "quarterdeck"


class SecretStore(Protocol):
    """Keeps secrets. Every method may block on the disk or the system's keyring."""

    place: str
    """What a person calls it."""

    def get(self, name: str, project: str = SHARED) -> str | None:
        """The secret of this project itself."""

    def put(self, name: str, value: str, project: str = SHARED) -> None:
        """Keep a secret, in place of an earlier one."""

    def remove(self, name: str, project: str = SHARED) -> bool:
        """Forget a secret; False when there was none."""


def service_key(service: str) -> str:
    """The name under which the key of a service is kept."""
    return f"service.{service}"


def find(store: SecretStore, name: str, project: str) -> str | None:
    """The project's own secret, else the shared one."""
    found = find_owned(store, name, project)
    return found[0] if found else None


def find_owned(store: SecretStore, name: str, project: str) -> tuple[str, str] | None:
    """As :func:`find`, with the project whose secret it is."""
    for owner in dict.fromkeys((project, SHARED)):
        if value := store.get(name, owner):
            return value, owner
    return None


def open_store(paths: Paths, environ: Mapping[str, str]) -> SecretStore:
    """The store of this installation. Raises UsageError for an unknown ``QD_SECRETS``, UnavailableError without a
    keyring.
    """
    wanted = environ.get("QD_SECRETS") or ("file" if environ.get("QD_HOME") else "auto")
    if wanted not in ("auto", "keyring", "file"):
        raise UsageError(f"QD_SECRETS is {wanted!r}", "it is keyring or file")
    if wanted != "file" and _has_keyring():
        return KeyringStore()
    if wanted == "keyring":
        raise UnavailableError("there is no keyring to keep secrets in", "unlock it, or set QD_SECRETS=file")
    return FileStore(paths.config)


def _has_keyring() -> bool:
    import keyring
    from keyring.errors import KeyringError

    try:
        return keyring.get_keyring().priority >= 1
    except (KeyringError, RuntimeError):
        return False


class KeyringStore:
    """The operating system's keyring: Keychain, Secret Service, KWallet, Windows' locker."""

    place = "the system's keyring"

    def get(self, name: str, project: str = SHARED) -> str | None:
        """The secret of this project itself."""
        import keyring

        with _told():
            return keyring.get_password(_SERVICE, f"{project}/{name}")

    def put(self, name: str, value: str, project: str = SHARED) -> None:
        """Keep a secret."""
        import keyring

        with _told():
            keyring.set_password(_SERVICE, f"{project}/{name}", value)

    def remove(self, name: str, project: str = SHARED) -> bool:
        """Forget a secret."""
        import keyring
        from keyring.errors import PasswordDeleteError

        with _told():
            try:
                keyring.delete_password(_SERVICE, f"{project}/{name}")
            except PasswordDeleteError:
                return False
            return True


@contextlib.contextmanager
def _told() -> Iterator[None]:
    from keyring.errors import KeyringError

    try:
        yield
    except KeyringError as error:
        raise UnavailableError(
            f"the system's keyring does not answer ({type(error).__name__})", "unlock it, or set QD_SECRETS=file"
        ) from None


class FileStore:
    """One encrypted file in a folder, with its key beside it; both readable by their owner alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "secrets.enc"
        self._key = folder / "secrets.key"
        self.place = str(self._file)

    def get(self, name: str, project: str = SHARED) -> str | None:
        """The secret of this project itself."""
        return self._read().get(project, {}).get(name)

    def put(self, name: str, value: str, project: str = SHARED) -> None:
        """Keep a secret."""
        with self._lock():
            table = self._read()
            table.setdefault(project, {})[name] = value
            self._write(table)

    def remove(self, name: str, project: str = SHARED) -> bool:
        """Forget a secret."""
        with self._lock():
            table = self._read()
            if table.get(project, {}).pop(name, None) is None:
                return False
            self._write(table)
            return True

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self._folder / "secrets.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _read(self) -> dict[str, dict[str, str]]:
        from cryptography.fernet import Fernet, InvalidToken

        try:
            sealed = self._file.read_bytes()
        except FileNotFoundError:
            return {}
        try:
            table: dict[str, dict[str, str]] = json.loads(Fernet(self._key.read_bytes()).decrypt(sealed))
        except FileNotFoundError:
            raise UnavailableError(
                f"the key {self._key} of the secrets is missing", "restore it, or set them again"
            ) from None
        except (InvalidToken, ValueError):
            raise UnavailableError(
                f"{self._file} does not open with the key beside it",
                "restore both from one backup, or set the secrets again",
            ) from None
        return table

    def _write(self, table: Mapping[str, Mapping[str, str]]) -> None:
        from cryptography.fernet import Fernet

        try:
            key = self._key.read_bytes()
        except FileNotFoundError:
            key = Fernet.generate_key()
            _replace(self._key, key)
        _replace(self._file, Fernet(key).encrypt(json.dumps(table).encode()))


def _replace(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, all of it or nothing."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
