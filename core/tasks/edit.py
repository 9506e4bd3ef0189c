"""Changes to a task that exists: what may be edited in which state, and what an edit makes of the state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from config.errors import ConflictError, NotFoundError, UsageError
from core.tasks.dag import cycle_words, find_cycle
from core.tasks.states import TaskStatus
from storage.queries import tasks as rows
from storage.queries.queue import next_date

_S = TaskStatus
_NOT_BEGUN = frozenset({_S.PENDING, _S.BLOCKED, _S.WAITING})
_UNHELD = frozenset(_S) - {_S.IN_PROGRESS, _S.COMPLETED}

EDITABLE: Mapping[str, frozenset[TaskStatus]] = {
    "title": frozenset(_S),
    "description": frozenset(_S),
    "priority": frozenset(_S) - {_S.COMPLETED},
    "max_attempts": frozenset(_S) - {_S.COMPLETED},
    "max_cost_usd": frozenset(_S) - {_S.COMPLETED},
    "on_failure": frozenset(_S) - {_S.COMPLETED},
    "deadline": frozenset(_S) - {_S.COMPLETED},
    "agent": _UNHELD,
    "paths": _UNHELD,
    "after": _UNHELD - {_S.REVIEW},
    "not_before": _NOT_BEGUN,
    "cron": frozenset({_S.WAITING}),
}
"""In which states a field may be edited: never what the crew is relying on at that moment."""

_WORDS = {"paths": "path", "max_cost_usd": "max-cost", "not_before": "not-before", "max_attempts": "max-attempts"}


@dataclass(frozen=True, slots=True)
class Edit:
    """The fields of a task that are to change, by name; ``now`` is the time that dates are held against."""

    fields: Mapping[str, Any]
    now: datetime


async def edit_task(connection: asyncpg.Connection, number: int, edit: Edit) -> None:
    """Change fields of a task in one transaction of the caller.

    Raises ConflictError for a field that cannot be edited in the present state and for dependencies that would close a
    cycle, NotFoundError for an unknown agent, UsageError for dates that cannot be.
    """
    fields = edit.fields
    if "after" in fields:
        await rows.lock_graph(connection)
        await _rewire(connection, number, fields["after"])
    elif "not_before" in fields:
        await rows.hold_parents(connection, number)
    held = await rows.lock(connection, number)
    if held is None:
        raise NotFoundError(f"there is no task #{number}", "see `qd task list`")
    _check_states(number, TaskStatus(held["status"]), fields)
    await _check_values(connection, number, held, edit)
    await rows.update(
        connection, number, {name: value for name, value in fields.items() if name not in ("after", "not_before")}
    )
    await _settle(connection, number, held, edit)
    await rows.touch(connection, number)


async def _rewire(connection: asyncpg.Connection, number: int, parents: Sequence[int]) -> None:
    cycle = find_cycle(await rows.edges_above(connection, parents), number, parents)
    if cycle:
        raise ConflictError(
            f"task #{number} cannot wait for {_numbers(parents)}: that closes the circle {cycle_words(cycle)}",
            "leave one of these dependencies out",
        )
    if not await rows.statuses(connection, [number]):
        return
    states = await rows.rewire(connection, number, parents)
    lost = [parent for parent, status in states.items() if status in (_S.FAILED, _S.CANCELLED)]
    if lost:
        raise ConflictError(
            f"task #{number} cannot wait for {_numbers(lost)}, which did not succeed",
            f"first `qd task retry {lost[0]}`",
        )


def _check_states(number: int, status: TaskStatus, fields: Mapping[str, Any]) -> None:
    for name in fields:
        if status not in EDITABLE[name]:
            words = status.value.replace("_", " ")
            raise ConflictError(
                f"{_WORDS.get(name, name)} of task #{number} cannot be edited while it is {words}",
                "cancel it first, or wait for its end" if status is _S.IN_PROGRESS else "add a new task",
            )


async def _check_values(connection: asyncpg.Connection, number: int, held: asyncpg.Record, edit: Edit) -> None:
    fields = edit.fields
    if fields.get("agent") and not await rows.agent_exists(connection, fields["agent"]):
        raise NotFoundError(f"there is no agent {fields['agent']!r}", "see `qd agent list`")
    recurs = held["cron"] is not None
    if recurs and ("after" in fields or "not_before" in fields):
        raise ConflictError(f"task #{number} recurs: its dates come from {held['cron']!r}", "edit its cron expression")
    if "cron" in fields and not recurs:
        raise ConflictError(f"task #{number} does not recur", "add a new task with --cron")
    for_person = held["status"] == _S.WAITING and held["wait"] != "time"
    if for_person and ("after" in fields or "not_before" in fields):
        what = "a person" if held["wait"] == "person" else "its budget"
        raise ConflictError(
            f"task #{number} waits for {what}, not for a time or a task",
            f"`qd task retry {number}` starts it again",
        )
    check_dates(fields.get("not_before", held["not_before"]), fields.get("deadline"), edit.now)


def check_dates(not_before: datetime | None, deadline: datetime | None, now: datetime) -> None:
    """Raise UsageError for a deadline that nothing can keep."""
    if deadline is None:
        return
    if deadline <= now:
        raise UsageError(f"deadline {deadline.isoformat()} is in the past")
    if not_before is not None and deadline <= not_before:
        raise UsageError(f"deadline {deadline.isoformat()} is not after the start at {not_before.isoformat()}")


def first_date(expression: str, now: datetime) -> datetime:
    """The first date of a cron expression (five fields, UTC) after now. Raises :class:`UsageError`."""
    from cronsim import CronSim, CronSimError

    try:
        CronSim(expression, now)
    except CronSimError as error:
        raise UsageError(f"cron {expression!r}: {error}", 'write five fields, such as "30 2 * * 1-5" (UTC)') from None
    date = next_date(expression, now)
    if date is None:
        raise UsageError(f"cron {expression!r} never comes")
    return date


async def _settle(connection: asyncpg.Connection, number: int, held: asyncpg.Record, edit: Edit) -> None:
    """Bring the state into line with dependencies and dates."""
    fields = edit.fields
    if fields.get("cron"):
        await rows.delay(connection, number, first_date(fields["cron"], edit.now))
    elif held["status"] in _NOT_BEGUN and ("after" in fields or "not_before" in fields):
        await rows.move(
            connection,
            number,
            sorted(_NOT_BEGUN),
            "pending",
            reason=held["reason"],
            not_before=fields.get("not_before", held["not_before"]),
        )


def _numbers(numbers: Sequence[int]) -> str:
    return ", ".join(f"#{number}" for number in numbers)
