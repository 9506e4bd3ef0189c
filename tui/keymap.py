"""Keys: how they are written, and the file that moves them.

``keymap.toml`` in the configuration folder has one table, ``[keys]``: the id of an action, and a key, a list of keys, or ``"none"``. Keys are written as
they are typed (``x``, ``G``, ``/``), by name (``enter``, ``escape``, ``space``, ``tab``, ``up``, ``f5``), or with a modifier (``ctrl+o``, ``shift+tab``,
``alt+x``). Several with blanks between are pressed one after the other: ``"g t"``.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from textual.events import Key

from config.errors import UsageError

Sequences = Mapping[str, tuple[str, ...]]
"""Action → its sequences."""

_NAMES = frozenset(
    [
        "enter",
        "escape",
        "space",
        "tab",
        "backspace",
        "delete",
        "insert",
        "home",
        "end",
        "pageup",
        "pagedown",
        "up",
        "down",
        "left",
        "right",
    ]
    + [f"f{n}" for n in range(1, 25)]
)
_KEY = re.compile(r"(?:(?:ctrl|shift|alt|super)\+)*(?P<base>.+)", re.IGNORECASE)
_ALIASES = {
    "esc": "escape",
    "return": "enter",
    "pgup": "pageup",
    "pgdn": "pagedown",
    "pgdown": "pagedown",
    "del": "delete",
    "ins": "insert",
}
_SHOWN = {
    "escape": "esc", "pageup": "pgup", "pagedown": "pgdn", "up": "↑", "down": "↓", "left": "←", "right": "→", "enter": "⏎",
}  # fmt: skip


def key_name(event: Key) -> str:
    """How a key that was pressed is written in the keymap."""
    if event.character is not None and event.is_printable and event.character != " ":
        return event.character
    return event.key


def show_keys(sequences: Iterable[str]) -> str:
    """Keys for people: ``j/↓``, ``g t``, ``^o``."""
    return "/".join(" ".join(_shown(key) for key in sequence.split()) for sequence in sequences)


def _shown(key: str) -> str:
    if key.startswith("ctrl+"):
        return f"^{_shown(key.removeprefix('ctrl+'))}"
    return _SHOWN.get(key, key)


def read_keymap(path: Path, known: Iterable[str]) -> Sequences:
    """What the file moves; nothing where there is none. Raises :class:`UsageError` naming the place for anything that is wrong."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", "mend it, or move it away") from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is no TOML: {error}", "mend it, or move it away") from None
    table = data.get("keys", {})
    extra = [name for name in data if name != "keys"]
    if extra or not isinstance(table, dict):
        raise UsageError(
            f"{path}: {extra[0] if extra else 'keys'!r} is not the table [keys]",
            'write [keys], then "task.cancel" = "x"',
        )
    names = set(known)
    moved: dict[str, tuple[str, ...]] = {}
    for id_, value in table.items():
        if id_ not in names:
            import difflib

            near = difflib.get_close_matches(id_, names, 1)
            raise UsageError(
                f"{path}: there is no action {id_!r}",
                f"did you mean {near[0]}?" if near else "see docs/reference/keys.md",
            )
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(item, str) for item in values):
            raise UsageError(f"{path}: {id_} is {value!r}", "write a key, a list of keys, or none")
        moved[id_] = () if values == ["none"] else tuple(_checked(item, f"{path}: {id_}") for item in values)
    return moved


def _checked(sequence: str, where: str) -> str:
    keys = sequence.split()
    if not keys:
        raise UsageError(f"{where} has an empty key", "write none to take its key away")
    return " ".join(_as_pressed(key, where) for key in keys)


def _as_pressed(key: str, where: str) -> str:
    """A key as the terminal tells it, however it was spelled: ``shift+a`` is ``A``, ``Ctrl+O`` is ``ctrl+o``, ``esc`` is ``escape``."""
    found = _KEY.fullmatch(key)
    assert found is not None
    base = found["base"]
    modifiers = {name.lower() for name in key.removesuffix(base).split("+") if name}
    base = _ALIASES.get(base.lower(), base) if len(base) > 1 else base
    if len(base) > 1:
        base = base.lower()
        if base not in _NAMES:
            raise UsageError(
                f"{where}: {key!r} is no key", "write x, enter, ctrl+o, or several with blanks between: g t"
            )
    elif "shift" in modifiers:
        if not base.isalpha():
            raise UsageError(
                f"{where}: {key!r} cannot be told from what shift makes of it", "write the sign itself, as it is typed"
            )
        modifiers.discard("shift")
        base = base.upper()
    elif "ctrl" in modifiers:
        base = base.lower()  # a terminal does not tell one from the other
    return "+".join([*sorted(modifiers), base])
