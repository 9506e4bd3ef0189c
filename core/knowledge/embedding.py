"""Models that turn texts into vectors, how each is reached, and the vectors of queries."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
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
from core.knowledge.remote import PREFIX, RemoteModel, books, identity, of_identity
from core.knowledge.search import QueryVector
from storage.database import Database
from storage.queries import knowledge_search as rows
from storage.queries.knowledge_search import Embedder

log = logging.getLogger("qd.knowledge")

PATIENCE = 5.0
"""Seconds that a search waits for the vector of its query."""
BELIEVED = 300.0
"""Seconds for which address, key and price of a service's model are believed."""


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
                self._runs = OnnxModel(self._installed.folder, self._installed.tokens)
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
        async with books(self._reach.db, self._reach.actor) as connection:
            embedder = await rows.active_embedder(connection)
            if embedder is None:
                return None
            if known := await rows.cached_query(connection, embedder.id, digest):
                return QueryVector(embedder, known)
        [vector] = await paid(await self._model(embedder), project).embed([text], asked=True)
        if len(vector) != embedder.dims:
            raise UnavailableError(f"{embedder.name} gives vectors of another length", "set the model again")
        async with books(self._reach.db, self._reach.actor) as connection:
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


def paid(model: Model, project: str | None) -> Model:
    """The model, whose calls count against the budget of a project too where they cost anything."""
    return model.paid_by(project) if isinstance(model, RemoteModel) else model


def is_here(paths: Paths, embedder: Embedder) -> bool:
    """Whether the files of a model of this machine are there, unverified; those of a service need none."""
    return embedder.name.startswith(PREFIX) or models.has_files(paths, embedder.name.rpartition(":")[0])


@lru_cache(maxsize=2)
def _loaded(paths: Paths, identity: str) -> LocalModel:
    """A model on this machine, its files verified once in the life of a process."""
    return LocalModel(_installed(paths, identity))


def _installed(paths: Paths, identity: str) -> models.Model:
    model = models.load(paths, identity.rpartition(":")[0])
    if model.identity != identity:
        raise UnavailableError(f"the model {model.name} here is not the one that search uses", "install it again")
    return model
