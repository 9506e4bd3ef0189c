"""``.quarterdeck.toml`` is read strictly."""

from pathlib import Path

import pytest
from workspace_kit import commit

from config.errors import UsageError
from core.workspace.project_file import ProjectFile, parse_project_file, read_project_file, read_project_file_at
from core.workspace.repository import Repository


def test_an_absent_file_sets_nothing(tmp_path: Path) -> None:
    assert read_project_file(tmp_path) == ProjectFile()


def test_strings_and_lists_of_strings_are_taken(tmp_path: Path) -> None:
    (tmp_path / ".quarterdeck.toml").write_text(
        'verify = "make test"\nsetup = ["a", "b"]\nbase = "develop"\n'
        'include = [".env", "config/*.local"]\nqueue = "work/tasks"\n'
    )
    assert read_project_file(tmp_path) == ProjectFile(
        verify=("make test",), setup=("a", "b"), base="develop", include=(".env", "config/*.local"), queue="work/tasks"
    )


def test_an_empty_list_of_gates_is_not_silence() -> None:
    assert parse_project_file(b"verify = []", "f").verify == ()
    assert parse_project_file(b"", "f").verify is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('verfy = "x"', "did you mean 'verify'"),
        ("verify = 3", "verify is 3; give a string or a list"),
        ("verify = ['a', 7]", "verify contains 7"),
        ("setup = ' '", "setup contains ' '"),
        ("base = ['x']", "base is"),
        ("include = '../secrets'", "include contains '../secrets'"),
        ("include = ['/etc/passwd']", "without '..'"),
        ("include = ['.git/config']", "include contains"),
        ("queue = '/tasks'", "queue contains"),
        ("verify = [", "no valid TOML"),
        ("x" * 70_000, "larger than 64 kB"),
        ("[verify]\na = 1", "verify is"),
    ],
)
def test_what_is_wrong_is_named_with_its_file_key_value_and_remedy(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_project_file(text.encode(), "/p/.quarterdeck.toml")
    assert "/p/.quarterdeck.toml" in caught.value.sentence()
    assert says in caught.value.sentence()


def test_a_link_is_not_followed_to_a_file_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("password = 1")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / ".quarterdeck.toml").symlink_to(tmp_path / "secret")
    with pytest.raises(UsageError, match="cannot be read") as caught:
        read_project_file(tmp_path / "tree")
    assert "password" not in caught.value.sentence()


async def test_the_file_of_the_base_counts_whatever_lies_in_the_folder(repo: Repository) -> None:
    base = commit(repo.path, "gates", _dot_quarterdeck_dot_toml='verify = "make test"')
    (repo.path / ".quarterdeck.toml").write_text('verify = "true"')
    assert (await read_project_file_at(repo, base)).verify == ("make test",)
    assert await read_project_file_at(repo, f"{base}~1") == ProjectFile()
