"""Brings events of all runs to the database: many runs, one transaction, at most a few times per second.

Each run hands over what it has read and waits until that is stored. While one transaction is under way the next one
gathers, so that the more there is to do, the larger the batches grow. While the database is away nothing is lost: the
spools hold it.
"""

import asyncio
import logging
from dataclasses import dataclass

import asyncpg

from config.errors import UnavailableError
from core.engine.bell import Bell
from storage.database import Database
from storage.queries.shipments import Shipment, ship

log = logging.getLogger("qd.engine")


class OvertakenError(Exception):
    """Somebody else has shipped this run: this engine no longer holds it."""


@dataclass(slots=True)
class _Order:
    shipment: Shipment
    done: asyncio.Future[None]


class Shipper:
    """Gathers shipments. ``pause``: seconds from the beginning of a transaction to that of the next one."""

    def __init__(self, db: Database, bell: Bell, pause: float) -> None:
        self._db = db
        self._bell = bell
        self.pause = pause
        self._orders: list[_Order] = []
        self._waiting = asyncio.Event()

    async def ship(self, shipment: Shipment) -> None:
        """Store events. Raises :class:`OvertakenError` when they do not follow what the database has, and what the
        database says of them when it will never take them.
        """
        order = _Order(shipment, asyncio.get_running_loop().create_future())
        self._orders.append(order)
        self._waiting.set()
        await order.done

    async def run(self) -> None:
        """Ship until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            batch = self._take()
            if batch:
                began = loop.time()
                await self._store(batch)
                await asyncio.sleep(max(0.0, began + self.pause - loop.time()))
            if self._orders:
                self._waiting.set()

    def _take(self) -> list[_Order]:
        """At most one shipment per run: a second one starts where the first ends, so it must see it stored."""
        batch: dict[int, _Order] = {}
        rest: list[_Order] = []
        for order in self._orders:
            if order.done.cancelled():
                continue
            if order.shipment.run in batch:
                rest.append(order)
            else:
                batch[order.shipment.run] = order
        self._orders = rest
        return list(batch.values())

    async def _store(self, batch: list[_Order]) -> None:
        try:
            moved = await self._insist(batch)
        except Exception as error:  # noqa: BLE001 - what one run has said must not keep back what the others say
            if len(batch) > 1:
                for order in batch:
                    await self._store([order])
                return
            log.error("run %s has events that the database does not take: %r", batch[0].shipment.run, error)  # noqa: TRY400
            if not batch[0].done.done():
                batch[0].done.set_exception(error)
            return
        for order in batch:
            if order.done.done():
                continue
            if order.shipment.run in moved:
                order.done.set_result(None)
            else:
                order.done.set_exception(OvertakenError())
        spent = any(order.shipment.calls for order in batch)
        self._bell.ring("event", *(f"run:{number}" for number in moved), *(("charge", "budget") if spent else ()))

    async def _insist(self, batch: list[_Order]) -> set[int]:
        """Try until the database takes it. When the reply of a commit was lost, the numbers tell that it is stored."""
        delay = 0.05
        again = False
        while True:
            try:
                async with self._db.connection() as connection:
                    return await ship(connection, [order.shipment for order in batch], again=again)
            except (UnavailableError, asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
                again = True
                await asyncio.sleep(delay)
                delay = min(delay * 2, 1.0)
