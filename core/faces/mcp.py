"""MCP on standard input and output: one message per line, for a program of a person's own, under that person's role."""

import asyncio
import contextlib
import os
import sys
import threading
from concurrent.futures import CancelledError
from typing import BinaryIO

from core.commands.table import Context
from core.faces.plain import json_text
from core.mcp import protocol

LONGEST_LINE = 4_000_000
"""Bytes of one message."""
AT_ONCE = 16
"""Messages that are answered at the same time."""


async def serve(context: Context, stdin: BinaryIO, stdout: BinaryIO) -> int:
    """Answer until standard input ends; the exit code. Nothing else may be written to ``stdout`` meanwhile."""
    lines: asyncio.Queue[bytes | None] = asyncio.Queue(AT_ONCE)
    _read_into(lines, stdin)
    room = asyncio.Semaphore(AT_ONCE)

    async def answer(line: bytes) -> None:
        async with room:
            if len(line) >= LONGEST_LINE:
                words = f"a message has at most {LONGEST_LINE} bytes"
                _send(stdout, protocol.failure(None, protocol.REQUEST, words))
                return
            try:
                message = protocol.parse(line)
            except ValueError as error:
                _send(stdout, protocol.failure(None, protocol.PARSE, f"no JSON: {error}"[:200]))
                return
            _send(stdout, await protocol.respond(context, message))

    async with asyncio.TaskGroup() as group:
        while (line := await lines.get()) is not None:
            if line.strip():
                group.create_task(answer(line))
    return 0


def own_streams() -> tuple[BinaryIO, BinaryIO]:
    """This process's input and output for messages alone: what anything else prints goes to standard error."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return sys.stdin.buffer, out


def _read_into(lines: "asyncio.Queue[bytes | None]", stdin: BinaryIO) -> None:
    """Read in a thread of its own that nobody has to wait for; a line beyond the limit comes cut off at it."""
    loop = asyncio.get_running_loop()

    def put(line: bytes | None) -> None:
        asyncio.run_coroutine_threadsafe(lines.put(line), loop).result()

    def read() -> None:
        with contextlib.suppress(RuntimeError, CancelledError):  # nobody listens any more
            while line := stdin.readline(LONGEST_LINE):
                put(line)
                while line and not line.endswith(b"\n"):
                    line = stdin.readline(LONGEST_LINE)
            put(None)

    threading.Thread(target=read, daemon=True, name="stdin").start()


def _send(stdout: BinaryIO, response: dict[str, object] | None) -> None:
    if response is not None:
        stdout.write(json_text(response).encode() + b"\n")
        stdout.flush()
