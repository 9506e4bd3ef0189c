"""The money: how much of each budget is spent and reserved; what was spent where there is no budget yet."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from storage.queries import screen as queries
from tui.actions import Subject
from tui.ink import Part, money, plain
from tui.widgets.panel import TablePanel
from tui.widgets.rows import Column, Rows


@dataclass(frozen=True, slots=True)
class Line:
    """One budget, or one sum."""

    name: str
    period: str
    unit: str
    spent: Decimal
    reserved: Decimal
    limit: Decimal | None
    kind: str
    key: str

    @property
    def share(self) -> float:
        """How much of the limit is spent or reserved, 0 to 1 and beyond."""
        return float((self.spent + self.reserved) / self.limit) if self.limit else 0.0


def _amount(line: Line, value: Decimal) -> str:
    return money(value) if line.unit == "usd" else f"{int(value):,}"


def _name(row: Line, at: Rows) -> Sequence[Part]:  # noqa: ARG001
    return [(plain(row.name), "text"), (f" {row.period}", "dim")]


def _spent(row: Line, at: Rows) -> Sequence[Part]:  # noqa: ARG001
    return [(_amount(row, row.spent), "text")]


def _limit(row: Line, at: Rows) -> Sequence[Part]:  # noqa: ARG001
    return [(f"/ {_amount(row, row.limit)}" if row.limit is not None else "no limit", "dim")]


def _tone(row: Line) -> str:
    return "bad" if row.share >= 1 else "warn" if row.share >= 0.8 else "ok"


def _bar(row: Line, at: Rows) -> Sequence[Part]:
    return at.ink.bar(min(1.0, row.share), 10, _tone(row)) if row.limit else [("", "")]


def _percent(row: Line, at: Rows) -> Sequence[Part]:  # noqa: ARG001
    return [(f"{row.share:.0%}" if row.limit else "", _tone(row))]


class BudgetsPanel(TablePanel):
    """Budgets."""

    number = 5
    name_shown = "budgets"
    scopes = ("budgets", "rows", "motion")
    topics = ("budget", "charge", "service", "run", "task")
    columns = (
        Column("budget", 0, _name, rank=10, least=15),
        Column("", 10, _bar, rank=3),
        Column("used", 4, _percent, right=True, rank=5),
        Column("spent", 9, _spent, right=True, rank=9),
        Column("limit", 10, _limit, rank=7),
    )

    async def load_all(self) -> Sequence[Line]:
        """The budgets in force; then what was spent today and this month."""
        accounts = await self.deck.store.read(lambda c: queries.accounts(c, self.deck.store.now()))
        lines = [
            Line(
                a.key or "everything",
                a.period,
                a.unit,
                a.spent,
                a.reserved,
                a.hard,
                a.scope,
                f"{a.scope}:{a.key}:{a.unit}:{a.period}",
            )
            for a in accounts
        ]
        status = await self.deck.store.ask("status")
        zero = Decimal(0)
        lines.append(Line("all runs", "today", "usd", status.spend.today_usd, zero, None, "sum", "today"))
        lines.append(Line("all runs", "month", "usd", status.spend.month_usd, zero, None, "sum", "month"))
        return lines

    def key_of(self, row: Line) -> Hashable:
        """What it is a budget of."""
        return row.key

    def subject_of(self, row: Any) -> Subject:
        """A service has a name of its own."""
        names = {"service": row.name} if row.kind == "service" else {}
        return Subject(row.kind, names, plain(f"{row.name} {row.period}"), row)

    def summary(self) -> list[Part]:
        """The budget that is nearest to its limit."""
        limited = [row for row in self.rows.values() if row.limit]
        if not limited:
            return []
        worst = max(limited, key=lambda row: row.share)
        return [(f"{plain(worst.name)} {worst.share:.0%}", _tone(worst))]

    def nothing(self) -> Sequence[str]:
        """What would be here."""
        return ("Nothing was spent yet", "budgets of services and projects appear here")
