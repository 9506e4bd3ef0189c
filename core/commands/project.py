"""Projects: git repositories under supervision."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import asyncpg

from config.colours import colour, next_colours
from config.errors import ConflictError, NotFoundError, QuarterdeckError, UsageError
from core.commands.checks import After, Within
from core.commands.project_views import Checkout, Project, view
from core.commands.table import Context, Metavar, command
from core.commands.values import Line, Priority, Slug
from storage.database import Role
from storage.queries import agents as agent_rows
from storage.queries import projects as rows

Colour = Annotated[str, After(colour), Metavar("COLOUR")]
Command = Annotated[str, Within(min_length=1, max_length=10_000), Metavar("CMD")]
Parallel = Annotated[int, Within(ge=0, le=1000)]
Id = Annotated[Slug, "id of the project"]
MergeMethod = Literal["merge", "fast-forward"]
_CLEARABLE = Literal["stack", "base", "verify", "agent", "primary", "accent"]
_CLEARED: Mapping[str, tuple[str, Any]] = {
    "stack": ("stack", None),
    "base": ("base", None),
    "verify": ("verify", []),
    "agent": ("agent", None),
    "primary": ("primary_colour", None),
    "accent": ("accent_colour", None),
}


@command("project.add", role=Role.SUPERVISOR)
async def add_project(
    ctx: Context,
    repo: Annotated[Line, "path, URL, or owner/name on GitHub", Metavar("PATH|URL")],
    *,
    id: Annotated[Slug | None, "short name; without it, made from the repository's"] = None,  # noqa: A002
    name: Annotated[Line | None, "name for people"] = None,
    stack: Annotated[Line | None, "what it is built with; without it, as its files say"] = None,
    priority: Annotated[Priority, "1 to 5, 5 is the highest: of tasks that name none"] = 3,
    base: Annotated[
        Line | None, "branch that work starts from and lands on; without it, the repository's", Metavar("BRANCH")
    ] = None,
    verify: Annotated[tuple[Command, ...], "check that work must pass; without it, as the repository says"] = (),
    max_parallel: Annotated[Parallel, "tasks at a time"] = 2,
    auto_merge: Annotated[bool, "merge what passes without a review"] = False,
    merge_method: Annotated[MergeMethod, "how work lands on the base branch"] = "merge",
    agent: Annotated[Slug | None, "who works here when a task names nobody", Metavar("NAME")] = None,
    primary: Annotated[Colour | None, "its colour on the screen"] = None,
    accent: Annotated[Colour | None, "its second colour"] = None,
) -> Project:
    """Put a repository under supervision.

    A path is used where it lies, and its checkout is never touched; a URL is cloned into a folder of our own. Without
    --verify the checks are those of its `.quarterdeck.toml`, else what its files say plainly (pytest, unittest, npm
    test, cargo test, go test).
    """
    from core.commands.registering import check_base, detect, id_from, locate

    project = id or id_from(repo if repo.strip(" ./") else str((ctx.cwd / repo).resolve()))
    async with ctx.db.transaction(ctx.who) as connection:
        if taken := await rows.find_project(connection, project):
            raise ConflictError(
                f"there is a project {project} already ({taken.path})", "give this one another name with --id"
            )
        await check_agent(connection, agent)
        colours = next_colours(await rows.used_colours(connection))
    located = await locate(repo, project, ctx.paths, ctx.cwd)
    if base is not None:
        await check_base(located, base)
    found = detect(located.path)
    columns: dict[str, Any] = {
        "name": name or project,
        "repo": located.repo,
        "path": str(located.path),
        "stack": stack or found.stack,
        "priority": priority,
        "base": base,
        "verify": list(verify or found.verify),
        "auto_merge": auto_merge,
        "merge_method": merge_method,
        "agent": agent,
        "primary_colour": primary or colours[0],
        "accent_colour": accent or colours[1],
        "max_parallel": max_parallel,
    }
    added = await insert(ctx, project, columns)
    return view(added, note=None if verify else found.words)


@command("project.list", role=Role.VIEWER)
async def list_projects(ctx: Context) -> list[Project]:
    """List the projects, the most important first."""
    async with ctx.db.transaction(ctx.who) as connection:
        return [view(row) for row in await rows.list_projects(connection)]


@command("project.show", role=Role.VIEWER)
async def show_project(ctx: Context, id: Id) -> Project:  # noqa: A002
    """Show a project, and how its repository stands."""
    async with ctx.db.transaction(ctx.who) as connection:
        row = await find(connection, id)
    try:
        return view(row, checkout=await checkout_of(row))
    except QuarterdeckError as error:
        return view(row, note=error.sentence())


@command("project.edit", role=Role.SUPERVISOR)
async def edit_project(
    ctx: Context,
    id: Id,  # noqa: A002
    *,
    repo: Annotated[Line | None, "where it has moved to", Metavar("PATH|URL")] = None,
    name: Annotated[Line | None, "name for people"] = None,
    stack: Annotated[Line | None, "what it is built with"] = None,
    priority: Annotated[Priority | None, "1 to 5, 5 is the highest: of tasks that name none"] = None,
    base: Annotated[Line | None, "branch that work starts from and lands on", Metavar("BRANCH")] = None,
    verify: Annotated[tuple[Command, ...], "check that work must pass; replaces all that were named before"] = (),
    max_parallel: Annotated[Parallel | None, "tasks at a time"] = None,
    auto_merge: Annotated[bool | None, "merge what passes without a review"] = None,
    merge_method: Annotated[MergeMethod | None, "how work lands on the base branch"] = None,
    agent: Annotated[Slug | None, "who works here when a task names nobody", Metavar("NAME")] = None,
    primary: Annotated[Colour | None, "its colour on the screen"] = None,
    accent: Annotated[Colour | None, "its second colour"] = None,
    clear: Annotated[tuple[_CLEARABLE, ...], "field to empty", Metavar("FIELD")] = (),
) -> Project:
    """Change a project. Runs that have begun go on as they began."""
    given = {
        "name": name,
        "stack": stack,
        "priority": priority,
        "base": base,
        "verify": list(verify) or None,
        "max_parallel": max_parallel,
        "auto_merge": auto_merge,
        "merge_method": merge_method,
        "agent": agent,
        "primary_colour": primary,
        "accent_colour": accent,
    }
    columns = {column: value for column, value in given.items() if value is not None}
    for field in clear:
        column, nothing = _CLEARED[field]
        if column in columns:
            raise UsageError(f"{field} is both given and cleared", "say one of the two")
        columns[column] = nothing
    if not columns and repo is None:
        raise UsageError(f"nothing to change in project {id}", "see `qd project edit --help`")
    async with ctx.db.transaction(ctx.who) as connection:
        before = await find(connection, id)
        await check_agent(connection, agent)
    if repo is not None or base is not None:
        columns |= await _located(ctx, before, repo, base)
    return view(await update(ctx, id, columns))


@command("project.pause", role=Role.SUPERVISOR, says="project {id} is {status}; {running} in progress")
async def pause_project(ctx: Context, id: Id) -> Project:  # noqa: A002
    """Start no more tasks of a project. What runs goes on."""
    return view(await update(ctx, id, {"paused": True}))


@command("project.resume", role=Role.SUPERVISOR, says="project {id} is {status}")
async def resume_project(ctx: Context, id: Id) -> Project:  # noqa: A002
    """Start tasks of a project again."""
    return view(await update(ctx, id, {"paused": False}))


@command("project.remove", role=Role.SUPERVISOR, destructive=True, says="project {id} is removed; {note}")
async def remove_project(ctx: Context, id: Id) -> Project:  # noqa: A002
    """Take a project out of supervision, and delete its tasks with their runs and logs.

    Refused while a task of it is in progress or in review. The repository stays as it is, with the branches of its
    tasks; so does the audit trail.
    """
    async with ctx.db.transaction(ctx.who) as connection:
        await rows.hold_tasks(connection)
        row = await find(connection, id, lock=True)
        found = await rows.in_the_way(connection, id)
        if found.in_progress:
            raise ConflictError(
                f"project {id} has tasks in progress: {_numbers(found.in_progress)}",
                "wait for them, or cancel them with `qd task cancel`",
            )
        if found.in_review:
            raise ConflictError(
                f"project {id} has changes in review: {_numbers(found.in_review)}",
                "approve or reject them with `qd review`",
            )
        if found.waited_for:
            raise ConflictError(
                f"tasks of other projects wait for tasks of {id}: {_numbers(found.waited_for)}",
                "edit or cancel them first",
            )
        tasks = await rows.delete_project(connection, id)
    await ctx.db.ring("project", f"project:{id}", "task")
    gone = f"{tasks} task{'' if tasks == 1 else 's'} deleted"
    return view(row, note=f"{gone}, the repository stays in {row.path}")


async def insert(ctx: Context, project: str, columns: Mapping[str, Any]) -> rows.ProjectRow:
    """Add the rows of a project. Raises ConflictError for an id or a repository that is taken."""
    async with ctx.db.transaction(ctx.who) as connection:
        other = await rows.project_of_path(connection, columns["path"])
        if other is not None and other != project:
            raise ConflictError(f"{columns['path']} is project {other} already", f"see `qd project show {other}`")
        if not await rows.insert_project(connection, project, columns):
            raise ConflictError(f"there is a project {project} already", "give this one another name with --id")
        added = await find(connection, project)
    await ctx.db.ring("project", f"project:{project}")
    return added


async def update(ctx: Context, project: str, columns: Mapping[str, Any]) -> rows.ProjectRow:
    """Change the rows of a project. Raises NotFoundError, ConflictError for a repository that is taken."""
    async with ctx.db.transaction(ctx.who) as connection:
        await find(connection, project, lock=True)
        other = await rows.project_of_path(connection, columns["path"]) if "path" in columns else None
        if other is not None and other != project:
            raise ConflictError(f"{columns['path']} is project {other} already", f"see `qd project show {other}`")
        await rows.update_project(connection, project, columns)
        row = await find(connection, project)
    await ctx.db.ring("project", f"project:{project}")
    return row


async def find(connection: asyncpg.Connection, project: str, *, lock: bool = False) -> rows.ProjectRow:
    """The row of a project. Raises NotFoundError with the nearest match."""
    row = await rows.find_project(connection, project, lock=lock)
    if row is None:
        near = difflib.get_close_matches(project, await rows.project_ids(connection), 1)
        hint = f"did you mean {near[0]}?" if near else "see `qd project list`"
        raise NotFoundError(f"there is no project {project}", hint)
    return row


async def check_agent(connection: asyncpg.Connection, name: str | None) -> None:
    """Raise NotFoundError for an agent that does not exist."""
    if name is None:
        return
    names = await agent_rows.agent_names(connection)
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]}?" if near else "see `qd agent list`"
        raise NotFoundError(f"there is no agent {name}", hint)


async def checkout_of(row: rows.ProjectRow) -> Checkout:
    """How the repository of a project stands. Raises UsageError where it is gone."""
    from core.workspace.repository import open_repository, status

    found = await status(await open_repository(Path(row.path)))
    return Checkout(
        branch=found.branch,
        staged=found.staged,
        modified=found.modified,
        untracked=found.untracked,
        conflicted=found.conflicted,
        ahead=found.ahead,
        behind=found.behind,
        remotes=found.remotes,
        commit=found.last_commit,
        subject=found.last_subject,
        author=found.last_author,
        at=found.last_at,
    )


async def _located(ctx: Context, row: rows.ProjectRow, repo: str | None, base: str | None) -> dict[str, Any]:
    """The columns of another place, checked; a base branch must be there."""
    from core.commands.registering import check_base, locate

    located = await locate(repo or row.path, row.id, ctx.paths, ctx.cwd)
    if base is not None:
        await check_base(located, base)
    if repo is None:
        return {}
    if row.running and located.path != Path(row.path):
        raise ConflictError(f"project {row.id} has {row.running} in progress", "move it when they are done")
    return {"repo": located.repo, "path": str(located.path)}


def _numbers(numbers: tuple[int, ...]) -> str:
    return ", ".join(f"#{number}" for number in numbers)
