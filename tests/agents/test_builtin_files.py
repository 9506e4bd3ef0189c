"""The built-in agent's hands reach into the worktree and nowhere else."""

import os
from pathlib import Path

import pytest

from core.agents.builtin.files import RefusedError, Worktree


@pytest.fixture
def tree(tmp_path: Path) -> Worktree:
    """A worktree with a neighbour that has a secret."""
    root = tmp_path / "work tree"
    (root / "src").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("[core]")
    (root / "src" / "a.py").write_text("x = 1\n")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    return Worktree(root)


def links(tree: Worktree) -> None:
    outside = tree.root.parent / "outside"
    (tree.root / "file-out").symlink_to(outside / "secret")
    (tree.root / "file-up").symlink_to("../outside/secret")
    (tree.root / "folder-out").symlink_to(outside)
    (tree.root / "folder-up").symlink_to("../outside")
    (tree.root / "src" / "two-steps").symlink_to("../folder-up")
    (tree.root / "round").symlink_to("round")
    (tree.root / "into-git").symlink_to(".git")
    (tree.root / "dangling-out").symlink_to("../outside/new")


ESCAPES = [
    "../outside/secret",
    "src/../../outside/secret",
    "/etc/passwd",
    "file-out",
    "file-up",
    "folder-out/secret",
    "folder-up/secret",
    "src/two-steps/secret",
    "round",
    "round/x",
    "dangling-out",
    ".git/config",
    ".GIT/config",
    "src/../.git/config",
    "into-git/config",
    "./.git",
    "..",
    "",
    "src",
    "src\0/a.py",
]


@pytest.mark.parametrize("path", ESCAPES)
def test_a_path_that_leads_out_is_neither_read_nor_written(tree: Worktree, path: str) -> None:
    links(tree)
    with pytest.raises((RefusedError, OSError)):
        tree.read(path)
    with pytest.raises((RefusedError, OSError)):
        tree.write(path, "overwritten")
    outside = tree.root.parent / "outside"
    assert {file.name: file.read_text() for file in outside.iterdir()} == {"secret": "secret"}
    assert (tree.root / ".git" / "config").read_text() == "[core]"


def test_an_absolute_path_elsewhere_that_begins_alike_is_refused(tree: Worktree) -> None:
    neighbour = Path(f"{tree.root}-2")
    neighbour.mkdir()
    (neighbour / "f").write_text("secret")
    with pytest.raises(RefusedError, match="outside"):
        tree.read(str(neighbour / "f"))


def test_an_absolute_path_into_the_worktree_is_taken(tree: Worktree) -> None:
    assert tree.read(str(tree.root / "src" / "a.py")) == "x = 1\n"


def test_an_absolute_link_is_refused_wherever_it_leads(tree: Worktree) -> None:
    """Inside a sandbox the worktree may have another path; and below a folder it would be resolved from there."""
    (tree.root / "src" / "src").mkdir()
    (tree.root / "src" / "src" / "a.py").write_text("the wrong one")
    (tree.root / "src" / "absolute").symlink_to(tree.root / "src" / "a.py")
    with pytest.raises(RefusedError, match="outside"):
        tree.read("src/absolute")


def test_links_that_stay_inside_are_followed(tree: Worktree) -> None:
    (tree.root / "alias.py").symlink_to("src/a.py")
    (tree.root / "lib").symlink_to("src")
    (tree.root / "src" / "up.py").symlink_to("../alias.py")
    assert tree.read("lib/a.py") == tree.read("alias.py") == tree.read("lib/up.py") == "x = 1\n"
    assert tree.write("lib/up.py", "x = 2\n") == "src/a.py"
    assert (tree.root / "alias.py").is_symlink()
    assert tree.read("src/a.py") == "x = 2\n"


def test_writing_makes_folders_and_keeps_permissions(tree: Worktree) -> None:
    tree.write("new/deep/er.txt", "text")
    assert (tree.root / "new/deep/er.txt").read_text() == "text"
    (tree.root / "src/a.py").chmod(0o750)
    tree.write("src/a.py", "y\n")
    assert (tree.root / "src/a.py").stat().st_mode & 0o777 == 0o750
    assert sorted(path.name for path in (tree.root / "src").iterdir()) == ["a.py"], "nothing temporary is left"


def test_a_second_name_outside_is_not_written_through(tree: Worktree) -> None:
    outside = tree.root.parent / "outside" / "secret"
    os.link(outside, tree.root / "hard")
    tree.write("hard", "changed")
    assert outside.read_text() == "secret"


def test_what_is_no_file_is_refused_without_waiting(tree: Worktree) -> None:
    os.mkfifo(tree.root / "pipe")
    with pytest.raises(RefusedError, match="not a file"):
        tree.read("pipe")
    with pytest.raises(RefusedError, match="not a file"):
        tree.write("pipe", "x")


def test_a_folder_swapped_for_a_link_while_it_is_walked_does_not_lead_out(tree: Worktree) -> None:
    """What was opened is what is used: the walk holds the folder itself, not its name."""
    with tree._place("src/new.py", make=True) as place:
        (tree.root / "src").rename(tree.root / "moved")
        (tree.root / "src").symlink_to(tree.root.parent / "outside")
        handle = os.open(place.name, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=place.folder)
        os.close(handle)
    assert (tree.root / "moved" / "new.py").exists()
    assert not (tree.root.parent / "outside" / "new.py").exists()


def test_a_listing_leaves_out_git_and_follows_no_link(tree: Worktree) -> None:
    links(tree)
    found = [path for path, _ in tree.files()]
    assert "src/a.py" in found
    assert not [path for path in found if ".git" in path.split("/") or "secret" in path]
    assert [path for path, _ in tree.files("src")] == ["src/a.py"]
    with pytest.raises(RefusedError):
        list(tree.files("folder-up"))
