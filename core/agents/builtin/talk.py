"""The agent's side of the ``command`` dialect: events out on stdout, answers and messages in on stdin."""

import asyncio
import json
import os
import threading
from typing import Any

from core.agents.text import clean

CHUNK = 65_536
LINE_LIMIT = 1_000_000
"""Bytes of the longest line that is taken from stdin; a longer one is dropped."""


class Supervisor:
    """Who the agent talks to: a person, through the engine."""

    def __init__(self, stdin: int = 0, stdout: int = 1) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._messages: list[str] = []
        self._answers: dict[str, str] = {}
        self._waiting: dict[str, asyncio.Future[str | None]] = {}
        self._closed = False
        self._asked = 0

    def listen(self) -> None:
        """Begin to read stdin, in a thread of its own: it may be a pipe, a file or a device, and not each
        can be polled.
        """
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, args=(loop,), daemon=True, name="stdin").start()

    def tell(self, kind: str, text: str = "", /, **data: Any) -> None:
        """Print one event."""
        line = json.dumps({"kind": kind, "text": clean(text), "data": data}).encode() + b"\n"
        while line:
            line = line[os.write(self._stdout, line) :]

    async def ask(self, question: str, options: list[str]) -> str | None:
        """Ask and wait for the answer, as long as it takes; None when nobody can answer any more."""
        self._asked += 1
        ref = f"ask-{self._asked}"
        self.tell("question", question, id=ref, kind="question", options=options)
        if ref in self._answers or self._closed:
            return self._answers.get(ref)
        self._waiting[ref] = asyncio.get_running_loop().create_future()
        return await self._waiting[ref]

    def messages(self) -> list[str]:
        """The messages that have come since this was last called."""
        taken, self._messages = self._messages, []
        return taken

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        # os.read and not sys.stdin: a daemon thread that holds the lock of sys.stdin makes Python abort when it ends
        rest = b""
        while True:
            try:
                chunk = os.read(self._stdin, CHUNK)
            except OSError:
                chunk = b""
            *lines, rest = (rest + chunk).split(b"\n")
            try:
                for line in lines:
                    loop.call_soon_threadsafe(self._take, line)
                if not chunk:
                    loop.call_soon_threadsafe(self._close)
                    return
            except RuntimeError:  # the loop has ended: nobody listens any more
                return
            rest = rest if len(rest) <= LINE_LIMIT else b""

    def _take(self, line: bytes) -> None:
        try:
            told = json.loads(line)
        except (ValueError, RecursionError):
            return
        text = told.get("text") if isinstance(told, dict) else None
        if not isinstance(text, str):
            return
        if told.get("kind") == "message":
            self._messages.append(clean(text))
        elif told.get("kind") == "answer" and isinstance(told.get("data"), dict):
            ref = str(told["data"].get("id"))
            self._answers[ref] = clean(text)
            self._settle(ref)

    def _settle(self, ref: str) -> None:
        waiting = self._waiting.pop(ref, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(self._answers.get(ref))

    def _close(self) -> None:
        self._closed = True
        for ref in list(self._waiting):
            self._settle(ref)
