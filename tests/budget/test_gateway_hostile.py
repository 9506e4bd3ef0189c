"""What agents may send to break the gateway: every request gets an answer in its protocol, and the next call works."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from tests.budget.gate import add_runs, add_service, books, boot_for, connect, gateway, nothing_open, token_for

BIG = 10**30
MESSAGE = {"role": "user", "content": "hello"}

CLAUDE = {"model": "claude-x", "max_tokens": 10, "messages": [MESSAGE]}
CHAT = {"model": "gpt-x", "messages": [MESSAGE]}
RESPONSES = {"model": "gpt-x", "input": "hello"}
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
PATHS = {
    "/anthropic/v1/messages": CLAUDE,
    "/openai/v1/chat/completions": CHAT,
    "/openai/v1/responses": RESPONSES,
    "/gemini/v1beta/models/gemini-x:generateContent": GEMINI,
}
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, BIG, "", "x", "nul\0", "\ud800", [], [1], [None], {}, {"type": 1}, [{"type": {}}], [[]], {"a": {"b": []}},
)  # fmt: skip
FIELDS = (
    "model", "max_tokens", "max_completion_tokens", "max_output_tokens", "n", "stream", "stream_options", "messages", "input", "tools",
    "system", "thinking", "speed", "service_tier", "contents", "generationConfig", "generation_config", "systemInstruction",
    "cachedContent", "mcp_servers", "container", "max_tool_calls", "web_search_options", "background", "previous_response_id",
)  # fmt: skip
CONFIG = ("maxOutputTokens", "max_output_tokens", "candidateCount", "candidate_count")


ANSWER = {
    "model": "nul\0 and \ud800",
    "usage": {"input_tokens": 5, "output_tokens": 10**11, "prompt_tokens": -1, "completion_tokens": "many"},
    "usageMetadata": {"promptTokenCount": 1e300, "candidatesTokenCount": [5]},
    "modelVersion": "m\0",
}


USAGE = (
    "input_tokens", "output_tokens", "cache_creation", "cache_read_input_tokens", "server_tool_use", "iterations", "service_tier", "prompt_tokens",
    "prompt_tokens_details", "completion_tokens_details", "input_tokens_details", "output_tokens_details", "promptTokensDetails",
    "candidatesTokensDetails", "thoughtsTokenCount", "cachedContentTokenCount", "server_side_tool_usage_details",
)  # fmt: skip


@asynccontextmanager
async def rude_provider(said: dict[str, Any]) -> AsyncIterator[str]:
    """A provider that takes every request and answers with ``said``; its address."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=json.dumps(said).encode(), content_type="application/json")

    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def door(migrated_database: str, tmp_path: Path) -> AsyncIterator[tuple[str, str, asyncpg.Connection]]:
    """(address, run token, database) of a gateway with a service for each protocol."""
    db = await connect(migrated_database)
    (run,) = await add_runs(db)
    async with rude_provider(ANSWER) as provider:
        for name in ("anthropic", "openai", "gemini"):
            await add_service(db, name, provider, provider=name)
        async with gateway(
            boot_for(migrated_database, tmp_path, wait_seconds=0.5), "anthropic", "openai", "gemini"
        ) as url:
            yield url, await token_for(migrated_database, run), db
    await db.close()


@pytest.mark.parametrize("path", PATHS)
async def test_no_request_of_an_agent_breaks_the_gateway(door: tuple[str, str, asyncpg.Connection], path: str) -> None:
    url, token, db = door
    good = PATHS[path]
    bodies: list[Any] = [{**good, name: value} for name in FIELDS for value in VALUES]
    bodies += [{**good, "generationConfig": {name: value}} for name in CONFIG for value in VALUES]
    bodies += [[], 5, None, "x", {}]
    wrong = []
    async with aiohttp.ClientSession(headers={"x-api-key": token}) as http:
        for body in bodies:
            async with http.post(url + path, data=json.dumps(body)) as answer:
                text = await answer.text()
                if answer.status >= 500 or ("error" not in text and answer.status != 200):
                    wrong.append((body, answer.status, text[:200]))
        assert not wrong, (len(wrong), wrong[:5])
        async with http.post(url + path, json=good) as answer:
            assert answer.status == 200
    await nothing_open(db)
    assert not await books(db)


@pytest.mark.parametrize("path", PATHS)
async def test_no_answer_of_a_provider_is_held_up_by_how_it_counts(
    migrated_database: str, tmp_path: Path, path: str
) -> None:
    said: dict[str, Any] = {}
    db = await connect(migrated_database)
    (run,) = await add_runs(db)
    async with rude_provider(said) as provider:
        for name in ("anthropic", "openai", "gemini"):
            await add_service(db, name, provider, provider=name)
        boot = boot_for(migrated_database, tmp_path)
        headers = {"x-api-key": await token_for(migrated_database, run)}
        async with (
            gateway(boot, "anthropic", "openai", "gemini") as url,
            aiohttp.ClientSession(headers=headers) as http,
        ):
            answers = [
                {holder: {name: value}} for holder in ("usage", "usageMetadata") for name in USAGE for value in VALUES
            ]
            answers += [
                {holder: value}
                for holder in ("usage", "usageMetadata", "output", "choices", "content")
                for value in VALUES
            ]
            wrong = []
            for answer in answers:
                said.clear()
                said.update(answer)
                async with http.post(url + path, data=json.dumps(PATHS[path])) as got:
                    if got.status != 200 or await got.json() != json.loads(json.dumps(answer)):
                        wrong.append((answer, got.status))
            assert not wrong, (len(wrong), wrong[:5])
            await nothing_open(db)
            assert not await books(db)
    await db.close()
