"""Rules of what is allowed for good: the name of a tool, alone or with how its shell command begins.

    Edit                  every use of the tool
    Bash: git push        this command and whatever arguments follow
    Bash = make && ls     this very text

A rule never reaches further than one plain command: text in which a shell would find a second one is allowed word for word or not at all.
"""

import shlex
from collections.abc import Mapping
from typing import Any

_WITH_VERBS = frozenset(["git", "make", "npm", "pnpm", "yarn", "cargo", "go", "uv", "pip"])
"""Programs whose first argument says what they do: options in its place can turn them into anything."""

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-./:=@%+,'\"")
"""Characters with which no shell begins another command, expands anything or writes anywhere."""

_SHELLS = frozenset(["sh", "bash", "dash", "zsh", "fish", "ksh", "env", "sudo", "doas", "su", "xargs", "eval", "exec"])
_STARTERS = frozenset(["command", "nohup", "nice", "time", "timeout", "setsid", "ssh", "docker", "podman", "kubectl"])
_LANGUAGES = frozenset(
    ["python", "python3", "perl", "ruby", "node", "deno", "bun", "php", "awk", "gawk", "sed", "npx", "uvx"]
)
_TOUCHY = frozenset(["find", "rm", "dd", "mv", "chmod", "chown", "curl", "wget", "pipx"])
_ANYTHING = _SHELLS | _STARTERS | _LANGUAGES | _TOUCHY
"""Programs that can be told to do anything, or whose arguments make all the difference: allowed word for word only."""


def rule_for(asked: Mapping[str, Any]) -> str | None:
    """The rule that a person means who always allows this; None when the question names no tool."""
    tool = _tool(asked)
    command = _command(asked)
    if not tool or command is None:
        return tool or None
    words = _words(command)
    if words is None or "=" in words[0] or _program(words) in _ANYTHING:
        return f"{tool} = {command}"
    has_verb = len(words) > 1 and words[1].replace("-", "_").isidentifier() and not words[1].startswith("-")
    if not has_verb and _program(words) in _WITH_VERBS:
        return f"{tool} = {command}"
    return f"{tool}: {shlex.join(words[: 1 + has_verb])}"


def allows(rule: str, asked: Mapping[str, Any]) -> bool:
    """Whether a rule covers what is asked."""
    tool, command = _tool(asked), _command(asked)
    if not tool:
        return False
    if command is None:
        return rule == tool
    if rule == f"{tool} = {command}":
        return True
    beginning = rule.removeprefix(f"{tool}: ")
    words = _words(command)
    if beginning == rule or words is None:
        return False
    kept = shlex.split(beginning)
    return words[: len(kept)] == kept


def _tool(asked: Mapping[str, Any]) -> str:
    tool = asked.get("tool")
    return tool.strip() if isinstance(tool, str) else ""


def _command(asked: Mapping[str, Any]) -> str | None:
    given = asked.get("input")
    command = given.get("command") if isinstance(given, Mapping) else None
    return command if isinstance(command, str) else None


def _program(words: list[str]) -> str:
    return words[0].rsplit("/", 1)[-1]


def _words(command: str) -> list[str] | None:
    """The words of one plain command; None when it is more than that."""
    if not _PLAIN.issuperset(command):
        return None
    try:
        return shlex.split(command) or None
    except ValueError:
        return None
