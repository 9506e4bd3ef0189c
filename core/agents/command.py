"""The dialect ``command``: any program, events as JSON lines on stdout, answers and messages as JSON lines on stdin.

A line that is a JSON object with one of our kinds is that event, if its parts are what they must be; every
other line is an output event. Nothing that a program prints can be an error of ours.
"""

import json
import signal as signals
from collections.abc import Mapping
from typing import Any

from core.agents.adapter import Job, Parser, Verdict
from core.agents.text import clean, event, first_line, oversized_event, parse_object
from core.agents.usage import usage_fault
from core.events import Event, EventKind

KINDS = frozenset(kind.value for kind in EventKind)

REF_LIMIT = 200
"""Characters of a question's id."""


class CommandDialect:
    """What any program may speak."""

    def parser(self) -> Parser:
        """A parser for one run."""
        return CommandParser()

    def opening(self, job: Job) -> bytes:  # noqa: ARG002
        """Nothing: the program finds its prompt in ``QD_PROMPT_FILE``."""
        return b""

    def message(self, text: str) -> bytes:
        """A person's message."""
        return _line({"kind": "message", "text": text})

    def answer(  # the question itself is not needed, its id is all there is to say
        self,
        ref: str,
        question: Mapping[str, Any],  # noqa: ARG002
        text: str,
        decision: str | None,
    ) -> bytes:
        """The answer to the question ``ref``; the decision stands beside it where there is one."""
        data = {"id": ref} if decision is None else {"id": ref, "decision": decision}
        return _line({"kind": "answer", "text": text or (decision or ""), "data": data})

    def interrupt(self) -> bytes | None:
        """A SIGINT must do."""
        return None


class CommandParser:
    """Reads the stdout of one run."""

    def __init__(self) -> None:
        self._questions = 0
        self._session: str | None = None
        self._error = ""

    def feed(self, line: bytes) -> list[Event]:
        """The one event that the line is."""
        found = parse_object(line)
        known = _event_of(found) if found is not None else None
        if known is None:
            return [event(EventKind.OUTPUT, line)]
        if known.kind is EventKind.USAGE and (fault := usage_fault((found or {}).get("data") or {})):
            return [event(EventKind.OUTPUT, line, {"note": f"not counted: {fault}"})]
        if known.kind is EventKind.QUESTION:
            return [self._question(known)]
        if known.kind is EventKind.STATUS and isinstance(known.data.get("session"), str):
            self._session = known.data["session"]
        if known.kind is EventKind.ERROR:
            self._error = first_line(known.text)
        return [known]

    def oversized(self, prefix: bytes, length: int) -> list[Event]:
        """An output event with how the line begins."""
        return [oversized_event(prefix, length)]

    def close(self, exit_code: int | None, signal: int | None) -> Verdict:
        """Exit 0 means that the program believes to be done."""
        if exit_code == 0:
            return Verdict(ok=True, reason="", session=self._session)
        ending = ending_words(exit_code, signal)
        return Verdict(ok=False, reason=f"{ending}: {self._error}" if self._error else ending, session=self._session)

    def _question(self, asked: Event) -> Event:
        """The question with an id, a kind and options that can be relied on."""
        self._questions += 1
        ref, kind, options = asked.data.get("id"), asked.data.get("kind"), asked.data.get("options")
        usable = isinstance(ref, str | int) and not isinstance(ref, bool) and str(ref) != ""
        return Event(
            asked.kind,
            asked.text,
            {
                **asked.data,
                "id": str(ref)[:REF_LIMIT] if usable else f"question-{self._questions}",
                "kind": kind if kind in ("question", "permission") else "question",
                "options": [item for item in options if isinstance(item, str)] if isinstance(options, list) else [],
            },
        )


def ending_words(exit_code: int | None, signal: int | None) -> str:
    """How a process ended, in words."""
    if signal is not None:
        try:
            return f"ended by {signals.Signals(signal).name}"
        except ValueError:
            return f"ended by signal {signal}"
    return "ended in an unknown way" if exit_code is None else f"exit code {exit_code}"


def _event_of(found: Mapping[str, Any]) -> Event | None:
    """The object as an event, or None when its kind is unknown or one of its parts has the wrong type."""
    kind, text, data = found.get("kind"), found.get("text"), found.get("data")
    if not isinstance(kind, str) or kind not in KINDS:
        return None
    if not isinstance(text, str | None) or not isinstance(data, dict | None):
        return None
    return event(EventKind(kind), text or "", data)


def _line(value: Mapping[str, Any]) -> bytes:
    """One line of JSON in ASCII, so that no separator of lines that a reader may know of is in it."""
    return (
        json.dumps({key: clean(item) if isinstance(item, str) else item for key, item in value.items()}).encode()
        + b"\n"
    )
