"""A project and an agent in full: what it is and how it is set, and beside that its work: what is open, and the runs of late."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from textual.containers import Horizontal
from textual.widget import Widget

from core.commands.agent import Agent
from core.commands.project_views import Checkout, Project
from storage.queries.runs import Run
from storage.queries.tasks import Task
from tui.actions import Subject
from tui.ink import Ink, Part, age, money, plain, width_of, wrapped
from tui.screens.paned import PanedScreen
from tui.screens.run_parts import count
from tui.store import Fresh, Trouble
from tui.widgets.page import Page, heading, words

RUNS = 500
"""Runs of late that are looked through for those of an agent."""
SHOWN = 30
"""Of each list."""
NAME_WIDTH = 14

Fact = tuple[str, Sequence[Part]]


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page shows: the thing, its open tasks, its runs of late, the newest first."""

    row: Any
    tasks: tuple[Task, ...]
    runs: tuple[Run, ...]


class OwnerScreen(PanedScreen):
    """What a project and an agent have in common: facts on the left, work on the right."""

    panes = ("about", "work")
    holders: ClassVar[dict[str, str]] = {}
    DEFAULT_CSS = "OwnerScreen Page { width: 1fr; height: 1fr; } OwnerScreen.-narrow Horizontal { layout: vertical; }"
    kind: ClassVar[str] = ""

    def __init__(self, called: str) -> None:
        super().__init__()
        self.called = called
        self.trail = f"{self.kind} {called}"
        self.shown: Shown | None = None
        self._subscription: Any = None

    def body(self) -> Iterable[Widget]:
        """The panes."""
        yield Horizontal(Page(self.kind, 1, id="about"), Page("work", 2, id="work"))

    def on_mount(self) -> None:
        """Begin to load."""
        self._subscription = self.deck.store.subscribe(self, (self.kind, "task", "run"), self._load)
        self.focus_pane("about")

    def on_unmount(self) -> None:
        """Load no more."""
        self._subscription.close()

    async def _load(self) -> Shown:
        raise NotImplementedError

    def facts(self, shown: Shown) -> list[Fact]:
        """What is said of it, by name."""
        raise NotImplementedError

    def remarks(self, row: Any, width: int) -> list[list[Part]]:
        """What stands under the facts."""
        raise NotImplementedError

    def on_fresh(self, message: Fresh) -> None:
        """Show what was loaded."""
        about, work = self.query_one("#about", Page), self.query_one("#work", Page)
        data = message.data
        if isinstance(data, Trouble):
            about.write(lambda width: words(data.words, width, "bad"))
            return
        self.shown = data
        about.more = [self.deck.ink.state(data.row.status)]
        work.more = [(f"{len(data.tasks)} open", "dim")]
        about.write(self._about)
        work.write(self._work)
        self.deck.place_changed()

    def subject(self) -> Subject:
        """The thing."""
        return Subject(self.kind, {self.kind: self.called}, self.trail, self.shown.row if self.shown else None)

    def _about(self, width: int) -> list[list[Part]]:
        if self.shown is None:
            return []
        lines: list[list[Part]] = []
        for name, parts in self.facts(self.shown):
            lines += wrapped([(f"{name:<{NAME_WIDTH}}", "dim"), *parts], width, hang=NAME_WIDTH)
        return lines + self.remarks(self.shown.row, width)

    def _work(self, width: int) -> list[list[Part]]:
        ink, shown = self.deck.ink, self.shown
        if shown is None:
            return []
        lines: list[list[Part]] = [heading(ink, "open tasks", width)]
        for task in shown.tasks[:SHOWN]:
            whose: Part = (
                (f" {plain(task.project)}", self.deck.tone_of(task.project)) if self.kind == "agent" else ("", "")
            )
            lines.append(_task(ink, task, width, whose))
        lines += _rest(len(shown.tasks), "None is open.")
        lines += [[], heading(ink, "runs of late", width)]
        lines += [self._run(run, width) for run in shown.runs[:SHOWN]]
        return [*lines, *_rest(len(shown.runs), "None yet.")]

    def _run(self, run: Run, width: int) -> list[Part]:
        ink, now = self.deck.ink, self.deck.store.now()
        right: list[Part] = [(f"{money(run.cost_usd):>9}", "text"), (f"{age(run.started_at, now):>5}", "dim")]
        left: list[Part] = [(f"{run.name:<8} ", "text bold"), ink.state(run.status, width=12), (" ", "")]
        whose = run.project if self.kind == "agent" else run.agent
        room = max(1, width - width_of(left) - width_of(right))
        return [*left, (ink.fit(plain(whose), room), "text"), *right]


class ProjectScreen(OwnerScreen):
    """One project."""

    scopes = ("projects", "panes")
    kind = "project"

    def __init__(self, project: str) -> None:
        super().__init__(project)

    async def _load(self) -> Shown:
        store = self.deck.store
        project: Project = await store.ask("project.show", id=self.called)
        tasks: list[Task] = await store.ask("task.list", project=self.called, status=OPEN, order="queue", limit=RUNS)
        runs: list[Run] = await store.ask("run.list", project=self.called, limit=SHOWN)
        return Shown(project, tuple(tasks), tuple(runs))

    def facts(self, shown: Shown) -> list[Fact]:
        """Where it is, what it is made of, how its work lands."""
        ink, row = self.deck.ink, shown.row
        tone = ink.project(row.colors.primary)
        landing = "land by themselves once their checks pass" if row.auto_merge else "wait for your approval"
        facts: list[Fact] = [
            ("name", [(f"{ink.glyph('half')} ", tone), (plain(row.name), f"{tone} bold")]),
            ("state", [ink.state(row.status)]),
            ("repository", [(plain(row.repo), "text")]),
        ]
        if row.path != row.repo:
            facts.append(("folder", [(plain(row.path), "text")]))
        if row.stack:
            facts.append(("stack", [(plain(row.stack), "text")]))
        facts += [
            ("base branch", [(plain(row.base or "the one that is checked out"), "text" if row.base else "dim")]),
            ("priority", [(f"{row.priority} of 5", "text")]),
            ("runs", [(f"{row.running} at work, at most {row.max_parallel} at a time", "text")]),
            ("agent", [(plain(row.agent or "whoever is free"), "text" if row.agent else "dim")]),
            ("changes", [(f"{landing}, by {plain(row.merge_method)}", "text")]),
            (
                "checks",
                [(plain(row.verify[0]), "text")] if row.verify else [("none: a change lands unchecked", "warn")],
            ),
            *(("", [(plain(command), "text")]) for command in row.verify[1:]),
            ("added", [(_ago(row.created_at, self.deck.store.now()), "text")]),
        ]
        return facts

    def remarks(self, row: Any, width: int) -> list[list[Part]]:
        """How the repository stands, and what is to be known."""
        ink, lines = self.deck.ink, []
        if row.checkout is not None:
            lines += [[], heading(ink, "repository", width), *_checkout(row.checkout, width)]
        if row.note:
            lines += [[], *words(row.note, width, "warn")]
        return lines


class AgentScreen(OwnerScreen):
    """One agent."""

    scopes = ("agents", "panes")
    kind = "agent"

    def __init__(self, agent: str) -> None:
        super().__init__(agent)

    async def _load(self) -> Shown:
        store = self.deck.store
        agent: Agent = await store.ask("agent.show", name=self.called)
        runs: list[Run] = [run for run in await store.ask("run.list", limit=RUNS) if run.agent == self.called]
        at_work = {run.task for run in runs if run.finished_at is None}
        tasks: list[Task] = await store.ask("task.list", status=OPEN, order="queue", limit=RUNS)
        mine = tuple(task for task in tasks if task.agent == self.called or task.number in at_work)
        return Shown(agent, mine, tuple(runs))

    def facts(self, shown: Shown) -> list[Fact]:
        """With what it works, and how much at a time."""
        ink, row, now = self.deck.ink, shown.row, self.deck.store.now()
        at_most = f", at most {row.max_parallel} at a time" if row.max_parallel is not None else ""
        facts: list[Fact] = [
            ("name", [(plain(row.name), "text bold")]),
            ("state", [ink.state(row.status)]),
            ("program", [(plain(row.adapter), "text")]),
        ]
        if row.command:
            facts.append(("command", [(plain(row.command), "text")]))
        facts += [
            ("model", [(plain(row.model or "what the program takes"), "text" if row.model else "dim")]),
            ("role", [(plain(row.role or "any"), "text" if row.role else "dim")]),
            (
                "can",
                [(plain(", ".join(row.capabilities)), "text")] if row.capabilities else [("whatever is asked", "dim")],
            ),
            ("runs", [(f"{row.running} at work{at_most}", "text")]),
            ("key", [("has one for the HTTP interface" if row.has_key else "none", "text" if row.has_key else "dim")]),
        ]
        if row.env:
            facts.append(("variables", [(plain(", ".join(sorted(row.env))), "text")]))
        if row.last_seen is not None:
            facts.append(("seen", [(_ago(row.last_seen, now), "text")]))
        facts.append(("added", [(_ago(row.created_at, now), "text")]))
        return facts

    def remarks(self, row: Any, width: int) -> list[list[Part]]:
        """What its runs of late came to."""
        del row
        runs = self.shown.runs if self.shown else ()
        ended = [run for run in runs if run.finished_at is not None]
        if not ended:
            return []
        good = sum(run.status == "succeeded" for run in ended)
        tokens = sum(run.tokens.output for run in runs)
        cost = sum((run.cost_usd for run in runs), start=runs[0].cost_usd * 0)
        wrote = f", with {count(tokens)} tokens written" if tokens else ""
        said = f"{good} of {len(ended)} runs succeeded; all of them cost {money(cost)}{wrote}."
        return [[], heading(self.deck.ink, "of late", width), *words(said, width)]


OPEN = ("in_progress", "review", "waiting", "pending", "blocked")


def _ago(at: datetime, now: datetime) -> str:
    distance = age(at, now)
    return "just now" if distance == "now" else f"{distance} ago"


def _checkout(found: Checkout, width: int) -> list[list[Part]]:
    changed = [
        f"{number} {name}"
        for name, number in (
            ("staged", found.staged),
            ("modified", found.modified),
            ("untracked", found.untracked),
            ("in conflict", found.conflicted),
        )
        if number
    ]
    apart = [f"{number} {name}" for name, number in (("ahead", found.ahead), ("behind", found.behind)) if number]
    facts: list[Fact] = [
        ("branch", [(plain(found.branch or "none (a commit is checked out)"), "text")]),
        ("files", [(", ".join(changed) or "as committed", "text" if changed else "dim")]),
        ("commit", [(found.commit[:8], "text"), (f"  {plain(found.subject)}", "dim")]),
    ]
    if apart:
        facts.append(("its remote", [(", ".join(apart), "text")]))
    lines: list[list[Part]] = []
    for name, parts in facts:
        lines += wrapped([(f"{name:<{NAME_WIDTH}}", "dim"), *parts], width, hang=NAME_WIDTH)
    return lines


def _task(ink: Ink, task: Task, width: int, whose: Part) -> list[Part]:
    left: list[Part] = [(f"{'#' + str(task.number):>6} ", "dim"), ink.state(task.status, width=13), (" ", "")]
    return [*left, (ink.fit(plain(task.title), max(4, width - width_of([*left, whose]))), "text"), whose]


def _rest(number: int, nothing: str) -> list[list[Part]]:
    """What is said after a list: that there is nothing, or how many are not shown."""
    if not number:
        return [[(nothing, "dim")]]
    return [[(f"and {number - SHOWN:,} more", "dim")]] if number > SHOWN else []
