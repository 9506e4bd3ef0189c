"""Actions that open a form: what is added and what is edited."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from config.errors import QuarterdeckError
from core.commands.table import find
from tui.actions import Place, action, nothing_here, only_one
from tui.giving import names_of, tell
from tui.ink import plain

_TASKS = 300
"""Tasks that are offered."""


async def _filled_in(
    place: Place,
    name: str,
    title: str,
    *,
    fixed: Mapping[str, Any] | None = None,
    before: Mapping[str, str] | None = None,
    row: Any = None,
) -> Any | None:
    """Have a form filled in and sent; the result of the command, None when the person left."""
    from tui.forms import form_of

    app = place.app
    command = find(name)
    form = form_of(command, title, fixed=fixed, before=before, row=row)
    names: dict[str, Sequence[tuple[str, str]]] = {}
    for kind in ("project", "agent", "adapter"):
        if any(field.name == kind for field in form.fields):
            names[kind] = await _names(place, kind)
    if any(field.name in ("after", "parent") for field in form.fields):
        tasks = await app.store.ask("task.list", limit=_TASKS)
        names["task"] = [(str(task.number), task.title) for task in tasks if task.status not in ("failed", "cancelled")]
    from tui.screens.forms import FormScreen, known_of

    held = len(app.undos)
    result = await app.push_screen_wait(FormScreen(form, known_of(names)))
    if result is not None:
        await tell(app, command, result, undoable=len(app.undos) > held)
    return result


async def _edit(place: Place, kind: str, named: str, title: Callable[[Any], str]) -> None:
    """Have what is under the cursor changed in a form. ``named``: the parameter of its commands that names it."""
    subject = place.subject
    if subject is None or kind not in subject.names:
        raise QuarterdeckError(nothing_here(place))
    key = {named: subject[kind]}
    row = await place.app.store.ask(f"{kind}.show", **key)
    await _filled_in(place, f"{kind}.edit", title(row), fixed=key, row=row)


async def _names(place: Place, kind: str) -> Sequence[tuple[str, str]]:
    try:
        return await names_of(place.app, kind)
    except QuarterdeckError:
        return ()


@action("task.add", "t", footer="new task", order=60, title="task: add", command="task.add")
async def add_task(place: Place) -> None:
    """Add a task, in a form."""
    project = place.subject.names.get("project", "") if place.subject else ""
    if not project:
        projects = await _names(place, "project")
        project = projects[0][0] if len(projects) == 1 else ""
    await _filled_in(place, "task.add", "new task", before={"project": project} if project else None)


@action(
    "task.edit",
    "e",
    scopes=("queue", "task-page"),
    footer="edit",
    order=34,
    title="task: edit",
    command="task.edit",
    enabled=only_one,
)
async def edit_task(place: Place) -> None:
    """Change the task, in a form."""
    await _edit(place, "task", "task", lambda task: f"#{task.number} {plain(task.title)}")


@action("project.add", "b", title="project: add", command="project.add")
async def add_project(place: Place) -> None:
    """Put a git repository under supervision, in a form."""
    await _filled_in(place, "project.add", "new project")


@action(
    "project.edit",
    "e",
    scopes=("projects",),
    footer="edit",
    order=29,
    title="project: edit",
    command="project.edit",
    enabled=only_one,
)
async def edit_project(place: Place) -> None:
    """Change the project, in a form."""
    await _edit(place, "project", "id", lambda project: f"project {project.id}")


@action("agent.add", "A", scopes=("agents",), footer="new agent", order=60, title="agent: add", command="agent.add")
async def add_agent(place: Place) -> None:
    """Add an agent, in a form."""
    await _filled_in(place, "agent.add", "new agent")


@action(
    "agent.edit",
    "e",
    scopes=("agents",),
    footer="edit",
    order=29,
    title="agent: edit",
    command="agent.edit",
    enabled=only_one,
)
async def edit_agent(place: Place) -> None:
    """Change the agent, in a form."""
    await _edit(place, "agent", "name", lambda agent: f"agent {agent.name}")
