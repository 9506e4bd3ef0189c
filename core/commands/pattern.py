"""Patterns: templates with placeholders that are worth using again."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import asyncpg

from config.errors import UsageError
from core.commands.knowledge_states import put_away
from core.commands.knowledge_views import (
    ItemRef,
    ItemView,
    Limit,
    check_project,
    find_item,
    item_view,
    shown_item,
    store,
)
from core.commands.table import Context, Metavar, command
from core.commands.values import Line, Slug, Text
from core.knowledge.kinds import pattern_text, render
from core.knowledge.secrets import redact
from core.knowledge.standing import change_item, refuse_taken
from storage.database import Role
from storage.queries import knowledge as rows
from storage.queries.guard import transact
from storage.queries.knowledge import Draft

Ref = Annotated[ItemRef, "name, number or id of the pattern"]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A pattern with its placeholders filled."""

    pattern: str
    text: str
    prints: ClassVar[str] = "text"


def slug_of(title: str) -> str:
    """A short name made from a title."""
    slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60].strip("-")
    return slug or "pattern"


@command("pattern.add", role=Role.SUPERVISOR)
async def add(
    ctx: Context,
    title: Annotated[Line, "what it is called"],
    *,
    template: Annotated[Text, "text with {{placeholders}}; - reads it from standard input"],
    name: Annotated[Slug | None, "short name; without it, made from the title"] = None,
    description: Annotated[Text, "when to use it"] = "",
    example: Annotated[Text | None, "how it looks when it is filled"] = None,
    category: Annotated[Line, "component, api, database, workflow, …"] = "general",
    project: Annotated[Slug | None, "whose it is; without it, it holds for all", Metavar("ID")] = None,
    for_project: Annotated[tuple[Slug, ...], "apply it in this project only", Metavar("ID")] = (),
    stack: Annotated[tuple[Line, ...], "apply it to this stack only"] = (),
    tag: Annotated[tuple[Slug, ...], "word to find it by"] = (),
) -> ItemView:
    """Add a pattern."""
    body = redact(_text(ctx, template))
    columns: dict[str, Any] = {
        "slug": name or slug_of(title),
        "category": category,
        "projects": list(dict.fromkeys(for_project)),
        "stacks": list(dict.fromkeys(stack)),
        "description": redact(description),
        "template": body,
        "example": redact(example) if example else None,
    }
    text = pattern_text(columns["description"], body, columns["example"])
    draft = Draft("pattern", redact(title), text, project, ctx.who.actor, tags=tuple(dict.fromkeys(tag)))

    async def work(connection: asyncpg.Connection) -> ItemView:
        for one in for_project:
            await check_project(connection, one)
        return await shown_item(connection, await store(connection, draft, columns))

    return await _ring(ctx, await transact(ctx.db, ctx.who, work))


@command("pattern.list", role=Role.VIEWER)
async def list_patterns(
    ctx: Context,
    *,
    project: Annotated[Slug | None, "of this project and of all", Metavar("ID")] = None,
    tag: Annotated[tuple[Slug, ...], "only with this tag"] = (),
    limit: Annotated[Limit, "at most so many"] = 100,
) -> list[ItemView]:
    """List the patterns, the newest first."""
    return await list_structured(ctx, "pattern", project, tag, limit)


@command("pattern.show", role=Role.VIEWER)
async def show(ctx: Context, id: Ref) -> ItemView:  # noqa: A002
    """Show a pattern."""
    async with ctx.db.transaction(ctx.who) as connection:
        return await shown_item(connection, (await find_item(connection, id, kind="pattern")).number)


@command("pattern.edit", role=Role.SUPERVISOR)
async def edit(
    ctx: Context,
    id: Ref,  # noqa: A002
    *,
    title: Annotated[Line | None, "what it is called"] = None,
    template: Annotated[Text | None, "text with {{placeholders}}; - reads it from standard input"] = None,
    name: Annotated[Slug | None, "short name"] = None,
    description: Annotated[Text | None, "when to use it"] = None,
    example: Annotated[Text | None, "how it looks when it is filled"] = None,
    category: Annotated[Line | None, "component, api, database, workflow, …"] = None,
    for_project: Annotated[tuple[Slug, ...], "apply it in this project only; replaces all before", Metavar("ID")] = (),
    stack: Annotated[tuple[Line, ...], "apply it to this stack only; replaces all before"] = (),
    tag: Annotated[tuple[Slug, ...], "word to find it by; replaces all before"] = (),
) -> ItemView:
    """Change a pattern."""
    given: dict[str, Any] = {
        "slug": name,
        "category": category,
        "description": description,
        "template": None if template is None else _text(ctx, template),
        "example": example,
        "projects": list(dict.fromkeys(for_project)) or None,
        "stacks": list(dict.fromkeys(stack)) or None,
    }
    return await edit_structured(ctx, "pattern", id, given, title=title, tags=tag)


@command("pattern.delete", role=Role.SUPERVISOR, destructive=True, says="pattern {number} is deleted")
async def delete(ctx: Context, id: Ref) -> ItemView:  # noqa: A002
    """Delete a pattern. `qd knowledge restore` brings it back."""
    return await put_away(ctx, id, "pattern")


@command("pattern.render", role=Role.VIEWER)
async def render_pattern(
    ctx: Context,
    id: Ref,  # noqa: A002
    *,
    set_: Annotated[tuple[Text, ...], "value of a placeholder", Metavar("NAME=VALUE")] = (),
) -> Rendered:
    """Fill the placeholders of a pattern. Values are put in as they are."""
    values = {}
    for pair in set_:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"set {pair!r} gives no value", "write NAME=VALUE")
        values[name.strip()] = value
    async with ctx.db.transaction(ctx.who) as connection:
        memory = await find_item(connection, id, kind="pattern")
        columns = await rows.details(connection, "pattern", memory.number)
    return Rendered(columns["slug"], render(columns["template"], values))


async def list_structured(
    ctx: Context, kind: str, project: str | None, tags: tuple[str, ...], limit: int
) -> list[ItemView]:
    """Items of a structured kind with their columns, the newest first. Raises NotFoundError for a project that is not there."""
    async with ctx.db.transaction(ctx.who) as connection:
        await check_project(connection, project)
        found = await rows.list_items(connection, project=project, kinds=(kind,), tags=tags, limit=limit)
        return [item_view(one, await rows.details(connection, kind, one.number)) for one in found]


async def edit_structured(
    ctx: Context,
    kind: str,
    ref: int | Any | str,
    given: dict[str, Any],
    *,
    title: str | None = None,
    tags: tuple[str, ...] = (),
) -> ItemView:
    """Set columns of a structured item (None: as it was), and say anew what it is searched by."""
    from core.knowledge.kinds import text_of

    columns = {
        name: [redact(one) for one in value]
        if isinstance(value, list)
        else redact(value)
        if isinstance(value, str)
        else value
        for name, value in given.items()
        if value is not None
    }

    async def work(connection: asyncpg.Connection) -> ItemView:
        memory = await find_item(connection, ref, kind=kind, lock=True)
        if not columns and not title and not tags:
            raise UsageError(f"nothing to change in {kind} {memory.number}", f"see `qd {kind} edit --help`")
        details = await rows.details(connection, kind, memory.number)
        if (slug := columns.get("slug")) is not None and slug != details["slug"]:
            await refuse_taken(connection, "pattern", 0, {"slug": slug})
        await rows.update_details(connection, kind, memory.number, columns)
        changed: dict[str, Any] = {"content": text_of(kind, details | columns)}
        if title:
            changed["title"] = redact(title)
        if tags:
            changed["tags"] = list(dict.fromkeys(tags))
        await change_item(connection, memory, changed)
        return await shown_item(connection, memory.number)

    return await _ring(ctx, await transact(ctx.db, ctx.who, work))


def _text(ctx: Context, text: str) -> str:
    body = ctx.given("template", text)
    if not body.strip():
        raise UsageError("the template is empty", "say what it makes")
    return body


async def _ring(ctx: Context, item: ItemView) -> ItemView:
    await ctx.db.ring("knowledge")
    return item
