"""Moving items of knowledge: put away and brought back, accepted and refused, one in the place of another, and a word on whether it helps."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Literal
from uuid import UUID

import asyncpg

from config.errors import NotFoundError
from core.commands.knowledge_views import ItemRef, ItemView, find_item, shown_item
from core.commands.table import Context, command
from core.knowledge import standing
from core.knowledge.contradictions import let_stand
from storage.database import Role
from storage.queries import knowledge as rows
from storage.queries.guard import transact
from storage.queries.knowledge import Memory

Item = Annotated[ItemRef, "number or id of the item"]
Proposal = Annotated[ItemRef, "number or id of the proposal"]


@dataclass(frozen=True, slots=True)
class PairView:
    """Two items of which a person has said that both stand."""

    first: int
    second: int


@command("knowledge.delete", role=Role.SUPERVISOR, destructive=True, says="item {number} is deleted")
async def delete(ctx: Context, id: Item) -> ItemView:  # noqa: A002
    """Delete an item: nobody finds it any more. `qd knowledge restore` brings it back.

    What is read from a file stays away as long as the file holds it so.
    """
    return await put_away(ctx, id)


@command("knowledge.restore", role=Role.SUPERVISOR, says="item {number} is {state}")
async def restore(ctx: Context, id: Item) -> ItemView:  # noqa: A002
    """Bring back an item that was deleted, refused, deprecated or superseded, or that lies in cold storage.

    What was deprecated for how runs ended with it begins a new record.
    """

    async def work(connection: asyncpg.Connection, memory: Memory) -> None:
        await standing.bring_back(connection, memory, ctx.who.actor)

    return await _move(ctx, id, work)


@command("knowledge.accept", role=Role.SUPERVISOR, says="item {number} is {state}")
async def accept(ctx: Context, id: Proposal) -> ItemView:  # noqa: A002
    """Accept a proposal: from now on it is found and told to runs, in place of what it replaces; or what is doubted is taken out."""

    async def work(connection: asyncpg.Connection, memory: Memory) -> None:
        await standing.accept(connection, memory, ctx.who.actor)

    return await _move(ctx, id, work)


@command("knowledge.refuse", role=Role.SUPERVISOR, says="item {number} is {state}")
async def refuse(ctx: Context, id: Proposal) -> ItemView:  # noqa: A002
    """Refuse a proposal. It is not proposed again."""

    async def work(connection: asyncpg.Connection, memory: Memory) -> None:
        await standing.refuse(connection, memory, ctx.who.actor)

    return await _move(ctx, id, work)


@command("knowledge.supersede", role=Role.SUPERVISOR, says="item {number} is {state}: {note}")
async def supersede(
    ctx: Context,
    id: Item,  # noqa: A002
    by: Annotated[ItemRef, "the item that takes its place"],
) -> ItemView:
    """Put one item in the place of another, which is found no more. `qd knowledge restore` brings it back."""

    async def work(connection: asyncpg.Connection, memory: Memory) -> None:
        await standing.supersede(connection, memory, await find_item(connection, by, lock=True), ctx.who.actor)

    return await _move(ctx, id, work)


@command("knowledge.keep-both", role=Role.SUPERVISOR, says="items {first} and {second} both stand")
async def keep_both(
    ctx: Context, first: Item, second: Annotated[ItemRef, "the one that it seems to contradict"]
) -> PairView:
    """Say that two items that seem to contradict each other both stand. It is shown again when one of them says something else."""

    async def work(connection: asyncpg.Connection) -> PairView:
        one, other = await find_item(connection, first), await find_item(connection, second)
        if not await let_stand(connection, one.number, other.number, ctx.who.actor):
            raise NotFoundError(
                f"items {one.number} and {other.number} do not contradict each other",
                "see `qd knowledge contradictions`",
            )
        return PairView(one.number, other.number)

    pair = await transact(ctx.db, ctx.who, work)
    await ctx.db.ring("knowledge")
    return pair


@command("knowledge.vote", role=Role.SUPERVISOR, says="item {number}: {wins} of {uses}")
async def vote(
    ctx: Context,
    id: Item,  # noqa: A002
    word: Annotated[Literal["up", "down"], "up: it helped; down: it did not"],
) -> ItemView:
    """Say whether an item helps. It counts as much as the outcome of a run."""

    async def work(connection: asyncpg.Connection, memory: Memory) -> None:
        await rows.vote(connection, memory.number, up=word == "up")

    return await _move(ctx, id, work)


async def put_away(ctx: Context, ref: int | UUID | str, kind: str | None = None) -> ItemView:
    """Delete an item, of a kind. Raises NotFoundError, and ConflictError when it is deleted already."""

    async def work(connection: asyncpg.Connection, memory: Memory) -> None:
        await standing.put_away(connection, memory, ctx.who.actor)

    return await _move(ctx, ref, work, kind)


async def _move(
    ctx: Context,
    ref: int | UUID | str,
    work: Callable[[asyncpg.Connection, Memory], Awaitable[None]],
    kind: str | None = None,
) -> ItemView:
    async def moving(connection: asyncpg.Connection) -> ItemView:
        memory = await find_item(connection, ref, kind=kind, lock=True)
        await work(connection, memory)
        return await shown_item(connection, memory.number)

    moved = await transact(ctx.db, ctx.who, moving)
    await ctx.db.ring("knowledge")
    return moved
