"""The world of the gateway's benchmark: a provider in a process of its own, the gateway in another, a thin client here.

The provider stamps each part of a stream with the system's monotonic clock, which all processes share, so that a client
knows how long each part was under way. Provider and client read and write sockets and nothing more: what is measured is
what lies between them.

As a program: ``python -P -m bench.gateway_world`` serves as the provider and prints its port.
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psutil

from bench.framework import Environment
from config.paths import Paths
from config.settings import GatewaySettings
from core.budget.engine_side import issue_token
from core.budget.gateway.boot import Boot, record_file
from core.secrets import FileStore, service_key
from storage.database import Database, Principal, Role
from storage.queries import limits, services

MODEL = "claude-haiku-4-5"
STAMP = re.compile(rb"<(\d+)>")
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_USAGE = {"input_tokens": 100, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "output_tokens": 20}
_WHOLE = json.dumps(
    {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [{"type": "text", "text": "lorem ipsum " * 40}],
        "stop_reason": "end_turn",
        "usage": _USAGE,
    }
).encode()


# ── the provider ────────────────────────────────────────────────────────────────────────────────────────────────────


async def _talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])  # type: ignore[index]
            body = json.loads(await reader.readexactly(size))
            wish = json.loads(body["messages"][0]["content"])
            if not body.get("stream"):
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_WHOLE)
                    + _WHOLE
                )
                continue
            await _stream(writer, wish["parts"], wish["pause"])
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def _stream(writer: asyncio.StreamWriter, parts: int, pause: float) -> None:
    def send(event: dict[str, object], stamp: str = "") -> None:
        data = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".replace("STAMP", stamp).encode()
        writer.write(b"%x\r\n%b\r\n" % (len(data), data))

    writer.write(HEAD)
    send({"type": "message_start", "message": {"model": MODEL, "usage": {**_USAGE, "output_tokens": 1}}})
    delta = {"type": "text_delta", "text": "<STAMP> lorem ipsum dolor sit amet"}
    began = time.monotonic()
    for number in range(parts):
        send({"type": "content_block_delta", "index": 0, "delta": delta}, str(time.monotonic_ns()))
        await writer.drain()
        await asyncio.sleep(max(began + (number + 1) * pause - time.monotonic(), 0))
    send({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": _USAGE})
    send({"type": "message_stop"})
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def _provide() -> None:
    server = await asyncio.start_server(_talk, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# ── the client ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Seen:
    """What a client saw: milliseconds to the first byte of each answer, and of each part on its way."""

    first: list[float] = field(default_factory=list)
    parts: list[float] = field(default_factory=list)


class Client:
    """One connection that is kept, to one place."""

    def __init__(self, port: int, path: str, key: str) -> None:
        self._port, self._path, self._key = port, path, key
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def open(self) -> "Client":
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
        return self

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    def _send(self, *, stream: bool, parts: int = 0, pause: float = 0.0) -> None:
        wish = json.dumps({"parts": parts, "pause": pause})
        body = json.dumps(
            {"model": MODEL, "max_tokens": 1000, "stream": stream, "messages": [{"role": "user", "content": wish}]}
        ).encode()
        self._writer.write(
            f"POST {self._path} HTTP/1.1\r\nhost: x\r\nx-api-key: {self._key}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )

    async def whole(self) -> None:
        """One call, not streaming."""
        self._send(stream=False)
        head = await self._reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head[:20]:
            raise RuntimeError(head.decode() + (await self._reader.read(500)).decode())
        size = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])  # type: ignore[index]
        await self._reader.readexactly(size)

    async def stream(self, seen: Seen, parts: int, pause: float) -> None:
        """One stream; every part must arrive."""
        began = time.monotonic_ns()
        self._send(stream=True, parts=parts, pause=pause)
        rest, count = b"", 0
        while not rest.endswith(b"0\r\n\r\n"):
            data = await self._reader.read(1 << 16)
            now = time.monotonic_ns()
            if not data:
                raise RuntimeError("the stream broke off")
            if not rest and not count:
                seen.first.append((now - began) / 1e6)
            rest += data
            last = 0
            for found in STAMP.finditer(rest):
                seen.parts.append((now - int(found[1])) / 1e6)
                count += 1
                last = found.end()
            rest = rest[last:]
        if count != parts:
            raise RuntimeError(f"{count} of {parts} parts arrived")


# ── the house ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class World:
    """Where things are."""

    provider: int
    gateway: int
    token: str
    process: psutil.Process
    """The gateway's."""

    def direct(self) -> Client:
        """A client of the provider itself."""
        return Client(self.provider, "/v1/messages", "k")

    def through(self) -> Client:
        """A client of the gateway."""
        return Client(self.gateway, "/anthropic/v1/messages", self.token)


async def seed(dsn: str, url: str) -> str:
    """A project, a task, a live run and a service with budgets of several scopes; the run's token."""
    db = await Database.open(dsn, bound=Principal("bench", Role.ENGINE))
    try:
        async with db.connection() as connection:
            await connection.execute("insert into project (id, name, repo, path) values ('p', 'p', '/x', '/x')")
            await connection.execute("insert into load (project) values ('p')")
            await connection.execute("insert into agent (name, adapter) values ('a', 'command')")
            engine = await connection.fetchval("select engine_register('e', 'h', 1, '0', 4, '1 hour')")
            await connection.execute("""select * from task_add('[{"project": "p", "title": "t"}]'::jsonb)""")
            run = await connection.fetchval(
                """insert into run (id, task, attempt, project, agent, engine, lease_token, mark, folder, status)
                   select qd_uuid7(), number, 1, 'p', 'a', $1, 1, 'm', '/f', 'running' from task returning number""",
                engine,
            )
            await services.insert_service(connection, "main", {"provider": "anthropic", "base_url": url})
            for scope, key in (("service", "main"), ("project", "p")):
                await limits.set_budget(connection, scope, key, "usd", "month", 10**15, None)
            token: str = await issue_token(connection, run)
            return token
    finally:
        await db.close()


@asynccontextmanager
async def world(env: Environment, dsn: str) -> AsyncIterator[World]:
    """A provider and a gateway, each a process of its own."""
    provider = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "bench.gateway_world", stdout=asyncio.subprocess.PIPE, env={"PYTHONPATH": "."}
    )
    assert provider.stdout is not None
    port = int(await provider.stdout.readline())
    token = await seed(dsn, f"http://127.0.0.1:{port}")
    FileStore(env.paths.config).put(service_key("main"), "sk-bench")
    gateway = await _gateway(env.paths, dsn)
    try:
        record = json.loads(record_file(env.paths).read_text())
        yield World(port, record["port"], token, psutil.Process(gateway.pid))
    finally:
        for process in (gateway, provider):
            process.terminate()
            await process.wait()


async def _gateway(paths: Paths, dsn: str) -> asyncio.subprocess.Process:
    boot = Boot(dsn, paths, GatewaySettings(), "bench")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "core.budget.gateway"),
        stdin=asyncio.subprocess.PIPE,
        env={"QD_HOME": str(paths.config.parent), "QD_SECRETS": "file"},
    )
    assert process.stdin is not None
    process.stdin.write(boot.to_json().encode() + b"\n")
    process.stdin.close()
    async with asyncio.timeout(60):
        while not record_file(paths).exists():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.05)
    return process


if __name__ == "__main__":
    asyncio.run(_provide())
