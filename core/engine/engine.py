"""The engine: claims tasks, holds runs in its hands, keeps its lease, and works the timers of the queue.

It can die at any moment. What it held is taken up again by its next incarnation (the same host and state folder), or,
when that does not come within the lease, by another engine.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import asyncpg

from config.errors import QuarterdeckError, UnavailableError
from config.settings import Settings
from core.agents.adapter import load_adapter
from core.engine.ending import Stop
from core.engine.inputs import deliver_inputs
from core.engine.janitor import clear_worktrees, prune, sweep_processes
from core.engine.life import Life
from core.engine.reviews import merge_approved
from core.engine.runtime import Runtime
from core.engine.watching import watch_runs
from core.knowledge.engine_side import keep_knowledge
from storage.feed import ChangeFeed
from storage.queries import engine as rows
from storage.queries import queue

log = logging.getLogger("qd.engine")

MOST_CLAIMS = 8
"""Tasks that are claimed at once, at most."""


BUG_PAUSE = 5.0
"""Seconds until a loop that met a bug goes on."""


class Wake:
    """Wakes one loop when a topic that it cares for rings."""

    def __init__(self, *topics: str) -> None:
        self._topics = frozenset(topics) | {"*"}
        self.event = asyncio.Event()
        self.event.set()

    def hear(self, topics: frozenset[str]) -> None:
        """A bell has rung."""
        if self._topics & topics:
            self.event.set()

    async def wait(self, at_most: float) -> None:
        """Wait for a bell, or until ``at_most`` seconds have passed; then forget all bells so far."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most):
                await self.event.wait()
        self.event.clear()


@dataclass(slots=True)
class Engine:
    """One engine process. ``revive`` brings the embedded database back when it is gone; None when it is not ours."""

    runtime: Runtime
    read_settings: Callable[[], Awaitable[Settings]]
    revive: Callable[[], Awaitable[None]] | None = None
    lives: dict[int, Life] = field(default_factory=dict)
    """By the number of the task."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    stop_runs: bool = False
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _agents: list[str] = field(default_factory=list)
    _agents_changed: bool = True
    _in_touch_since: float = math.inf
    """Since when the lease has been renewed without a miss, on the clock of the event loop."""
    _claiming: Wake = field(default_factory=lambda: Wake("task", "project", "agent", "queue", "settings"))
    _inputs: Wake = field(default_factory=lambda: Wake("run-input", "task"))
    _reviews: Wake = field(default_factory=lambda: Wake("review"))
    _clearing: Wake = field(default_factory=lambda: Wake("task", "janitor"))
    _money: Wake = field(default_factory=lambda: Wake("budget", "service"))
    _vectors: Wake = field(default_factory=lambda: Wake("knowledge"))
    _control: Wake = field(default_factory=lambda: Wake("engine", "settings", "agent"))

    async def run(self) -> None:
        """Work until told to stop; then leave the runs to their keepers, or end them when that is wanted."""
        feed = ChangeFeed(self.runtime.db.dsn, self._hear)
        async with asyncio.TaskGroup() as group:
            loops = [
                group.create_task(loop)
                for loop in (
                    self.runtime.bell.run(),
                    self.runtime.shipper.run(),
                    feed.run(),
                    self._guard_database(feed),
                    watch_runs(self.runtime.paths.runs, self.runtime.pokes),
                )
            ]
            await self._take_up()
            loops += [
                group.create_task(self._patiently(loop))
                for loop in (
                    self._keep_lease,
                    self._claim,
                    self._work_timers,
                    self._deliver,
                    self._merge,
                    self._clear,
                    self._obey,
                    self._keep_house,
                    self._mind_money,
                    self.runtime.money.tell_alerts,
                    self.runtime.knowing.run,
                    self._embed,
                )
            ]
            await self.stopping.wait()
            await self._wind_down()
            for loop in loops:
                loop.cancel()

    def _hear(self, topics: frozenset[str]) -> None:
        if topics & {"agent", "*"}:
            self._agents_changed = True
        if any(topic.startswith("notice:") for topic in topics):
            self._money.event.set()
        for wake in (
            self._money,
            self._claiming,
            self._inputs,
            self._reviews,
            self._clearing,
            self._vectors,
            self._control,
        ):
            wake.hear(topics)

    async def _patiently(self, loop: Callable[[], Awaitable[None]]) -> None:
        """A loop of the engine goes on after the database was away."""
        while True:
            try:
                await loop()
            except (UnavailableError, asyncpg.DeadlockDetectedError) as error:
                log.warning("%s: %s", loop.__name__.strip("_"), error)
                await asyncio.sleep(0.2)
            except QuarterdeckError as error:  # a configuration that a person is just writing, say
                log.warning("%s: %s", loop.__name__.strip("_"), error.sentence())
                await asyncio.sleep(BUG_PAUSE)
            except Exception:  # a bug in one loop must not end the runs that the others have in their hands
                log.exception("%s met a bug", loop.__name__.strip("_"))
                await asyncio.sleep(BUG_PAUSE)

    async def _embed(self) -> None:
        """Whatever is new gets its vector, whoever has said it."""
        while True:
            await self._vectors.wait(60)
            await self.runtime.knowing.vectors.keep()

    # ── taking up, claiming ──

    async def _take_up(self) -> None:
        """Adopt what the last incarnation held: runs that live, runs that have ended, tasks whose run had not begun."""
        held = await self.runtime.persist(rows.held_tasks, self.runtime.engine)
        live = await self.runtime.persist(rows.live_runs, self.runtime.engine)
        await sweep_processes(self.runtime, {str(run.id) for run in live if held.get(run.task) == run.lease_token})
        adopted: set[int] = set()
        for run in live:
            if held.get(run.task) == run.lease_token and run.task not in adopted:
                await self.runtime.persist(rows.note_adoption, run.number)
                adopted.add(run.task)
                await self._begin(run.task, run.agent, run)
            else:
                await self.runtime.persist(rows.end_run, run.number, "lost", reason="its engine died")
        if adopted:
            await self.runtime.tooling.open()
        await self._look_for_agents()
        for number in held.keys() - adopted:
            agent = await self.runtime.persist(rows.agent_of_claim, number) or next(iter(self._agents), None)
            if agent:  # without one the heartbeat gives the task back
                await self._begin(number, agent, None)

    async def _claim(self) -> None:
        while True:
            await self._claiming.wait(15)
            if self._agents_changed:
                self._agents_changed = False
                await self._look_for_agents()
            busy = [life.work.agent for life in self.lives.values()]
            self._agents.sort(key=busy.count)
            while (
                not self.stopping.is_set() and (room := self.runtime.settings.engine.max_parallel - len(self.lives)) > 0
            ):
                async with self.runtime.db.connection() as connection:
                    claimed = await queue.claim(connection, self.runtime.engine, min(room, MOST_CLAIMS), self._agents)
                for task in claimed:
                    await self._begin(task.number, task.agent, None)
                if not claimed:
                    break

    async def _look_for_agents(self) -> None:
        """Who may work and whose program is on this host."""
        known = await self.runtime.persist(rows.enabled_agents)
        usable = []
        for agent in known:
            try:
                adapter = load_adapter(agent.adapter, self.runtime.paths, self.runtime.environ)
            except QuarterdeckError as error:
                log.warning("agent %s cannot work: %s", agent.name, error.sentence())
                continue
            if adapter.find(self.runtime.environ) is not None:
                usable.append(agent.name)
        self._agents = usable

    async def _begin(self, number: int, agent: str, run: rows.LiveRun | None) -> None:
        work = await self.runtime.persist(rows.load_work, number, agent)
        if work is None:
            log.error("task #%s cannot be loaded for agent %s", number, agent)
            return
        life = Life(self.runtime, work, adopted=run)
        self.lives[number] = life
        task = asyncio.create_task(self._live(life), name=f"task #{number}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _live(self, life: Life) -> None:
        try:
            await life.live()
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("the run of task #%s met a bug", life.work.number)
            await life.abandon("an internal error; see the engine's log")
        finally:
            if self.lives.get(life.work.number) is life:
                del self.lives[life.work.number]
            self._claiming.event.set()
            self._clearing.event.set()

    # ── the lease and the timers ──

    async def _keep_lease(self) -> None:
        while True:
            lease = self.runtime.settings.engine.lease_seconds
            try:
                async with self.runtime.db.connection() as connection:
                    alive = await queue.heartbeat(
                        connection, self.runtime.engine, timedelta(seconds=lease), list(self.lives)
                    )
            except UnavailableError:
                self._in_touch_since = math.inf
                raise
            self._in_touch_since = min(self._in_touch_since, asyncio.get_running_loop().time())
            if not alive:
                await self._reconcile()
            await asyncio.sleep(lease / 4)

    async def _reconcile(self) -> None:
        """We were silent for too long and declared dead: let go of what is somebody else's by now."""
        log.warning("this engine was declared dead; it looks what it still holds")
        lease = self.runtime.settings.engine.lease_seconds
        async with self.runtime.db.connection() as connection:
            await rows.renew(connection, self.runtime.engine, lease)
            held = await rows.held_tasks(connection, self.runtime.engine)
        for number, life in list(self.lives.items()):
            if held.get(number) != life.work.lease_token:
                await life.stop(Stop("cancel", "another engine has taken this task over"))

    async def _work_timers(self) -> None:
        while True:
            async with self.runtime.db.connection() as connection:
                changed = await queue.promote(connection)
                changed += len(await queue.recur(connection, datetime.now(UTC)))
                while number := await queue.expire(connection):
                    self.runtime.changed_task(number)
                changed += await queue.sweep(connection)
                while self._may_rescue() and (
                    rescued := await queue.rescue(connection, self.runtime.settings.engine.max_rescues)
                ):
                    changed += rescued
            await self._mind_deadlines()
            if changed:
                self.runtime.bell.ring("task")
                self._claiming.event.set()
            await asyncio.sleep(min(1.0, self.runtime.settings.engine.lease_seconds / 4))

    def _may_rescue(self) -> bool:
        """Whether the database was there long enough for every engine that lives to say so.

        After an outage all leases have run out, and who comes back first must not take everything from the others.
        """
        lease = self.runtime.settings.engine.lease_seconds
        return asyncio.get_running_loop().time() - self._in_touch_since >= lease

    async def _mind_deadlines(self) -> None:
        now = datetime.now(UTC)
        for life in list(self.lives.values()):
            if life.work.deadline and life.work.deadline <= now and life.stopped is None:
                await life.stop(Stop("deadline", "its deadline passed"))

    # ── people's wishes ──

    async def _deliver(self) -> None:
        while True:
            await self._inputs.wait(5)
            async with self.runtime.db.connection() as connection:
                held = await rows.terms(connection, self.runtime.engine)
            for terms in held:
                life = self.lives.get(terms.number)
                if life is None:
                    continue
                life.work = replace(life.work, deadline=terms.deadline, max_cost_usd=terms.max_cost_usd)
                if terms.cancel_requested and (life.stopped is None or life.stopped.kind != "cancel"):
                    await life.stop(Stop("cancel", "its task was cancelled"))
            await deliver_inputs(self.runtime, {life.run: life for life in self.lives.values()})

    async def _merge(self) -> None:
        while True:
            await self._reviews.wait(5)
            await merge_approved(self.runtime)

    async def _obey(self) -> None:
        """Follow changed settings, and the wish that this engine stop."""
        while True:
            await self._control.wait(5)
            self.runtime.settings = await self.read_settings()
            self.runtime.shipper.pause = self.runtime.settings.engine.ship_interval
            async with self.runtime.db.connection() as connection:
                await rows.say_room(connection, self.runtime.engine, self.runtime.settings.engine.max_parallel)
                wanted = await rows.wanted_state(connection, self.runtime.engine)
            if wanted != "run":
                self.stop_runs = wanted == "stop_runs"
                self.stopping.set()

    async def _wind_down(self) -> None:
        """The last things: runs are left alone, or ended in order; what stays held is not given to others for a day."""
        with contextlib.suppress(UnavailableError):
            async with asyncio.timeout(5), self.runtime.db.connection() as connection:
                await rows.set_engine_state(connection, self.runtime.engine, "draining")
        if self.stop_runs:
            stop = Stop("shutdown", "the engine was told to stop its runs")
            await asyncio.gather(*(life.stop(stop) for life in list(self.lives.values())))
            grace = self.runtime.settings.run.interrupt_seconds + self.runtime.settings.run.terminate_seconds + 15
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=grace)
        holds = bool(self.lives)
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=10)
        await self.runtime.tooling.close()
        await self.runtime.money.close(runs_go_on=holds)
        with contextlib.suppress(UnavailableError, TimeoutError):
            async with asyncio.timeout(5), self.runtime.db.connection() as connection:
                await rows.set_engine_state(connection, self.runtime.engine, "stopped", 86400.0 if holds else 0.0)
            self.runtime.bell.ring("engine")
            await self.runtime.bell.flush()

    async def _mind_money(self) -> None:
        while True:
            await self._money.wait(5)
            await self.runtime.money.look({life.run: life for life in self.lives.values()})

    # ── the house ──

    async def _clear(self) -> None:
        while True:
            await self._clearing.wait(60)
            await clear_worktrees(self.runtime)
            await asyncio.sleep(0.5)

    async def _keep_house(self) -> None:
        while True:
            held = {str(life.run_id) for life in self.lives.values()}
            await sweep_processes(self.runtime, held)
            await prune(self.runtime, held)
            async with self.runtime.db.connection() as connection:
                await rows.maintain_events(connection, self.runtime.settings.events.keep_days)
                wrong = {what: n for what, n in (await queue.reconcile(connection)).items() if n}
            if wrong:
                log.error("the books of the queue do not balance: %s", wrong)
            await self.runtime.money.check_books()
            await keep_knowledge(self.runtime)
            await asyncio.sleep(3600)

    async def _guard_database(self, feed: ChangeFeed) -> None:
        """Bring the embedded database back when it is gone."""
        while True:
            await asyncio.sleep(0.25)
            if feed.connected.is_set() or self.revive is None:
                continue
            try:
                await self.revive()
            except QuarterdeckError as error:
                log.warning("%s", error.sentence())
                await asyncio.sleep(2)
