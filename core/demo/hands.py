"""Steps of work in words of ours, and how each kind of agent is made to take them.

A script is data: for each task scenes, for each scene steps. :func:`play` makes a brain of it, which works
out from the conversation alone where the work stands, and asks for the next step by the names of the tools
that the agent at hand offers (our own agent's, or Claude Code's).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.demo.model_server import Block, Brain, Call, Request, Say, results_of, texts_of


@dataclass(frozen=True, slots=True)
class Look:
    """Read a file."""

    path: str


@dataclass(frozen=True, slots=True)
class Put:
    """Write a whole file."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Change:
    """Replace a piece of a file that stands in it exactly once."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Shell:
    """Run a command."""

    command: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the supervisor."""

    question: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fork:
    """Go one way if the last result has ``word`` in it, else the other."""

    word: str
    then: tuple["Step", ...]
    otherwise: tuple["Step", ...]


Action = Look | Put | Change | Shell | Ask
Step = Action | Fork


@dataclass(frozen=True, slots=True)
class Scene:
    """The work on one prompt.

    ``task`` stands somewhere in what people said; ``cue`` stands in the very message that begins the scene.
    ``opening`` is said before the first step, ``closing`` after the last.
    """

    task: str
    steps: tuple[Step, ...]
    closing: str
    cue: str = ""
    opening: str = ""


def play(scenes: Sequence[Scene], idle: str = "There is nothing for me to do here.") -> Brain:
    """A brain that plays the scene that fits; of several, the first. ``idle`` is what it says when none
    does.
    """

    def brain(request: Request) -> list[Block]:
        found = _scene(request, scenes) if request.tools else None
        if found is None:
            return [Say(idle)]
        scene, start = found
        results = [text for message in request.messages[start:] for text in results_of(message.get("content"))]
        action = _next(scene.steps, results)
        if action is None:
            return [Say(scene.closing)]
        call = _call(action, request)
        return [Say(scene.opening), call] if scene.opening and not results else [call]

    return brain


def _scene(request: Request, scenes: Sequence[Scene]) -> tuple[Scene, int] | None:
    """The scene of the latest message that begins one, and the place of that message."""
    said = [_said(message) if message.get("role") == "user" else "" for message in request.messages]
    everything = "\n".join(said)
    # a prompt may name other tasks too; its own comes first
    named = [(everything.index(scene.task), scene.task) for scene in scenes if scene.task in everything]
    own = [scene for scene in scenes if named and scene.task == min(named)[1]]
    for place in reversed(range(len(said))):
        for scene in own:
            if (scene.cue or scene.task) in said[place]:
                return scene, place
    return None


def _said(message: Mapping[str, Any]) -> str:
    """What a person said, without the reminders that Claude Code adds: they quote recent commits."""
    return re.sub(r"<system-reminder>.*?</system-reminder>", "", texts_of(message.get("content")), flags=re.DOTALL)


def _next(steps: Sequence[Step], results: Sequence[str]) -> Action | None:
    """The step that comes after as many results as there are, None when all are taken."""
    ahead, taken = list(steps), 0
    while ahead:
        step = ahead.pop(0)
        if isinstance(step, Fork):
            last = results[taken - 1] if taken else ""
            ahead[:0] = step.then if step.word in last else step.otherwise
        elif taken == len(results):
            return step
        else:
            taken += 1
    return None


def _call(action: Action, request: Request) -> Call:
    if "file_path" in _fields(request, "Edit"):
        return _as_claude_code(action, _folder(request))
    return _as_builtin(action)


def _as_builtin(action: Action) -> Call:
    """In the words of our own agent's tools."""
    match action:
        case Look(path):
            return Call("read", {"path": path})
        case Put(path, text):
            return Call("write", {"path": path, "text": text})
        case Change(path, old, new):
            return Call("edit", {"path": path, "old": old, "new": new})
        case Shell(command):
            return Call("run", {"command": command})
        case Ask(question, options):
            return Call("ask", {"question": question, "options": list(options)})


def _as_claude_code(action: Action, at: Callable[[str], str]) -> Call:
    """In the words of Claude Code's tools, which want absolute paths."""
    match action:
        case Look(path):
            return Call("Read", {"file_path": at(path)})
        case Put(path, text):
            return Call("Write", {"file_path": at(path), "content": text})
        case Change(path, old, new):
            return Call("Edit", {"file_path": at(path), "old_string": old, "new_string": new})
        case Shell(command):
            return Call("Bash", {"command": command, "description": "Run a command"})
        case Ask(question, options):
            choices = [{"label": option, "description": option} for option in options]
            asked = {"question": question, "header": "Decision", "options": choices, "multiSelect": False}
            return Call("AskUserQuestion", {"questions": [asked]})


def _fields(request: Request, tool: str) -> Mapping[str, Any]:
    """The fields of a tool that is offered; none when it is not."""
    for offered in request.body.get("tools") or []:
        if offered.get("name") == tool:
            return dict((offered.get("input_schema") or {}).get("properties") or {})
    return {}


def _folder(request: Request) -> Callable[[str], str]:
    """Makes a path absolute by the working directory that Claude Code tells the model."""
    told = "\n".join([request.system, *(texts_of(message.get("content")) for message in request.messages)])
    found = re.search(r"^\W*(?:Primary w|W)orking directory: (.+)$", told, re.MULTILINE)
    folder = found[1].strip() if found else "."
    return lambda path: f"{folder}/{path}"
