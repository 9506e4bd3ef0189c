"""What the screen of one run shows besides its log: its task, its checks in every round, and what it was told."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from storage.queries.runs import Run, find_number, run_by_number


@dataclass(frozen=True, slots=True)
class GateRow:
    """One check of one round, and how it ended. ``output``: the end of what it said."""

    round: int
    command: str
    status: str
    exit_code: int | None
    seconds: float
    output: str
    at: datetime


@dataclass(frozen=True, slots=True)
class InputRow:
    """Something that the run was told while it ran."""

    seq: int
    kind: str
    data: Mapping[str, Any]
    actor: str
    created_at: datetime
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True)
class RunPicture:
    """A run with its surroundings."""

    number: int
    run: Run
    title: str
    description: str
    max_attempts: int
    state: str
    """Of the task."""
    colour: str | None
    """Of the project."""
    folder: str
    """On the host of its engine: the prompt, the spools, the exit record."""
    gates: tuple[GateRow, ...]
    inputs: tuple[InputRow, ...]

    @property
    def paused(self) -> bool:
        """Whether a person holds it: the last word about that was to pause."""
        last = next((row.kind for row in reversed(self.inputs) if row.kind in ("pause", "resume")), "")
        return self.run.live and last == "pause"


async def picture(connection: asyncpg.Connection, name: str) -> RunPicture:
    """All of it, by name (``42.2``, its id, or its task). Raises :class:`config.errors.NotFoundError`.

    Everything is looked up by primary key; the last two hundred inputs.
    """
    number = await find_number(connection, name)
    run = await run_by_number(connection, number)
    row = await connection.fetchrow(
        """select b.title, b.description, t.max_attempts, t.status::text as state, p.primary_colour, r.folder
             from run r join task t on t.number = r.task join task_body b on b.task = r.task
             left join project p on p.id = r.project where r.number = $1""",
        number,
    )
    gates = await connection.fetch(
        """select round, command, status, exit_code, seconds, right(output, 20000) as output, at
             from gate where run = $1 order by round, position limit 200""",
        number,
    )
    inputs = await connection.fetch(
        """select seq, kind, data, actor, created_at, delivered_at from run_input where run = $1 order by seq desc limit 200""",
        number,
    )
    return RunPicture(
        number=number,
        run=run,
        title=row["title"] if row else "",
        description=row["description"] if row else "",
        max_attempts=row["max_attempts"] if row else 0,
        state=row["state"] if row else "",
        colour=row["primary_colour"] if row else None,
        folder=row["folder"] if row else "",
        gates=tuple(GateRow(**gate) for gate in gates),
        inputs=tuple(InputRow(**told) for told in reversed(inputs)),
    )
