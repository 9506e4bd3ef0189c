"""Writes ``docs/reference``, one page per noun, from the table of commands: ``python -P -m core.faces.reference
[--check]``.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from config.reader import about_key, known_keys
from core.commands.table import ABOUT, NOUNS, Command, commands
from core.faces.help import options_of, usage

FOLDER = Path("docs") / "reference"
_MARK = "<!-- Made by `python -P -m core.faces.reference`; edit the commands instead. -->"


ELSEWHERE = frozenset({"keys.md"})
"""Pages that the screen writes, from its own registry."""


def pages() -> dict[str, str]:
    """Every page by its file name."""
    made = {f"{noun or 'qd'}.md": _page(noun) for noun in NOUNS}
    return made | {"README.md": _index(), "settings-keys.md": _settings()}


def main(arguments: Sequence[str], root: Path) -> int:
    """Write the pages below ``root``; with ``--check`` say which are not current, exit code 1."""
    folder = root / FOLDER
    made = pages()
    present = {path.name for path in folder.glob("*.md") if path.name not in ELSEWHERE}
    stale = [name for name, text in made.items() if name not in present or (folder / name).read_text("utf-8") != text]
    left = sorted(present - set(made))
    if "--check" in arguments:
        for name in (*stale, *left):
            print(f"{FOLDER / name} is not current; run: python -P -m core.faces.reference", file=sys.stderr)
        return 1 if stale or left else 0
    folder.mkdir(parents=True, exist_ok=True)
    for name in stale:
        (folder / name).write_text(made[name], "utf-8")
    for name in left:
        (folder / name).unlink()
    return 0


def _index() -> str:
    lines = [
        _MARK,
        "",
        "# Reference",
        "",
        "| page | about |",
        "|---|---|",
        "| [qd](qd.md) | the words that stand alone |",
    ]
    lines += [f"| [{noun}]({noun}.md) | {_cell(ABOUT.get(noun, ''))} |" for noun in NOUNS if noun]
    return "\n".join([*lines, "| [settings](settings-keys.md) | every key, its default and what it is for |", ""])


def _page(noun: str) -> str:
    lines = [_MARK, "", f"# qd {noun}".rstrip(), ""]
    if noun:
        lines += [f"{ABOUT.get(noun, '').capitalize()}.", ""]
    for entry in commands(noun):
        lines += _section(entry)
    return "\n".join(lines)


def _section(entry: Command) -> list[str]:
    words = [" ".join(part.split()) for part in entry.help.split("\n\n")]
    lines = [f"## {' '.join(filter(None, (entry.noun, entry.verb)))}", "", "```", usage(entry), "```", ""]
    lines += [line for part in words for line in (part, "")]
    if entry.parameters:
        lines += ["| | |", "|---|---|"]
        lines += [f"| `{_cell(left)}` | {_cell(right)} |" for left, right in options_of(entry)]
        lines.append("")
    asks = " At a terminal it asks first; `--yes` answers." if entry.destructive else ""
    return [*lines, f"Role: {entry.role}.{asks}", ""]


def _settings() -> str:
    lines = [_MARK, "", "# Settings", ""]
    lines += ["In `config.toml` each group is a table; `qd settings set KEY VALUE` sets a key live.", ""]
    lines += ["| key | default | what it is |", "|---|---|---|"]
    for key, default in known_keys().items():
        shown = "" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        lines.append(f"| `{key}` | {shown} | {_cell(about_key(key))} |")
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))
