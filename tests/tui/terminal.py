"""A real terminal for the screen: a pty whose other end is an emulator (pyte), and `qd` running on it."""

import fcntl
import os
import pty
import signal
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyte

ROOT = Path(__file__).resolve().parents[2]
QD = (sys.executable, "-P", "-m", "core.faces.start")


class Terminal:
    """A program on a terminal. ``output`` is every byte that it has written."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *arguments: str,
        size: tuple[int, int] = (80, 24),
        deaf: bool = False,
        program: Sequence[str] = QD,
    ) -> None:
        """``deaf``: the program is started with SIGHUP ignored, as by nohup. ``program``: what runs in place of `qd`."""
        self.screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self.screen)
        self._lock = threading.Lock()
        self.output = bytearray()
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            if deaf:
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
            os.chdir(ROOT)
            os.execve(program[0], [*program, *arguments], dict(environ))
        self.resize(*size)
        self.before = termios.tcgetattr(self.master)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            if not data:
                return
            with self._lock:
                self.output += data
                with suppress(Exception):  # the emulator does not know every sequence
                    self._stream.feed(data)

    def resize(self, columns: int, lines: int) -> None:
        """Another size, as a window manager would make it."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        with self._lock:
            self.screen.resize(lines, columns)

    def text(self) -> str:
        """What is seen."""
        with self._lock:
            return "\n".join(self.screen.display)

    def cells(self) -> list[list[Any]]:
        """What is seen, with colours and all, cell by cell."""
        with self._lock:
            columns = range(self.screen.columns)
            return [[self.screen.buffer[line][column] for column in columns] for line in range(self.screen.lines)]

    def soil(self) -> None:
        """Another program has the terminal: it leaves its own lines on it."""
        with self._lock:
            self.screen.reset()
            self._stream.feed(b"left over by another program\r\n" * self.screen.lines)

    def quiet(self, seconds: float = 0.25, most: float = 30) -> None:
        """Wait until nothing has been written for a while, which is longer on a machine that is busy."""
        seconds *= max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
        end, size, since = time.monotonic() + most, -1, time.monotonic()
        while time.monotonic() - since < seconds:
            if len(self.output) != size:
                size, since = len(self.output), time.monotonic()
            assert time.monotonic() < end, "it writes on and on"
            time.sleep(0.02)

    def send(self, keys: str) -> None:
        """Type."""
        os.write(self.master, keys.encode())

    def wait(self, what: str | Callable[[], Any], seconds: float = 30) -> None:
        """Wait until a text is seen, or something is true."""
        end = time.monotonic() + seconds
        while not (what in self.text() if isinstance(what, str) else what()):
            assert time.monotonic() < end, f"never: {what}\n{self.text()}"
            time.sleep(0.02)

    def hang_up(self) -> None:
        """The line is cut."""
        os.close(self.master)

    def ended(self, seconds: float = 10) -> int:
        """Wait for the end; the exit code, negative for a signal."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        raise AssertionError(f"it goes on\n{self.text()}")

    def stopped(self, seconds: float = 10) -> None:
        """Wait until it is suspended."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
            if pid:
                assert os.WIFSTOPPED(status), status
                return
            time.sleep(0.02)
        raise AssertionError("it was not suspended")


@contextmanager
def terminal(environ: Mapping[str, str], *arguments: str, **more: Any) -> Iterator[Terminal]:
    """`qd` on a terminal, gone afterwards."""
    made = Terminal(environ, *arguments, **more)
    try:
        yield made
    finally:
        if made.pid:
            with suppress(ProcessLookupError):
                os.kill(made.pid, signal.SIGKILL)
            os.waitpid(made.pid, 0)
        with suppress(OSError):
            os.close(made.master)
