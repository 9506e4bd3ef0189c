"""`qd record`, `qd replay`: what happened, as a file, and told again from it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar

from config.errors import UsageError
from core.commands.shown import Column
from core.commands.table import Context, Metavar, command
from core.recording import Change, read_recording, recorded
from storage.database import Role


@dataclass(frozen=True, slots=True)
class Told:
    """One thing that happened in a recording."""

    at: datetime
    what: str
    name: str
    text: str
    columns: ClassVar[tuple[Column, ...]] = (
        Column("time", "at", "time"),
        Column("what", "what", "key"),
        Column("name", "name"),
        Column("text", "text"),
    )
    empty: ClassVar[str] = "Nothing happens in this recording."


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a recording is."""

    at: datetime
    changes: int
    columns: ClassVar[tuple[Column, ...]] = (Column("time", "at", "time"), Column("changes", "changes", "count"))


@command("record", role=Role.SUPERVISOR)
async def record(
    ctx: Context,
    file: Annotated[Path, "A new file"],
    *,
    seconds: Annotated[float | None, "Stop after so long; without it, when interrupted"] = None,
) -> AsyncIterator[Progress]:
    """Record what happens, for `qd replay`.

    The file holds tasks, runs, their events and texts as they are; environments of agents and keys are left out.
    """
    if seconds is not None and seconds <= 0:
        raise UsageError(f"seconds {seconds}: must be more than 0")
    end = None if seconds is None else ctx.now() + timedelta(seconds=seconds)
    async with recorded(ctx.db, ctx.who, ctx.cwd / file, ctx.now) as recorder:
        yield Progress(ctx.now(), recorder.lines)
        while end is None or ctx.now() < end:
            await asyncio.sleep(5.0 if end is None else max(0.0, min(5.0, (end - ctx.now()).total_seconds())))
            yield Progress(ctx.now(), recorder.lines)


@command("replay", role=Role.VIEWER, offline=True, screen=True)
async def replay(
    ctx: Context,
    file: Annotated[Path, "A recording, as `qd record FILE` and `qd demo --record FILE` write it"],
    *,
    headless: Annotated[bool, "Print what happens, also on a terminal"] = False,
    speed: Annotated[float, "So many times as fast", Metavar("TIMES")] = 1.0,
) -> AsyncIterator[Told]:
    """Play a recording: on a terminal in the screen, with pause, step, seek and speed; else as text, at once."""
    del headless, speed  # the face has seen to it: here everything is told, not shown
    recording = read_recording(ctx.cwd / file)
    seen: dict[str, str] = {}
    names: dict[Any, str] = {}
    for change in recording.changes:
        found = _told(change, seen, names)
        if found is not None:
            yield Told(recording.began + timedelta(seconds=change.at), *found)


def _told(change: Change, seen: dict[str, str], names: dict[Any, str]) -> tuple[str, str, str] | None:
    """What a change says to a person: events, and other states of tasks and runs."""
    row: Mapping[str, Any] = change.row or {}
    if change.topic == "event":
        kind = str(row.get("kind", ""))
        return None if kind == "usage" else (kind, names.get(row.get("run"), ""), str(row.get("text", "")))
    if change.topic == "run":
        names[row.get("number")] = f"{row.get('task')}.{row.get('attempt')}"
    if change.topic not in ("task", "run"):
        return None
    name = f"#{row.get('number')}" if change.topic == "task" else names[row.get("number")]
    status = str(row.get("status", ""))
    if seen.get(change.topic + name) == status:
        return None
    seen[change.topic + name] = status
    return change.topic, name, status
