"""Faults around the gateway: the database dies while calls flow, ports are taken, two gateways share one budget."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from config.paths import resolve_paths
from config.settings import GatewaySettings
from core.budget import engine_side
from core.budget.gateway.boot import record_file
from core.budget.gateway.process import QUIET_PORTS, bind
from storage.migrate import migrate
from storage.queries.budget import sweep
from storage.server import ensure_server, server_dsn
from storage.server.server import server_status
from tests.budget.gate import (
    GatewayProcess,
    account,
    add_runs,
    add_service,
    books,
    boot_for,
    connect,
    gateway,
    nothing_open,
    token_for,
    until,
)
from tests.budget.stand_in import StandIn, stand_in
from tests.postgres import paths_in, temporary_home


def body(wish: dict[str, object], *, stream: bool) -> dict[str, object]:
    """A request to the stand-in."""
    return {
        "model": "m",
        "max_tokens": 60,
        "stream": stream,
        "messages": [{"role": "user", "content": json.dumps(wish)}],
    }


async def work(url: str, token: str, http: aiohttp.ClientSession, calls: int, *, stream: bool) -> list[int]:
    """A client that repeats a call which the gateway could not take, as SDKs do; the last status of each call."""
    statuses = []
    for _ in range(calls):
        while True:
            async with http.post(
                f"{url}/anthropic/v1/messages",
                json=body({"in": 20, "out": 20, "pause": 0.01 if stream else 0}, stream=stream),
                headers={"x-api-key": token},
            ) as answer:
                await answer.read()
                if answer.status < 500:
                    statuses.append(answer.status)
                    break
            await asyncio.sleep(0.05)
    return statuses


def true_cost(provider: StandIn) -> int:
    """What the provider would bill, in micro-dollars."""
    return sum(bill.input * 2 + bill.output * 10 for bill in provider.bills)


@pytest.mark.slow
async def test_calls_go_on_after_the_database_was_killed_while_they_flowed(tmp_path: Path) -> None:
    with temporary_home() as home:
        server, quick = paths_in(home), {"fsync": "off", "full_page_writes": "off"}
        await ensure_server(server, quick)
        dsn = server_dsn(server)
        await migrate(dsn)
        db = await connect(dsn)
        runs = await add_runs(db, 4)
        async with stand_in() as provider, aiohttp.ClientSession() as http:
            await add_service(db, "main", provider.url, usd=100)
            tokens = [await token_for(dsn, run) for run in runs]
            async with gateway(boot_for(dsn, tmp_path, lease_seconds=2), "main") as url:
                clients = [
                    asyncio.create_task(work(url, tokens[n % 4], http, 15, stream=n % 2 == 0)) for n in range(12)
                ]
                await until(lambda: provider.calls > 40)
                status = server_status(server)
                assert status is not None
                os.kill(status.pid, signal.SIGKILL)
                await asyncio.sleep(0.3)  # streams that are under way end without a database
                await ensure_server(server, quick)
                done = await asyncio.gather(*clients)
            await db.close()
            db = await connect(dsn)
            await nothing_open(db)
            assert {status for statuses in done for status in statuses} == {200}
            measured = await db.fetchval("select count(*) from charge where status = 'settled' and basis = 'measured'")
            assert measured >= 12 * 15, "what a call had cost was forgotten with the database"
            row = await account(db, "service", "main")
            assert true_cost(provider) <= row["spent"] <= row["hard"]
            assert await books(db) == {}
            await db.close()


@pytest.mark.parametrize("swept", [False, True])
async def test_a_settle_that_the_server_forgot_in_a_crash_is_entered_again(tmp_path: Path, swept: bool) -> None:
    with temporary_home() as home:
        server, slow = paths_in(home), {"wal_writer_delay": "10s"}  # what nobody waits for is not on the disk soon
        await ensure_server(server, slow)
        dsn = server_dsn(server)
        await migrate(dsn)
        db = await connect(dsn)
        (run,) = await add_runs(db)
        async with stand_in() as provider, aiohttp.ClientSession() as http:
            await add_service(db, "main", provider.url, usd=1)
            token = await token_for(dsn, run)
            async with gateway(boot_for(dsn, tmp_path, lease_seconds=15), "main") as url:
                assert await work(url, token, http, 1, stream=False) == [200]
                await until(lambda: db.fetchval("select status = 'settled' from charge"))
                os.kill(server_status(server).pid, signal.SIGKILL)
                await until(lambda: server_status(server) is None)
                await ensure_server(server, slow)
                db = await connect(dsn)
                assert await db.fetchval("select status from charge") == "reserved", "the crash forgot nothing"
                if swept:
                    await db.execute("update gateway set lease_until = clock_timestamp() - interval '1 s'")
                    assert await sweep(db) is not None
                await until(lambda: db.fetchval("select status = 'settled' from charge"))
                charge = await db.fetchrow("select status, basis, cost_micro from charge")
                assert tuple(charge) == ("settled", "measured", 20 * 2 + 20 * 10)
        assert await books(db) == {}
        await db.close()


async def test_a_stream_under_way_is_settled_although_its_connections_were_cut(
    migrated_database: str, tmp_path: Path
) -> None:
    db = await connect(migrated_database)
    (run,) = await add_runs(db)
    async with stand_in() as provider, aiohttp.ClientSession() as http:
        await add_service(db, "main", provider.url, usd=1)
        token = await token_for(migrated_database, run)
        async with gateway(boot_for(migrated_database, tmp_path), "main") as url:
            request = body({"in": 100, "out": 30, "pause": 0.01}, stream=True)
            async with http.post(f"{url}/anthropic/v1/messages", json=request, headers={"x-api-key": token}) as answer:
                await answer.content.readany()
                await db.execute(
                    """select pg_terminate_backend(pid) from pg_stat_activity
                        where application_name = 'quarterdeck' and datname = current_database() and pid <> pg_backend_pid()"""
                )
                assert b"message_stop" in await answer.read()
            await nothing_open(db)
            charge = await db.fetchrow("select status, basis, cost_micro from charge")
            assert tuple(charge) == ("settled", "measured", 100 * 2 + 30 * 10)
    assert await books(db) == {}
    await db.close()


async def test_two_gateways_share_one_budget_and_never_go_beyond_it(migrated_database: str, tmp_path: Path) -> None:
    db = await connect(migrated_database)
    (run,) = await add_runs(db)
    async with stand_in() as provider, aiohttp.ClientSession() as http:
        await add_service(db, "main", provider.url, usd=0.007)
        token = await token_for(migrated_database, run)
        async with (
            gateway(boot_for(migrated_database, tmp_path / "a"), "main") as first,
            gateway(boot_for(migrated_database, tmp_path / "b"), "main") as second,
        ):
            assert first != second
            clients = [work((first, second)[n % 2], token, http, 4, stream=False) for n in range(10)]
            done = [status for statuses in await asyncio.gather(*clients) for status in statuses]
            await nothing_open(db)
        row = await account(db, "service", "main")
        assert set(done) == {200, 402}
        assert true_cost(provider) <= row["spent"] <= 7000
        assert 7000 - row["spent"] < 5100, "less than one call is left"
    assert await books(db) == {}
    await db.close()


async def test_a_port_that_is_taken_is_left_to_whoever_has_it(migrated_database: str, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        boot = boot_for(migrated_database, tmp_path)
        boot.paths.state.mkdir(parents=True)
        record_file(boot.paths).write_text(json.dumps({"port": port}))
        found = bind(boot)
        assert found.getsockname()[1] != port
        assert found.getsockname()[1] in QUIET_PORTS, "no program is given it for a connection of its own"
        found.close()
        wanted = boot_for(migrated_database, tmp_path, port=port)
        with pytest.raises(Exception, match=f"cannot listen at 127.0.0.1:{port}"):
            bind(wanted)


async def test_a_gateway_of_other_settings_is_replaced_when_the_engine_comes_back(
    migrated_database: str, tmp_path: Path
) -> None:
    paths = resolve_paths({"QD_HOME": str(tmp_path)})

    async def served_by(settings: GatewaySettings) -> tuple[str, int]:
        watch = engine_side.GatewayWatch(paths, settings, migrated_database, "0", {**os.environ, "QD_SECRETS": "file"})
        task = asyncio.create_task(watch.run())
        try:
            return await watch.url(), json.loads(record_file(paths).read_text())["pid"]
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    try:
        url, pid = await served_by(GatewaySettings())
        assert await served_by(GatewaySettings()) == (url, pid)
        again, other = await served_by(GatewaySettings(log="calls"))
        assert (again, other != pid) == (url, True)
    finally:
        assert await engine_side.stop_gateway(paths)


async def test_a_gateway_whose_folder_is_gone_ends(migrated_database: str, tmp_path: Path) -> None:
    boot = boot_for(migrated_database, tmp_path / "home")
    process = GatewayProcess(boot)
    await process.start()
    shutil.rmtree(boot.paths.state)
    assert process.process is not None
    assert await asyncio.wait_for(process.process.wait(), 60) == 0


async def test_a_gateway_that_cannot_start_says_why_in_a_sentence(tmp_path: Path) -> None:
    boot = boot_for("postgresql://nobody@127.0.0.1:9/none", tmp_path)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "core.budget.gateway"),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"QD_HOME": str(tmp_path), "PATH": os.environ["PATH"]},
    )
    _, said = await asyncio.wait_for(process.communicate(boot.to_json().encode() + b"\n"), 60)
    assert (process.returncode, said.startswith(b"gateway: the database cannot be reached")) == (6, True), said


async def test_the_watch_goes_on_after_a_gateway_could_not_be_started(migrated_database: str, tmp_path: Path) -> None:
    paths = resolve_paths({"QD_HOME": str(tmp_path)})
    paths.state.mkdir(parents=True)
    paths.logs.parent.mkdir(parents=True, exist_ok=True)
    paths.logs.write_text("in the way")
    watch = engine_side.GatewayWatch(paths, GatewaySettings(), migrated_database, "0", dict(os.environ))
    task = asyncio.create_task(watch.run())
    try:
        await asyncio.sleep(0)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(task), 0.3)
        assert not task.done()
        paths.logs.unlink()
        assert await watch.url()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await engine_side.stop_gateway(paths)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such flag")
def test_no_program_of_the_same_user_looks_into_the_gateway() -> None:
    script = (
        "from core.budget.gateway.__main__ import hide_memory; import ctypes, resource; hide_memory();"
        "print(ctypes.CDLL(None).prctl(3), resource.getrlimit(resource.RLIMIT_CORE))"
    )
    told = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "0 (0, 0)"
