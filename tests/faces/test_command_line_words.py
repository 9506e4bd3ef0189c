"""How a command line is read: what is refused, in which words, with which exit code."""

import pytest

from config.errors import UsageError
from core.commands.table import all_commands
from core.faces.words import parse
from tests.command_line import CommandLine


def refused(*argv: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        parse(argv)
    return caught.value


@pytest.mark.parametrize(
    ("argv", "message", "hint"),
    [
        (["taks"], "there is no command 'taks'", "did you mean task?"),
        (["statsu"], "there is no command 'statsu'", "did you mean status?"),
        (["zzzz"], "there is no command 'zzzz'", "see `qd help`"),
        ([""], "there is no command ''", "see `qd help`"),
        (["task", "lst"], "task has no verb 'lst'", "did you mean list?"),
        (["queue", "xyzzy"], "queue has no verb 'xyzzy'", "it has show, pause, resume"),
        (["project", "add", ".", "--verfy", "x"], "qd project add has no option '--verfy'", "did you mean --verify?"),
        (["status", "--jsn"], "qd status has no option '--jsn'", "did you mean --json?"),
        (
            ["status", "now"],
            "qd status takes no argument, 'now' is one too many",
            "put quotes around a text with spaces",
        ),
        (["agent", "show"], "qd agent show needs NAME", "see `qd agent show --help`"),
        (["settings"], "qd settings needs a verb", "it has list, get, set, unset"),
    ],
)
def test_a_wrong_word_is_named_with_the_nearest_right_one(argv: list[str], message: str, hint: str) -> None:
    error = refused(*argv)
    assert (error.message, error.hint) == (message, hint)


def test_an_option_without_its_value_is_named() -> None:
    assert "--stack: a value is missing" in refused("project", "add", ".", "--stack").message


def test_a_flag_takes_no_value() -> None:
    assert "--json" in refused("status", "--json=x").message


def test_global_options_stand_anywhere() -> None:
    for argv in (
        ["--json", "--yes", "agent", "remove", "x", "--database-url", "postgres://h/d"],
        ["agent", "--json", "--database-url=postgres://h/d", "remove", "x", "-y"],
        ["--database-url", "postgres://h/d", "agent", "remove", "--yes", "x", "--json"],
    ):
        request = parse(argv)
        assert request.options.json
        assert request.options.yes
        assert request.options.database_url == "postgres://h/d"
        assert request.arguments == {"name": "x"}


def test_options_and_arguments_may_be_mixed_and_lists_repeat() -> None:
    request = parse(["project", "add", "--verify", "a", "here", "--verify", "b b", "--auto-merge", "--priority=9"])
    assert request.arguments == {"repo": "here", "verify": ["a", "b b"], "auto_merge": True, "priority": "9"}


def test_a_switch_can_be_turned_off() -> None:
    assert parse(["project", "edit", "p", "--no-auto-merge"]).arguments["auto_merge"] is False


def test_after_two_dashes_nothing_is_an_option() -> None:
    assert parse(["settings", "set", "a", "--", "--json"]).arguments == {"key": "a", "value": "--json"}
    assert parse(["settings", "set", "a", "-3"]).arguments == {"key": "a", "value": "-3"}
    assert parse(["settings", "set", "a", "-"]).arguments == {"key": "a", "value": "-"}
    assert parse(["settings", "set", "a", "- a point"]).arguments == {"key": "a", "value": "- a point"}


def test_options_are_not_abbreviated() -> None:
    assert "has no option '--prio'" in refused("project", "add", ".", "--prio", "3").message


def test_every_command_can_be_read_and_has_help() -> None:
    for entry in all_commands():
        request = parse([*filter(None, (entry.noun, entry.verb)), "--help"])
        assert request.options.help
        assert request.command == entry


@pytest.mark.parametrize(
    "text", ["\x1b[31mred\x1b[0m", "a\nb", "\u202eevil", pytest.param("x" * 1_000_000, id="1 MB"), "{}", "%s", "[bold]"]
)
async def test_a_hostile_word_is_answered_in_one_harmless_line(offline: CommandLine, text: str) -> None:
    for argv in ([text], ["task", text], ["status", f"--{text}"], ["status", text], ["help", text]):
        outcome = await offline(*argv)
        assert outcome.code == 2
        assert outcome.out == ""
        assert len(outcome.err) < 500
        assert outcome.err.count("\n") == 1
        assert outcome.err.strip("\n").isprintable()


@pytest.mark.parametrize("argument", ["\udcff\udcfe", "a\x00b"])
async def test_what_is_no_text_is_refused_before_anything_is_opened(offline: CommandLine, argument: str) -> None:
    outcome = await offline("settings", "set", "engine.max_parallel", argument)
    assert outcome.code == 2
    assert "is not valid UTF-8 text" in outcome.err


async def test_values_are_checked_before_anything_is_opened(offline: CommandLine) -> None:
    outcome = await offline("project", "add", "x", "--priority", "9")
    assert (outcome.code, outcome.err) == (2, "qd: priority '9': input should be less than or equal to 5\n")
    outcome = await offline("audit", "list", "--since", "99999999999d ago")
    assert outcome.code == 2
    outcome = await offline("audit", "list", "--since", "+99999999999999d")
    assert outcome.code == 2
