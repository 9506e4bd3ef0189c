"""Decisions: what was chosen, instead of what, why, and how it turned out."""

from typing import Annotated, Any, Literal

import asyncpg

from core.commands.knowledge_states import put_away
from core.commands.knowledge_views import ItemRef, ItemView, Limit, find_item, said_by, shown_item, store
from core.commands.pattern import edit_structured, list_structured
from core.commands.table import Context, Metavar, Tool, command
from core.commands.values import Line, Slug, TaskRef, Text
from core.knowledge.kinds import decision_text
from core.knowledge.secrets import redact
from storage.database import Role
from storage.queries import tasks
from storage.queries.guard import transact
from storage.queries.knowledge import Draft

Ref = Annotated[ItemRef, "number or id of the decision"]
Outcome = Literal["success", "partial", "failed", "reverted"]


@command(
    "decision.add",
    role=Role.SUPERVISOR,
    tool=Tool(
        "record_decision",
        ("question", "chosen", "reasoning", "alternative", "type", "tag"),
        "Write down a choice that others will have to live with: what was to be decided, what you chose, instead of what,"
        " and why.",
        own=("task",),
        shows=("number", "title", "state", "note"),
    ),
)
async def add(
    ctx: Context,
    question: Annotated[Line, "what was to be decided"],
    *,
    chosen: Annotated[Text, "what was chosen"],
    reasoning: Annotated[Text, "why"] = "",
    alternative: Annotated[tuple[Text, ...], "what else was considered"] = (),
    type: Annotated[Line, "architecture, library, pattern, approach, …"] = "approach",  # noqa: A002
    project: Annotated[Slug | None, "whose it is; without it, it holds for all", Metavar("ID")] = None,
    task: Annotated[TaskRef | None, "the task that it was made in"] = None,
    tag: Annotated[tuple[Slug, ...], "word to find it by"] = (),
) -> ItemView:
    """Write down a decision."""
    columns: dict[str, Any] = {
        "type": type,
        "question": redact(question),
        "chosen": redact(chosen),
        "alternatives": [redact(one) for one in alternative],
        "reasoning": redact(reasoning),
    }

    async def work(connection: asyncpg.Connection) -> ItemView:
        where, source = project, ctx.who.actor
        if task is not None:
            found = await tasks.find_task(connection, task)
            columns["task"] = found.number
            where, source = project or found.project, f"task #{found.number}"
        draft = Draft("decision", columns["question"], decision_text(columns), where, source, tags=tuple(tag))
        return await shown_item(connection, await store(connection, said_by(ctx.who, draft), columns))

    added = await transact(ctx.db, ctx.who, work)
    await ctx.db.ring("knowledge")
    return added


@command("decision.list", role=Role.VIEWER)
async def list_decisions(
    ctx: Context,
    *,
    project: Annotated[Slug | None, "of this project and of all", Metavar("ID")] = None,
    tag: Annotated[tuple[Slug, ...], "only with this tag"] = (),
    limit: Annotated[Limit, "at most so many"] = 100,
) -> list[ItemView]:
    """List the decisions, the newest first."""
    return await list_structured(ctx, "decision", project, tag, limit)


@command("decision.show", role=Role.VIEWER)
async def show(ctx: Context, id: Ref) -> ItemView:  # noqa: A002
    """Show a decision."""
    async with ctx.db.transaction(ctx.who) as connection:
        return await shown_item(connection, (await find_item(connection, id, kind="decision")).number)


@command("decision.edit", role=Role.SUPERVISOR)
async def edit(
    ctx: Context,
    id: Ref,  # noqa: A002
    *,
    question: Annotated[Line | None, "what was to be decided"] = None,
    chosen: Annotated[Text | None, "what was chosen"] = None,
    reasoning: Annotated[Text | None, "why"] = None,
    alternative: Annotated[tuple[Text, ...], "what else was considered; replaces all before"] = (),
    type: Annotated[Line | None, "architecture, library, pattern, approach, …"] = None,  # noqa: A002
    outcome: Annotated[Outcome | None, "how it turned out"] = None,
    note: Annotated[Text | None, "more on how it turned out"] = None,
    lesson: Annotated[Text | None, "what it has taught"] = None,
    repeat: Annotated[bool | None, "whether it should be decided so again"] = None,
    tag: Annotated[tuple[Slug, ...], "word to find it by; replaces all before"] = (),
) -> ItemView:
    """Change a decision, or write down how it turned out."""
    given: dict[str, Any] = {
        "question": question,
        "chosen": chosen,
        "reasoning": reasoning,
        "alternatives": list(alternative) or None,
        "type": type,
        "outcome": outcome,
        "outcome_note": note,
        "lesson": lesson,
        "repeat": repeat,
        "resolved_at": ctx.now() if outcome else None,
    }
    return await edit_structured(ctx, "decision", id, given, title=question, tags=tag)


@command("decision.delete", role=Role.SUPERVISOR, destructive=True, says="decision {number} is deleted")
async def delete(ctx: Context, id: Ref) -> ItemView:  # noqa: A002
    """Delete a decision. `qd knowledge restore` brings it back."""
    return await put_away(ctx, id, "decision")
