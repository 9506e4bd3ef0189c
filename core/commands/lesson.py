"""Lessons: errors that were met, what mended them, and how to avoid them."""

from typing import Annotated, Any, Literal

import asyncpg

from core.commands.checks import Within
from core.commands.knowledge_states import put_away
from core.commands.knowledge_views import ItemRef, ItemView, Limit, find_item, said_by, shown_item, store
from core.commands.pattern import edit_structured, list_structured
from core.commands.table import Context, Metavar, Tool, command
from core.commands.values import Line, Slug, Text
from core.knowledge.kinds import lesson_text, signature
from core.knowledge.secrets import redact
from storage.database import Role
from storage.queries.guard import transact
from storage.queries.knowledge import Draft

Ref = Annotated[ItemRef, "number or id of the lesson"]
Type = Literal["typecheck", "runtime", "test", "lint", "build", "logic", "review", "other"]


@command(
    "lesson.add",
    role=Role.SUPERVISOR,
    tool=Tool(
        "record_lesson",
        ("error", "context", "fix", "worked", "rule", "type", "path", "tag"),
        "Write down an error that cost you time, what mended it, and how to avoid it, for those who come after you.",
        shows=("number", "title", "state", "note"),
    ),
)
async def add(
    ctx: Context,
    error: Annotated[Text, Within(min_length=1, max_length=20_000), "what went wrong, as it was said"],
    *,
    context: Annotated[Text, "when it happens"] = "",
    fix: Annotated[Text | None, "what mended it"] = None,
    worked: Annotated[bool | None, "whether that worked; without it, yes where there is a fix"] = None,
    rule: Annotated[Text | None, "how to avoid it"] = None,
    type: Annotated[Type, "what kind of error"] = "other",  # noqa: A002
    project: Annotated[Slug | None, "whose it is; without it, it holds for all", Metavar("ID")] = None,
    path: Annotated[Line | None, "the file it is about"] = None,
    tag: Annotated[tuple[Slug, ...], "word to find it by"] = (),
) -> ItemView:
    """Write down a lesson. The same error is one lesson, whatever the numbers and folders in it."""
    said = redact(error).strip()
    columns: dict[str, Any] = {
        "type": type,
        "error": said,
        "signature": signature(type, said),
        "context": redact(context),
        "fix": redact(fix) if fix else None,
        "worked": bool(fix) if worked is None else worked,
        "rule": redact(rule) if rule else None,
    }
    title = " ".join((columns["rule"] or said).split())[:120]
    draft = Draft(
        "lesson", title, lesson_text(columns), project, ctx.who.actor, path=path, tags=tuple(dict.fromkeys(tag))
    )

    async def work(connection: asyncpg.Connection) -> ItemView:
        return await shown_item(connection, await store(connection, said_by(ctx.who, draft), columns))

    added = await transact(ctx.db, ctx.who, work)
    await ctx.db.ring("knowledge")
    return added


@command("lesson.list", role=Role.VIEWER)
async def list_lessons(
    ctx: Context,
    *,
    project: Annotated[Slug | None, "of this project and of all", Metavar("ID")] = None,
    tag: Annotated[tuple[Slug, ...], "only with this tag"] = (),
    limit: Annotated[Limit, "at most so many"] = 100,
) -> list[ItemView]:
    """List the lessons, the newest first."""
    return await list_structured(ctx, "lesson", project, tag, limit)


@command("lesson.show", role=Role.VIEWER)
async def show(ctx: Context, id: Ref) -> ItemView:  # noqa: A002
    """Show a lesson."""
    async with ctx.db.transaction(ctx.who) as connection:
        return await shown_item(connection, (await find_item(connection, id, kind="lesson")).number)


@command("lesson.edit", role=Role.SUPERVISOR)
async def edit(
    ctx: Context,
    id: Ref,  # noqa: A002
    *,
    context: Annotated[Text | None, "when it happens"] = None,
    fix: Annotated[Text | None, "what mended it"] = None,
    worked: Annotated[bool | None, "whether that worked"] = None,
    rule: Annotated[Text | None, "how to avoid it"] = None,
    title: Annotated[Line | None, "what it is called"] = None,
    tag: Annotated[tuple[Slug, ...], "word to find it by; replaces all before"] = (),
) -> ItemView:
    """Change a lesson. The error itself stays, since by it the next one is recognised."""
    given: dict[str, Any] = {
        "context": context,
        "fix": fix,
        "worked": True if fix and worked is None else worked,
        "rule": rule,
    }
    return await edit_structured(ctx, "lesson", id, given, title=title, tags=tag)


@command("lesson.delete", role=Role.SUPERVISOR, destructive=True, says="lesson {number} is deleted")
async def delete(ctx: Context, id: Ref) -> ItemView:  # noqa: A002
    """Delete a lesson. `qd knowledge restore` brings it back."""
    return await put_away(ctx, id, "lesson")
