"""What the agent of a task is told, item by item with its source."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from config.errors import NotFoundError
from core.commands.checks import Within
from core.commands.shown import Column
from core.commands.table import Context, Tool, command
from core.commands.values import TaskRef
from core.knowledge.context import context_for
from core.knowledge.gathering import Work
from core.knowledge.told import Told, of_record
from storage.database import Role
from storage.queries import knowledge_context as rows
from storage.queries import projects, tasks


@dataclass(frozen=True, slots=True)
class ItemView:
    """Something that a run is told."""

    section: str
    title: str
    source: str
    why: str
    tokens: int
    text: str
    id: str | None
    number: int | None
    columns: ClassVar[tuple[Column, ...]] = (
        Column("section", "section"),
        Column("item", "number", "key"),
        Column("title", "title"),
        Column("source", "source"),
        Column("why", "why"),
        Column("tokens", "tokens", "count"),
    )
    empty: ClassVar[str] = "nothing is known that would help"


@dataclass(frozen=True, slots=True)
class WarningView:
    """Something in a text that poses as an instruction, or is not to be seen."""

    source: str
    what: str
    text: str


@dataclass(frozen=True, slots=True)
class LeftOutView:
    """Something that there was no room for, and the tokens that it would have taken."""

    section: str
    title: str
    source: str
    tokens: int
    columns: ClassVar[tuple[Column, ...]] = (
        Column("section", "section"),
        Column("title", "title"),
        Column("source", "source"),
        Column("tokens", "tokens", "count"),
    )
    empty: ClassVar[str] = "there was room for all"


@dataclass(frozen=True, slots=True)
class ContextView:
    """What a run is told. ``run``: None when this is what it would be told now; ``considered``: items that were
    looked at.
    """

    task: int
    project: str
    run: str | None
    budget: int
    tokens: int
    considered: int
    items: tuple[ItemView, ...]
    warnings: tuple[WarningView, ...]
    left_out: tuple[LeftOutView, ...] = ()


@command(
    "context",
    role=Role.VIEWER,
    tool=Tool(
        "get_context",
        ("task",),
        "Read again what you were told of this project before you began, with where each item comes from; or what the agent"
        " of another task of this project was told.",
        own=("task",),
    ),
)
async def context(
    ctx: Context,
    task: Annotated[TaskRef, "Number (42, #42) or id"],
    *,
    now: Annotated[bool, "what a run would be told that begins now, not what the latest was told"] = False,
    budget: Annotated[int | None, Within(ge=0, le=200_000), "tokens that there is room for"] = None,
) -> ContextView:
    """Show what the agent of a task is told, item by item: where it comes from and why it was chosen.

    For a task that had a run it is what the latest one was told. Instructions that were found hidden in texts are
    listed as warnings; they
    are not told. What there was no room for in the budget is listed too: standards and rules of the repository come first, and nothing
    else holds them back.
    """
    from core.knowledge.embedding import Reach, queries_of
    from core.knowledge.recent import read_repository

    async with ctx.db.transaction(ctx.who) as connection:
        found = await tasks.find_task(connection, task)
        latest = None if now or budget is not None else await rows.latest_run(connection, found.number)
        if latest:
            row = await rows.told(connection, latest[0])
            assert row is not None
            return _view(found.number, of_record(found.project, found.number, row), f"{found.number}.{latest[1]}")
        if ctx.who.role is Role.AGENT:
            raise NotFoundError(f"no run of task #{found.number} was told anything", "search for what you need")
        project = await projects.find_project(connection, found.project)
        if project is None:
            raise NotFoundError(f"there is no project {found.project}", "see `qd project list`")
        feedback = await rows.feedback_of(connection, found.number)
        work = Work(found.project, found.number, found.title, found.description, tuple(found.paths), feedback)
        room = ctx.settings.knowledge.context_tokens if budget is None else budget
    repo = await read_repository(project.path, project.base, work.paths)
    vector = await queries_of(Reach(ctx.db, ctx.paths, ctx.environ, ctx.who.actor)).vector(work.query, found.project)
    async with ctx.db.transaction(ctx.who) as connection:
        told = await context_for(connection, work, repo, budget=room, vector=vector, now=ctx.now())
    return _view(found.number, told, None)


def _view(task: int, told: Told, run: str | None) -> ContextView:
    items = tuple(
        ItemView(one.section, one.title, one.source, one.why, one.tokens, one.text, one.id, one.memory)
        for one in told.items
    )
    warnings = tuple(WarningView(one.source, one.what, one.text) for one in told.warnings)
    left_out = tuple(LeftOutView(one.section, one.title, one.source, one.tokens) for one in told.left_out)
    return ContextView(task, told.project, run, told.budget, told.tokens, told.considered, items, warnings, left_out)
