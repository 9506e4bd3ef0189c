"""The journal of one run: its events by number, with the positions in the spools that they come from."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from core.engine.shipper import Shipper
from core.events import Event, EventKind
from storage.queries.budget import Service
from storage.queries.shipments import Shipment, Told

LONGEST_SESSION = 200
"""Characters of the name of a session: it goes back to the program as an argument; a longer one is nobody's."""
LONGEST_TEXT = 1 << 16
"""Characters of one event's text; adapters keep to it, this is the backstop."""


class Journal:
    """Writes the events of one run. The only writer: the numbers would show another."""

    def __init__(
        self,
        shipper: Shipper,
        run: int,
        services: Callable[[], Awaitable[Sequence[Service]]],
        *,
        events: int = 0,
        out: int = 0,
        err: int = 0,
    ) -> None:
        self.run = run
        self.events = events
        self.out = out
        self.err = err
        self._shipper = shipper
        self._services = services
        self._lock = asyncio.Lock()

    async def write(
        self,
        events: Sequence[Event],
        *,
        out: int | None = None,
        err: int | None = None,
        delivered: Sequence[int] = (),
    ) -> None:
        """Store events and positions together. Raises OvertakenError when somebody else writes this run."""
        async with self._lock:
            at = datetime.now(UTC)
            calls = await self._calls(events)
            shipment = Shipment(
                run=self.run,
                before=self.events,
                out=self.out if out is None else out,
                err=self.err if err is None else err,
                events=[
                    (at, event.kind.value, event.text[:LONGEST_TEXT].replace("\0", "\ufffd"), event.data)
                    for event in events
                ],
                calls=calls,
                session=_last_session(events),
                questions=[_question(event) for event in events if event.kind is EventKind.QUESTION],
                withdrawn=[str(event.data["withdrawn"]) for event in events if event.data.get("withdrawn")],
                delivered=delivered,
            )
            await self._shipper.ship(shipment)
            self.events += len(events)
            self.out, self.err = shipment.out, shipment.err

    async def _calls(self, events: Sequence[Event]) -> Sequence[Told]:
        """The calls that these events tell of, with their prices."""
        if not any(event.kind is EventKind.USAGE for event in events):
            return ()
        from core.engine.cost import told_calls

        return told_calls(events, await self._services())

    async def note(self, kind: EventKind, text: str, **data: Any) -> None:
        """Store one event of the engine's own."""
        await self.write([Event(kind, text, data)])


def _last_session(events: Sequence[Event]) -> str | None:
    for event in reversed(events):
        if (
            event.kind is EventKind.STATUS
            and 0 < len(session := str(event.data.get("session") or "")) <= LONGEST_SESSION
        ):
            return session
    return None


def _question(event: Event) -> tuple[str, str, str, Any, Mapping[str, Any]]:
    kind = "permission" if event.data.get("kind") == "permission" else "question"
    return (str(event.data.get("id", "")), kind, event.text, event.data.get("options") or [], event.data)
