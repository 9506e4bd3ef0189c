"""What becomes of a budget, of any scope, unit and period: where its period will end, and when it runs out.

Months and weeks, and what is never renewed, are foretold from what was spent day by day, in the budget's own time zone;
shorter periods and single tasks, which live for hours, from what was spent hour by hour.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from core.budget.forecast import Interval, exhaustion, period_end
from storage.queries import spending
from storage.queries.limits import BudgetRow

DAYS_BACK = 28
HOURS_BACK = 7 * 24
SHORT_HOURS = 48
"""Periods of at most so many hours are looked at hour by hour."""


@dataclass(frozen=True, slots=True)
class Foresight:
    """``end``: what the period will have used at its end, in the budget's unit; None for what is never renewed, or where too
    little is known. ``samples``: the days or hours that it is foretold from.
    """

    end: Interval | None
    runs_out_at: datetime | None
    samples: int


async def foresee(connection: asyncpg.Connection, row: BudgetRow, now: datetime) -> Foresight:
    """What becomes of a budget."""
    step: spending.Step = "hour" if _is_short(row) else "day"
    length = timedelta(hours=1) if step == "hour" else timedelta(days=1)
    back = HOURS_BACK if step == "hour" else DAYS_BACK
    used = await spending.totals(connection, row.scope, row.key, row.unit, row.zone, step, back)
    if row.ends is None:
        end, out = None, exhaustion(row.spent, row.hard, used)
    else:
        outlook = period_end(row.spent, row.hard, used, max((row.ends - now) / length, 0.0))
        end, out = (outlook.end, outlook.runs_out_in) if outlook else (None, None)
        if outlook is None and row.hard is not None and row.spent >= row.hard:
            out = 0.0
    return Foresight(end, now + out * length if out is not None else None, len(used))


def _is_short(row: BudgetRow) -> bool:
    if row.period[0].isdigit():
        return int(row.period[:-1]) <= SHORT_HOURS
    return row.period == "day" or row.scope == "task"
