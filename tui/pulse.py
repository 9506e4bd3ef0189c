"""What every screen shows of the whole: engine, queue, money, and what needs the person. Loaded once for all."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.commands.general import Status
from storage.queries import screen as rows

if TYPE_CHECKING:
    from tui.store import Store

TOPICS = (
    "task",
    "run",
    "run-input",
    "event",
    "question",
    "review",
    "engine",
    "queue",
    "settings",
    "project",
    "budget",
    "service",
)
STALLED_SECONDS = 300.0
"""A live run that says nothing for so long is stalled."""
FAILED_DAYS = 3.0
"""A failure that is older is history, not news."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """How everything stands."""

    status: Status
    paused: bool
    limit: int
    """Runs that the engine may have at a time."""
    needs: tuple[rows.Need, ...]


async def load_pulse(store: "Store") -> Pulse:
    """Read how everything stands."""
    status, settings = await load_status(store), await store.settings()
    return Pulse(status, settings.queue.paused, settings.engine.max_parallel, await load_needs(store))


async def load_status(store: "Store") -> Status:
    """How everything stands, in figures: one load for all who show some of them."""
    found: Status = await store.once("status", lambda: store.ask("status"))
    return found


async def load_needs(store: "Store") -> tuple[rows.Need, ...]:
    """What needs the person, the most urgent first; as :func:`load_status`."""
    return await store.once(
        "needs",
        lambda: store.read(
            lambda c: rows.needs(c, store.now(), stalled_seconds=STALLED_SECONDS, failed_days=FAILED_DAYS)
        ),
    )
