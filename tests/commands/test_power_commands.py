"""`qd up`, `qd down`, `qd status` and `qd doctor` with a real engine, in a process of its own."""

import asyncio
import fcntl
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from config.paths import resolve_paths
from tests.command_line import CommandLine


@pytest.fixture
async def powered(qd: CommandLine) -> AsyncIterator[CommandLine]:
    """`qd` whose engine is ended with the test, however that ends."""
    try:
        yield qd
    finally:
        lock = Path(qd.environ["QD_HOME"]) / "state" / "engine.lock"
        if lock.exists() and (await qd("down", "--stop-runs")).code != 0:
            with suppress(ProcessLookupError, ValueError):
                os.kill(int(lock.read_text()), signal.SIGKILL)


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(30):
        while _is_alive(pid):
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            await asyncio.sleep(0.02)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_an_engine_is_started_once_shown_and_stopped(powered: CommandLine) -> None:
    first, second = await asyncio.gather(powered("up", "--json"), powered("up", "--json"))
    assert first.json["pid"] == second.json["pid"]
    assert sorted((first.json["changed"], second.json["changed"])) == [False, True]
    status = (await powered("status", "--json")).json
    assert list(status["engine"]) == ["state", "pid", "host", "version", "started_at"]
    assert (status["engine"]["state"], status["engine"]["pid"]) == ("running", first.json["pid"])
    assert status["engines"] == [status["engine"]]
    again = (await powered("up", "--json")).json
    assert (again["changed"], again["pid"]) == (False, first.json["pid"])
    stopped = (await powered("down", "--json")).json
    assert (stopped["state"], stopped["changed"]) == ("stopped", True)
    await until_gone(first.json["pid"])
    assert (await powered("down", "--json")).json["changed"] is False
    assert (await powered("status", "--json")).json["engine"] is None


async def test_an_engine_that_was_killed_is_started_again(powered: CommandLine) -> None:
    pid = (await powered("up", "--json")).json["pid"]
    os.kill(pid, signal.SIGKILL)
    await until_gone(pid)
    status = (await powered("status", "--json")).json
    assert status["engine"] is None, "its lease outlives it, and says nothing"
    assert [engine["state"] for engine in status["engines"]] == ["dead"]
    again = (await powered("up", "--json")).json
    assert again["changed"] is True
    assert again["pid"] != pid
    assert (await powered("status", "--json")).json["engine"]["pid"] == again["pid"]


async def test_an_engine_of_another_database_is_not_said_to_have_been_told(
    powered: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.commands.power.TELL_SECONDS", 0.1)
    lock = resolve_paths(powered.environ).engine_lock
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        held.write("999999999\n")
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        outcome = await powered("down")
    lock.unlink()
    assert outcome.code == 5
    assert "pid 999999999) works on another database" in outcome.err


async def test_an_engine_that_cannot_start_says_why(powered: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    words = "import sys; print('first'); print('the disk is full'); sys.exit(6)"
    monkeypatch.setattr("core.commands.power.ENGINE", (sys.executable, "-c", words))
    outcome = await powered("up", "--json")
    assert outcome.code == 6
    assert "ended as it started (exit code 6): the disk is full" in outcome.error["message"]
    assert "engine.log" in outcome.error["hint"]


async def test_doctor_says_what_works_and_what_is_missing(qd: CommandLine) -> None:
    told = {finding["part"]: finding for finding in (await qd("doctor", "--quick", "--json")).json}
    for part in ("python", "git", "disk", "database", "pgvector", "adapter builtin"):
        assert told[part]["status"] == "ok", told[part]
    assert told["engine"]["status"] == "note"
    assert {"sandbox bubblewrap", "sandbox docker", "sandbox podman"} <= set(told)
    human = await qd("doctor", "--quick")
    assert (human.code, "✓ ok" in human.out) == (0, True)


async def test_doctor_answers_without_a_database_too(qd: CommandLine) -> None:
    outcome = await qd("doctor", "--quick", "--json", "--database-url", "postgresql://x@127.0.0.1:1/x")
    assert outcome.code == 1
    told = {finding["part"]: finding for finding in json.loads(outcome.out)}
    assert told["database"]["status"] == "failed"
    assert told["git"]["status"] == "ok"


async def test_an_adapter_that_an_agent_uses_and_is_missing_is_a_failure(qd: CommandLine, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "config" / "adapters"
    folder.mkdir(parents=True)
    (folder / "gone.toml").write_text(
        'title = "Gone"\ndialect = "command"\nprogram = "no-such-program-here"\nargv = ["{program}"]\n'
    )
    assert (await qd("doctor", "--quick")).code == 0
    assert (await qd("agent", "add", "g", "--adapter", "gone")).code == 0
    outcome = await qd("doctor", "--quick", "--json")
    assert outcome.code == 1
    found = next(finding for finding in json.loads(outcome.out) if finding["part"] == "adapter gone")
    assert (found["status"], found["needed"]) == ("missing", True)
    await qd("agent", "disable", "g")
    assert (await qd("doctor", "--quick")).code == 0
