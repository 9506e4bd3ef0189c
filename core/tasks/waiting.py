"""Waiting until tasks have left the crew's hands."""

import asyncio
from collections.abc import Callable, Sequence

from config.errors import QuarterdeckError
from core.tasks.states import OUT_OF_HANDS, TaskStatus
from core.tasks.watch import Watch
from storage.database import Database, Principal
from storage.queries import tasks as rows
from storage.queries.status import engines
from storage.queries.tasks import Task, TaskName

_GOOD = frozenset({TaskStatus.COMPLETED, TaskStatus.REVIEW})


async def wait_for(
    db: Database,
    who: Principal,
    names: Sequence[TaskName],
    timeout: float | None,  # noqa: ASYNC109 - an option of a command
    note: Callable[[str], object],
) -> list[Task]:
    """The tasks, once each is completed or in review; ``timeout`` in seconds. ``note`` is told what holds all of it up.

    Raises QuarterdeckError, naming each, when one failed, was cancelled or deleted once all have left the crew's hands,
    or when the time is up; NotFoundError for an unknown task.
    """
    async with db.transaction(who) as connection:
        numbers = await rows.resolve(connection, names)
    if not await _open(db, who, numbers):
        return await _result(db, who, numbers)
    async with db.transaction(who) as connection:
        if not any(engine.alive for engine in await engines(connection)):
            note("no engine is running, nothing goes on; start one with `qd up`")
    loop = asyncio.get_running_loop()
    end = None if timeout is None else loop.time() + timeout
    async with Watch.on(db.dsn, *(f"task:{number}" for number in numbers), *_FOLLOWED_BY_MANY) as watch:
        while True:
            rung = await watch.changed(None if end is None else max(0.0, end - loop.time()))
            left = await _open(db, who, numbers)
            if not left:
                return await _result(db, who, numbers)
            if not rung:
                words = ", ".join(f"task #{number} ({status.replace('_', ' ')})" for number, status in left.items())
                raise QuarterdeckError(
                    f"the time is up; not done: {words}", f"`qd task show {next(iter(left))}` says why"
                )


_FOLLOWED_BY_MANY = ("task",)
"""The end of one task can end others, for which no bell of their own rings."""


async def _open(db: Database, who: Principal, numbers: Sequence[int]) -> dict[int, str]:
    async with db.transaction(who) as connection:
        states = await rows.statuses(connection, numbers)
    return {number: states[number] for number in numbers if number in states and states[number] not in OUT_OF_HANDS}


async def _result(db: Database, who: Principal, numbers: Sequence[int]) -> list[Task]:
    async with db.transaction(who) as connection:
        tasks = await rows.tasks_by_number(connection, numbers)
    gone = set(numbers) - {task.number for task in tasks}
    words = [f"task #{number} was deleted" for number in sorted(gone)]
    words += [
        f"task #{task.number} {'failed' if task.status == TaskStatus.FAILED else 'was cancelled'}"
        + (f": {task.reason}" if task.reason else "")
        for task in tasks
        if task.status not in _GOOD
    ]
    if words:
        number = next((task.number for task in tasks if task.status not in _GOOD), None)
        raise QuarterdeckError("; ".join(words), f"`qd run logs {number}` shows what happened" if number else "")
    return tasks
