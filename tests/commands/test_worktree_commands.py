"""`qd worktree`: leftovers are shown and cleaned."""

import subprocess
from pathlib import Path

import pytest

from config.errors import NotFoundError
from core.workspace import repository, worktree
from tests.crew import Crew


async def made(crew: Crew, tmp_path: Path, name: str) -> Path:
    """A worktree of a real repository, with work in it that was not committed."""
    root = tmp_path / "repository"
    if not root.exists():
        root.mkdir()
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        for words in (["init", "-q", "-b", "main"], [*who, "commit", "-q", "--allow-empty", "-m", "first"]):
            subprocess.run(["git", *words], cwd=root, check=True)
    repo = await repository.open_repository(root)
    path = crew.context.paths.worktrees / "app" / name
    await worktree.create(repo, path, f"qd/{name}", await repository.base_commit(repo, "main"))
    (path / "work.txt").write_text("much\n")
    return path


async def test_only_what_no_task_needs_is_listed_and_cleaned_with_its_work_kept(crew: Crew, tmp_path: Path) -> None:
    left, needed = await made(crew, tmp_path, "1-left"), await made(crew, tmp_path, "2-needed")
    over, alive = await crew.add(), await crew.add()
    for task, path in ((over, left), (alive, needed)):
        run = await crew.begin(task)
        await crew.connection.execute("update run set worktree = $2 where number = $1", run, str(path))
    await crew.end(over, "failed", "failed")
    [item] = await crew.do("worktree.list")
    assert (item.path, item.project, item.branch, item.unmerged) == (left, "app", "qd/1-left", True)
    assert item.size_bytes > 0
    assert await crew.do("worktree.clean") == []
    with pytest.raises(NotFoundError, match="is no leftover worktree"):
        await crew.do("worktree.clean", path=[str(needed)])
    [cleaned] = await crew.do("worktree.clean", older_than=0)
    assert (cleaned.path, cleaned.kept) == (left, None)
    assert cleaned.snapshot.startswith("refs/qd/salvage/")
    assert not left.exists()
    assert needed.exists()
    shown = subprocess.run(
        ["git", "show", f"{cleaned.snapshot}:work.txt"],
        cwd=tmp_path / "repository",
        check=True,
        capture_output=True,
        text=True,
    )
    assert shown.stdout == "much\n"
    assert await crew.do("worktree.list") == []
