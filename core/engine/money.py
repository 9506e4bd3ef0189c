"""The engine's side of budgets: the gateway that meters every call, its tokens, and what happens when money runs out.

Without a service whose models an agent could use there is nothing to meter, and the agent is started without a gateway:
a program with a login of its own works as it does for the person.
"""

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg

from config.errors import QuarterdeckError
from core import version
from core.agents.declaration import load_declaration, load_declarations
from core.budget import engine_side
from core.engine.ending import Judgement, Stop
from core.events import EventKind
from storage.database import Principal, Role
from storage.queries import budget
from storage.queries.budget_runs import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.engine.life import Life
    from core.engine.runtime import Runtime

log = logging.getLogger("qd.engine")

ALERT_PAUSE = 60.0
"""Seconds between two looks at alerts that are to be told."""
LOOK_AHEAD = 10.0
"""Seconds before a budget begins anew from which on its beginning is waited for: more than between two looks."""
GRACE_AFTER_REFUSAL = 30.0
"""Seconds that an agent has to end by itself, or to get an answer, after its model was refused."""


@dataclass(slots=True)
class Money:
    """One engine's dealings with the gateway."""

    runtime: "Runtime"
    _services: list[budget.Service] | None = None
    """As of the last look; a bell brings the next."""
    _watch: engine_side.GatewayWatch | None = None
    _watching: "asyncio.Task[None] | None" = None
    _interrupted: dict[int, datetime] = field(default_factory=dict)
    """By run, the refusal for which it was interrupted: once for each."""
    _reset: asyncio.TimerHandle | None = None
    """Rings when what a task may wait for begins anew: a budget, or a service that was out of order."""

    async def close(self, *, runs_go_on: bool) -> None:
        """Leave the gateway to the runs that go on, or end it with the engine when nobody needs it."""
        if self._reset:
            self._reset.cancel()
        if self._watching:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        if not runs_go_on:
            await engine_side.stop_gateway(self.runtime.paths)

    async def is_metered(self, adapter: str) -> bool:
        """Whether there is a service whose models this adapter's program could use; any, where nobody knows its
        protocols.
        """
        speaks = load_declaration(adapter, self.runtime.paths).speaks
        return any(not speaks or engine_side.protocol_of(one.provider) in speaks for one in await self.services())

    async def services(self) -> list[budget.Service]:
        """The services that there are."""
        if self._services is None:
            self._services = await self.runtime.persist(budget.services)
        return self._services

    async def refuses(self, life: "Life") -> Refused | None:
        """Why a run could make no call at all; None when it may start."""
        work = life.work
        return await self.runtime.persist(
            engine_side.may_start,
            project=work.project,
            task=work.number,
            agent=work.agent,
            speaks=load_declaration(work.adapter, self.runtime.paths).speaks,
        )

    async def environment(self, run: int, adapter: str) -> dict[str, str]:
        """Where the agent of a run finds models, with a token for this run alone; empty where nothing is metered."""
        if not await self.is_metered(adapter):
            return {}
        url = await self._gateway().url()
        token = await self.runtime.persist(engine_side.issue_token, run)
        return engine_side.agent_environment(url, token)

    async def after(self, life: "Life", judgement: Judgement) -> Judgement:
        """What becomes of an attempt that failed because its model was refused: that is no failure of the work."""
        if judgement.wait == "budget":
            over = await self.runtime.persist(engine_side.went_over, life.run)
            if over is None:  # it was raised meanwhile
                return replace(judgement, wait="time", retry_seconds=0.0)
            return replace(judgement, refused=over.refused)
        if judgement.outcome != "retry" or life.stopped:
            return judgement
        refused = await self.runtime.persist(engine_side.why_refused, life.run)
        if refused is None:
            return judgement
        if refused.keyless:
            return Judgement("failed", "wait", refused.text, wait="person", refused=refused)
        if refused.kind == "service":
            seconds = 30.0 if refused.retry_seconds is None else refused.retry_seconds
            return Judgement("failed", "wait", refused.text, wait="time", retry_seconds=seconds, refused=refused)
        handed = await self.hand_over(life, refused)
        if handed:
            return Judgement("failed", "wait", refused.text, handed.note, wait="time", hand_to=handed.agent)
        return Judgement("failed", "wait", refused.text, wait="budget", refused=refused)

    async def hold(self, life: "Life", said: set[str]) -> None:
        """Stop a run whose own calls have gone beyond a limit, or whose dollars nobody can count where there is one in
        dollars. ``said``: the sentences that the run was told before; new ones are added.
        """
        over = await self.runtime.persist(engine_side.went_over, life.run)
        if over is not None:
            await life.stop(Stop("cost" if over.of_task else "budget", over.refused.text))
            return
        unpriced = await self.runtime.persist(engine_side.unpriced, life.run)
        for sentence in unpriced.sentences:
            if sentence not in said:
                said.add(sentence)
                await life.note(EventKind.ERROR, sentence)
        if unpriced.sentences and unpriced.limited:
            await life.stop(Stop("unpriced", unpriced.sentences[0]))

    async def hand_over(self, life: "Life", refused: Refused) -> engine_side.HandOver | None:
        """Who goes on with a task whose agent's services are used up; None where nobody can."""
        adapters = {declared.name: declared.speaks for declared in load_declarations(self.runtime.paths)}
        return await self.runtime.persist(engine_side.hand_over, life.work.project, life.work.agent, refused, adapters)

    async def look(self, lives: "Mapping[int, Life]") -> None:
        """Tell runs what the gateway has to say of them, and wake the tasks whose budget has room again."""
        self._services = await self.runtime.persist(budget.services)
        if self._services:
            self._gateway()
        for notice in await self.runtime.persist(engine_side.take_notices, self.runtime.engine):
            life = lives.get(notice.run)
            if life is None or life.journal is None:
                continue
            kind = EventKind.STATUS if notice.kind == "fallback" else EventKind.ERROR
            await life.note(kind, notice.text, **dict(notice.data))
        await self._interrupt_stubborn(lives)
        if await self.runtime.persist(engine_side.wake):
            self.runtime.bell.ring("task")
        await self._look_again_at_the_reset()

    async def _look_again_at_the_reset(self) -> None:
        """What waits for a new period goes on as it begins, not with the look after it."""
        moment = await self.runtime.persist(engine_side.next_reset)
        if self._reset:
            self._reset.cancel()
            self._reset = None
        seconds = (moment - datetime.now(UTC)).total_seconds() if moment else LOOK_AHEAD
        if seconds < LOOK_AHEAD:
            loop = asyncio.get_running_loop()
            self._reset = loop.call_later(max(seconds, 0.0) + 0.05, self.runtime.bell.ring, "budget")

    async def tell_alerts(self) -> None:
        """Deliver the alerts that are due, for as long as the engine runs."""
        from core.budget import alerts
        from core.secrets import open_store

        who = Principal(f"engine:{self.runtime.name}", Role.ENGINE)
        while True:
            async with self.runtime.db.connection() as connection:
                await alerts.look(connection)
            await alerts.deliver(self.runtime.db, who, open_store(self.runtime.paths, self.runtime.environ))
            await asyncio.sleep(ALERT_PAUSE)

    async def check_books(self) -> None:
        """Tell, once a day, when the accounts are not the sums of the ledger any more."""
        wrong = {what: n for what, n in (await self.runtime.persist(budget.reconcile)).items() if n}
        if not wrong:
            return
        log.error("the books of the ledger do not balance: %s", wrong)
        words = ", ".join(f"{what} ({n})" for what, n in wrong.items())
        text = f"the books of the ledger do not balance: {words}; see `qd budget check`"
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        await self.runtime.persist(budget.add_alert, "books", "day", "", text, period=today)

    def _gateway(self) -> engine_side.GatewayWatch:
        """The gateway's watch, started when the first service needs it."""
        if self._watch is None:
            self._watch = engine_side.GatewayWatch(
                self.runtime.paths,
                self.runtime.settings.gateway,
                self.runtime.db.dsn,
                version(),
                self.runtime.environ,
            )
            self._watching = asyncio.create_task(self._watch.run(), name="gateway")
        return self._watch

    async def _interrupt_stubborn(self, lives: "Mapping[int, Life]") -> None:
        """An agent that does not understand that its model is used up must not go on trying for ever."""
        from core.keeper import client as keeper

        refused = await self.runtime.persist(engine_side.refused_runs, self.runtime.engine, GRACE_AFTER_REFUSAL)
        for run, since in refused.items():
            life = lives.get(run)
            if life is not None and self._interrupted.get(run) != since:
                with contextlib.suppress(QuarterdeckError):
                    await keeper.interrupt(life.socket)
        self._interrupted = refused


async def settle_money(connection: asyncpg.Connection, run: int, task: int, refused: Refused | None) -> None:
    """In the transaction that ends a run: its token dies, its cost is the ledger's, what the task waits for is kept."""
    await engine_side.end_run(connection, run)
    if refused:
        await engine_side.wait(connection, task, refused)


def pause_of(judgement: Judgement) -> timedelta | None:
    """How long a task waits that waits for a service."""
    return timedelta(seconds=judgement.retry_seconds) if judgement.retry_seconds is not None else None
