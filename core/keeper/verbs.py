"""What may be asked of a keeper over its socket.

A request is ``{"do": VERB, …}``, the answer ``{"ok": true, …}`` or ``{"ok": false, "error": SENTENCE}``:

===============  ==========================================================================================
``input``        ``seq`` (from 1, rising), ``data`` (base64): written to the agent once, however often it is sent
``close_stdin``  ends the agent's input after what is buffered
``interrupt``    SIGINT to the agent's process group
``stop``         ``reason``, ``grace`` (optional): SIGINT, then SIGTERM, then SIGKILL to all
``kill``         SIGKILL to all
``pause``        SIGSTOP to all; the clock of the limits stands still
``resume``       SIGCONT to those that ``pause`` stopped
``status``       ``state, pid, uptime_seconds, out_bytes, err_bytes, last_seq, paused, memory_bytes``
===============  ==========================================================================================
"""

import binascii
import time

from core.keeper.pipes import INPUT_LIMIT
from core.keeper.tree import memory
from core.keeper.watch import Run
from core.keeper.wire import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SEQ_LIMIT = 1 << 63
_GRACE_LIMIT = 86400.0
_DETAIL_LIMIT = 1000


class RefusedError(Exception):
    """The request is malformed or not possible now; the message is a sentence."""


class Verbs:
    """Answers requests about one run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._verbs = {
            "input": self._input,
            "close_stdin": self._close_stdin,
            "interrupt": self._interrupt,
            "stop": self._stop,
            "kill": self._kill,
            "pause": self._pause,
            "resume": self._resume,
            "status": self._status,
        }

    def answer(self, line: bytes) -> bytes:
        """Answer one line, whatever is in it."""
        try:
            request = decode(line)
            verb = self._verbs.get(str(request.get("do"))) if isinstance(request, dict) else None
            if verb is None:
                raise RefusedError("the request must be a JSON object with a known verb in 'do'")
            answer = {"ok": True, **verb(request)}
        except (ValueError, RecursionError, ImportError):  # it takes a module to say what is wrong with JSON
            answer = {"ok": False, "error": "the request is not JSON"}
        except RefusedError as error:
            answer = {"ok": False, "error": str(error)}
        return encode(answer).encode() + b"\n"

    def _input(self, request: "dict[str, Any]") -> "dict[str, Any]":
        seq, data = request.get("seq"), request.get("data")
        if type(seq) is not int or not 0 < seq < _SEQ_LIMIT or not isinstance(data, str):
            raise RefusedError("input needs a positive whole number 'seq' and base64 'data'")
        pipe = self._run.input
        if seq <= pipe.last_seq:
            return {"duplicate": True}
        try:
            decoded = binascii.a2b_base64(data, strict_mode=True)
        except ValueError:
            raise RefusedError("'data' is not base64") from None
        if not pipe.is_open or self._run.status is not None:
            raise RefusedError("the agent takes no input any more")
        if len(pipe.buffer) + len(decoded) > INPUT_LIMIT:
            raise RefusedError(f"the agent has yet to read {len(pipe.buffer)} bytes; the buffer is full")
        pipe.add(seq, decoded)
        self._run.touch()
        self._run.pump()
        return {}

    def _close_stdin(self, _: "dict[str, Any]") -> "dict[str, Any]":
        self._run.input.closing = True
        self._run.pump()
        return {}

    def _interrupt(self, _: "dict[str, Any]") -> "dict[str, Any]":
        self._must_live()
        self._run.interrupt()
        return {}

    def _stop(self, request: "dict[str, Any]") -> "dict[str, Any]":
        grace = dict(self._run.grace)
        wanted = request.get("grace") or {}
        if not isinstance(wanted, dict):
            raise RefusedError("'grace' must be an object")
        for name in grace.keys() & wanted.keys():
            seconds = wanted[name]
            if type(seconds) not in (int, float) or not 0 <= seconds <= _GRACE_LIMIT:
                raise RefusedError(f"'{name}' must be seconds from 0 to {_GRACE_LIMIT:g}")
            grace[name] = seconds
        self._run.end("stopped", str(request.get("reason") or "")[:_DETAIL_LIMIT], grace)
        return {}

    def _kill(self, request: "dict[str, Any]") -> "dict[str, Any]":
        self._run.kill("stopped", str(request.get("reason") or "")[:_DETAIL_LIMIT])
        return {}

    def _pause(self, _: "dict[str, Any]") -> "dict[str, Any]":
        self._must_live()
        if self._run.stage != "running":
            raise RefusedError("the run is being ended")
        self._run.pause()
        return {}

    def _resume(self, _: "dict[str, Any]") -> "dict[str, Any]":
        self._run.resume()
        return {}

    def _status(self, _: "dict[str, Any]") -> "dict[str, Any]":
        run = self._run
        return {
            "state": "paused" if run.paused_at is not None else run.stage,
            "pid": run.child.pid,
            "uptime_seconds": round(time.time() - run.started, 3),
            "out_bytes": run.out.size,
            "err_bytes": run.err.size,
            "last_seq": run.input.last_seq,
            "paused": run.paused_at is not None,
            "memory_bytes": memory(run.tree()),
        }

    def _must_live(self) -> None:
        if self._run.status is not None:
            raise RefusedError("the agent has ended")
