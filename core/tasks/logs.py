"""The log of a run as a stream: what is there, and with ``follow`` what comes, each event once and in order."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

from core.tasks.states import OUT_OF_HANDS
from core.tasks.watch import Watch
from storage.database import Database, Principal
from storage.queries import runs, tasks
from storage.queries.runs import RunEvent

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which events. ``since``: only later numbers, ``most``: at most so many, ``tail``: only the last so many."""

    kinds: Sequence[str] = ()
    since: int = 0
    most: int | None = None
    tail: int | None = None


async def log_of(db: Database, who: Principal, name: str, query: LogQuery) -> AsyncGenerator[RunEvent]:
    """What happened in a run so far. Paged by number: a million events take the memory of one page."""
    async with db.transaction(who) as connection:
        run = await runs.find_number(connection, name)
    reader = _Reader(db, who, run, await _from_tail(db, who, run, query))
    async for event in reader.rest():
        yield event


async def follow_log(db: Database, who: Principal, name: str, query: LogQuery) -> AsyncGenerator[RunEvent]:
    """What happened in a run and what happens, until it has ended and all was told.

    A task that has no run yet is waited for, until it is clear that none will come.
    """
    run = await _begun(db, who, name)
    if run is None:
        return
    async with Watch.on(db.dsn, f"run:{run}") as watch:
        reader = _Reader(db, who, run, await _from_tail(db, who, run, query))
        while True:
            async for event in reader.rest():
                yield event
            if reader.done:
                return
            await watch.changed()


async def _begun(db: Database, who: Principal, name: str) -> int | None:
    """The number of the run, once there is one. None: the task left the crew's hands without."""
    async with db.transaction(who) as connection:
        if not name.isdecimal() or await runs.latest(connection, int(name)) is not None:
            return await runs.find_number(connection, name)
        [task] = await tasks.resolve(connection, [int(name)])
    async with Watch.on(db.dsn, f"task:{task}", "task") as watch:
        while True:
            async with db.transaction(who) as connection:
                state = (await tasks.statuses(connection, [task])).get(task)
                run = await runs.latest(connection, task)
            if run is not None or state is None or state in OUT_OF_HANDS:
                return run
            await watch.changed()


async def _from_tail(db: Database, who: Principal, run: int, query: LogQuery) -> LogQuery:
    if query.tail is None:
        return query
    async with db.transaction(who) as connection:
        start = await runs.before_the_last(connection, run, query.tail, query.kinds)
    return replace(query, since=max(query.since, start))


class _Reader:
    """Remembers how far a run's log was read."""

    def __init__(self, db: Database, who: Principal, run: int, query: LogQuery) -> None:
        self._db = db
        self._who = who
        self._run = run
        self._kinds = query.kinds
        self._seq = query.since
        self._left = query.most
        self.done = False
        """Whether nothing can follow."""

    async def rest(self) -> AsyncGenerator[RunEvent]:
        """All that is there and was not read yet.

        How far the run is is read before the events: what it says is visible to the page that follows, so that a run
        that had ended has told everything, and numbers up to there need no second look, whatever their kind.
        """
        while not self.done:
            async with self._db.transaction(self._who) as connection:
                progress = await runs.progress(connection, self._run)
                limit = _PAGE if self._left is None else min(_PAGE, self._left)
                page = await runs.event_page(connection, self._run, since=self._seq, kinds=self._kinds, limit=limit)
            for event in page:
                self._seq = event.seq
                yield event
            if self._left is not None:
                self._left -= len(page)
            if self._left == 0:
                self.done = True
            if len(page) == limit:
                continue
            self._seq = max(self._seq, progress.events)
            self.done = self.done or progress.ended
            return
