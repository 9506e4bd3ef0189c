"""What the engine does: keeps a gateway alive, tells alerts, keeps secrets."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from config.errors import UnavailableError, UsageError
from config.paths import Paths, resolve_paths
from config.settings import GatewaySettings
from core.budget import alerts, engine_side
from core.budget.gateway.books import digest_of
from core.budget.gateway.boot import Boot, record_file
from core.budget.gateway.process import serve
from core.budget.prices import PriceBook
from core.secrets import FileStore, open_store
from core.secrets.store import find
from storage.database import Principal, Role
from storage.queries import budget
from storage.queries.budget import Ask, Tokens
from tests.budget.gate import add_runs, add_service, books, connect, open_pool, set_budget, until

WHO = Principal("test", Role.ENGINE)


def watch_for(dsn: str, paths: Paths) -> engine_side.GatewayWatch:
    environ = {
        **os.environ,
        "QD_SECRETS": "file",
        "QD_HOME": str(paths.config.parent),
        "ANTHROPIC_API_KEY": "sk-the-person-s",
    }
    return engine_side.GatewayWatch(paths, GatewaySettings(lease_seconds=2), dsn, "0", environ)


@asynccontextmanager
async def watching(watch: engine_side.GatewayWatch) -> AsyncIterator[str]:
    task = asyncio.create_task(watch.run())
    try:
        yield await watch.url()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def healthy(url: str) -> bool:
    async with aiohttp.ClientSession() as http:
        try:
            async with http.get(f"{url}/healthz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False


async def test_the_gateway_outlives_the_engine_and_comes_back_on_its_port(
    migrated_database: str, tmp_path: Path
) -> None:
    paths = resolve_paths({"QD_HOME": str(tmp_path)})
    try:
        async with watching(watch_for(migrated_database, paths)) as url:
            assert await healthy(url)
        assert await healthy(url), "the gateway ended with its engine"
        pid = json.loads(record_file(paths).read_text())["pid"]
        for name in ("environ", "cmdline"):
            with contextlib.suppress(PermissionError, FileNotFoundError):  # nobody but root may even look
                seen = Path(f"/proc/{pid}/{name}").read_bytes()
                assert b"sk-the-person-s" not in seen
                assert migrated_database.encode() not in seen
        async with watching(watch_for(migrated_database, paths)) as again:
            assert (again, json.loads(record_file(paths).read_text())["pid"]) == (url, pid)
            os.kill(pid, signal.SIGKILL)
            await until(lambda: json.loads(record_file(paths).read_text())["pid"] != pid)
            await until(lambda: healthy(url))
    finally:
        assert await engine_side.stop_gateway(paths)
    assert not engine_side.is_served(paths)


async def test_one_state_folder_has_one_gateway(migrated_database: str, tmp_path: Path) -> None:
    paths = resolve_paths({"QD_HOME": str(tmp_path)})
    try:
        async with (
            watching(watch_for(migrated_database, paths)) as first,
            watching(watch_for(migrated_database, paths)) as second,
        ):
            assert first == second
    finally:
        await engine_side.stop_gateway(paths)


async def test_a_gateway_that_ends_in_order_leaves_nothing_reserved(migrated_database: str, tmp_path: Path) -> None:
    db = await connect(migrated_database)
    paths = resolve_paths({"QD_HOME": str(tmp_path)})
    paths.state.mkdir(parents=True)
    stop = asyncio.Event()
    boot = Boot(migrated_database, paths, GatewaySettings(), "0")
    task = asyncio.create_task(serve(boot, FileStore(paths.config), stop, PriceBook({})))
    await until(lambda: record_file(paths).exists())
    stop.set()
    await task
    assert await db.fetchval("select bool_and(lease_until <= clock_timestamp()) from gateway")
    await db.close()


async def test_the_end_of_a_run_takes_its_token_and_writes_what_it_cost(migrated_database: str) -> None:
    db = await connect(migrated_database)
    run = (await add_runs(db))[0]
    await add_service(db, "main", "http://x", usd=5)
    token = await engine_side.issue_token(db, run)
    gateway = await budget.register(db, name="g", pid=1, url="u", version="0", lease=timedelta(hours=1))
    from uuid import uuid4

    what = Ask(uuid4(), "main", "m", 10, 1000, 10, 1, 10_000_000)
    await budget.reserve(db, what, digest_of(token), gateway)
    await budget.settle(db, what.id, "settled", 345, Tokens(input=7, cache_read=5, output=3))
    assert await budget.bearer(db, digest_of(token)) is not None
    await engine_side.end_run(db, run)
    assert await budget.bearer(db, digest_of(token)) is None
    row = await db.fetchrow("select cost_usd, tokens_input, tokens_cache_read, tokens_output, cost_basis from run")
    assert [float(value) for value in row[:4]] == [0.000345, 7, 5, 3]
    assert row["cost_basis"] == "measured"
    assert token not in str(await db.fetch("select * from run_token"))
    assert await books(db) == {}
    await db.close()


# ── alerts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_alert_is_told_each_destination_until_it_arrives_and_then_no_more(
    migrated_database: str, tmp_path: Path
) -> None:
    got: list[tuple[str, str]] = []
    broken = {"second"}

    async def hook(request: web.Request) -> web.Response:
        place = request.match_info["place"]
        got.append((place, (await request.json())["message"]))
        return web.Response(status=500 if place in broken else 200)

    app = web.Application()
    app.router.add_post("/{place}", hook)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    db, pool, store = await connect(migrated_database), await open_pool(migrated_database), FileStore(tmp_path)

    async def deliver() -> int:
        await db.execute("update alert set next_try = now()")
        return await alerts.deliver(pool, WHO, store)

    try:
        assert await budget.add_alert(db, "threshold", "service", "main", "80 % is used")
        assert not await budget.add_alert(db, "threshold", "service", "main", "80 % is used")
        assert await deliver() == 0
        assert "qd secret set alerts.url" in await db.fetchval("select failure from alert")
        hooks = [f"json://127.0.0.1:{runner.addresses[0][1]}/{place}" for place in ("first", "second")]
        store.put("alerts.url", "\n".join([*hooks, hooks[0]]))
        assert await deliver() == 0
        row = await db.fetchrow(
            "select attempts, failure, next_try > clock_timestamp() + interval '10 s' as later from alert"
        )
        assert tuple(row) == (2, "1 of 2 destinations did not take it", True)
        assert await deliver() == 0
        broken.clear()
        assert await deliver() == 1
        assert await alerts.deliver(pool, WHO, store) == 0
        assert sorted(got) == [("first", "80 % is used"), *[("second", "80 % is used")] * 3]
        assert "127.0.0.1" not in await db.fetchval("select alert::text from alert"), "an address holds a password"
    finally:
        await pool.close()
        await db.close()
        await runner.cleanup()


async def test_a_dear_task_and_a_dear_month_are_noted_once(migrated_database: str) -> None:
    db = await connect(migrated_database)
    await add_runs(db, tasks=41)
    await db.execute("update task set status = 'completed'")
    await add_service(db, "main", "http://x", usd=10_000)
    await db.execute(
        """insert into charge (id, at, service, project, task, agent, status, basis, cost_micro)
           select qd_uuid7(), now() - make_interval(days => 41 - number::int), 'main', 'shop', number, 'ada', 'settled', 'measured',
                  case when number = 41 then 900000000 else 1000000 + number * 1000 end from task"""
    )
    assert await alerts.look(db) == 1
    assert await alerts.look(db) == 0
    row = await db.fetchrow("select kind, key, text from alert")
    assert (row["kind"], row["key"], "times the middle" in row["text"]) == ("outlier", "41", True)
    await db.close()


async def test_a_project_whose_month_will_end_too_dear_is_told(migrated_database: str) -> None:
    db = await connect(migrated_database)
    await add_runs(db)
    await set_budget(db, "project", "shop", 0.001)
    await db.execute(
        """insert into charge (id, at, service, project, status, basis, cost_micro)
           select qd_uuid7(), now() - make_interval(days => n), 'main', 'shop', 'settled', 'measured', 900000000 from generate_series(1, 20) n"""
    )
    assert await alerts.look(db) == 1
    assert "project shop will end its month" in await db.fetchval("select text from alert")
    await db.close()


# ── secrets ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_project_finds_its_own_secret_then_the_shared_one_and_never_another_s(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "config")
    store.put("key", "shared")
    store.put("key", "of the mill", "mill")
    store.put("other", "of the shop", "shop")
    assert find(store, "key", "shop") == "shared"
    assert find(store, "key", "mill") == "of the mill"
    assert find(store, "other", "mill") is None
    assert store.remove("key", "mill")
    assert not store.remove("key", "mill")
    assert find(store, "key", "mill") == "shared"


def test_the_file_is_encrypted_and_nobody_else_s(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "config")
    store.put("key", "plain-text-value")
    for path in (tmp_path / "config").iterdir():
        assert b"plain-text-value" not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0
    (tmp_path / "config" / "secrets.key").unlink()
    with pytest.raises(UnavailableError, match="is missing"):
        store.get("key")


def test_the_store_is_the_one_that_is_asked_for(tmp_path: Path) -> None:
    paths = resolve_paths({"QD_HOME": str(tmp_path)})
    assert isinstance(open_store(paths, {"QD_HOME": str(tmp_path)}), FileStore)
    with pytest.raises(UsageError):
        open_store(paths, {"QD_SECRETS": "drawer"})


async def test_a_destination_that_hangs_keeps_no_other_from_hearing_of_an_alert() -> None:
    heard, over = asyncio.Event(), asyncio.Event()

    async def hook(request: web.Request) -> web.Response:
        heard.set()
        if request.match_info["place"] == "silent":
            await over.wait()
        return web.Response()

    app = web.Application()
    app.router.add_post("/{place}", hook)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"json://127.0.0.1:{runner.addresses[0][1]}"
    wish = {"urls": [f"{base}/silent?rto=600", f"{base}/well"], "title": "t", "body": "b"}
    telling = (sys.executable, "-P", "-m", "core.budget.telling")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*telling, stdin=pipe, stdout=pipe)
    try:
        process.stdin.write(json.dumps(wish).encode())
        process.stdin.close()
        async with asyncio.timeout(30):
            assert await process.stdout.readline() == b"1\n"
        assert heard.is_set()
        assert process.returncode is None
    finally:
        process.kill()
        await process.wait()
        over.set()
        await runner.cleanup()
