"""The table of commands: everything that anybody can do.

A command is an async function ``(context, …typed parameters) -> typed result``, declared with :func:`command`.
Positional parameters are the arguments of the command line, keyword-only ones its options; ``Annotated[T, "words"]``
carries the help of each. Faces (command line, HTTP, MCP, screen) are generated from this table and call
:func:`invoke`; permission, validation and the translation of errors happen here, once.

Modules are imported by noun, on demand: `qd task list` never pays for what `qd knowledge index` needs.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from config.errors import ForbiddenError, NotFoundError, UsageError
from config.paths import Paths
from config.settings import Settings
from storage.database import Database, Principal, Role

NOUNS: dict[str, tuple[str, ...]] = {
    "task": ("core.commands.task",),
    "run": ("core.commands.run", "core.commands.run_tools"),
    "project": ("core.commands.project", "core.commands.projects_file"),
    "agent": ("core.commands.agent",),
    "question": ("core.commands.question",),
    "review": ("core.commands.review",),
    "queue": ("core.commands.queue",),
    "service": ("core.commands.service", "core.commands.service_price"),
    "charge": ("core.commands.charge",),
    "budget": ("core.commands.budget", "core.commands.budget_outlook"),
    "secret": ("core.commands.secret",),
    "worktree": ("core.commands.worktree",),
    "knowledge": (
        "core.commands.knowledge",
        "core.commands.knowledge_states",
        "core.commands.knowledge_upkeep",
        "core.commands.knowledge_weighed",
    ),
    "pattern": ("core.commands.pattern",),
    "decision": ("core.commands.decision",),
    "lesson": ("core.commands.lesson",),
    "audit": ("core.commands.audit",),
    "settings": ("core.commands.setting",),
    "": (
        "core.commands.general",
        "core.commands.power",
        "core.commands.doctor",
        "core.commands.demo",
        "core.commands.metrics",
        "core.commands.recording",
        "core.commands.browser",
        "core.commands.context",
        "core.commands.learn",
        "core.commands.mcp",
        "core.commands.completion",
        "core.commands.keep",
    ),
}
"""Which modules hold the commands of a noun. The empty noun holds the words that stand alone (`status`, `up`, …)."""

ABOUT: dict[str, str] = {
    "task": "what is to be done: add, list, edit, cancel, retry, wait",
    "run": "attempts at tasks: logs, changes, messages, pause and stop",
    "project": "git repositories under supervision",
    "agent": "who can work, and with which program",
    "question": "what runs need a person for: questions and permissions",
    "review": "changes that wait for a judgement, and the judgement",
    "queue": "the whole queue: pause it, resume it, look at it",
    "service": "what costs money per use: budgets, keys, prices, who stands in",
    "charge": "the ledger: what was spent, by whom, on what",
    "budget": "limits per service, project, task, agent and day; forecasts, outliers, alerts",
    "secret": "keys of services and integrations, per project and shared",
    "worktree": "what work has left on the disk",
    "knowledge": "what the crew remembers: add, search, index repositories, keep",
    "pattern": "templates that are worth using again",
    "decision": "what was chosen, why, and how it turned out",
    "lesson": "errors that were met, their fixes, and how to avoid them",
    "audit": "who changed what, and when",
    "settings": "what can be set, live",
}
"""What a noun is about, for overviews."""

_RANK = {Role.VIEWER: 0, Role.AGENT: 0, Role.SUPERVISOR: 1, Role.ADMIN: 2, Role.ENGINE: 2}


Kind = Literal["value", "flag", "switch"]
"""How a face asks for a parameter: by a value, by a flag that is absent or given, or by a switch that may also be
turned off.
"""


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


def unheard(_words: str) -> None:
    """Stands where a face has no place for notes."""


def unseen(_what: str, _done: int, _whole: int) -> None:
    """Stands where a face shows no progress."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a command may use: the database as whom, the folders, the settings and the edge of the world."""

    db: Database
    who: Principal
    paths: Paths
    settings: Settings
    environ: Mapping[str, str] = field(repr=False)
    cwd: Path
    stdin: Callable[[], str] | None = None
    """Reads all of standard input, where the face has one; commands call :meth:`read` and :meth:`given`."""
    now: Callable[[], datetime] = utc_now
    note: Callable[[str], object] = unheard
    """Tells the person something on the way, where the face has a place for it."""
    advance: Callable[[str, int, int], object] = unseen
    """Shows how far long work is, where the face can: of what, how many are done, of how many."""

    def read(self, name: str) -> str:
        """All of standard input, for a parameter. Raises :class:`UsageError` where there is none, or it is no text."""
        if self.stdin is None:
            raise UsageError(f"{name} '-': there is no standard input here", "give the text itself")
        text = self.stdin()
        if not _is_unicode(text):  # a face in the C locale hands on what it could not decode
            raise UsageError("standard input is not valid UTF-8 text", "convert it first")
        return text

    def given(self, name: str, text: str) -> str:
        """A text as it was given; ``-`` is standard input, in which what the database cannot store is replaced."""
        return self.read(name).replace("\0", "\ufffd") if text == "-" else text


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a command, as faces need it."""

    name: str
    annotation: Any
    help: str
    default: Any
    required: bool
    positional: bool
    repeated: bool
    kind: Kind
    metavar: str
    """What stands for its value in help, such as ``USD``."""
    choices: tuple[str, ...]
    """All values that it takes; empty where they cannot be listed."""

    @property
    def option(self) -> str:
        """How it is written on a command line when it is not positional: ``--max-cost``."""
        return "--" + self.name.rstrip("_").replace("_", "-")


@dataclass(frozen=True, slots=True)
class Metavar:
    """Goes into ``Annotated`` to say what stands for the value in help: ``Annotated[str, "words", Metavar("CMD")]``."""

    name: str


@dataclass(frozen=True, slots=True)
class Tool:
    """That agents may use a command too, over MCP: under which name, with which of its parameters, and told what.

    A parameter ``project`` is never asked of an agent: it is the project of its run.
    """

    name: str
    takes: tuple[str, ...]
    help: str
    own: tuple[str, ...] = ()
    """Parameters that are the agent's own task: by default where it may give another, else always."""
    shows: tuple[str, ...] = ()
    """The fields of the result that it is told; without them, all."""


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the table."""

    noun: str
    verb: str
    function: Callable[..., Any]
    role: Role
    destructive: bool
    streams: bool
    help: str
    offline: bool
    says: str
    screen: bool = False
    """On a terminal it opens the screen, unless it is told to be ``headless``."""
    tool: Tool | None = None
    """As what agents have it; None: it is not for agents."""

    @property
    def name(self) -> str:
        """``noun.verb``, or the verb alone."""
        return f"{self.noun}.{self.verb}" if self.noun else self.verb

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters in their order, without the context."""
        return _parameters(self.function)


_TABLE: dict[str, Command] = {}
_LARGEST = 2**63 - 1
"""No whole number of ours is larger: the database has 64 bits for it."""


F = TypeVar("F", bound=Callable[..., Awaitable[Any] | AsyncIterator[Any]])


def command(
    name: str,
    *,
    role: Role,
    destructive: bool = False,
    offline: bool = False,
    says: str = "",
    screen: bool = False,
    tool: Tool | None = None,
) -> Callable[[F], F]:
    """Enter a function into the table under ``noun.verb``.

    ``destructive``: faces ask a person before they invoke it, with the first sentence of its help. ``offline``: it
    needs no database (its context has none). ``says``: one line for people in place of the result, with its fields:
    ``"task #{number} is {status}"``. ``tool``: agents may use it too; with the role ``agent`` nobody else may. An async
    generator streams its results.
    """

    def enter(function: F) -> F:
        noun, _, verb = name.rpartition(".")
        if name in _TABLE:
            raise ValueError(f"command {name} is declared twice")
        text = inspect.getdoc(function)
        if not text:
            raise ValueError(f"command {name} has no docstring, which is its help")
        streams = inspect.isasyncgenfunction(function)
        _TABLE[name] = Command(noun, verb, function, role, destructive, streams, text, offline, says, screen, tool)
        return function

    return enter


def commands(noun: str) -> list[Command]:
    """The commands of a noun, in the order of their declaration. Raises :class:`NotFoundError` for an unknown noun."""
    if noun not in NOUNS:
        raise NotFoundError(f"there is no command {noun!r}", "see `qd help`")
    place = {module: number for number, module in enumerate(NOUNS[noun])}
    for module in NOUNS[noun]:
        import_module(module)
    # by their place in the table, whichever module happened to be imported first
    found = [entry for entry in _TABLE.values() if entry.noun == noun]
    return sorted(found, key=lambda entry: place.get(entry.function.__module__, len(place)))


def find(name: str) -> Command:
    """The command ``noun.verb``. Raises :class:`NotFoundError`."""
    noun = name.rpartition(".")[0]
    for module in NOUNS.get(noun, ()):
        import_module(module)
        if name in _TABLE:
            return _TABLE[name]
    raise NotFoundError(
        f"there is no command {name.replace('.', ' ')!r}",
        f"see `qd help {noun}`" if noun else "see `qd help`",
    )


def all_commands() -> list[Command]:
    """The whole table: for help, references and the palette."""
    return [entry for noun in NOUNS for entry in commands(noun)]


def check_role(entry: Command, who: Principal) -> None:
    """Raise :class:`ForbiddenError` when the role of ``who`` is not enough for the command."""
    if who.role is Role.AGENT:
        if entry.tool is None:
            raise ForbiddenError(f"{entry.name.replace('.', ' ')} is not for agents", "ask the supervisor")
        return
    if entry.role is Role.AGENT:
        raise ForbiddenError(f"{entry.name.replace('.', ' ')} is for the agent of a run alone")
    if _RANK[who.role] < _RANK[entry.role]:
        raise ForbiddenError(
            f"{entry.name.replace('.', ' ')} needs the role {entry.role}, you act as {who.role}",
            "unset QD_ROLE or ask someone who has it",
        )


async def invoke(context: Context, name: str, arguments: Mapping[str, Any]) -> Any:
    """Run one command with arguments by name, validated against its types; a streaming command returns its async
    iterator.

    Raises the errors of :mod:`config.errors` and nothing else that a caller could have prevented.
    """
    entry = find(name)
    check_role(entry, context.who)
    values = validated(entry, arguments)
    result = entry.function(context, **values)
    return result if entry.streams else await result


def validated(entry: Command, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the types of the command, defaults left to it.

    Raises :class:`UsageError` naming the parameter and the value.
    """
    known = {parameter.name: parameter for parameter in entry.parameters}
    for name in arguments:
        if name not in known:
            raise UsageError(
                f"{entry.name.replace('.', ' ')} has no parameter {name!r}",
                f"it has {', '.join(known) or 'none'}",
            )
    values: dict[str, Any] = {}
    for name, parameter in known.items():
        if name not in arguments:
            if parameter.required:
                raise UsageError(
                    f"{entry.name.replace('.', ' ')} needs {name.upper()}",
                    f"see `qd help {entry.noun or entry.verb}`",
                )
            continue
        _refuse_unstorable(name, arguments[name])
        values[name] = _checked(name, parameter.annotation, arguments[name])
    return values


def _checked(name: str, annotation: Any, value: Any) -> Any:
    from pydantic import ValidationError

    try:
        checked = _adapter(annotation).validate_python(value)
        _refuse_larger(checked)
    except OverflowError:
        raise UsageError(f"{name.replace('_', '-')} {_shown(value)} is out of range") from None
    except ValidationError as error:
        what = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UsageError(f"{name.replace('_', '-')} {_shown(value)}: {what[:1].lower() + what[1:]}") from None
    return checked


@lru_cache(maxsize=512)
def _adapter(annotation: Any) -> Any:
    from pydantic import ConfigDict, TypeAdapter

    try:
        return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    except Exception:  # noqa: BLE001 - pydantic refuses a config for types that carry their own
        return TypeAdapter(annotation)


def _refuse_unstorable(name: str, value: Any) -> None:
    """Refuse text that is no Unicode or holds NUL, wherever it is headed: the database stores neither."""
    for text in value if isinstance(value, list | tuple) else (value,):
        if isinstance(text, str) and ("\0" in text or not _is_unicode(text)):
            raise UsageError(f"{name.replace('_', '-')} {_shown(text)} is not valid UTF-8 text", "write it in UTF-8")


def _refuse_larger(value: Any) -> None:
    for number in value if isinstance(value, list | tuple) else (value,):
        if isinstance(number, int) and abs(number) > _LARGEST:
            raise OverflowError


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@lru_cache(maxsize=512)
def _parameters(function: Callable[..., Any]) -> tuple[Parameter, ...]:
    hints = get_type_hints(function, include_extras=True)
    found = []
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        annotation = hints[name]
        bare, extras, optional = _unwrapped(annotation)
        required = parameter.default is inspect.Parameter.empty
        positional = parameter.kind is not inspect.Parameter.KEYWORD_ONLY
        repeated = get_origin(bare) in (list, tuple)
        item, more, _ = _unwrapped(get_args(bare)[0]) if repeated else (bare, extras, False)
        kind: Kind = "value"
        if bare is bool and not positional:
            kind = "switch" if optional or parameter.default is True else "flag"
        metavar = next((extra.name for extra in (*extras, *more) if isinstance(extra, Metavar)), None)
        found.append(
            Parameter(
                name=name,
                annotation=annotation,
                help=next((extra for extra in extras if isinstance(extra, str)), ""),
                default=None if required else parameter.default,
                required=required,
                positional=positional,
                repeated=repeated,
                kind=kind,
                metavar=metavar or _metavar(name, item, positional=positional),
                choices=_choices(item),
            )
        )
    return tuple(found)


def _unwrapped(annotation: Any) -> tuple[Any, tuple[Any, ...], bool]:
    """The type without ``Annotated`` and ``| None``, what ``Annotated`` added to it, and whether it may be None."""
    extras: list[Any] = []
    optional = False
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *added = get_args(annotation)
            extras += added
        elif get_origin(annotation) in (Union, UnionType) and NoneType in get_args(annotation):
            optional = True
            left = tuple(part for part in get_args(annotation) if part is not NoneType)
            if len(left) != 1:
                return Union[left], tuple(extras), True  # noqa: UP007 - made at run time
            annotation = left[0]
        else:
            return annotation, tuple(extras), optional


def _metavar(name: str, item: Any, *, positional: bool) -> str:
    if not positional and item in (int, float):
        return "N"
    if not positional and item is Path:
        return "FILE"
    return name.upper().replace("_", "-")


def _choices(item: Any) -> tuple[str, ...]:
    if get_origin(item) is Literal:
        return tuple(str(value) for value in get_args(item))
    if isinstance(item, type) and issubclass(item, StrEnum):
        return tuple(item)
    return ()


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
