"""A recording on the screen: played into a database of its own, which the screen shows as it shows any other.

So everything works as in life: places, filters, logs and searches. The clock of the screen is that of the recording. It
is read-only, and nothing of it is left afterwards.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg

from config.errors import QuarterdeckError
from config.paths import Paths, resolve_paths
from config.settings import Settings
from core.commands.table import Context
from core.recording import Player, Recording, read_recording
from storage.database import Database, Principal, Role
from storage.migrate import migrate
from storage.queries.recording import CLOCK
from storage.server import ensure_server, server_dsn
from tui.actions import Place, Registry, registry
from tui.app import Choices, QuarterdeckApp
from tui.ink import Part
from tui.lifeline import Lifeline
from tui.memory import Memory
from tui.start import farewell, prepare, run
from tui.store import Store
from tui.widgets.bars import Bar

SPEEDS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0)
_TICK_SECONDS = 0.1
_VIEWER = Principal("user:replay", Role.VIEWER)


class Replay:
    """Where in a recording the screen is, and how it goes on."""

    def __init__(self, player: Player, *, speed: float = 1.0) -> None:
        self.player = player
        self.recording: Recording = player.recording
        self.at = 0.0
        self.playing = True
        self.speed = speed
        self._changed = asyncio.Event()
        self._going = asyncio.Lock()

    def now(self) -> datetime:
        """The time of the recording."""
        return self.recording.began + timedelta(seconds=self.at)

    async def run(self) -> None:
        """Go on until cancelled."""
        last = time.monotonic()
        while True:
            if not self.playing or self.at >= self.recording.seconds:
                self._changed.clear()
                await self._changed.wait()
                last = time.monotonic()
            await asyncio.sleep(_TICK_SECONDS)
            now = time.monotonic()
            if self.playing:
                await self.seek(self.at + (now - last) * self.speed)
            last = now

    async def seek(self, to: float) -> None:
        """Go to a moment, in seconds. Raises :class:`QuarterdeckError` and stays where it is for rows that do not fit."""
        async with self._going:
            before, self.at = self.at, max(0.0, min(to, self.recording.seconds))
            try:
                await self.player.go_to(self.at)
            except QuarterdeckError:
                self.at, self.playing = before, False
                raise

    async def step(self, by: int) -> None:
        """Stop, and go to the next moment at which something changes, or to the one before."""
        self.playing = False
        moments = sorted({change.at for change in self.recording.changes})
        ahead = [at for at in moments if (at > self.at if by > 0 else at < self.at)]
        if ahead:
            await self.seek(ahead[0 if by > 0 else -1])

    def toggle(self) -> None:
        """Stop, or go on; from the beginning when it is over."""
        self.playing = not self.playing or self.at >= self.recording.seconds
        if self.playing and self.at >= self.recording.seconds:
            self.at = 0.0
        self._changed.set()

    def faster(self, by: int) -> None:
        """Another speed."""
        nearest = min(range(len(SPEEDS)), key=lambda n: abs(SPEEDS[n] - self.speed))
        self.speed = SPEEDS[max(0, min(nearest + by, len(SPEEDS) - 1))]


class ReplayBar(Bar):
    """Where the recording is."""

    DEFAULT_CSS = "ReplayBar { height: 1; background: $qd-raised; }"

    def parts(self, width: int) -> tuple[list[Part], list[Part]]:
        """State, time, bar, speed; the keys."""
        app, ink = self.app, self.ink
        assert isinstance(app, ReplayApp)
        replay = app.replay
        total = replay.recording.seconds
        over = replay.at >= total
        word = "over" if over else "playing" if replay.playing else "paused"
        sign = ink.glyph("mark") if replay.playing and not over else ink.state("paused")[0][0]
        left: list[Part] = [(f" {sign} {word:<8}", "warn bold"), (f"{_clock(replay.at)} of {_clock(total)} ", "text")]
        left += ink.bar(replay.at / total if total else 1.0, max(4, min(30, width - 60)), "focus")
        left.append((f"  {replay.speed:g}{ink.glyph('times')}", "text"))
        keys = app.registry.keys_of
        right: list[Part] = []
        for id_, words in (
            ("replay.pause", "pause"),
            ("replay.forward", "seek"),
            ("replay.step", "step"),
            ("replay.faster", "faster"),
        ):
            right += [(f" {keys(id_)}", "focus bold"), (f" {words}", "dim")]
        return left, [*right, (" ", "")] if width >= 90 else []


class ReplayApp(QuarterdeckApp):
    """The screen over a recording."""

    replay: Replay

    def place(self) -> Place:
        """Where the person is; the keys of the replay come first."""
        at = super().place()
        scopes = ("replay", *at.scopes)
        return Place(at.app, at.screen, at.panel, scopes, at.subject, at.marked, at.count)

    async def on_mount(self) -> None:
        """Begin to play."""
        await super().on_mount()
        self.run_worker(self._play(), name="replay", group="replay", exit_on_error=True)
        self.set_interval(0.5, self.repaint_bars)

    async def _play(self) -> None:
        """Play until the end of the screen; a moment that cannot be shown is said, and it stops before it."""
        while True:
            try:
                await self.replay.run()
            except QuarterdeckError as error:
                self.say(error.message, "bad", error.hint)

    def more_bars(self) -> list[Bar]:
        """Where the recording is."""
        return [ReplayBar()]


@asynccontextmanager
async def scratch_database(paths: Paths) -> AsyncIterator[str]:
    """The dsn of a new database with our schema on the embedded server, dropped afterwards."""
    name = f"replay_{uuid.uuid4().hex[:8]}"
    await ensure_server(paths)
    await _administer(paths, f'create database "{name}"')
    try:
        dsn = server_dsn(paths, name)
        await migrate(dsn)
        await _execute(dsn, CLOCK)
        yield dsn
    finally:
        await _administer(paths, f'drop database if exists "{name}" with (force)')


@asynccontextmanager
async def replay_app(
    recording: Recording,
    dsn: str,
    environ: Mapping[str, str],
    folder: Path,
    choices: Choices,
    *,
    keys: Registry | None = None,
    speed: float = 1.0,
) -> AsyncIterator[ReplayApp]:
    """The app over a recording that is played into the database ``dsn``; ``folder`` is for what the screen writes.

    Nothing of how it is arranged is remembered: a recording has other projects and tasks than the person.
    """
    owner = await Database.open(dsn, most=1)
    db = await Database.open(dsn)
    try:
        replay = Replay(Player(owner, Principal("user:replay", Role.ADMIN), recording), speed=speed)
        await replay.seek(0.0)
        where = Paths(config=folder / "config", state=folder, database=folder / "database")
        context = Context(db, _VIEWER, where, Settings(), environ, folder, None, replay.now)

        @asynccontextmanager
        async def opened() -> AsyncIterator[Context]:
            yield context

        store = Store(opened, readonly=True, pace=1.0 if choices.low_bandwidth else 0.1, now=replay.now)
        lifeline = Lifeline(where.logs, starts_engine=False, bell=False, on_terminal=False)
        app = ReplayApp(store, keys or registry(), choices, Memory(None), lifeline)
        app.replay = replay
        yield app
    finally:
        await owner.close()
        await db.close()


async def open_replay(
    file: Path, environ: Mapping[str, str], *, speed: float = 1.0, theme: str = "", low_bandwidth: bool = False
) -> int:
    """Play a recording on the screen until the person leaves; the exit code.

    Raises :class:`config.errors.UsageError` for what is no recording, and for a keymap that is wrong.
    """
    recording = read_recording(file)
    paths = resolve_paths(environ)
    setup = await prepare(paths, environ, readonly=True, low_bandwidth=low_bandwidth, theme=theme)
    async with (
        scratch_database(paths) as dsn,
        replay_app(recording, dsn, environ, paths.state, setup.choices, keys=setup.registry, speed=speed) as app,
    ):
        app.lifeline.on_terminal = True
        await run(app)
    return farewell(app)


async def _administer(paths: Paths, statement: str) -> None:
    await _execute(server_dsn(paths, "postgres"), statement)


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"
