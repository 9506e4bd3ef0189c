"""Vectors of what is known: made in the background of search, which goes on by words, or by the old model, until all are there.

One process at a time changes the model, and holds an advisory lock for that; one that broke off is finished by an engine. Above the size where
comparing all vectors is quick, an index is made of them, by the owner of the schema.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import asyncpg

from config.errors import ConflictError, QuarterdeckError
from core.knowledge.embedding import Chosen, Model, Reach, paid
from core.knowledge.remote import RemoteModel, SpentError
from storage.database import Database, Principal
from storage.queries import knowledge_search as rows
from storage.queries.knowledge_search import Embedder, Unembedded

log = logging.getLogger("qd.knowledge")

REST = 300.0
"""Seconds after which an engine asks again for what it did not get."""
AT_ONCE = 64
"""Items whose vectors are stored in one transaction."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """How far a model is: items with a vector, of all."""

    model: str
    done: int
    items: int


async def embed_all(db: Database, who: Principal, chosen: Chosen) -> AsyncIterator[Embedded]:
    """Make the vectors that are missing, then let search use them; the vectors of another model go only then, and its index.

    It can be interrupted and goes on where it stopped, by the same call or by an engine (:class:`Vectors`). Raises ConflictError while the
    model is changed by somebody else, and when somebody says meanwhile that search is to use none.
    """
    async with db.owner() as owner, rows.alone(owner, "change") as ours:
        if not ours:
            raise ConflictError(
                "the model is being changed already", "see `qd knowledge status`, and wait for it to end"
            )
        async with db.transaction(who) as connection:
            embedder = await rows.ensure_embedder(connection, chosen.identity, chosen.dims)
            await rows.want(connection, embedder.id)
        async for done, items in _fill(db, who, embedder, chosen.model):
            await _check_wanted(owner, embedder)
            yield Embedded(chosen.name, done, items)
        if await rows.wants_index(owner, embedder):
            await rows.build_index(owner, embedder)
        async with db.transaction(who) as connection:
            await _check_wanted(connection, embedder)
            await rows.activate(connection, embedder.id)
        async for done, items in _fill(db, who, embedder, chosen.model):  # what came while it was changed over
            yield Embedded(chosen.name, done, items)
        await rows.drop_other_indexes(owner, embedder)
        done, items = await rows.embedded_share(owner, embedder.id)
    yield Embedded(chosen.name, done, items)


async def _check_wanted(connection: asyncpg.Connection, embedder: Embedder) -> None:
    if not await rows.is_wanted(connection, embedder):
        raise ConflictError(
            f"{embedder.name} is not wanted any more: search is to go by words alone", "see `qd knowledge status`"
        )


async def embed_new(reach: Reach, who: Principal) -> int:
    """Make the vectors of what is new for the model that search uses, and its index where one has become worth while; how many were
    made, at most. None while another process is at it. Raises what says that the model cannot be reached, or that a budget has no room.
    """
    async with reach.db.transaction(who) as connection:
        embedder = await rows.active_embedder(connection)
        if embedder is None:
            return 0
        done, items = await rows.embedded_share(connection, embedder.id)
        if done >= items and not await rows.wants_index(connection, embedder):
            return 0
    made = 0
    async with reach.db.owner() as owner, rows.alone(owner, "new") as ours:
        if not ours:
            return 0
        if done < items:
            async for _ in _fill(reach.db, who, embedder, await reach.open(embedder)):
                made += AT_ONCE
        if await rows.wants_index(owner, embedder):
            await rows.build_index(owner, embedder)
    return made


class Vectors:
    """One engine's care for vectors: of what is new, and of a model whose change broke off."""

    def __init__(self, reach: Reach, who: Principal) -> None:
        self._reach = reach
        self._who = who
        self._said: dict[str, str] = {}
        self._rests_until = -math.inf

    async def keep(self) -> None:
        """Make what is missing. What cannot be made is said once, and tried again after :data:`REST`."""
        now = asyncio.get_running_loop().time()
        if now < self._rests_until:
            return
        for what, step in (
            ("the model is not changed", self._finish_change),
            ("what is new has no vectors", self._embed_new),
        ):
            try:
                await step()
                self._said.pop(what, None)
            except QuarterdeckError as error:
                self._rests_until = now + REST
                if self._said.get(what) != error.message:
                    self._said[what] = error.message
                    log.warning("%s: %s", what, error.sentence())

    async def _embed_new(self) -> None:
        await embed_new(self._reach, self._who)

    async def _finish_change(self) -> None:
        async with self._reach.db.transaction(self._who) as connection:
            wanted = await rows.wanted_embedder(connection)
            if wanted is None or await rows.is_changing_model(connection):
                return
        chosen = Chosen(wanted.name, wanted.name, wanted.dims, await self._reach.open(wanted))
        async for _ in embed_all(self._reach.db, self._who, chosen):
            pass


async def _fill(db: Database, who: Principal, embedder: Embedder, model: Model) -> AsyncIterator[tuple[int, int]]:
    """Make missing vectors, some at a time: (items with one, items). What a project has no budget for is left out, and said in the end."""
    after = 0
    spent: dict[str, SpentError] = {}
    while True:
        async with db.transaction(who) as connection:
            batch = await rows.unembedded(connection, embedder.id, after, AT_ONCE)
        if not batch:
            if spent:
                raise next(iter(spent.values()))
            return
        numbered = await _vectors(model, batch, spent)
        async with db.transaction(who) as connection:
            await rows.store_vectors(connection, embedder.id, numbered)
            done, items = await rows.embedded_share(connection, embedder.id)
        after = batch[-1].number
        yield done, items


async def _vectors(
    model: Model, batch: Sequence[Unembedded], spent: dict[str, SpentError]
) -> list[tuple[int, Sequence[float]]]:
    """A vector for each item; those of a service are paid by the project of the item, and left out where that is ``spent``."""
    groups: dict[str | None, list[Unembedded]] = {}
    for item in batch:
        groups.setdefault(item.project if isinstance(model, RemoteModel) else None, []).append(item)
    made: list[tuple[int, Sequence[float]]] = []
    for project, group in groups.items():
        if project in spent:
            continue
        try:
            vectors = await paid(model, project).embed([_text(one.title, one.path, one.content) for one in group])
        except SpentError as error:
            if error.project is None:
                raise
            spent[error.project] = error
            continue
        made += [(item.number, vector) for item, vector in zip(group, vectors, strict=True)]
    return made


def _text(title: str, path: str | None, content: str) -> str:
    """What of an item the model sees: its title first, since the end of a long text is cut off."""
    return f"{title}\n{path or ''}\n{content}"
