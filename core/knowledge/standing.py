"""Where an item stands, and what follows from moving it: accepted, refused, brought back, put in another's place.

All in the transaction of the caller. What would make two items of one is refused, and the other one named.
"""

from collections.abc import Mapping
from typing import Any

import asyncpg

from config.errors import ConflictError
from core.knowledge.promotion import take_over
from storage.queries import knowledge as items
from storage.queries import knowledge_states as rows
from storage.queries.knowledge import Memory


async def accept(connection: asyncpg.Connection, memory: Memory, actor: str) -> None:
    """Accept a proposal.

    It takes the place of what it replaces, and of the same in single projects where it holds for all. An item that is
    proposed to be taken out is deprecated. Raises ConflictError where nothing is proposed.
    """
    if memory.state == "active" and memory.doubt:
        await items.set_state(connection, memory.number, "deprecated", note=f"{memory.doubt}; taken out by {actor}")
        return
    _only(memory, "proposed")
    await refuse_twin(connection, memory)
    await items.set_state(connection, memory.number, "active", note=f"accepted by {actor}")
    await _take_place(connection, memory, actor)


async def refuse(connection: asyncpg.Connection, memory: Memory, actor: str) -> None:
    """Refuse a proposal: it is not made again. Raises ConflictError where nothing is proposed."""
    if memory.state == "active" and memory.doubt:
        await rows.set_doubt(connection, memory.number, "")
        return
    _only(memory, "proposed")
    await items.set_state(connection, memory.number, "refused", note=f"refused by {actor}")


async def put_away(connection: asyncpg.Connection, memory: Memory, actor: str) -> None:
    """Delete an item: nobody finds it any more. Of a file, as long as that holds it so."""
    if memory.state == "deleted":
        raise _is_already(memory)
    await items.set_state(connection, memory.number, "deleted", note=f"deleted by {actor}")


async def bring_back(connection: asyncpg.Connection, memory: Memory, actor: str) -> None:
    """Bring back what was put away, or what lay in cold storage.

    What was deprecated for its record begins a new one. Raises ConflictError where it is there already, where its file no
    longer holds it, or where another item says the same.
    """
    if memory.state == "active" and memory.cold:
        await rows.warm(connection, memory.number)
        return
    if memory.state == "active":
        raise _is_already(memory)
    if memory.state == "proposed":
        raise ConflictError(f"item {memory.number} is proposed", f"`qd knowledge accept {memory.number}` accepts it")
    if memory.state == "removed":
        words = f"item {memory.number} was read from {memory.path or 'a file'}, which no longer holds it"
        raise ConflictError(words, "`qd knowledge index` reads what it holds now")
    await refuse_twin(connection, memory)
    await items.set_state(connection, memory.number, "active", note=f"brought back by {actor}")
    if memory.state == "deprecated":
        await rows.begin_anew(connection, memory.number)
        await rows.set_doubt(connection, memory.number, "")  # a person has answered that
    await _take_place(connection, memory, actor)


async def supersede(connection: asyncpg.Connection, memory: Memory, by: Memory, actor: str) -> None:
    """Put one item in the place of another, which is found no more and says what has taken its place.

    Raises ConflictError where that holds no longer itself, or is the same.
    """
    if memory.number == by.number:
        raise ConflictError(f"item {memory.number} cannot take its own place", "name the item that is newer or better")
    if by.state != "active":
        raise ConflictError(f"item {by.number} is {by.state}, and takes nobody's place", f"see item {by.number}")
    if memory.state not in ("active", "proposed", "deprecated"):
        raise _is_already(memory)
    note = f"superseded by item {by.number}, by {actor}"
    await items.set_state(connection, memory.number, "superseded", note=note, by=by.number)
    await rows.copy_sightings(connection, memory.number, by.number)


async def change_item(connection: asyncpg.Connection, memory: Memory, columns: Mapping[str, Any]) -> None:
    """Set columns of an item, which is out of cold storage by that. Raises ConflictError where it would say what another says."""
    if memory.state in ("active", "proposed"):
        would = {name: columns[name] for name in ("title", "content", "kind", "corpus") if name in columns}
        await refuse_twin(connection, memory, **would)
    await items.update(connection, memory.number, columns)
    await rows.warm(connection, memory.number)


async def refuse_twin(connection: asyncpg.Connection, memory: Memory, **would: Any) -> None:
    """Raise ConflictError where another item holds that says what this one says, or would say with these columns."""
    twin = await rows.twin_of(connection, memory, **would)
    if twin is not None:
        raise ConflictError(
            f"item {twin} says the same already", f"see `qd knowledge show {twin}`, and keep one of them"
        )


async def refuse_taken(connection: asyncpg.Connection, kind: str, corpus: int, columns: Mapping[str, Any]) -> None:
    """Raise ConflictError where the name of a pattern, or the error of a lesson in its place, is another item's, saying whose,
    and how that comes back where it was put away.
    """
    taken = None
    if kind == "lesson" and "signature" in columns:
        taken, what = await rows.lesson_in(connection, corpus, columns["signature"]), "a lesson about the same error"
    elif kind == "pattern" and "slug" in columns:
        taken, what = await rows.pattern_called(connection, columns["slug"]), f"a pattern {columns['slug']}"
    if taken is None:
        return
    number, state = taken
    if state in ("active", "proposed"):
        raise ConflictError(f"there is {what} already: item {number}", f"see `qd {kind} show {number}`, and edit it")
    raise ConflictError(
        f"there was {what}: item {number}, which is {state}", f"`qd knowledge restore {number}` brings it back"
    )


async def _take_place(connection: asyncpg.Connection, memory: Memory, actor: str) -> None:
    """What held in the place of an item that holds now is superseded by it."""
    replaced = await items.find(connection, memory.replaces, lock=True) if memory.replaces else None
    if replaced is not None and replaced.state == "active":
        note = f"superseded by item {memory.number}, by {actor}"
        await items.set_state(connection, replaced.number, "superseded", note=note, by=memory.number)
    if memory.origin == "consolidation" and memory.project is None:
        await take_over(connection, memory)


def _only(memory: Memory, state: str) -> None:
    if memory.state != state:
        raise _is_already(memory)


def _is_already(memory: Memory) -> ConflictError:
    return ConflictError(f"item {memory.number} is {memory.state}", f"see `qd knowledge show {memory.number}`")
