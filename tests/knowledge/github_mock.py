"""A GitHub on a real socket: its REST paths, pages by Link headers, ETags, rate limits and refusals."""

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(slots=True)
class Hub:
    """What the mock knows, and what it was asked. ``pages``: items of a page at most, whatever is asked for."""

    url: str = ""
    token: str = "ghp_secret"
    pages: int = 2
    pulls: dict[int, dict[str, Any]] = field(default_factory=dict)
    files: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    reviews: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    comments: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    compared: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    refusals: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Given once each, before anything else."""
    asked: list[tuple[str, int]] = field(default_factory=list)
    next_host: str = ""

    def pull(self, number: int, title: str, *, merged: str | None, branch: str = "topic", **more: Any) -> None:
        self.pulls[number] = {
            "number": number, "title": title, "body": "", "state": "closed", "merged_at": merged,
            "updated_at": merged or "2026-01-01T00:00:00Z", "merge_commit_sha": None, "head": {"ref": branch, "sha": "a" * 40},
        } | more  # fmt: skip

    async def answer(self, request: web.Request) -> web.StreamResponse:
        status, headers, value = self._answered(request)
        self.asked.append((request.path_qs, status))
        return web.Response(status=status, headers=headers, body=value, content_type="application/json")

    def _answered(self, request: web.Request) -> tuple[int, dict[str, str], bytes | None]:
        if self.refusals:
            status, headers = self.refusals.pop(0)
            return status, headers, b'{"message": "API rate limit exceeded"}'
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return 401, {}, b'{"message": "Bad credentials"}'
        assert request.headers["X-GitHub-Api-Version"] == "2022-11-28"
        found = self._found(request.path.removeprefix("/repos/acme/app"))
        if found is None:
            return 404, {}, b'{"message": "Not Found"}'
        headers = {}
        if isinstance(found, list):
            page = int(request.query.get("page", "1"))
            end = page * self.pages
            if end < len(found):
                query = dict(request.query) | {"page": str(page + 1)}
                words = "&".join(f"{key}={value}" for key, value in query.items())
                headers["Link"] = f'<{self.next_host or self.url}{request.path}?{words}>; rel="next"'
            found = found[end - self.pages : end]
        body = json.dumps(found).encode()
        etag = f'W/"{hashlib.sha256(body).hexdigest()[:16]}"'
        headers["ETag"] = etag
        if request.headers.get("If-None-Match") == etag:
            return 304, headers, None
        return 200, headers, body

    def _found(self, path: str) -> Any:
        if path == "/pulls":
            return sorted(self.pulls.values(), key=lambda pull: pull["updated_at"], reverse=True)
        parts = path.strip("/").split("/")
        if parts[0] == "compare":
            return {"files": self.compared[parts[1]]} if parts[1] in self.compared else None
        if parts[0] != "pulls" or not parts[1].isdigit() or int(parts[1]) not in self.pulls:
            return None
        number = int(parts[1])
        if len(parts) == 2:
            return self.pulls[number]
        return {"files": self.files, "reviews": self.reviews, "comments": self.comments}[parts[2]].get(number, [])


@asynccontextmanager
async def github() -> AsyncIterator[Hub]:
    hub = Hub()
    app = web.Application()
    app.router.add_get("/{path:.*}", hub.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    hub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield hub
    finally:
        await runner.cleanup()
