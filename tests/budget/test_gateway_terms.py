"""On which terms a request is sent on: a provider refuses no limit that the gateway puts into it."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from core.budget.gateway.exchange import written
from core.budget.outputs import most_output
from core.budget.prices import PriceBook
from core.budget.wire.base import dump
from tests.budget.gate import (
    PRICES,
    add_runs,
    add_service,
    books,
    boot_for,
    connect,
    gateway,
    nothing_open,
    set_budget,
    token_for,
    until,
)
from tests.budget.stand_in import StandIn, stand_in

WISH = json.dumps({"in": 10, "out": 20})
SAID = [{"role": "user", "content": WISH}]

CLAUDE = "/anthropic/v1/messages"
CHAT = "/openai/v1/chat/completions"
RESPONSES = "/openai/v1/responses"
GEMINI = "/gemini/v1beta/models/gemini-2.5-flash:generateContent"
NOW = datetime(2026, 11, 20, tzinfo=UTC)


@dataclass
class Crossing:
    """A gateway with a service of every protocol, each with a small budget."""

    db: asyncpg.Connection
    provider: StandIn
    url: str
    http: aiohttp.ClientSession

    async def post(self, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> dict[str, Any]:
        """What the provider got."""
        async with self.http.post(self.url + path, json=body, headers=headers) as answer:
            text = await answer.text()
            assert answer.status == 200, (answer.status, text, self.provider.refused)
        return self.provider.bodies[-1]


@pytest.fixture
async def crossing(migrated_database: str, tmp_path: Path) -> AsyncIterator[Crossing]:
    db = await connect(migrated_database)
    (run,) = await add_runs(db)
    async with stand_in() as provider:
        await add_service(db, "cheap", provider.url, usd=10, model_map={"*": "claude-haiku-4-5"})
        await add_service(db, "claude", provider.url, usd=1, fallback="cheap")
        await add_service(db, "gem", provider.url, provider="gemini", usd=1)
        await add_service(db, "gpt", provider.url, provider="openai", usd=1, models=["gpt-*", "o3"])
        await add_service(
            db,
            "seek",
            f"{provider.url}/other",
            provider="other",
            usd=1,
            models=["deepseek*", "new*"],
            stream_options=False,
        )
        headers = {"x-api-key": await token_for(migrated_database, run)}
        async with (
            gateway(boot_for(migrated_database, tmp_path), "cheap", "claude", "gem", "gpt", "seek") as url,
            aiohttp.ClientSession(headers=headers) as http,
        ):
            yield Crossing(db, provider, url, http)
            await nothing_open(db)
            assert await books(db) == {}
    await db.close()


CASES: tuple[tuple[str, dict[str, Any], float, tuple[str, ...], range | None], ...] = (
    # A budget that pays for about 4,000 tokens …
    (CHAT, {"model": "gpt-4o", "messages": SAID}, 0.05, ("max_completion_tokens",), range(3_000, 5_000)),
    (CHAT, {"model": "o3", "messages": SAID, "stream": True}, 0.05, ("max_completion_tokens",), range(3_000, 5_000)),
    (RESPONSES, {"model": "gpt-4o", "input": WISH}, 0.05, ("max_output_tokens",), range(3_000, 5_000)),
    (CHAT, {"model": "deepseek-chat", "messages": SAID}, 0.05, ("max_tokens",), range(3_000, 5_000)),
    (
        GEMINI,
        {"contents": [{"parts": [{"text": WISH}]}]},
        0.05,
        ("generationConfig", "maxOutputTokens"),
        range(3_000, 5_000),
    ),
    # … for a hundred thousand, of a model that can say all of its 16,384, and of one that nobody knows.
    (CHAT, {"model": "gpt-4o", "messages": SAID}, 1, ("max_completion_tokens",), None),
    (CHAT, {"model": "new-model", "messages": SAID, "stream": True}, 1, ("max_tokens",), range(8_192, 8_193)),
)


async def test_a_limit_that_the_budget_sets_is_one_that_the_model_takes(crossing: Crossing) -> None:
    for path, body, usd, place, expected in CASES:
        for service in ("gpt", "seek", "gem"):
            await set_budget(crossing.db, "service", service, usd + 0.001 * crossing.provider.calls)
        sent: Any = await crossing.post(path, body)
        for name in place:
            sent = sent.get(name, {})
        assert (sent in expected) if expected else not sent, (body, sent)
        await nothing_open(crossing.db)


async def test_a_client_s_limit_is_brought_down_to_what_the_model_in_its_place_can_say(crossing: Crossing) -> None:
    await set_budget(crossing.db, "service", "claude", 0)
    sent = await crossing.post(CLAUDE, {"model": "claude-opus-5-5", "max_tokens": 100_000, "messages": SAID})
    assert (sent["model"], sent["max_tokens"]) == ("claude-haiku-4-5", 64_000)


async def test_a_longer_window_that_is_asked_for_is_reserved_for(crossing: Crossing) -> None:
    await crossing.db.execute("update service set prices = $1 where name = 'cheap'", {"*": {**PRICES, "window": 9_000}})
    await crossing.db.execute("update service set name = 'dear' where name = 'claude'")  # which has no key
    await crossing.db.execute("select pg_notify('qd', 'service')")
    page = {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}
    body = {
        "model": "claude-haiku-4-5",
        "max_tokens": 10,
        "messages": [{"role": "user", "content": [page, {"type": "text", "text": WISH}]}],
    }

    async def reserved(beta: str) -> int:
        await crossing.post(CLAUDE, body, {"anthropic-beta": beta})
        await nothing_open(crossing.db)
        return await crossing.db.fetchval("select reserved_micro from charge order by at desc limit 1")

    async def loaded() -> bool:
        return await reserved("") < 9_000 * 4

    await until(loaded)
    assert await reserved("context-1m-2025-08-07") > 1_000_000 * 2


async def test_an_older_dialect_is_asked_for_nothing_that_it_does_not_know(crossing: Crossing) -> None:
    asked = {"model": "deepseek-chat", "messages": SAID, "stream": True, "stream_options": {"include_usage": True}}
    assert "stream_options" not in await crossing.post(CHAT, asked)


@pytest.mark.parametrize(
    "adapted",
    [
        {"model": "m", "text": "日本 \ud800"},
        {"model": "m", "text": "日本 \ud800", "service_tier": "default", "stream_options": {"include_usage": True}},
        {"model": "other", "text": "日本 \ud800", "more": 1},
        {"model": "m"},
        {},
    ],
)
def test_a_request_is_written_as_it_was_adapted_each_field_once(adapted: dict[str, Any]) -> None:
    asked = {"model": "m", "text": "日本 \ud800"}
    pairs: list[tuple[str, Any]] = json.loads(written(asked, dump(asked), adapted), object_pairs_hook=list)
    assert len(pairs) == len(adapted)
    assert json.loads(written(asked, dump(asked), adapted)) == adapted
    assert json.loads(written({}, b"{}", adapted)) == adapted


def test_a_person_s_limit_goes_before_the_list() -> None:
    own = PriceBook({}).card("openai", "gpt-4o", NOW, overrides={"gpt-*": {**PRICES, "most_output": 500}})
    assert own is not None
    assert own.most_output == 500
    listed = PriceBook({}).card("openai", "openrouter/gpt-4o-mini", NOW, overrides={"*": PRICES})
    assert listed is not None
    assert listed.most_output == 16_384
    known = {
        "claude-opus-4-20250514": 32_000,
        "claude-opus-4-5-20251101": 64_000,
        "anthropic/claude-opus-4.6": 128_000,
        "claude-3-5-haiku-20241022": 8_192,
        "claude-haiku-4-5": 64_000,
        "gpt-4-1106-preview": 4_096,
        "gpt-4.1-mini": 32_768,
        "gpt-5-chat-latest": 16_384,
        "gpt-5-pro": 272_000,
        "o4-mini": 100_000,
        "of-tomorrow": None,
    }
    assert {model: most_output(model) for model in known} == known
