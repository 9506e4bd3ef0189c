"""Reads a command line: which command, with which arguments, made from the table of commands.

Global options (``--json``, ``--csv``, ``--yes``, ``--database-url URL``, ``--help``) stand anywhere. Options are read by
argparse; what is left over are the positional arguments, in their order, wherever they stand between the options.
After ``--`` nothing is an option.
"""

import argparse
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Never

from config.errors import UsageError
from core.commands.table import NOUNS, Command, Parameter, commands

GLOBAL_OPTIONS = ("--json", "--csv", "--yes", "--database-url", "--help", "--version")
SCREEN_OPTIONS = ("--readonly", "--low-bandwidth", "--theme")
"""Options of what opens the screen: plain `qd`, and :data:`SCREENS`."""
SCREENS = ("demo", "replay")
"""Commands that open the screen where there is a terminal."""


@dataclass(frozen=True, slots=True)
class Globals:
    """What may be said to every command."""

    json: bool = False
    csv: bool = False
    yes: bool = False
    help: bool = False
    version: bool = False
    database_url: str | None = None
    readonly: bool = False
    low_bandwidth: bool = False
    theme: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What a command line asks for: a command with its arguments, or help on what ``topic`` names."""

    options: Globals
    command: Command | None
    arguments: dict[str, Any]
    topic: tuple[str, ...] = ()


class _Parser(argparse.ArgumentParser):
    """Raises where argparse would print and exit."""

    def error(self, message: str) -> Never:
        """Raise :class:`UsageError`."""
        words = message.removeprefix("argument ").replace("expected one argument", "a value is missing")
        raise UsageError(words.replace("ignored explicit argument", "takes no value, not"), f"see `{self.prog} --help`")


def parse(argv: Sequence[str]) -> Request:
    """Understand a command line. Raises :class:`UsageError` with the nearest match for an unknown word."""
    words, tail = _split(argv)
    options = Globals()
    noun, words, options = _next_word(words, options)
    if noun is None:
        if tail is not None:
            raise UsageError("a command is missing before --", "see `qd help`")
        return Request(options, None, {})
    if noun == "help":
        topic, options = _rest("qd help", words, options)
        return Request(_with(options, help=True), None, {}, (*topic, *(tail or ())))
    if noun not in NOUNS or not noun:  # only then the modules of the words that stand alone are loaded
        alone = {entry.verb: entry for entry in commands("")}
        if noun not in alone:
            known = [*filter(None, NOUNS), *alone, "help"]
            raise UsageError(f"there is no command {_shown(noun)}", _suggestion(noun, known))
        return _request(alone[noun], words, tail, options)
    verb, words, options = _next_word(words, options)
    if verb is None:
        if not options.help:
            raise UsageError(f"qd {noun} needs a verb", f"it has {', '.join(entry.verb for entry in commands(noun))}")
        return Request(options, None, {}, (noun,))
    verbs = {entry.verb: entry for entry in commands(noun)}
    if verb == "help":
        return Request(_with(options, help=True), None, {}, (noun,))
    if verb not in verbs:
        raise UsageError(f"{noun} has no verb {_shown(verb)}", _suggestion(verb, verbs, f"it has {', '.join(verbs)}"))
    return _request(verbs[verb], words, tail, options)


def wants_json(argv: Sequence[str]) -> bool:
    """Whether errors are to be told as JSON, even those about the command line itself."""
    return "--json" in _split(argv)[0]


def find_topic(topic: Sequence[str]) -> tuple[str | None, Command | None]:
    """What `qd help` was asked about: nothing, a noun, or a command. Raises :class:`UsageError`."""
    if not topic:
        return None, None
    if len(topic) > 2:
        raise UsageError(f"qd help takes a noun and a verb, not {len(topic)} words", "see `qd help`")
    first, *rest = topic
    alone = {entry.verb: entry for entry in commands("")}
    if first in alone and not rest:
        return None, alone[first]
    if not first or first not in NOUNS:
        raise UsageError(f"there is no command {_shown(first)}", _suggestion(first, [*filter(None, NOUNS), *alone]))
    verbs = {entry.verb: entry for entry in commands(first)}
    if not rest:
        return first, None
    if rest[0] not in verbs:
        raise UsageError(f"{first} has no verb {_shown(rest[0])}", _suggestion(rest[0], verbs))
    return first, verbs[rest[0]]


def _split(argv: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """The words before and after the first ``--``; None where there is none."""
    if "--" not in argv:
        return list(argv), None
    at = list(argv).index("--")
    return list(argv[:at]), list(argv[at + 1 :])


def _next_word(words: Sequence[str], options: Globals) -> tuple[str | None, list[str], Globals]:
    """Take the next word that is no global option; what follows it, and the options with those on the way."""
    at = 0
    while at < len(words) and words[at].startswith("-") and words[at] != "-":
        at += 2 if words[at] in ("--database-url", "--theme") else 1
    _, options = _rest("qd", words[:at], options)
    if at >= len(words):
        return None, [], options
    if words[at] not in SCREENS and (options.readonly or options.low_bandwidth or options.theme):
        raise UsageError(f"{', '.join(SCREEN_OPTIONS)} belong to the screen", f"leave {_shown(words[at])} out, or them")
    return words[at], list(words[at + 1 :]), options


def _rest(prog: str, words: Sequence[str], options: Globals) -> tuple[list[str], Globals]:
    parser = _parser(prog)
    if prog == "qd":
        _add_screen_options(parser)
    found, left = parser.parse_known_args(words)
    _refuse_options(prog, left, (*GLOBAL_OPTIONS, *SCREEN_OPTIONS) if prog == "qd" else GLOBAL_OPTIONS)
    return left, _globals(options, vars(found))


def _request(entry: Command, words: Sequence[str], tail: Sequence[str] | None, options: Globals) -> Request:
    prog = " ".join(filter(None, ("qd", entry.noun, entry.verb)))
    parser = _parser(prog)
    for parameter in entry.parameters:
        if not parameter.positional:
            _add_option(parser, parameter)
    if entry.name in SCREENS:
        _add_screen_options(parser)
    found, left = parser.parse_known_args(words)
    values = vars(found)
    options = _globals(options, values)
    if options.help:
        return Request(options, entry, {}, tuple(filter(None, (entry.noun, entry.verb))))
    known = [parameter.option for parameter in entry.parameters if not parameter.positional]
    _refuse_options(prog, left, (*known, *GLOBAL_OPTIONS, *(SCREEN_OPTIONS if entry.name in SCREENS else ())))
    arguments = {name.removeprefix("="): value for name, value in values.items() if name.startswith("=")}
    arguments |= _assign(prog, [p for p in entry.parameters if p.positional], [*left, *(tail or ())])
    return Request(options, entry, arguments)


def _parser(prog: str) -> _Parser:
    parser = _Parser(prog, add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--csv", action="store_true")
    parser.add_argument("--yes", "-y", action="store_true")
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--version", "-V", action="store_true")
    parser.add_argument("--database-url")
    return parser


def _add_screen_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--readonly", action="store_true")
    parser.add_argument("--low-bandwidth", action="store_true")
    parser.add_argument("--theme")


def _add_option(parser: argparse.ArgumentParser, parameter: Parameter) -> None:
    more: dict[str, Any] = {"dest": f"={parameter.name}"}
    if parameter.kind == "flag":
        more["action"] = "store_true"
    elif parameter.kind == "switch":
        more["action"] = argparse.BooleanOptionalAction
    elif parameter.repeated:
        more["action"] = "append"
    parser.add_argument(parameter.option, **more)


def _globals(before: Globals, values: dict[str, Any]) -> Globals:
    after = _with(before, **{name: values[name] for name in Globals.__dataclass_fields__ if name in values})
    if after.json and after.csv:
        raise UsageError("a result is written as --json or as --csv", "say one of the two")
    return after


def _with(options: Globals, **changes: Any) -> Globals:
    from dataclasses import replace

    return replace(options, **changes)


def _refuse_options(prog: str, words: Iterable[str], known: Sequence[str]) -> None:
    for word in words:
        if _is_option(word):
            name = word.partition("=")[0]
            raise UsageError(f"{prog} has no option {_shown(name)}", _suggestion(name, known, f"see `{prog} --help`"))


def _is_option(word: str) -> bool:
    return word.startswith("-") and word != "-" and " " not in word and not word[1:].replace(".", "", 1).isdigit()


def _assign(prog: str, parameters: Sequence[Parameter], words: Sequence[str]) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    left = list(words)
    for parameter in parameters:
        if parameter.repeated:
            if left:
                arguments[parameter.name], left = left, []
        elif left:
            arguments[parameter.name] = left.pop(0)
        if parameter.required and parameter.name not in arguments:
            raise UsageError(f"{prog} needs {parameter.metavar}", f"see `{prog} --help`")
    if left:
        most = len(parameters)
        takes = f"takes {most} argument{'s' if most > 1 else ''}" if most else "takes no argument"
        raise UsageError(f"{prog} {takes}, {_shown(left[0])} is one too many", "put quotes around a text with spaces")
    return arguments


def _suggestion(word: str, known: Iterable[str], otherwise: str = "see `qd help`") -> str:
    near = difflib.get_close_matches(word[:80], list(known), 1)
    return f"did you mean {near[0]}?" if near else otherwise


def _shown(word: str) -> str:
    text = ascii(word) if not word.isprintable() else repr(word)
    return text if len(text) <= 60 else f"{text[:57]}…"
