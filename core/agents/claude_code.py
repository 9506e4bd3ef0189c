"""The dialect of Claude Code: ``stream-json`` both ways, with permission requests over the control protocol.

The format is written down nowhere in full; it was read off the program itself (2.1.x), and the transcripts
in ``tests/agents/golden`` hold it. What matters of it:

- ``assistant`` lines hold one finished block each; their ``usage`` is the opening snapshot, repeated. What
  a message cost is in the last ``message_delta`` among its ``stream_event`` lines, which come with
  ``--include-partial-messages``.
- ``control_request`` with ``can_use_tool`` waits for a ``control_response`` of the same ``request_id``.
  ``AskUserQuestion`` comes that way too.
- ``result`` ends a turn, not the program: the program ends when its stdin is closed. A result is judged by
  ``is_error`` alone (``subtype`` may say success all the same). ``total_cost_usd`` may count a resumed
  session's past, so no cost is taken from it.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from core.agents.adapter import Job, Parser, Verdict
from core.agents.command import ending_words
from core.agents.text import clean, clipped, event, first_line, oversized_event, parse_object
from core.agents.usage import anthropic_tokens, token_count
from core.events import Event, EventKind

ASKING = "AskUserQuestion"
EDITING = {"Edit": "file_path", "Write": "file_path", "MultiEdit": "file_path", "NotebookEdit": "notebook_path"}
"""The tools that change a file, and where they name it."""

TELLING = ("command", "file_path", "notebook_path", "pattern", "path", "url", "query", "description", "prompt")
"""The fields of a tool's input that say best what it is about, best first."""

QUIET = frozenset({"status", "thinking_tokens", "hook_started", "hook_progress", "hook_response"})
"""Kinds of system line that say nothing to a person."""

DENIED = "The supervisor did not allow this."


class ClaudeCodeDialect:
    """What Claude Code reads and prints."""

    def parser(self) -> Parser:
        """A parser for one run."""
        return ClaudeCodeParser()

    def opening(self, job: Job) -> bytes:
        """The prompt is the first message."""
        return self.message(job.prompt)

    def message(self, text: str) -> bytes:
        """A user's message: it joins the present turn, or begins the next."""
        content = [{"type": "text", "text": clean(text)}]
        return _line(
            {
                "type": "user",
                "session_id": "",
                "parent_tool_use_id": None,
                "message": {"role": "user", "content": content},
            }
        )

    def answer(self, ref: str, question: Mapping[str, Any], text: str, decision: str | None) -> bytes:
        """The response to the control request ``ref``."""
        given = question.get("input")
        asked = dict(given) if isinstance(given, Mapping) else {}
        if decision == "deny":
            response: dict[str, Any] = {"behavior": "deny", "message": clean(text) or DENIED}
        elif question.get("tool") == ASKING:
            response = {"behavior": "allow", "updatedInput": {**asked, "answers": _answers(asked, clean(text))}}
        else:
            response = {"behavior": "allow", "updatedInput": asked}
            if decision == "always":
                response["updatedPermissions"] = _for_this_session(question.get("suggestions"))
        return _line(
            {"type": "control_response", "response": {"subtype": "success", "request_id": ref, "response": response}}
        )

    def interrupt(self) -> bytes | None:
        """A control request that ends the turn and leaves the program alive."""
        return _line({"type": "control_request", "request_id": "interrupt", "request": {"subtype": "interrupt"}})


class ClaudeCodeParser:
    """Reads the stdout of one run."""

    def __init__(self) -> None:
        self._session: str | None = None
        self._cwd: PurePosixPath | None = None
        self._calls: dict[str, tuple[str, dict[str, Any]]] = {}
        """Tool calls that have no result yet, by id."""
        self._meter = _Meter()
        self._result: dict[str, Any] | None = None
        self._error = ""
        self._denials: list[str] = []
        self._readers: dict[str, Callable[[dict[str, Any]], list[Event]]] = {
            "system": self._system,
            "assistant": self._assistant,
            "user": self._user,
            "stream_event": self._stream_event,
            "control_request": self._control_request,
            "control_cancel_request": self._control_cancel,
            "rate_limit_event": self._rate_limit,
            "result": self._ended,
            "control_response": lambda _: [],
            "keep_alive": lambda _: [],
        }

    def feed(self, line: bytes) -> list[Event]:
        """The events of one line; a line that is not of the stream's kinds is an output event."""
        found = parse_object(line)
        reader = self._readers.get(str(found.get("type"))) if found is not None else None
        if found is None or reader is None:
            return [event(EventKind.OUTPUT, line)] if line.strip() else []
        return reader(found)

    def oversized(self, prefix: bytes, length: int) -> list[Event]:
        """An output event with how the line begins."""
        return [oversized_event(prefix, length)]

    def close(self, exit_code: int | None, signal: int | None) -> Verdict:
        """By the last result's ``is_error``; a program that ended with no result did not finish."""
        denials = tuple(self._denials)
        if self._result is None:
            ending = ending_words(exit_code, signal)
            detail = f"no result: {ending}; {self._error}" if self._error else f"no result: {ending}"
            return Verdict(ok=False, reason=detail, session=self._session, denials=denials)
        if self._result.get("is_error") is not False:
            reason = self._error or "the program reported an error"
            return Verdict(ok=False, reason=reason, session=self._session, denials=denials)
        return Verdict(ok=True, reason="", session=self._session, denials=denials)

    def _system(self, found: dict[str, Any]) -> list[Event]:
        subtype = str(found.get("subtype"))
        if subtype in QUIET:
            return []
        if subtype == "init":
            self._session = _string(found, "session_id") or self._session
            self._cwd = PurePosixPath(_string(found, "cwd")) if _string(found, "cwd") else None
            model, version = _string(found, "model"), _string(found, "claude_code_version")
            text = f"Claude Code {version} with {model}".strip()
            return [event(EventKind.STATUS, text, {"session": self._session, "model": model, "version": version})]
        if subtype == "api_retry":
            text = f"the model's provider answered {found.get('error_status')} ({found.get('error')}); trying again"
            return [
                event(EventKind.STATUS, text, {"retry": token_count(found.get("attempt")), "error": found.get("error")})
            ]
        return [event(EventKind.STATUS, subtype.replace("_", " "), {"system": clipped(found, 500)})]

    def _assistant(self, found: dict[str, Any]) -> list[Event]:
        message = _mapping(found, "message")
        self._meter.snapshot(message)
        blocks = _blocks(message)
        if found.get("error"):
            self._error = first_line(clean(_texts(blocks)))
            return [event(EventKind.ERROR, _texts(blocks), {"error": found.get("api_error_type") or found["error"]})]
        beneath = {"parent": found["parent_tool_use_id"]} if found.get("parent_tool_use_id") else {}
        return [made for block in blocks for made in self._block(block, beneath)]

    def _block(self, block: Mapping[str, Any], beneath: Mapping[str, Any]) -> list[Event]:
        match block.get("type"):
            case "text":
                return [event(EventKind.MESSAGE, _string(block, "text"), beneath)]
            case "thinking":
                return [event(EventKind.THINKING, _string(block, "thinking"), beneath)] if block.get("thinking") else []
            case "tool_use":
                name, given = _string(block, "name"), _mapping(block, "input")
                self._calls[_string(block, "id")] = (name, given)
                data = {"id": block.get("id"), "tool": name, "input": clipped(given), **beneath}
                return [event(EventKind.TOOL_CALL, self._call_text(name, given), data)]
        return []

    def _user(self, found: dict[str, Any]) -> list[Event]:
        return [
            made
            for block in _blocks(_mapping(found, "message"))
            if block.get("type") == "tool_result"
            for made in self._done(block)
        ]

    def _done(self, block: Mapping[str, Any]) -> list[Event]:
        """A tool's result, and the edit that it stands for."""
        ref, failed = _string(block, "tool_use_id"), block.get("is_error") is True
        name, given = self._calls.pop(ref, ("", {}))
        content = block.get("content")
        text = content if isinstance(content, str) else _texts(_blocks(block))
        events = [event(EventKind.TOOL_RESULT, text, {"id": ref, "tool": name, "error": failed})]
        if name in EDITING and not failed:
            path = self._relative(_string(given, EDITING[name]))
            events.append(event(EventKind.EDIT, path, {"path": path, "tool": name}))
        return events

    def _stream_event(self, found: dict[str, Any]) -> list[Event]:
        return self._meter.count(_mapping(found, "event"))

    def _control_request(self, found: dict[str, Any]) -> list[Event]:
        request, ref = _mapping(found, "request"), _string(found, "request_id")
        if request.get("subtype") != "can_use_tool" or not ref:
            return [event(EventKind.OUTPUT, json.dumps(clipped(found, 500)))]
        tool, given = _string(request, "tool_name"), _mapping(request, "input")
        data = {"id": ref, "tool": tool, "input": given, "suggestions": request.get("permission_suggestions") or []}
        if tool == ASKING:
            text, options = _asked(given)
            return [event(EventKind.QUESTION, text, {**data, "kind": "question", "options": options})]
        reason = _string(request, "decision_reason")
        call = self._call_text(tool, given) + _beyond(self._told(given))
        text = f"{call}\n{reason}" if reason else call
        return [event(EventKind.QUESTION, text, {**data, "kind": "permission", "options": ["allow", "deny", "always"]})]

    def _control_cancel(self, found: dict[str, Any]) -> list[Event]:
        ref = _string(found, "request_id")
        return [event(EventKind.STATUS, "the question is withdrawn", {"withdrawn": ref})] if ref else []

    def _rate_limit(self, found: dict[str, Any]) -> list[Event]:
        info = _mapping(found, "rate_limit_info")
        return [event(EventKind.STATUS, f"rate limit: {info.get('status')}", {"rate_limit": clipped(info, 500)})]

    def _ended(self, found: dict[str, Any]) -> list[Event]:
        """The end of a turn; the program goes on if messages wait."""
        self._result = found
        self._session = _string(found, "session_id") or self._session
        failed = found.get("is_error") is not False
        events = self._meter.rest()
        for denial in _list(found, "permission_denials"):
            tool, given = _string(denial, "tool_name"), _mapping(denial, "tool_input")
            self._denials.append(first_line(clean(self._call_text(tool, given))))
        if failed:
            told, self._error = self._error, _failure(found)
            kind = found.get("api_error_type") or found.get("terminal_reason") or found.get("subtype")
            if told != self._error:
                events.append(event(EventKind.ERROR, self._error, {"error": kind}))
        more = bool(token_count(found.get("queued_turn_count")))
        data = {
            "session": self._session,
            "turns": token_count(found.get("num_turns")),
            **({} if more else {"final": True}),
        }
        return [
            *events,
            event(EventKind.STATUS, "the turn ended with an error" if failed else "the turn is done", data),
        ]

    def _call_text(self, tool: str, given: Mapping[str, Any]) -> str:
        """A tool call in one line: the tool, and the field of its input that says most."""
        return f"{tool} {first_line(self._relative(self._told(given)))}".strip()

    def _told(self, given: Mapping[str, Any]) -> str:
        return next((given[key] for key in TELLING if isinstance(given.get(key), str)), "")

    def _relative(self, path: str) -> str:
        """A path inside the worktree without the worktree's own."""
        if self._cwd is None or not path.startswith(f"{self._cwd}/"):
            return path
        return path[len(str(self._cwd)) + 1 :]


def _beyond(text: str) -> str:
    """That a text has more lines than the one that is shown, as a mark: who gives leave must know that this is not all."""
    more = len(text.strip().splitlines()) - 1
    return f" … (+{more} line{'s' if more > 1 else ''})" if more > 0 else ""


class _Meter:
    """Makes increments of the cumulative usage that the stream tells per message."""

    def __init__(self) -> None:
        self._model: dict[str, str] = {}
        self._known: dict[str, dict[str, int]] = {}
        """What is known to be used, by message."""
        self._told: dict[str, dict[str, int]] = {}
        """What has become a usage event, by message."""
        self._current = ""

    def snapshot(self, message: Mapping[str, Any]) -> None:
        """The opening usage of a message, which is all there is when its stream is cut off or not shown."""
        ref = _string(message, "id")
        if ref and ref not in self._known and isinstance(message.get("usage"), Mapping):
            self._known[ref] = anthropic_tokens(message["usage"])
            self._model[ref] = _string(message, "model")

    def count(self, streamed: Mapping[str, Any]) -> list[Event]:
        """The usage that this event of a message's stream adds."""
        match streamed.get("type"):
            case "message_start":
                message = _mapping(streamed, "message")
                self._current = _string(message, "id")
                self.snapshot(message)
            case "message_delta" if self._current in self._known and isinstance(streamed.get("usage"), Mapping):
                # a class that the delta leaves out stays as it was; what it tells is the message's total so far
                newer = anthropic_tokens(streamed["usage"])
                known = self._known[self._current]
                self._known[self._current] = {name: max(known[name], newer[name]) for name in known}
                return self._increment(self._current)
        return []

    def rest(self) -> list[Event]:
        """What is known and has not been told: messages that were cut off."""
        return [made for ref in list(self._known) for made in self._increment(ref)]

    def _increment(self, ref: str) -> list[Event]:
        known, told = self._known[ref], self._told.get(ref, {})
        added = {name: count - told.get(name, 0) for name, count in known.items()}
        if not any(added.values()):
            return []
        self._told[ref] = dict(known)
        data = {"model": self._model.get(ref, ""), "tokens": added, "message_id": ref}
        return [event(EventKind.USAGE, "", data)]


def _failure(found: Mapping[str, Any]) -> str:
    """Why a turn failed, in one line."""
    if _string(found, "terminal_reason").startswith("aborted"):
        return "the turn was interrupted"
    errors = found.get("errors")
    faults = [item for item in errors if isinstance(item, str)] if isinstance(errors, list) else []
    return first_line(clean(_string(found, "result") or "; ".join(faults) or _string(found, "subtype")))


def _asked(given: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The questions of an AskUserQuestion as one text, and the options where there is one question."""
    questions = _list(given, "questions")
    lines = []
    for question in questions:
        lines.append(_string(question, "question"))
        if len(questions) > 1:
            lines.append(f"  ({' / '.join(_labels(question))}) — one line of answer for each question")
    return "\n".join(lines), _labels(questions[0]) if len(questions) == 1 else []


def _labels(question: Mapping[str, Any]) -> list[str]:
    return [_string(option, "label") for option in _list(question, "options")]


def _answers(given: Mapping[str, Any], text: str) -> dict[str, str]:
    """One answer per question: line by line where there are as many lines, else the whole text for each."""
    questions = [_string(question, "question") for question in _list(given, "questions")]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) != len(questions):
        lines = [text] * len(questions)
    return dict(zip(questions, lines, strict=True))


def _for_this_session(suggestions: Any) -> list[dict[str, Any]]:
    """The program's own suggestions for a standing permission, kept to the session: no file is written."""
    given = suggestions if isinstance(suggestions, list) else []
    return [{**item, "destination": "session"} for item in given if isinstance(item, Mapping)]


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _string(found: Mapping[str, Any], key: str) -> str:
    value = found.get(key)
    return value if isinstance(value, str) else ""


def _mapping(found: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = found.get(key)
    return value if isinstance(value, dict) else {}


def _list(found: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    value = found.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _blocks(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The content of a message as blocks."""
    content = message.get("content")
    return [{"type": "text", "text": content}] if isinstance(content, str) else _list(message, "content")


def _texts(blocks: list[dict[str, Any]]) -> str:
    return "\n".join(_string(block, "text") for block in blocks if block.get("type") == "text")
