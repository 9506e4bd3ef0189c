"""The audit trail: written by triggers, read here."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

_LIMITS = ("hard", "soft")


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One change: who, what, when, before and after (on an update only what changed)."""

    id: int
    at: datetime
    actor: str
    role: str
    kind: str
    key: str
    action: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


async def list_audit(
    connection: asyncpg.Connection,
    *,
    actor: str | None,
    since: datetime | None,
    kind: str | None,
    key: str | None,
    before: int | None,
    limit: int,
) -> list[AuditRow]:
    """The newest changes first; limits in dollars as ``hard_usd`` and ``soft_usd``. Served by the primary key, and by audit_key where a kind and key
    are named, or the unit of a budget that is gone is looked for.
    """
    rows = await connection.fetch(
        """select id, at, actor, role, kind, key, action, before, after,
                  case when kind = 'budget' then coalesce(before ->> 'unit', after ->> 'unit', (select b.unit from budget b where b.id::text = a.key),
                    (select d.before ->> 'unit' from audit d where d.kind = 'budget' and d.key = a.key and d.action = 'delete' limit 1)) end as unit
             from audit a
            where ($1::text is null or actor = $1) and ($2::timestamptz is null or at >= $2)
              and ($3::text is null or kind = $3) and ($4::text is null or key = $4) and ($5::bigint is null or id < $5)
            order by id desc limit $6""",
        actor,
        since,
        kind,
        key,
        before,
        limit,
    )
    return [_row(dict(row)) for row in rows]


def _row(found: dict[str, Any]) -> AuditRow:
    if found.pop("unit") == "usd":
        found |= {name: _in_dollars(found[name]) for name in ("before", "after")}
    return AuditRow(**found)


def _in_dollars(values: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The values of a budget, whose limits are held in micro-dollars."""
    if values is None:
        return None
    return {
        (f"{name}_usd" if name in _LIMITS else name): value / 1_000_000
        if name in _LIMITS and value is not None
        else value
        for name, value in values.items()
    }


async def audit_kinds(connection: asyncpg.Connection) -> list[str]:
    """The tables that are audited."""
    rows = await connection.fetch(
        """select distinct c.relname::text as kind from pg_trigger t join pg_class c on c.oid = t.tgrelid
            where t.tgname = 'audit' and not t.tgisinternal order by 1"""
    )
    return [row["kind"] for row in rows]
