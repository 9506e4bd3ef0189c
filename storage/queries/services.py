"""Services, as people look at them and change them. Money is micro-dollars."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from storage.queries.records import from_record


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """A service with the present period of its budget in USD."""

    name: str
    id: UUID
    provider: str
    kind: str
    base_url: str | None
    key_env: str | None
    catalogue: str | None
    fallback: str | None
    models: tuple[str, ...]
    model_map: Mapping[str, str]
    prices: Mapping[str, Any]
    worst_price: Mapping[str, Any] | None
    stream_options: bool
    suspended: bool
    suspended_reason: str | None
    exhausted: bool
    circuit: str
    open_until: datetime | None
    circuit_reason: str | None
    period: str | None
    hard: int | None
    spent: int
    estimated: int
    imputed: int
    reserved: int
    starts: datetime | None
    ends: datetime | None


_SERVICES = """
select s.name, s.id, s.provider, s.kind, s.base_url, s.key_env, s.catalogue, s.fallback, s.models, s.model_map, s.prices, s.worst_price, s.stream_options,
       s.suspended, s.suspended_reason, coalesce(s.exhausted_until > clock_timestamp(), false) as exhausted,
       case when c.state = 'open' and c.open_until < clock_timestamp() then 'half_open' else coalesce(c.state, 'closed') end as circuit,
       c.open_until, c.reason as circuit_reason, b.period, coalesce(a.hard, b.hard) as hard, coalesce(a.spent, 0) as spent,
       coalesce(a.estimated, 0) as estimated, coalesce(a.imputed, 0) as imputed, coalesce(a.reserved, 0) as reserved, nullif(coalesce(a.starts, p.starts), '-infinity') as starts, nullif(coalesce(a.ends, p.ends), 'infinity') as ends
  from service s
  left join circuit c on c.service = s.name
  left join lateral (select * from budget b where b.scope = 'service' and b.key in (s.name, '*') and b.unit = 'usd'
                      order by b.key = '*', b.hard is null, b.period = 'month' desc limit 1) b on true
  left join account a on a.budget = b.id and a.key = s.name and a.starts <= clock_timestamp() and clock_timestamp() < a.ends
  left join lateral budget_period(b.period, b.zone, b.starts_on, clock_timestamp()) p on b.id is not null
"""


async def list_services(connection: asyncpg.Connection) -> list[ServiceRow]:
    """All services, by name."""
    return [
        found
        for row in await connection.fetch(_SERVICES + " order by s.name")
        if (found := from_record(ServiceRow, row))
    ]


async def find_service(connection: asyncpg.Connection, name: str) -> ServiceRow | None:
    """One service."""
    return from_record(ServiceRow, await connection.fetchrow(_SERVICES + " where s.name = $1", name))


async def insert_service(connection: asyncpg.Connection, name: str, columns: Mapping[str, Any]) -> bool:
    """Add a service; False when the name exists."""
    names = ["name", *columns]
    marks = ", ".join(f"${position}" for position in range(1, len(names) + 1))
    status = await connection.execute(
        f"insert into service ({', '.join(names)}) values ({marks}) on conflict (name) do nothing",  # noqa: S608 - names are ours
        name,
        *columns.values(),
    )
    return bool(status == "INSERT 0 1")


async def update_service(connection: asyncpg.Connection, name: str, columns: Mapping[str, Any]) -> bool:
    """Set columns of a service; False when there is none."""
    assignments = ", ".join(f"{column} = ${position}" for position, column in enumerate(columns, start=2))
    status = await connection.execute(
        f"update service set {assignments}, updated_at = now() where name = $1",  # noqa: S608 - names are ours
        name,
        *columns.values(),
    )
    return bool(status == "UPDATE 1")


async def fallback_loop(connection: asyncpg.Connection, name: str, fallback: str) -> list[str] | None:
    """The chain from ``fallback`` on, when it leads back to ``name``."""
    chain = [name]
    at: str | None = fallback
    while at is not None and len(chain) <= 100:
        chain.append(at)
        if at == name:
            return chain
        at = await connection.fetchval("select fallback from service where name = $1", at)
    return None


async def close_circuit(connection: asyncpg.Connection, service: str) -> None:
    """A person says that a service is well."""
    await connection.execute(
        "update circuit set state = 'closed', open_until = null, failures = 0, reason = null, updated_at = clock_timestamp() where service = $1",
        service,
    )


async def note_key(connection: asyncpg.Connection, service: str) -> None:
    """A service has got a key: it may be asked again at once, and whoever was told that it has none need not know any more."""
    await close_circuit(connection, service)
    await connection.execute("delete from alert where kind = 'key' and scope = 'service' and key = $1", service)


async def remove_service(connection: asyncpg.Connection, name: str) -> bool:
    """Remove a service and its budgets; its charges stay."""
    await connection.execute("delete from budget where scope = 'service' and key = $1", name)
    return bool(await connection.execute("delete from service where name = $1", name) == "DELETE 1")


async def open_charges(connection: asyncpg.Connection, service: str) -> int:
    """Calls to a service that are under way."""
    count: int = await connection.fetchval(
        "select count(*) from charge where service = $1 and status = 'reserved'", service
    )
    return count
