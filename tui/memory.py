"""What the screen remembers between two times: the arrangement, the theme, what was written on the ``:`` line, what was put aside.

It is a convenience, never a record: a file that cannot be read or written is as good as none.
"""

import contextlib
import json
import os
from pathlib import Path
from typing import Any


class Memory:
    """A few values by name, kept in ``screen.json`` of the state folder."""

    def __init__(self, path: Path | None) -> None:
        """``path`` None: nothing is kept."""
        self._path = path
        self._values: dict[str, Any] = {}
        self._changed = False
        if path is not None:
            with contextlib.suppress(OSError, ValueError):
                read = json.loads(path.read_text("utf-8"))
                self._values = read if isinstance(read, dict) else {}

    def get(self, name: str, default: Any) -> Any:
        """A value of the type of ``default``; anything else that the file may hold is not ours."""
        value = self._values.get(name, default)
        return value if isinstance(value, type(default)) else default

    def set(self, name: str, value: Any) -> None:
        """Remember a value."""
        if self._values.get(name) != value:
            self._values[name] = value
            self._changed = True

    def save(self) -> None:
        """Write what has changed, whole or not at all."""
        if self._path is None or not self._changed:
            return
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            beside = self._path.with_suffix(f".{os.getpid()}")
            beside.write_text(json.dumps(self._values, indent=1), "utf-8")
            beside.replace(self._path)
            self._changed = False
