"""The ledger of calls that knowledge makes itself, for vectors and for words: reserved before, settled after, under a lease, as the gateway's calls are."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import asyncpg

from storage.queries import budget

_LEASE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Worst:
    """A call that wants to be made, at worst. ``micro``: micro-dollars; ``tokens``: that go in and come out."""

    charge: UUID
    service: str
    model: str
    tokens: int
    micro: int
    project: str | None
    actor: str


async def register(connection: asyncpg.Connection, name: str, pid: int, version: str) -> int:
    """Begin a lease: what is reserved under it and never settled is presumed spent when it has run out."""
    return await budget.register(connection, name=name, pid=pid, url="", version=version, lease=_LEASE)


async def reserve(connection: asyncpg.Connection, lease: int, worst: Worst) -> tuple[str, str | None]:
    """Reserve a call against every budget of its service and its project, all or nothing: (outcome, budget that refused)."""
    await budget.heartbeat(connection, lease, _LEASE)
    for _ in range(3):
        row = await connection.fetchrow(
            """select outcome, key, reason from budget_reserve($1, null, $2, $3, $4, $5, $6, 0, 0, 0, 1, false,
                      p_project => $7, p_actor => $8)""",
            worst.charge,
            worst.service,
            worst.model,
            lease,
            worst.tokens,
            worst.micro,
            worst.project,
            worst.actor,
        )
        if row["outcome"] != "open":
            return row["outcome"], row["key"] or row["reason"]
        await connection.execute("select budget_open($1, $2, null, null)", worst.service, worst.project)
    raise RuntimeError("accounts that were opened are not there: the clock of the database jumps")


async def release(connection: asyncpg.Connection, charge: UUID, note: str) -> None:
    """The call was not answered: nothing was spent."""
    await budget.settle(connection, charge, "released", note=note[:200])
