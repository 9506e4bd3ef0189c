"""Follows an agent from its first line to its last: spool → events → database, and the watch on silence and cost."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from config.errors import QuarterdeckError
from core.agents.adapter import Adapter, Parser, Verdict
from core.engine.ending import Ended, Stop
from core.engine.journal import Journal
from core.engine.spool import Line, SpoolReader
from core.events import Event, EventKind
from core.keeper import client as keeper
from storage.queries import engine as rows

if TYPE_CHECKING:
    from core.engine.life import Life

LINES_AT_ONCE = 4000
"""Lines of one run in one shipment: few enough that the loop stays lively, enough for 20,000 events a second."""
LOOK = 1.0
"""Seconds between two looks when nothing pokes."""
SLOW_LOOK = 5.0
"""The same when the end of the keeper pokes too: for what is due by the clock alone."""


class Follower:
    """One agent's output on its way to the database."""

    def __init__(self, life: "Life", adapter: Adapter, journal: Journal) -> None:
        self._life = life
        self._runtime = life.runtime
        self._adapter = adapter
        self._journal = journal
        self._out = SpoolReader(life.folder / "stdout.spool", journal.out)
        self._err = SpoolReader(life.folder / "stderr.spool", journal.err)
        self._lines: deque[tuple[bool, Line]] = deque()
        self._parser: Parser = adapter.parser()
        self._heard = asyncio.get_running_loop().time()
        self._told: set[str] = set()
        """What was said of calls whose price nobody knows."""

    async def follow(self) -> tuple[Verdict, Ended] | None:
        """Until the agent has ended and everything it said is stored. None when its keeper was killed."""
        await asyncio.to_thread(self._replay)
        poke = self._runtime.pokes.of(self._life.folder)
        with keeper.told_of_end(self._life.folder, poke) as told:
            return await self._follow(poke, SLOW_LOOK if told else LOOK)

    async def _follow(self, poke: asyncio.Event, look: float) -> tuple[Verdict, Ended] | None:
        while True:
            poke.clear()
            end = keeper.read_exit(self._life.folder)
            gone = end is None and not keeper.alive(self._life.folder)
            if await self._ship_some(final=end is not None or gone):
                continue
            if end is not None:
                verdict = self._parser.close(end.exit_code, end.signal)
                return verdict, Ended(end.reason, end.detail or "", end.exit_code)
            if gone and keeper.read_exit(self._life.folder) is None:
                return None
            await self._watch()
            try:
                async with asyncio.timeout(LOOK if self._life.stopped else look):
                    await poke.wait()
            except TimeoutError:
                continue

    def _replay(self) -> None:
        """Bring the parser to where the last engine left it: it is fed again what has been shipped."""
        if not self._journal.out:
            return
        reader = SpoolReader(self._life.folder / "stdout.spool")
        while reader.position < self._journal.out:
            lines = reader.read(final=True)
            if not lines:
                return
            for line in lines:
                if line.end > self._journal.out:
                    return
                self._parse(line)

    async def _ship_some(self, *, final: bool) -> bool:
        """Store the next lines; False when there were none."""
        if not self._lines:
            self._lines.extend((True, line) for line in self._out.read(final=final))
            self._lines.extend((False, line) for line in self._err.read(final=final))
        if not self._lines:
            return False
        self._heard = asyncio.get_running_loop().time()
        events: list[Event] = []
        out, err = self._journal.out, self._journal.err
        for _ in range(min(len(self._lines), LINES_AT_ONCE)):
            is_out, line = self._lines.popleft()
            if is_out:
                events.extend(self._parse(line))
                out = line.end
            else:
                events.append(_complaint(line))
                err = line.end
        await self._journal.write(events, out=out, err=err)
        await self._react(events)
        return True

    def _parse(self, line: Line) -> Sequence[Event]:
        if line.whole:
            return self._parser.feed(line.content)
        return self._parser.oversized(line.content, line.length)

    async def _react(self, events: Sequence[Event]) -> None:
        runtime, life = self._runtime, self._life
        if any(event.kind is EventKind.QUESTION for event in events):
            await self._ask(events)
        if any(event.kind is EventKind.STATUS and event.data.get("final") for event in events):
            await self._end_turn()
        if any(event.kind is EventKind.USAGE for event in events):
            runtime.changed_task(life.work.number)
            if life.stopped is None:
                await runtime.money.hold(life, self._told)

    async def _ask(self, events: Sequence[Event]) -> None:
        """Questions are open by now; those that a standing permission answers are answered at once."""
        from core.engine.inputs import answer_by_rule

        for event in events:
            if event.kind is EventKind.QUESTION and event.data.get("kind") == "permission":
                await answer_by_rule(self._runtime, self._life, event)
        self._runtime.changed_task(self._life.work.number, "question", "run-input")

    async def _end_turn(self) -> None:
        """The agent has said its last word: end its input, unless there is something to be delivered."""
        waiting = await self._runtime.persist(rows.has_open_input, self._journal.run)
        if waiting:
            return
        try:
            await keeper.close_stdin(self._life.socket)
        except QuarterdeckError:
            return  # it has ended already

    async def _watch(self) -> None:
        """Stop an agent that has been silent for too long, unless it is paused or waits for an answer."""
        if self._life.stopped and not self._life.stop_delivered:
            await self._life.stop(self._life.stopped)
        limit = self._runtime.settings.run.idle_seconds
        now = asyncio.get_running_loop().time()
        if limit is None or self._life.stopped or now - self._heard < limit:
            return
        self._heard = now
        if await self._runtime.persist(rows.has_open_question, self._journal.run):
            return
        try:
            if (await keeper.status(self._life.socket)).get("paused"):
                return
        except QuarterdeckError:
            return
        await self._life.stop(Stop("idle", f"it was silent for {limit:.0f} s"))


def _complaint(line: Line) -> Event:
    text = line.content.decode("utf-8", "replace").replace("\0", "\ufffd")
    data = {"stream": "stderr"} if line.whole else {"stream": "stderr", "truncated": line.length}
    return Event(EventKind.OUTPUT, text, data)
