"""`qd project`: repositories under supervision."""

import json
import subprocess
from pathlib import Path

import asyncpg
import pytest

from core.commands.registering import detect, id_from
from tests.command_line import CommandLine


def repository(folder: Path, **files: str) -> Path:
    """A git repository with one commit of these files (``__`` stands for a dot)."""
    folder.mkdir(parents=True)
    git = ("git", "-C", str(folder), "-c", "user.name=T", "-c", "user.email=t@example.org")
    subprocess.run([*git, "init", "--quiet", "--initial-branch=main"], check=True)
    (folder / "readme").write_text("hello\n")
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "First [red]commit"], check=True)
    return folder


async def test_a_repository_becomes_a_project_as_its_files_say(qd: CommandLine, tmp_path: Path) -> None:
    repo = repository(tmp_path / "My Site", package__json='{"scripts": {"test": "jest"}}')
    told = (await qd("project", "add", str(repo), "--json")).json
    assert told["id"] == told["name"] == "my-site"
    assert told["path"] == told["repo"] == str(repo)
    assert (told["stack"], told["verify"]) == ("node", ["npm test"])
    assert (told["priority"], told["max_parallel"], told["status"]) == (3, 2, "active")
    assert told["colors"]["primary"].startswith("#")
    assert told["note"] == "node found, verified by: `npm test`"
    shown = (await qd("project", "show", "my-site", "--json")).json
    assert shown["checkout"]["branch"] == "main"
    assert shown["checkout"]["subject"] == "First [red]commit"


async def test_every_option_is_kept(qd: CommandLine, tmp_path: Path) -> None:
    repo = repository(tmp_path / "r")
    await qd("agent", "add", "smith", "--adapter", "command", "--command", "true")
    told = (
        await qd(
            *(
                "project",
                "add",
                "r",
                "--id",
                "x",
                "--name",
                "The X",
                "--stack",
                "cobol",
                "--priority",
                "5",
                "--base",
                "main",
            ),
            *("--verify", "make a", "--verify", "make b", "--max-parallel", "7", "--auto-merge", "--primary", "Teal"),
            *("--accent", "#ABC", "--merge-method", "fast-forward", "--agent", "smith", "--json"),
        )
    ).json
    expected = {
        "id": "x", "name": "The X", "path": str(repo), "stack": "cobol", "priority": 5, "base": "main", "max_parallel": 7,
        "verify": ["make a", "make b"], "auto_merge": True, "merge_method": "fast-forward", "agent": "smith",
        "colors": {"primary": "teal", "accent": "#aabbcc"}, "note": None,
    }  # fmt: skip
    assert {name: told[name] for name in expected} == expected


async def test_here_is_a_path_too(qd: CommandLine, tmp_path: Path) -> None:
    repo = repository(tmp_path / "here")
    told = (await CommandLine(qd.environ, repo)("project", "add", ".", "--json")).json
    assert (told["id"], told["path"]) == ("here", str(repo))


async def test_projects_get_colours_of_their_own(qd: CommandLine, tmp_path: Path) -> None:
    colours = set()
    for name in "abc":
        repository(tmp_path / name)
        colours.add((await qd("project", "add", name, "--json")).json["colors"]["primary"])
    assert len(colours) == 3


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["nowhere"], 2, "there is no folder"),
        (["."], 2, "is no git repository"),
        (["r", "--id", "A/b"], 2, "id 'A/b'"),
        (["r", "--id", ""], 2, "id ''"),
        (["r", "--primary", "reddish"], 2, "primary 'reddish': is no colour"),
        (["r", "--base", "nope"], 2, "nope"),
        (["r", "--agent", "nobody"], 3, "there is no agent nobody"),
        (["r", "--priority", "0"], 2, "priority '0'"),
        (["r", "--priority", "high"], 2, "priority 'high'"),
        (["r", "--verify", ""], 2, "verify"),
        (["r", "--merge-method", "octopus"], 2, "merge-method 'octopus'"),
        (["https://me:token@example.org/r.git"], 2, "password or token"),
        (["ext::sh -c id"], 2, "may not use here"),
        (["--", "--upload-pack=x"], 2, "names no repository"),
    ],
)
async def test_a_wrong_project_is_refused(
    qd: CommandLine, tmp_path: Path, argv: list[str], code: int, words: str
) -> None:
    repository(tmp_path / "r")
    outcome = await qd("project", "add", *argv)
    assert outcome.code == code
    assert words in outcome.err
    assert "token@" not in outcome.err
    assert (await qd("project", "list", "--json")).json == []


async def test_an_id_and_a_repository_are_given_once(qd: CommandLine, tmp_path: Path) -> None:
    repository(tmp_path / "r")
    repository(tmp_path / "s")
    await qd("project", "add", "r")
    again = await qd("project", "add", "r", "--id", "other")
    assert again.code == 5
    assert "is project r already" in again.err
    taken = await qd("project", "add", "s", "--id", "r")
    assert taken.code == 5
    assert "there is a project r already" in taken.err


async def test_a_url_is_cloned_and_synced(qd: CommandLine, tmp_path: Path) -> None:
    origin = repository(tmp_path / "origin")
    told = (await qd("project", "add", f"file://{origin}", "--id", "copy", "--json")).json
    assert told["repo"] == f"file://{origin}"
    assert told["path"] == str(tmp_path / "home" / "state" / "repositories" / "copy")
    git = ("git", "-C", str(origin), "-c", "user.name=T", "-c", "user.email=t@example.org")
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "second"], check=True)
    [result] = (await qd("project", "sync", "copy", "--json")).json
    assert (result["project"], result["status"], result["branch"]) == ("copy", "ok", "main")
    origin.rename(tmp_path / "moved")
    failed = await qd("project", "sync", "--json")
    assert failed.code == 1
    assert json.loads(failed.out)[0]["status"] == "failed"


async def test_a_project_is_edited_paused_and_resumed(qd: CommandLine, tmp_path: Path) -> None:
    repository(tmp_path / "r", pyproject__toml="[tool.pytest.ini_options]\n")
    added = (await qd("project", "add", "r", "--auto-merge", "--json")).json
    assert added["verify"] == ["python3 -m pytest"]
    edit = ("--no-auto-merge", "--clear", "verify", "--max-parallel", "0", "--name", "R")
    edited = (await qd("project", "edit", "r", *edit, "--json")).json
    assert (edited["auto_merge"], edited["verify"], edited["max_parallel"], edited["name"]) == (False, [], 0, "R")
    assert edited["priority"] == added["priority"]
    assert (await qd("project", "pause", "r")).out == "project r is paused; 0 in progress\n"
    assert (await qd("project", "list", "--json")).json[0]["status"] == "paused"
    assert (await qd("project", "resume", "r", "--json")).json["status"] == "active"
    assert (await qd("project", "edit", "r")).code == 2
    assert (await qd("project", "edit", "r", "--base", "nope")).code == 2
    assert (await qd("project", "pause", "q")).code == 3


async def test_a_project_that_moved_is_found_again(qd: CommandLine, tmp_path: Path) -> None:
    repo = repository(tmp_path / "r")
    await qd("project", "add", "r")
    repo.rename(tmp_path / "there")
    shown = (await qd("project", "show", "r", "--json")).json
    assert shown["checkout"] is None
    assert "there is no folder" in shown["note"]
    assert (await qd("project", "edit", "r", "--repo", "there", "--json")).json["path"] == str(tmp_path / "there")


@pytest.mark.parametrize(
    ("status", "words"), [("in_progress", "tasks in progress: #1"), ("review", "changes in review: #1")]
)
async def test_a_project_with_work_that_would_be_lost_is_not_removed(
    qd: CommandLine, tmp_path: Path, dsn: str, status: str, words: str
) -> None:
    repository(tmp_path / "r")
    await qd("project", "add", "r")
    connection = await asyncpg.connect(dsn)
    try:
        await connection.fetch("select * from task_add($1)", json.dumps([{"project": "r", "title": "t"}]))
        await connection.execute("update task set status = $1", status)
        outcome = await qd("project", "remove", "r")
        assert outcome.code == 5
        assert words in outcome.err
        await connection.execute("update task set status = 'completed'")
    finally:
        await connection.close()
    outcome = await qd("project", "remove", "r")
    assert outcome.out == f"project r is removed; 1 task deleted, the repository stays in {tmp_path / 'r'}\n"
    assert (await qd("project", "show", "r")).code == 3
    assert (tmp_path / "r" / "readme").exists()
    assert (await qd("project", "add", "r")).code == 0


async def test_a_project_whose_tasks_others_wait_for_is_not_removed(qd: CommandLine, tmp_path: Path, dsn: str) -> None:
    for name in "ab":
        repository(tmp_path / name)
        await qd("project", "add", name)
    connection = await asyncpg.connect(dsn)
    try:
        await connection.fetch("select * from task_add($1)", json.dumps([{"project": "a", "title": "t"}]))
        await connection.fetch("select * from task_add($1)", json.dumps([{"project": "b", "title": "t", "after": [1]}]))
    finally:
        await connection.close()
    outcome = await qd("project", "remove", "a")
    assert outcome.code == 5
    assert "tasks of other projects wait for tasks of a: #2" in outcome.err


async def test_a_file_of_projects_comes_in_and_goes_out_whole(qd: CommandLine, tmp_path: Path) -> None:
    for name in "ab":
        repository(tmp_path / "work" / name)
    source = {
        "projects": [
            {"id": "one", "name": "One", "repo": "a", "stack": "go", "priority": 4, "owner": {"team": [1, "x"]},
             "colors": {"primary": "#102030", "accent": "teal", "glow": "pink"}},
            {"repo": str(tmp_path / "work" / "b"), "verify": ["make check"], "paused": True},
        ]
    }  # fmt: skip
    file = tmp_path / "work" / "projects.json"
    file.write_text(json.dumps(source))
    imported = (await qd("project", "import", str(file), "--json")).json
    assert [(entry["project"], entry["status"]) for entry in imported] == [("one", "added"), ("b", "added")]
    assert (await qd("project", "show", "b", "--json")).json["status"] == "paused"
    exported = (await qd("project", "export", "--json")).json
    one = next(project for project in exported["projects"] if project["id"] == "one")
    assert one["owner"] == {"team": [1, "x"]}
    assert one["colors"] == {"primary": "#102030", "accent": "teal", "glow": "pink"}
    assert one["repo"] == str(tmp_path / "work" / "a")

    assert (await qd("project", "export", "out.json", "--json")).json["projects"] == 2
    assert json.loads((tmp_path / "out.json").read_text()) == exported
    assert json.loads((await qd("project", "export")).out) == exported
    again = (await qd("project", "import", "out.json", "--json")).json
    assert {entry["status"] for entry in again} == {"updated"}
    assert (await qd("project", "export", "--json")).json == exported


async def test_an_import_changes_what_the_file_says_and_nothing_else(qd: CommandLine, tmp_path: Path) -> None:
    repository(tmp_path / "r")
    await qd("project", "add", "r", "--verify", "make", "--priority", "5", "--primary", "teal")
    text = json.dumps({"projects": [{"id": "r", "repo": "r", "stack": "go"}]})
    assert (await qd("project", "import", "-", "--json", stdin=text)).json[0]["status"] == "updated"
    told = (await qd("project", "show", "r", "--json")).json
    assert (told["stack"], told["verify"], told["priority"], told["colors"]["primary"]) == ("go", ["make"], 5, "teal")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no valid JSON"),
        ("[]", "has no list of projects"),
        ('{"projects": {}}', "has no list of projects"),
        ('{"projects": [1]}', "project 1"),
        ('{"projects": [{"id": "a"}]}', "project 1: repo"),
        ('{"projects": [{"repo": "r"}, {"repo": "r", "priority": 9}]}', "project 2: priority"),
        ('{"projects": [{"repo": "r", "colors": {"primary": "reddish"}}]}', "colors.primary: is no colour"),
        ('{"projects": [{"repo": "r", "id": "R R"}]}', "project 1: id"),
        ('{"projects": [{"repo": "r"}, {"repo": "x/r"}]}', "project 2 has the id r"),
        pytest.param("[" * 200_000, "is no valid JSON", id="deep"),
    ],
)
async def test_a_wrong_file_changes_nothing(qd: CommandLine, tmp_path: Path, text: str, words: str) -> None:
    repository(tmp_path / "r")
    outcome = await qd("project", "import", "-", stdin=text)
    assert outcome.code == 2
    assert words in outcome.err
    assert (await qd("project", "list", "--json")).json == []


async def test_one_project_that_cannot_come_in_does_not_keep_out_the_others(qd: CommandLine, tmp_path: Path) -> None:
    repository(tmp_path / "r")
    text = json.dumps({"projects": [{"repo": "gone"}, {"repo": "r"}]})
    outcome = await qd("project", "import", "-", "--json", stdin=text)
    assert outcome.code == 1
    assert [entry["status"] for entry in json.loads(outcome.out)] == ["failed", "added"]
    assert (await qd("project", "import", "none.json")).code == 2
    assert (await qd("project", "import", ".")).code == 2


@pytest.mark.parametrize(
    ("files", "stack", "verify"),
    [
        ({}, None, ()),
        ({"pyproject.toml": "", "tests/test_a.py": ""}, "python", ("python3 -m unittest discover -s tests",)),
        ({"setup.py": "", "tests/conftest.py": ""}, "python", ("python3 -m pytest",)),
        ({"requirements.txt": "pytest>=8\n"}, "python", ("python3 -m pytest",)),
        ({"pyproject.toml": "[project]\n"}, "python", ()),
        ({"package.json": '{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}'}, "node", ()),
        ({"package.json": "[]"}, "node", ()),
        ({"package.json": "{"}, "node", ()),
        ({"Cargo.toml": "[workspace]\n"}, "rust", ("cargo test --workspace",)),
        ({"Cargo.toml": "[package]\n"}, "rust", ("cargo test",)),
        ({"go.mod": "module x\n"}, "go", ("go test ./...",)),
        ({".quarterdeck.toml": 'verify = "make"\n', "go.mod": ""}, "go", ()),
    ],
)
def test_a_stack_is_recognised_by_what_its_files_say_plainly(
    tmp_path: Path, files: dict[str, str], stack: str | None, verify: tuple[str, ...]
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = detect(tmp_path)
    assert (found.stack, found.verify) == (stack, verify)


def test_an_id_is_made_from_any_name() -> None:
    names = [
        "/a/My Repo/",
        "git@host:team/tool.git",
        "https://h/x/Y.git",
        "owner/name",
        "..x..",
        "é" * 3 + "tat",
        "a" * 99,
    ]
    made = [id_from(name) for name in names]
    assert made == ["my-repo", "tool", "y", "name", "x", "tat", "a" * 63]
