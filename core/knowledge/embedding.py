"""Vectors of what is known: made in the background of search, which goes on by words, or by the old model, until
all are there.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from hashlib import md5
from uuid import UUID

import asyncpg

from config.errors import QuarterdeckError
from config.paths import Paths
from core.knowledge import models
from core.knowledge.onnx import OnnxModel
from core.knowledge.search import QueryEmbedder
from storage.database import Database, Principal
from storage.queries import knowledge_search as rows
from storage.queries.knowledge_search import Embedder

log = logging.getLogger("qd.knowledge")

AT_ONCE = 64
"""Items whose vectors are stored in one transaction."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """How far a model is: items with a vector, of all."""

    model: str
    done: int
    items: int


class LocalQueries:
    """Vectors of queries by an installed model; those that were asked before come from the database."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._loaded: dict[str, OnnxModel] = {}

    async def query(self, connection: asyncpg.Connection, embedder: Embedder, text: str) -> Sequence[float] | None:
        """The vector; None where the model is not on this machine."""
        digest = UUID(md5(text.encode(), usedforsecurity=False).hexdigest())
        if known := await rows.cached_query(connection, embedder.id, digest):
            return known
        try:
            [vector] = await asyncio.to_thread(self._embed, embedder.name, text)
        except QuarterdeckError as error:
            log.warning("search goes by words alone: %s", error.sentence())
            return None
        await rows.cache_query(connection, embedder.id, digest, vector)
        return vector

    def _embed(self, identity: str, text: str) -> list[list[float]]:
        if identity not in self._loaded:
            self._loaded[identity] = OnnxModel(_installed(self._paths, identity).folder)
        return self._loaded[identity].embed([text])


def query_embedder(paths: Paths) -> QueryEmbedder | None:
    """What turns queries into vectors here."""
    return LocalQueries(paths)


async def embed_all(db: Database, who: Principal, model: models.Model) -> AsyncIterator[Embedded]:
    """Make the vectors that are missing, then let search use them; the vectors of another model go only then.

    It can be interrupted and goes on where it stopped. Above the size where comparing all is quick, the index is made.
    """
    runs = await asyncio.to_thread(OnnxModel, model.folder)
    async with db.transaction(who) as connection:
        embedder = await rows.ensure_embedder(connection, model.identity, model.dims)
    after = 0
    while True:
        async with db.transaction(who) as connection:
            batch = await rows.unembedded(connection, embedder.id, after, AT_ONCE)
        if not batch:
            break
        vectors = await asyncio.to_thread(
            runs.embed, [_text(title, path, content) for _, title, content, path in batch]
        )
        numbered = [(row[0], vector) for row, vector in zip(batch, vectors, strict=True)]
        async with db.transaction(who) as connection:
            await rows.store_vectors(connection, embedder.id, numbered)
            done, items = await rows.embedded_share(connection, embedder.id)
        after = batch[-1][0]
        yield Embedded(model.name, done, items)
    async with db.connection() as connection:
        done, items = await rows.embedded_share(connection, embedder.id)
        if done > rows.EXACT_ROWS and not await rows.has_index(connection, embedder):
            await rows.build_index(connection, embedder)
    async with db.transaction(who) as connection:
        await rows.activate(connection, embedder.id)
    yield Embedded(model.name, done, items)


async def embed_new(db: Database, who: Principal, paths: Paths) -> int:
    """Make the vectors of what is new for the model that search uses, where it is on this machine; how many there
    are now.
    """
    async with db.transaction(who) as connection:
        embedder = await rows.active_embedder(connection)
    if embedder is None:
        return 0
    done = 0
    async for step in embed_all(db, who, _installed(paths, embedder.name)):
        done = step.done
    return done


def _installed(paths: Paths, identity: str) -> models.Model:
    model = models.load(paths, identity.rpartition(":")[0])
    if model.identity != identity:
        raise QuarterdeckError(f"the model {model.name} here is not the one that search uses", "install it again")
    return model


def _text(title: str, path: str | None, content: str) -> str:
    """What of an item the model sees: its title first, since the end of a long text is cut off."""
    return f"{title}\n{path or ''}\n{content}"
