"""Ignored files are copied into a worktree, and nothing from or to anywhere else."""

import stat
from pathlib import Path

import pytest
from workspace_kit import write

from config.errors import UsageError
from core.workspace.worktree import Worktree, commit_all, include

IGNORED = "*.log\n.env\n.env.*\nconfig/local/\nnode_modules/\n"


@pytest.fixture
def source(person: Path, worktree: Worktree) -> Path:
    """The person's checkout, with ignored files in it."""
    for root in (person, worktree.path):
        write(root, _dot_gitignore=IGNORED)
    write(
        person,
        _dot_env="SECRET=1",
        app___dot_env="SECRET=2",
        config__local__a="a",
        config__local__deep__b="b",
        x_dot_log="l",
    )
    (person / ".env").chmod(0o600)
    return person


async def test_ignored_files_that_match_are_copied_with_their_mode(worktree: Worktree, source: Path) -> None:
    copied = await include(worktree, source, [".env", "config/local/"])
    assert sorted(copied) == [".env", "config/local/a", "config/local/deep/b"]
    assert (worktree.path / ".env").read_text() == "SECRET=1"
    assert stat.S_IMODE((worktree.path / ".env").stat().st_mode) == 0o600


async def test_patterns_reach_any_depth_only_where_they_say_so(worktree: Worktree, source: Path) -> None:
    assert await include(worktree, source, ["*.env"]) == [".env"]
    assert await include(worktree, source, ["**/.env"]) == ["app/.env"]
    assert await include(worktree, source, ["config/*/a"]) == ["config/local/a"]


async def test_what_git_would_commit_is_not_copied(worktree: Worktree, source: Path) -> None:
    write(source, draft_dot_txt="not ignored", a_dot_txt="changed by the person")
    assert await include(worktree, source, ["draft.txt", "a.txt", "**"]) == [
        ".env", "app/.env", "config/local/a", "config/local/deep/b", "x.log",
    ]  # fmt: skip
    assert (worktree.path / "a.txt").read_text() == "one\ntwo\nthree\n"
    await commit_all(worktree, "m")


async def test_what_is_there_already_stays(worktree: Worktree, source: Path) -> None:
    write(worktree.path, _dot_env="mine")
    assert await include(worktree, source, [".env"]) == []
    assert (worktree.path / ".env").read_text() == "mine"


@pytest.mark.parametrize("pattern", ["../x", "/etc/passwd", "a/../../x", ".git/config", "~/.ssh", ""])
async def test_patterns_that_lead_outside_are_refused(worktree: Worktree, source: Path, pattern: str) -> None:
    with pytest.raises(UsageError, match="include contains"):
        await include(worktree, source, [pattern])


async def test_links_are_followed_only_within_the_checkout(worktree: Worktree, source: Path, tmp_path: Path) -> None:
    write(tmp_path, outside__secret="s")
    (source / ".env.out").symlink_to(tmp_path / "outside" / "secret")
    (source / ".env.in").symlink_to(".env")
    (source / "config" / "local" / "dir").symlink_to(tmp_path / "outside")
    assert await include(worktree, source, [".env.*", "config/local"]) == [
        ".env.in",
        "config/local/a",
        "config/local/deep/b",
    ]
    assert (worktree.path / ".env.in").read_text() == "SECRET=1"


async def test_a_link_in_the_worktree_does_not_lead_a_copy_outside(
    worktree: Worktree, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (worktree.path / "config").symlink_to(tmp_path / "outside")
    (worktree.path / "app").write_text("a file in the way")
    await include(worktree, source, ["config/local", "app/.env"])
    assert list((tmp_path / "outside").iterdir()) == []


async def test_more_than_the_bound_is_refused(worktree: Worktree, source: Path) -> None:
    (source / ".env.big").write_bytes(b"x" * 10_000)
    with pytest.raises(UsageError, match="include copies more than it may"):
        await include(worktree, source, [".env.*"], max_bytes=5000)
