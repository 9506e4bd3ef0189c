"""What the commands about knowledge answer with, and how items are named."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

import asyncpg

from config.errors import ConflictError, NotFoundError
from core.commands.checks import Before, Within
from core.commands.shown import Column
from core.knowledge.hidden import look
from core.knowledge.search import Found, Hit
from core.knowledge.standards import change_of
from core.knowledge.standing import refuse_taken
from storage.database import Principal, Role
from storage.queries import knowledge as rows
from storage.queries.knowledge import Draft, Memory


def _item(value: Any) -> Any:
    text = str(value).strip()
    if re.fullmatch(r"#?\d{1,9}", text, re.ASCII):
        return int(text.lstrip("#"))
    try:
        return UUID(text)
    except ValueError:
        pass
    if re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,62}", text):
        return text
    raise ValueError("is no item; name it by its number, its id, or a pattern by its name")


ItemRef = Annotated[int | UUID | str, Before(_item)]
"""An item by its number or id; a pattern by its name too."""
Limit = Annotated[int, Within(ge=1, le=1000)]
"""How many items a list holds at most."""


@dataclass(frozen=True, slots=True)
class HitView:
    """An item that a search found. ``marks``: (start, end) of the matching words in ``snippet``."""

    id: UUID
    title: str
    content: str
    category: str
    project: str | None
    source: str
    score: float
    tags: tuple[str, ...]
    created_at: datetime
    number: int
    snippet: str
    marks: tuple[tuple[int, int], ...]
    path: str | None
    line: int | None
    mode: str
    origin: str
    cold: bool
    columns: ClassVar[tuple[Column, ...]] = (
        Column("item", "number", "key"),
        Column("score", "score"),
        Column("category", "category"),
        Column("project", "project"),
        Column("title", "title"),
        Column("source", "source"),
        Column("cold", "cold", "yes", spare=1),
        Column("text", "snippet"),
    )
    empty: ClassVar[str] = "nothing fits; search in other words, or see `qd knowledge status` for what is known"


@dataclass(frozen=True, slots=True)
class ItemView:
    """An item. ``worth`` is 0 to 1: how runs ended that were told of it; 0.5 before anything is known. ``doubt``: why it is
    proposed to be taken out; ``replaces``: the item whose place a proposal takes; ``change``: what accepting a proposed standard
    changes of the standards file now, as a diff.
    """

    number: int
    id: UUID
    title: str
    content: str
    category: str
    project: str | None
    source: str
    tags: tuple[str, ...]
    state: str
    created_at: datetime
    updated_at: datetime
    path: str | None
    first_line: int | None
    last_line: int | None
    valid_from: datetime
    invalid_at: datetime | None
    superseded_by: UUID | None
    note: str | None
    cold: bool
    uses: int
    wins: int
    worth: float
    last_used_at: datetime | None
    origin: str
    replaces: int | None
    doubt: str | None
    details: Mapping[str, Any] | None = None
    change: str | None = None
    columns: ClassVar[tuple[Column, ...]] = (
        Column("item", "number", "key"),
        Column("category", "category"),
        Column("state", "state", "state"),
        Column("project", "project"),
        Column("title", "title"),
        Column("uses", "uses", "count"),
        Column("wins", "wins", "count"),
        Column("tags", "tags"),
        Column("source", "source"),
        Column("updated", "updated_at", "time"),
        Column("note", "note", spare=1),
        Column("cold", "cold", "yes", spare=2),
    )
    empty: ClassVar[str] = "nothing is known yet; add it: qd knowledge add TEXT, or read it: qd knowledge index PROJECT"


def item_view(memory: Memory, details: Mapping[str, Any] | None = None, change: str | None = None) -> ItemView:
    """An item as it is shown."""
    names = [field.name for field in fields(ItemView) if field.name not in ("details", "change", "doubt")]
    shown = {name: getattr(memory, name) for name in names}
    return ItemView(**shown, doubt=memory.doubt or None, details=details, change=change)


def hit_views(found: Found) -> list[HitView]:
    """The hits of a search as they are shown."""
    return [_hit(hit, found.mode) for hit in found.hits]


def _hit(hit: Hit, mode: str) -> HitView:
    item = hit.memory
    return HitView(
        id=item.id,
        title=item.title,
        content=item.content,
        category=item.category,
        project=item.project,
        source=item.source,
        score=round(hit.score, 4),
        tags=item.tags,
        created_at=item.created_at,
        number=item.number,
        snippet=hit.snippet.text,
        marks=hit.snippet.marks,
        path=item.path,
        line=item.first_line + hit.snippet.line if item.first_line else None,
        mode=mode,
        origin=item.origin,
        cold=item.cold,
    )


async def find_item(
    connection: asyncpg.Connection, ref: int | UUID | str, *, kind: str | None = None, lock: bool = False
) -> Memory:
    """One item, whatever its state. Raises NotFoundError."""
    number = await rows.pattern_by_slug(connection, ref) if isinstance(ref, str) else ref
    memory = None if number is None else await rows.find(connection, number, lock=lock)
    if memory is None or (kind and memory.category != kind):
        what = kind or "item of knowledge"
        raise NotFoundError(f"there is no {what} {ref}", f"see `qd {kind or 'knowledge'} list`")
    return memory


async def shown_item(connection: asyncpg.Connection, number: int) -> ItemView:
    """An item with the columns of its kind."""
    memory = await rows.find(connection, number)
    assert memory is not None
    structured = memory.category in rows.STRUCTURED
    details = await rows.details(connection, memory.category, number) if structured else None
    proposed = memory.category == "standard" and (memory.state == "proposed" or memory.doubt)
    return item_view(memory, details, await change_of(connection, memory.project, [memory]) if proposed else None)


async def check_project(connection: asyncpg.Connection, project: str | None) -> None:
    """Raise NotFoundError for a project that is not there."""
    if project is not None and not await rows.project_exists(connection, project):
        raise NotFoundError(f"there is no project {project}", "see `qd project list`")


def said_by(who: Principal, draft: Draft) -> Draft:
    """An item with whose it is. What an agent says and reads like an instruction is told to nobody before a person has
    accepted it.
    """
    if who.role is not Role.AGENT:
        return draft
    odd = any(finding.what == "instruction" for finding in look(f"{draft.title}\n{draft.content}", ""))
    return replace(
        draft,
        origin="agent",
        source=f"task #{who.task}",
        state="proposed" if odd else "active",
        note="it reads like an instruction; a person has to accept it" if odd else None,
    )


async def store(connection: asyncpg.Connection, draft: Draft, details: Mapping[str, Any] | None = None) -> int:
    """Store an item with the columns of its kind; its number. Raises ConflictError where it is known already."""
    await check_project(connection, draft.project)
    if (known := await rows.twin(connection, draft)) is not None:
        raise ConflictError(f"this is known already as item {known}", f"see `qd knowledge show {known}`")
    if details is None:
        return await rows.insert(connection, draft)
    number = await rows.insert_structured(connection, draft, details)
    if number is None:
        await refuse_taken(connection, draft.kind, await rows.corpus_of(connection, draft.project), details)
        raise ConflictError(f"there was such a {draft.kind} a moment ago", "try again")
    return number
