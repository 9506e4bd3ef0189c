"""Every call of an agent is metered: it passes the gateway, whose ledger is the truth, and budgets stop it."""

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from core.demo.hands import Put, Scene, play
from core.demo.model_server import model_server
from core.secrets import open_store
from core.secrets.store import service_key
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
