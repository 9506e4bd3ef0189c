"""A program on a terminal of its own, and what it sends there: bytes counted, words waited for, keys pressed."""

import asyncio
import fcntl
import os
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress


class Terminal:
    """A pseudo-terminal with one program on it."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], columns: int = 120, lines: int = 40) -> None:
        self.bytes = 0
        self.last = 0.0
        """When something came last, on the clock of :func:`time.perf_counter`."""
        self._tail = b""
        self._came = asyncio.Event()
        master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        env = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", **environ}
        self.begun = time.perf_counter()
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True
        )
        os.close(slave)
        os.set_blocking(master, False)
        self._master = master
        asyncio.get_running_loop().add_reader(master, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._master)
            return
        self.last = time.perf_counter()
        self.bytes += len(data)
        self._tail = (self._tail + data)[-400_000:]
        self._came.set()

    def press(self, keys: str) -> float:
        """Press keys; when that was."""
        self._tail = b""
        os.write(self._master, keys.encode())
        self.last = time.perf_counter()
        return self.last

    def forget(self) -> None:
        """What is waited for from now on has to come anew."""
        self._tail = b""

    async def wait_for(self, *words: str, seconds: float = 60.0) -> float:
        """When all of these words had come. Raises :class:`TimeoutError`."""
        wanted = [word.encode() for word in words]
        async with asyncio.timeout(seconds):
            while not all(word in self._tail for word in wanted):
                self._came.clear()
                await self._came.wait()
        return self.last

    async def wait_for_any(self, seconds: float = 5.0) -> float:
        """When the next bytes came."""
        self._came.clear()
        async with asyncio.timeout(seconds):
            await self._came.wait()
        return self.last

    async def quiet(self, seconds: float = 1.0, most: float = 30.0) -> None:
        """Wait until nothing was pressed and nothing has come for a while."""
        async with asyncio.timeout(most):
            while (left := self.last + seconds - time.perf_counter()) > 0:  # noqa: ASYNC110 - it is silence that is waited for
                await asyncio.sleep(left)

    def cpu_seconds(self) -> float:
        """What the program has used of the processor so far."""
        with open(f"/proc/{self.process.pid}/stat", encoding="utf-8") as file:  # noqa: PTH123 - no path
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Bytes of memory that are the program's own. Raises :class:`RuntimeError` when it has ended."""
        if self.process.poll() is not None:
            raise RuntimeError(
                f"it has ended with {self.process.returncode}: {self._tail[-2000:].decode(errors='replace')}"
            )
        with open(f"/proc/{self.process.pid}/statm", encoding="utf-8") as file:  # noqa: PTH123 - no path
            pages = file.read().split()
        return (int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE")

    def close(self) -> None:
        """End the program."""
        asyncio.get_running_loop().remove_reader(self._master)
        with suppress(ProcessLookupError):
            self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._master)
