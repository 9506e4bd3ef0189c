"""The figures: what was completed, how long it took and what it cost, by day, project and agent; how budgets burn down."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from core.commands.metrics import Metric
from storage.queries import analytics
from storage.queries.analytics import Burn
from tui.ink import Part, money, plain, width_of
from tui.panels.budgets import amount, burn_plot, in_words
from tui.screens.paned import PanedScreen
from tui.store import Fresh, Trouble
from tui.widgets.charts import columns, limit_bar, sparkline
from tui.widgets.page import Page, heading, words

SPANS = (30, 7, 90, 365)
"""Days that can be looked at."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What is shown: of each day in a row (also those without work), of projects and agents."""

    days: tuple[Metric | None, ...]
    first: date
    projects: tuple[Metric, ...]
    agents: tuple[Metric, ...]
    burns: tuple[Burn, ...]

    def sum(self, name: str) -> Decimal:
        """A figure of all days together."""
        return sum((Decimal(getattr(day, name)) for day in self.days if day is not None), Decimal(0))


class AnalyticsScreen(PanedScreen):
    """Figures of the last days."""

    scopes = ("analytics", "panes")
    panes = ("days", "projects", "agents", "burn")
    holders = {"days": "left", "burn": "left", "projects": "right", "agents": "right"}  # noqa: RUF012
    trail = "figures"
    DEFAULT_CSS = """
    AnalyticsScreen #left, AnalyticsScreen #right { width: 1fr; }
    AnalyticsScreen #days { height: 3fr; } AnalyticsScreen #burn { height: 2fr; }
    AnalyticsScreen #projects, AnalyticsScreen #agents { height: 1fr; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.span = SPANS[0]
        self.figures: Figures | None = None
        self._subscription: Any = None

    def body(self) -> Iterable[Widget]:
        """The panes."""
        left = Vertical(Page("days", 1, id="days"), Page("budgets", 4, id="burn"), id="left", classes="holder")
        right = Vertical(
            Page("projects", 2, id="projects"), Page("agents", 3, id="agents"), id="right", classes="holder"
        )
        yield Horizontal(left, right)

    def on_mount(self) -> None:
        """Begin to load."""
        self._subscription = self.deck.store.subscribe(self, ("task", "run", "budget", "charge"), self._load)
        self.focus_pane("days")

    def on_unmount(self) -> None:
        """Load no more."""
        self._subscription.close()

    def next_span(self) -> int:
        """Look at another number of days."""
        self.span = SPANS[(SPANS.index(self.span) + 1) % len(SPANS)]
        self._subscription.refresh()
        return self.span

    async def _load(self) -> Figures:
        store, span = self.deck.store, self.span
        by_day: list[Metric] = await store.ask("metrics", days=span, by="day")
        first = store.now().date() - timedelta(days=span - 1)
        found = {metric.key: metric for metric in by_day}
        days = tuple(found.get((first + timedelta(days=n)).isoformat()) for n in range(span))
        projects: list[Metric] = await store.ask("metrics", days=span, by="project")
        agents: list[Metric] = await store.ask("metrics", days=span, by="agent")
        return Figures(
            days, first, tuple(projects), tuple(agents), await store.read(lambda db: analytics.burns(db, store.now()))
        )

    def on_fresh(self, message: Fresh) -> None:
        """Show what was loaded."""
        data = message.data
        pages = {name: self.query_one(f"#{name}", Page) for name in self.panes}
        if isinstance(data, Trouble):
            pages["days"].write(lambda width: words(data.words, width, "bad"))
            return
        self.figures = data
        pages["days"].more = [(f"last {len(data.days)}", "dim")]
        pages["projects"].more, pages["agents"].more = (
            [(str(len(data.projects)), "dim")],
            [(str(len(data.agents)), "dim")],
        )
        pages["days"].write(self._days)
        pages["projects"].write(lambda width: self._table(data.projects, width, "project"))
        pages["agents"].write(lambda width: self._table(data.agents, width, "agent"))
        pages["burn"].write(self._burns)

    # ── what stands on the pages ────────────────────────────────────────────────────────────────────────────────────

    def _days(self, width: int) -> list[list[Part]]:
        ink, figures = self.deck.ink, self.figures
        if figures is None:
            return []
        completed, failed, first = (int(figures.sum(name)) for name in ("completed", "failed", "first_try"))
        if not completed and not failed and not figures.sum("runs"):
            return [
                [("Nothing was done in these days.", "text")], [],
                [("What tasks take and cost appears here; ", "dim"), (self.deck.registry.keys_of("task.add"), "focus bold"), (" adds one.", "dim")],
            ]  # fmt: skip
        cost = figures.sum("cost_usd")
        rate = f"{completed / (completed + failed):.0%} " if completed + failed else ""
        lines: list[list[Part]] = [
            _said(
                [
                    (f"{completed:,}", "ok bold", "completed"),
                    (f"{failed:,}", "bad bold" if failed else "dim", "failed"),
                    (rate, "text bold", "succeeded"),
                ]
            ),
            _said([(money(cost), "text bold", "spent")]),
            [],
        ]
        if completed:
            each = [
                (money(cost / completed), "text bold", "a task"),
                (f"{first / completed:.0%}", "text bold", "at the first try"),
            ]
            lines[1] += _said(each)
        room = max(4, width - 26)
        for name, values, tone, total in (
            ("completed", _values(figures, "completed"), "ok", f"{completed:,}"),
            ("failed", _values(figures, "failed"), "bad", f"{failed:,}"),
            (
                "median run",
                [day.median_seconds if day else None for day in figures.days],
                "run",
                _seconds(_middle(figures)),
            ),
            ("cost", _values(figures, "cost_usd"), "warn", money(cost)),
        ):
            lines.append(
                [
                    (f"{name:<11}", "dim"),
                    *sparkline(ink, values, min(room, len(values)), tone),
                    (f"{total:>12}", "text"),
                ]
            )
        height = 6
        plotted = _values(figures, "cost_usd")
        top = max((value for value in plotted if value is not None), default=0.0)
        lines += [[], heading(ink, "cost by day", width)]
        scale = max(8, len(money(top)) + 1)
        for n, line in enumerate(columns(ink, plotted, max(8, width - scale - 1), height, "warn")):
            label = money(top) if n == 0 else "$0" if n == height - 1 else ""
            lines.append([(f"{label:>{scale - 1}} ", "dim"), *line])
        last = figures.first + timedelta(days=len(figures.days) - 1)
        dates = f"{figures.first:%m-%d}", f"{last:%m-%d} today"
        used = max(8, width - scale - 1)
        drawn = min(used, max(1, used // max(1, min(used, len(plotted)))) * min(used, len(plotted)))
        lines.append([(" " * scale + dates[0] + " " * max(1, drawn - len(dates[0]) - len(dates[1])) + dates[1], "dim")])
        return lines

    def _table(self, rows: Sequence[Metric], width: int, kind: str) -> list[list[Part]]:
        ink = self.deck.ink
        if not rows:
            return [[(f"No {kind} has worked in these days.", "dim")]]
        name_room = max(8, min(20, width - 46))
        lines: list[list[Part]] = [
            [
                (
                    f"{kind:<{name_room}}{'done':>6}{'failed':>7}{'rate':>6}{'median':>8}{'cost':>10}{'a task':>9}"[
                        :width
                    ],
                    "dim bold",
                )
            ]
        ]
        most = max((row.cost_usd for row in rows), default=Decimal(0))
        for row in rows:
            tone = self.deck.tone_of(row.key) if kind == "project" else "text"
            rate = f"{row.success_rate:.0%}" if row.success_rate is not None else ""
            each = money(row.cost_per_task_usd) if row.cost_per_task_usd is not None else ""
            parts: list[Part] = [
                (ink.fit(plain(row.key) or "none", name_room), tone), (f"{row.completed:>6,}", "ok" if row.completed else "dim"),
                (f"{row.failed:>7,}", "bad" if row.failed else "dim"), (f"{rate:>6}", "text"), (f"{_seconds(row.median_seconds):>8}", "text"),
                (f"{money(row.cost_usd):>10}", "text"), (f"{each:>9}", "dim"),
            ]  # fmt: skip
            room = width - width_of(parts) - 2
            if room >= 6 and most:
                parts += [("  ", ""), *limit_bar(ink, float(row.cost_usd), 0.0, float(most), None, room)[:1]]
            lines.append(parts)
        return lines

    def _burns(self, width: int) -> list[list[Part]]:
        ink, figures = self.deck.ink, self.figures
        if figures is None:
            return []
        if not figures.burns:
            return words(
                "No budget that is renewed is set.\n\n`:budget set project ID --usd 20` limits a project; how it burns down is drawn here.",
                width,
                "dim",
            )
        lines: list[list[Part]] = []
        for n, burn in enumerate(figures.burns):
            name = plain(
                " ".join(
                    word
                    for word in (burn.scope, burn.key, "" if burn.period in (burn.scope, "month") else burn.period)
                    if word
                )
            )
            used = float((burn.spent + burn.reserved) / burn.hard)
            right: list[Part] = [
                (f"{amount(burn.spent, burn.unit)} of {in_words(burn.hard, burn.unit)}  ", "text"),
                (f"{used:.0%}", "bad" if used >= 1 else "warn" if used >= 0.8 else "ok"),
            ]
            lines.append(heading(ink, name, width, right))
            soft = None if burn.soft is None else float(burn.soft)
            lines.append(limit_bar(ink, float(burn.spent), float(burn.reserved), float(burn.hard), soft, width))
            if n == 0:
                lines += burn_plot(ink, burn, width, 5)
            lines.append([])
        return lines


def _said(figures: Sequence[tuple[str, str, str]]) -> list[Part]:
    """Figures, each with its tone and what it counts."""
    return [
        part for figure, tone, words_ in figures if figure for part in ((figure.strip(), tone), (f" {words_}  ", "dim"))
    ]


def _values(figures: Figures, name: str) -> list[float | None]:
    return [float(getattr(day, name)) if day is not None else 0.0 for day in figures.days]


def _middle(figures: Figures) -> float | None:
    found = sorted(day.median_seconds for day in figures.days if day is not None and day.median_seconds is not None)
    return found[len(found) // 2] if found else None


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"
