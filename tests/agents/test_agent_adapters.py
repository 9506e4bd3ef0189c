"""Adapters as data: what a declaration makes of a job, and what is said of one that is wrong."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from config.errors import NotFoundError, UnavailableError, UsageError
from config.paths import Paths
from core.agents.adapter import Job, adapters, load_adapter
from core.agents.conformance import sample_job
from core.agents.launching import base_environment, job_environment


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(config=tmp_path / "my config", state=tmp_path / "state", database=tmp_path / "database")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return replace(sample_job(tmp_path, "Greet", "Say hello."), worktree=tmp_path / "work tree")


def declare(paths: Paths, name: str, text: str) -> None:
    folder = paths.config / "adapters"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.toml").write_text(text)


async def test_each_adapter_of_the_package_does_a_small_job(paths: Paths) -> None:
    found = adapters(paths)
    assert [adapter.name for adapter in found] == ["builtin", "claude-code", "command"]
    for adapter in found:
        check = await adapter.check(os.environ)
        assert check.ok, check
        assert check.found
    assert not paths.state.exists(), "a check leaves nothing behind"


async def test_a_program_that_does_nothing_does_not_conform(paths: Paths) -> None:
    declare(paths, "lazy", 'argv = ["true"]')
    check = await load_adapter("lazy", paths).check(os.environ)
    assert not check.ok
    assert check.detail == "a small job ended well and the file was not changed"


async def test_a_program_that_fails_is_reported_with_its_words(paths: Paths) -> None:
    declare(paths, "broken", """argv = ["sh", "-c", "echo no such model >&2; exit 4"]""")
    check = await load_adapter("broken", paths).check(os.environ)
    assert check.detail == "a small job ended badly: exit code 4; no such model"


async def test_a_program_that_is_missing_is_said_to_be(paths: Paths, job: Job) -> None:
    declare(paths, "absent", 'program = "no-such-agent"\nargv = ["{program}"]')
    adapter = load_adapter("absent", paths)
    assert await adapter.check(os.environ) == await adapter.check(os.environ)
    assert (await adapter.check(os.environ)).detail == "no-such-agent is not on the PATH"
    with pytest.raises(UnavailableError, match="no-such-agent"):
        adapter.launch(job)


def test_a_command_is_split_like_a_shell_does(paths: Paths, job: Job) -> None:
    launch = load_adapter("command", paths).launch(replace(job, command="agent --say 'two words' \"$HOME\" a\\ b"))
    assert launch.argv == ("agent", "--say", "two words", "$HOME", "a b")
    assert launch.stdin_open
    assert launch.opening == b""


@pytest.mark.parametrize("command", [None, "", "   ", "agent 'never closed"])
def test_a_command_that_is_none_is_refused(paths: Paths, job: Job, command: str | None) -> None:
    with pytest.raises(UsageError):
        load_adapter("command", paths).launch(replace(job, command=command))


def test_placeholders_are_filled_in_once_and_never_split(paths: Paths, job: Job) -> None:
    declare(
        paths,
        "mine",
        'argv = ["agent", "--prompt={prompt}", "{worktree}"]\nenv = { WHERE = "{state}" }\nstdin = "closed"',
    )
    launch = load_adapter("mine", paths).launch(replace(job, prompt="a {branch} 'b' $(c)"))
    assert launch.argv == ("agent", "--prompt=a {branch} 'b' $(c)", str(job.worktree))
    assert launch.env["WHERE"].startswith(str(paths.state / "sessions" / "mine"))
    assert not launch.stdin_open


def test_claude_code_begins_a_session_of_its_own_or_takes_one_up(paths: Paths, job: Job) -> None:
    adapter = load_adapter("claude-code", paths)
    first = adapter.launch(replace(job, model="claude-sonnet-5-5"))
    assert first.argv[-4:] == ("--model", "claude-sonnet-5-5", "--session-id", first.session)
    assert first.session == adapter.launch(job).session, "it follows from the run"
    assert first.session != adapter.launch(replace(job, run_id="another")).session
    second = adapter.launch(replace(job, run_id="another", session=first.session))
    assert second.argv[-2:] == ("--resume", first.session)
    assert second.env["CLAUDE_CONFIG_DIR"] == first.env["CLAUDE_CONFIG_DIR"], "where the session is"
    assert b"Say hello." in first.opening


def test_the_built_in_agent_is_this_python_without_the_worktree_on_its_path(paths: Paths, job: Job) -> None:
    launch = load_adapter("builtin", paths).launch(job)
    assert launch.argv[:4] == (sys.executable, "-P", "-m", "core.agents.builtin")
    assert launch.argv[4] == "--model"


def test_a_person_s_file_goes_before_the_package_s(paths: Paths, job: Job) -> None:
    declare(paths, "builtin", 'title = "Mine"\nargv = ["mine"]')
    assert load_adapter("builtin", paths).title == "Mine"
    assert len(adapters(paths)) == 3


def test_an_unknown_adapter_is_answered_with_the_known_ones(paths: Paths) -> None:
    with pytest.raises(NotFoundError) as caught:
        load_adapter("cladue", paths)
    assert "builtin, claude-code, command" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("argv = [", "not TOML"),
        ("title = 'x'", "argv is missing"),
        ("argv = 'agent'", "must be a list of texts"),
        ("argv = [1]", "must be a list of texts"),
        ("argv = ['a']\nargs = ['b']", "'args' is not a field"),
        ("argv = ['a']\ntitle = 3", "must be a text"),
        ("argv = ['a']\nstdin = 'maybe'", "stdin is 'maybe'"),
        ("argv = ['a']\ndialect = 'klingon'", "dialect is 'klingon'"),
        ("argv = ['{promt}']", "{promt} is no placeholder"),
        ("argv = ['x{command}']", "element of its own"),
        ("argv = ['a']\ncapabilities = ['flying']", "'flying' is no capability"),
        ("argv = ['a']\nenv = { A = 1 }", "must be a table of texts"),
    ],
)
def test_a_wrong_declaration_names_its_file_and_field(paths: Paths, text: str, named: str) -> None:
    declare(paths, "wrong", text)
    with pytest.raises(UsageError) as caught:
        load_adapter("wrong", paths)
    assert named in caught.value.sentence()
    assert "wrong.toml" in caught.value.message


def test_no_key_of_the_person_reaches_an_agent(job: Job) -> None:
    mine = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "AWS_SECRET_ACCESS_KEY": "s",
        "ANTHROPIC_API_KEY": "k",
        "PYTHONPATH": ".",
        "QD_HOME": "h",
    }
    assert base_environment(mine) == {"PATH": "/bin", "LC_ALL": "C"}
    assert job_environment(job)["QD_PROMPT_FILE"] == str(job.prompt_file)
