"""Many clients, one limit, every kind of fault: never a cent over, the books exact, the last dollar usable."""

import asyncio
import json
import random
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from tests.budget.gate import (
    GatewayProcess,
    account,
    add_runs,
    add_service,
    books,
    boot_for,
    connect,
    keep_keys,
    nothing_open,
    token_for,
)
from tests.budget.stand_in import StandIn, stand_in

CLIENTS = 200
CALLS = 3
FIRST_BYTE = 5.0
"""Seconds after which a provider counts as silent: some of its answers take twice as long."""

WORST = 45_000
"""Micro-dollars: more than any call here reserves."""


def _wish(dice: random.Random) -> dict[str, object]:
    wish: dict[str, object] = {
        "in": dice.randint(50, 600),
        "out": dice.randint(5, 400),
        "pause": dice.choice([0, 0, 0.002]),
    }
    match dice.randint(0, 11):
        case 0:
            wish["status"] = dice.choice([400, 413])
        case 1:
            wish["break"] = dice.randint(1, 30)
        case 2:
            wish["mid_error"] = True
        case 3:
            wish["status"] = dice.choice([429, 500, 529])
            wish["headers"] = {"retry-after-ms": "50"}
        case 4 if dice.random() < 0.1:
            wish["first"] = 2 * FIRST_BYTE
    return wish


async def _client(number: int, url: str, token: str, http: aiohttp.ClientSession, told: list[str]) -> None:
    dice = random.Random(number)
    for _ in range(CALLS):
        wish, stream = _wish(dice), dice.random() < 0.6
        hang_up = stream and dice.random() < 0.1
        body = {
            "model": "m",
            "max_tokens": dice.randint(100, 2000),
            "stream": stream,
            "messages": [{"role": "user", "content": json.dumps(wish)}],
        }
        for _ in range(100):
            try:
                async with http.post(f"{url}/anthropic/v1/messages", json=body, headers={"x-api-key": token}) as answer:
                    if hang_up:
                        await answer.content.readany()
                        break
                    await answer.read()
                    if answer.status == 402:
                        told.append("stop")
                        return
                    if answer.status < 500 or "x-quarterdeck-service" in answer.headers or "first" in wish:
                        break  # what the provider has said, or would say again
                    await asyncio.sleep(0.2)
            except aiohttp.ClientError:
                if "break" in wish:
                    break
                await asyncio.sleep(0.1)  # the gateway was killed: the work is still to be done


async def _watch(db: asyncpg.Connection, seen: list[int]) -> None:
    """Look at the account all along: it must be within its limit at every moment."""
    while True:
        row = await account(db, "service", "main")
        if row:
            seen.append(row["hard"] - row["spent"] - row["reserved"])
        await asyncio.sleep(0.01)


def _true_cost(provider: StandIn) -> int:
    return sum(bill.input * 2 + bill.output * 10 for bill in provider.bills)


@pytest.mark.slow
async def test_two_hundred_clients_never_spend_a_cent_over_the_limit(migrated_database: str, tmp_path: Path) -> None:
    db, watcher = await connect(migrated_database), await connect(migrated_database)
    # About 40 % of what the clients would spend: 600 calls of $0.0027 on average.
    limit = 0.40 * CLIENTS * CALLS * 0.0027
    boot = boot_for(migrated_database, tmp_path, wait_seconds=60, lease_seconds=2, first_byte_seconds=FIRST_BYTE)
    keep_keys(boot.paths, "main")
    async with stand_in() as provider:
        await add_service(db, "main", provider.url, usd=limit)
        runs = await add_runs(db, 20, tasks=4)
        tokens = [await token_for(migrated_database, run) for run in runs]
        gateway = GatewayProcess(boot)
        url = await gateway.start()
        seen: list[int] = []
        told: list[str] = []
        watch = asyncio.create_task(_watch(watcher, seen))
        dice = random.Random(7)
        try:
            async with (
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
                asyncio.TaskGroup() as group,
            ):
                clients = [
                    group.create_task(_client(n, url, tokens[n % len(tokens)], http, told)) for n in range(CLIENTS)
                ]
                for _ in range(3):
                    await asyncio.sleep(dice.uniform(0.3, 0.8))
                    await gateway.kill()
                    assert await gateway.start() == url
                await asyncio.wait(clients)
        finally:
            watch.cancel()
            await gateway.stop()
        await nothing_open(db)
        row = await account(db, "service", "main")
        assert min(seen) >= 0
        assert row["reserved"] == 0
        assert row["spent"] <= row["hard"]
        assert await books(db) == {}
        assert _true_cost(provider) <= row["spent"]
        assert told, "the limit was never met: the test proves nothing"
        assert row["hard"] - row["spent"] < WORST
        assert await db.fetchval("select count(*) from charge where status = 'presumed'") > 0
        assert row["overrun"] == 0
    await db.close()
    await watcher.close()
