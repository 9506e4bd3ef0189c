"""Events: what happened in a run, one line each.

An adapter turns the stream of its program into these; the engine numbers and stores them; screens show them.
The names of the kinds are part of the public interface.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class EventKind(StrEnum):
    """The kinds that scripts and screens rely on."""

    STATUS = "status"
    MESSAGE = "message"
    THINKING = "thinking"
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"
    EDIT = "edit"
    USAGE = "usage"
    QUESTION = "question"
    ANSWER = "answer"
    VERIFY = "verify"
    ERROR = "error"
    OUTPUT = "output"
    """A line that the adapter does not know."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, before it has a number.

    ``text`` is for people, one line or many, never containing NUL; ``data`` is for programs and JSON-compatible.
    """

    kind: EventKind
    text: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
