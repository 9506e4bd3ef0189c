"""The audit trail: written by triggers, read here."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg


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
    """The newest changes first. Served by the primary key, and by audit_key where a kind and key are named."""
    rows = await connection.fetch(
        """select id, at, actor, role, kind, key, action, before, after from audit
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
    return [AuditRow(**row) for row in rows]


async def audit_kinds(connection: asyncpg.Connection) -> list[str]:
    """The tables that are audited."""
    rows = await connection.fetch(
        """select distinct c.relname::text as kind from pg_trigger t join pg_class c on c.oid = t.tgrelid
            where t.tgname = 'audit' and not t.tgisinternal order by 1"""
    )
    return [row["kind"] for row in rows]
