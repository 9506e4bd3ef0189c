"""The built-in agent at work: its own process, a real git repository, a scripted model."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from anthropic import AsyncAnthropic

from config.paths import Paths
from core.agents.adapter import Adapter, load_adapter
from core.agents.builtin.files import Worktree
from core.agents.builtin.loop import Agent, Limits, Stop
from core.agents.builtin.talk import Supervisor
from core.agents.builtin.tools import Tools
from core.agents.conformance import Driven, sample_job
from core.demo.model_server import Block, Brain, Call, Refuse, Request, Say, model_server, texts_of
from core.events import Event, EventKind
from tests.agents.agent_scenarios import Reply, Scenario, again, silent, steps


async def run_agent(
    folder: Path, brain: Brain, reply: Reply = silent, prepare: Callable[[Path], None] = lambda _: None
) -> tuple[Driven, Path]:
    """Run the agent on a fresh repository."""
    adapter = load_adapter("builtin", Paths(folder / "config", folder / "state", folder / "database"))
    job = sample_job(folder, "Greet", "Task: Greet")
    (job.worktree / "greeting.txt").write_text("hello\n")
    subprocess.run(["git", "init", "--quiet", str(job.worktree)], check=True)
    prepare(job.worktree)
    return await again(Scenario("builtin", brain, reply), adapter, job), job.worktree


async def work_inside(folder: Path, brain: Brain, limits: Limits) -> tuple[Stop, list[dict[str, Any]], Path]:
    """Let the agent work in this process; returns how it ended and what it told."""
    root = folder / "worktree"
    root.mkdir()
    (root / "greeting.txt").write_text("hello\n")
    with (folder / "told").open("wb", buffering=0) as told:
        supervisor = Supervisor(stdout=told.fileno())
        async with model_server(brain) as url, AsyncAnthropic(api_key="key", base_url=url) as client:
            tools = Tools(Worktree(root), supervisor, {"PATH": os.environ["PATH"]})
            stop = await Agent(client, "m", tools, supervisor, limits).work("Task: Greet")
    return stop, [json.loads(line) for line in (folder / "told").read_bytes().splitlines()], root


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody asked after does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def results(driven: Driven) -> list[str]:
    return [event.text for event in driven.events if event.kind is EventKind.TOOL_RESULT]


async def test_it_edits_asks_takes_a_message_and_ends(tmp_path: Path) -> None:
    heard: list[str] = []

    def brain(request: Request) -> Sequence[Block]:
        heard[:] = [texts_of(message["content"]) for message in request.messages if message["role"] == "user"]
        return steps(
            [Say("I look."), Call("list"), Call("read", {"path": "greeting.txt"})],
            [Call("search", {"pattern": "h.llo"})],
            [Call("search", {"pattern": "h.llo"})],
            [Call("ask", {"question": "How?", "options": ["formal", "friendly"]})],
            [Call("edit", {"path": "greeting.txt", "old": "hello", "new": "good day"})],
            [Call("run", {"command": "cat greeting.txt; echo no >&2; exit 3"})],
            [Say("Done.")],
        )(request)

    def reply(adapter: Adapter, event: Event) -> bytes | None:
        if event.kind is not EventKind.QUESTION:
            return None
        assert event.data["options"] == ["formal", "friendly"]
        return adapter.message("Mind the style.") + adapter.answer(event.data["id"], event.data, "formal", None)

    driven, worktree = await run_agent(tmp_path, brain, reply)
    assert driven.verdict.ok, driven.stderr
    assert (worktree / "greeting.txt").read_text() == "good day\n"
    assert results(driven)[0] == "greeting.txt"
    assert results(driven)[2] == "greeting.txt:1: hello\n"
    assert results(driven)[3:] == ["formal", "greeting.txt is changed", "good day\nno\n\n(exit code 3)"]
    assert any("Mind the style." in text for text in heard), "the message came with the next turn"
    assert [event.data["path"] for event in driven.events if event.kind is EventKind.EDIT] == ["greeting.txt"]
    usage = [event.data["tokens"] for event in driven.events if event.kind is EventKind.USAGE]
    assert len(usage) == 6
    assert usage[0]["cache_write"] > 0
    assert usage[0]["cache_read"] == 0
    assert usage[1]["cache_write"] == 0
    assert usage[1]["cache_read"] > 0


async def test_paths_that_lead_outside_are_refused_and_told_to_the_model(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")

    def prepare(worktree: Path) -> None:
        (worktree / "link").symlink_to(secret)
        (worktree / "folder").symlink_to(tmp_path)

    paths = ["../secret.txt", str(secret), "link", "folder/secret.txt", ".git/config"]
    reads: list[Block] = [Call("read", {"path": path}) for path in paths]
    writes: list[Block] = [Call("write", {"path": path, "text": "overwritten"}) for path in paths]
    others: list[Block] = [Call("list", {"path": "folder"}), Call("search", {"pattern": "secret", "path": "../"})]
    driven, worktree = await run_agent(
        tmp_path, steps([*reads, *writes, *others], *([Say("I cannot.")],) * 12), prepare=prepare
    )
    assert driven.verdict.ok
    told = [event for event in driven.events if event.kind is EventKind.TOOL_RESULT]
    assert len(told) == 12
    assert all(event.data["error"] for event in told), [event.text for event in told]
    assert not [event for event in told if event.text == "secret"]
    assert secret.read_text() == "secret"
    assert "overwritten" not in (worktree / ".git/config").read_text()
    assert not [event for event in driven.events if event.kind is EventKind.EDIT]


async def test_a_provider_that_will_not_serve_ends_it_at_once(tmp_path: Path) -> None:
    asked: list[Request] = []

    def brain(request: Request) -> Refuse:
        asked.append(request)
        return Refuse(400, "invalid_request_error", "Your credit balance is too low")

    driven, _ = await run_agent(tmp_path, brain)
    said = "the model's provider answered 400: Your credit balance is too low"
    assert driven.verdict.reason == f"exit code 2: {said}"
    assert len(asked) == 1


async def test_a_busy_provider_is_asked_again(tmp_path: Path) -> None:
    asked: list[Request] = []

    def brain(request: Request) -> list[Block] | Refuse:
        asked.append(request)
        return Refuse(529, "overloaded_error", "Overloaded") if len(asked) < 2 else [Say("Done.")]

    stop, _, _ = await work_inside(tmp_path, brain, Limits())
    assert stop.code == 0
    assert len(asked) == 2


async def test_its_turns_are_bounded(tmp_path: Path) -> None:
    stop, told, _ = await work_inside(tmp_path, lambda _: [Call("list")], Limits(turns=3))
    assert (stop.code, stop.text) == (3, "the limit of 3 turns is reached")
    assert len([event for event in told if event["kind"] == "tool_result"]) == 3


async def test_its_tokens_are_bounded(tmp_path: Path) -> None:
    stop, told, _ = await work_inside(tmp_path, lambda _: [Call("list")], Limits(tokens=10))
    assert (stop.code, stop.text) == (3, "the limit of 10 tokens is reached")
    assert len([event for event in told if event["kind"] == "tool_result"]) == 1


async def test_tools_answer_wrong_input_with_words(tmp_path: Path) -> None:
    wrong: list[Block] = [
        Call("read"),
        Call("read", {"path": 7}),
        Call("read", {"path": "absent"}),
        Call("edit", {"path": "greeting.txt", "old": "l", "new": ""}),
        Call("edit", {"path": "greeting.txt", "old": "", "new": ""}),
        Call("search", {"pattern": "("}),
        Call("run", {"command": "true", "seconds": "many"}),
        Call("fly"),
    ]
    stop, told, worktree = await work_inside(tmp_path, steps(wrong, *([Say("Oh.")],) * 8), Limits())
    assert stop.code == 0
    results = [event for event in told if event["kind"] == "tool_result"]
    assert [event["data"]["error"] for event in results] == [True] * 8
    assert "2 times" in results[3]["text"]
    assert (worktree / "greeting.txt").read_text() == "hello\n"


async def test_a_search_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.agents.builtin.tools.SEARCH_SECONDS", 1.0)
    endless: list[Block] = [
        Call("write", {"path": "a.txt", "text": "a" * 60}),
        Call("search", {"pattern": "(a+)+b"}),
    ]
    stop, told, _ = await work_inside(tmp_path, steps(endless, [Say("Oh.")], [Say("Oh.")]), Limits())
    assert stop.code == 0
    assert "took more than 1 s" in [event for event in told if event["kind"] == "tool_result"][1]["text"]


async def test_a_command_is_bounded_and_leaves_nothing_behind(tmp_path: Path) -> None:
    calls: list[Block] = [
        Call("run", {"command": "echo begun; sleep 600", "seconds": 1}),
        Call("run", {"command": "sleep 600 & echo $! > child; echo started"}),
        Call("run", {"command": "head -c 3000000 /dev/zero | tr '\\0' x"}),
        Call("run", {"command": "env"}),
    ]
    driven, worktree = await run_agent(tmp_path, steps(calls, *([Say("Done.")],) * 4))
    timed, background, long, environment = results(driven)
    assert timed.startswith("begun")
    assert "its time being up" in timed
    assert background.startswith("started")
    assert not lives(int((worktree / "child").read_text()))
    assert "bytes left out" in long
    assert len(long) < 30_000
    assert "ANTHROPIC_API_KEY" not in environment
    assert "QD_RUN_ID" in environment


async def test_an_interrupt_ends_it_in_order(tmp_path: Path) -> None:
    job = sample_job(tmp_path, "Greet", "Task: Greet")
    brain = steps([Call("run", {"command": "echo $$ > running; sleep 600"})])
    async with model_server(brain) as url:
        environ = {"PATH": os.environ["PATH"], "QD_PROMPT_FILE": str(job.prompt_file), "ANTHROPIC_BASE_URL": url}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "core.agents.builtin"),
            cwd=job.worktree,
            env={**environ, "ANTHROPIC_API_KEY": "key"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(60):
                while not (job.worktree / "running").exists() or not (job.worktree / "running").read_text():
                    await asyncio.sleep(0.02)
                process.send_signal(2)
                output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 130
    assert json.loads(output.splitlines()[-1])["text"] == "interrupted"
    async with asyncio.timeout(60):
        while lives(int((job.worktree / "running").read_text())):
            await asyncio.sleep(0.02)


async def test_a_question_that_nobody_can_answer_is_decided_by_the_agent(tmp_path: Path) -> None:
    """Its stdin is closed, so that no answer can come."""
    adapter: Any = load_adapter("builtin", Paths(tmp_path / "config", tmp_path / "state", tmp_path / "database"))
    adapter.declaration = replace(adapter.declaration, stdin="closed")
    job = sample_job(tmp_path, "Greet", "Task: Greet")
    driven = await again(Scenario("builtin", steps([Call("ask", {"question": "How?"})], [Say("Done.")])), adapter, job)
    assert driven.verdict.ok
    assert results(driven) == ["Nobody can answer now: decide for yourself, and say how you decided."]


async def test_old_results_are_left_out_when_they_are_too_many(tmp_path: Path) -> None:
    seen: list[int] = []

    def brain(request: Request) -> Sequence[Block]:
        blocks = [block for message in request.messages for block in message["content"]]
        results = [block for block in blocks if block["type"] == "tool_result"]
        seen.append(sum(len(block["content"]) for block in results))
        return (
            [Call("run", {"command": "head -c 1000 /dev/zero | tr '\\0' x"})] if len(results) < 12 else [Say("Done.")]
        )

    stop, _, _ = await work_inside(tmp_path, brain, Limits(context=5_000))
    assert stop.code == 0
    assert max(seen) <= 6_100
    assert any(later < earlier for earlier, later in pairwise(seen))
