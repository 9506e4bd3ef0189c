"""What `qd` answers: exit codes, errors as sentences and as JSON, nothing else on stdout."""

import json
import subprocess
from pathlib import Path

import pytest

from core.commands import table
from core.commands.table import Context, command
from core.faces.cli import Edge, run
from storage.database import Role
from tests.command_line import CommandLine, Terminal


async def test_an_error_is_one_sentence_with_its_remedy(qd: CommandLine) -> None:
    outcome = await qd("agent", "show", "nobody")
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err == "qd: there is no agent nobody; see `qd agent list`\n"


async def test_an_error_that_quotes_something_endless_keeps_its_remedy(qd: CommandLine) -> None:
    outcome = await qd("settings", "get", "x" * 100_000)
    assert outcome.code == 3
    assert len(outcome.err) < 3000
    assert outcome.err.endswith("see `qd settings list`\n")
    assert len((await qd("settings", "get", "x" * 100_000, "--json")).error["message"]) < 3000


async def test_an_error_is_json_on_stderr_when_json_is_asked_for(qd: CommandLine) -> None:
    outcome = await qd("--json", "agent", "show", "nobody")
    assert outcome.error == {
        "code": "not_found",
        "message": "there is no agent nobody",
        "hint": "see `qd agent list`",
    }
    assert (await qd("no", "--json")).error["code"] == "usage"


async def test_an_unreachable_database_is_exit_code_6(offline: CommandLine) -> None:
    outcome = await offline("status", "--json")
    assert outcome.code == 6
    assert outcome.error["code"] == "unavailable"


async def test_a_wrong_database_address_is_refused_without_its_password(offline: CommandLine) -> None:
    outcome = await offline("status", "--database-url", "mysql://me:secret@h/d")
    assert outcome.code == 2
    assert "secret" not in outcome.err
    outcome = await offline("status", "--database-url", "postgresql://me:secret@[::bad/d")
    assert outcome.code == 2
    assert "secret" not in outcome.err


async def test_database_url_of_the_persons_own_project_is_never_read(qd: CommandLine) -> None:
    assert (await qd("status", "--json", DATABASE_URL="postgresql://127.0.0.1:1/x")).json["database"]


async def test_status_has_the_fields_that_scripts_rely_on(qd: CommandLine) -> None:
    told = (await qd("status", "--json")).json
    assert list(told) == ["engine", "engines", "database", "tasks", "runs", "questions", "spend"]
    assert list(told["database"]) == ["mode", "version", "url"]
    assert list(told["spend"]) == ["today_usd", "month_usd", "today_basis", "month_basis"]
    assert told["engine"] is None
    assert told["database"]["mode"] == "external"


async def test_a_role_narrows_what_a_person_may_do(qd: CommandLine) -> None:
    outcome = await qd("queue", "pause", "--json", QD_ROLE="viewer")
    assert (outcome.code, outcome.error["code"]) == (4, "forbidden")
    assert (
        await qd("queue", "pause", QD_ROLE="supervisor")
    ).code == 4  # the settings are the admin's, says the database
    assert (await qd("queue", "show", QD_ROLE="viewer")).code == 0
    outcome = await qd("queue", "show", QD_ROLE="emperor")
    assert outcome.code == 2
    assert "QD_ROLE is 'emperor'" in outcome.err


async def test_an_empty_list_is_an_empty_array_or_a_hint(qd: CommandLine) -> None:
    assert (await qd("project", "list", "--json")).out == "[]\n"
    outcome = await qd("project", "list")
    assert (outcome.code, outcome.out) == (0, "")
    assert "qd project add" in outcome.err


async def test_a_list_that_options_emptied_does_not_say_that_there_is_nothing(qd: CommandLine) -> None:
    assert "Add the first" in (await qd("task", "list", "--limit", "5")).err
    assert (
        await qd("task", "list", "--search", "x")
    ).err == "nothing fits; `qd task list` without its options shows all\n"


async def test_without_an_engine_a_person_is_told_how_to_start_one(qd: CommandLine, tmp_path: Path) -> None:
    assert "start it with: qd up" in (await qd("status")).out
    subprocess.run(["git", "init", "-q", "-b", "main", tmp_path / "app"], check=True)
    subprocess.run(
        [
            "git",
            "-C",
            tmp_path / "app",
            "-c",
            "user.name=x",
            "-c",
            "user.email=x@x",
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            "x",
        ],
        check=True,
    )
    await qd("project", "add", str(tmp_path / "app"))
    await qd("task", "add", "t", "--project", "app")
    outcome = await qd("task", "wait", "1", "--timeout", "0.1")
    assert outcome.code == 1
    assert "no engine is running, nothing goes on; start one with `qd up`" in outcome.err
    assert set(json.loads((await qd("task", "wait", "1", "--timeout", "0.1", "--json")).err)) == {"error"}


async def test_destructive_commands_ask_at_a_terminal_only(qd: CommandLine) -> None:
    for name in ("a", "b", "c"):
        await qd("agent", "add", name, "--adapter", "command", "--command", "true")
    outcome = await qd("agent", "remove", "a", terminal=True, stdin="n\n")
    assert outcome.code == 1
    assert "qd agent remove a" in outcome.err
    assert (await qd("agent", "remove", "a", terminal=True, stdin="y\n")).code == 0
    assert (await qd("agent", "remove", "b", "--yes", terminal=True)).code == 0
    assert (await qd("agent", "remove", "c")).code == 0
    assert (await qd("agent", "list", "--json")).json == []


async def test_help_is_made_from_the_table(offline: CommandLine) -> None:
    whole = await offline("help")
    assert whole.code == 0
    assert all(f"  {noun}  " in whole.out for noun in table.NOUNS if noun)
    assert "qd project add PATH|URL" in (await offline("help", "project")).out
    page = await offline("project", "add", "--help")
    assert "--verify CMD" in page.out
    assert page.out == (await offline("help", "project", "add")).out
    assert (await offline("project", "--help")).out == (await offline("help", "project")).out
    told = (await offline("help", "queue", "--json")).json
    assert [page["command"] for page in told] == ["queue.show", "queue.pause", "queue.resume"]
    assert (await offline("help", "projet")).err == "qd: there is no command 'projet'; did you mean project?\n"


async def test_offline_commands_need_no_database(offline: CommandLine) -> None:
    assert (await offline("version", "--json")).json["version"]
    assert (await offline("--version")).out.startswith("qd ")
    assert "complete -o filenames -F _qd qd" in (await offline("completion", "bash")).out
    assert (await offline("completion", "fish")).out.startswith("#")


async def test_without_a_terminal_plain_qd_says_what_to_do(offline: CommandLine) -> None:
    outcome = await offline()
    assert outcome.code == 2
    assert "see `qd help`" in outcome.err


async def test_a_bug_becomes_a_sentence_and_a_report_without_values(
    offline: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "_TABLE", dict(table._TABLE))
    table.commands("")

    @command("burst", role=Role.VIEWER, offline=True)
    async def burst(ctx: Context) -> None:
        """Break."""
        password = "hunter2"  # noqa: F841 - what must not come out
        raise ZeroDivisionError

    outcome = await offline("burst")
    assert outcome.code == 1
    assert outcome.out == ""
    assert "internal error (ZeroDivisionError)" in outcome.err
    [report] = (tmp_path / "home" / "state" / "logs").glob("crash-*.txt")
    assert "Traceback" in report.read_text()
    assert "hunter2" not in report.read_text().replace('password = "hunter2"', "")
    assert str(report) in outcome.err


async def test_colours_only_on_a_terminal_that_wants_them(qd: CommandLine) -> None:
    await qd("agent", "add", "a", "--adapter", "command", "--command", "true")
    assert "\x1b[" not in (await qd("agent", "list")).out
    assert "● enabled" in (await qd("agent", "list")).out
    assert "\x1b[" in (await qd("agent", "list", terminal=True, TERM="xterm")).out
    assert "\x1b[" not in (await qd("agent", "list", terminal=True, TERM="xterm", NO_COLOR="1")).out
    dumb = await qd("agent", "list", terminal=True, TERM="dumb")
    assert "\x1b[" not in dumb.out
    assert "+ enabled" in dumb.out


async def test_a_narrow_terminal_is_never_overrun(qd: CommandLine) -> None:
    await qd("agent", "add", "a" * 40, "--adapter", "command", "--command", "true", "--capability", "b" * 60)
    outcome = await qd("agent", "list", terminal=True, TERM="xterm", NO_COLOR="1", COLUMNS="60")
    assert max(len(line) for line in outcome.out.splitlines()) <= 60


async def test_what_a_file_of_settings_says_wrong_is_named(qd: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    for text, words in (
        ("[engine]\nmax_parallel = 'many'\n", "engine.max_parallel = 'many'"),
        ("[engine]\nmax_paralel = 3\n", "there is no setting 'engine.max_paralel'; did you mean engine.max_parallel?"),
        ("engine = 3\n", "there is no setting 'engine'"),
        ("x", "is no valid TOML"),
    ):
        file.write_text(text)
        outcome = await qd("status", QD_CONFIG=str(file))
        assert outcome.code == 2
        assert str(file) in outcome.err
        assert words in outcome.err
    assert "does not exist" in (await qd("status", QD_CONFIG=str(tmp_path / "none"))).err


async def test_an_unreadable_stdin_is_a_sentence(qd: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with (tmp_path / "bytes").open(encoding="utf-8") as stdin:
        out, err = Terminal(), Terminal()
        code = await run(["project", "import", "-"], Edge(qd.environ, tmp_path, stdin, out, err))
    assert code == 2
    assert "standard input is not valid UTF-8 text" in err.getvalue()
