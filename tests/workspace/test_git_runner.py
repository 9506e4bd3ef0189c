"""The runner of git: bounded, cancellable, deaf to the environment, discreet."""

import asyncio
import os
from pathlib import Path

import pytest
from workspace_kit import run_git

from config.errors import UnavailableError
from core.workspace.git import GitError, Place, clean_environment, git, identity, redact, ssh_environment
from core.workspace.repository import Repository


async def test_a_failure_names_the_verb_the_exit_code_and_git_s_own_words(repo: Repository) -> None:
    with pytest.raises(GitError) as caught:
        await git("rev-parse", "--verify", "nowhere", at=repo.place)
    assert (caught.value.verb, caught.value.status) == ("rev-parse", 128)
    assert "Needed a single revision" in caught.value.message


def test_passwords_and_tokens_in_addresses_are_not_shown() -> None:
    shown = redact(
        "https://pat:s3cret@host/x https://ghp_tok@host/x ssh://git@host/x ssh://git:pw@host/x https://h/x?access_token=abc&y=1"
    )
    assert (
        shown
        == "https://***@host/x https://***@host/x ssh://git@host/x ssh://git:***@host/x https://h/x?access_token=***&y=1"
    )


async def test_an_error_of_git_is_redacted(repo: Repository) -> None:
    with pytest.raises(GitError) as caught:
        await git("ls-remote", "http://pat:s3cret@127.0.0.1:1/x.git", at=repo.place)
    assert "s3cret" not in caught.value.sentence()


def test_no_variable_of_git_is_inherited() -> None:
    dirty = {
        "GIT_DIR": "/x",
        "GIT_INDEX_FILE": "y",
        "GIT_SSH_COMMAND": "evil",
        "PATH": "/bin",
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    assert clean_environment(dirty) == {"PATH": "/bin", "GIT_CONFIG_NOSYSTEM": "1"}


async def test_the_caller_s_git_dir_does_not_lead_astray(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_WORK_TREE", "/nowhere")
    shown = await git("rev-parse", "--show-toplevel", at=repo.path)
    assert Path(shown.text) == repo.path


async def test_output_beyond_the_bound_is_cut_and_git_is_stopped(repo: Repository) -> None:
    output = await git("-c", "alias.flood=!yes", "flood", at=repo.place, max_bytes=100_000)
    assert output.truncated
    assert len(output.stdout) == 100_000


async def test_a_command_out_of_time_is_ended_with_all_that_it_started(repo: Repository, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with pytest.raises(GitError, match="ran out of time"):
        await git("-c", f"alias.hang=!sleep 300 & echo $! >'{pid_file}'; wait", "hang", at=repo.place, timeout=1)
    await _gone(int(pid_file.read_text()))


async def test_a_cancelled_command_is_ended_with_all_that_it_started(repo: Repository, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    alias = f"alias.hang=!trap '' TERM; sleep 300 & echo $! >'{pid_file}'; wait"
    task = asyncio.create_task(git("-c", alias, "hang", at=repo.place))
    while not pid_file.exists() or not pid_file.read_text():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _gone(int(pid_file.read_text()))


async def test_a_lock_that_another_git_holds_is_waited_for(repo: Repository) -> None:
    lock = repo.git_dir / "refs/heads/qd-test.lock"
    lock.touch()
    asyncio.get_running_loop().call_later(0.3, lock.unlink)
    await git("update-ref", "refs/heads/qd-test", "HEAD", at=repo.place)
    assert run_git(repo.path, "rev-parse", "qd-test")


async def test_the_repository_s_own_user_commits_else_quarterdeck(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await identity(repo.place))["GIT_COMMITTER_EMAIL"] == "quarterdeck@localhost"
    monkeypatch.delenv("HOME")
    assert (await identity(repo.place))["GIT_AUTHOR_NAME"] == "Quarterdeck"
    run_git(repo.path, "config", "user.name", "Ann")
    run_git(repo.path, "config", "user.email", "ann@example.org")
    assert await identity(repo.place) == {}


async def test_ssh_is_what_the_person_configured_not_what_stands_in_the_repository(
    repo: Repository, home: Path
) -> None:
    run_git(repo.path, "config", "core.sshCommand", "evil")
    assert (await ssh_environment(repo.place))["GIT_SSH_COMMAND"].startswith("ssh -o BatchMode=yes")
    (home / ".gitconfig").write_text("[core]\n\tsshCommand = ssh -i ~/.ssh/work\n")
    assert (await ssh_environment(repo.place))["GIT_SSH_COMMAND"] == "ssh -i ~/.ssh/work"


async def test_without_git_the_error_says_so(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UnavailableError, match="git was not found"):
        await git("version", at=Place(repo.git_dir))


async def _gone(pid: int) -> None:
    async with asyncio.timeout(20):
        while _runs(pid):
            await asyncio.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")
        return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")
    except (ProcessLookupError, FileNotFoundError):
        return False
