"""At a limit and in trouble: who answers instead, what the run is told, what wakes it."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from core.budget import engine_side
from storage.queries import budget_runs
from storage.queries.budget_runs import Refused
from tests.budget.gate import (
    add_runs,
    add_service,
    books,
    boot_for,
    connect,
    gateway,
    keep_keys,
    nothing_open,
    set_budget,
    token_for,
    until,
)
from tests.budget.stand_in import StandIn, stand_in


class Pair:
    """Two services of one protocol with a provider each; the second stands in for the first."""

    def __init__(
        self,
        dsn: str,
        db: asyncpg.Connection,
        http: aiohttp.ClientSession,
        main: StandIn,
        cheap: StandIn,
        run: int,
        token: str,
    ) -> None:
        self.dsn, self.db, self.http, self.main, self.cheap, self.run, self.token = (
            dsn,
            db,
            http,
            main,
            cheap,
            run,
            token,
        )
        self.url = ""
        self.home = Path()

    async def ask(self, wish: dict[str, Any] | None = None, **more: Any) -> tuple[int, dict[str, str], Any]:
        body = {
            "model": "claude-big",
            "max_tokens": 50,
            "messages": [{"role": "user", "content": json.dumps(wish or {})}],
            **more,
        }
        async with self.http.post(
            f"{self.url}/anthropic/v1/messages", json=body, headers={"x-api-key": self.token}
        ) as answer:
            return answer.status, dict(answer.headers), await answer.json()

    async def notices(self) -> list[asyncpg.Record]:
        return await self.db.fetch("select kind, text, data from run_notice order by id")

    async def reload(self) -> None:
        await self.db.execute("select pg_notify('qd', 'service')")


@pytest.fixture
async def pair(migrated_database: str, tmp_path: Path) -> AsyncIterator[Pair]:
    db = await connect(migrated_database)
    async with stand_in() as main, stand_in() as cheap, aiohttp.ClientSession() as http:
        run = (await add_runs(db))[0]
        await add_service(db, "cheap", cheap.url, usd=5, model_map={"claude-*": "claude-small"})
        await add_service(db, "main", main.url, usd=5, fallback="cheap")
        made = Pair(migrated_database, db, http, main, cheap, run, await token_for(migrated_database, run))
        made.home = tmp_path
        async with gateway(boot_for(migrated_database, tmp_path, wait_seconds=1.0), "main", "cheap") as made.url:
            yield made
            await nothing_open(db)
            assert await books(db) == {}
    await db.close()


async def test_at_the_limit_the_fallback_answers_with_its_model_and_says_so(pair: Pair) -> None:
    await set_budget(pair.db, "service", "main", 0.00001)
    status, headers, answer = await pair.ask()
    assert (status, answer["model"]) == (200, "claude-small")
    assert (headers["x-quarterdeck-service"], headers["x-quarterdeck-model"]) == ("cheap", "claude-small")
    await nothing_open(pair.db)
    charge = await pair.db.fetchrow("select service, model, instead_of from charge")
    assert tuple(charge) == ("cheap", "claude-small", "main/claude-big")
    await until(lambda: pair.db.fetchval("select exists (select 1 from run_notice where kind = 'fallback')"))
    assert pair.main.calls == 0


async def test_when_nobody_is_left_the_run_waits_for_the_budget_and_an_increase_wakes_it(pair: Pair) -> None:
    await set_budget(pair.db, "service", "main", 0.00001)
    await set_budget(pair.db, "service", "cheap", 0.00001)
    status, _, answer = await pair.ask()
    assert (status, answer["error"]["type"]) == (402, "billing_error")
    assert "service main" in answer["error"]["message"]
    await until(lambda: pair.db.fetchval("select exists (select 1 from run_notice where kind = 'budget')"))
    refused = await engine_side.why_refused(pair.db, pair.run)
    assert refused is not None
    assert (refused.kind, refused.service) == ("budget", "main")
    task = await pair.db.fetchval("update task set status = 'waiting', wait = 'budget' returning number")
    await engine_side.wait(pair.db, task, refused)
    assert await engine_side.wake(pair.db) == 0
    assert await engine_side.next_reset(pair.db) is not None
    await set_budget(pair.db, "service", "main", 5)
    assert await engine_side.wake(pair.db) == 1
    assert await pair.db.fetchval("select status::text from task") == "pending"


async def test_the_engine_is_told_each_notice_once(pair: Pair) -> None:
    await set_budget(pair.db, "service", "main", 0.00001)
    await pair.ask()
    await until(lambda: pair.db.fetchval("select exists (select 1 from run_notice)"))
    engine = await pair.db.fetchval("select engine from run")
    notices = await engine_side.take_notices(pair.db, engine)
    assert [(notice.run, notice.kind) for notice in notices] == [(pair.run, "fallback")]
    assert await engine_side.take_notices(pair.db, engine) == []


async def test_a_wrong_key_opens_the_circuit_at_once(pair: Pair) -> None:
    pair.main.status = 401
    status, headers, _ = await pair.ask()
    assert (status, headers["x-quarterdeck-service"]) == (200, "cheap")
    await pair.ask()
    assert pair.main.calls == 1
    await until(lambda: pair.db.fetchval("select state = 'open' from circuit where service = 'main'"))
    assert await pair.db.fetchval("select text like '%does not accept the key%' from alert where kind = 'down'")
    pair.main.status = 0
    await pair.db.execute("update circuit set state = 'closed', open_until = null")
    await pair.reload()

    async def mended() -> bool:
        return (await pair.ask())[1]["x-quarterdeck-service"] == "main"

    await until(mended)


async def test_a_service_without_a_key_is_told_once_and_its_task_waits_for_a_person_to_set_it(pair: Pair) -> None:
    from core.secrets import FileStore, service_key
    from storage.queries.secrets import mark_secret
    from storage.queries.services import note_key

    store = FileStore(pair.home / "config")
    store.remove(service_key("main"))
    await pair.db.execute("update service set fallback = null where name = 'main'")
    await pair.db.execute("update service set models = '{claude-small}' where name = 'cheap'")
    sentence = "service main has no key; set it with `qd secret set service.main`"

    async def says_so() -> bool:
        return sentence in (await pair.ask())[2].get("error", {}).get("message", "")

    for _ in range(2):
        await pair.reload()
        await until(says_so)
    assert (await pair.ask())[1]["x-should-retry"] == "false"
    assert [row["text"] for row in await pair.db.fetch("select text from alert where kind = 'key'")] == [sentence]
    await until(lambda: pair.db.fetchval("select exists (select 1 from run_notice where kind = 'service')"))
    refused = await engine_side.why_refused(pair.db, pair.run)
    assert refused is not None
    assert (refused.kind, refused.keyless, refused.text) == ("service", True, sentence)
    task = await pair.db.fetchval("update task set status = 'waiting', wait = 'person' returning number")
    await engine_side.wait(pair.db, task, refused)
    assert await engine_side.wake(pair.db) == 0
    store.put(service_key("main"), "sk-at-last")
    await mark_secret(pair.db, "", service_key("main"))
    await note_key(pair.db, "main")
    assert await engine_side.wake(pair.db) == 1
    assert await pair.db.fetchval("select count(*) from alert where kind = 'key'") == 0


async def test_a_rate_limit_is_left_alone_until_its_reset(pair: Pair) -> None:
    status, headers, _ = await pair.ask({"status": 429, "headers": {"retry-after": "2"}})
    assert (status, headers["x-quarterdeck-service"]) == (429, "cheap")  # the stand-in of the stand-in says the same
    calls = pair.main.calls
    await pair.ask({})
    assert pair.main.calls == calls

    async def again() -> bool:
        return (await pair.ask())[1].get("x-quarterdeck-service") == "main"

    await until(again)


async def test_one_failure_passes_to_the_client_and_five_open_the_circuit(pair: Pair) -> None:
    pair.main.status = 500
    assert [(await pair.ask())[0] for _ in range(4)] == [500] * 4
    status, headers, _ = await pair.ask()
    assert (status, headers["x-quarterdeck-service"]) == (200, "cheap")
    assert pair.main.calls == 5


async def test_a_provider_that_is_not_there_costs_nothing(pair: Pair) -> None:
    await pair.db.execute("update service set base_url = 'http://127.0.0.1:9' where name = 'main'")
    await pair.reload()

    async def reached_the_other() -> bool:
        return (await pair.ask())[1].get("x-quarterdeck-service") == "cheap"

    await until(reached_the_other)
    await nothing_open(pair.db)
    assert (
        await pair.db.fetchval(
            "select coalesce(sum(cost_micro), 0) from charge where service = 'main' and note like '%reached%'"
        )
        == 0
    )


async def test_a_suspended_service_is_passed_over(pair: Pair) -> None:
    await pair.db.execute("update service set suspended = true where name = 'main'")
    assert (await pair.ask())[1]["x-quarterdeck-service"] == "cheap"


async def test_who_stands_in_for_a_suspended_service_speaks_its_own_model_and_says_so(pair: Pair) -> None:
    await pair.db.execute("update service set suspended = true where name = 'main'")
    await pair.reload()

    async def stood_in() -> bool:
        headers = (await pair.ask())[1]
        return (headers["x-quarterdeck-service"], headers["x-quarterdeck-model"]) == ("cheap", "claude-small")

    await until(stood_in)
    assert await pair.db.fetchval("select instead_of from charge order by at desc limit 1") == "main/claude-big"
    await until(lambda: pair.db.fetchval("select exists (select 1 from run_notice where kind = 'fallback')"))


async def test_a_project_s_own_key_goes_before_the_shared_one(pair: Pair, tmp_path: Path) -> None:
    from core.secrets import FileStore, service_key

    store = FileStore(tmp_path / "config")
    store.put(service_key("main"), "sk-of-the-shop", "shop")
    store.put(service_key("main"), "sk-of-the-mill", "mill")
    await pair.ask()
    assert pair.main.keys == {"sk-of-the-shop"}


async def test_the_next_service_in_another_protocol_is_handed_to_an_agent_that_speaks_it(pair: Pair) -> None:
    await add_service(pair.db, "codex", "http://127.0.0.1:9", provider="openai", usd=5)
    await pair.db.execute("update service set fallback = 'codex' where name = 'cheap'")
    await pair.db.execute("insert into agent (name, adapter) values ('coda', 'codex')")
    await pair.reload()
    await set_budget(pair.db, "service", "main", 0.00001)
    await set_budget(pair.db, "service", "cheap", 0.00001)

    async def told() -> bool:
        assert (await pair.ask())[0] == 402
        refused = await engine_side.why_refused(pair.db, pair.run)
        return refused is not None and refused.other_protocol is not None

    await until(told)
    refused = await engine_side.why_refused(pair.db, pair.run)
    assert refused is not None
    adapters = {"claude-code": frozenset({"anthropic"}), "codex": frozenset({"openai"}), "command": frozenset[str]()}
    over = await engine_side.hand_over(pair.db, "shop", "ada", refused, adapters)
    assert over is not None
    assert over.agent == "coda"
    assert "git diff" in over.note
    await set_budget(pair.db, "service", "codex", 0)
    assert await engine_side.hand_over(pair.db, "shop", "ada", refused, adapters) is None, "it has no money either"


async def test_a_run_that_could_make_no_call_is_not_started(pair: Pair) -> None:
    task = await pair.db.fetchval("select task from run")
    where = {"project": "shop", "task": task, "agent": "ada", "speaks": frozenset({"anthropic"})}
    assert await engine_side.may_start(pair.db, **where) is None
    await set_budget(pair.db, "project", "shop", 0)
    refused = await engine_side.may_start(pair.db, **where)
    assert refused is not None
    assert "project shop" in refused.text
    await set_budget(pair.db, "project", "shop", 1)
    await pair.db.execute("update service set suspended = true")
    refused = await engine_side.may_start(pair.db, **where)
    assert refused is not None
    assert refused.text == "service main is suspended"
    assert await engine_side.may_start(pair.db, **{**where, "speaks": frozenset()}) is None, "it may need no model"


async def test_a_limit_of_its_own_lets_a_service_start_runs_where_the_limit_for_each_is_met(pair: Pair) -> None:
    task = await pair.db.fetchval("select task from run")
    await set_budget(pair.db, "service", "*", 0)
    where = {"project": "shop", "task": task, "agent": "ada", "speaks": frozenset({"anthropic"})}
    assert await engine_side.may_start(pair.db, **where) is None


async def test_an_increase_of_the_stand_in_wakes_what_waits_for_the_service(pair: Pair) -> None:
    await set_budget(pair.db, "service", "main", 0.00001)
    await set_budget(pair.db, "service", "cheap", 0.00001)
    assert (await pair.ask())[0] == 402
    await until(lambda: pair.db.fetchval("select exists (select 1 from run_notice where kind = 'budget')"))
    refused = await engine_side.why_refused(pair.db, pair.run)
    assert refused is not None
    task = await pair.db.fetchval("update task set status = 'waiting', wait = 'budget' returning number")
    await engine_side.wait(pair.db, task, refused)
    assert await engine_side.wake(pair.db) == 0
    await set_budget(pair.db, "service", "cheap", 5)
    assert await engine_side.wake(pair.db) == 1


async def test_a_new_month_wakes_what_waits_to_the_second_and_so_does_an_override(pair: Pair) -> None:
    await pair.db.execute("update service set suspended = true where name = 'cheap'")
    await pair.db.execute("update budget set zone = 'America/New_York'")
    await set_budget(pair.db, "service", "main", 0.00001)
    await pair.reload()

    async def refused() -> bool:
        return (await pair.ask())[0] == 402

    await until(refused)
    assert await pair.db.fetchval("select exhausted_until > now() from service where name = 'main'")
    task = await pair.db.fetchval("update task set status = 'waiting', wait = 'budget' returning number")
    rule = await pair.db.fetchval("select id from budget where key = 'main'")
    ends = await pair.db.fetchval("select ends from account where key = 'main' order by ends desc limit 1")
    waits = Refused("budget", "used up", "main", rule, "main", need=9)
    await pair.db.execute("update account set spent = hard, ceiling = hard")
    for wakes in (False, True):
        await engine_side.wait(pair.db, task, waits)
        await pair.db.execute("update task set status = 'waiting', wait = 'budget'")
        at = ends if wakes else ends - timedelta(seconds=1)
        assert await budget_runs.wake(pair.db, at) == wakes
    await engine_side.wait(pair.db, task, waits)
    await pair.db.execute("update task set status = 'waiting', wait = 'budget'")
    assert await engine_side.wake(pair.db) == 0
    await pair.db.execute("select budget_override($1, 'main', 1000000)", rule)
    assert await engine_side.wake(pair.db) == 1
    assert await pair.db.fetchval("select exhausted_until from service where name = 'main'") is None
    await pair.db.execute("update account set spent = 0")


async def test_a_stand_in_that_could_not_help_before_wakes_nobody(pair: Pair) -> None:
    await set_budget(pair.db, "service", "main", 0.00001)
    await pair.db.execute("delete from circuit")
    task = await pair.db.fetchval("update task set status = 'waiting', wait = 'budget' returning number")
    rule = await pair.db.fetchval("select id from budget where key = 'main'")
    await engine_side.wait(pair.db, task, Refused("budget", "used up", "main", rule, "main", need=1000))
    assert await engine_side.wake(pair.db) == 0, "it has had that money all the time"
    await pair.db.execute("update service set suspended = true, updated_at = clock_timestamp() where name = 'cheap'")
    assert await engine_side.wake(pair.db) == 0
    await pair.db.execute("update service set suspended = false, updated_at = clock_timestamp() where name = 'cheap'")
    assert await engine_side.wake(pair.db) == 1


async def test_a_chain_of_any_length_speaks_the_model_that_each_declares(pair: Pair) -> None:
    for place in range(1, 6):
        url = pair.cheap.url
        models = {"claude-*": f"claude-{place}"}
        await add_service(pair.db, f"s{place}", url, usd=0.00001 if place < 5 else 5, model_map=models)
        before = f"s{place - 1}" if place > 1 else "cheap"
        await pair.db.execute("update service set fallback = $1 where name = $2", f"s{place}", before)
        keep_keys(boot_for(pair.dsn, pair.home).paths, f"s{place}")
    await pair.reload()
    for name in ("main", "cheap"):
        await set_budget(pair.db, "service", name, 0.00001)

    async def last() -> bool:
        return (await pair.ask())[1].get("x-quarterdeck-service") == "s5"

    await until(last)
    status, headers, answer = await pair.ask()
    assert (status, answer["model"], headers["x-quarterdeck-model"]) == (200, "claude-5", "claude-5")


async def test_a_stand_in_is_not_asked_for_a_model_that_it_does_not_take(pair: Pair) -> None:
    await pair.db.execute("update service set models = '{claude-small*}', model_map = '{}' where name = 'cheap'")
    await pair.reload()
    await set_budget(pair.db, "service", "main", 0.00001)

    async def refused() -> bool:
        return (await pair.ask())[0] == 402

    await until(refused)
    asked = pair.cheap.calls
    await pair.ask()
    assert pair.cheap.calls == asked
