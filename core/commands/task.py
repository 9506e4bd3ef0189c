"""`qd task`: what is wanted of the crew."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import asyncpg

from config.errors import ConflictError, UsageError
from core.commands.table import Context, Tool, command
from core.commands.values import Line, Priority, Slug, TaskRef, Text, Time, Usd
from core.commands.views import TaskView, view, views
from core.tasks import waiting
from core.tasks.edit import Edit, check_dates, edit_task, first_date
from core.tasks.place import project_at
from core.tasks.states import TaskStatus
from storage.database import Principal, Role
from storage.queries import reviews
from storage.queries import tasks as rows
from storage.queries.guard import transact

_CLEARABLE = Literal["description", "agent", "after", "path", "not-before", "deadline", "max-cost"]
_NOTHING: Mapping[str, Any] = {
    "description": "", "agent": "", "after": (), "path": [], "not-before": None, "deadline": None, "max-cost": None,
}  # fmt: skip
MOST_BY_RUN = 50
"""Tasks that one run of an agent may add."""
_FIELDS = {"path": "paths", "not-before": "not_before", "max-cost": "max_cost_usd"}


@command(
    "task.add",
    role=Role.SUPERVISOR,
    tool=Tool(
        "create_task",
        ("title", "description", "priority", "after", "path"),
        "Add a task to this project for the crew: what is left to do and is not part of your own task. It starts after your"
        " task is completed; give `after` to name others instead, or an empty list for none.",
        own=("after",),
        shows=("number", "status", "title", "after"),
    ),
)
async def add(
    ctx: Context,
    title: Annotated[Line, "What is wanted, in one line"],
    *,
    project: Annotated[
        Slug | None, "Project it belongs to; without it, the one whose repository is the current directory"
    ] = None,
    description: Annotated[Text, "What is wanted in full, Markdown; '-' reads standard input"] = "",
    priority: Annotated[Priority | None, "1 to 5, 5 is the most urgent; without it, the project's"] = None,
    after: Annotated[tuple[TaskRef, ...], "Task that has to be completed first"] = (),
    parent: Annotated[TaskRef | None, "Task of which this is a part"] = None,
    path: Annotated[tuple[Line, ...], "Glob of files that it will touch; tasks that overlap are held apart"] = (),
    agent: Annotated[Slug | None, "Who is to do it; without it, whoever is free"] = None,
    not_before: Annotated[Time | None, "Earliest start: 2026-05-01T09:00:00Z, or +2h from now"] = None,
    deadline: Annotated[Time | None, "Latest end; it fails if it has not begun by then"] = None,
    max_attempts: Annotated[int | None, "How often it is tried, 3 without this"] = None,
    max_cost: Annotated[Usd | None, "Most that it may cost in USD, all attempts together"] = None,
    cron: Annotated[Line | None, 'Recurs at these times (UTC): five fields, "30 2 * * 1-5"'] = None,
    on_failure: Annotated[
        Literal["fail", "cancel"], "What becomes of it when a task that it waits for does not succeed"
    ] = "fail",
) -> TaskView:
    """Add a task.

    It starts as soon as what it waits for is completed, its time has come and an agent is free.
    """
    now = ctx.now()
    _check_attempts(max_attempts)
    if cron and (after or not_before):
        raise UsageError("a recurring task waits for its dates alone", "leave out --after and --not-before")
    start = first_date(cron, now) if cron else not_before
    check_dates(start, deadline, now)
    text = ctx.given("description", description)

    async def work(connection: asyncpg.Connection) -> TaskView:
        item: dict[str, Any] = {
            "project": project or await _project_here(ctx, connection),
            "title": title,
            "description": text,
            "priority": priority,
            "after": await rows.resolve(connection, after),
            "parent": (await rows.resolve(connection, [parent]))[0] if parent is not None else None,
            "paths": list(path),
            "agent": agent,
            "not_before": start and start.isoformat(),
            "deadline": deadline and deadline.isoformat(),
            "max_attempts": max_attempts,
            "max_cost_usd": max_cost,
            "cron": cron,
            "on_failure": on_failure,
        }
        if ctx.who.role is Role.AGENT:
            await _check_room(connection, ctx.who)
            item["extra"] = {"run": ctx.who.run}
        [added] = await rows.add_many(connection, [item])
        return await _view(connection, added.number)

    return await _changed(ctx, await transact(ctx.db, ctx.who, work))


@command(
    "task.list",
    role=Role.VIEWER,
    tool=Tool(
        "list_tasks",
        ("status", "search", "limit"),
        "List the tasks of this project, the newest first: what others of the crew work on, and what is planned.",
        shows=("number", "title", "status", "priority", "agent", "after", "paths", "reason"),
    ),
)
async def list_tasks(
    ctx: Context,
    *,
    project: Annotated[Slug | None, "Only this project's"] = None,
    status: Annotated[tuple[TaskStatus, ...], "Only tasks in this state"] = (),
    search: Annotated[Text | None, "Only with this in title or description, in capitals or not"] = None,
    order: Annotated[Literal["newest", "queue"], "The newest first, or as they would be worked on"] = "newest",
    before: Annotated[int | None, "Only numbers below this: the next page of the newest"] = None,
    limit: Annotated[int, "At most so many"] = 100,
) -> list[TaskView]:
    """List tasks, the newest first."""
    _check_limit(limit)
    wanted = rows.TaskFilter(project, tuple(status), search, before)
    async with ctx.db.transaction(ctx.who) as connection:
        numbers = await rows.list_numbers(connection, wanted, limit=limit, by_priority=order == "queue")
        return views(TaskView, await rows.tasks_by_number(connection, numbers))


@command("task.show", role=Role.VIEWER)
async def show(ctx: Context, task: Annotated[TaskRef, "Number (42, #42) or id"]) -> TaskView:
    """Show a task, and why it is not running."""
    async with ctx.db.transaction(ctx.who) as connection:
        return view(TaskView, await rows.find_task(connection, task))


@command("task.edit", role=Role.SUPERVISOR)
async def edit(
    ctx: Context,
    task: Annotated[TaskRef, "Number (42, #42) or id"],
    *,
    title: Annotated[Line | None, "What is wanted, in one line"] = None,
    description: Annotated[Text | None, "What is wanted in full, Markdown; '-' reads standard input"] = None,
    priority: Annotated[Priority | None, "1 to 5, 5 is the most urgent"] = None,
    agent: Annotated[Slug | None, "Who is to do it"] = None,
    after: Annotated[
        tuple[TaskRef, ...], "Task that has to be completed first; replaces all that were named before"
    ] = (),
    path: Annotated[tuple[Line, ...], "Glob of files that it will touch; replaces all that were named before"] = (),
    not_before: Annotated[Time | None, "Earliest start"] = None,
    deadline: Annotated[Time | None, "Latest end"] = None,
    max_attempts: Annotated[int | None, "How often it is tried"] = None,
    max_cost: Annotated[Usd | None, "Most that it may cost in USD"] = None,
    cron: Annotated[Line | None, "Other times of a recurring task (UTC)"] = None,
    on_failure: Annotated[
        Literal["fail", "cancel"] | None, "What becomes of it when a task that it waits for fails"
    ] = None,
    clear: Annotated[tuple[_CLEARABLE, ...], "Field to empty"] = (),
) -> TaskView:
    """Change a task.

    What the crew relies on cannot be changed: the agent, the paths and the dependencies of a task in progress.
    """
    _check_attempts(max_attempts)
    given = {
        "title": title,
        "description": None if description is None else ctx.given("description", description),
        "priority": priority,
        "agent": agent,
        "paths": list(path) or None,
        "not_before": not_before,
        "deadline": deadline,
        "max_attempts": max_attempts,
        "max_cost_usd": max_cost,
        "cron": cron,
        "on_failure": on_failure,
    }
    fields = {name: value for name, value in given.items() if value is not None}
    for name in clear:
        field = _FIELDS.get(name, name)
        if field in fields or (field == "after" and after):
            raise UsageError(f"--clear {name} and --{name} contradict each other")
        fields[field] = _NOTHING[name]

    async def work(connection: asyncpg.Connection) -> TaskView:
        [number] = await rows.resolve(connection, [task])
        chosen = fields | ({"after": await rows.resolve(connection, after)} if after else {})
        if not chosen:
            raise UsageError(f"nothing to change on task #{number}", "see `qd help task edit`")
        await edit_task(connection, number, Edit(chosen, ctx.now()))
        return await _view(connection, number)

    return await _changed(ctx, await transact(ctx.db, ctx.who, work))


@command("task.priority", role=Role.SUPERVISOR)
async def set_priority(
    ctx: Context,
    task: Annotated[TaskRef, "Number (42, #42) or id"],
    priority: Annotated[Priority, "1 to 5, 5 is the most urgent"],
) -> TaskView:
    """Change the priority of a task."""
    return await edit(ctx, task, priority=priority)


@command("task.cancel", role=Role.SUPERVISOR, destructive=True)
async def cancel(
    ctx: Context,
    task: Annotated[TaskRef, "Number (42, #42) or id"],
    *,
    reason: Annotated[Line | None, "Why, for whoever asks later"] = None,
) -> TaskView:
    """Cancel a task; a run that works on it is stopped.

    Tasks that wait for it fail, or are cancelled, as each of them says.
    """

    async def work(connection: asyncpg.Connection) -> TaskView:
        [number] = await rows.resolve(connection, [task])
        if await reviews.is_approved(connection, number) and await rows.engine_is_alive(connection):
            raise ConflictError(
                f"the change of task #{number} is approved and being merged", f"see `qd review show {number}`"
            )
        await reviews.supersede(connection, number)
        words = f"cancelled by {ctx.who.actor}" + (f": {reason}" if reason else "")
        if await rows.cancel(connection, number, words) is None:
            status = (await rows.statuses(connection, [number])).get(number, "deleted")
            raise ConflictError(f"task #{number} is {status} already", f"see `qd task show {number}`")
        return await _view(connection, number)

    return await _changed(ctx, await transact(ctx.db, ctx.who, work), "cancel", "review")


@command("task.retry", role=Role.SUPERVISOR)
async def retry(ctx: Context, task: Annotated[TaskRef, "Number (42, #42) or id"]) -> TaskView:
    """Start a task again that failed, was cancelled, or waits; its failures so far are forgotten."""

    async def work(connection: asyncpg.Connection) -> TaskView:
        [number] = await rows.resolve(connection, [task])
        lost = [
            parent
            for parent, status in (await rows.hold_parents(connection, number)).items()
            if status in (TaskStatus.FAILED, TaskStatus.CANCELLED)
        ]
        if lost:
            shown = ", ".join(f"#{parent}" for parent in lost)
            raise ConflictError(
                f"task #{number} waits for {shown}, which did not succeed", f"first `qd task retry {lost[0]}`"
            )
        held = await rows.lock(connection, number)
        _check_retry(number, held, ctx)
        assert held is not None
        start = first_date(held["cron"], ctx.now()) if held["cron"] else None
        await rows.move(connection, number, [held["status"]], "pending", not_before=start, fresh=True)
        return await _view(connection, number)

    return await _changed(ctx, await transact(ctx.db, ctx.who, work))


@command("task.delete", role=Role.SUPERVISOR, destructive=True)
async def delete(ctx: Context, task: Annotated[TaskRef, "Number (42, #42) or id"]) -> TaskView:
    """Delete a task with its runs and their logs."""

    async def work(connection: asyncpg.Connection) -> TaskView:
        [number] = await rows.resolve(connection, [task])
        await rows.lock_for_removal(connection, number)
        found = await rows.find_task(connection, number)
        if found.status == TaskStatus.IN_PROGRESS:
            raise ConflictError(f"task #{number} is in progress", f"first `qd task cancel {number}`")
        waiting_for_it = [
            child for child, status in (await rows.children(connection, number)).items() if status == "blocked"
        ]
        if waiting_for_it:
            shown = ", ".join(f"#{child}" for child in waiting_for_it)
            raise ConflictError(
                f"{shown} cannot start without task #{number}",
                f"edit what they come after, or `qd task cancel {number}`",
            )
        if await reviews.is_approved(connection, number) and await rows.engine_is_alive(connection):
            raise ConflictError(
                f"the change of task #{number} is approved and being merged", f"see `qd review show {number}`"
            )
        await rows.remove(connection, number)
        return view(TaskView, found)

    return await _changed(ctx, await transact(ctx.db, ctx.who, work), "review", "question")


@command("task.wait", role=Role.VIEWER)
async def wait(
    ctx: Context,
    task: Annotated[tuple[TaskRef, ...], "Numbers or ids"],
    *,
    timeout: Annotated[float | None, "Give up after so many seconds"] = None,  # noqa: ASYNC109 - an option of the command
) -> list[TaskView]:
    """Wait until the crew has done its part on every named task.

    It is done when a task is completed or in review. Fails when one failed or was cancelled, or the time is up.
    """
    if not task:
        raise UsageError("task wait needs a TASK", "name one or more")
    return views(TaskView, await waiting.wait_for(ctx.db, ctx.who, task, timeout, ctx.note))


async def _check_room(connection: asyncpg.Connection, who: Principal) -> None:
    """An agent that goes round in circles must not fill the queue."""
    if await rows.added_by_run(connection, who.run or 0, who.task or 0) >= MOST_BY_RUN:
        raise ConflictError(
            f"this run has added {MOST_BY_RUN} tasks, and may add no more", "say in your last message what is left"
        )


def _check_retry(number: int, held: asyncpg.Record | None, ctx: Context) -> None:
    status = held["status"] if held else "deleted"
    recurs = held is not None and held["cron"] is not None
    if held is None or status not in ("failed", "cancelled", "waiting") or (status == "waiting" and recurs):
        words = "waits for its next date" if recurs else f"is {status.replace('_', ' ')}"
        raise ConflictError(
            f"task #{number} {words}", "only one that failed, was cancelled or waits can be started again"
        )
    if held["deadline"] is not None and held["deadline"] <= ctx.now():
        raise ConflictError(
            f"the deadline of task #{number} has passed",
            f"first `qd task edit {number} --deadline +1d`, or `--clear deadline`",
        )


async def _project_here(ctx: Context, connection: asyncpg.Connection) -> str:
    project = project_at(ctx.cwd, await rows.project_paths(connection), ctx.paths.worktrees)
    if project is None:
        raise UsageError(
            f"{ctx.cwd} lies in no registered project", "name one with --project, or register it: `qd project add .`"
        )
    return project


def _check_attempts(count: int | None) -> None:
    if count is not None and not 1 <= count <= 1000:
        raise UsageError(f"max-attempts {count}: must be 1 to 1000")


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= 100_000:
        raise UsageError(f"limit {limit}: must be 1 to 100000")


async def _view(connection: asyncpg.Connection, number: int) -> TaskView:
    return view(TaskView, await rows.find_task(connection, number))


async def _changed(ctx: Context, task: TaskView, *more: str) -> TaskView:
    await ctx.db.ring("task", f"task:{task.number}", *more)
    return task
