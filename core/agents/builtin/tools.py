"""What the model may do: seven tools, all of them bounded, all of them inside the worktree; and the crew's."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from core.agents.builtin.crew import CrewError, CrewTools
from core.agents.builtin.files import RefusedError, Worktree
from core.agents.builtin.shell import run_command
from core.agents.builtin.talk import Supervisor

SEARCH_SECONDS = 20.0
RUN_SECONDS, RUN_SECONDS_LIMIT = 120.0, 1200.0
LIST_LIMIT = 500
"""Files that one listing shows."""
READ_LINES = 2000
"""Lines that one reading shows."""
OUTPUT_LIMIT = 60_000
"""Characters of one tool's result."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a tool says to the model."""

    text: str
    failed: bool = False


class Tools:
    """The tools of one run.

    Args:
        worktree: where files are.
        supervisor: who is asked, and who is told of edits.
        environ: what commands find in their environment, less the keys.
        crew: the crew's tools, where they are served.
    """

    def __init__(
        self, worktree: Worktree, supervisor: Supervisor, environ: Mapping[str, str], crew: CrewTools | None = None
    ) -> None:
        self._worktree = worktree
        self._supervisor = supervisor
        self._environ = environ
        self._crew = crew
        self._table: dict[str, Callable[[_Input], Awaitable[str]]] = {
            "list": self._list,
            "search": self._search,
            "read": self._read,
            "write": self._write,
            "edit": self._edit,
            "run": self._run,
            "ask": self._ask,
        }

    @property
    def offered(self) -> list[dict[str, Any]]:
        """The tools as the Messages API takes them."""
        return OFFERED + (self._crew.offered if self._crew else [])

    async def use(self, name: str, given: Mapping[str, Any]) -> Result:
        """Use a tool; whatever goes wrong in it is for the model to read."""
        tool = self._table.get(name)
        if tool is None and self._crew and name in self._crew.names:
            try:
                return Result(*await self._crew.use(name, given))
            except CrewError as error:
                return Result(str(error), failed=True)
        if tool is None:
            return Result(f"there is no tool {name!r}", failed=True)
        try:
            text = await tool(_Input(given))
        except (RefusedError, OSError) as error:
            return Result(str(error), failed=True)
        left = len(text) - OUTPUT_LIMIT
        return Result(text if left <= 0 else f"{text[:OUTPUT_LIMIT]}\n… ({left} characters left out)")

    async def _list(self, given: "_Input") -> str:
        found = [path for path, _ in islice(self._worktree.files(given.text("path", "")), LIST_LIMIT + 1)]
        more = [f"… (more than {LIST_LIMIT} files; list a folder)"] if len(found) > LIST_LIMIT else []
        return "\n".join([*found[:LIST_LIMIT], *more]) or "no files"

    async def _search(self, given: "_Input") -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "core.agents.builtin.searching"),
            *(str(self._worktree.root), given.text("path", ""), given.text("pattern")),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            output, fault = await asyncio.wait_for(process.communicate(), SEARCH_SECONDS)
        except TimeoutError:
            raise RefusedError(f"the search took more than {SEARCH_SECONDS:.0f} s; use a simpler expression") from None
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if process.returncode:
            raise RefusedError(fault.decode("utf-8", "replace").strip()[-500:])
        return output.decode("utf-8", "replace")

    async def _read(self, given: "_Input") -> str:
        lines = self._worktree.read(given.text("path")).splitlines()
        first = max(given.number("first", 1), 1)
        last = min(given.number("last", len(lines)), first + READ_LINES - 1, len(lines))
        if not lines:
            return "(the file is empty)"
        shown = [f"{number}\t{line}" for number, line in enumerate(lines[first - 1 : last], first)]
        more = [f"… (lines {first} to {last} of {len(lines)})"] if last < len(lines) else []
        return "\n".join([*shown, *more])

    async def _write(self, given: "_Input") -> str:
        path = self._worktree.write(given.text("path"), given.text("text"))
        self._supervisor.tell("edit", path, path=path, tool="write")
        return f"{path} is written"

    async def _edit(self, given: "_Input") -> str:
        path, old, new = given.text("path"), given.text("old"), given.text("new")
        before = self._worktree.read(path)
        times = before.count(old) if old else 0
        if times != 1:
            raise RefusedError(
                f"the old text is {times} times in {path}; it must be there exactly once: give more of its surroundings"
            )
        changed = self._worktree.write(path, before.replace(old, new, 1))
        self._supervisor.tell("edit", changed, path=changed, tool="edit")
        return f"{changed} is changed"

    async def _run(self, given: "_Input") -> str:
        seconds = min(max(given.number("seconds", int(RUN_SECONDS)), 1), RUN_SECONDS_LIMIT)
        outcome = await run_command(given.text("command"), self._worktree.root, seconds, self._environ)
        ending = (
            f"ended after {seconds:.0f} s, its time being up" if outcome.code is None else f"exit code {outcome.code}"
        )
        return f"{outcome.output}\n({ending})".lstrip()

    async def _ask(self, given: "_Input") -> str:
        answer = await self._supervisor.ask(given.text("question"), given.texts("options"))
        return answer if answer is not None else "Nobody can answer now: decide for yourself, and say how you decided."


class _Input:
    """A tool's input, of which nothing is known. Raises RefusedError for a value of the wrong type."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given

    def text(self, name: str, default: str | None = None) -> str:
        value = self._given.get(name, default)
        if not isinstance(value, str):
            raise RefusedError(f"{name} must be a text")
        return value

    def number(self, name: str, default: int) -> int:
        value = self._given.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise RefusedError(f"{name} must be a whole number")
        return value

    def texts(self, name: str) -> list[str]:
        value = self._given.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise RefusedError(f"{name} must be a list of texts")
        return value


def _tool(name: str, description: str, required: str, /, **fields: Any) -> dict[str, Any]:
    """A tool as the Messages API takes it; fields are JSON schemas, or the description of a text."""
    properties = {
        key: {"type": "string", "description": value} if isinstance(value, str) else value
        for key, value in fields.items()
    }
    schema = {"type": "object", "properties": properties, "required": required.split()}
    return {"name": name, "description": description, "input_schema": schema}


_WHOLE = {"type": "integer", "minimum": 1}

OFFERED: list[dict[str, Any]] = [
    _tool(
        "list", "List the files of the repository, or of one folder of it.", "", path="The folder; leave out for all."
    ),
    _tool(
        *("search", "Search the files for a regular expression (Python's), line by line.", "pattern"),
        pattern="The expression.",
        path="The folder to search; leave out for all.",
    ),
    _tool(
        *("read", "Read a text file, with line numbers; a range of lines if the file is long.", "path"),
        path="The file.",
        first={**_WHOLE, "description": "First line."},
        last={**_WHOLE, "description": "Last line."},
    ),
    _tool(
        "write",
        "Write a whole file, making it and its folders if need be.",
        "path text",
        path="The file.",
        text="All its text.",
    ),
    _tool(
        *("edit", "Replace one piece of a file. The old text must be in it exactly once.", "path old new"),
        path="The file.",
        old="The text as it is, without line numbers.",
        new="The text as it shall be.",
    ),
    _tool(
        *("run", "Run a shell command in the repository; what it leaves in the background is ended.", "command"),
        command="The command.",
        seconds={**_WHOLE, "description": f"Time limit, {RUN_SECONDS:.0f} if left out."},
    ),
    _tool(
        *("ask", "Ask the supervisor, a person, what only a person can decide. Waits for the answer.", "question"),
        question="The question.",
        options={
            "type": "array",
            "items": {"type": "string"},
            "description": "Answers to choose from, if there are such.",
        },
    ),
]
"""The tools as the Messages API takes them."""
