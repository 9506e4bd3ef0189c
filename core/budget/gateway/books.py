"""The gateway's dealings with the ledger: reserve with patience, settle without fail, keep the lease.

A settle is never lost with the database: it is tried again until it is stored or the gateway ends, and then the sweep
presumes it. Since a settle only lowers what is held against a budget, it does not wait for the disk; it is remembered until the next
heartbeat, whose commit does, and a server that crashed in between is told again. A reserve always waits.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections import Counter, OrderedDict, defaultdict
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from config.errors import UnavailableError
from core.budget.gateway.circuit import Circuit
from storage.database import Database
from storage.queries import budget
from storage.queries.budget import Ask, Bearer, Grant, Settlement

log = logging.getLogger(__name__)

KNOWN_SECONDS = 5.0
"""How long a token that was good is let in without a look at the database; the reserve looks in any case."""

LAST_SECONDS = 10.0
"""How long a gateway that ends goes on trying to store what calls have cost, where the database is away."""

RETRY = 0.25
"""Seconds between two looks at a budget that is busy, where no settle of this gateway wakes the call."""


class Books:
    """Reserves and settles for one gateway process. ``run`` must be running."""

    def __init__(self, db: Database, gateway: int, *, lease: float) -> None:
        self._db = db
        self._gateway = gateway
        self._lease = timedelta(seconds=lease)
        self._group: asyncio.TaskGroup | None = None
        self._turns: dict[object, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._settled = asyncio.Condition()
        self._circuits = asyncio.Lock()
        self._unsaid: Counter[str] = Counter()
        self._known: OrderedDict[bytes, tuple[float, Bearer]] = OrderedDict()
        self._pending = 0
        self._give_up_at: float | None = None
        self._held: set[UUID] = set()
        """Charges that the database may have as reserved."""
        self._unproved: dict[UUID, Settlement] = {}
        """What was settled since the last heartbeat."""
        self.topics: set[str] = set()
        """What changed since the bell was last rung."""
        self.changed = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the lease and sweep until told to stop; then wait for the settles that are under way."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            while not stop.is_set():
                try:
                    async with self._db.connection() as connection:
                        await self._beat(connection)
                        while await budget.sweep(connection):
                            self._ring("budget")
                        for stray in await budget.strays(connection, self._gateway, tuple(self._held)):
                            self._give_back(stray)
                except UnavailableError:
                    pass  # the next beat may reach it; calls are refused meanwhile, since they cannot be reserved
                except asyncpg.PostgresError:
                    log.exception("the lease could not be kept")
                await _wait(stop, self._lease.total_seconds() / 3)
            self._give_up_at = asyncio.get_running_loop().time() + LAST_SECONDS
        self._group = None

    async def _beat(self, connection: asyncpg.Connection) -> None:
        """Renew the lease; settle again what the server has forgotten in a crash. What it still knows is on its disk once the beat is."""
        known = dict(self._unproved)
        forgotten = await budget.unsettled(connection, tuple(known)) if known else ()
        await budget.heartbeat(connection, self._gateway, self._lease)
        for charge in known:
            del self._unproved[charge]
        for charge in forgotten:
            self.settle(known[charge])
        self._held.difference_update(known.keys() - forgotten)

    async def resign(self) -> None:
        """The lease is over at once: what is still reserved counts as spent."""
        async with self._db.connection() as connection:
            await budget.resign(connection, self._gateway)

    @property
    def pending(self) -> int:
        """Settles that are not stored yet."""
        return self._pending

    async def bearer(self, token: str, *, fresh: bool = False) -> Bearer | None:
        """The live run that a token belongs to. Raises UnavailableError."""
        digest = digest_of(token)
        now = asyncio.get_running_loop().time()
        seen = self._known.get(digest)
        if seen and not fresh and now - seen[0] < KNOWN_SECONDS:
            return seen[1]
        async with self._db.connection() as connection:
            found = await budget.bearer(connection, digest)
        if found is None:
            self._known.pop(digest, None)
            return None
        self._known[digest] = (now, found)
        while len(self._known) > 10_000:
            self._known.popitem(last=False)
        return found

    async def reserve(self, ask: Ask, token: str, patience: float) -> Grant:
        """Reserve, waiting up to ``patience`` seconds for what others have reserved. Raises UnavailableError.

        Calls that wait for the same budget take turns, so that a crowd does not ask the database all at once.
        """
        digest = digest_of(token)
        grant = await self._reserve(ask, digest, patient=patience > 0)
        if grant.outcome != "busy" or patience <= 0:
            return grant
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience
        place = (grant.budget, grant.key)
        turn = self._turns[place]
        try:
            async with _by(deadline, turn):
                while grant.outcome == "busy" and loop.time() < deadline:
                    async with self._settled:
                        await _notified(self._settled, min(RETRY, deadline - loop.time()))
                    # Never cut off by the deadline: what is granted behind our back would be given back under the next try.
                    grant = await self._reserve(ask, digest, patient=True)
        except TimeoutError:
            pass
        finally:
            if not turn.locked():
                self._turns.pop(place, None)
        return grant if grant.outcome != "busy" else await self._reserve(ask, digest, patient=False)

    async def _reserve(self, ask: Ask, digest: bytes, *, patient: bool) -> Grant:
        """One try. A caller that goes away, or a reply that is lost, leaves nothing reserved."""
        if self._group is None:
            raise UnavailableError("the gateway is ending", "try again")
        answer: asyncio.Future[Grant | None] = asyncio.get_running_loop().create_future()
        task = self._group.create_task(self._ask(ask, digest, answer, patient=patient))
        self._held.add(ask.id)
        try:
            grant = await asyncio.shield(answer)
        except asyncio.CancelledError:
            task.add_done_callback(lambda _: self._give_back(ask.id))
            raise
        if grant is None:
            self._give_back(ask.id)
            raise UnavailableError("the database does not answer", "see `qd doctor`")
        if grant.outcome != "granted":
            self._held.discard(ask.id)
        return grant

    def _give_back(self, charge: UUID) -> None:
        if self._group is not None:
            self.settle(Settlement(charge, "released", note="the call did not take place"))

    async def _ask(self, ask: Ask, digest: bytes, answer: "asyncio.Future[Grant | None]", *, patient: bool) -> None:
        try:
            grant = await self._reserved(ask, digest, answer, patient=patient)
        except UnavailableError:
            return  # told by the caller: an error in this task would end the whole group
        except (asyncpg.PostgresError, RuntimeError):
            log.exception("a call could not be reserved")
            return
        finally:
            if not answer.done():
                answer.set_result(None)
        if grant.outcome == "dead":
            self._known.pop(digest, None)
        elif grant.outcome in ("limit", "granted"):
            self._ring("budget")

    async def _reserved(
        self, ask: Ask, digest: bytes, answer: "asyncio.Future[Grant | None]", *, patient: bool
    ) -> Grant:
        for attempt in range(5):
            try:
                async with self._db.connection() as connection:
                    grant = await budget.reserve(connection, ask, digest, self._gateway, patient=patient)
                    answer.set_result(grant)  # the call goes on while its connection is given back
                    return grant
            except asyncpg.DeadlockDetectedError:  # asking again with the same id is safe
                if attempt == 4:
                    raise
        raise AssertionError

    def settle(self, settlement: Settlement) -> "asyncio.Task[None]":
        """Settle in the background, until it is stored."""
        if self._group is None:
            raise RuntimeError("the books are closed")
        self._pending += 1
        return self._group.create_task(self._settle(settlement))

    async def _settle(self, item: Settlement) -> None:
        try:
            for attempt in range(10_000):
                try:
                    async with self._db.connection() as connection:
                        await budget.settle_soon(connection, item)
                    break
                except UnavailableError:
                    if self._give_up_at is not None and asyncio.get_running_loop().time() > self._give_up_at:
                        return
                    await asyncio.sleep(min(0.05 * 2 ** min(attempt, 6), 2.0))
                except asyncpg.DeadlockDetectedError:
                    continue
                except asyncpg.PostgresError:
                    # One settle that the database refuses must not end the others. It stays held, so that it is not
                    # taken for a stray, and counts in full once this gateway is gone.
                    log.exception("charge %s could not be settled", item.charge)
                    return
            self._unproved[item.charge] = item
        finally:
            self._pending -= 1
        self._ring("budget", "charge")
        async with self._settled:
            self._settled.notify_all()

    def notice(self, run: int, kind: str, text: str, data: Mapping[str, Any]) -> None:
        """Have the engine tell something about a run; lost when the database is away."""
        if self._group is not None:
            self._group.create_task(self._notice(run, kind, text, data))

    async def _notice(self, run: int, kind: str, text: str, data: Mapping[str, Any]) -> None:
        try:
            async with self._db.connection() as connection:
                await budget.add_notice(connection, run, kind, text, data)
        except UnavailableError:
            return
        except asyncpg.PostgresError:
            log.exception("a notice of run %s could not be stored", run)
            return
        self._ring("budget", f"notice:{run}")

    def health(self, service: str, circuit: Circuit, *, tell: bool) -> None:
        """Store what became of a circuit, and tell a person of it where that is asked for; whether or not the caller stays."""
        if self._group is not None:
            self._unsaid[service] += 1
            self._group.create_task(self._health(service, circuit, tell=tell))

    def unsaid(self) -> frozenset[str]:
        """The services of whose circuit the database has not heard the last word yet."""
        return frozenset(+self._unsaid)

    async def _health(self, service: str, circuit: Circuit, *, tell: bool) -> None:
        try:
            async with (
                self._circuits,
                self._db.connection() as connection,
            ):  # in turn, so that the last word is stored last
                state, until, reason = circuit.state, circuit.until, circuit.reason
                await budget.store_circuit(connection, service, state, until, circuit.failures, reason)
                if tell:
                    text = f"service {service} is down: {reason}"
                    await budget.add_alert(connection, "down", "service", service, text, period=until)
        except UnavailableError:
            return  # the circuit in memory holds; the next change stores it again
        except asyncpg.PostgresError:
            log.exception("the circuit of service %s could not be stored", service)
            return
        finally:
            self._unsaid[service] -= 1
        self._ring("service")

    def _ring(self, *topics: str) -> None:
        self.topics.update(topics)
        self.changed.set()


def digest_of(token: str) -> bytes:
    """What the database knows of a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


@contextlib.asynccontextmanager
async def _by(deadline: float, turn: asyncio.Lock) -> AsyncIterator[None]:
    """Have the turn, where it comes before the deadline. Raises TimeoutError."""
    async with asyncio.timeout_at(deadline):
        await turn.acquire()
    try:
        yield
    finally:
        turn.release()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


async def _notified(condition: asyncio.Condition, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await condition.wait()
    except TimeoutError:
        return
