"""The journal of one run: its events by number, with the positions in the spools that they come from."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from core.engine.shipper import Shipper
from core.events import Event, EventKind
from storage.queries.engine import Shipment

LONGEST_SESSION = 200
"""Characters of the name of a session: it goes back to the program as an argument; a longer one is nobody's."""
LONGEST_TEXT = 1 << 16
"""Characters of one event's text; adapters keep to it, this is the backstop."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What a batch of usage events adds up to."""

    cost_usd: Decimal = Decimal(0)
    tokens: tuple[int, int, int, int] = (0, 0, 0, 0)


class Journal:
    """Writes the events of one run. The only writer: the numbers would show another."""

    def __init__(self, shipper: Shipper, run: int, *, events: int = 0, out: int = 0, err: int = 0) -> None:
        self.run = run
        self.events = events
        self.out = out
        self.err = err
        self.cost_usd = Decimal(0)
        self._shipper = shipper
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
            totals = add_usage(events)
            shipment = Shipment(
                run=self.run,
                before=self.events,
                out=self.out if out is None else out,
                err=self.err if err is None else err,
                events=[
                    (at, event.kind.value, event.text[:LONGEST_TEXT].replace("\0", "\ufffd"), event.data)
                    for event in events
                ],
                cost_usd=totals.cost_usd,
                tokens=totals.tokens,
                session=_last_session(events),
                questions=[_question(event) for event in events if event.kind is EventKind.QUESTION],
                withdrawn=[str(event.data["withdrawn"]) for event in events if event.data.get("withdrawn")],
                delivered=delivered,
            )
            await self._shipper.ship(shipment)
            self.events += len(events)
            self.out, self.err = shipment.out, shipment.err
            self.cost_usd += totals.cost_usd

    async def note(self, kind: EventKind, text: str, **data: Any) -> None:
        """Store one event of the engine's own."""
        await self.write([Event(kind, text, data)])


def add_usage(events: Sequence[Event]) -> Totals:
    """Tokens and money of the usage events: the agent's own figure where it gives one, else the price list's."""
    from core.engine.cost import imputed_cost

    cost = Decimal(0)
    sums = [0, 0, 0, 0]
    for event in events:
        if event.kind is not EventKind.USAGE:
            continue
        tokens = event.data.get("tokens") or {}
        counts = [int(tokens.get(name) or 0) for name in ("input", "output", "cache_read", "cache_write")]
        sums = [total + count for total, count in zip(sums, counts, strict=True)]
        stated = event.data.get("cost_usd")
        cost += Decimal(str(stated)) if stated is not None else imputed_cost(event.data.get("model"), *counts)
    return Totals(cost.quantize(Decimal("0.000001")), (sums[0], sums[1], sums[2], sums[3]))


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
