"""Reads what an agent has written so far, line by line, from the spools that its keeper fills.

A spool only grows. The reader's position is always the start of a line that has not been turned into events yet, so
that after a crash nothing is lost and nothing is read twice. A line may be of any length: what is longer than
``LONGEST_LINE`` is described by its beginning and its length, and never held in memory whole.
"""

from dataclasses import dataclass
from pathlib import Path

LONGEST_LINE = 1 << 20
"""Bytes of a line that are looked at as a whole."""
_CHUNK = 1 << 16
_PREFIX = 1 << 12


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its newline. ``length`` exceeds ``len(content)`` when the line was too long to be held."""

    content: bytes
    length: int
    end: int
    """The position in the spool after this line."""

    @property
    def whole(self) -> bool:
        """Whether the content is all of the line."""
        return len(self.content) == self.length


class SpoolReader:
    """Reads complete lines from ``position`` (a byte offset at the start of a line)."""

    def __init__(self, path: Path, position: int = 0) -> None:
        self.path = path
        self.position = position
        self._tail = b""
        """The beginning of the line at ``position``: all that was read of it, or its prefix when it is too long."""
        self._tail_length = 0

    def read(self, *, most_bytes: int = 1 << 18, final: bool = False) -> list[Line]:
        """The next complete lines out of about ``most_bytes``; with ``final`` also a last line without a newline.

        Empty means that there is none yet: a line that is longer than ``most_bytes`` is read to its end.
        """
        lines: list[Line] = []
        try:
            spool = self.path.open("rb", buffering=0)
        except FileNotFoundError:
            return lines
        with spool:
            spool.seek(self.position + self._tail_length)
            taken = 0
            while (more := taken < most_bytes or not lines) and (data := spool.read(_CHUNK)):
                taken += len(data)
                self._feed(data, lines)
            if final and more and self._tail_length:
                self._finish(lines, newline=0)
        return lines

    def _feed(self, data: bytes, lines: list[Line]) -> None:
        first, *rest = data.split(b"\n")
        self._extend(first)
        for part in rest:
            self._finish(lines, newline=1)
            self._extend(part)

    def _extend(self, part: bytes) -> None:
        self._tail_length += len(part)
        if self._tail_length <= LONGEST_LINE:
            self._tail += part
        else:
            self._tail = (self._tail + part)[:_PREFIX]

    def _finish(self, lines: list[Line], *, newline: int) -> None:
        self.position += self._tail_length + newline
        lines.append(Line(self._tail, self._tail_length, self.position))
        self._tail = b""
        self._tail_length = 0
