"""A stand-in for services that make vectors: their own protocols on a real socket. A text's vector is made of its words."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

DIMS = 32


@dataclass(slots=True)
class VectorService:
    """What it was asked, and how it answers: ``fails`` is the status of its next answers; ``holds``: it answers when that is set."""

    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    fails: int = 0
    holds: asyncio.Event | None = None

    @property
    def texts(self) -> int:
        """How many texts it has made vectors of."""
        return sum(len(body["input"]) for body in self.asked)

    async def answer(self, request: web.Request) -> web.Response:
        if self.holds:
            await self.holds.wait()
        if self.fails:
            return web.json_response({"error": "no"}, status=self.fails)
        body = await request.json()
        self.asked.append(body)
        self.keys.append(request.headers.get("authorization"))
        vectors = [vector_of(text) for text in body["input"]]
        if request.path.endswith("/embed"):
            return web.json_response({"embeddings": vectors, "prompt_eval_count": 7})
        data = [{"index": at, "embedding": vector} for at, vector in enumerate(vectors)]
        return web.json_response({"data": data[::-1], "usage": {"total_tokens": 1000}})


def vector_of(text: str) -> list[float]:
    """Texts that share words are near; not of length one, so that whoever asks must see to it."""
    vector = [0.01] * DIMS
    for word in text.lower().split():
        vector[zlib.crc32(word.encode()) % DIMS] += 2.0
    return vector


@asynccontextmanager
async def vector_service() -> AsyncIterator[VectorService]:
    """It listens for as long as the block runs."""
    service = VectorService()
    app = web.Application()
    for path in ("/v1/embeddings", "/api/embed", "/voyage/v1/embeddings"):
        app.router.add_post(path, service.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield service
    finally:
        await runner.cleanup()
