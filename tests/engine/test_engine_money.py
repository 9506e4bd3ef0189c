"""Every call of an agent is metered: it passes the gateway, whose ledger is the truth, and budgets stop it."""

import json
import shlex
import sys
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from core.demo.hands import Put, Scene, play
from core.demo.model_server import model_server
from core.secrets import open_store
from core.secrets.store import service_key
from tests.budget.stand_in import StandIn, stand_in
from tests.engine.engine_kit import Site, git, site

KEY = "sk-the-real-key"


@pytest.fixture
async def metered(migrated_database: str) -> AsyncIterator[tuple[Site, str, list[str]]]:
    """A site whose built-in agent talks to a scripted model through the gateway; the keys that the model was shown."""
    scenes = [Scene("make a file", (Put("made.txt", "yes\n"),), "It is made.")]
    shown: list[str] = []

    def check(key: str) -> bool:
        shown.append(key)
        return key == KEY

    async with site(migrated_database) as made, model_server(play(scenes), check) as url:
        host = made.host()
        open_store(host.paths, {"QD_SECRETS": "file"}).put(service_key("claude"), KEY)
        await made.set(engine__retry_seconds=0.05)
        await made.sql.execute(
            "insert into agent (name, adapter, model) values ('hand', 'builtin', 'claude-sonnet-4-5')"
        )
        await host.start(QD_SECRETS="file", ANTHROPIC_API_KEY="sk-the-person-s-own")
        yield made, url, shown
        from core.budget.engine_side import stop_gateway

        await host.stop()
        assert await stop_gateway(host.paths)


async def test_a_run_is_metered_and_its_cost_is_the_ledgers(metered: tuple[Site, str, list[str]]) -> None:
    crew, url, shown = metered
    await crew.do("service.add", name="claude", provider="anthropic", base_url=url, budget=5)
    repo = await crew.project()
    task = await crew.add("make a file", agent="hand")
    await crew.reaches(task, "completed")
    assert git(repo, "show", "main:made.txt") == "yes"
    assert set(shown) == {KEY}, "the model saw the real key, which the agent never had"
    charges = await crew.sql.fetch("select * from charge")
    spent = sum(row["cost_micro"] for row in charges)
    assert spent > 0
    assert await crew.sql.fetchval("select cost_usd from run") == Decimal(spent) / 1_000_000
    assert not await crew.sql.fetchval("select count(*) from charge where status = 'reserved'")
    wrong = [dict(row) for row in await crew.sql.fetch("select * from budget_reconcile()") if row["n"]]
    assert not wrong
    token = await crew.sql.fetchval("select count(*) from run_token where revoked_at is null")
    assert token == 0, "the token ends with its run"
    for path in crew.hosts[0].home.rglob("*"):
        if path.is_file():
            text = path.read_bytes()
            assert KEY.encode() not in text, path
            assert b"sk-the-person-s-own" not in text, path
            assert "secrets" not in path.name or path.stat().st_mode & 0o077 == 0, path


async def test_a_task_waits_for_its_budget_and_goes_on_when_there_is_more(metered: tuple[Site, str, list[str]]) -> None:
    crew, url, _ = metered
    await crew.do("service.add", name="claude", provider="anthropic", base_url=url, budget=0.0001)
    repo = await crew.project()
    task = await crew.add("make a file", agent="hand")
    await crew.reaches(task, "waiting")
    row = await crew.sql.fetchrow("select wait::text, failures from task where number = $1", task)
    assert tuple(row) == ("budget", 0)
    await crew.do("service.budget", name="claude", amount=5)
    await crew.reaches(task, "completed")
    assert git(repo, "show", "main:made.txt") == "yes"


CALLS_A_MODEL = """
import json, os, pathlib, urllib.request
body = json.dumps({"model": "gpt-x", "messages": [{"role": "user", "content": "hello"}]}).encode()
headers = {"authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "content-type": "application/json"}
with urllib.request.urlopen(urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/chat/completions", body, headers)) as answer:
    json.load(answer)
pathlib.Path("made.txt").write_text("yes\\n")
pathlib.Path("told.txt").write_text(pathlib.Path(os.environ["QD_PROMPT_FILE"]).read_text())
"""
"""An agent on the protocol of OpenAI."""


async def add_other(crew: Site, provider: StandIn) -> None:
    """A service that speaks the protocol of OpenAI, with a key."""
    host = crew.hosts[0]
    open_store(host.paths, {"QD_SECRETS": "file"}).put(service_key("other"), "sk-other")
    await crew.do("service.add", name="other", provider="other", base_url=provider.url, budget=5)
    await crew.do("service.price", name="other", model="gpt-x", input=1, output=2)


@pytest.mark.parametrize("left", [0.0001, 0.0], ids=["in the middle", "before it begins"])
async def test_where_the_fallback_speaks_another_protocol_an_agent_that_speaks_it_goes_on(
    metered: tuple[Site, str, list[str]], left: float
) -> None:
    crew, url, _ = metered
    folder = crew.hosts[0].paths.config / "adapters"
    folder.mkdir(parents=True)
    argv = json.dumps(["{python}", "-P", "-c", CALLS_A_MODEL])
    (folder / "coder.toml").write_text(f'argv = {argv}\nspeaks = ["openai"]\n')
    await crew.sql.execute("insert into agent (name, adapter) values ('coda', 'coder')")
    async with stand_in() as provider:
        await add_other(crew, provider)
        await crew.do("service.add", name="claude", provider="anthropic", base_url=url, budget=1, fallback="other")
        await crew.do("budget.set", scope="service", key="claude", usd=left)
        repo = await crew.project()
        task = await crew.add("make a file", agent="hand")
        await crew.reaches(task, "completed")
    assert git(repo, "show", "main:made.txt") == "yes"
    assert "Agent hand was at this task" in git(repo, "show", "main:told.txt")
    assert await crew.sql.fetchval("select failures from task where number = $1", task) == 0
    assert provider.keys == {"sk-other"}
    assert await crew.sql.fetchval("select array_agg(service) from charge where status = 'settled'") == ["other"]


async def test_any_command_finds_the_gateway_and_is_metered(metered: tuple[Site, str, list[str]]) -> None:
    crew, _, _ = metered
    async with stand_in() as provider:
        await add_other(crew, provider)
        await crew.project()
        command = shlex.join([sys.executable, "-P", "-c", CALLS_A_MODEL])
        await crew.sql.execute("insert into agent (name, adapter, command) values ('script', 'command', $1)", command)
        task = await crew.add("make a file", agent="script")
        await crew.reaches(task, "completed")
    charge = await crew.sql.fetchrow("select task, agent, service, basis from charge")
    assert tuple(charge) == (task, "script", "other", "measured")
