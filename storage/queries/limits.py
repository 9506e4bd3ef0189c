"""Budgets, as people look at them and change them: rules, and the book of each in its present period. Money is micro-dollars."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import asyncpg

from storage.queries.records import from_record

Scope = Literal["service", "project", "task", "agent", "day"]
Unit = Literal["usd", "tokens", "calls", "runs"]


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """A rule with the book of one key in the present period, in the rule's unit. ``estimated`` and ``imputed`` are parts of ``spent``."""

    id: int
    scope: Scope
    key: str
    unit: Unit
    period: str
    zone: str
    starts_on: int
    rule_hard: int | None
    soft: int | None
    thresholds: tuple[int, ...]
    hard: int | None
    spent: int
    reserved: int
    estimated: int
    imputed: int
    overrun: int
    starts: datetime | None
    ends: datetime | None


_BUDGETS = """
select b.id, b.scope, coalesce(a.key, b.key) as key, b.unit, b.period, b.zone, b.starts_on, b.hard as rule_hard, b.soft, b.thresholds,
       coalesce(a.hard, b.hard) as hard, coalesce(a.spent, 0) as spent, coalesce(a.reserved, 0) as reserved, coalesce(a.overrun, 0) as overrun,
       coalesce(a.estimated, 0) as estimated, coalesce(a.imputed, 0) as imputed,
       nullif(coalesce(a.starts, p.starts), '-infinity') as starts, nullif(coalesce(a.ends, p.ends), 'infinity') as ends
  from budget b
  left join account a on a.budget = b.id and a.starts <= clock_timestamp() and clock_timestamp() < a.ends
  left join lateral budget_period(b.period, b.zone, b.starts_on, clock_timestamp()) p on true
"""


async def list_budgets(
    connection: asyncpg.Connection, scope: str | None = None, key: str | None = None
) -> list[BudgetRow]:
    """Rules and their books; a rule for each has a row per account."""
    rows = await connection.fetch(
        _BUDGETS + " where ($1::text is null or b.scope = $1) and ($2::text is null or coalesce(a.key, b.key) = $2)"
        " order by b.scope, coalesce(a.key, b.key), b.unit, b.period",
        scope,
        key,
    )
    return [found for row in rows if (found := from_record(BudgetRow, row))]


async def unlimited(
    connection: asyncpg.Connection, scope: Literal["service", "project"], key: str, now: datetime
) -> BudgetRow:
    """The month of a service or project in USD as a budget without a limit would count it; its id is 0. Index: charge_at."""
    row = await connection.fetchrow(
        f"""select p.starts, p.ends, coalesce(sum(c.cost_micro), 0)::bigint as spent,
                   coalesce(sum(c.cost_micro) filter (where c.basis = 'estimated'), 0)::bigint as estimated,
                   coalesce(sum(c.cost_micro) filter (where c.basis = 'imputed'), 0)::bigint as imputed
              from budget_period('month', 'UTC', 1, $2) p left join charge c on c.{scope} = $1 and c.at >= p.starts and c.at < p.ends
             group by 1, 2""",  # noqa: S608 - one of two names
        key,
        now,
    )
    return BudgetRow(
        id=0, scope=scope, key=key, unit="usd", period="month", zone="UTC", starts_on=1, rule_hard=None, soft=None, thresholds=(), hard=None,
        spent=row["spent"], reserved=0, estimated=row["estimated"], imputed=row["imputed"], overrun=0, starts=row["starts"], ends=row["ends"],
    )  # fmt: skip


async def set_budget(
    connection: asyncpg.Connection,
    scope: str,
    key: str,
    unit: str,
    period: str,
    hard: int | None,
    soft: int | None,
    *,
    zone: str = "UTC",
    starts_on: int = 1,
    thresholds: list[int] | None = None,
) -> int:
    """Set a rule; its id. The present accounts follow at once."""
    rule: int = await connection.fetchval(
        "select budget_set($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        scope,
        key,
        unit,
        period,
        hard,
        soft,
        zone,
        starts_on,
        thresholds,
    )
    return rule


async def override_budget(connection: asyncpg.Connection, rule: int, key: str, extra: int) -> bool:
    """Let an account go beyond its limit in this period; False when it has not been opened."""
    done: bool = await connection.fetchval("select budget_override($1, $2, $3)", rule, key, extra)
    return done


async def remove_budget(connection: asyncpg.Connection, rule: int) -> bool:
    """Remove a rule and its books; the ledger stays. A service that had used it up has not any more."""
    await connection.execute(
        "select pg_advisory_xact_lock(hashtext('qd.budget'))"
    )  # before the rows, as a reserve does
    await connection.execute(
        """update service s set exhausted_until = null from budget b
            where b.id = $1 and b.scope = 'service' and b.key in (s.name, '*') and s.exhausted_until is not null""",
        rule,
    )
    return bool(await connection.execute("delete from budget where id = $1", rule) == "DELETE 1")


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A rule by itself: ``key`` is its own, ``*`` for a rule for each."""

    id: int
    scope: Scope
    key: str
    unit: Unit
    period: str
    zone: str
    starts_on: int
    hard: int | None
    soft: int | None


async def find_rules(
    connection: asyncpg.Connection, scope: str, key: str, unit: str, period: str | None = None
) -> list[RuleRow]:
    """The rules for one key in one unit: several only where their periods differ."""
    rows = await connection.fetch(
        """select id, scope, key, unit, period, zone, starts_on, hard, soft from budget
            where scope = $1 and key = $2 and unit = $3 and ($4::text is null or period = $4) order by period""",
        scope,
        key,
        unit,
        period,
    )
    return [RuleRow(**row) for row in rows]
