"""Tries an adapter out: one small job done by the real program, with a scripted model, in a temporary folder.

It is what `qd doctor` does, and by it the tests drive every adapter. The engine does the same through a
keeper; here the program is a child, its output a pipe, and nothing outlives the call.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from config.errors import QuarterdeckError
from core.agents.adapter import Adapter, Job, Verdict
from core.agents.launching import base_environment, job_environment
from core.events import Event, EventKind

CHECK_SECONDS = 30.0
"""How long the whole of a check may take."""

LINE_LIMIT = 1_000_000
"""Bytes of the longest line that a parser is given."""

TITLE = "Say goodbye in greeting.txt"
PROMPT = f"Task #1: {TITLE}\n\nThe file greeting.txt says hello. Make it say goodbye."


@dataclass(frozen=True, slots=True)
class Driven:
    """What came of a driven run."""

    events: tuple[Event, ...]
    verdict: Verdict
    lines: tuple[bytes, ...]
    """The stdout as it was, line by line."""
    stderr: str


Reply = Callable[[Event], bytes | None]
"""What goes to stdin upon an event, such as the answer to a question."""


async def drive(
    adapter: Adapter, job: Job, extra: Mapping[str, str], environ: Mapping[str, str], reply: Reply
) -> Driven:
    """Run a job to its end; ``extra`` is what the engine adds to the environment.

    Its process group is ended in any case.
    """
    launch = adapter.launch(job)
    parser = adapter.parser()
    process = await asyncio.create_subprocess_exec(
        *launch.argv,
        cwd=job.worktree,
        env={**base_environment(environ), **job_environment(job), **extra, **launch.env},
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,
        limit=LINE_LIMIT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    events: list[Event] = []
    lines: list[bytes] = []
    complaints = asyncio.create_task(process.stderr.read())
    try:
        await _write(process, launch.opening)
        if not launch.stdin_open:
            process.stdin.close()
        while raw := await process.stdout.readline():
            lines.append(raw.removesuffix(b"\n"))
            for made in parser.feed(lines[-1]):
                events.append(made)
                await _write(process, reply(made) or b"")
                if made.data.get("final") is True:
                    process.stdin.close()
        code = await process.wait()
        stderr = (await complaints).decode("utf-8", "replace")
    finally:
        complaints.cancel()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    verdict = parser.close(code if code >= 0 else None, -code if code < 0 else None)
    return Driven(tuple(events), verdict, tuple(lines), stderr)


async def conform(adapter: Adapter, folder: Path, environ: Mapping[str, str]) -> str:
    """Let the adapter's program do one small job in an empty folder; returns what was seen.

    Raises QuarterdeckError saying what was not.
    """
    from core.demo.hands import Change, Look, Scene, play
    from core.demo.model_server import model_server

    steps = (Look("greeting.txt"), Change("greeting.txt", "hello", "goodbye"))
    brain = play([Scene(TITLE, steps, "It says goodbye.")])
    command = _SAMPLE_COMMAND if adapter.runs_any_command else None
    job = sample_job(folder, TITLE, PROMPT, command)
    (job.worktree / "greeting.txt").write_text("hello\n")
    try:
        async with asyncio.timeout(CHECK_SECONDS), model_server(brain, lambda key: key == "check") as url:
            extra = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "check"}
            driven = await drive(adapter, job, extra, environ, lambda made: _allow(adapter, made))
    except TimeoutError:
        raise QuarterdeckError(f"a small job was not done within {CHECK_SECONDS:.0f} s") from None
    return _judged(driven, (job.worktree / "greeting.txt").read_text())


def sample_job(folder: Path, title: str, prompt: str, command: str | None = None) -> Job:
    """A job in a folder that holds nothing else; makes its worktree (no git repository) and the file of its
    prompt.
    """
    worktree = folder / "worktree"
    worktree.mkdir()
    (folder / "prompt.md").write_text(prompt)
    (folder / "context.json").write_text("{}")
    return Job(
        run_id="00000000-0000-7000-8000-000000000001",
        task_number=1,
        title=title,
        prompt=prompt,
        prompt_file=folder / "prompt.md",
        context_file=folder / "context.json",
        worktree=worktree,
        branch="qd/1-check",
        base_commit="0" * 40,
        project="check",
        attempt=1,
        command=command,
    )


_SAMPLE_COMMAND = f"""'{sys.executable}' -c '
import json, pathlib
pathlib.Path("greeting.txt").write_text("goodbye")
print(json.dumps(dict(kind="edit", text="greeting.txt", data=dict(path="greeting.txt"))))
print(json.dumps(dict(kind="usage", data=dict(tokens=dict(input=1, output=1)))))
'"""


async def _write(process: Process, data: bytes) -> None:
    assert process.stdin is not None
    if data and not process.stdin.is_closing():
        with suppress(ConnectionError):  # it has ended; how, its exit code tells
            process.stdin.write(data)
            await process.stdin.drain()


def _allow(adapter: Adapter, made: Event) -> bytes | None:
    if made.kind is not EventKind.QUESTION:
        return None
    return adapter.answer(str(made.data["id"]), made.data, "yes", "allow")


def _judged(driven: Driven, text: str) -> str:
    """What a conforming program must have done and told."""
    if not driven.verdict.ok:
        raise QuarterdeckError(f"a small job ended badly: {driven.verdict.reason}", driven.stderr.strip()[-300:])
    if "goodbye" not in text:
        raise QuarterdeckError("a small job ended well and the file was not changed")
    told = {made.kind for made in driven.events}
    for kind in (EventKind.EDIT, EventKind.USAGE):
        if kind not in told:
            raise QuarterdeckError(f"a small job was done and no {kind.value} event was told")
    return f"a small job done: {len(driven.events)} events"
