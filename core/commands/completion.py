"""Completion of command lines, for the shells."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from core.commands.table import ABOUT, NOUNS, Command, Context, all_commands, command, commands
from storage.database import Role

_GLOBAL = ("--json", "--csv", "--yes", "--database-url", "--help")

_BASH = """\
# Completion of qd for bash; load it with: source <(qd completion bash)
_qd() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" word words=() options="{everywhere}"
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do [[ $word == -* ]] || words+=("$word"); done
  case "${{words[0]}} ${{words[1]}}" in
{cases}
  esac
  if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "$options" -- "$current")); return; fi
  case "${{#words[@]}}:${{words[0]}}" in
    0:) COMPREPLY=($(compgen -W "{first}" -- "$current")) ;;
{verbs}
    *) COMPREPLY=($(compgen -f -- "$current")) ;;
  esac
}}
complete -o filenames -F _qd qd
"""

_ZSH = """\
# Completion of qd for zsh; load it with: source <(qd completion zsh)
autoload -U +X bashcompinit && bashcompinit
"""


@dataclass(frozen=True, slots=True)
class Script:
    """A script for a shell."""

    shell: str
    script: str
    prints: ClassVar[str] = "script"


@command("completion", role=Role.VIEWER, offline=True)
async def completion(
    ctx: Context,  # noqa: ARG001 - every command has a context
    shell: Annotated[Literal["bash", "zsh", "fish"], "which shell it is for"],
) -> Script:
    """Print what makes a shell complete the words of qd."""
    return Script(shell, _fish() if shell == "fish" else (_ZSH if shell == "zsh" else "") + _bash())


def _bash() -> str:
    cases = [
        f'    "{entry.noun} {entry.verb}") options+=" {" ".join(_options(entry))}" ;;'
        if entry.noun
        else f'    "{entry.verb} "*) options+=" {" ".join(_options(entry))}" ;;'
        for entry in all_commands()
        if _options(entry)
    ]
    verbs = [
        f'    1:{noun}) COMPREPLY=($(compgen -W "{" ".join(entry.verb for entry in commands(noun))}" -- "$current")) ;;'
        for noun in NOUNS
        if noun
    ]
    return _BASH.format(
        everywhere=" ".join(_GLOBAL), cases="\n".join(cases), first=" ".join(_first()), verbs="\n".join(verbs)
    )


def _fish() -> str:
    lines = ["# Completion of qd for fish; load it with: qd completion fish | source"]
    lines += [f"complete -c qd -l {option.removeprefix('--')}" for option in _GLOBAL]
    for noun in filter(None, NOUNS):
        lines.append(f"complete -c qd -n __fish_use_subcommand -f -a {noun} -d {_quoted(ABOUT.get(noun, ''))}")
    for entry in all_commands():
        words = _quoted(" ".join(entry.help.split("\n\n")[0].split()))
        if entry.noun:
            verbs = " ".join(other.verb for other in commands(entry.noun))
            at = f"__fish_seen_subcommand_from {entry.noun}; and not __fish_seen_subcommand_from {verbs}"
            within = f"__fish_seen_subcommand_from {entry.noun}; and __fish_seen_subcommand_from {entry.verb}"
        else:
            at, within = "__fish_use_subcommand", f"__fish_seen_subcommand_from {entry.verb}"
        lines.append(f"complete -c qd -n '{at}' -f -a {entry.verb} -d {words}")
        lines += [f"complete -c qd -n '{within}' -l {option.removeprefix('--')}" for option in _options(entry)]
    return "\n".join(lines) + "\n"


def _first() -> list[str]:
    return ["help", *filter(None, NOUNS), *(entry.verb for entry in commands(""))]


def _options(entry: Command) -> list[str]:
    options = []
    for parameter in entry.parameters:
        if not parameter.positional:
            options.append(parameter.option)
            if parameter.kind == "switch":
                options.append(parameter.option.replace("--", "--no-", 1))
    return options


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
