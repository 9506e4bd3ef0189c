"""Live runs of two projects, and real clients at the door: the official SDK's, and bare HTTP."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import httpx2
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from config.settings import Settings
from core.budget.engine_side import issue_token
from core.mcp.door import Door
from tests.knowledge.knowledge_kit import Quay


@dataclass(slots=True)
class Crew:
    """A door, and the tokens of a run of `app` and of one of `other`."""

    quay: Quay
    door: Door
    tasks: dict[str, int]
    runs: dict[str, int]
    tokens: dict[str, str]

    @asynccontextmanager
    async def client(self, project: str = "app") -> AsyncIterator[ClientSession]:
        """The SDK's client, with the token of a project's run."""
        headers = {"Authorization": f"Bearer {self.tokens[project]}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as http,
            streamable_http_client(self.door.url, http_client=http) as (read, write),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            yield session

    async def use(self, name: str, project: str = "app", /, **arguments: Any) -> tuple[bool, str]:
        """Call a tool over bare HTTP: whether it went well, and its text."""
        message = {"method": "tools/call", "params": {"name": name, "arguments": arguments}}
        status, answer = await self.post(message, project)
        assert status == 200, answer
        result = answer["result"]
        return not result["isError"], result["content"][0]["text"]

    async def post(
        self, message: Any, project: str = "app", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """One request as it stands; ``message`` a dict gets what JSON-RPC wants, bytes go as they are."""
        data = message if isinstance(message, bytes) else json.dumps({"jsonrpc": "2.0", "id": 1, **message}).encode()
        sent = {"Content-Type": "application/json", "Authorization": f"Bearer {self.tokens[project]}"} | (headers or {})
        async with aiohttp.ClientSession() as http, http.post(self.door.url, data=data, headers=sent) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text.startswith("{") else {"text": text}


@asynccontextmanager
async def crew_on(quay: Quay) -> AsyncIterator[Crew]:
    tasks, runs, tokens = {}, {}, {}
    for name in ("app", "other"):
        await quay.project(name)
        tasks[name] = await quay.task(f"The work on {name}", name)
        runs[name] = await quay.run(tasks[name], "running")
        tokens[name] = await issue_token(quay.sql, runs[name])
    door = Door(quay.db.dsn, quay.context.paths, Settings(), {})
    quay.context.paths.state.mkdir(parents=True, exist_ok=True)
    await door.open()
    try:
        yield Crew(quay, door, tasks, runs, tokens)
    finally:
        await door.close()
