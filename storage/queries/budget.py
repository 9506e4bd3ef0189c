"""The ledger's hot path: reserve a call, settle it, sweep what a dead gateway left; run tokens and leases of gateways.

Each function is one statement; the rules live in the database (``budget_reserve`` and its sisters, see the migrations).
Money is whole micro-dollars (millionths of a USD).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import asyncpg

Outcome = Literal["granted", "dead", "unknown", "suspended", "limit", "busy", "open"]
"""``limit``: no room before the period ends; ``busy``: what others have reserved is in the way."""

Basis = Literal["measured", "estimated", "imputed"]
"""Where a figure comes from: the provider's own count; what was seen of it, or an agent's own word; a declared or reserved worst case."""

Final = Literal["settled", "released"]


@dataclass(frozen=True, slots=True)
class Tokens:
    """Five disjoint classes of tokens; ``thinking`` is a part of ``output``."""

    input: int = 0
    """What was neither read from the cache nor written to it."""
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0
    thinking: int = 0

    @property
    def prompt(self) -> int:
        """All that went in."""
        return self.input + self.cache_read + self.cache_write_5m + self.cache_write_1h

    @property
    def total(self) -> int:
        """All classes."""
        return self.prompt + self.output


@dataclass(frozen=True, slots=True)
class Ask:
    """A call that wants to be reserved. Bounds in tokens, money in micro-dollars."""

    id: UUID
    service: str
    model: str
    input_tokens: int
    input_micro: int
    output: int
    """Tokens of output wanted per answer."""
    least: int
    """Fewer tokens of output make no sense."""
    output_rate: int
    """Micro-dollars per million tokens."""
    choices: int = 1
    instead_of: str | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """What became of an :class:`Ask`. ``output`` and ``reserved`` are set when it was granted, ``budget`` to ``until`` when not."""

    outcome: Outcome
    output: int | None
    reserved: int | None
    run: int | None
    task: int | None
    project: str | None
    agent: str | None
    budget: int | None
    key: str | None
    need: int | None
    until: datetime | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a charge ends; ``cost`` in micro-dollars."""

    charge: UUID
    status: Final
    cost: int = 0
    tokens: Tokens | None = None
    basis: Basis = "measured"
    note: str | None = None
    model: str | None = None


async def reserve(
    connection: asyncpg.Connection,
    ask: Ask,
    token: bytes,
    gateway: int,
    *,
    patient: bool = False,
    at: datetime | None = None,
) -> Grant:
    """Reserve the worst case of a call against every account that concerns it, all or nothing.

    ``token``: the SHA-256 of the run token. ``patient``: rather be told ``busy`` than cut short by what others have reserved.
    Repeating it with the same id returns the first answer. ``at``: another time than the database's, for tests.
    """
    for _ in range(3):
        row = await connection.fetchrow(
            "select * from budget_reserve($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
            ask.id,
            token,
            ask.service,
            ask.model,
            gateway,
            ask.input_tokens,
            ask.input_micro,
            ask.output,
            ask.least,
            ask.output_rate,
            ask.choices,
            patient,
            ask.instead_of,
            at,
        )
        grant = Grant(*row)
        if grant.outcome != "open":
            return grant
        await connection.execute(
            "select budget_open($1, $2, $3, $4, $5)", ask.service, grant.project, grant.task, grant.agent, at
        )
    raise RuntimeError("accounts that were opened are not there: the clock of the database jumps")


async def settle(
    connection: asyncpg.Connection,
    charge: UUID,
    status: Final,
    cost: int = 0,
    tokens: Tokens | None = None,
    *,
    basis: Basis = "measured",
    note: str | None = None,
    model: str | None = None,
) -> str:
    """End a charge at its true cost in micro-dollars, or release it. Idempotent.

    Returns the new status, ``repeated`` when it had ended already, ``unknown`` when there is no such charge.
    """
    ended = Settlement(charge, status, cost, tokens, basis, note, model)
    status_: str = await connection.fetchval(f"select {_SETTLE}", *_values(ended))
    return status_


async def settle_soon(connection: asyncpg.Connection, item: Settlement) -> None:
    """As :func:`settle`, without waiting for the disk: what a crash of the server forgets has to be settled again, see :func:`unsettled`."""
    await connection.execute(f"select set_config('synchronous_commit', 'off', true), {_SETTLE}", *_values(item))


async def unsettled(connection: asyncpg.Connection, charges: Sequence[UUID]) -> list[UUID]:
    """Which of these charges are still reserved, or presumed by a sweep meanwhile. Served by the primary key."""
    rows = await connection.fetch(
        "select id from charge where id = any($1) and status in ('reserved', 'presumed')", list(charges)
    )
    return [row["id"] for row in rows]


_SETTLE = "budget_settle($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"


def _values(item: Settlement) -> tuple[Any, ...]:
    used = item.tokens or Tokens()
    return (
        item.charge,
        item.status,
        item.basis,
        item.cost,
        used.input,
        used.cache_read,
        used.cache_write_5m,
        used.cache_write_1h,
        used.output,
        used.thinking,
        item.note,
        item.model,
    )


async def sweep(connection: asyncpg.Connection) -> UUID | None:
    """Presume spent, in full, one reservation of a gateway that is gone; its id. Ask until None."""
    charge: UUID | None = await connection.fetchval("select budget_sweep()")
    return charge


async def register(
    connection: asyncpg.Connection, *, name: str, pid: int, url: str, version: str, lease: timedelta
) -> int:
    """Announce a gateway process and start its lease; what earlier processes of its name left is the sweep's."""
    gateway: int = await connection.fetchval(
        "select gateway_register($1, $2, $3, $4, $5)", name, pid, url, version, lease
    )
    return gateway


async def heartbeat(connection: asyncpg.Connection, gateway: int, lease: timedelta) -> None:
    """Renew the lease of all that a gateway has reserved."""
    await connection.execute("select gateway_heartbeat($1, $2)", gateway, lease)


async def strays(connection: asyncpg.Connection, gateway: int, held: Sequence[UUID]) -> list[UUID]:
    """Charges that the database holds reserved for a gateway which does not know of them: replies that were lost.

    Only those between half a minute and an hour old are looked at: younger ones may be on their way. Index: charge_at.
    """
    rows = await connection.fetch(
        """select id from charge where gateway = $1 and status = 'reserved' and id <> all($2)
              and at between clock_timestamp() - interval '1 hour' and clock_timestamp() - interval '30 s'""",
        gateway,
        list(held),
    )
    return [row["id"] for row in rows]


async def resign(connection: asyncpg.Connection, gateway: int) -> None:
    """A gateway ends in order: its lease is over at once."""
    await connection.execute("update gateway set lease_until = clock_timestamp() where id = $1", gateway)


async def reconcile(connection: asyncpg.Connection) -> dict[str, int]:
    """The check of the books: what is wrong and how often. All is well when every number is 0."""
    return {row["what"]: row["n"] for row in await connection.fetch("select what, n from budget_reconcile()")}


async def store_token(connection: asyncpg.Connection, run: int, digest: bytes) -> None:
    """Let the token with this SHA-256 act for a run as long as the run is alive."""
    await connection.execute("insert into run_token (hash, run) values ($1, $2)", digest, run)


async def revoke_tokens(connection: asyncpg.Connection, run: int) -> int:
    """End every token of a run; how many."""
    status = await connection.execute(
        "update run_token set revoked_at = clock_timestamp() where run = $1 and revoked_at is null", run
    )
    return int(status.split()[-1])


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whose token it is."""

    run: int
    task: int
    project: str
    agent: str


async def bearer(connection: asyncpg.Connection, digest: bytes) -> Bearer | None:
    """The live run that a token belongs to. Served by primary keys."""
    row = await connection.fetchrow(
        """select r.number, r.task, r.project, r.agent from run_token t join run r on r.number = t.run
            where t.hash = $1 and t.revoked_at is null and r.status in ('starting', 'running', 'verifying')""",
        digest,
    )
    return Bearer(*row) if row else None


@dataclass(frozen=True, slots=True)
class Service:
    """Something that costs money per use, with its circuit, as the gateway needs it."""

    name: str
    provider: str
    kind: str
    base_url: str | None
    catalogue: str | None
    fallback: str | None
    models: tuple[str, ...]
    model_map: Mapping[str, str]
    prices: Mapping[str, Any]
    worst_price: Mapping[str, Any] | None
    stream_options: bool
    """Whether a stream can be asked for its usage (OpenAI's ``stream_options``)."""
    suspended: bool
    circuit: str
    open_until: datetime | None
    failures: int
    reason: str | None


async def services(connection: asyncpg.Connection) -> list[Service]:
    """All services, the oldest first."""
    rows = await connection.fetch(
        """select s.name, s.provider, s.kind, s.base_url, s.catalogue, s.fallback, s.models, s.model_map, s.prices, s.worst_price, s.stream_options,
                  s.suspended, coalesce(c.state, 'closed') as circuit, c.open_until, coalesce(c.failures, 0) as failures, c.reason
             from service s left join circuit c on c.service = s.name order by s.created_at, s.name"""
    )
    return [Service(**{**dict(row), "models": tuple(row["models"])}) for row in rows]


async def store_circuit(
    connection: asyncpg.Connection, service: str, state: str, until: datetime | None, failures: int, reason: str | None
) -> None:
    """The health of a service, for other gateways and for the screen; nothing when the service is gone."""
    await connection.execute(
        """insert into circuit (service, state, open_until, failures, reason) select name, $2, $3, $4, $5 from service where name = $1
           on conflict (service) do update set state = excluded.state, open_until = excluded.open_until, failures = excluded.failures,
           reason = excluded.reason, updated_at = clock_timestamp()""",
        service,
        state,
        until,
        failures,
        reason,
    )


async def add_alert(
    connection: asyncpg.Connection,
    kind: str,
    scope: str,
    key: str,
    text: str,
    *,
    level: int = 0,
    period: datetime | None = None,
    rule: int | None = None,
) -> bool:
    """Tell a person something once; False when it has been told already for this period. ``rule``: the budget that it is about."""
    status = await connection.execute(
        """insert into alert (kind, scope, key, text, level, period_start, budget)
           values ($1, $2, $3, $4, $5, coalesce($6::timestamptz, '-infinity'), $7) on conflict do nothing""",
        kind,
        scope,
        key,
        text,
        level,
        period,
        rule,
    )
    return bool(status.endswith(" 1"))


async def add_notice(connection: asyncpg.Connection, run: int, kind: str, text: str, data: Mapping[str, Any]) -> None:
    """Something that the engine is to tell about a run."""
    await connection.execute(
        "insert into run_notice (run, kind, text, data) values ($1, $2, $3, $4)", run, kind, text, dict(data)
    )
