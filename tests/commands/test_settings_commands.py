"""`qd settings` and `qd queue`."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from config.paths import resolve_paths
from config.reader import known_keys
from storage.database import Database, Principal, Role
from storage.feed import ChangeFeed
from storage.source import load_settings
from tests.command_line import CommandLine


async def test_a_setting_comes_from_the_default_the_file_or_the_database(qd: CommandLine, tmp_path: Path) -> None:
    async def shown() -> tuple[object, str]:
        told = (await qd("settings", "get", "engine.max_parallel", "--json")).json
        return told["value"], told["source"]

    assert await shown() == (4, "default")
    file = tmp_path / "home" / "config" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("[engine]\nmax_parallel = 6\n")
    assert await shown() == (6, "file")
    assert (await qd("settings", "set", "engine.max_parallel", "9")).out == "engine.max_parallel is 9\n"
    assert await shown() == (9, "database")
    assert (await qd("settings", "unset", "engine.max_parallel", "--json")).json["value"] == 6
    assert await shown() == (6, "file")


async def test_every_key_is_listed_with_words(qd: CommandLine) -> None:
    told = (await qd("settings", "list", "--json")).json
    assert [setting["key"] for setting in told] == list(known_keys())
    assert all(setting["help"] for setting in told)


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("engine.max_parallel", "many", 2),
        ("engine.max_parallel", "-1", 2),
        ("engine.max_parallel", "1e9", 2),
        ("engine.max_parallel", "null", 2),
        ("engine.max_parallel", "", 2),
        pytest.param("engine.max_parallel", "[" * 100_000, 2, id="deep"),
        ("engine.lease_seconds", "NaN", 2),
        ("engine", "{}", 3),
        ("engine.max_paralel", "1", 3),
        ("", "1", 3),
        (".agents-seeded", "1", 3),
        ("database_url", "postgresql://h/d", 2),
    ],
)
async def test_a_wrong_value_is_refused_at_once(qd: CommandLine, key: str, value: str, code: int) -> None:
    outcome = await qd("settings", "set", key, "--", value)
    assert outcome.code == code
    assert outcome.err.count("\n") == 1
    assert len(outcome.err) < 400
    assert all(setting["source"] == "default" for setting in (await qd("settings", "list", "--json")).json)


async def test_no_limit_can_be_set(qd: CommandLine) -> None:
    assert (await qd("settings", "set", "run.wall_seconds", "null", "--json")).json["value"] is None
    assert (await qd("settings", "get", "run.wall_seconds", "--json")).json["source"] == "database"


async def test_the_password_of_the_database_is_never_shown(qd: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('database_url = "postgresql://me:secret@h/d"\n')
    outcome = await qd("settings", "list", "--json", QD_CONFIG=str(file))
    assert "me:***@h" in outcome.out
    assert "secret" not in outcome.out


async def test_a_change_rings_and_the_next_reading_has_it(qd: CommandLine, dsn: str) -> None:
    heard: asyncio.Queue[frozenset[str]] = asyncio.Queue()
    feed = ChangeFeed(dsn, heard.put_nowait)
    listening = asyncio.create_task(feed.run())
    db = await Database.open(dsn)
    who = Principal("engine:test", Role.ENGINE)
    try:
        async with asyncio.timeout(30):
            assert await heard.get() == {"*"}
            await qd("settings", "set", "engine.retry_seconds", "1.5")
            assert {"settings", "settings:engine.retry_seconds"} <= await heard.get()
        assert (await load_settings(db, who, resolve_paths(qd.environ), qd.environ)).engine.retry_seconds == 1.5
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await db.close()


async def test_a_row_of_another_version_stops_nobody(qd: CommandLine, dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("insert into setting values ('later.key', '1'), ('engine.max_parallel', '\"x\"')")
    finally:
        await connection.close()
    assert (await qd("settings", "get", "engine.max_parallel", "--json")).json["value"] == 4
    assert (await qd("status")).code == 0


async def test_the_whole_queue_is_paused_and_resumed(qd: CommandLine) -> None:
    assert (await qd("queue", "pause", "--json")).json["paused"] is True
    assert (await qd("queue", "show", "--json")).json == {"paused": True, "tasks": {}, "running": 0, "engines": 0}
    assert (await qd("settings", "get", "queue.paused", "--json")).json["value"] is True
    assert (await qd("queue", "resume")).out == "the queue is open\n"
    assert (await qd("queue", "show", "--json")).json["paused"] is False
