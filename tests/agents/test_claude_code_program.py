"""Claude Code itself, the program from the wheel, against the scripted model."""

import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from config.paths import Paths
from core.agents.adapter import Adapter, load_adapter
from core.demo.hands import Change, Look, Put, Scene, Shell, play
from core.demo.model_server import Block, Call, Request, Say, results_of, texts_of
from core.events import Event, EventKind
from tests.agents.agent_scenarios import SCENARIOS, Scenario, again, answering, run_scenario, steps

PROGRAM = load_adapter("claude-code", Paths(Path(), Path(), Path())).find(os.environ)
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="Claude Code is not installed")


async def test_it_does_a_task_asks_for_permission_and_asks_a_question(tmp_path: Path) -> None:
    driven, job = await run_scenario(SCENARIOS["claude-code-work"], tmp_path)
    assert driven.verdict.ok, driven.stderr
    assert (job.worktree / "greeting.txt").read_text() == "good day\n"
    assert (job.worktree / "new.txt").read_text() == "one\ntwo\n"
    assert [event.data["path"] for event in driven.events if event.kind is EventKind.EDIT] == [
        "greeting.txt",
        "new.txt",
    ]
    asked = [event.data["kind"] for event in driven.events if event.kind is EventKind.QUESTION]
    assert asked == ["permission", "question"]
    said = [event.text for event in driven.events if event.kind is EventKind.TOOL_RESULT]
    assert said[3] == "42"
    assert '"formal"' in said[4]
    assert driven.events[-1].data["final"] is True
    assert sorted(path.name for path in job.worktree.iterdir()) == ["greeting.txt", "new.txt"], "it leaves nothing else"


async def test_a_denied_permission_is_told_to_the_model_and_in_the_verdict(tmp_path: Path) -> None:
    heard: list[str] = []

    def brain(request: Request) -> Sequence[Block]:
        heard.extend(text for message in request.messages for text in results_of(message["content"]))
        return steps([Call("Bash", {"command": "touch made && python3 -c 1"})], [Say("Then not.")])(request)

    scenario = Scenario("claude-code", brain, answering("Not on my watch.", "deny"))
    driven, job = await run_scenario(scenario, tmp_path)
    assert driven.verdict.ok
    assert driven.verdict.denials == ("Bash touch made && python3 -c 1",)
    assert not (job.worktree / "made").exists()
    refused = [event for event in driven.events if event.kind is EventKind.TOOL_RESULT]
    assert "Not on my watch." in refused[0].text
    assert refused[0].data["error"] is True


async def test_always_allows_the_same_again_without_a_question(tmp_path: Path) -> None:
    command = {"command": "python3 -c 'print(1)'"}
    brain = steps([Call("Bash", command)], [Call("Bash", command)], [Say("Done.")])
    driven, job = await run_scenario(Scenario("claude-code", brain, answering("", "always")), tmp_path)
    assert driven.verdict.ok
    assert len([event for event in driven.events if event.kind is EventKind.QUESTION]) == 1
    assert not (job.worktree / ".claude").exists()


async def test_an_earlier_session_is_taken_up_again(tmp_path: Path) -> None:
    """As after a crash: the same worktree, a new process, and what was said before is still known."""
    conversations: list[list[str]] = []

    def brain(request: Request) -> Sequence[Block]:
        conversations.append([texts_of(message["content"]) for message in request.messages])
        return [Say("I remember.")]

    scenario = Scenario("claude-code", brain, prompt="Task: Remember the blue door")
    adapter = load_adapter("claude-code", Paths(tmp_path / "config", tmp_path / "state", tmp_path / "database"))
    first, job = await run_scenario(scenario, tmp_path)
    assert first.verdict.session
    later = replace(job, run_id="another", attempt=2, prompt="Go on.", session=first.verdict.session)
    second = await again(scenario, adapter, later)
    assert second.verdict.ok, second.stderr
    assert second.verdict.session == first.verdict.session
    assert any("the blue door" in text for text in conversations[-1][:-1])
    assert "Go on." in conversations[-1][-1]


async def test_a_message_reaches_a_run_that_works(tmp_path: Path) -> None:
    heard: list[str] = []

    def brain(request: Request) -> Sequence[Block]:
        heard.extend(texts_of(message["content"]) for message in request.messages)
        return steps(
            [Call("Bash", {"command": "python3 -c 'print(1)'"})], [Call("Read", {"file_path": "x"})], [Say("Done.")]
        )(request)

    def reply(adapter: Adapter, event: Event) -> bytes | None:
        if event.kind is not EventKind.QUESTION:
            return None
        return adapter.message("Mind the harbour seal.") + adapter.answer(event.data["id"], event.data, "", "allow")

    driven, _ = await run_scenario(Scenario("claude-code", brain, reply), tmp_path)
    assert driven.verdict.ok, driven.stderr
    assert any("Mind the harbour seal." in text for text in heard)


async def test_an_interrupt_ends_the_turn_and_the_program(tmp_path: Path) -> None:
    driven, _ = await run_scenario(SCENARIOS["claude-code-interrupted"], tmp_path)
    assert driven.verdict.reason == "the turn was interrupted"
    assert [event for event in driven.events if event.data.get("withdrawn")]


async def test_a_used_up_budget_ends_it_at_once(tmp_path: Path) -> None:
    driven, _ = await run_scenario(SCENARIOS["claude-code-broke"], tmp_path)
    assert not driven.verdict.ok
    assert "402" in driven.verdict.reason
    assert len([event for event in driven.events if event.kind is EventKind.ERROR]) == 1


async def test_the_person_s_own_program_goes_before_the_one_of_the_wheel(tmp_path: Path) -> None:
    own = tmp_path / "bin" / "claude"
    own.parent.mkdir()
    own.write_text("#!/bin/sh\n")
    own.chmod(own.stat().st_mode | stat.S_IXUSR)
    adapter = load_adapter("claude-code", Paths(tmp_path, tmp_path, tmp_path))
    assert adapter.find({"PATH": str(own.parent)}) == own
    assert adapter.find({"PATH": str(tmp_path)}) == PROGRAM or own != PROGRAM


async def test_it_writes_nothing_outside_its_state_and_worktree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    work = (Look("greeting.txt"), Change("greeting.txt", "hello", "bye"), Put("n", "1"), Shell("rm n"))
    scenario = Scenario("claude-code", play([Scene("Greet", work, "Done.")]), answering("", "allow"))
    folder = tmp_path / "run"
    folder.mkdir()
    driven, _ = await run_scenario(scenario, folder)
    assert driven.verdict.ok
    left = sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
    assert not [path for path in left if "claude" in path.lower()], left
