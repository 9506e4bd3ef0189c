"""What a command takes away, said before it is given in words: as exactly as the key that gives it says it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.commands.table import Command, validated
from tui.actions import Subject
from tui.ink import plain
from tui.panels.queue import subject_of_task

if TYPE_CHECKING:
    from tui.app import QuarterdeckApp


async def lost_by(app: "QuarterdeckApp", row: Command, arguments: Mapping[str, Any]) -> str:
    """What would be lost; where no action knows, what the command does. Raises the errors of :mod:`config.errors`, also where the thing is not there."""
    entry = app.registry.actions.get(row.name)
    subject = None
    if entry is not None and entry.loses is not None and len(entry.arguments) == 1:
        ((parameter, kind),) = entry.arguments.items()
        values = validated(row, arguments)
        if parameter in values:
            subject = await _named(app, kind, values[parameter])
    if entry is None or entry.loses is None or subject is None:
        return " ".join(row.help.split("\n\n")[0].split())
    lost = entry.loses(replace(app.place(), subject=subject, marked=()))
    return lost if isinstance(lost, str) else await lost


async def _named(app: "QuarterdeckApp", kind: str, name: Any) -> Subject | None:
    """The thing of that name; None for kinds that are not looked up."""
    match kind:
        case "task" | "review":
            task = subject_of_task(await app.store.ask("task.show", task=name))
            return replace(task, names={**task.names, "review": task["task"]})
        case "project":
            project = await app.store.ask("project.show", id=name)
            return Subject(kind, {kind: project.id}, plain(project.name), project)
        case "run" | "agent":
            return Subject(kind, {kind: str(name)}, plain(str(name)))
    return None
