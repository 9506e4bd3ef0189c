"""The money: how much of each budget is spent and reserved, where it becomes too much, and what was spent where there is no budget."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tui.actions import Subject
from tui.ink import Ink, Part, money, plain
from tui.pulse import load_status
from tui.widgets.charts import burn_down, limit_bar
from tui.widgets.panel import TablePanel
from tui.widgets.rows import Column, Rows

if TYPE_CHECKING:
    from core.commands.budget import Budget
    from storage.queries.analytics import Burn

_SCOPES = ("service", "day", "project", "agent", "task", "sum")


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
    soft: Decimal | None = None
    status: str = ""
    """Of a service: active, suspended, exhausted, down."""
    why: str = ""
    """Why the service is not active."""
    budget: "Budget | None" = None
    basis: str = ""
    """The weakest that it is made of: measured, estimated or imputed; empty where nothing was spent."""

    @property
    def share(self) -> float:
        """How much of the limit is spent or reserved, 0 to 1 and beyond."""
        return float((self.spent + self.reserved) / self.limit) if self.limit else 0.0

    @property
    def tone(self) -> str:
        """How bad that is."""
        used = self.spent + self.reserved
        if self.limit is not None and used >= self.limit:
            return "bad"
        return "warn" if self.share >= 0.8 or (self.soft is not None and used >= self.soft) else "ok"


def lines_of(budgets: "Sequence[Budget]", services: Sequence[Any]) -> list[Line]:
    """Budgets as lines, services first; what a rule for each counts is shown where it counts, not the rule."""
    states = {service.name: service for service in services}
    lines = []
    for row in budgets:
        service = states.get(row.key) if row.scope == "service" else None
        lines.append(
            Line(
                _called(row.scope, row.key),
                row.period,
                row.unit,
                row.spent,
                row.reserved,
                row.hard,
                row.scope,
                f"{row.scope}:{row.key}:{row.unit}:{row.period}",
                row.soft,
                service.status if service else "",
                (service.reason or "") if service else "",
                row,
                row.basis or "",
            )
        )
    return sorted(lines, key=lambda line: (_SCOPES.index(line.kind), line.name))


def _called(scope: str, key: str) -> str:
    if key == "*":
        return f"each {scope}"
    return f"#{key}" if scope == "task" else key or "everything"


def subject_of_budget(row: Line) -> Subject:
    """A budget as what actions work on."""
    names: dict[str, str] = {}
    if row.budget is not None:
        names |= {
            "budget-of": row.kind,
            "budget-key": row.budget.key or "-",
            "budget-unit": row.unit,
            "budget-period": row.period,
        }
    if row.kind in ("service", "project", "agent", "task") and row.budget is not None and row.budget.key != "*":
        names[row.kind] = row.budget.key
    return Subject("budget" if row.budget else "sum", names, plain(f"{row.name} {row.period}"), row)


def amount(value: Decimal, unit: str) -> str:
    """An amount in the unit of a budget."""
    return money(value) if unit == "usd" else f"{int(value):,}"


def in_words(value: Decimal, unit: str) -> str:
    """An amount that says its unit."""
    return amount(value, unit) if unit == "usd" else f"{amount(value, unit)} {unit}"


def bounds(burn: "Burn") -> tuple[str, str]:
    """Where a period begins and ends, by the clock of its budget: days, or times where it is shorter than a week."""
    form = "%m-%d" if burn.period in ("month", "week") else "%H:%M"
    return burn.starts.strftime(form), burn.ends.strftime(form)


def burn_plot(
    ink: Ink, burn: "Burn", width: int, height: int, ahead: tuple[float, float, float] | None = None
) -> list[list[Part]]:
    """What is left of a budget step by step, with its axes, in ``height`` lines and one more. ``ahead``: see :func:`tui.widgets.charts.burn_down`."""
    top, bottom = amount(burn.hard, burn.unit), "$0" if burn.unit == "usd" else "0"
    label = max(8, len(top) + 1)
    plot = burn_down(ink, burn.left, float(burn.hard), burn.span, max(8, width - label - 1), height, ahead=ahead)
    lines: list[list[Part]] = [
        [(f"{top if n == 0 else bottom if n == len(plot) - 1 else '':>{label}} ", "dim"), *line]
        for n, line in enumerate(plot)
    ]
    first, last = bounds(burn)
    gap = max(1, width - label - 1 - len(first) - len(last))
    return [*lines, [(" " * (label + 1) + first + " " * gap + last, "dim")]]


def _name(row: Line, at: Rows) -> Sequence[Part]:
    parts: list[Part] = [(plain(row.name), "text"), (f" {row.period}", "dim")]
    if row.status not in ("", "active"):
        parts += [("  ", ""), at.ink.state(row.status)]
    return parts


def _spent(row: Line, at: Rows) -> Sequence[Part]:
    return [(labelled(amount(row.spent, row.unit), row.basis, at.ink), "text")]


def basis(row: Any, at: Rows) -> Sequence[Part]:  # noqa: ARG001 - as every column
    """Where what is spent comes from, at its weakest."""
    return [(row.basis or "", "dim" if row.basis == "measured" else "warn")]


def labelled(text: str, basis: str | None, ink: Ink) -> str:
    """A figure with the mark of where it comes from: about (estimated), at most (imputed), none where it was measured."""
    return {"estimated": "~", "imputed": "≤" if ink.unicode else "<"}.get(basis or "", "") + text


def _limit(row: Line, at: Rows) -> Sequence[Part]:  # noqa: ARG001
    if row.kind == "sum":
        return [("", "")]
    unit = "" if row.unit == "usd" else f" {row.unit}"
    return [(f"/ {amount(row.limit, row.unit)}{unit}" if row.limit is not None else "no limit", "dim")]


def bar(row: Line, at: Rows, width: int) -> Sequence[Part]:
    """What is spent in full, what is reserved hatched, the soft limit marked."""
    if not row.limit:
        return [("", "")]
    soft = None if row.soft is None else float(row.soft)
    drawn = limit_bar(at.ink, float(row.spent), float(row.reserved), float(row.limit), soft, width)
    return [(text, f"{tone} upright") for text, tone in drawn]


def _bar(row: Line, at: Rows) -> Sequence[Part]:
    if row.kind == "sum" and row.spent and at.deck.choices.notice:
        return [("uncharged", "dim")]
    return bar(row, at, 10)


def percent(row: Line, at: Rows) -> Sequence[Part]:  # noqa: ARG001 - as every column
    """How much of it is used."""
    return [(f"{row.share:.0%}" if row.limit else "", row.tone)]


class BudgetsPanel(TablePanel):
    """Budgets."""

    number = 5
    name_shown = "budgets"
    scopes = ("budgets", "rows", "motion")
    topics = ("budget", "charge", "service", "run", "task")
    columns = (
        Column("budget", 0, _name, rank=10, least=15),
        Column("", 10, _bar, rank=9),
        Column("used", 4, percent, right=True, rank=5),
        Column("spent", 9, _spent, right=True, rank=8),
        Column("basis", 9, basis, rank=1),
        Column("limit", 10, _limit, rank=4),
    )

    async def load_all(self) -> Sequence[Line]:
        """The budgets in force; then what was spent today and this month."""
        store = self.deck.store
        status = await load_status(store)  # the commands of money are read from their files only now, while others load
        budgets: list[Budget] = await store.ask("budget.list")
        services = await store.ask("service.list") if budgets else []
        lines = lines_of([row for row in budgets if row.key != "*"], services)
        zero = Decimal(0)
        spend = status.spend
        for period, spent, weakest in (
            ("today", spend.today_usd, spend.today_basis),
            ("month", spend.month_usd, spend.month_basis),
        ):
            lines.append(Line("all runs", period, "usd", spent, zero, None, "sum", period, basis=weakest or ""))
        return lines

    def key_of(self, row: Line) -> Hashable:
        """What it is a budget of."""
        return row.key

    def fields_of(self, row: Line) -> Mapping[str, str | None]:
        """``project:`` and ``agent:`` look at what it is for."""
        return {row.kind: row.name, "status": row.status}

    def subject_of(self, row: Any) -> Subject:
        """A budget has the name of what it is for."""
        return subject_of_budget(row)

    def summary(self) -> list[Part]:
        """The budget that is nearest to its limit."""
        limited = [row for row in self.rows.values() if row.limit]
        if not limited:
            return []
        worst = max(limited, key=lambda row: row.share)
        return [(f"{plain(worst.name)} {worst.share:.0%}", worst.tone)]

    def nothing(self) -> Sequence[str]:
        """What would be here."""
        return ("Nothing was spent yet", "budgets of services and projects appear here")
