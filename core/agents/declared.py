"""The adapter that a declaration makes: placeholders filled in, the program found, the dialect spoken."""

import asyncio
import hashlib
import importlib.util
import os
import shlex
import shutil
import sys
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from config.errors import QuarterdeckError, UnavailableError, UsageError
from config.paths import Paths
from core.agents.adapter import Check, Dialect, Job, Launch, Parser
from core.agents.claude_code import ClaudeCodeDialect
from core.agents.command import CommandDialect
from core.agents.declaration import PLACEHOLDER, Declaration
from core.agents.text import first_line

DIALECTS: dict[str, type[Dialect]] = {"command": CommandDialect, "claude-code": ClaudeCodeDialect}

VERSION_SECONDS = 10.0
"""How long a program may take to say its version."""


class DeclaredAdapter:
    """An adapter by its declaration.

    Args:
        declaration: what its file says.
        paths: the installation's folders; a program's own state lies below ``paths.state``.
        environ: where the PATH is looked up; nothing else of it goes to a program.
    """

    def __init__(self, declaration: Declaration, paths: Paths, environ: Mapping[str, str]) -> None:
        self.declaration = declaration
        self._paths = paths
        self._environ = environ
        self._dialect = DIALECTS[declaration.dialect]()

    @property
    def name(self) -> str:
        """Its name, as agents refer to it."""
        return self.declaration.name

    @property
    def title(self) -> str:
        """Its name for people."""
        return self.declaration.title

    @property
    def capabilities(self) -> frozenset[str]:
        """What it can do beyond running."""
        return self.declaration.capabilities

    @property
    def runs_any_command(self) -> bool:
        """Whether the agent's own command is what it runs."""
        return "{command}" in self.declaration.argv

    def launch(self, job: Job) -> Launch:
        """How the program is started for this job.

        Raises:
            UsageError: the agent's command is missing or cannot be split.
            UnavailableError: the program is not installed.
        """
        declared = self.declaration
        resumed = bool(job.session and declared.resume)
        session = job.session if resumed else (_session_of(job) if declared.start else None)
        values = self._values(job, session)
        argv = list(declared.argv)
        argv += declared.model if values["model"] else ()
        argv += declared.tools if job.tools else ()
        argv += declared.resume if resumed else declared.start
        return Launch(
            argv=tuple(word for part in argv for word in self._fill(part, values, job)),
            env={name: PLACEHOLDER.sub(lambda match: values[match[1]], text) for name, text in declared.env.items()},
            opening=self._dialect.opening(job),
            stdin_open=declared.stdin == "open",
            session=session,
        )

    def parser(self) -> Parser:
        """A parser for one run."""
        return self._dialect.parser()

    def message(self, text: str) -> bytes:
        """A person's message, as it goes to stdin."""
        return self._dialect.message(text)

    def answer(self, ref: str, question: Mapping[str, Any], text: str, decision: str | None) -> bytes:
        """An answered question, as it goes to stdin."""
        return self._dialect.answer(ref, question, text, decision)

    def interrupt(self) -> bytes | None:
        """What on stdin ends the present turn; None when a SIGINT must do."""
        return self._dialect.interrupt()

    def find(self, environ: Mapping[str, str]) -> Path | None:
        """The program: on the PATH or in the wheel that carries it; this Python where none is declared."""
        declared = self.declaration
        if declared.program in ("", "{python}"):
            return Path(sys.executable)
        found = shutil.which(declared.program, path=environ.get("PATH", os.defpath))
        return Path(found) if found else _bundled(declared.bundled)

    async def check(self, environ: Mapping[str, str]) -> Check:
        """A real run of the program against a scripted model, in a temporary folder, within 30 seconds."""
        from core.agents.conformance import conform

        found = self.find(environ)
        if found is None:
            missing = f"{self.declaration.program} is not on the PATH"
            return Check(self.name, found=None, version=None, ok=False, detail=missing)
        version = await self._version(found)
        with tempfile.TemporaryDirectory(prefix="qd-check-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            own = Paths(config=folder / "config", state=folder / "state", database=folder / "database")
            try:
                detail = await conform(DeclaredAdapter(self.declaration, own, environ), folder, environ)
            except QuarterdeckError as error:
                return Check(self.name, found, version, ok=False, detail=error.sentence())
        return Check(self.name, found, version, ok=True, detail=detail)

    def state_of(self, worktree: Path) -> Path:
        """Where the program keeps its own state (sessions) for a worktree; to be removed with it."""
        digest = hashlib.sha256(os.fsencode(worktree)).hexdigest()[:16]
        return self._paths.state / "sessions" / self.name / digest

    def _values(self, job: Job, session: str | None) -> dict[str, str]:
        return {
            "python": sys.executable,
            "program": self._program(job),
            "model": job.model or self.declaration.default_model,
            "session": session or "",
            "prompt": job.prompt,
            "prompt_file": str(job.prompt_file),
            "context_file": str(job.context_file),
            "worktree": str(job.worktree),
            "branch": job.branch,
            "state": str(self.state_of(job.worktree)),
            "command": job.command or "",
        }

    def _program(self, job: Job) -> str:
        """The path of the program; an agent's own command takes its place where one is given."""
        if self.runs_any_command:
            return ""
        if job.command:
            return job.command
        found = self.find(self._environ)
        if found is None:
            wheel = self.declaration.bundled.split("/")[0].replace("_", "-")
            raise UnavailableError(
                f"the program {self.declaration.program} of adapter {self.name} is not installed",
                f"put it on the PATH or install {wheel}" if wheel else "put it on the PATH",
            )
        return str(found)

    def _fill(self, part: str, values: Mapping[str, str], job: Job) -> list[str]:
        """One element of argv with its placeholders filled in; ``{command}`` becomes as many as it has
        words.
        """
        if part == "{command}" or (part == "{program}" and job.command):
            return _split(job.command)
        return [PLACEHOLDER.sub(lambda match: values[match[1]], part)]

    async def _version(self, program: Path) -> str | None:
        """The first line of what the version command prints, or None."""
        values = {"program": str(program), "python": sys.executable}
        argv = [PLACEHOLDER.sub(lambda match: values.get(match[1], ""), part) for part in self.declaration.version]
        if not argv:
            return None
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except OSError:
            return None
        try:
            output, _ = await asyncio.wait_for(process.communicate(), VERSION_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
            return None
        return first_line(output.decode("utf-8", "replace")) or None


def _session_of(job: Job) -> str:
    """A session name of the run's own: a UUID, which is what programs ask for, that follows from the run's
    id.
    """
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"quarterdeck run {job.run_id}"))


def _split(command: str | None) -> list[str]:
    try:
        words = shlex.split(command or "")
    except ValueError as error:
        raise UsageError(
            f"the command {command!r} cannot be split like a shell does: {error}", "close its quotes"
        ) from error
    if not words:
        raise UsageError("the agent has no command", "give it one with --command")
    return words


def _bundled(where: str) -> Path | None:
    """The program that a wheel carries (``package/path/in/it``), found without importing the package."""
    package, _, inner = where.partition("/")
    spec = importlib.util.find_spec(package) if package else None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / inner
        if path.is_file() and os.access(path, os.X_OK):
            return path
    return None
