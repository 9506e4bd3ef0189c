"""Runs a shell command for the agent: bounded in time and output, and nothing of it is left behind."""

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

HEAD, TAIL = 8_000, 16_000
"""Bytes of the beginning and of the end of the output that are kept."""

LINGER_SECONDS = 1.0
"""How long the output of what a command left in the background is still read."""

SECRETS = frozenset({"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY", "GEMINI_API_KEY", "QD_RUN_TOKEN"})
"""What the agent needs and its commands do not."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended: ``code`` is None when its time was up."""

    code: int | None
    output: str


async def run_command(command: str, folder: Path, seconds: float, environ: Mapping[str, str]) -> Outcome:
    """Run ``command`` by ``sh -c`` in ``folder`` for at most ``seconds``; its whole process group is ended
    afterwards.
    """
    reading, writing = os.pipe()
    # not a pipe of asyncio's: a child in a session of its own may hold it open for ever, and it must be closed then too
    source = os.fdopen(reading, "rb", buffering=0)
    try:
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", command),
            cwd=folder,
            env={name: value for name, value in environ.items() if name not in SECRETS},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            start_new_session=True,
        )
    except BaseException:
        source.close()
        raise
    finally:
        os.close(writing)
    stream, output = asyncio.StreamReader(), _Bounded()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), source
    )
    pump = asyncio.create_task(_pump(stream, output))
    code: int | None = None
    try:
        with suppress(TimeoutError):
            code = await asyncio.wait_for(process.wait(), seconds)
        await asyncio.wait([pump], timeout=LINGER_SECONDS if code is not None else 0)
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        pump.cancel()
        transport.close()
        await process.wait()
    return Outcome(code, output.text())


class _Bounded:
    """The beginning and the end of a stream."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._length = 0

    def add(self, chunk: bytes) -> None:
        self._length += len(chunk)
        room = HEAD - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:]
        del self._tail[:-TAIL]

    def text(self) -> str:
        left = self._length - len(self._head) - len(self._tail)
        middle = f"\n… ({left} bytes left out) …\n".encode() if left else b""
        return bytes(self._head + middle + self._tail).decode("utf-8", "replace")


async def _pump(stream: asyncio.StreamReader, output: _Bounded) -> None:
    while chunk := await stream.read(65536):
        output.add(chunk)
