"""Vectors from a service: any OpenAI-compatible, Voyage or Ollama endpoint that is entered as a service, within its budgets.

A call is reserved at its worst price against the budgets of the service before it is made, and settled at its true price after, by the
same ledger that the gateway writes; the key is the service's own, and goes nowhere else. Wire formats: POST /embeddings
(platform.openai.com, docs.voyageai.com), POST /api/embed (docs.ollama.com).
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg

from config.errors import ConflictError, NotFoundError, UnavailableError
from config.paths import Paths
from core.budget.prices import CATALOGUES, Card, PriceBook, Rates, Used, read_catalogue
from core.secrets.store import find, open_store, service_key
from storage.database import Database, Principal, Role
from storage.queries import budget, knowledge_remote
from storage.queries.budget import Service, Tokens
from storage.queries.knowledge_remote import Worst

AT_ONCE = 64
"""Texts of one call."""
LONGEST = 8000
"""Characters of one text that are sent."""
SECONDS = 60.0
"""Longest wait for an answer; :data:`QUERY_SECONDS` for a query, which somebody waits for."""
QUERY_SECONDS = 10.0
PREFIX = "remote:"
_OPENAI = "https://api.openai.com/v1"

T = TypeVar("T")
Style = Literal["openai", "voyage", "ollama"]


def identity(service: str, model: str, dims: int) -> str:
    """The name of a remote model among the embedders."""
    return f"{PREFIX}{service}/{model}:{dims}"


def of_identity(name: str) -> tuple[str, str]:
    """Service and model of such a name."""
    service, _, rest = name.removeprefix(PREFIX).partition("/")
    return service, rest.rpartition(":")[0]


def style_of(service: Service) -> Style:
    """What a service speaks, by its address."""
    parts = urlsplit(service.base_url or _OPENAI)
    if (parts.hostname or "").endswith("voyageai.com") or "voyage" in parts.path.split("/"):
        return "voyage"
    return "ollama" if parts.port == 11434 or parts.path.rstrip("/").endswith("/api") else "openai"


def books(db: Database, actor: str) -> AbstractAsyncContextManager[asyncpg.Connection]:
    """A transaction in the engine's right, which alone may write what calls to services cost: whoever asks for a vector needs none of his
    own.
    """
    return db.transaction(Principal(actor, Role.ENGINE))


class RefusedError(UnavailableError):
    """The service has done nothing, and bills nothing."""


class SpentError(ConflictError):
    """A budget has no room for a call, or the service may not be called. ``project``: it is that of this project."""

    project: str | None = None


@dataclass(slots=True)
class Lease:
    """Under which calls are reserved; begun with the first."""

    number: int | None = None


@dataclass(slots=True)
class RemoteModel:
    """A model of a service. One at a time makes its calls; it may be asked from several tasks at once."""

    db: Database
    service: Service
    model: str
    card: Card
    key: str | None
    actor: str
    project: str | None = None
    """Whose budget calls count against, beside the service's; None: no project's."""
    lease: Lease = field(default_factory=Lease)

    @classmethod
    async def open(
        cls, db: Database, paths: Paths, environ: Mapping[str, str], service: str, model: str, actor: str
    ) -> "RemoteModel":
        """Find the service, its key and the price of its model.

        Raises NotFoundError without such a service, ConflictError where nobody knows what the model costs.
        """
        async with books(db, actor) as connection:
            found = {one.name: one for one in await budget.services(connection)}.get(service)
            if found is None:
                raise NotFoundError(f"there is no service {service}", "see `qd service list`")
        key = await asyncio.to_thread(lambda: find(open_store(paths, environ), service_key(service), ""))
        return cls(db, found, model, await _card(found, model), key, actor)

    async def embed(self, texts: Sequence[str], *, asked: bool = False) -> list[list[float]]:
        """One vector of length one for each text; ``asked``: they are queries.

        Raises ConflictError where a budget has no room, UnavailableError where the service does not answer as it should.
        """
        vectors: list[list[float]] = []
        for at in range(0, len(texts), AT_ONCE):
            vectors += await self._call([text[:LONGEST] or " " for text in texts[at : at + AT_ONCE]], asked)
        return vectors

    def paid_by(self, project: str | None) -> "RemoteModel":
        """The same model, whose calls count against the budget of a project too."""
        return self if project == self.project else replace(self, project=project)

    async def metered(self, bound: Tokens, post: Callable[[], Awaitable[tuple[T, Tokens]]]) -> T:
        """Make a call that uses ``bound`` at most, and says what it has used: reserved before, settled after.

        Raises SpentError where a budget has no room, and whatever ``post`` raises: after :class:`RefusedError` nothing is charged,
        after anything else all of it, since it may have been answered, and billed.
        """
        worst = Worst(uuid4(), self.service.name, self.model, bound.total, self._cost(bound), self.project, self.actor)
        async with books(self.db, self.actor) as connection:
            lease = self.lease.number
            if lease is None:
                name = f"knowledge@{socket.gethostname()}:{worst.charge}"
                lease = await knowledge_remote.register(connection, name, os.getpid(), "knowledge")
            outcome, why = await knowledge_remote.reserve(connection, lease, worst)
        self.lease.number = lease
        if outcome != "granted":
            spent = SpentError(
                f"service {self.service.name} may not be called: {outcome}" + (f" ({why})" if why else ""),
                f"see `qd service show {self.service.name}`",
            )
            spent.project = self.project if why == self.project else None
            raise spent
        used = bound
        try:
            answer, used = await post()
        except RefusedError as error:
            async with books(self.db, self.actor) as connection:
                await knowledge_remote.release(connection, worst.charge, error.message)
            raise
        except BaseException:
            await self._settle(worst.charge, bound)
            raise
        await self._settle(worst.charge, used)
        return answer

    async def _settle(self, charge: UUID, used: Tokens) -> None:
        async with books(self.db, self.actor) as connection:
            await budget.settle(connection, charge, "settled", self._cost(used), used)

    async def _call(self, texts: list[str], asked: bool) -> list[list[float]]:
        bound = sum(len(text.encode()) + 8 for text in texts)

        async def post() -> tuple[list[list[float]], Tokens]:
            vectors, tokens = await self._post(texts, asked)
            return vectors, Tokens(input=min(tokens, bound) if tokens else bound)

        return await self.metered(Tokens(input=bound), post)

    def _cost(self, used: Tokens) -> int:
        return 0 if self.service.kind == "quota" else self.card.cost(Used(used))

    async def _post(self, texts: list[str], asked: bool) -> tuple[list[list[float]], int]:
        import httpx

        style = style_of(self.service)
        base = (self.service.base_url or _OPENAI).rstrip("/")
        url = f"{base}/embed" if style == "ollama" and base.endswith("/api") else f"{base}/api/embed"
        body: dict[str, Any] = {"model": self.model, "input": texts}
        if style != "ollama":
            url = f"{base}/embeddings"
            body |= (
                {"input_type": "query" if asked else "document"} if style == "voyage" else {"encoding_format": "float"}
            )
        try:
            async with httpx.AsyncClient(timeout=QUERY_SECONDS if asked else SECONDS) as client:
                answer = await client.post(
                    url, json=body, headers={"authorization": f"Bearer {self.key}"} if self.key else {}
                )
                answer.raise_for_status()
                return _read(answer.json(), len(texts))
        except (httpx.HTTPStatusError, httpx.ConnectError, httpx.ConnectTimeout) as error:
            status = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else "nothing"
            said = f"service {self.service.name} answers {status}"
            raise RefusedError(said, f"see `qd service show {self.service.name}`") from None
        except (httpx.HTTPError, ValueError, KeyError, TypeError, IndexError) as error:
            said = f"service {self.service.name} gives no vectors ({type(error).__name__})"
            raise UnavailableError(said, f"see `qd service show {self.service.name}`") from None


def _read(answer: Any, count: int) -> tuple[list[list[float]], int]:
    if "embeddings" in answer:
        found, tokens = answer["embeddings"], answer.get("prompt_eval_count", 0)
    else:
        found = [one["embedding"] for one in sorted(answer["data"], key=lambda one: one.get("index", 0))]
        usage = answer.get("usage") or {}
        tokens = usage.get("prompt_tokens", usage.get("total_tokens", 0))
    vectors = [[float(value) for value in vector] for vector in found]
    if len(vectors) != count or len({len(vector) for vector in vectors}) != 1 or not 8 <= len(vectors[0]) <= 4000:
        raise ValueError("not one vector of the same length for each text")
    return [_unit(vector) for vector in vectors], int(tokens or 0)


def _unit(vector: list[float]) -> list[float]:
    length = sum(value * value for value in vector) ** 0.5
    if not 0 < length < float("inf"):
        raise ValueError("a vector without a length")
    return [value / length for value in vector]


async def _card(service: Service, model: str) -> Card:
    book = PriceBook({})
    priced = book.card(
        service.provider, model, datetime.now(UTC), catalogue=service.catalogue, overrides=service.prices
    )
    if priced is None and service.kind != "quota":
        book = await read_catalogue({service.catalogue or CATALOGUES[service.provider]})
        priced = book.card(
            service.provider, model, datetime.now(UTC), catalogue=service.catalogue, overrides=service.prices,
            worst=service.worst_price,
        )  # fmt: skip
    if priced is None and service.kind != "quota":
        raise ConflictError(
            f"the price of the model {model[:100]!r} at service {service.name} is not known",
            f"set it: qd service price {service.name} {model[:100]} --input USD --output 0",
        )
    return priced or Card(((0, Rates(0, 0, 0, 0, 0)),))
