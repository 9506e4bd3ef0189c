"""The money in full: every budget with its marks, how it burns down and where it will end, who spent what, what a person should know."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from core.commands.budget import Alert, Budget
from core.commands.charge import Sum
from storage.queries import analytics
from storage.queries.analytics import Burn
from tui.actions import Subject
from tui.ink import Ink, Part, age, money, plain, width_of
from tui.panels.budgets import (
    Line,
    amount,
    bar,
    basis,
    burn_plot,
    in_words,
    labelled,
    lines_of,
    percent,
    subject_of_budget,
)
from tui.screens.paned import PanedScreen
from tui.store import Fresh, Trouble
from tui.widgets.charts import limit_bar
from tui.widgets.page import Page, heading, words
from tui.widgets.panel import TablePanel
from tui.widgets.rows import Column, Rows

if TYPE_CHECKING:
    from core.commands.budget_outlook import Forecast

BYS = ("project", "task", "agent", "model", "service", "day")
"""What charges can be summed up by."""
SINCE_DAYS = 30
LEAST_SAMPLES = 3
"""Days or hours below which nothing is foretold."""


def _of(row: Line, at: Rows) -> Sequence[Part]:
    tone = at.deck.tone_of(row.name) if row.kind == "project" else "text"
    return [(plain(row.name), f"{tone} bold" if tone == "text" else tone)]


def _kind(row: Line, at: Rows) -> Sequence[Part]:  # noqa: ARG001 - as every column
    return [
        (
            "day"
            if row.kind == "day"
            else f"{row.kind} in all"
            if row.period == "total"
            else f"{row.kind} {row.period}",
            "dim",
        )
    ]


def _state(row: Line, at: Rows) -> Sequence[Part]:
    return [at.ink.state(row.status)] if row.status else [("", "")]


def _used(row: Line, at: Rows) -> Sequence[Part]:
    return bar(row, at, 20)


def _amount(name: str) -> Any:
    def cell(row: Line, at: Rows) -> Sequence[Part]:
        value = getattr(row, name)
        none = "no limit" if name == "limit" else ""
        unit = "" if row.unit == "usd" or name != "limit" or value is None else f" {row.unit}"
        tone = "text" if name in ("spent", "limit") and value is not None else "dim"
        if value is None or (name == "reserved" and not value):
            return [(none, tone)]
        figure = amount(value, row.unit) + unit
        return [(labelled(figure, row.basis, at.ink) if name == "spent" else figure, tone)]

    return cell


def _renewed(row: Line, at: Rows) -> Sequence[Part]:
    end = row.budget.period_end if row.budget else None
    return [(age(end, at.deck.store.now()) if end is not None and row.period != "total" else "", "dim")]


class AllBudgets(TablePanel):
    """Every budget."""

    number = 1
    name_shown = "budgets"
    headed = True
    scopes = ("budgets", "rows", "motion")
    topics = ("budget", "charge", "service")
    columns = (
        Column("of", 0, _of, rank=10, least=10, order="name"),
        Column("per", 13, _kind, rank=6),
        Column("state", 11, _state, rank=4),
        Column("", 20, _used, rank=7),
        Column("used", 4, percent, right=True, rank=8, order="share"),
        Column("spent", 10, _amount("spent"), right=True, rank=9, order="spent"),
        Column("basis", 9, basis, rank=0),
        Column("reserved", 9, _amount("reserved"), right=True, rank=3),
        Column("soft", 9, _amount("soft"), right=True, rank=2),
        Column("limit", 16, _amount("limit"), right=True, rank=8),
        Column("anew", 4, _renewed, right=True, rank=1),
    )

    async def load_all(self) -> Sequence[Line]:
        """All budgets and services."""
        store = self.deck.store
        budgets: list[Budget] = await store.ask("budget.list")
        return lines_of(budgets, await store.ask("service.list"))

    def key_of(self, row: Line) -> Hashable:
        """What it is a budget of."""
        return row.key

    def subject_of(self, row: Any) -> Subject:
        """A budget."""
        return subject_of_budget(row)

    def summary(self) -> list[Part]:
        """How many, and how many are at their limit."""
        if not self.loaded:
            return []
        over = sum(1 for row in self.rows.values() if row.tone == "bad")
        parts: list[Part] = [(f"{len(self.keys):,}", "dim")]
        return [*parts, (f" {self.ink.glyph('bad')} {over} used up", "bad")] if over else parts

    def go(self, to: int) -> None:
        """Another budget burns down beside it."""
        super().go(to)
        self._tell()

    def changed(self) -> None:
        """As :meth:`go`."""
        super().changed()
        self._tell()

    def _tell(self) -> None:
        if self.is_mounted and isinstance(self.screen, BudgetsScreen):
            self.screen.show_burn()

    def nothing(self) -> Sequence[str]:
        """The way to the first budget."""
        keys = self.deck.registry.keys_of
        return (
            "No budgets yet",
            f"{keys('service.add')} adds a service that costs money, {keys('budget.add')} sets a limit for a project, an agent, a task or the day",
        )


def _sum_name(row: Sum, at: Rows) -> Sequence[Part]:
    by = getattr(at, "by", "project")
    name = plain(row.name or "") or "none"
    return [
        (f"#{name}" if by == "task" and row.name else name, at.deck.tone_of(row.name) if by == "project" else "text")
    ]


def _sum_bar(row: Sum, at: Rows) -> Sequence[Part]:
    most = max((other.cost_usd for other in at.rows.values()), default=Decimal(0))
    return at.ink.bar(float(row.cost_usd / most), 12, "run upright")[:1] if most and row.cost_usd else [("", "")]


def _sum(name: str) -> Any:
    def cell(row: Sum, at: Rows) -> Sequence[Part]:
        value = getattr(row, name)
        shown = money(value) if name.endswith("usd") else f"{value:,}"
        if name == "cost_usd":
            shown = labelled(shown, row.basis, at.ink)
        return [(shown if value else "", "text" if name == "cost_usd" else "dim")]

    return cell


class SpentOn(TablePanel):
    """What was charged in the last days, by project, task, agent, model, service or day."""

    number = 3
    headed = True
    scopes = ("charges", "rows", "motion")
    topics = ("charge", "budget")
    columns = (
        Column("name", 0, _sum_name, rank=10, least=12, order="name"),
        Column("", 12, _sum_bar, rank=4),
        Column("cost", 10, _sum("cost_usd"), right=True, rank=9, order="cost_usd"),
        Column("basis", 9, basis, rank=0),
        Column("reserved", 9, _sum("reserved_usd"), right=True, rank=3),
        Column("calls", 7, _sum("calls"), right=True, rank=6, order="calls"),
        Column("tokens in", 11, _sum("tokens_prompt"), right=True, rank=2),
        Column("out", 9, _sum("tokens_output"), right=True, rank=1),
    )

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.by = BYS[0]

    @property
    def name_shown(self) -> str:  # type: ignore[override]
        """By what."""
        return f"spent by {self.by}"

    def next_by(self) -> str:
        """Sum up by the next."""
        self.by = BYS[(BYS.index(self.by) + 1) % len(BYS)]
        self.title_now()
        self.reload()
        return self.by

    async def load_all(self) -> Sequence[Sum]:
        """The dearest first."""
        since = self.deck.store.now() - timedelta(days=SINCE_DAYS)
        found: list[Sum] = await self.deck.store.ask("charge.sum", by=self.by, since=since)
        return found

    def key_of(self, row: Sum) -> Hashable:
        """Its name."""
        return row.name or ""

    def subject_of(self, row: Any) -> Subject:
        """A project, a task or an agent is one here too."""
        name = str(row.name or "")
        known = self.by in ("project", "task", "agent", "service") and name
        return Subject(self.by, {self.by: name} if known else {}, plain(name or "none"), row)

    def summary(self) -> list[Part]:
        """What it comes to."""
        if not self.loaded:
            return []
        total = sum((row.cost_usd for row in self.rows.values()), Decimal(0))
        return [(f"{money(total)} in {SINCE_DAYS} days", "dim")]

    def nothing(self) -> Sequence[str]:
        """What would be here."""
        return ("Nothing was charged yet", "calls of agents appear here as they pass the gateway")


def _alert_at(row: Alert, at: Rows) -> Sequence[Part]:
    return [(age(row.at, at.deck.store.now()), "dim")]


def _alert_kind(row: Alert, at: Rows) -> Sequence[Part]:  # noqa: ARG001 - as every column
    return [(row.kind, "dim" if row.seen_by else "warn")]


def _alert_text(row: Alert, at: Rows) -> Sequence[Part]:
    parts: list[Part] = [(plain(row.text), "dim" if row.seen_by else "text")]
    if row.failure and row.delivered_at is None:
        parts = [
            (f"{at.ink.glyph('bad')} not delivered  ", "bad"),
            *parts,
            (f"  {at.ink.glyph('dot')} {plain(row.failure)}", "bad"),
        ]
    return parts


class Alerts(TablePanel):
    """What a person should know about money, and what could not be told outside."""

    number = 4
    name_shown = "alerts"
    scopes = ("alerts", "rows", "motion")
    topics = ("alert", "budget", "service")
    columns = (
        Column("age", 4, _alert_at, right=True, rank=5),
        Column("kind", 10, _alert_kind, rank=6),
        Column("what", 0, _alert_text, rank=10, least=20),
    )

    async def load_all(self) -> Sequence[Alert]:
        """Unseen ones first, then by age; what a person has seen stays while it is not delivered."""
        found: list[Alert] = await self.deck.store.ask("budget.alerts", every=True)
        return sorted(found, key=lambda alert: alert.seen_by is not None)[:200]

    def key_of(self, row: Alert) -> Hashable:
        """Its number."""
        return row.id

    def subject_of(self, row: Any) -> Subject:
        """An alert."""
        return Subject("alert", {"alert": str(row.id)}, plain(row.text), row)

    def summary(self) -> list[Part]:
        """How many are new, how many were not delivered."""
        if not self.loaded:
            return []
        new = sum(1 for row in self.rows.values() if row.seen_by is None)
        lost = sum(1 for row in self.rows.values() if row.failure and row.delivered_at is None)
        parts: list[Part] = [(f"{new} new" if new else "none new", "warn" if new else "dim")]
        return [*parts, (f" {self.ink.glyph('dot')} {lost} not delivered", "bad")] if lost else parts

    def nothing(self) -> Sequence[str]:
        """What would be here."""
        return ("No alerts", "services that stop, costs out of line: told here")


@dataclass(frozen=True, slots=True)
class Outlook:
    """How budgets burn down and where they will end."""

    burns: tuple[Burn, ...]
    forecasts: "tuple[Forecast, ...]"


class BudgetsScreen(PanedScreen):
    """Budgets, burn-down, charges, alerts."""

    scopes = ("money", "panes")
    panes = ("all", "burn", "spent", "alerts")
    holders: ClassVar[dict[str, str]] = {"all": "all", "burn": "lower", "spent": "lower", "alerts": "lower"}
    trail = "budgets"
    DEFAULT_CSS = """
    BudgetsScreen #all { height: 2fr; }
    BudgetsScreen #lower { height: 3fr; }
    BudgetsScreen #burn, BudgetsScreen #sides { width: 1fr; }
    BudgetsScreen #spent { height: 3fr; } BudgetsScreen #alerts { height: 2fr; }
    BudgetsScreen.-narrow #all { height: 1fr; } BudgetsScreen.-narrow #lower { height: 1fr; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._outlook = Outlook((), ())
        self._subscription: Any = None
        self._trouble = ""

    def body(self) -> Iterable[Widget]:
        """The panes."""
        yield Vertical(
            AllBudgets(id="all"),
            Horizontal(
                Page("burn-down", 2, id="burn"),
                Vertical(SpentOn(id="spent"), Alerts(id="alerts"), id="sides"),
                id="lower",
            ),
        )

    def place_panes(self) -> None:
        """Where it is narrow the sides go with the panes that stand in them."""
        super().place_panes()
        self.query_one("#sides").display = not self.has_class("-narrow") or self.pane in ("spent", "alerts")

    def on_mount(self) -> None:
        """Begin to load."""
        self._subscription = self.deck.store.subscribe(self, ("budget", "charge", "service"), self._load)
        self.focus_pane("all")

    def on_unmount(self) -> None:
        """Load no more."""
        self._subscription.close()

    async def _load(self) -> Outlook:
        store = self.deck.store
        burns = await store.read(lambda db: analytics.burns(db, store.now(), limit=100))
        forecasts: list[Forecast] = await store.ask("budget.forecast")
        return Outlook(burns, tuple(forecasts))

    def on_fresh(self, message: Fresh) -> None:
        """Show what was loaded."""
        if isinstance(message.data, Trouble):
            self._trouble = message.data.words
        else:
            self._outlook, self._trouble = message.data, ""
        self.show_burn()

    def show_burn(self) -> None:
        """Write the page of the budget under the cursor."""
        row: Line | None = self.query_one("#all", AllBudgets).row()
        page = self.query_one("#burn", Page)
        page.more = [(plain(f"{row.name} {row.period}"), "dim")] if row else []
        page.write(lambda width: self._burn(row, width))

    def _burn(self, row: Line | None, width: int) -> list[list[Part]]:
        ink = self.deck.ink
        if self._trouble:
            return words(self._trouble, width, "bad")
        if row is None or row.budget is None:
            return words(
                "A budget with a limit burns down here, with where it will stand at the end of its period.",
                width,
                "dim",
            )
        lines = _standing(ink, row, width)
        if row.why:
            lines += [[], *words(row.why, width, "warn")]
        of = (row.budget.id, row.budget.key)
        burn = next((b for b in self._outlook.burns if (b.budget, b.key) == of), None)
        forecast = next((f for f in self._outlook.forecasts if (f.budget, f.key) == of), None)
        if burn is not None:
            lines += [[], *_plot(ink, burn, forecast, width)]
        elif row.limit is not None and not row.spent and not row.reserved:
            lines += [
                [],
                *words(
                    "Nothing was spent of it in this period; from the first call on it burns down here.", width, "dim"
                ),
            ]
        elif row.period == "total":
            lines += [[], *words("It is for all of it, and is not renewed.", width, "dim")]
        if forecast is not None and row.limit is not None and (burn is not None or row.spent):
            lines += [[], *_words_of(ink, forecast, width)]
        return lines


def _standing(ink: Ink, row: Line, width: int) -> list[list[Part]]:
    """Where it stands now: the bar with its marks, and what they mean."""
    if row.limit is None:
        return words(
            f"{amount(row.spent, row.unit)} {'' if row.unit == 'usd' else row.unit} spent; it is counted and stops nothing.",
            width,
        )
    soft = None if row.soft is None else float(row.soft)
    left = max(Decimal(0), row.limit - row.spent - row.reserved)
    lines = [limit_bar(ink, float(row.spent), float(row.reserved), float(row.limit), soft, width)]
    solid, hatched, mark = ("█", "▒", "┆") if ink.unicode else ("#", "/", "!")
    legend: list[Part] = [
        (f"{solid} ", row.tone), (f"{amount(row.spent, row.unit)} spent", "text"),
        (f"  {hatched} ", row.tone), (f"{amount(row.reserved, row.unit)} reserved", "text" if row.reserved else "dim"),
    ]  # fmt: skip
    rest: list[Part] = [(f"{amount(left, row.unit)} left of {amount(row.limit, row.unit)}", "text")]
    if row.soft is not None:
        rest += [(f"  {mark} ", "warn bold"), (f"told from {amount(row.soft, row.unit)}", "dim")]
    made = _made_of(row)
    if width_of(legend) + width_of(rest) + 2 <= width:
        return [*lines, [*legend, ("  ", ""), *rest], *made]
    return [*lines, legend, rest, *made]


def _made_of(row: Line) -> list[list[Part]]:
    """Where what is spent comes from."""
    if row.budget is None or not row.basis:
        return []
    if row.basis == "measured":
        return [[("all of it measured", "dim")]]
    parts = ((row.budget.estimated, "estimated"), (row.budget.imputed, "imputed"))
    told = ", ".join(f"{amount(value, row.unit)} {name}" for value, name in parts if value)
    return [[(f"of what is spent: {told}", "warn")]]


def _plot(ink: Ink, burn: Burn, forecast: "Forecast | None", width: int) -> list[list[Part]]:
    """What is left step by step, and how the period will end."""
    ahead = _ahead(burn, forecast)
    plot = burn_plot(ink, burn, width, 7, ahead)
    return [heading(ink, "what is left", width), *plot, _signs(ink, foretold=ahead is not None)]


def _signs(ink: Ink, *, foretold: bool) -> list[Part]:
    """What the signs of a plot mean."""
    point, even, line, hatch = ("●", "·", "○", "░") if ink.unicode else ("*", ".", "o", ":")
    parts: list[Part] = [(f"{point} ", "ok"), ("so far", "dim"), (f"  {even} ", "dim"), ("an even pace", "dim")]
    if foretold:
        parts += [(f"  {line} ", "run"), ("about", "dim"), (f"  {hatch} ", "edge"), ("in 80% of cases", "dim")]
    return parts


def _ahead(burn: Burn, forecast: "Forecast | None") -> tuple[float, float, float] | None:
    """What will be left at the end: at most, about, at least."""
    if forecast is None or forecast.middle is None or forecast.low is None or forecast.high is None:
        return None
    return (float(burn.hard - forecast.low), float(burn.hard - forecast.middle), float(burn.hard - forecast.high))


def _words_of(ink: Ink, forecast: "Forecast", width: int) -> list[list[Part]]:
    """Where it will end, and when it runs out."""
    lines: list[list[Part]] = []
    if forecast.middle is not None and forecast.low is not None and forecast.high is not None:
        over = forecast.limit is not None and forecast.middle > forecast.limit
        low, high = amount(forecast.low, forecast.unit), in_words(forecast.high, forecast.unit)
        lines += [
            [
                ("at the end about ", "dim"),
                (in_words(forecast.middle, forecast.unit), "bad bold" if over else "text bold"),
            ],
            [(f"in {forecast.holds:.0%} of cases {low} to {high}", "dim")],
        ]
    elif forecast.samples < LEAST_SAMPLES:
        steps = "day or hour" if forecast.samples == 1 else "days or hours"
        lines += words(
            f"Too little is known to foretell its end: {forecast.samples} {steps} of spending.", width, "dim"
        )
    if forecast.runs_out_at is not None:
        day = f"{forecast.runs_out_at:%a %d %b}"
        lines.append([(f"{ink.glyph('warn')} ", "warn bold"), (f"used up about {day}", "warn")])
    return lines
