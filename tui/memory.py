"""What the screen remembers between two times: the arrangement, the place, the theme, what was written on the ``:`` line, what was put aside.

It is a convenience, never a record: a file that cannot be read or written is as good as none. It is written at each change, so that a screen that is
killed loses nothing; several screens of one person share it, each change being made to what the others have written meanwhile.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Memory:
    """A few values by name, kept in ``screen.json`` of the state folder."""

    def __init__(self, path: Path | None, apart: str = "") -> None:
        """``path`` None: nothing is kept. ``apart``: which database is looked at, where places are remembered for each."""
        self._path = path
        self._values: dict[str, Any] = {}
        self._seen: tuple[int, int, int] | None = None
        self.place = f"place {apart}".strip()
        """The name of the place among the values."""

    def get(self, name: str, default: Any) -> Any:
        """A value of the type of ``default``; anything else that the file may hold is not ours."""
        self._refresh()
        value = self._values.get(name, default)
        return value if isinstance(value, type(default)) else default

    def set(self, name: str, value: Any) -> None:
        """Remember a value, from now on and for whoever else reads the file."""
        with self._alone():
            self._refresh()
            if self._values.get(name) == value:
                return
            self._values[name] = value
            self._write()

    def _refresh(self) -> None:
        """Take up what another screen has written."""
        if self._path is None:
            return
        with contextlib.suppress(OSError, ValueError):
            found = self._path.stat()
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
            if seen != self._seen:
                self._seen = seen
                read = json.loads(self._path.read_text("utf-8"))
                self._values = read if isinstance(read, dict) else {}

    def _write(self) -> None:
        """Write all of it, whole or not at all."""
        if self._path is None:
            return
        with contextlib.suppress(OSError):
            beside = self._path.with_suffix(f".{os.getpid()}")
            beside.write_text(json.dumps(self._values, indent=1), "utf-8")
            beside.replace(self._path)
            found = self._path.stat()
            self._seen = (found.st_ino, found.st_mtime_ns, found.st_size)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Between reading and writing no other screen writes; where that cannot be had, one goes on without."""
        lock = -1
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            if lock >= 0:
                os.close(lock)
