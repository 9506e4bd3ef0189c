"""`qd agent`, and the agents that are there from the start."""

import json

import asyncpg
import pytest

from config.paths import resolve_paths
from core.commands.agent import ensure_default_agents, hash_key
from storage.database import Database, Principal, Role
from tests.command_line import CommandLine

ADD = ("--adapter", "command", "--command", "sh -c 'exit 0'")


async def slots(dsn: str, agent: str) -> list[int]:
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("select slot from agent_slot where agent = $1 order by slot", agent)
        return [row["slot"] for row in rows]
    finally:
        await connection.close()


async def test_an_agent_is_added_changed_and_removed(qd: CommandLine) -> None:
    added = (await qd("agent", "add", "smith", *ADD, "--capability", "go", "--capability", "sql", "--json")).json
    assert added["adapter"] == "command"
    assert added["capabilities"] == ["go", "sql"]
    assert added["status"] == "enabled"
    edited = (await qd("agent", "edit", "smith", "--model", "m", "--clear", "capability", "--json")).json
    assert (edited["model"], edited["capabilities"]) == ("m", [])
    assert (await qd("agent", "disable", "smith", "--json")).json["status"] == "disabled"
    assert (await qd("agent", "disable", "smith")).out == "agent smith is disabled\n"
    assert (await qd("agent", "enable", "smith", "--json")).json["status"] == "enabled"
    assert (await qd("agent", "show", "smith", "--json")).json == (await qd("agent", "list", "--json")).json[0]
    assert (await qd("agent", "remove", "smith")).code == 0
    assert (await qd("agent", "show", "smith")).code == 3


async def test_an_agent_with_a_limit_has_a_slot_for_each_thing_it_may_do(qd: CommandLine, dsn: str) -> None:
    await qd("agent", "add", "smith", *ADD, "--max-parallel", "3")
    assert await slots(dsn, "smith") == [1, 2, 3]
    await qd("agent", "edit", "smith", "--max-parallel", "2")
    assert await slots(dsn, "smith") == [1, 2]
    await qd("agent", "edit", "smith", "--clear", "max-parallel")
    assert await slots(dsn, "smith") == []


async def test_a_slot_in_use_stays_until_its_task_ends(qd: CommandLine, dsn: str) -> None:
    await qd("agent", "add", "smith", *ADD, "--max-parallel", "3")
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("update agent_slot set task = 7 where slot = 3")
        await qd("agent", "edit", "smith", "--max-parallel", "1")
        assert await slots(dsn, "smith") == [1, 3]
    finally:
        await connection.close()


async def test_what_an_agent_is_at_takes_up_slots_when_it_gets_a_limit(qd: CommandLine, dsn: str) -> None:
    await qd("agent", "add", "smith", *ADD)
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            """insert into engine (name, host, pid, version, lease_until) values ('e', 'h', 1, '1', now() + interval '1 h');
               insert into project (id, name, repo, path) values ('p', 'p', '/r', '/r'); insert into load (project) values ('p')"""
        )
        for n in (1, 2):
            await connection.fetch("select * from task_add($1)", json.dumps([{"project": "p", "title": f"t{n}"}]))
        claimed = await connection.fetch("select * from task_claim((select id from engine), 2, array['smith'])")
        for task in claimed:
            await connection.execute(
                """insert into run (id, task, attempt, project, agent, engine, lease_token, mark, folder)
                   values (qd_uuid7(), $1, 1, 'p', 'smith', (select id from engine), 1, '', '')""",
                task["number"],
            )
        await qd("agent", "edit", "smith", "--max-parallel", "3")
        held = await connection.fetch("select task from agent_slot where task is not null order by task")
        assert [row["task"] for row in held] == sorted(task["number"] for task in claimed)
        assert all(row["n"] == 0 for row in await connection.fetch("select * from queue_reconcile()"))
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["a", "--adapter", "commad", "--command", "x"], 2, "there is no adapter 'commad'"),
        (["a", "--adapter", "command"], 2, "needs to know what to run; add --command CMD"),
        (["a", "--adapter", "command", "--command", ""], 2, "must not be empty"),
        (["a", "--adapter", "command", "--command", "'open"], 2, "cannot be split into words"),
        (["a", "--adapter", "builtin", "--command", "x"], 2, "takes no command"),
        (["A b", *ADD], 2, "name 'A b'"),
        (["", *ADD], 2, "name ''"),
        (["../a", *ADD], 2, "name '../a'"),
        (["a" * 64, *ADD], 2, "at most 63 characters"),
        (["a", *ADD, "--max-parallel", "0"], 2, "max-parallel '0'"),
        (["a", *ADD, "--env", "novalue"], 2, "write NAME=VALUE"),
        (["a", *ADD, "--env", "QD_RUN_TOKEN=x"], 2, "belongs to Quarterdeck"),
        (["a"], 2, "needs ADAPTER"),
    ],
)
async def test_a_wrong_agent_is_refused(qd: CommandLine, argv: list[str], code: int, words: str) -> None:
    outcome = await qd("agent", "add", *argv)
    assert outcome.code == code
    assert words in outcome.err
    assert (await qd("agent", "list", "--json")).json == []


async def test_a_name_is_given_once(qd: CommandLine) -> None:
    await qd("agent", "add", "a", *ADD)
    outcome = await qd("agent", "add", "a", *ADD, "--json")
    assert (outcome.code, outcome.error["code"]) == (5, "conflict")


async def test_an_edit_that_says_nothing_or_twice_is_refused(qd: CommandLine) -> None:
    await qd("agent", "add", "a", *ADD)
    assert (await qd("agent", "edit", "a")).code == 2
    assert (await qd("agent", "edit", "a", "--model", "m", "--clear", "model")).code == 2
    assert (await qd("agent", "edit", "a", "--clear", "command")).code == 2
    assert (await qd("agent", "edit", "b", "--model", "m")).code == 3


async def test_an_agent_that_is_relied_on_is_not_removed(qd: CommandLine, dsn: str) -> None:
    await qd("agent", "add", "a", *ADD)
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("insert into project (id, name, repo, path, agent) values ('p', 'p', '/r', '/r', 'a')")
    finally:
        await connection.close()
    outcome = await qd("agent", "remove", "a")
    assert outcome.code == 5
    assert "1 project" in outcome.err


async def test_an_api_key_is_shown_once_and_kept_as_a_hash(qd: CommandLine, dsn: str) -> None:
    added = (await qd("agent", "add", "a", *ADD, "--api-key", "--json")).json
    assert added["api_key"].startswith("qda_")
    shown = (await qd("agent", "show", "a", "--json")).json
    assert (shown["has_key"], shown["api_key"]) == (True, None)
    connection = await asyncpg.connect(dsn)
    try:
        assert await connection.fetchval("select api_key_hash from agent") == hash_key(added["api_key"])
        trail = await connection.fetchval("select string_agg(audit::text, '') from audit")
    finally:
        await connection.close()
    assert added["api_key"] not in trail
    assert hash_key(added["api_key"]) not in trail


async def test_adapters_are_listed_with_what_they_can(qd: CommandLine) -> None:
    told = {adapter["name"]: adapter for adapter in (await qd("agent", "adapters", "--json")).json}
    assert {"builtin", "claude-code", "command"} <= set(told)
    assert told["builtin"]["status"] == "ok"


async def test_agents_that_need_no_choice_are_there_once_and_not_before_they_have_a_model(
    qd: CommandLine, dsn: str
) -> None:
    who = Principal("engine:test", Role.ENGINE)
    paths = resolve_paths(qd.environ)

    async def names() -> list[str]:
        return [agent["name"] for agent in (await qd("agent", "list", "--json")).json]

    db = await Database.open(dsn)
    try:
        await ensure_default_agents(db, who, paths, {"PATH": ""})
        assert await names() == [], "they would take tasks and fail each"
        await qd("service", "add", "gpt", "--provider", "openai")
        assert await names() == []
        await qd("service", "add", "anthropic", "--provider", "anthropic")
        assert "builtin" in await names()
        for name in await names():
            await qd("agent", "remove", name)
        await ensure_default_agents(db, who, paths, {"PATH": ""})
        assert await names() == []
    finally:
        await db.close()
