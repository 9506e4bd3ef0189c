"""The log of the embedded server: appended to by it and its makers, kept small, quoted when something fails."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.server.place import Account

LIMIT_BYTES = 8 * 2**20
"""Above this size the log is cut, its end kept in a second file."""

KEPT_BYTES = 2**20
_GRAVE = re.compile(r"\b(FATAL|PANIC|ERROR|error)\b")


class ServerLog:
    """The log, and what was written to it since it was opened here."""

    def __init__(self, path: Path, account: Account) -> None:
        self.path = path
        self._account = account
        self._start: int | None = None

    @contextmanager
    def opened(self) -> Iterator[int]:
        """A file descriptor for the output of the server, which is made the log's owner."""
        self.cut()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        log = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            if os.geteuid() != self._account.uid:
                os.fchown(log, self._account.uid, self._account.gid)
            self._start = os.fstat(log).st_size
            yield log
        finally:
            os.close(log)

    def text(self) -> str:
        """What was written since it was opened."""
        if self._start is None:
            return ""
        try:
            with self.path.open("rb") as file:
                file.seek(self._start)
                return file.read(LIMIT_BYTES).decode(errors="replace")
        except OSError:
            return ""

    def last_words(self) -> str:
        """A clause with the first grave line since it was opened, which gives the cause, else with the last line."""
        lines = ["".join(filter(str.isprintable, line)).strip() for line in self.text().splitlines()]
        lines = [line for line in lines if line]
        if not lines:
            return f" (its log is {self.path})"
        grave = [line for line in lines if _GRAVE.search(line)]
        return f": {(grave or lines[-1:])[0][:300]} (its log is {self.path})"

    def cut(self) -> None:
        """Keep the log within its limit. The server appends, so it writes on at the new end."""
        try:
            if self.path.stat().st_size <= LIMIT_BYTES:
                return
            with self.path.open("rb+") as file:
                file.seek(-KEPT_BYTES, os.SEEK_END)
                self.path.with_name(self.path.name + ".1").write_bytes(file.read())
                file.truncate(0)
        except OSError:
            return  # not ours to cut, or the disk is full: no reason to refuse the database
