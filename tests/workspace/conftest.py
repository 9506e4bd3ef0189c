"""Every test of this room has a home of its own, without configuration of git."""

from pathlib import Path

import pytest
from workspace_kit import make_repository

from core.workspace.repository import Repository, base_commit, open_repository
from core.workspace.worktree import Worktree, create


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("XDG_CONFIG_HOME", "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def person(tmp_path: Path) -> Path:
    """The person's checkout, in a folder with a space in its name."""
    return make_repository(tmp_path / "my code" / "project")


@pytest.fixture
async def repo(person: Path) -> Repository:
    """The person's repository, registered."""
    return await open_repository(person)


@pytest.fixture
async def worktree(repo: Repository, tmp_path: Path) -> Worktree:
    """A worktree for task 1."""
    return await create(repo, tmp_path / "work trees" / "project" / "1", "qd/1-task", await base_commit(repo, "main"))
