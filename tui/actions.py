"""The registry of actions: everything that a key, the palette or the ``:`` line of the screen can do, once.

An :class:`Action` is declared in a module of ``tui/acts`` with :func:`action` (it moves about on the screen) or :func:`command` (it gives a
command of the table). The footer, the help, the palette, the ``:`` line, the keymap file and the cheat sheet are made from the registry.

Where an action may be used is a matter of *scopes*. A :class:`Place` has the scopes of the panel that has the keys, of the kinds of things that the
thing under its cursor belongs to (a question has a ``question``, a ``run``, a ``task`` and a ``project``), of its screen, and ``app``; nearest first.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from config.errors import ForbiddenError, QuarterdeckError
from core.commands.table import Command, check_role, find
from storage.database import Principal, Role
from tui.answers import Asked
from tui.keymap import Sequences, show_keys
from tui.scopes import level

if TYPE_CHECKING:
    from textual.screen import Screen
    from textual.widget import Widget

    from tui.app import QuarterdeckApp

MODULES = (
    "tui.acts.app",
    "tui.acts.motion",
    "tui.acts.deck",
    "tui.acts.inbox",
    "tui.acts.task",
    "tui.acts.run",
    "tui.acts.log",
    "tui.acts.replay",
    "tui.acts.project",
    "tui.acts.agent",
    "tui.acts.setting",
    "tui.acts.review",
    "tui.acts.views",
    "tui.acts.forms",
    "tui.acts.money",
    "tui.acts.knowledge",
)
"""Which modules declare actions. A new screen adds its own."""

SUBJECTS = ("question", "review", "run", "task", "project", "agent", "setting", "engine", "service")
"""The kinds of things, which are scopes too. A thing belongs to others: their names are its ``names``."""

GUARDED = frozenset({"j", "k", "h", "l", "ctrl+d", "ctrl+k"})
"""Keys that hands press without looking: nothing destructive sits on them."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A thing under the cursor. ``names`` holds what it and its owners are called: ``{"task": "42", "project": "harbour"}``."""

    kind: str
    names: Mapping[str, str]
    label: str
    """For people: ``#42 Mend the parser``."""
    row: Any = None
    """What the panel shows of it."""
    asks: Asked | None = None
    """What it asks of the person."""
    state: str = ""
    """The state of its task, where that is known."""
    live: bool | None = None
    """Whether its run is at work; None where that is not known."""

    def __getitem__(self, kind: str) -> str:
        """The name of what it belongs to."""
        return self.names[kind]


@dataclass(frozen=True)
class Place:
    """Where the person is when an action is wanted: what it works on."""

    app: "QuarterdeckApp"
    screen: "Screen[Any]"
    panel: "Widget | None"
    scopes: tuple[str, ...]
    subject: Subject | None = None
    marked: tuple[Subject, ...] = ()
    """What is marked in the panel; a bulk action works on these in place of the subject."""
    count: int | None = None
    """A count typed before the key."""

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """What an action works on: all that is marked, else what is under the cursor."""
        return self.marked or ((self.subject,) if self.subject else ())


Run = Callable[[Place], Awaitable[None] | None]
Check = Callable[[Place], str | None]
"""Why an action cannot be used here, in words; None when it can."""
Loses = Callable[[Place], str | Awaitable[str]]
"""What is lost, in words."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that can be done. ``keys`` are the built-in ones, each a key or a sequence such as ``g t``."""

    id: str
    keys: tuple[str, ...]
    title: str
    """As the palette has it: ``task: cancel``."""
    help: str
    scopes: tuple[str, ...]
    run: Run
    enabled: Check | None = None
    command: str | None = None
    """The command of the table that it gives."""
    arguments: Mapping[str, str] = field(default_factory=dict)
    """Parameters that the subject fills: parameter → kind of name."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that are always the same."""
    destructive: bool = False
    loses: Loses | None = None
    """What exactly will be lost; asked before it is done."""
    many: Callable[[Place], str] | None = None
    """What is done when several are marked; asked before it is."""
    undo: Callable[[Subject], tuple[str, Mapping[str, Any]] | None] | None = None
    """The command that takes it back for one subject, as its row was before."""
    footer: str = ""
    """The word in the footer; empty: not shown there."""
    seen: Callable[[Place], Awaitable[bool]] | None = None
    """Shows what has to be read before the command is given, and says whether it is still meant."""
    label: Callable[[Place], str] | None = None
    """What it is called at this very place, where that depends on what is under the cursor."""
    order: int = 50
    """Lower stands further left in the footer."""

    @property
    def changes(self) -> bool:
        """Whether it changes anything but the screen."""
        return self.command is not None

    @property
    def verb(self) -> str:
        """As it is called on the ``:`` line."""
        return self.id.replace(".", " ")


_DECLARED: dict[str, Action] = {}


def action(
    id: str,  # noqa: A002 - as everywhere on the screen
    *keys: str,
    scopes: Iterable[str] = ("app",),
    footer: str = "",
    order: int = 50,
    enabled: Check | None = None,
    title: str = "",
    command: str | None = None,
    label: Callable[[Place], str] | None = None,
) -> Callable[[Run], Run]:
    """Declare an action with a function of its own, whose docstring is its help.

    It changes nothing but the screen, unless it says which ``command`` of the table it gives in the end: then it is refused where that would be.
    """

    def enter(run: Run) -> Run:
        text = " ".join((run.__doc__ or "").split())
        _enter(
            Action(
                id,
                keys,
                title or _title(id),
                text,
                tuple(scopes),
                run,
                enabled,
                command,
                footer=footer,
                order=order,
                label=label,
            )
        )
        return run

    return enter


def command(
    id: str,  # noqa: A002
    *keys: str,
    scopes: Iterable[str],
    name: str = "",
    arguments: Mapping[str, str] | None = None,
    fixed: Mapping[str, Any] | None = None,
    help: str = "",  # noqa: A002
    title: str = "",
    enabled: Check | None = None,
    loses: Loses | None = None,
    many: Callable[[Place], str] | None = None,
    seen: Callable[[Place], Awaitable[bool]] | None = None,
    undo: Callable[[Subject], tuple[str, Mapping[str, Any]] | None] | None = None,
    footer: str = "",
    order: int = 50,
    label: Callable[[Place], str] | None = None,
) -> Action:
    """Declare an action that gives a command of the table (``name``, else its own id) for every subject.

    ``arguments`` says which parameter takes which name of the subject; required parameters that nothing fills are asked for. It is destructive
    when the command is; then ``loses`` says what goes. ``many`` says what is done when it is given for several at once;
    ``seen`` shows what must be read first.
    """
    wanted = name or id

    async def run(place: Place) -> None:
        await place.app.give(made, place)

    made = Action(
        id, keys, title or _title(id), help, tuple(scopes), run, enabled, wanted, dict(arguments or {}), dict(fixed or {}),
        loses is not None, loses, many, undo, footer=footer, seen=seen, label=label, order=order,
    )  # fmt: skip
    _enter(made)
    return made


def _enter(made: Action) -> None:
    if made.id in _DECLARED:
        raise ValueError(f"action {made.id} is declared twice")
    _DECLARED[made.id] = made


def _title(id_: str) -> str:
    noun, _, verb = id_.partition(".")
    return f"{noun}: {verb.replace('-', ' ')}" if verb else noun


@dataclass(frozen=True, slots=True)
class Registry:
    """All actions, and the keys that they have now."""

    actions: Mapping[str, Action]
    keys: Mapping[str, tuple[str, ...]]
    """Action → its key sequences, after the keymap file."""

    def keys_of(self, id_: str) -> str:
        """The keys of an action for people: ``g t``."""
        return show_keys(self.keys.get(id_, ()))

    def here(self, place: Place) -> list[Action]:
        """What can be wanted here, nearest scope first, enabled or not."""
        rank = {scope: n for n, scope in reversed(list(enumerate(place.scopes)))}
        found = [
            (min(rank[s] for s in entry.scopes if s in rank), entry.order, n, entry)
            for n, entry in enumerate(self.actions.values())
            if any(scope in rank for scope in entry.scopes)
        ]
        return [entry for *_, entry in sorted(found, key=lambda item: item[:3])]

    def press(self, sequence: tuple[str, ...], place: Place) -> "Action | Pending | None":
        """What the keys pressed so far mean here: an action, a sequence that goes on, or nothing."""
        wanted = " ".join(sequence)
        further: dict[str, Action] = {}
        for entry in self.here(place):
            for keys in self.keys.get(entry.id, ()):
                if keys == wanted:
                    return entry
                if keys.startswith(wanted + " "):
                    further.setdefault(keys.removeprefix(wanted + " "), entry)
        return Pending(sequence, further) if further else None


@dataclass(frozen=True, slots=True)
class Pending:
    """A sequence that has begun: what may follow, and what it would do."""

    begun: tuple[str, ...]
    next: Mapping[str, Action]


def registry(keymap: Sequences | None = None) -> Registry:
    """Load every action; ``keymap``: what the person has moved."""
    for module in MODULES:
        import_module(module)
    moved = keymap or {}
    keys = {id_: moved.get(id_, entry.keys) for id_, entry in _DECLARED.items()}
    return Registry(dict(_DECLARED), keys)


def clashes(known: Registry) -> list[str]:
    """Keys that mean two things in one place, hide a sequence, or put something destructive under a hand, each as a sentence."""
    found: list[str] = []
    alike: defaultdict[str, list[tuple[str, Action]]] = defaultdict(list)
    """By the first key: only what begins alike can clash."""
    for id_, sequences in known.keys.items():
        for keys in sequences:
            entry = known.actions[id_]
            if entry.destructive and keys in GUARDED:
                found.append(f"{id_} destroys something and must not be on {show_keys((keys,))}")
            first = alike[keys.partition(" ")[0]]
            found += filter(None, (_clash(known, *other, keys, entry) for other in first))
            first.append((keys, entry))
    return found


def _clash(known: Registry, keys: str, one: Action, other_keys: str, other: Action) -> str:
    """In which way two actions cannot be told apart; empty where they can."""
    short, long = sorted((keys, other_keys), key=len)
    if one.id == other.id or not (short == long or long.startswith(short + " ")):
        return ""
    equally_near = level(one.scopes, other.scopes)
    moved = any(known.keys[entry.id] != entry.keys for entry in (one, other))
    if equally_near is None or not (equally_near or moved):
        return ""
    if short == long:
        return f"{show_keys((keys,))} is both {one.id} and {other.id}"
    return f"{show_keys((short,))} hides {show_keys((long,))} ({one.id}, {other.id})"


def why_not(entry: Action, place: Place) -> str | None:
    """Why an action cannot be used here, in words; None when it can."""
    if entry.command is not None:
        app = place.app
        if app.readonly:
            return "the screen is read-only (it was started with --readonly)"
        if app.store.gone:
            return "the database cannot be reached"
        if app.store.context is None:
            return "the database is still being connected to"
        try:
            _check_role(entry, app.store.who)
        except ForbiddenError as error:
            return error.message
        if entry.arguments and not place.subjects:
            return nothing_here(place)
    reason = entry.enabled(place) if entry.enabled else None
    return _LOADING if reason and _unknown(entry, place) else reason


def nothing_here(place: Place) -> str:
    """Why there is nothing to work on: it is not known yet, there is none, or none is under the cursor."""
    if _loading(place):
        return _LOADING
    rows = getattr(place.panel, "keys", None)
    return "nothing is selected" if rows is None or len(rows) else "there is nothing here"


def only_one(place: Place) -> str | None:
    """Why an action that works on one thing alone cannot be used while several are marked."""
    count = len(place.marked)
    keys = place.app.registry.keys_of("back")
    return None if count < 2 else f"it works on one at a time, and {count:,} are marked; {keys} marks none"


def checked(*checks: Check) -> Check:
    """The first reason of several against an action."""
    return lambda place: next((reason for check in checks if (reason := check(place)) is not None), None)


def several(labels: Iterable[str], most: int = 3) -> str:
    """What an action works on, in words, the first few by name: ``#1 …, #2 …, #3 … and 9 more``."""
    known = list(labels)
    more = len(known) - most
    return ", ".join(known[:most]) + (f" and {more:,} more" if more > 0 else "")


_LOADING = "what is here is still being loaded"


def _loading(place: Place) -> bool:
    return not getattr(place.panel, "loaded", True) or bool(getattr(place.screen, "loading_yet", False))


def _unknown(entry: Action, place: Place) -> bool:
    """Whether what a reason looks at is not known yet."""
    return place.app.pulse is None if entry.scopes == ("app",) else _loading(place)


def _check_role(entry: Action, who: Principal) -> None:
    """Raise ForbiddenError where somebody may not give the command of an action. An admin may give all, so that no footer loads commands for one."""
    if who.role is not Role.ADMIN:
        check_role(table_row(entry), who)


def table_row(entry: Action) -> Command:
    """The command of the table that an action gives."""
    if entry.command is None:
        raise QuarterdeckError(f"{entry.id} gives no command")
    return find(entry.command)
