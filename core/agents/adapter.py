"""What the engine knows of an agent program: how to start it, what to tell it, and how to read what it says.

An adapter is declared in TOML (:mod:`core.agents.declaration`) and speaks one dialect, a small module with
a parser: ``command`` (:mod:`core.agents.command`) or ``claude-code`` (:mod:`core.agents.claude_code`). The
engine holds on to the types of this module alone.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from config.paths import Paths
from core.events import Event


@dataclass(frozen=True, slots=True)
class Job:
    """What a run is told."""

    run_id: str
    task_number: int
    title: str
    prompt: str
    prompt_file: Path
    context_file: Path
    worktree: Path
    branch: str
    base_commit: str
    project: str
    attempt: int
    model: str | None = None
    command: str | None = None
    session: str | None = None
    """The session of an earlier attempt, or of a run that crashed, in the same worktree: to be taken up
    again.
    """
    tools: bool = False
    """Whether the crew's tools are served to this run, by ``QD_MCP_URL`` and ``QD_RUN_TOKEN`` in its environment."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How a program is started: ``env`` is added to what the engine gives, ``opening`` goes to its stdin
    first.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    opening: bytes
    stdin_open: bool
    """Whether stdin stays open after the opening, for messages and answers."""
    session: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the program ended, by its own account. Whether the work is done, the gates decide."""

    ok: bool
    reason: str
    session: str | None
    denials: tuple[str, ...] = ()


class Parser(Protocol):
    """Turns one run's stdout into events.

    Deterministic: after a crash it is fed the spool again from its start.
    """

    def feed(self, line: bytes) -> list[Event]:
        """The events of one line, without its newline; any bytes."""

    def oversized(self, prefix: bytes, length: int) -> list[Event]:
        """The events of a line of ``length`` bytes that is too long to be fed; ``prefix`` is how it begins."""

    def close(self, exit_code: int | None, signal: int | None) -> Verdict:
        """The verdict, once the program has ended."""


class Dialect(Protocol):
    """What an agent program reads and prints."""

    def parser(self) -> Parser:
        """A parser for one run."""

    def opening(self, job: Job) -> bytes:
        """What goes to stdin before anything else."""

    def message(self, text: str) -> bytes:
        """A person's message, as it goes to stdin."""

    def answer(self, ref: str, question: Mapping[str, Any], text: str, decision: str | None) -> bytes:
        """An answered question, as it goes to stdin; ``question`` is the data of its event."""

    def interrupt(self) -> bytes | None:
        """What on stdin ends the present turn; None when a SIGINT must do."""


@dataclass(frozen=True, slots=True)
class Check:
    """What `qd doctor` says of an adapter."""

    name: str
    found: Path | None
    version: str | None
    ok: bool
    detail: str


class Adapter(Protocol):
    """One kind of agent."""

    @property
    def name(self) -> str:
        """Its name, as agents refer to it."""

    @property
    def title(self) -> str:
        """Its name for people."""

    @property
    def capabilities(self) -> frozenset[str]:
        """Any of ``questions, permissions, messages, resume, usage``."""

    @property
    def runs_any_command(self) -> bool:
        """Whether the agent's own command is what it runs: such an agent must have one."""

    def launch(self, job: Job) -> Launch:
        """How the program is started for this job. Raises UsageError or UnavailableError with the remedy."""

    def parser(self) -> Parser:
        """A parser for one run."""

    def message(self, text: str) -> bytes:
        """A person's message, as it goes to stdin."""

    def answer(self, ref: str, question: Mapping[str, Any], text: str, decision: str | None) -> bytes:
        """An answered question (``decision`` allow, deny, always or None), as it goes to stdin."""

    def interrupt(self) -> bytes | None:
        """What on stdin ends the present turn; None when a SIGINT must do."""

    def find(self, environ: Mapping[str, str]) -> Path | None:
        """Where the program is, or None when it is not installed."""

    def state_of(self, worktree: Path) -> Path:
        """Where the program keeps its own state (sessions) for a worktree; to be removed with it."""

    async def check(self, environ: Mapping[str, str]) -> Check:
        """A real run of the program against a scripted model, in a temporary folder, within 30 seconds."""


def load_adapter(name: str, paths: Paths, environ: Mapping[str, str] = os.environ) -> Adapter:
    """The adapter of this name, the person's own before the ones of the package.

    Raises NotFoundError, UsageError.
    """
    from core.agents.declaration import load_declaration
    from core.agents.declared import DeclaredAdapter

    return DeclaredAdapter(load_declaration(name, paths), paths, environ)


def adapters(paths: Paths, environ: Mapping[str, str] = os.environ) -> list[Adapter]:
    """Every adapter that is declared, by name. Raises UsageError when a declaration is wrong."""
    from core.agents.declaration import load_declarations
    from core.agents.declared import DeclaredAdapter

    return [DeclaredAdapter(declaration, paths, environ) for declaration in load_declarations(paths)]
