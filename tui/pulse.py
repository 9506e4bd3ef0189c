"""What every screen shows of the whole: engine, queue, money, and what needs the person. Loaded once for all."""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import asyncpg

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
MONEY = ("charge", "budget", "service")
"""What rings where money was spent or limited."""
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


@dataclass(frozen=True, slots=True)
class Spent:
    """What was charged in a period that runs, in USD. ``limit`` None: no budget limits it."""

    spent: Decimal
    limit: Decimal | None = None

    @property
    def tone(self) -> str:
        """How bad that is."""
        share = self.spent / self.limit if self.limit else Decimal(0)
        return "bad bold" if share >= 1 else "warn" if share >= Decimal("0.8") else "text"


@dataclass(frozen=True, slots=True)
class Money:
    """What was charged today and this month: by the books of the budgets where there are some, else by the ledger."""

    day: Spent
    month: Spent


async def load_money(store: "Store") -> Money:
    """Read the money: today against the daily budget, this month against the monthly budgets of the services."""
    now = store.now()
    midnight = now.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)

    async def query(connection: asyncpg.Connection) -> Money:
        books = [book for book in await rows.accounts(connection, now) if book.unit == "usd"]
        daily = next((book for book in books if book.scope == "day" and book.period == "day"), None)
        monthly = [book for book in books if book.scope == "service" and book.period == "month"]
        today, rest = await rows.charged(connection, midnight, midnight.replace(day=1), [book.key for book in monthly])
        limits = [book.hard for book in monthly if book.hard is not None]
        return Money(
            Spent(daily.spent, daily.hard) if daily else Spent(today),
            Spent(rest + sum(book.spent for book in monthly), sum(limits, Decimal(0)) if limits else None),
        )

    return await store.read(query)


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
