"""The pipes to and from the agent: what it says goes to spool files untouched, what is said to it is sent once."""

import os
import select

INPUT_LIMIT = 8 << 20
"""Bytes that may wait for the agent to read them."""
_CHUNK = 65536  # what a pipe holds


class Output:
    """A spool file, and the output pipe of the agent (``file``, -1 when there is none) that is appended to it."""

    __slots__ = ("file", "size", "spool")

    def __init__(self, name: str) -> None:
        self.file = -1
        self.size = 0
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self.spool = os.open(name, flags, 0o600)

    def read(self) -> bytes | None:
        """What has come: empty when nothing more can come, None when nothing is there just now."""
        try:
            return os.read(self.file, _CHUNK)
        except BlockingIOError:
            return None

    def append(self, data: bytes) -> None:
        """Append to the spool; raises OSError when the disk takes no more, with ``size`` telling how far it came."""
        view = memoryview(data)
        while view:
            written = os.write(self.spool, view)
            self.size += written
            view = view[written:]

    def close(self) -> None:
        """Close the pipe and the spool."""
        os.close(self.file)
        os.close(self.spool)
        self.file = -1


class Input:
    """The input pipe of the agent, with a buffer so that an agent that does not read holds up nobody."""

    __slots__ = ("buffer", "closing", "file", "last_seq")

    def __init__(self, file: int, opening: bytes, *, close: bool) -> None:
        self.file = file
        self.buffer = bytearray(opening)
        self.closing = close
        self.last_seq = 0

    @property
    def is_open(self) -> bool:
        """Whether more may be said to the agent."""
        return self.file >= 0 and not self.closing

    def add(self, seq: int, data: bytes) -> None:
        """Take data that is to be written."""
        self.buffer += data
        self.last_seq = seq

    def pump(self) -> None:
        """Write what the pipe takes now; closes it when nobody reads, or at the end if that was asked for."""
        while self.file >= 0 and self.buffer:
            try:
                written = os.write(self.file, self.buffer[:_CHUNK])
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            del self.buffer[:written]
        if self.closing:
            self.close()

    def close(self) -> None:
        """Close the pipe; what was not read is gone."""
        if self.file >= 0:
            os.close(self.file)
        self.file = -1
        self.buffer.clear()

    def events(self) -> int:
        """What to ask ``poll`` for; that nobody reads any more is reported in any case."""
        return select.POLLOUT if self.buffer else 0
