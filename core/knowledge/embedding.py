"""Vectors of what is known: made in the background of search, which goes on by words, or by the old model, until
all are there.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import lru_cache
from hashlib import md5
from threading import Lock
from typing import Protocol
from uuid import UUID

import asyncpg

from config.errors import QuarterdeckError, UnavailableError
from config.paths import Paths
from core.knowledge import models
from core.knowledge.onnx import OnnxModel
from core.knowledge.remote import PREFIX, RemoteModel, SpentError, identity, of_identity
from core.knowledge.search import QueryVector
from storage.database import Database, Principal, Role
from storage.queries import knowledge_search as rows
from storage.queries.knowledge_search import Embedder, Unembedded

log = logging.getLogger("qd.knowledge")

AT_ONCE = 64
"""Items whose vectors are stored in one transaction."""
PATIENCE = 5.0
"""Seconds that a search waits for the vector of its query."""
BELIEVED = 300.0
"""Seconds for which address, key and price of a service's model are believed."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """How far a model is: items with a vector, of all."""

    model: str
    done: int
    items: int


class Model(Protocol):
    """What turns texts into vectors of length one."""

    async def embed(self, texts: Sequence[str], *, asked: bool = False) -> list[list[float]]:
        """A vector for each text; ``asked``: they are queries, not items."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A model that is to be used: its name for people, its identity among the embedders, and the length of its vectors."""

    name: str
    identity: str
    dims: int
    model: Model


class LocalModel:
    """A model on this machine; it is loaded when it is first asked."""

    def __init__(self, installed: models.Model) -> None:
        self._installed = installed
        self._runs: OnnxModel | None = None
        self._loading = Lock()

    async def embed(self, texts: Sequence[str], *, asked: bool = False) -> list[list[float]]:  # noqa: ARG002
        """A vector for each text, made in a thread."""
        return await asyncio.to_thread(self._embed, texts)

    def _embed(self, texts: Sequence[str]) -> list[list[float]]:
        with self._loading:  # who asks while it is loaded must not load it once more
            if self._runs is None:
                self._runs = OnnxModel(self._installed.folder)
        return self._runs.embed(texts)


def local(installed: models.Model) -> Chosen:
    """An installed model, to be used."""
    return Chosen(installed.name, installed.identity, installed.dims, LocalModel(installed))


async def remote(where: "Reach", service: str, model: str) -> Chosen:
    """A model of a service, to be used: it is asked once for the length of its vectors."""
    opened = await RemoteModel.open(where.db, where.paths, where.environ, service, model, where.actor)
    [vector] = await opened.embed(["harbour"])
    return Chosen(f"{service}/{model}", identity(service, model, len(vector)), len(vector), opened)


@dataclass(frozen=True, slots=True)
class Reach:
    """What is needed to reach any model: the folders for those that are here, database and keys for those of services."""

    db: Database
    paths: Paths
    environ: Mapping[str, str]
    actor: str

    def transaction(self) -> AbstractAsyncContextManager[asyncpg.Connection]:
        """A transaction in the engine's right, which alone may write what calls to services cost."""
        return self.db.transaction(Principal(self.actor, Role.ENGINE))

    async def open(self, embedder: Embedder) -> Model:
        """The model of an embedder. Raises what says that it cannot be reached from here."""
        if not embedder.name.startswith(PREFIX):
            return await asyncio.to_thread(_loaded, self.paths, embedder.name)
        service, model = of_identity(embedder.name)
        return await RemoteModel.open(self.db, self.paths, self.environ, service, model, self.actor)


class Queries:
    """Vectors of queries by the model that search uses; those that were asked before come from the database."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._opened: tuple[str, float, Model] | None = None

    async def vector(self, text: str, project: str | None = None) -> QueryVector | None:
        """The vector; None without a model, and where none comes within :data:`PATIENCE`. ``project``: whose budget pays for it.

        Must be asked outside of any transaction: it takes connections of its own, in the engine's right, whoever asks.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._vector(text, project)
        except (QuarterdeckError, TimeoutError, asyncpg.PostgresError) as error:
            self._opened = None
            why = error.sentence() if isinstance(error, QuarterdeckError) else repr(error)
            log.warning("search goes by words alone: %s", why)
            return None

    async def _vector(self, text: str, project: str | None) -> QueryVector | None:
        digest = UUID(md5(text.encode("utf-8", "replace"), usedforsecurity=False).hexdigest())
        async with self._reach.transaction() as connection:
            embedder = await rows.active_embedder(connection)
            if embedder is None:
                return None
            if known := await rows.cached_query(connection, embedder.id, digest):
                return QueryVector(embedder, known)
        [vector] = await _paid(await self._model(embedder), project).embed([text], asked=True)
        if len(vector) != embedder.dims:
            raise UnavailableError(f"{embedder.name} gives vectors of another length", "set the model again")
        async with self._reach.transaction() as connection:
            await rows.cache_query(connection, embedder.id, digest, vector)
        return QueryVector(embedder, vector)

    async def _model(self, embedder: Embedder) -> Model:
        now = asyncio.get_running_loop().time()
        if self._opened is None or self._opened[0] != embedder.name or now - self._opened[1] > BELIEVED:
            self._opened = (embedder.name, now, await self._reach.open(embedder))
        return self._opened[2]


_queries: dict[Database, Queries] = {}


def queries_of(reach: Reach) -> Queries:
    """The queries of a process: its model stays loaded from one search to the next."""
    if reach.db not in _queries:
        _queries.clear()  # a process has one database; what was before is closed
        _queries[reach.db] = Queries(reach)
    return _queries[reach.db]


async def embed_all(db: Database, who: Principal, chosen: Chosen) -> AsyncIterator[Embedded]:
    """Make the vectors that are missing, then let search use them; the vectors of another model go only then.

    It can be interrupted and goes on where it stopped. Above the size where comparing all is quick, the index is made.
    """
    async with db.transaction(who) as connection:
        embedder = await rows.ensure_embedder(connection, chosen.identity, chosen.dims)
    async for done, items in _fill(db, who, embedder, chosen.model):
        yield Embedded(chosen.name, done, items)
    await _index_if_large(db, embedder)
    async with db.transaction(who) as connection:
        await rows.activate(connection, embedder.id)
    async for done, items in _fill(db, who, embedder, chosen.model):  # what came while it was changed over
        yield Embedded(chosen.name, done, items)
    async with db.transaction(who) as connection:
        done, items = await rows.embedded_share(connection, embedder.id)
    yield Embedded(chosen.name, done, items)


async def embed_new(reach: Reach, who: Principal) -> int:
    """Make the vectors of what is new for the model that search uses, where it can be reached; how many were made."""
    async with reach.db.transaction(who) as connection:
        embedder = await rows.active_embedder(connection)
        if embedder is None or not await rows.unembedded(connection, embedder.id, 0, 1):
            return 0
    made = 0
    async for _ in _fill(reach.db, who, embedder, await reach.open(embedder)):
        made += AT_ONCE
    if who.role is not Role.ENGINE:  # only the owner of the schema may make an index
        await _index_if_large(reach.db, embedder)
    return made


async def _index_if_large(db: Database, embedder: Embedder) -> None:
    """Make the index of a model's vectors where comparing all of them would be slow; search goes on meanwhile."""
    async with db.connection() as connection:
        done, _ = await rows.embedded_share(connection, embedder.id)
        if done > rows.EXACT_ROWS and not await rows.has_index(connection, embedder):
            await rows.build_index(connection, embedder)


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
            vectors = await _paid(model, project).embed([_text(one.title, one.path, one.content) for one in group])
        except SpentError as error:
            if error.project is None:
                raise
            spent[error.project] = error
            continue
        made += [(item.number, vector) for item, vector in zip(group, vectors, strict=True)]
    return made


def _paid(model: Model, project: str | None) -> Model:
    """The model, whose calls count against the budget of a project too where they cost anything."""
    return model.paid_by(project) if isinstance(model, RemoteModel) else model


@lru_cache(maxsize=2)
def _loaded(paths: Paths, identity: str) -> LocalModel:
    """A model on this machine, its files verified once in the life of a process."""
    return LocalModel(_installed(paths, identity))


def _installed(paths: Paths, identity: str) -> models.Model:
    model = models.load(paths, identity.rpartition(":")[0])
    if model.identity != identity:
        raise UnavailableError(f"the model {model.name} here is not the one that search uses", "install it again")
    return model


def _text(title: str, path: str | None, content: str) -> str:
    """What of an item the model sees: its title first, since the end of a long text is cut off."""
    return f"{title}\n{path or ''}\n{content}"
