"""Help in words, made from the table of commands."""

import textwrap
from dataclasses import dataclass

from core.commands.table import ABOUT, NOUNS, Command, Parameter, commands
from core.faces.words import SCREENS

_WIDTH = 96
_GLOBAL = """\
Everywhere:
  --json              print JSON: one array for a list, one object for a thing, a line each with --follow
  --csv               print CSV: the fields of --json as columns, a line each
  --yes               do not ask before what cannot be undone
  --database-url URL  another database, for this call
  --help              this help
"""


_SCREEN = """\
On the screen:
  --readonly          look, and change nothing
  --theme NAME        dark, light, colour-blind, ansi (the terminal's own colours) or mono (none)
  --low-bandwidth     write less and rarely, for a slow line; no mouse
"""


@dataclass(frozen=True, slots=True)
class HelpPage:
    """One command, as `qd help --json` tells it."""

    command: str
    usage: str
    help: str
    role: str
    destructive: bool


def help_text(noun: str | None, entry: Command | None) -> str:
    """The page of a command, of a noun, or (both None) of the program."""
    if entry is not None:
        return _command_page(entry)
    return _overview() if noun is None else _noun_page(noun)


def help_data(noun: str | None, entry: Command | None) -> list[HelpPage]:
    """The same for programs: the commands that it is about."""
    about = [entry] if entry else [one for name in ([noun] if noun else NOUNS) for one in commands(name)]
    return [HelpPage(one.name, usage(one), one.help, one.role, one.destructive) for one in about]


def usage(entry: Command) -> str:
    """``qd task add TITLE --project ID [--priority N]``."""
    words = ["qd", *filter(None, (entry.noun, entry.verb))]
    ordered = sorted(entry.parameters, key=lambda parameter: not parameter.positional)
    return " ".join([*words, *(_usage_of(parameter) for parameter in ordered)])


def summary(entry: Command) -> str:
    """The first paragraph of its help, in one line."""
    return " ".join(entry.help.split("\n\n")[0].split())


def prose(entry: Command) -> list[str]:
    """Its help in lines of a readable width."""
    paragraphs = [
        textwrap.wrap(" ".join(part.split()), _WIDTH, break_on_hyphens=False) for part in entry.help.split("\n\n")
    ]
    return "\n\n".join("\n".join(lines) for lines in paragraphs).split("\n")


def options_of(entry: Command) -> list[tuple[str, str]]:
    """Every parameter as it is written, with its words."""
    return [(_written(parameter), _words(parameter)) for parameter in entry.parameters]


def _overview() -> str:
    lines = [
        "Quarterdeck: one supervisor, a crew of coding agents, many git projects.",
        "",
        "  qd                  open the screen",
        "",
    ]
    lines += _table([(entry.verb, summary(entry)) for entry in commands("")])
    lines += ["", "Nouns (`qd help NOUN` lists their verbs):"]
    lines += _table([(noun, ABOUT.get(noun, "")) for noun in NOUNS if noun])
    return "\n".join([*lines, "", _SCREEN, _GLOBAL])


def _noun_page(noun: str) -> str:
    lines = [f"qd {noun}: {ABOUT.get(noun, '')}", ""]
    for entry in commands(noun):
        lines += textwrap.wrap(
            usage(entry), _WIDTH, subsequent_indent="      ", break_long_words=False, break_on_hyphens=False
        )
        lines += textwrap.wrap(summary(entry), _WIDTH, initial_indent="    ", subsequent_indent="    ")
    return "\n".join([*lines, "", f"`qd help {noun} VERB` tells more.", ""])


def _command_page(entry: Command) -> str:
    lines = textwrap.wrap(
        usage(entry), _WIDTH, subsequent_indent="      ", break_long_words=False, break_on_hyphens=False
    )
    lines += ["", *prose(entry), ""]
    if entry.parameters:
        lines += [*_table(options_of(entry)), ""]
    more = [_SCREEN] if entry.name in SCREENS else []
    return "\n".join([*lines, f"Needs the role {entry.role}.", "", *more, _GLOBAL])


def _usage_of(parameter: Parameter) -> str:
    if parameter.positional:
        text = parameter.metavar + ("…" if parameter.repeated else "")
        return text if parameter.required else f"[{text}]"
    text = _written(parameter)
    return (text if parameter.required else f"[{text}]") + ("…" if parameter.repeated else "")


def _written(parameter: Parameter) -> str:
    if parameter.positional:
        return parameter.metavar
    option = parameter.option
    if parameter.kind == "flag":
        return option
    if parameter.kind == "switch":
        return f"--[no-]{option.removeprefix('--')}"
    return f"{option} {'|'.join(parameter.choices) if 0 < len(parameter.choices) <= 4 else parameter.metavar}"


def _words(parameter: Parameter) -> str:
    words = parameter.help
    if len(parameter.choices) > 4 or (parameter.positional and parameter.choices):
        words += f" ({', '.join(parameter.choices)})"
    default = parameter.default
    if default not in (None, "", (), []) and not isinstance(default, bool):
        words += f" (default {default})"
    return words


def _table(rows: list[tuple[str, str]]) -> list[str]:
    width = min(max((len(left) for left, _ in rows), default=0), 28)
    lines = []
    for left, right in rows:
        wrapped = textwrap.wrap(right, _WIDTH - width - 4) or [""]
        if len(left) > width:
            lines.append(f"  {left}")
            left = ""  # noqa: PLW2901 - what is wide has a line of its own
        lines += [f"  {left:<{width}}  {wrapped[0]}".rstrip(), *(f"  {'':<{width}}  {line}" for line in wrapped[1:])]
    return lines
