"""Calls through the gateway: what passes, what is refused, what is charged."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
import yarl

from core.budget import engine_side
from tests.budget.gate import (
    account,
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


@dataclass
class House:
    """A gateway with a provider behind it and a run before it."""

    dsn: str
    url: str
    provider: StandIn
    db: asyncpg.Connection
    http: aiohttp.ClientSession
    run: int
    token: str

    async def messages(self, wish: dict[str, Any], *, stream: bool = False, **more: Any) -> aiohttp.ClientResponse:
        body = {
            "model": "m",
            "max_tokens": 100,
            "stream": stream,
            "messages": [{"role": "user", "content": json.dumps(wish)}],
            **more,
        }
        return await self.http.post(f"{self.url}/anthropic/v1/messages", json=body, headers={"x-api-key": self.token})

    async def charge(self) -> asyncpg.Record:
        await nothing_open(self.db)
        return await self.db.fetchrow("select * from charge order by at desc limit 1")


@pytest.fixture
async def house(migrated_database: str, tmp_path: Path) -> AsyncIterator[House]:
    async with _house(migrated_database, tmp_path) as made:
        yield made


@asynccontextmanager
async def _house(dsn: str, home: Path, **settings: Any) -> AsyncIterator[House]:
    db = await connect(dsn)
    async with stand_in() as provider:
        run = (await add_runs(db))[0]
        await add_service(db, "main", provider.url, usd=10)
        token = await token_for(dsn, run)
        async with gateway(boot_for(dsn, home, **settings), "main", "cheap") as url, aiohttp.ClientSession() as http:
            yield House(dsn, url, provider, db, http, run, token)
            assert await books(db) == {}
    await db.close()


async def test_an_answer_is_what_the_provider_sent_and_costs_what_it_counted(house: House) -> None:
    wish = {"in": 1000, "read": 500, "write_5m": 200, "write_1h": 100, "out": 50, "think": 20}
    async with await house.messages(wish) as answer:
        assert await answer.read() == house.provider.sent[0]
        assert answer.headers["x-quarterdeck-service"] == "main"
        assert answer.headers["request-id"] == "req_1"
    charge = await house.charge()
    # 1000 × $2 + 500 × $0.2 + 200 × $2.5 + 100 × $4 + 50 × $10, per million
    assert charge["cost_micro"] == 2000 + 100 + 500 + 400 + 500
    assert (charge["status"], charge["basis"], charge["run"], charge["tokens"]) == (
        "settled",
        "measured",
        house.run,
        1850,
    )
    assert charge["tokens_thinking"] == 20
    assert (await account(house.db, "service", "main"))["spent"] == 3500


async def test_a_stream_passes_byte_for_byte_and_is_charged(house: House) -> None:
    async with await house.messages({"in": 30, "out": 40}, stream=True) as answer:
        assert await answer.read() == house.provider.sent[0]
    charge = await house.charge()
    assert (charge["tokens_input"], charge["tokens_output"], charge["basis"]) == (30, 40, "measured")


async def test_the_first_part_of_a_stream_is_not_held_back(house: House) -> None:
    async with await house.messages({"out": 3, "pause": 0.3}, stream=True) as answer:
        first = await asyncio.wait_for(answer.content.readany(), 5)
        assert b"message_start" in first
        assert b"message_stop" not in first
        await answer.read()


async def test_the_provider_sees_the_real_key_and_never_the_token(house: House) -> None:
    async with await house.messages({}) as answer:
        await answer.read()
    assert house.provider.keys == {"sk-real-main-0123456789abcdef"}
    assert house.token not in json.dumps(house.provider.headers)


@pytest.mark.parametrize("token", ["", "qdr_wrong", "sk-real-main-0123456789abcdef"])
async def test_without_the_token_of_a_live_run_nothing_passes(house: House, token: str) -> None:
    house.token = token
    async with await house.messages({}) as answer:
        assert answer.status == 401
        assert (await answer.json())["error"]["type"] == "authentication_error"
    assert house.provider.calls == 0


async def test_a_token_is_dead_when_its_run_ends(house: House) -> None:
    async with await house.messages({}) as answer:
        assert answer.status == 200
    await house.db.execute("update run set status = 'succeeded'")
    async with await house.messages({}) as answer:
        assert answer.status == 401
    assert house.provider.calls == 1


async def test_at_the_limit_the_client_is_told_to_stop(house: House) -> None:
    await set_budget(house.db, "service", "main", 0.0001)
    async with await house.messages({}) as answer:
        assert answer.status == 402
        assert (await answer.json())["error"]["type"] == "billing_error"
        assert answer.headers["x-should-retry"] == "false"
    assert house.provider.calls == 0
    assert await house.db.fetchval("select exhausted_until > now() from service")
    assert await house.db.fetchval("select count(*) from alert where kind = 'exhausted'") == 1
    await until(lambda: house.db.fetchval("select exists (select 1 from run_notice where kind = 'budget')"))


async def test_output_is_cut_to_what_the_budget_can_pay(house: House) -> None:
    await set_budget(house.db, "service", "main", 0.010)  # the bound of the prompt takes about $0.0044 of it
    async with await house.messages({"in": 10, "out": 1000}, max_tokens=100_000) as answer:
        assert answer.status == 200
    sent = house.provider.bodies[0]["max_tokens"]
    assert 300 < sent < 600
    assert (await house.charge())["tokens_output"] == sent


async def test_an_error_of_the_provider_passes_as_it_is_and_costs_nothing(house: House) -> None:
    async with await house.messages({"status": 400, "code": "invalid_request_error"}) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["message"] == "it is 400"
    assert (await house.charge())["status"] == "released"


@pytest.mark.parametrize("wish", [{"status": 500}, {"out": 50, "break": 3}])
async def test_an_attempt_that_ends_with_trouble_of_the_provider_s_has_not_failed(
    house: House, wish: dict[str, Any]
) -> None:
    with contextlib.suppress(aiohttp.ClientPayloadError):
        await (await house.messages(wish, stream=True)).read()
    await until(lambda: house.db.fetchval("select exists (select 1 from run_notice where kind = 'provider')"))
    refused = await engine_side.why_refused(house.db, house.run)
    assert refused is not None
    assert refused.kind == "service"
    assert refused.text.startswith("service main: ")
    assert await engine_side.refused_runs(house.db, await house.db.fetchval("select engine from run"), 0.0) == {}
    await (await house.messages({"out": 1})).read()
    assert await engine_side.why_refused(house.db, house.run) is None


async def test_a_log_that_cannot_be_written_costs_no_call_and_no_money(migrated_database: str, tmp_path: Path) -> None:
    async with _house(migrated_database, tmp_path, log="calls") as house:
        logs = boot_for(migrated_database, tmp_path).paths.logs
        shutil.rmtree(logs)
        logs.write_text("in the way")
        answer = await house.messages({"in": 10, "out": 5})
        assert answer.status == 200
        await answer.read()
        charge = await house.charge()
        assert (charge["status"], charge["tokens_output"]) == ("settled", 5)
        await nothing_open(house.db)


async def test_a_client_that_hangs_up_pays_what_was_streamed(house: House) -> None:
    answer = await house.messages({"in": 100, "out": 80, "pause": 0.05}, stream=True, max_tokens=1000)
    while b"content_block_delta" not in await answer.content.readany():
        pass
    answer.close()
    charge = await house.charge()
    assert (charge["basis"], charge["tokens_input"], charge["note"]) == ("estimated", 100, "the client hung up")
    assert house.provider.bills[-1].output <= charge["tokens_output"] < 1000
    assert charge["cost_micro"] < charge["reserved_micro"]
    await until(lambda: not house.provider.bills[-1].whole)


async def test_a_client_that_hangs_up_while_the_model_thinks_unseen_pays_what_was_reserved(house: House) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    answer = await house.messages({"out": 80, "pause": 0.05}, stream=True, max_tokens=2000, thinking=thinking)
    while b"content_block_delta" not in await answer.content.readany():
        pass
    answer.close()
    charge = await house.charge()
    assert (charge["basis"], charge["cost_micro"]) == ("imputed", charge["reserved_micro"])


async def test_what_is_not_counted_is_never_charged_above_its_reserve(house: House) -> None:
    for words in (1, 5, 90):
        async with await house.messages({"in": 10, "out": words, "mid_error": True}, stream=True) as answer:
            await answer.read()
        charge = await house.charge()
        assert house.provider.bills[-1].output * 10 <= charge["cost_micro"] <= charge["reserved_micro"]
        assert charge["tokens_output"] <= 100, "no more than the request allowed"


async def test_a_long_error_of_the_provider_passes_whole(house: House) -> None:
    async with await house.messages({"status": 400, "code": "x" * 300_000}) as answer:
        assert (await answer.json())["error"]["type"] == "x" * 300_000


async def test_a_provider_that_breaks_off_is_paid_what_was_streamed_and_the_client_sees_it(house: House) -> None:
    answer = await house.messages({"in": 100, "out": 50, "break": 20}, stream=True)
    with pytest.raises(aiohttp.ClientError):
        await answer.read()
    charge = await house.charge()
    assert (charge["status"], charge["basis"], charge["tokens_input"]) == ("settled", "estimated", 100)
    assert charge["tokens_output"] >= 18


async def test_an_error_in_the_middle_of_a_stream_is_settled_at_what_was_streamed(house: House) -> None:
    async with await house.messages({"in": 100, "out": 20, "mid_error": True}, stream=True) as answer:
        assert b"overloaded_error" in await answer.read()
    charge = await house.charge()
    assert (charge["basis"], charge["note"]) == ("estimated", "error in the stream: overloaded_error")


async def test_an_answer_that_is_lost_counts_in_full(house: House) -> None:
    async with await house.messages({"break": 0}) as answer:
        assert answer.status == 529
    charge = await house.charge()
    assert (charge["basis"], charge["cost_micro"]) == ("imputed", charge["reserved_micro"])


async def test_a_model_that_nobody_knows_is_refused_with_the_remedy(house: House) -> None:
    await house.db.execute("update service set prices = '{}'")
    await house.db.execute("select pg_notify('qd', 'service')")

    async def refused() -> bool:
        async with await house.messages({}) as answer:
            return answer.status == 400 and "qd service price" in (await answer.json())["error"]["message"]

    await until(refused)
    before = house.provider.calls
    await house.db.execute('update service set worst_price = \'{"input": 100, "output": 500}\'')
    await house.db.execute("select pg_notify('qd', 'service')")

    async def answered() -> bool:
        async with await house.messages({"in": 10, "out": 10}) as answer:
            return answer.status == 200

    await until(answered)
    assert house.provider.calls == before + 1
    charge = await house.charge()
    assert (charge["basis"], charge["cost_micro"]) == ("imputed", 10 * 100 + 10 * 500)


async def test_a_subscription_counts_tokens_and_no_dollars(house: House) -> None:
    await house.db.execute("update service set kind = 'quota', prices = '{}'")
    await house.db.execute("select pg_notify('qd', 'service')")

    async def free() -> bool:
        async with await house.messages({"in": 500, "out": 20}) as answer:
            assert answer.status == 200
        charge = await house.charge()
        return (charge["cost_micro"], charge["tokens"]) == (0, 520)

    await until(free)
    used = 520 * await house.db.fetchval("select count(*) from charge")
    await set_budget(house.db, "service", "main", used + 600, unit="tokens", period="5h")
    async with await house.messages({"in": 500, "out": 20}) as answer:
        assert (answer.status, "is used up" in await answer.text()) == (402, True)
    await set_budget(house.db, "service", "main", used + 6000, unit="tokens", period="5h")
    assert await free()


async def test_counting_tokens_is_free(house: House) -> None:
    body = {"model": "m", "messages": []}
    async with house.http.post(
        f"{house.url}/anthropic/v1/messages/count_tokens", json=body, headers={"authorization": f"Bearer {house.token}"}
    ) as answer:
        assert await answer.json() == {"input_tokens": 42}
    assert await house.db.fetchval("select count(*) from charge") == 0


async def test_a_path_that_is_not_metered_does_not_pass(house: House) -> None:
    async with house.http.post(
        f"{house.url}/anthropic/v1/messages/batches", headers={"x-api-key": house.token}
    ) as answer:
        assert answer.status == 404
    assert house.provider.calls == 0


async def test_a_model_s_name_does_not_lead_to_another_path_of_the_provider(house: House) -> None:
    await add_service(house.db, "codex", house.provider.url, provider="openai")
    await house.db.execute("update service set name = 'cheap' where name = 'codex'")
    await house.db.execute("select pg_notify('qd', 'service')")

    async def get(model: str) -> tuple[int, str]:
        address = yarl.URL(f"{house.url}/openai/v1/models/{model}", encoded=True)
        async with house.http.get(address, headers={"x-api-key": house.token}) as answer:
            return answer.status, await answer.text()

    async def known() -> bool:
        return "there is nothing" in (await get("gpt-x"))[1]

    await until(known)
    for model in ("..%2Ffiles", "%2e%2e%2Ffiles", "..%2F..%2Fv1%2Ffiles%3Flimit=1", "x%2F..%2F..%2Ffiles", "%2e%2e"):
        assert (await get(model))[0] == 404
    assert all(path.startswith("/models/") for path in house.provider.strange)
    assert len(house.provider.strange) > 4, "what is one name is asked for as one name"


async def test_a_key_that_is_there_twice_cannot_mean_two_things(house: House) -> None:
    message = json.dumps({"role": "user", "content": json.dumps({"in": 1, "out": 5})})
    raw = f'{{"model": "m", "max_tokens": 7, "max_tokens": 3, "messages": [{message}]}}'
    async with house.http.post(
        f"{house.url}/anthropic/v1/messages", data=raw, headers={"x-api-key": house.token}
    ) as answer:
        assert answer.status == 200
    assert house.provider.bodies[0]["max_tokens"] == 3


async def test_nothing_that_passes_is_written_down(house: House, tmp_path: Path) -> None:
    async with await house.messages({"marker": "a-secret-of-the-person"}) as answer:
        await answer.read()
    await house.charge()
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"a-secret-of-the-person" not in written
    assert house.token.encode() not in written
    assert b"sk-real-main" not in written


async def test_a_log_that_is_asked_for_shows_no_key_and_no_token(migrated_database: str, tmp_path: Path) -> None:
    async with _house(migrated_database, tmp_path, log="bodies") as house:
        theirs = "ghp_" + "a1B2" * 9
        wish = {"said": f"{house.token} sk-real-main-0123456789abcdef", "found": f"token={theirs}", "out": 3}
        async with await house.messages(wish) as answer:
            await answer.read()
        await house.charge()
        log = (tmp_path / "state" / "logs" / "gateway.log").read_text()
    assert "lorem" in log
    mode = (tmp_path / "state" / "logs" / "gateway.log").stat().st_mode
    assert house.token not in log
    assert "sk-real-main" not in log
    assert theirs not in log, "what an agent has found in a repository is a secret too"
    assert mode & 0o077 == 0
