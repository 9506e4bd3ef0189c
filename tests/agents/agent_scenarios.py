"""What the scripted model does with a real agent program: the scenarios whose streams are kept in ``golden/``.

``python -P tests/agents/agent_scenarios.py`` records them anew, without what is of this machine or this moment.
"""

import asyncio
import json
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from config.paths import Paths
from core.agents.adapter import Adapter, Job, load_adapter
from core.agents.conformance import Driven, drive, sample_job
from core.demo.hands import Ask, Change, Look, Put, Scene, Shell, play
from core.demo.model_server import Block, Brain, Call, Refuse, Request, Say, Think, model_server, results_of
from core.events import Event, EventKind

GOLDEN = Path(__file__).parent / "golden"

Reply = Callable[[Adapter, Event], bytes | None]


def silent(adapter: Adapter, event: Event) -> bytes | None:
    """Says nothing."""
    return None


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run: which program, what the model does, what the supervisor replies."""

    adapter: str
    brain: Brain
    reply: Reply = silent
    prompt: str = "Task: Greet"


def answering(text: str, decision: str | None = None) -> Reply:
    """Answers every question alike."""

    def reply(adapter: Adapter, event: Event) -> bytes | None:
        if event.kind is not EventKind.QUESTION:
            return None
        return adapter.answer(str(event.data["id"]), event.data, text, decision)

    return reply


def steps(*turns: Sequence[Block]) -> Callable[[Request], Sequence[Block]]:
    """One reply after as many tool results; the last one stays."""

    def brain(request: Request) -> Sequence[Block]:
        if not request.tools:
            return [Say("nothing")]
        taken = sum(len(results_of(message.get("content"))) for message in request.messages)
        return turns[min(taken, len(turns) - 1)]

    return brain


def _thoughtful(brain: Brain) -> Brain:
    """The same replies, each after a thought."""

    def thinking(request: Request) -> Sequence[Block] | Refuse:
        found = brain(request)
        return found if isinstance(found, Refuse) else [Think("What comes next?"), *found]

    return thinking


def _interrupting(adapter: Adapter, event: Event) -> bytes | None:
    return adapter.interrupt() if event.kind is EventKind.TOOL_CALL else None


WORK = (
    Look("greeting.txt"),
    Change("greeting.txt", "hello", "good day"),
    Put("new.txt", "one\ntwo\n"),
    Shell("python3 -c 'print(6 * 7)'"),
    Ask("Formal or friendly?", ("formal", "friendly")),
)

SCENARIOS: dict[str, Scenario] = {
    "claude-code-work": Scenario(
        "claude-code",
        _thoughtful(play([Scene("Greet", WORK, "It is done.", opening="I begin.")])),
        answering("formal", "allow"),
    ),
    "claude-code-denied": Scenario(
        "claude-code",
        play([Scene("Greet", (Shell("python3 -c 'print(1)'"),), "Then not.")]),
        answering("", "deny"),
    ),
    "claude-code-broke": Scenario("claude-code", lambda _: Refuse(402, "billing_error", "The budget is used up.")),
    "claude-code-interrupted": Scenario(
        "claude-code",
        steps([Call("Bash", {"command": "python3 -c 'import time; time.sleep(60)'"})], [Say("never said")]),
        lambda adapter, event: answering("", "allow")(adapter, event) or _interrupting(adapter, event),
    ),
    "builtin-work": Scenario(
        "builtin",
        _thoughtful(play([Scene("Greet", WORK, "It is done.", opening="I begin.")])),
        answering("formal"),
    ),
    "builtin-broke": Scenario("builtin", lambda _: Refuse(402, "billing_error", "The budget is used up.")),
}


async def run_scenario(scenario: Scenario, folder: Path, **changes: Any) -> tuple[Driven, Job]:
    """Run a scenario in an empty folder; ``changes`` are made to its job."""
    paths = Paths(config=folder / "config", state=folder / "state", database=folder / "database")
    adapter = load_adapter(scenario.adapter, paths)
    job = replace(sample_job(folder, "Greet", scenario.prompt), **changes)
    (job.worktree / "greeting.txt").write_text("hello\n")
    return await again(scenario, adapter, job), job


async def again(scenario: Scenario, adapter: Adapter, job: Job) -> Driven:
    """Run a scenario with a job that there is already."""
    async with asyncio.timeout(60), model_server(scenario.brain, lambda key: key == "key") as url:
        extra = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "key", "CLAUDE_CODE_MAX_RETRIES": "1"}
        return await drive(adapter, job, extra, os.environ, lambda event: scenario.reply(adapter, event))


def events_as_json(events: tuple[Event, ...] | list[Event]) -> list[dict[str, Any]]:
    """Events as they are kept beside a transcript."""
    return [{"kind": event.kind.value, "text": event.text, "data": dict(event.data)} for event in events]


def scrubbed(line: bytes, worktree: Path) -> bytes:
    """A line without the paths, the times and the chances of the machine that it was recorded on."""
    text = line.decode().replace(str(worktree.resolve()), "/worktree").replace(str(worktree), "/worktree")
    text = re.sub(
        r'("(?:duration_(?:api_)?ms|ttft_ms|ttft_stream_ms|time_to_request_ms|thinking_duration_ms)": ?)[\d.]+',
        r"\g<1>1",
        text,
    )
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "2026-01-01T00:00:00Z", text)
    found = json.loads(text)
    if found.get("subtype") == "init":
        kept = ("type", "subtype", "cwd", "session_id", "model", "permissionMode", "claude_code_version", "uuid")
        return json.dumps({key: found[key] for key in kept if key in found}).encode()
    return text.encode()


async def record() -> None:
    """Record every scenario."""
    for name, scenario in SCENARIOS.items():
        with tempfile.TemporaryDirectory() as folder:
            driven, job = await run_scenario(scenario, Path(folder))
        lines = [scrubbed(line, job.worktree) for line in driven.lines]
        (GOLDEN / f"{name}.jsonl").write_bytes(b"\n".join(lines) + b"\n")
        print(name, driven.verdict)


if __name__ == "__main__":
    asyncio.run(record())
