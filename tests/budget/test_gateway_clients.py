"""The official clients and the real Claude Code behind the gateway: what they get, what it costs, how they stop."""

import asyncio
import importlib.resources
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import asyncpg
import openai
import pytest

from core.budget.engine_side import agent_environment
from core.demo.model_server import Call, Request, Say, model_server
from tests.budget.gate import (
    add_runs,
    add_service,
    books,
    boot_for,
    connect,
    gateway,
    nothing_open,
    set_budget,
    token_for,
)
from tests.budget.stand_in import StandIn, stand_in


class Place:
    """A gateway with a service of every protocol."""

    def __init__(self, db: asyncpg.Connection, provider: StandIn, url: str, token: str) -> None:
        self.db, self.provider, self.url, self.token = db, provider, url, token
        self.environ = agent_environment(url, token)

    async def charge(self) -> dict[str, Any]:
        await nothing_open(self.db)
        row = await self.db.fetchrow("select * from charge order by at desc limit 1")
        names = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "thinking")
        return {"basis": row["basis"], "cost": row["cost_micro"], **{name: row[f"tokens_{name}"] for name in names}}


@pytest.fixture
async def place(migrated_database: str, tmp_path: Path) -> AsyncIterator[Place]:
    async with stand_in() as provider, _place(migrated_database, tmp_path, provider.url, provider) as made:
        yield made


@asynccontextmanager
async def _place(dsn: str, home: Path, url: str, provider: StandIn, stand_in_for: str = "") -> AsyncIterator[Place]:
    db = await connect(dsn)
    run = (await add_runs(db))[0]
    for service, kind in (("claude", "anthropic"), ("gpt", "openai"), ("gem", "gemini")):
        await add_service(db, service, url, provider=kind, usd=100)
    if stand_in_for:
        await add_service(db, "cheap", url, usd=100, model_map={"*": "claude-haiku-4-5"})
        await db.execute("update service set fallback = 'cheap' where name = $1", stand_in_for)
    async with gateway(boot_for(dsn, home), "claude", "gpt", "gem", "cheap") as address:
        yield Place(db, provider, address, await token_for(dsn, run))
        await nothing_open(db)
        assert await books(db) == {}
    await db.close()


def _anthropic(place: Place) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(
        base_url=place.environ["ANTHROPIC_BASE_URL"], api_key=place.environ["ANTHROPIC_API_KEY"]
    )


def _openai(place: Place) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=place.environ["OPENAI_BASE_URL"], api_key=place.environ["OPENAI_API_KEY"])


WISH = json.dumps({"in": 100, "read": 40, "out": 12, "think": 5})
ASKED: list[Any] = [{"role": "user", "content": WISH}]
SAID = "lorem " * 12


async def test_the_anthropic_sdk_whole_and_streaming(place: Place) -> None:
    async with _anthropic(place) as client:
        message = await client.messages.create(model="claude-x", max_tokens=50, messages=ASKED)
        assert (message.content[0].text, message.usage.output_tokens) == (SAID, 12)
        expected = {"basis": "measured", "cost": 328, "input": 100, "cache_read": 40, "output": 12, "thinking": 5}
        assert {k: v for k, v in (await place.charge()).items() if k in expected} == expected
        async with client.messages.stream(model="claude-x", max_tokens=50, messages=ASKED) as stream:
            assert "".join([text async for text in stream.text_stream]) == SAID
        assert {k: v for k, v in (await place.charge()).items() if k in expected} == expected


async def test_the_openai_sdk_chat_whole_and_streaming(place: Place) -> None:
    expected = {"basis": "measured", "cost": 328, "input": 100, "cache_read": 40, "output": 12, "thinking": 5}
    async with _openai(place) as client:
        answer = await client.chat.completions.create(model="gpt-x", messages=ASKED)
        assert answer.choices[0].message.content == SAID
        assert {k: v for k, v in (await place.charge()).items() if k in expected} == expected
        stream = await client.chat.completions.create(model="gpt-x", messages=ASKED, stream=True)
        parts = [chunk async for chunk in stream]
        assert all(chunk.choices for chunk in parts), "the usage that only the gateway asked for reached the client"
        assert "".join(chunk.choices[0].delta.content or "" for chunk in parts) == SAID
        assert {k: v for k, v in (await place.charge()).items() if k in expected} == expected
        stream = await client.chat.completions.create(
            model="gpt-x", messages=ASKED, stream=True, stream_options={"include_usage": True}
        )
        last = [chunk async for chunk in stream][-1]
        assert (last.choices, last.usage.completion_tokens) == ([], 12)


async def test_the_openai_sdk_responses_whole_and_streaming(place: Place) -> None:
    expected = {"basis": "measured", "cost": 328, "input": 100, "cache_read": 40, "output": 12, "thinking": 5}
    async with _openai(place) as client:
        answer = await client.responses.create(model="gpt-x", input=WISH)
        assert answer.output_text == SAID
        assert {k: v for k, v in (await place.charge()).items() if k in expected} == expected
        async with client.responses.stream(model="gpt-x", input=WISH) as stream:
            events = [event async for event in stream]
        assert events[-1].type == "response.completed"
        assert {k: v for k, v in (await place.charge()).items() if k in expected} == expected
        assert [model.id async for model in client.models.list()] == ["gpt-5.2"]


@pytest.mark.parametrize("path", [":generateContent", ":streamGenerateContent?alt=sse", ":streamGenerateContent"])
async def test_gemini_whole_and_streaming(place: Place, path: str) -> None:
    body = {"contents": [{"role": "user", "parts": [{"text": WISH}]}]}
    address = f"{place.environ['GOOGLE_GEMINI_BASE_URL']}/v1beta/models/gemini-x{path}"
    async with (
        aiohttp.ClientSession() as http,
        http.post(address, json=body, headers={"x-goog-api-key": place.token}) as answer,
    ):
        assert await answer.read() == place.provider.sent[0]
    charge = await place.charge()
    assert (charge["input"], charge["cache_read"], charge["output"], charge["thinking"]) == (100, 40, 12, 5)
    assert (charge["basis"], charge["cost"]) == ("measured", 328)
    assert place.provider.keys == {"sk-real-gem-0123456789abcdef"}


async def test_the_sdks_understand_the_limit_and_do_not_retry(place: Place) -> None:
    for service in ("claude", "gpt", "gem"):
        await set_budget(place.db, "service", service, 0)
    async with _anthropic(place) as client:
        with pytest.raises(anthropic.APIStatusError) as told:
            await client.messages.create(model="claude-x", max_tokens=50, messages=ASKED)
        assert (told.value.status_code, told.value.body["error"]["type"]) == (402, "billing_error")
    async with _openai(place) as gpt:
        for asked in (
            gpt.chat.completions.create(model="gpt-x", messages=ASKED),
            gpt.responses.create(model="gpt-x", input=WISH),
        ):
            with pytest.raises(openai.APIStatusError) as refused:
                await asked
            assert (refused.value.status_code, refused.value.code) == (402, "insufficient_quota")
    assert place.provider.calls == 0
    # one notice each: nobody asked twice
    await asyncio.sleep(0.2)
    assert await place.db.fetchval("select count(*) from run_notice where kind = 'budget'") == 3


# ── Claude Code itself ──────────────────────────────────────────────────────────────────────────────────────────────


def _claude() -> Path | None:
    try:
        program = importlib.resources.files("claude_agent_sdk") / "_bundled" / "claude"
    except ModuleNotFoundError:
        return None
    return Path(str(program)) if program.is_file() else None


def _script(request: Request) -> list[Any]:
    """Writes a file, then says that it is done."""
    if "Write" not in request.tools:
        return [Say("a title")]
    results = [block for message in request.messages if message["role"] == "user" for block in _results(message)]
    if not results:
        return [Say("I write it."), Call("Write", {"file_path": f"{_folder(request)}/done.txt", "content": "done\n"})]
    return [Say("It is done.")]


def _results(message: Any) -> list[Any]:
    content = message.get("content")
    return [block for block in content if block.get("type") == "tool_result"] if isinstance(content, list) else []


def _folder(request: Request) -> str:
    for message in request.messages:
        text = json.dumps(message)
        if "FOLDER=" in text:
            return text.split("FOLDER=", 1)[1].split("|", 1)[0]
    raise AssertionError("no folder in the prompt")


async def _run_claude(place: Place, folder: Path) -> tuple[int, dict[str, Any]]:
    program = _claude()
    assert program is not None
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "CLAUDE_CONFIG_DIR": str(folder / "config"),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_AUTOUPDATER": "1",
        "CLAUDE_CODE_MAX_RETRIES": "3",
        **place.environ,
    }
    work = folder / "work"
    work.mkdir()
    process = await asyncio.create_subprocess_exec(
        *(str(program), "-p", f"Write done.txt. FOLDER={work}|", "--output-format", "json"),
        *("--model", "claude-sonnet-4-5", "--permission-mode", "acceptEdits"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environ,
        cwd=work,
    )
    try:
        async with asyncio.timeout(120):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert out, err.decode()
    assert process.returncode is not None
    return process.returncode, json.loads(out)


@pytest.mark.slow
@pytest.mark.skipif(_claude() is None, reason="Claude Code is not installed")
async def test_claude_code_works_through_the_gateway_and_is_metered(migrated_database: str, tmp_path: Path) -> None:
    async with (
        model_server(_script, lambda key: key.startswith("sk-real-claude")) as url,
        _place(migrated_database, tmp_path / "home", url, StandIn()) as place,
    ):
        code, result = await _run_claude(place, tmp_path)
        assert (code, result["is_error"]) == (0, False)
        assert (tmp_path / "work" / "done.txt").read_text() == "done\n"
        await nothing_open(place.db)
        rows = await place.db.fetch("select status, basis, cost_micro, tokens_output from charge")
        assert len(rows) >= 2
        assert {(row["status"], row["basis"]) for row in rows} == {("settled", "measured")}
        told = sum(model["outputTokens"] for model in result["modelUsage"].values())
        assert sum(row["tokens_output"] for row in rows) == told


@pytest.mark.slow
@pytest.mark.skipif(_claude() is None, reason="Claude Code is not installed")
async def test_half_a_dollar_is_enough_for_a_task_of_claude_code(migrated_database: str, tmp_path: Path) -> None:
    async with (
        model_server(_script) as url,
        _place(migrated_database, tmp_path / "home", url, StandIn()) as place,
    ):
        await set_budget(place.db, "task", "*", 0.50, period="total")
        code, result = await _run_claude(place, tmp_path)
        assert (code, result["is_error"]) == (0, False), result
        assert (tmp_path / "work" / "done.txt").read_text() == "done\n"
        await nothing_open(place.db)
        assert await place.db.fetchval("select count(*) from charge where status = 'settled'") >= 2


@pytest.mark.slow
@pytest.mark.skipif(_claude() is None, reason="Claude Code is not installed")
async def test_a_budget_stops_claude_code_and_it_does_not_storm(migrated_database: str, tmp_path: Path) -> None:
    async with (
        model_server(_script) as url,
        _place(migrated_database, tmp_path / "home", url, StandIn()) as place,
    ):
        await set_budget(place.db, "task", "*", 1, unit="calls", period="total")
        code, result = await _run_claude(place, tmp_path)
        assert (code != 0, result["is_error"]) == (True, True)
        assert "budget" in json.dumps(result)
        assert await place.db.fetchval("select count(*) from run_notice where kind = 'budget'") <= 3


@pytest.mark.slow
@pytest.mark.skipif(_claude() is None, reason="Claude Code is not installed")
async def test_in_the_middle_of_a_run_of_claude_code_the_fallback_carries_it_on(
    migrated_database: str, tmp_path: Path
) -> None:
    async with (
        model_server(_script) as url,
        _place(migrated_database, tmp_path / "home", url, StandIn(), stand_in_for="claude") as place,
    ):
        await set_budget(place.db, "service", "claude", 1, unit="calls")
        code, result = await _run_claude(place, tmp_path)
        assert (code, result["is_error"]) == (0, False)
        assert (tmp_path / "work" / "done.txt").read_text() == "done\n"
        await nothing_open(place.db)
        rows = await place.db.fetch("select service, model from charge where status = 'settled' order by at")
        assert [row["service"] for row in rows][:2] == ["claude", "cheap"]
        assert {row["model"] for row in rows if row["service"] == "cheap"} == {"claude-haiku-4-5"}
