"""Golden transcripts: what each program really printed, and the events that it means.

``QD_GOLDEN=write`` writes the events anew, to be read before they are kept.
"""

import json
import os
from pathlib import Path

import pytest

from config.paths import Paths
from core.agents.adapter import Verdict, load_adapter
from core.events import Event, EventKind
from tests.agents.agent_scenarios import GOLDEN, SCENARIOS, events_as_json

NAMES = sorted(path.stem for path in GOLDEN.glob("*.jsonl"))


def parsed(name: str, tmp_path: Path, exit_code: int | None = 0) -> tuple[list[Event], Verdict]:
    adapter = load_adapter(
        SCENARIOS[name].adapter if name in SCENARIOS else "command", Paths(tmp_path, tmp_path, tmp_path)
    )
    parser = adapter.parser()
    lines = (GOLDEN / f"{name}.jsonl").read_bytes().removesuffix(b"\n").split(b"\n")
    events = [event for line in lines for event in parser.feed(line)]
    return events, parser.close(exit_code, None)


def test_every_scenario_has_its_transcript() -> None:
    assert set(NAMES) >= set(SCENARIOS)


@pytest.mark.parametrize("name", NAMES)
def test_a_transcript_means_these_events(name: str, tmp_path: Path) -> None:
    events, verdict = parsed(name, tmp_path)
    found = [*events_as_json(events), {"verdict": [verdict.ok, verdict.reason, verdict.session, list(verdict.denials)]}]
    kept = GOLDEN / "events" / f"{name}.jsonl"
    if os.environ.get("QD_GOLDEN") == "write":
        kept.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in found))
    assert found == [json.loads(line) for line in kept.read_text().removesuffix("\n").split("\n")]


@pytest.mark.parametrize("name", NAMES)
def test_a_transcript_fed_again_from_its_start_means_the_same(name: str, tmp_path: Path) -> None:
    assert parsed(name, tmp_path) == parsed(name, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_transcripts_name_no_machine(name: str) -> None:
    text = (GOLDEN / f"{name}.jsonl").read_text(errors="replace")
    assert not [word for word in ("/tmp", "/home", "/root", "/Users", "/var") if word in text]


@pytest.mark.parametrize("name", ["claude-code-work", "claude-code-denied", "claude-code-interrupted"])
def test_the_usage_of_claude_code_adds_up_to_what_its_result_says(name: str, tmp_path: Path) -> None:
    """Its own sum over the run; the assistant lines, of which there are several a message, would count too much."""
    events, _ = parsed(name, tmp_path)
    result = next(
        json.loads(line) for line in (GOLDEN / f"{name}.jsonl").read_bytes().splitlines() if b'"type":"result"' in line
    )
    told = {
        "input": result["usage"]["input_tokens"],
        "output": result["usage"]["output_tokens"],
        "cache_read": result["usage"]["cache_read_input_tokens"],
        "cache_write": result["usage"]["cache_creation_input_tokens"],
    }
    usage = [event.data["tokens"] for event in events if event.kind is EventKind.USAGE]
    assert {name: sum(tokens[name] for tokens in usage) for name in told} == told


def test_a_permission_that_was_denied_is_in_the_verdict(tmp_path: Path) -> None:
    _, verdict = parsed("claude-code-denied", tmp_path)
    assert verdict.denials == ("Bash python3 -c 'print(1)'",)


def test_a_run_that_says_success_with_is_error_has_failed(tmp_path: Path) -> None:
    assert b'"subtype":"success"' in (GOLDEN / "claude-code-broke.jsonl").read_bytes()
    _, verdict = parsed("claude-code-broke", tmp_path)
    assert not verdict.ok
    assert "402" in verdict.reason


def test_a_transcript_that_breaks_off_is_no_success(tmp_path: Path) -> None:
    adapter = load_adapter("claude-code", Paths(tmp_path, tmp_path, tmp_path))
    parser = adapter.parser()
    for line in (GOLDEN / "claude-code-work.jsonl").read_bytes().splitlines()[:-1]:
        parser.feed(line)
    verdict = parser.close(None, 9)
    assert not verdict.ok
    assert "SIGKILL" in verdict.reason
    assert verdict.session is not None, "it can be taken up again"
