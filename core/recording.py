"""Recordings: what happened in a database, as a file, and back into a database of its own.

Format, version 1: JSON lines in UTF-8. The first is the head,
``{"quarterdeck": "recording", "format": 1, "began": TIME, "program": VERSION}``. Every other line is one change:
``{"at": S, "topic": T, "row": {…}}``, where ``at`` is seconds since ``began``, ``topic`` the table (``task``, ``run``,
``event``, …) and ``row`` the whole row as it then was; a row that went is ``{"at": S, "topic": T, "gone": [KEY, …]}``.
Lines are in the order of ``at``. Environments of agents, hashes of keys and folders of the machine are left out.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

import asyncpg

from config.errors import UsageError
from core import version
from core.tasks.watch import Watch
from storage.database import Database, Principal, ring
from storage.queries import recording as rows

FORMAT = 1
_LONGEST_LINE = 64_000_000
_LONGEST_SECONDS = 366 * 86400
"""How long a recording may be: longer than anybody records, and short enough for every clock."""
_PACE_SECONDS = 0.1
"""Least seconds between two looks."""


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a recording. ``row`` is None for a row that went."""

    at: float
    topic: str
    row: Mapping[str, Any] | None
    gone: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording in memory."""

    began: datetime
    changes: tuple[Change, ...]

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.changes[-1].at if self.changes else 0.0


class Recorder:
    """Writes what has changed since the last look. ``hide`` are texts and what stands for them in the file."""

    def __init__(self, out: TextIO, now: Callable[[], datetime], hide: Mapping[str, str] | None = None) -> None:
        self._out = out
        self._now = now
        self._hide = dict(sorted((hide or {}).items(), key=lambda pair: -len(pair[0])))
        self._began: datetime | None = None
        self._known: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
        self._events: dict[int, int] = {}
        self.lines = 0

    async def look(self, db: Database, who: Principal) -> None:
        """Write what differs from the last look."""
        async with db.transaction(who) as connection:
            at = self._at()
            for table in rows.TABLES:
                found = await rows.read_rows(connection, table)
                self._tell(at, table, found)
            while events := await rows.read_events(connection, self._events):
                for event in events:
                    self._events[event["run"]] = max(event["seq"], self._events.get(event["run"], 0))
                    self._write({"at": at, "topic": "event", "row": event})
        self._out.flush()

    def _at(self) -> float:
        now = self._now()
        if self._began is None:
            self._began = now
            head = {"quarterdeck": "recording", "format": FORMAT, "began": now.isoformat(), "program": version()}
            self._out.write(json.dumps(head) + "\n")
        return round((now - self._began).total_seconds(), 3)

    def _tell(self, at: float, table: rows.Recorded, found: dict[tuple[Any, ...], dict[str, Any]]) -> None:
        known = self._known.get(table.name, {})
        for key, row in found.items():
            if known.get(key) != row:
                self._write({"at": at, "topic": table.name, "row": row})
        for key in known.keys() - found.keys():
            self._write({"at": at, "topic": table.name, "gone": list(key)})
        self._known[table.name] = found

    def _write(self, line: Mapping[str, Any]) -> None:
        text = json.dumps(line, ensure_ascii=True, separators=(",", ":"))
        for secret, stand_in in self._hide.items():
            text = text.replace(json.dumps(secret)[1:-1], json.dumps(stand_in)[1:-1])
        self._out.write(text + "\n")
        self.lines += 1


@asynccontextmanager
async def recorded(
    db: Database, who: Principal, path: Path, now: Callable[[], datetime], hide: Mapping[str, str] | None = None
) -> AsyncIterator[Recorder]:
    """Write a recording of what happens while the block runs.

    Raises :class:`UsageError` where the file cannot be written.
    """
    try:
        out = path.open("x", encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror})", "name a new file") from None
    with out:
        recorder = Recorder(out, now, hide)
        async with Watch.on(
            db.dsn, "task", "run", "event", "question", "review", "project", "engine", "queue"
        ) as watch:
            await recorder.look(db, who)
            looking = asyncio.create_task(_look_on(recorder, watch, db, who), name="recorder")
            try:
                yield recorder
            finally:
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)
        await recorder.look(db, who)


async def _look_on(recorder: Recorder, watch: Watch, db: Database, who: Principal) -> None:
    while True:
        await watch.changed(1.0)
        await recorder.look(db, who)
        await asyncio.sleep(_PACE_SECONDS)


def read_recording(path: Path) -> Recording:
    """A recording from its file. Raises :class:`UsageError` naming the line that is none of a recording."""
    try:
        with path.open("r", encoding="utf-8") as file:
            head = _object(path, 1, file.readline(_LONGEST_LINE))
            if head.get("quarterdeck") != "recording" or head.get("format") != FORMAT:
                raise UsageError(f"{path} is no recording of this program", "`qd demo --record FILE` makes one")
            began = datetime.fromisoformat(str(head["began"]))
            changes = tuple(_change(path, number, line) for number, line in enumerate(file, start=2) if line.strip())
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})", "name the file of a recording") from None
    except (UnicodeDecodeError, KeyError, ValueError):
        raise UsageError(f"{path} is no recording", "`qd demo --record FILE` makes one") from None
    if began.tzinfo is None:
        raise UsageError(f"{path} says no time zone of its beginning")
    if not 1970 <= began.year < 3000:
        raise UsageError(f"{path} begins in the year {began.year}", "`qd demo --record FILE` makes a recording")
    return Recording(began, tuple(sorted(changes, key=lambda change: change.at)))


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UsageError(f"{path}, line {number}: not a JSON object", "`qd demo --record FILE` makes a recording")
    return found


def _change(path: Path, number: int, line: str) -> Change:
    found = _object(path, number, line)
    topic, at, row = found.get("topic"), found.get("at"), found.get("row")
    gone = found.get("gone", ())
    if (
        isinstance(at, int | float)
        and 0 <= at <= _LONGEST_SECONDS
        and isinstance(topic, str)
        and topic in rows.BY_NAME
        and (isinstance(row, dict) or (row is None and isinstance(gone, list)))
    ):
        return Change(float(at), topic, row, tuple(gone))
    raise UsageError(f"{path}, line {number}: no change of a recording")


class Player:
    """Brings a database to any moment of a recording. The database must be for nothing else."""

    def __init__(self, db: Database, owner: Principal, recording: Recording) -> None:
        self._db = db
        self._owner = owner
        self.recording = recording
        self._done = 0
        self._clock = recording.began - timedelta(days=1)
        self._columns: dict[str, frozenset[str]] = {}

    async def go_to(self, seconds: float) -> None:
        """Make the database as it was so many seconds after the beginning, and ring for what has changed."""
        changes = self.recording.changes
        back = self._done > 0 and changes[self._done - 1].at > seconds
        start = 0 if back else self._done
        end = start
        while end < len(changes) and changes[end].at <= seconds:
            end += 1
        moment = self.recording.began + timedelta(seconds=seconds)
        if end == start and not back and abs((moment - self._clock).total_seconds()) < 1:
            return
        async with self._db.connection() as connection:
            try:
                async with connection.transaction():
                    if back:
                        await rows.empty(connection)
                    await self._apply(connection, changes[start:end])
                    await rows.set_clock(connection, moment)
            except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.SyntaxOrAccessError) as error:
                raise UsageError(f"the recording does not fit this program ({error})") from error
            self._done, self._clock = end, moment
            if topics := ["*"] if back else self._topics(changes[start:end]):
                await ring(connection, topics)

    async def _apply(self, connection: asyncpg.Connection, changes: Sequence[Change]) -> None:
        """Write the last state of each row, table by table."""
        last: dict[str, dict[tuple[Any, ...], Change]] = {}
        for change in changes:
            table = rows.BY_NAME[change.topic]
            key = change.gone if change.row is None else tuple(change.row.get(name) for name in table.key)
            last.setdefault(change.topic, {})[tuple(map(str, key))] = change
        for topic, found in last.items():
            table = rows.BY_NAME[topic]
            known = await self._known_columns(connection, topic)
            kept = [
                {name: value for name, value in change.row.items() if name in known}
                for change in found.values()
                if change.row is not None
            ]
            by_shape: dict[tuple[str, ...], list[dict[str, Any]]] = {}
            for row in kept:
                by_shape.setdefault(tuple(row), []).append(row)
            for group in by_shape.values():
                await rows.write_rows(connection, table, group)
            for change in found.values():
                if change.row is None:
                    await rows.delete_row(connection, table, change.gone)

    async def _known_columns(self, connection: asyncpg.Connection, table: str) -> frozenset[str]:
        """What this version of the schema has of it: recordings outlive schemas."""
        if table not in self._columns:
            found = await connection.fetch(
                """select attname from pg_attribute
                    where attrelid = $1::text::regclass and attnum > 0 and not attisdropped""",
                table,
            )
            self._columns[table] = frozenset(row["attname"] for row in found)
        return self._columns[table]

    def _topics(self, changes: Sequence[Change]) -> list[str]:
        topics: dict[str, None] = {}
        for change in changes:
            topics.update(dict.fromkeys(rows.BY_NAME[change.topic].topics))
            run = (change.row or {}).get("number" if change.topic == "run" else "run")
            if change.topic in ("run", "event", "run_input", "gate") and run is not None:
                topics[f"run:{run}"] = None
        return list(topics)
