"""Builders for the gateway's tests: a database with services and runs, a gateway in this process or in one of its own."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from config.paths import Paths, resolve_paths
from config.settings import GatewaySettings
from core.budget.engine_side import issue_token
from core.budget.gateway.boot import Boot, record_file
from core.budget.gateway.process import serve
from core.budget.prices import PriceBook
from core.secrets import FileStore, service_key
from storage.database import Database, Principal, Role
from storage.queries import budget

PRICES = {"input": 2, "cache_read": 0.2, "cache_write_5m": 2.5, "cache_write_1h": 4, "output": 10}
"""USD per million tokens."""

PATIENCE = 30.0


async def connect(dsn: str) -> asyncpg.Connection:
    """A connection that knows JSON, as the program's have."""
    connection = await asyncpg.connect(dsn)
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    return connection


async def add_runs(
    connection: asyncpg.Connection, runs: int = 1, *, project: str = "shop", agent: str = "ada", tasks: int = 1
) -> list[int]:
    """A project with tasks and live runs of them, as the engine leaves them; the runs' numbers."""
    await connection.execute(
        "insert into project (id, name, repo, path) values ($1, $1, '/x', '/x') on conflict do nothing", project
    )
    await connection.execute("insert into load (project) values ($1) on conflict do nothing", project)
    await connection.execute("insert into agent (name, adapter) values ($1, 'command') on conflict do nothing", agent)
    engine = await connection.fetchval("select engine_register('e', 'h', 1, '0', 100, '1 hour')")
    added = await connection.fetch(
        "select number from task_add((select jsonb_agg(jsonb_build_object('project', $1::text, 'title', 'task ' || n)) from generate_series(1, $2::int) n))",
        project,
        tasks,
    )
    numbers = [row["number"] for row in added]
    return [
        await connection.fetchval(
            """insert into run (id, task, attempt, project, agent, engine, lease_token, mark, folder, status)
               values (qd_uuid7(), $1, $2, $3, $4, $5, 1, 'm', '/f', 'running') returning number""",
            numbers[n % tasks],
            n // tasks + 1,
            project,
            agent,
            engine,
        )
        for n in range(runs)
    ]


async def add_service(
    connection: asyncpg.Connection,
    name: str,
    url: str,
    *,
    provider: str = "anthropic",
    usd: float | None = None,
    **columns: Any,
) -> None:
    """A service with the prices of these tests and, where it is given, a monthly budget."""
    fields = {"name": name, "provider": provider, "base_url": url, "prices": {"*": PRICES}, **columns}
    marks = ", ".join(f"${n}" for n in range(1, len(fields) + 1))
    await connection.execute(f"insert into service ({', '.join(fields)}) values ({marks})", *fields.values())
    await set_budget(connection, "service", name, usd)


async def set_budget(
    connection: asyncpg.Connection, scope: str, key: str, usd: float | None, *, unit: str = "usd", period: str = "month"
) -> int:
    """A hard limit in USD, or in whatever ``unit`` counts."""
    factor = 1_000_000 if unit == "usd" else 1
    hard = None if usd is None else round(usd * factor)
    return await connection.fetchval("select budget_set($1, $2, $3, $4, $5, null)", scope, key, unit, period, hard)


def boot_for(dsn: str, home: Path, **settings: Any) -> Boot:
    """What a gateway with this home is started with."""
    paths = resolve_paths({"QD_HOME": str(home)})
    return Boot(dsn, paths, GatewaySettings(**{"lease_seconds": 5.0, "wait_seconds": 20.0, **settings}), "0")


def keep_keys(paths: Paths, *services: str) -> None:
    """A key for each service in the secret store."""
    store = FileStore(paths.config)
    for service in services:
        store.put(service_key(service), f"sk-real-{service}-0123456789abcdef")


async def token_for(dsn: str, run: int) -> str:
    """A run token."""
    connection = await connect(dsn)
    try:
        return await issue_token(connection, run)
    finally:
        await connection.close()


@asynccontextmanager
async def gateway(boot: Boot, *services: str) -> AsyncIterator[str]:
    """A gateway in this process; yields its address."""
    keep_keys(boot.paths, *services)
    record_file(boot.paths).unlink(missing_ok=True)
    boot.paths.state.mkdir(parents=True, exist_ok=True)
    stop = asyncio.Event()
    task = asyncio.create_task(serve(boot, FileStore(boot.paths.config), stop, PriceBook({})))
    try:
        await until(lambda: task.done() or record_file(boot.paths).exists())
        if task.done():
            task.result()
        yield json.loads(record_file(boot.paths).read_text())["url"]
    finally:
        stop.set()
        await task


class GatewayProcess:
    """A gateway in a process of its own, to be killed."""

    def __init__(self, boot: Boot) -> None:
        self.boot = boot
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> str:
        """Start it; its address once it listens."""
        environ = {**os.environ, "QD_HOME": str(self.boot.paths.config.parent)}
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "core.budget.gateway", stdin=asyncio.subprocess.PIPE, env=environ
        )
        self.process.stdin.write(self.boot.to_json().encode() + b"\n")
        self.process.stdin.close()

        def listens() -> bool:
            with contextlib.suppress(OSError, ValueError):
                return json.loads(record_file(self.boot.paths).read_text())["pid"] == self.process.pid
            return False

        await until(listens)
        return json.loads(record_file(self.boot.paths).read_text())["url"]

    async def kill(self) -> None:
        """SIGKILL."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM; its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()


async def until(true: Any, seconds: float = PATIENCE) -> None:
    """Wait until a condition (a function, a coroutine function) holds."""
    async with asyncio.timeout(seconds):
        while True:
            result = true()
            if asyncio.iscoroutine(result):
                result = await result
            if result:
                return
            await asyncio.sleep(0.02)


async def nothing_open(connection: asyncpg.Connection, seconds: float = PATIENCE) -> None:
    """Wait until no charge is reserved any more, sweeping what dead gateways left."""

    async def closed() -> bool:
        while await budget.sweep(connection):
            pass
        return not await connection.fetchval("select exists (select 1 from charge where status = 'reserved')")

    await until(closed, seconds)


async def books(connection: asyncpg.Connection) -> dict[str, int]:
    """What is wrong with the books; empty when all is well."""
    return {what: n for what, n in (await budget.reconcile(connection)).items() if n}


async def account(connection: asyncpg.Connection, scope: str, key: str) -> asyncpg.Record:
    """The newest account of a budget."""
    return await connection.fetchrow(
        "select a.* from account a join budget b on b.id = a.budget where b.scope = $1 and a.key = $2 order by a.starts desc limit 1",
        scope,
        key,
    )


async def open_pool(dsn: str, most: int = 4) -> Database:
    """A pool in the role that the gateway has."""
    return await Database.open(dsn, bound=Principal("test", Role.ENGINE), most=most)
