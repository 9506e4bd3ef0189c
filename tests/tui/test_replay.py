"""Recording what happens, and playing it: the same rows, the same screen, at any moment."""

import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from config.errors import UsageError
from config.paths import Paths
from core.recording import Player, Recorder, read_recording
from storage.database import Database
from storage.queries.recording import BY_NAME, CLOCK, read_rows
from tests.postgres import database
from tests.tui.screen_kit import seen
from tests.tui.terminal import terminal
from tests.tui.world import ANN, settle_in
from tui.app import Choices
from tui.replay import Replay, ReplayApp, ReplayBar, replay_app
from tui.screens.run_screen import RunScreen
from tui.themes import PALETTES
from tui.widgets.log_view import LogView

BEGAN = datetime(2026, 5, 6, 14, 30, tzinfo=UTC)


class Clock:
    """A time that goes on when it is told to."""

    def __init__(self) -> None:
        self.at = BEGAN

    def __call__(self) -> datetime:
        return self.at

    def pass_seconds(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture
async def empty_database(server: Paths, _template: str) -> AsyncIterator[str]:
    """A second database with our schema and the clock of a replay."""
    async with database(server, _template) as dsn:
        connection = await asyncpg.connect(dsn)
        await connection.execute(CLOCK)
        await connection.close()
        yield dsn


async def record_a_little(dsn: str, out: io.StringIO) -> None:
    """A world, and three things that happen in it: at 1, 2 and 3 seconds."""
    clock = Clock()
    recorder = Recorder(out, clock, {"/srv/harbour": "/elsewhere"})
    db = await Database.open(dsn)
    try:
        async with db.connection() as connection:
            await settle_in(connection)
            await connection.execute("update agent set env = $1, api_key_hash = 'geheim'", {"KEY": "geheim"})
        await recorder.look(db, ANN)
        for statement in (
            "insert into event (run, seq, kind, text) values (1, 1, 'message', 'said at one')",
            "update run set cost_usd = 7, events = 1 where number = 1",
            "delete from task_after where child = 12",
        ):
            clock.pass_seconds(1)
            async with db.connection() as connection:
                await connection.execute(statement)
            await recorder.look(db, ANN)
    finally:
        await db.close()


@pytest.fixture
async def recording(migrated_database: str, tmp_path: Path) -> Path:
    """The file of :func:`record_a_little`."""
    out = io.StringIO()
    await record_a_little(migrated_database, out)
    path = tmp_path / "made.jsonl"
    path.write_text(out.getvalue())
    return path


def hidden(rows: object) -> str:
    """Rows as text, with what the recording stands in for."""
    return json.dumps(sorted(map(str, rows.values()))).replace("/srv/harbour", "/elsewhere")


async def state(dsn: str) -> dict[str, object]:
    """All rows of a database, as a recording has them."""
    db = await Database.open(dsn)
    try:
        async with db.connection() as connection:
            return {name: await read_rows(connection, table) for name, table in BY_NAME.items()}
    finally:
        await db.close()


async def test_a_recording_brings_back_every_row(recording, migrated_database, empty_database):
    db = await Database.open(empty_database)
    try:
        await Player(db, ANN, read_recording(recording)).go_to(3)
    finally:
        await db.close()
    was, now = await state(migrated_database), await state(empty_database)
    for name in BY_NAME:
        assert hidden(was[name]) == hidden(now[name]), name


async def test_it_plays_on_and_back_to_any_moment(recording, empty_database):
    db = await Database.open(empty_database)
    try:
        player = Player(db, ANN, read_recording(recording))
        seen = []
        for moment in (0.0, 1.0, 2.5, 3.0, 1.5, 0.5, 2.0):
            await player.go_to(moment)
            async with db.connection() as connection:
                said = await connection.fetchval("select count(*) from event where text = 'said at one'")
                cost = await connection.fetchval("select cost_usd from run where number = 1")
                waits = await connection.fetchval("select count(*) from task_after where child = 12")
                now = await connection.fetchval("select clock_timestamp()")
            assert now == player.recording.began + timedelta(seconds=moment)
            seen.append((said, int(cost) == 7, waits))
    finally:
        await db.close()
    assert seen == [
        (0, False, 1),
        (1, False, 1),
        (1, True, 1),
        (1, True, 0),
        (1, False, 1),
        (0, False, 1),
        (1, True, 1),
    ]


async def test_no_secret_and_no_place_of_this_machine_is_in_the_file(recording):
    text = recording.read_text()
    assert "geheim" not in text
    assert "/srv/harbour" not in text
    assert "harbour-1" not in text
    assert "/elsewhere" in text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "no json",
        '{"quarterdeck": "recording", "format": 2, "began": "2026-01-01T00:00:00Z"}',
        '{"quarterdeck": "recording", "format": 1, "began": "2026-01-01T00:00:00"}',
        '{"quarterdeck": "recording", "format": 1, "began": "2026-01-01T00:00:00Z"}\n{"at": 1, "topic": "pg_authid", "row": {}}',
        '{"quarterdeck": "recording", "format": 1, "began": "2026-01-01T00:00:00Z"}\n{"at": "x", "topic": "task", "row": {}}',
        '{"quarterdeck": "recording", "format": 1, "began": "2026-01-01T00:00:00Z"}\n{"at": NaN, "topic": "task", "row": {}}',
        '{"quarterdeck": "recording", "format": 1, "began": "2026-01-01T00:00:00Z"}\n{"at": 1e300, "topic": "task", "row": {}}',
        '{"quarterdeck": "recording", "format": 1, "began": "9999-12-31T23:59:59Z"}\n{"at": 9, "topic": "task", "row": {}}',
    ],
)
def test_what_is_no_recording_is_refused_in_words(tmp_path, text):
    path = tmp_path / "made.jsonl"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"made\.jsonl"):
        read_recording(path)


@pytest.mark.parametrize(
    "row",
    [
        '{"number": "x"}',
        '{"number": 1, "status": "no such state"}',
        '{"number": 1, "x; drop table task": 1}',
        '{"project": "a\\u0000b"}',
    ],
)
async def test_rows_that_do_not_fit_are_refused_and_do_no_harm(tmp_path, empty_database, row):
    path = tmp_path / "made.jsonl"
    head = '{"quarterdeck": "recording", "format": 1, "began": "2026-01-01T00:00:00Z"}'
    path.write_text(head + f'\n{{"at": 1, "topic": "task", "row": {row}}}\n')
    db = await Database.open(empty_database)
    try:
        with pytest.raises(UsageError, match="does not fit"):
            await Player(db, ANN, read_recording(path)).go_to(2)
        async with db.connection() as connection:
            assert await connection.fetchval("select count(*) from task") == 0
    finally:
        await db.close()


async def test_pause_step_and_speed(recording, empty_database):
    db = await Database.open(empty_database)
    try:
        replay = Replay(Player(db, ANN, read_recording(recording)))
        await replay.step(1)
        assert (replay.playing, replay.at) == (False, 1.0)
        await replay.step(1)
        await replay.step(-1)
        assert replay.at == 1.0
        await replay.seek(99)
        assert replay.at == 3.0
        replay.faster(1)
        assert replay.speed == 2.0
        replay.faster(-10)
        assert replay.speed == 0.25
        replay.toggle()
        assert (replay.playing, replay.at) == (True, 0.0)
    finally:
        await db.close()


async def test_the_screen_shows_a_recording_as_it_shows_a_day(recording, empty_database, tmp_path):
    async with (
        replay_app(read_recording(recording), empty_database, {}, tmp_path, Choices(readonly=True)) as app,
        app.run_test(size=(120, 40)) as pilot,
    ):
        await app.store.ready()
        app.replay.playing = False
        app.open("run", run="1.1")
        await app.replay.seek(3)
        screen = app.screen
        assert isinstance(screen, RunScreen)
        await until(pilot, lambda: "said at one" in screen.query_one(LogView).visible_text())
        assert screen.picture is not None
        await until(pilot, lambda: int(screen.picture.run.cost_usd) == 7)
        await pilot.press("backspace")
        await until(pilot, lambda: "said at one" not in screen.query_one(LogView).visible_text())
        assert app.replay.at == 0
        await pilot.press(".")
        await until(pilot, lambda: "said at one" in screen.query_one(LogView).visible_text())
        assert isinstance(app, ReplayApp)


async def test_a_moment_that_does_not_fit_is_said_and_the_screen_stays(recording, empty_database, tmp_path):
    with recording.open("a") as file:
        file.write('{"at": 3.5, "topic": "task", "row": {"number": 1, "status": "no such state"}}\n')
    async with (
        replay_app(read_recording(recording), empty_database, {}, tmp_path, Choices(readonly=True), speed=100) as app,
        app.run_test(size=(120, 40)) as pilot,
    ):
        await until(pilot, lambda: app.said is not None and "does not fit" in app.said[1])
        assert (app.replay.playing, app.replay.at < 3.5) == (False, True)
        assert app.is_running


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])
async def test_its_line_takes_its_place_from_the_panels_and_covers_nothing(recording, empty_database, tmp_path, size):
    async with (
        replay_app(read_recording(recording), empty_database, {}, tmp_path, Choices(readonly=True)) as app,
        app.run_test(size=size) as pilot,
    ):
        await app.store.ready()
        app.replay.playing = False
        await until(pilot, lambda: " paused" in seen(app).splitlines()[-2])
        bottoms = [panel.region.bottom for panel in app.screen.query("Panels > *") if panel.display]
        assert max(bottoms) == app.screen.query_one(ReplayBar).region.y == size[1] - 2


def test_it_is_started_as_every_screen(recording, world_environ, server):
    environ = world_environ | {"QD_HOME": str(server.state.parent)}
    config = server.config / "keymap.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text('[keys]\n"replay.pause" = "K"\n')
    try:
        with terminal(environ, "replay", str(recording), "--theme", "light", size=(120, 40)) as screen:
            screen.wait("K pause", 60)
            screen.send("K")
            screen.wait("paused")
            assert screen.cells()[5][60].bg == PALETTES["light"].ground.removeprefix("#")
            screen.send("Q")
            assert screen.ended() == 0
    finally:
        config.unlink()


@pytest.mark.parametrize(
    ("options", "words"),
    [(("--theme", "pink"), "there is no theme 'pink'"), ((), "the keymap")],
    ids=["theme", "keymap"],
)
def test_what_is_wrong_with_its_start_is_said_in_words(recording, world_environ, home, options, words):
    if not options:
        (home / "config").mkdir(parents=True, exist_ok=True)
        (home / "config" / "keymap.toml").write_text('[keys]\n"replay.pause" = "."\n')
    with terminal(world_environ, "replay", str(recording), *options) as screen:
        screen.wait(words)
        assert screen.ended() == 2


async def until(pilot, true):
    """Wait until something is so, ten seconds at most."""
    for _ in range(200):
        if true():
            return
        await pilot.pause(0.05)
    raise AssertionError("it did not come to pass")
