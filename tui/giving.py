"""Giving commands from the screen: what is missing is asked for, what is lost is said first, what came of it is said after, and how it is taken back."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from io import StringIO
from typing import TYPE_CHECKING, Any

from config.errors import NotFoundError, QuarterdeckError, UsageError
from core.commands.table import Command, Parameter, check_role, find, validated
from core.faces.words import Request, parse
from storage.database import Role
from tui.actions import nothing_here
from tui.ink import Part, plain, plain_lines
from tui.losing import lost_by
from tui.store import spoken
from tui.undoing import Undo, before, inverse
from tui.widgets.dialogs import Option
from tui.widgets.rows import Rows

if TYPE_CHECKING:
    from tui.actions import Action, Place, Subject
    from tui.app import QuarterdeckApp


APART = frozenset({"demo", "completion", "mcp", "serve", "replay", "record", "task.wait"})
"""Commands that want a terminal, or a program, of their own, or that go on until somebody interrupts them."""
_TELLING = 25
"""After so many of a bulk action it says how far it has come."""
_TAIL = 1_000
"""Lines of a log that are shown in a dialog where nobody says how many."""


async def begin(app: "QuarterdeckApp") -> None:
    """What is done once there is a database: start the engine where none runs and the person wants it."""
    wanted = app.lifeline.starts_engine
    if not wanted or app.readonly:
        return
    app.lifeline.starts_engine = False
    try:
        check_role(find("up"), app.store.who)
        power = await app.do("up", {})
        if power.changed:
            app.say(f"engine started, pid {power.pid}", "ok")
    except QuarterdeckError as error:
        app.say(f"the engine could not be started: {error.message}", "bad", error.hint)


async def give(app: "QuarterdeckApp", entry: "Action", place: "Place") -> None:
    """Give the command of an action for each of its subjects."""
    row = find(entry.command or entry.id)
    place = await _as_now(entry, place)
    subjects: Sequence[Subject | None] = _fitting(entry, row, place) if entry.arguments else (None,)
    if not subjects:
        app.say(f"{entry.title}: {nothing_here(place)}", "note")
        return
    if place.marked:
        place = replace(place, marked=tuple(subject for subject in subjects if subject))
    filled = {**entry.fixed, **_filled(entry, subjects[0])}
    label = subjects[0].label if subjects[0] and len(subjects) == 1 else f"{len(subjects):,} marked"
    more = await ask_missing(app, row, filled, label=label)
    if more is None:
        return
    if not await _meant(app, entry, place, len(subjects)):
        app.say("nothing was done", "note")
        return
    refused = await _give_all(app, entry, row, subjects, {**entry.fixed, **more}, place.panel)
    if refused is not None:
        for name, text in more.items():
            if isinstance(text, str):
                app.drafts.keep(_draft(row, name, label), text, refused, app.registry.keys_of(entry.id))
        raise refused


async def _as_now(entry: "Action", place: "Place") -> "Place":
    """The place with what is marked as it is now, not as it was marked. Raises :class:`QuarterdeckError` where that leaves nothing to do."""
    if not place.marked or not isinstance(place.panel, Rows):
        return place
    place = replace(place, marked=await place.panel.renew_marks())
    if not place.marked:
        raise QuarterdeckError("what was marked is gone", "nothing was done")
    if (reason := entry.enabled(place) if entry.enabled else None) is not None:
        raise QuarterdeckError(reason)
    return place


async def _meant(app: "QuarterdeckApp", entry: "Action", place: "Place", count: int) -> bool:
    """Say what is lost, or what is done to many; whether it is meant."""
    if entry.seen is not None and not await entry.seen(place):
        return False
    asks = entry.loses or (entry.many if count > 1 else None)
    if asks is None:
        return True
    lost = asks(place)
    title = f"{entry.title}?" if count == 1 else f"{entry.title}: {count:,} marked?"
    return await app.confirm(title, lost if isinstance(lost, str) else await lost)


def _draft(row: Command, parameter: str, label: str) -> str:
    return f"{row.name} {parameter} {label}"


def _fitting(entry: "Action", row: Command, place: "Place") -> list["Subject | None"]:
    """The subjects that the command can be given for, each once: several events may be of one run."""
    if not place.marked:
        return list(place.subjects)
    needed = [entry.arguments[p.name] for p in row.parameters if p.required and p.name in entry.arguments]
    found = {
        tuple(_filled(entry, subject).items()): subject
        for subject in place.marked
        if all(kind in subject.names for kind in needed)
    }
    return list(found.values())


async def _give_all(
    app: "QuarterdeckApp",
    entry: "Action",
    row: Command,
    subjects: Sequence["Subject | None"],
    more: Mapping[str, Any],
    panel: Any,
) -> QuarterdeckError | None:
    """Give it for each; the error where some were refused, with the counts."""
    done, refused, back = [], [], []
    result: Any = None
    if row.name == "review.approve":
        app.say("approved: the engine merges it" + app.ink.glyph("more"), "note")
    for n, subject in enumerate(subjects):
        if n and n % _TELLING == 0:
            app.say(f"{entry.title}: {n:,} of {len(subjects):,}", "note")
        arguments = {**_filled(entry, subject), **more}
        was = None if entry.undo is not None else await before(app.store, row, arguments)
        try:
            result = await app.do(row.name, arguments)
        except QuarterdeckError as error:
            refused.append((subject, error))
            continue
        done.append(subject)
        if entry.undo is not None and subject is not None:
            taken = entry.undo(subject)
        else:
            taken = await inverse(app.store, row, arguments, was)
        if taken is not None:
            back.append(taken)
    if back:
        of = f" of {_named(done)}" if subjects[0] is not None else ""
        app.undos.append(Undo(f"{entry.title}{of}", tuple(back)))
    if isinstance(panel, Rows) and panel.marks:
        panel.keep_marks([subject for subject, _ in refused if subject])
    if refused:
        _, trouble = refused[0]
        counts = f"{len(done):,} done, {len(refused):,} not: " if len(subjects) > 1 else ""
        return QuarterdeckError(f"{counts}{trouble.message}", trouble.hint)
    hint = f"{app.registry.keys_of('undo')} takes it back" if back else ""
    app.say(outcome(row, result) if len(done) == 1 else f"{entry.title}: {len(done):,} done", "ok", hint)
    return None


def _filled(entry: "Action", subject: "Subject | None") -> dict[str, Any]:
    return {name: subject[kind] for name, kind in entry.arguments.items() if subject and kind in subject.names}


def _named(subjects: Sequence["Subject | None"]) -> str:
    named = [subject.label for subject in subjects if subject]
    return named[0] if len(named) == 1 else f"{len(named)}"


async def give_undoably(app: "QuarterdeckApp", row: Command, arguments: Mapping[str, Any]) -> Any:
    """Give one command; where it has an inverse it can be taken back. Its result. Raises the errors of :mod:`config.errors`."""
    was = await before(app.store, row, arguments)
    result = await app.do(row.name, arguments)
    nothing = getattr(result, "changed", True) is False
    if not nothing and (back := await inverse(app.store, row, arguments, was)) is not None:
        app.undos.append(Undo(spoken(row.name, arguments), (back,)))
    return result


async def ask_missing(
    app: "QuarterdeckApp", row: Command, filled: Mapping[str, Any], *, label: str = ""
) -> dict[str, Any] | None:
    """Ask for each required parameter that nothing fills; None when the person left."""
    asked: dict[str, Any] = {}
    for parameter in row.parameters:
        if not parameter.required or parameter.name in filled:
            continue
        value = await ask_parameter(app, row, parameter, label)
        if value is None:
            return None
        asked[parameter.name] = value
    return asked


async def ask_parameter(app: "QuarterdeckApp", row: Command, parameter: Parameter, label: str = "") -> Any | None:
    """Ask for the value of a parameter: one of its choices or names that are known, else a line, checked while one types."""
    title = f"{row.name.replace('.', ' ')}" + (f" {plain(label)}" if label else "")
    known = parameter.choices or await _names(app, row, parameter)
    if known:
        chosen = await app.choose(
            f"{title}: {parameter.name.replace('_', ' ')}", [Option(name, note) for name, note in _noted(known)]
        )
        return None if chosen is None else _shaped(parameter, chosen.name)

    def check(text: str) -> str | None:
        try:
            _check_one(row, parameter, _shaped(parameter, text))
        except UsageError as error:
            return error.sentence()
        return None

    text = await app.ask_text(title, parameter.help, app.drafts.take(_draft(row, parameter.name, label)), check)
    return None if text is None else _shaped(parameter, text)


def _check_one(row: Command, parameter: Parameter, value: Any) -> None:
    """Raise UsageError for a value that the parameter does not take."""
    others = {p.name: p for p in row.parameters if p.required and p.name != parameter.name}
    try:
        validated(row, {parameter.name: value})
    except UsageError as error:
        if others and " needs " in error.message and error.message.endswith(tuple(name.upper() for name in others)):
            return
        raise


def _shaped(parameter: Parameter, text: str) -> Any:
    return shlex.split(text) if parameter.repeated else text


def _noted(known: Sequence[Any]) -> list[tuple[str, str]]:
    return [item if isinstance(item, tuple) else (str(item), "") for item in known]


async def _names(app: "QuarterdeckApp", row: Command, parameter: Parameter) -> Sequence[Any]:
    """Names that are known for a parameter: projects, agents, settings."""
    kind = {"id": row.noun, "name": row.noun, "key": row.noun}.get(parameter.name, parameter.name)
    if row.verb == "add" and kind == row.noun:
        return ()
    try:
        return await names_of(app, kind)
    except QuarterdeckError:
        return ()


async def names_of(app: "QuarterdeckApp", kind: str) -> Sequence[tuple[str, str]]:
    """What exists of a kind of things, each with what it is about; nothing for kinds that are not counted up."""
    match kind:
        case "project":
            return [(p.id, p.name) for p in await app.store.ask("project.list")]
        case "agent":
            return [(a.name, a.adapter) for a in await app.store.ask("agent.list")]
        case "settings":
            return [(s.key, s.help) for s in await app.store.ask("settings.list")]
        case "adapter":
            return [(a.name, a.title) for a in await app.store.ask("agent.adapters")]
    return ()


# ── the command line of the screen ──────────────────────────────────────────────────────────────────────────────────


async def run_line(app: "QuarterdeckApp", line: str) -> None:
    """Do what a line says: an action of the screen by its verb, or a command as on the command line. Raises UsageError for anything else."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"the line cannot be split into words: {error}", "balance its quotes") from None
    if not words:
        return
    if words[0] == "qd":
        words = words[1:]
    if found := _action_named(app, words):
        app.perform(found)
        return
    try:
        request = parse(words)
    except UsageError:
        if len(words) == 1 and words[0].isdigit():
            app.open("task", task=words[0])
            return
        raise
    if request.topic or request.options.help:
        _show_help(app, request.topic)
    elif request.command is not None:
        await _run_request(app, request.command, request)


async def _run_request(app: "QuarterdeckApp", row: Command, request: Request) -> None:
    validated(row, request.arguments)
    if row.name in APART or (row.name == "up" and request.arguments.get("foreground")):
        raise UsageError(f"`qd {row.name.replace('.', ' ')}` is for a terminal of its own", "run it beside the screen")
    if request.options.database_url is not None:
        raise UsageError("the screen shows one database", "start another `qd --database-url …` for that one")
    if row.destructive and not request.options.yes:
        lost = await lost_by(app, row, request.arguments)
        if not await app.confirm(f"{spoken(row.name, request.arguments)}?", lost):
            app.say("nothing was done", "note")
            return
    if row.streams:
        await show_stream(app, row, request.arguments)
        return
    held = len(app.undos)
    result = await give_undoably(app, row, request.arguments)
    await show_result(app, row, result, undoable=len(app.undos) > held)


async def show_stream(app: "QuarterdeckApp", row: Command, arguments: Mapping[str, Any]) -> None:
    """Show what a command tells one after the other: what is there by now, and of very much its end."""
    names = {parameter.name for parameter in row.parameters}
    ends = {"tail": _TAIL} if "tail" in names and not arguments.keys() & {"tail", "limit"} else {}
    once = {"follow": False} if "follow" in names else {}
    items = await app.store.do_all(row.name, {**arguments, **ends, **once})
    await show_result(app, row, items)
    if ends and len(items) == _TAIL:
        app.say(f"these are the last {_TAIL:,}; --tail says how many, and the page of the run has all of them", "note")


def _action_named(app: "QuarterdeckApp", words: Sequence[str]) -> "Action | None":
    wanted = " ".join(words)
    for entry in app.registry.actions.values():
        if entry.command is None and entry.verb in (wanted, f"{wanted} show"):
            return entry
    aliases = {"q": "quit", "q!": "quit", "wq": "quit", "h": "help.show", "help": "help.show", "undo": "undo"}
    return app.registry.actions.get(aliases.get(wanted, ""))


def complete(app: "QuarterdeckApp", line: str) -> list[str]:
    """What a line may become, as whole lines: nouns, verbs, options, their choices, and the screen's own verbs."""
    from core.commands.table import NOUNS, commands

    head, _, last = line.rpartition(" ")
    words = head.split()
    if not words:
        alone = [entry.verb for entry in commands("")]
        screen = [entry.verb for entry in app.registry.actions.values() if entry.command is None]
        offers = [*filter(None, NOUNS), *alone, "help", *screen]
    elif len(words) == 1 and words[0] in NOUNS:
        offers = [entry.verb for entry in commands(words[0])]
    else:
        offers = _offers_for(app, words, last)
    fitting = [offer for offer in dict.fromkeys(offers) if offer.startswith(last) and offer != last]
    return [f"{head} {offer} ".lstrip() for offer in fitting]


def _offers_for(app: "QuarterdeckApp", words: Sequence[str], last: str) -> list[str]:
    try:
        row = find(f"{words[0]}.{words[1]}") if len(words) > 1 else find(words[0])
    except NotFoundError:
        return []
    options = {parameter.option: parameter for parameter in row.parameters if not parameter.positional}
    before = words[-1]
    if before in options and options[before].kind == "value":
        return list(options[before].choices) or app.lifeline.known(options[before].name)
    if last.startswith("-"):
        return list(options)
    given = sum(1 for word in words[2:] if not word.startswith("-"))
    positional = [parameter for parameter in row.parameters if parameter.positional]
    if given < len(positional):
        parameter = positional[given]
        kind = {"id": row.noun, "name": row.noun, "key": row.noun}.get(parameter.name, parameter.name)
        return list(parameter.choices) or app.lifeline.known(kind)
    return list(options)


# ── what came of it ─────────────────────────────────────────────────────────────────────────────────────────────────


def outcome(row: Command, result: Any) -> str:
    """What came of a command, in one line."""
    if row.says and hasattr(result, "__dataclass_fields__"):
        values = {field.name: getattr(result, field.name) for field in fields(result)}
        return plain(row.says.format_map({name: "" if value is None else value for name, value in values.items()}))
    if row.noun == "task" and hasattr(result, "number"):
        return f"task #{result.number} {result.title}: {result.status.replace('_', ' ')}"
    if row.noun == "question" and hasattr(result, "number"):
        return f"question {result.number} is answered: {result.decision or result.answer}"
    if row.noun == "review" and hasattr(result, "task"):
        return f"the change of task #{result.task} is {result.status.replace('_', ' ')}"
    name = getattr(result, "name", None) or getattr(result, "id", "") or getattr(result, "key", "")
    return plain(f"{row.name.replace('.', ' ')} {name if isinstance(name, str) else ''} done")


async def tell(app: "QuarterdeckApp", row: Command, result: Any, *, undoable: bool = False) -> None:
    """Say what came of a command that changed something; a key that is shown this once is shown."""
    from tui.widgets.dialogs import Once

    if key := getattr(result, "api_key", None):
        name = plain(str(getattr(result, "name", "")))
        about = "It is shown this once. Whoever has it works as this agent over HTTP: keep it where only that program reads it."
        await app.push_screen_wait(Once(f"the key of agent {name}", str(key), about))
    app.say(outcome(row, result), "ok", f"{app.registry.keys_of('undo')} takes it back" if undoable else "")


async def show_result(app: "QuarterdeckApp", row: Command, result: Any, *, undoable: bool = False) -> None:
    """Say the result of a command in a line, or show it in a dialog where it has more to it."""
    changed = row.role is not Role.VIEWER
    if changed and not isinstance(result, list | tuple):
        await tell(app, row, result, undoable=undoable)
        return
    if not result:
        app.say("nothing to show", "note")
        return
    app.read(f"qd {row.name.replace('.', ' ')}", drawn(app, result))


def drawn(app: "QuarterdeckApp", result: Any) -> list[list[Part]]:
    """A result as the command line draws it, in lines of the screen."""
    from core.faces.render import Screen, draw, draw_item

    out = StringIO()
    width = max(40, min(104, app.size.width - 8))
    screen = Screen(out, width, colour=False, ascii=not app.ink.unicode, now=app.store.now())
    if isinstance(result, list) and result and type(result[0]).__name__ in ("EventView", "Happening"):
        for item in result:
            draw_item(screen, item)
    else:
        draw(screen, result)
    return [[(line, "text")] for line in plain_lines(out.getvalue().rstrip("\n"))]


def _show_help(app: "QuarterdeckApp", topic: Sequence[str]) -> None:
    from core.faces.help import help_text
    from core.faces.words import find_topic

    text = help_text(*find_topic(topic))
    app.read("qd help " + " ".join(topic), [[(line, "text")] for line in plain_lines(text.rstrip("\n"))])
