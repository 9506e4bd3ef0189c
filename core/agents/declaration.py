"""Adapters as data: one TOML file each, in the package's ``config/adapters`` and in the person's ``adapters`` folder.

Fields: ``title``; ``dialect`` (what it speaks: ``command`` or ``claude-code``); ``program`` (a name on the
PATH, a path, or a placeholder); ``bundled`` (``package/path/in/it``, where a wheel carries the program);
``argv``, to which ``model`` is added when the agent names a model, ``tools`` when the crew's tools are served to the
run, and ``start`` or ``resume``; ``version`` (what prints it); ``stdin`` (``open`` or ``closed``); ``default_model``;
``speaks`` (the protocols in which it calls models: ``anthropic``, ``openai``, ``gemini``; left out, nobody knows);
``capabilities``; a table ``env``.

Placeholders in ``argv`` and ``env``: ``{program} {python} {model} {session} {prompt} {prompt_file}
{context_file} {worktree} {branch} {state}``; ``{command}`` as an element of its own is the agent's command,
split like a shell does. ``{state}`` is a folder of the program's own for this worktree.
"""

import importlib.resources
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, cast

from config.errors import NotFoundError, UsageError
from config.paths import Paths

PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
KNOWN_PROTOCOLS = frozenset({"anthropic", "openai", "gemini"})
KNOWN_CAPABILITIES = frozenset({"questions", "permissions", "messages", "resume", "usage"})
PLACEHOLDERS = frozenset(
    {
        "program",
        "python",
        "model",
        "session",
        "prompt",
        "prompt_file",
        "context_file",
        "worktree",
        "branch",
        "state",
        "command",
    }
)


@dataclass(frozen=True, slots=True)
class Declaration:
    """One adapter, as its file declares it."""

    name: str
    title: str
    dialect: str
    argv: tuple[str, ...]
    program: str = ""
    bundled: str = ""
    model: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    resume: tuple[str, ...] = ()
    version: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    stdin: Literal["open", "closed"] = "open"
    default_model: str = ""
    speaks: frozenset[str] = frozenset()
    """Protocols in which it calls models; empty where that is not known, as of any command."""
    capabilities: frozenset[str] = frozenset()
    env: Mapping[str, str] = field(default_factory=dict)


def load_declaration(name: str, paths: Paths) -> Declaration:
    """The declaration of this name. Raises NotFoundError, or UsageError when the file is wrong."""
    source = _sources(paths).get(name)
    if source is None:
        known = ", ".join(sorted(_sources(paths)))
        raise NotFoundError(
            f"there is no adapter {name!r}", f"the adapters are {known}; others go to {paths.config / 'adapters'}"
        )
    return parse_declaration(name, source.read_text("utf-8"), str(source))


def load_declarations(paths: Paths) -> list[Declaration]:
    """Every declaration, by name; a person's file goes before the package's. Raises UsageError."""
    return [
        parse_declaration(name, source.read_text("utf-8"), str(source))
        for name, source in sorted(_sources(paths).items())
    ]


def parse_declaration(name: str, text: str, where: str) -> Declaration:
    """Read one file. Raises UsageError that names the file and the field."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where} is not TOML: {error}") from error
    known = {
        "title",
        "dialect",
        "argv",
        "program",
        "bundled",
        "model",
        "start",
        "resume",
        "version",
        "tools",
        "stdin",
        "default_model",
    }
    unknown = sorted(set(table) - known - {"speaks", "capabilities", "env"})
    if unknown:
        raise UsageError(
            f"{where}: {unknown[0]!r} is not a field of an adapter", f"the fields are {', '.join(sorted(known))}"
        )
    stdin = _text(table, "stdin", where, "open")
    if stdin not in ("open", "closed"):
        raise UsageError(f"{where}: stdin is {stdin!r}", "it is open or closed")
    argv = _texts(table, "argv", where)
    if not argv:
        raise UsageError(f"{where}: argv is missing", "it says how the program is started")
    declaration = Declaration(
        name=name,
        title=_text(table, "title", where, name),
        dialect=_text(table, "dialect", where, "command"),
        argv=argv,
        program=_text(table, "program", where, ""),
        bundled=_text(table, "bundled", where, ""),
        model=_texts(table, "model", where),
        start=_texts(table, "start", where),
        resume=_texts(table, "resume", where),
        version=_texts(table, "version", where),
        tools=_texts(table, "tools", where),
        stdin=cast("Literal['open', 'closed']", stdin),
        default_model=_text(table, "default_model", where, ""),
        speaks=frozenset(_texts(table, "speaks", where)),
        capabilities=frozenset(_texts(table, "capabilities", where)),
        env=_env(table, where),
    )
    _check_names(declaration, where)
    return declaration


def _check_names(declaration: Declaration, where: str) -> None:
    """Placeholders, capabilities and the dialect are among the known ones."""
    from core.agents.declared import DIALECTS

    if declaration.dialect not in DIALECTS:
        raise UsageError(
            f"{where}: dialect is {declaration.dialect!r}", f"the dialects are {', '.join(sorted(DIALECTS))}"
        )
    if strange := sorted(declaration.capabilities - KNOWN_CAPABILITIES):
        raise UsageError(
            f"{where}: {strange[0]!r} is no capability", f"the capabilities are {', '.join(sorted(KNOWN_CAPABILITIES))}"
        )
    if strange := sorted(declaration.speaks - KNOWN_PROTOCOLS):
        raise UsageError(
            f"{where}: {strange[0]!r} is no protocol", f"the protocols are {', '.join(sorted(KNOWN_PROTOCOLS))}"
        )
    lists = (
        declaration.argv,
        declaration.model,
        declaration.start,
        declaration.resume,
        declaration.version,
        declaration.tools,
    )
    for template in [*(part for parts in lists for part in parts), *declaration.env.values()]:
        for name in PLACEHOLDER.findall(template):
            if name not in PLACEHOLDERS:
                raise UsageError(
                    f"{where}: {{{name}}} is no placeholder", f"they are {', '.join(sorted(PLACEHOLDERS))}"
                )
            if name == "command" and template != "{command}":
                raise UsageError(f"{where}: {{command}} in {template!r}", "it stands as an element of its own")


def _sources(paths: Paths) -> dict[str, Traversable | Path]:
    """The declaration files by adapter name."""
    found: dict[str, Traversable | Path] = {}
    packaged = importlib.resources.files("config") / "adapters"
    for file in packaged.iterdir():
        if file.name.endswith(".toml"):
            found[file.name.removesuffix(".toml")] = file
    own = paths.config / "adapters"
    if own.is_dir():
        for file in sorted(own.glob("*.toml")):
            if not NAME.fullmatch(file.stem):
                raise UsageError(
                    f"{file}: {file.stem!r} is no name of an adapter", "use lower-case letters, digits, - and _"
                )
            found[file.stem] = file
    return found


def _text(table: Mapping[str, Any], key: str, where: str, default: str) -> str:
    value = table.get(key, default)
    if not isinstance(value, str):
        raise UsageError(f"{where}: {key} is {value!r}", "it must be a text")
    return value


def _texts(table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"{where}: {key} is {value!r}", "it must be a list of texts")
    return tuple(value)


def _env(table: Mapping[str, Any], where: str) -> dict[str, str]:
    value = table.get("env", {})
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise UsageError(f"{where}: env is {value!r}", "it must be a table of texts")
    return value
