"""What a gateway makes of answers: whose fault a silence is, who hears of a circuit, which keys a log hides."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web

from core.secrets import FileStore, service_key
from tests.budget.gate import add_runs, add_service, books, boot_for, connect, gateway, nothing_open, token_for, until
from tests.budget.stand_in import stand_in

BODY = {"model": "m", "max_tokens": 100_000, "stream": True, "messages": [{"role": "user", "content": "{}"}]}


def event(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


@asynccontextmanager
async def torrent(parts: int) -> AsyncIterator[str]:
    """A provider that says far more than all buffers between it and a client hold, as fast as it can; its address."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        usage = {"input_tokens": 5, "output_tokens": 1}
        await response.write(event({"type": "message_start", "message": {"model": "m", "usage": usage}}))
        words = event({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x" * 500_000}})
        for _ in range(parts):
            await response.write(words)
        end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 90}}
        await response.write(event(end) + event({"type": "message_stop"}))
        return response

    app = web.Application()
    app.router.add_post("/v1/messages", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_a_client_that_pauses_is_no_silence_of_the_provider(migrated_database: str, tmp_path: Path) -> None:
    db = await connect(migrated_database)
    (run,) = await add_runs(db)
    silence = 0.2
    async with torrent(40) as provider:
        await add_service(db, "main", provider, usd=10)
        token = await token_for(migrated_database, run)
        async with gateway(boot_for(migrated_database, tmp_path, silence_seconds=silence), "main") as url:
            host, _, port = url.removeprefix("http://").partition(":")
            reader, writer = await asyncio.open_connection(host, int(port), limit=2**16)
            body = json.dumps(BODY).encode()
            head = f"POST /anthropic/v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {token}\r\nconnection: close\r\n"
            writer.write(head.encode() + f"content-length: {len(body)}\r\n\r\n".encode() + body)
            await reader.readuntil(b"message_start")
            await asyncio.sleep(4 * silence)  # the pause itself is what is tested
            rest = b""
            while part := await reader.read(2**20):
                rest = rest[-100:] + part
            assert b"message_stop" in rest
            writer.close()
            await nothing_open(db)
            assert await db.fetchval("select basis from charge") == "measured"
            assert await db.fetchval("select count(*) from circuit") == 0
    assert await books(db) == {}
    await db.close()


async def test_the_bell_rings_when_a_circuit_opens_and_when_it_closes(migrated_database: str, tmp_path: Path) -> None:
    db, listener = await connect(migrated_database), await connect(migrated_database)
    (run,) = await add_runs(db)
    heard: list[str] = []
    await listener.add_listener("qd", lambda *told: heard.extend(str(told[-1]).split()))
    async with stand_in() as provider:
        await add_service(db, "main", provider.url, usd=10)
        headers = {"x-api-key": await token_for(migrated_database, run)}
        async with (
            gateway(boot_for(migrated_database, tmp_path, wait_seconds=0), "main") as url,
            aiohttp.ClientSession(headers=headers) as http,
        ):

            async def ask() -> int:
                async with http.post(f"{url}/anthropic/v1/messages", json=BODY) as answer:
                    return answer.status

            provider.status = 429
            assert await ask() == 429
            await until(lambda: "service" in heard)
            heard.clear()
            provider.status = 0
            await db.execute("update circuit set open_until = clock_timestamp()")

            async def well() -> bool:
                return await ask() == 200

            await until(well)
            await until(lambda: "service" in heard)
            await nothing_open(db)
    await listener.close()
    await db.close()


async def test_a_key_that_was_changed_is_still_kept_out_of_the_log(migrated_database: str, tmp_path: Path) -> None:
    db = await connect(migrated_database)
    (run,) = await add_runs(db)
    old, new = "the first plain key 0123", "the second plain key 4567"
    async with stand_in() as provider:
        await add_service(db, "main", provider.url, usd=10)
        headers = {"x-api-key": await token_for(migrated_database, run)}
        boot = boot_for(migrated_database, tmp_path, log="bodies")
        async with gateway(boot, "main") as url, aiohttp.ClientSession(headers=headers) as http:
            store = FileStore(boot.paths.config)

            async def ask(text: str) -> None:
                said = [{"role": "user", "content": json.dumps({"out": 1, "said": text})}]
                async with http.post(f"{url}/anthropic/v1/messages", json={**BODY, "messages": said}) as answer:
                    assert answer.status == 200

            async def uses(key: str) -> bool:
                store.put(service_key("main"), key)
                await db.execute("select pg_notify('qd', 'secret')")
                await ask("hello")
                return key in provider.keys

            await until(lambda: uses(old))
            await until(lambda: uses(new))
            await ask(f"{old} and {new}")
            await nothing_open(db)
            log = (boot.paths.logs / "gateway.log").read_text()
            assert "lorem" in log
            assert old not in log
            assert new not in log
    await db.close()


async def test_an_error_that_breaks_off_costs_nothing(migrated_database: str, tmp_path: Path) -> None:
    async def torn(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"messages")
        writer.write(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 100\r\n\r\n{")
        await writer.drain()
        writer.close()

    db = await connect(migrated_database)
    (run,) = await add_runs(db)
    async with await asyncio.start_server(torn, "127.0.0.1", 0) as provider:
        await add_service(db, "main", f"http://127.0.0.1:{provider.sockets[0].getsockname()[1]}", usd=10)
        headers = {"x-api-key": await token_for(migrated_database, run)}
        async with (
            gateway(boot_for(migrated_database, tmp_path, wait_seconds=0), "main") as url,
            aiohttp.ClientSession(headers=headers) as http,
            http.post(f"{url}/anthropic/v1/messages", json=BODY) as answer,
        ):
            assert answer.status == 529
            await nothing_open(db)
    assert [tuple(row) for row in await db.fetch("select status, cost_micro from charge")] == [("released", 0)]
    assert await books(db) == {}
    await db.close()


async def test_a_service_that_speaks_again_takes_others_before_its_first_answer_is_over(
    migrated_database: str, tmp_path: Path
) -> None:
    calls, over = 0, asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal calls
        calls += 1
        if calls == 1:
            return web.json_response(
                {"error": {"type": "rate_limit_error"}}, status=429, headers={"retry-after-ms": "1"}
            )
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        usage = {"input_tokens": 5, "output_tokens": 1}
        await response.write(event({"type": "message_start", "message": {"model": "m", "usage": usage}}))
        if calls == 2:
            await over.wait()
        end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}
        await response.write(event(end))
        return response

    app = web.Application()
    app.router.add_post("/v1/messages", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    db = await connect(migrated_database)
    (run,) = await add_runs(db)
    await add_service(db, "main", f"http://127.0.0.1:{runner.addresses[0][1]}", usd=10)
    headers = {"x-api-key": await token_for(migrated_database, run)}
    async with (
        gateway(boot_for(migrated_database, tmp_path, wait_seconds=3), "main") as url,
        aiohttp.ClientSession(headers=headers) as http,
    ):
        path = f"{url}/anthropic/v1/messages"
        async with http.post(path, json=BODY) as first:
            assert first.status == 429
        async with http.post(path, json=BODY) as tries:
            await tries.content.readuntil(b"message_start")
            async with http.post(path, json=BODY) as other:
                assert other.status == 200
            over.set()
        await nothing_open(db)
    await runner.cleanup()
    assert await books(db) == {}
    await db.close()
