"""Taking changes back: which command undoes which, as things were before it; and the stack of what can be taken back.

What undoes a command is looked up here, for keys, the ``:`` line, the palette and the forms alike. An action alone says what was in its row before it;
what has no inverse (a merge, a deletion, an answer) cannot be taken back.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from config.errors import QuarterdeckError, UsageError
from core.commands.table import Command, find
from storage.queries.tasks import children

if TYPE_CHECKING:
    from tui.app import QuarterdeckApp
    from tui.store import Store

Given = tuple[str, Mapping[str, Any]]
"""A command and its arguments."""

_TURNED: Mapping[str, str] = {
    "queue.pause": "queue.resume", "queue.resume": "queue.pause", "project.pause": "project.resume", "project.resume": "project.pause",
    "agent.enable": "agent.disable", "agent.disable": "agent.enable", "run.pause": "run.resume", "run.resume": "run.pause",
    "service.suspend": "service.resume", "service.resume": "service.suspend", "task.cancel": "task.retry", "knowledge.delete": "knowledge.restore",
    "down": "up",
}  # fmt: skip
"""Commands that another one turns round, of the same thing."""
_FROM: Mapping[str, tuple[str, str, tuple[Any, ...]]] = {
    "queue.pause": ("", "paused", (False,)), "queue.resume": ("", "paused", (True,)),
    "project.pause": ("id", "status", ("active",)), "project.resume": ("id", "status", ("paused",)),
    "agent.enable": ("name", "status", ("disabled",)), "agent.disable": ("name", "status", ("enabled",)),
    "service.suspend": ("name", "status", ("active", "down")), "service.resume": ("name", "status", ("suspended",)),
}  # fmt: skip
"""Of those, the ones that are taken in every state: the other one turns them round only where the thing was in one of these. By which parameter it is
named, which field says its state, and the states."""
_CHANGED: Mapping[str, str] = {
    "task.edit": "task", "task.priority": "task", "project.edit": "id", "agent.edit": "name", "service.edit": "name",
}  # fmt: skip
"""Commands that change some fields of a thing; by which parameter it is named."""


@dataclass(frozen=True, slots=True)
class Undo:
    """What takes a change back: the commands, or what this screen alone remembers; and what was done, in words."""

    words: str
    commands: tuple[Given, ...] = ()
    here: Callable[[], None] | None = None


async def before(store: "Store", row: Command, arguments: Mapping[str, Any]) -> Any:
    """What has to be known before a command is given, so that it can be taken back; None where nothing has."""
    try:
        if row.name in _CHANGED:
            return await _shown(store, row, arguments)
        if row.name in ("settings.set", "settings.unset"):
            return next((one for one in await store.ask("settings.list") if one.key == arguments.get("key")), None)
        if row.name == "task.cancel":
            return await _starts_anew(store, arguments["task"])
        if row.name in _FROM:
            parameter, said, _ = _FROM[row.name]
            named = {parameter: arguments[parameter]} if parameter else {}
            return getattr(await store.ask(f"{row.noun}.show", **named), said)
    except QuarterdeckError:
        return None  # the command will say itself what is wrong
    return None


async def inverse(store: "Store", row: Command, arguments: Mapping[str, Any], was: Any) -> Given | None:
    """The command that takes one back that was given, ``was`` as :func:`before` told; None where there is none, or nothing to turn round."""
    if row.name in _FROM and was not in _FROM[row.name][2]:
        return None
    if row.name == "task.cancel" and not was:
        return None
    if row.name in _TURNED:
        turned = find(_TURNED[row.name])
        known = {parameter.name for parameter in turned.parameters}
        return turned.name, {name: value for name, value in arguments.items() if name in known}
    if row.name in _CHANGED and was is not None:
        return _as_it_was(row, arguments, was, await _shown(store, row, arguments))
    if row.name in ("settings.set", "settings.unset") and was is not None:
        return setting_as_it_was(was)
    return None


async def _starts_anew(store: "Store", task: str | int) -> bool:
    """Whether a task is as a retry would make it: it waits for its turn alone, nothing was done of it, and nothing fails or is cancelled with it."""
    found = await store.ask("task.show", task=task)
    if found.status != "pending" or found.not_before is not None or found.attempts:
        return False
    return not await store.read(lambda connection: children(connection, found.number))


def setting_as_it_was(row: Any) -> Given:
    """What sets a setting back: the value that was set live, or none."""
    import json

    if row.source != "database":
        return "settings.unset", {"key": row.key}
    value = row.value if isinstance(row.value, str) else json.dumps(row.value)
    return "settings.set", {"key": row.key, "value": value}


async def _shown(store: "Store", row: Command, arguments: Mapping[str, Any]) -> Any:
    parameter = _CHANGED[row.name]
    return await store.ask(f"{row.noun}.show", **{parameter: arguments[parameter]})


def _as_it_was(row: Command, arguments: Mapping[str, Any], was: Any, now: Any) -> Given | None:
    from tui.forms import arguments_of, form_of

    editing = find(f"{row.noun}.edit")
    named = {_CHANGED[row.name]: arguments[_CHANGED[row.name]]}
    old, new = (form_of(editing, "", fixed=named, row=shown) for shown in (was, now))
    try:
        sent = arguments_of(new, {field.name: old.value(field.name) for field in old.fields})
    except UsageError:
        return None  # it was empty before, and cannot be emptied
    return None if sent == named else (editing.name, sent)


async def undo(app: "QuarterdeckApp") -> None:
    """Take the last change back. What cannot be taken back now is kept; of several commands, those that are not done yet."""
    if not app.undos:
        app.say("there is nothing to take back", "note")
        return
    last = app.undos.pop()  # who asks again meanwhile means the change before
    for n, (name, arguments) in enumerate(last.commands):
        try:
            await app.do(name, arguments)
        except QuarterdeckError as error:
            app.undos.append(replace(last, commands=last.commands[n:]))
            keys = app.registry.keys_of("undo")
            done = f", {n} of {len(last.commands)} are" if n else ""
            raise QuarterdeckError(
                f"{last.words} is not taken back{done}: {error.message}",
                f"it is kept: {keys} tries again, :undo drop forgets it",
            ) from error
    if last.here is not None:
        last.here()
    app.say(f"taken back: {last.words}", "ok")


def drop(app: "QuarterdeckApp") -> None:
    """Forget the last change: it is not to be taken back any more."""
    if not app.undos:
        app.say("there is nothing to take back", "note")
        return
    app.say(f"not to be taken back any more: {app.undos.pop().words}", "note")
