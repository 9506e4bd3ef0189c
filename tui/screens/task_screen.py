"""The page of a task: what is wanted, why it is not running, what it depends on, its attempts and what happened, its checks, what it was told."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from core.faces.plain import in_local_time
from storage.queries import audit, screen, task_page
from storage.queries.audit import AuditRow
from storage.queries.questions import Question
from storage.queries.runs import Run
from storage.queries.task_page import Neighbourhood, Round
from storage.queries.tasks import Task
from tui.actions import Subject
from tui.answers import Asked
from tui.ink import Part, age, counted, money, plain, width_of, wrapped
from tui.panels.queue import subject_of_task
from tui.requests import request_lines
from tui.screens.paned import PanedScreen
from tui.screens.review_screen import gate_lines
from tui.screens.run_parts import asked_of
from tui.store import Fresh, Trouble
from tui.widgets.graph import GraphView
from tui.widgets.page import Page, heading, words

_CONTEXT_BYTES = 2_000_000


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that the agent was told besides the task, and where it is from."""

    kind: str
    title: str
    source: str
    text: str
    tokens: int | None


@dataclass(frozen=True, slots=True)
class Shown:
    """Everything about one task."""

    task: Task
    runs: tuple[Run, ...]
    """The newest first."""
    graph: Neighbourhood
    changes: tuple[AuditRow, ...]
    questions: tuple[Question, ...]
    rounds: tuple[Round, ...]
    context: tuple[Item, ...] = field(default=())
    told: bool = False
    """Whether the paper of what it was told is on this host."""
    reviewed: bool = False
    """Whether there is a review of it, open or decided."""
    paused: bool = False
    """Whether a person holds the run that is at work."""

    @property
    def state(self) -> str:
        """As what it is shown."""
        return "paused" if self.paused and self.task.status == "in_progress" else self.task.status


class TaskScreen(PanedScreen):
    """One task."""

    scopes = ("task-page", "panes")
    panes = ("about", "graph", "history", "checks")
    holders = {"about": "left", "history": "left", "graph": "right", "checks": "right"}  # noqa: RUF012
    DEFAULT_CSS = """
    TaskScreen #left { width: 1fr; }
    TaskScreen #right { width: 1fr; }
    TaskScreen #about { height: 3fr; }
    TaskScreen #history { height: 2fr; }
    TaskScreen #graph { height: 2fr; }
    TaskScreen #checks { height: 3fr; }
    """

    def __init__(self, task: str) -> None:
        super().__init__()
        self.task_number = task
        self.trail = f"task #{task}"
        self.shown: Shown | None = None
        self._subscription: Any = None

    def body(self) -> Iterable[Widget]:
        """The panes."""
        left = Vertical(Page("task", 1, id="about"), Page("attempts", 3, id="history"), id="left", classes="holder")
        right = Vertical(GraphView(id="graph"), Page("checks, context", 4, id="checks"), id="right", classes="holder")
        yield Horizontal(left, right)

    def on_mount(self) -> None:
        """Begin to load."""
        number = self.task_number
        self._subscription = self.deck.store.subscribe(
            self, ("task", f"task:{number}", "question", "review", "run-input"), self._load
        )
        self.focus_pane("about")

    def on_unmount(self) -> None:
        """Load no more."""
        self._subscription.close()

    async def _load(self) -> Shown:
        store, number = self.deck.store, int(self.task_number)
        task: Task = await store.ask("task.show", task=number)
        runs: list[Run] = await store.ask("run.list", task=number, limit=1000)
        questions: list[Question] = await store.ask("question.list", status="all", task=number, limit=200)

        async def rest(
            db: asyncpg.Connection,
        ) -> tuple[Neighbourhood, list[AuditRow], tuple[Round, ...], str | None, bool, bool]:
            changes = await audit.list_audit(
                db, actor=None, since=None, kind="task", key=str(number), before=None, limit=200
            )
            return (
                await task_page.neighbourhood(db, number),
                changes,
                await task_page.rounds_of(db, number),
                await task_page.folder_of(db, number),
                await task_page.has_review(db, number),
                any(worker.paused for worker in (await screen.workers(db, [number])).values()),
            )

        graph, changes, rounds, folder, reviewed, paused = await store.read(rest)
        items = await asyncio.to_thread(read_context, Path(folder)) if folder else None
        return Shown(
            task, tuple(runs), graph, tuple(changes), tuple(questions), rounds, tuple(items or ()), items is not None, reviewed, paused
        )  # fmt: skip

    def on_fresh(self, message: Fresh) -> None:
        """Show what was loaded."""
        data = message.data
        about, history, checks = (self.query_one(f"#{name}", Page) for name in ("about", "history", "checks"))
        if isinstance(data, Trouble):
            about.write(lambda width: words(data.words, width, "bad"))
            return
        self.shown = data
        task = data.task
        about.more = [self.deck.ink.state(data.state)]
        history.more = [(f"{len(data.runs)} of {task.max_attempts}", "dim")] if data.runs else []
        checks.more = []
        about.write(self._about)
        history.write(self._history)
        checks.write(self._checks)
        self.query_one(GraphView).show(task.number, data.graph.nodes, data.graph.edges, data.graph.more)
        self.deck.place_changed()

    # ── what stands on the pages ────────────────────────────────────────────────────────────────────────────────────

    def _about(self, width: int) -> list[list[Part]]:
        ink, shown = self.deck.ink, self.shown
        if shown is None:
            return []
        task = shown.task
        lines: list[list[Part]] = [*words(task.title, width, "text bold"), [], [ink.state(shown.state)]]
        if task.reason:
            lines += [
                [("  ", ""), *line]
                for line in words(in_local_time(task.reason), width - 2, "warn" if task.status != "failed" else "bad")
            ]
        for question in shown.questions:
            if question.status == "open":
                if question.kind == "permission":
                    lines += [
                        [("    ", ""), *row]
                        for line in request_lines(question.text, question.data)
                        for row in wrapped(line, width - 4)
                    ]
                    continue
                asks = words(f"asks: {question.text}", width - 4, "ask", most=6)
                sign: Part = (f"  {ink.glyph('ask')} ", "ask")
                lines += [[sign if n == 0 else ("    ", ""), *line] for n, line in enumerate(asks)]
        if answers := self._answers():
            lines += [[("    ", ""), *line] for line in wrapped(answers, width - 4, most=4, more=ink.glyph("more"))]
        lines += [[], *self._facts(task, width), []]
        if task.description.strip():
            lines += [heading(ink, "what is wanted", width), *words(task.description, width)]
        else:
            lines.append([("No description; ", "dim"), ("e", "focus bold"), (" writes one.", "dim")])
        return lines

    def _answers(self) -> list[Part]:
        """The answers to what is asked, each with its keys."""
        asked, keys = self._asked(), self.deck.registry.keys_of
        if asked is None:
            return []
        parts: list[Part] = []
        for n, answer in enumerate(asked.answers, start=1):
            parts += [(f"{keys(f'question.option-{n}')} ", "focus bold"), (f"{plain(answer.name)}   ", "text")]
        return [
            *parts,
            (f"{keys('question.answer')} ", "focus bold"),
            ("asks first" if asked.permission else "in words", "dim"),
        ]

    def _facts(self, task: Task, width: int) -> list[list[Part]]:
        now = self.deck.store.now()
        facts: list[tuple[str, list[Part]]] = [
            ("project", [(plain(task.project), self.deck.tone_of(task.project))]),
            ("priority", [(f"{task.priority} of 5", "text")]),
            ("agent", [(plain(task.agent or "whoever is free"), "text" if task.agent else "dim")]),
            (
                "cost",
                [
                    (money(task.cost_usd), "text"),
                    *([(f" of {money(task.max_cost_usd)}", "dim")] if task.max_cost_usd else []),
                ],
            ),
            ("attempts", [(f"{task.attempts} of {task.max_attempts}", "text")]),
            ("added", _when(task.created_at, now)),
        ]
        if task.started_at:
            facts.append(("begun", _when(task.started_at, now)))
        if task.finished_at:
            facts.append(("ended", _when(task.finished_at, now)))
        if task.not_before:
            facts.append(("not before", _when(task.not_before, now)))
        if task.deadline:
            facts.append(("deadline", _when(task.deadline, now)))
        if task.cron:
            facts.append(("recurs", [(plain(task.cron), "text")]))
        if task.parent:
            facts.append(("part of", [(f"#{task.parent}", "text")]))
        if task.after:
            facts.append(("after", [(", ".join(f"#{number}" for number in task.after), "text")]))
        if task.paths:
            facts.append(("touches", [(plain(", ".join(task.paths)), "text")]))
        if task.branch:
            facts.append(("branch", [(plain(task.branch), "text")]))
        return [[(f"{name:<11}", "dim"), *parts] for name, parts in facts] if width < 64 else _two_columns(facts, width)

    def _history(self, width: int) -> list[list[Part]]:
        ink, shown = self.deck.ink, self.shown
        if shown is None:
            return []
        if not shown.runs:
            lines: list[list[Part]] = [[("No attempt yet: an engine begins one when the task is ready.", "dim")]]
        else:
            lines = [line for run in shown.runs for line in self._run(run, width)]
        lines += [[], heading(ink, "what happened", width)]
        for at, sign, what, who in timeline(shown):
            mark, tone = ink.sign(sign)
            stamp = at.astimezone().strftime("%m-%d %H:%M")
            tail = f"  {who}" if who else ""
            room = max(8, width - len(stamp) - 4 - len(tail))
            lines.append(
                [
                    (f"{stamp}  ", "dim"),
                    (f"{mark} ", tone),
                    (ink.fit(plain(what), room) if tail else plain(what), "text"),
                    (tail, "dim"),
                ]
            )
        return lines

    def _run(self, run: Run, width: int) -> list[list[Part]]:
        ink = self.deck.ink
        took = _took(run.started_at, run.finished_at or self.deck.store.now())
        left: list[Part] = [
            (f"{run.name:<6} ", "text bold"),
            ink.state(run.status, width=12),
            (" ", ""),
            (plain(run.agent), "text"),
        ]
        right: list[Part] = (
            [
                (f"{counted(run.files_changed, 'file')} +{run.insertions} ", "dim"),
                (f"{ink.glyph('minus')}{run.deletions}  ", "dim"),
            ]
            if run.files_changed
            else []
        )
        ends: list[Part] = [(f"{took:>7}", "text"), (f"{money(run.cost_usd):>9}", "text")]
        right = right + ends if width_of(left) + width_of(right) + width_of(ends) < width else ends
        lines = [[*left, (" " * max(1, width - width_of(left) - width_of(right)), ""), *right]]
        if run.reason and run.status not in ("succeeded", "running"):
            lines += [[(" " * 7, ""), *line] for line in words(in_local_time(run.reason), width - 7, "dim", most=4)]
        return lines

    def _checks(self, width: int) -> list[list[Part]]:
        ink, shown = self.deck.ink, self.shown
        if shown is None:
            return []
        lines: list[list[Part]] = []
        for found in shown.rounds:
            lines.append(heading(ink, f"checks of attempt {found.attempt}, round {found.round}", width))
            lines += [line for gate in found.gates for line in gate_lines(self, gate, width)]
        if not shown.rounds:
            lines.append([("No checks have run yet.", "dim")])
        lines += [[], heading(ink, "what the agent was told", width)]
        if not shown.context:
            why = (
                "Nothing but the task: no knowledge was found for it."
                if shown.told
                else "Once it begins: rules, similar work, errors to avoid, each with its source."
            )
            return [*lines, *words(why, width, "dim")]
        for item in shown.context:
            size: list[Part] = [(f"{item.tokens:,} tokens", "dim")] if item.tokens is not None else []
            lines.append([(f"{plain(item.kind)} ", "ask"), (plain(item.title), "text bold"), ("  ", ""), *size])
            lines.append([("  ", ""), (f"{ink.glyph('arrow')} {plain(item.source)}", "dim")])
            lines += [[("  ", ""), *line] for line in words(item.text, width - 2, most=6)] if item.text.strip() else []
        return lines

    # ── what actions ask ────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def loading_yet(self) -> bool:
        """Whether the task is not there yet."""
        return self.shown is None

    def subject(self) -> Subject | None:
        """The task."""
        shown = self.shown
        if shown is None:
            return None
        return subject_of_task(shown.task, live=bool(shown.runs) and shown.runs[0].live, asks=self._asked())

    def _asked(self) -> Asked | None:
        """What a run of the task asks, the oldest question first."""
        asked = [one for one in self.shown.questions if one.status == "open"] if self.shown else []
        return asked_of(min(asked, key=lambda one: one.asked_at)) if asked else None

    def no_review(self) -> str | None:
        """Why there is no review to open."""
        if self.shown is None or not self.shown.runs:
            return "nothing was made yet that could be reviewed"
        if self.shown.reviewed:
            return None
        merged = self.shown.task.status == "completed"
        return "it was merged without a review" if merged else "nothing was made yet that could be reviewed"


def timeline(shown: Shown) -> list[tuple[datetime, str, str, str]]:
    """What happened to a task, the newest first: when, the state that gives the sign, what, by whom."""
    found: list[tuple[datetime, str, str, str]] = [(shown.task.created_at, "insert", "added", "")]
    for change in shown.changes:
        who = change.actor.removeprefix("user:") if change.actor.startswith("user:") else ""
        after: Mapping[str, Any] = change.after or {}
        before: Mapping[str, Any] = change.before or {}
        if change.action == "update" and (status := after.get("status")):
            was = str(before.get("status", "")).replace("_", " ")
            found.append(
                (
                    change.at,
                    str(status),
                    f"{was} → {str(status).replace('_', ' ')}" if was else str(status).replace("_", " "),
                    who,
                )
            )
        elif change.action == "update" and "priority" in after:
            found.append((change.at, "update", f"priority {before.get('priority')} → {after['priority']}", who))
    for run in shown.runs:
        found.append((run.started_at, "running", f"attempt {run.attempt} begun", run.agent))
        if run.finished_at:
            found.append(
                (
                    run.finished_at,
                    run.status,
                    f"attempt {run.attempt} {run.status}" + (f": {in_local_time(run.reason)}" if run.reason else ""),
                    run.agent,
                )
            )
    for question in shown.questions:
        found.append((question.asked_at, "question", f"asked: {question.text}", question.agent))
        if question.answered_at:
            said = question.decision or question.answer or ""
            found.append(
                (
                    question.answered_at,
                    "answered",
                    f"answered: {said}",
                    (question.answered_by or "").removeprefix("user:"),
                )
            )
    return sorted(found, key=lambda entry: entry[0], reverse=True)


def read_context(folder: Path) -> list[Item] | None:
    """What the agent of a run was told, from the paper that it was given; None where that is not on this host."""
    path = folder / "context.json"
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _CONTEXT_BYTES:
            return None
        data = json.loads(path.read_text("utf-8", "replace"))
    except (OSError, ValueError, RecursionError):
        return None
    items = data.get("items") if isinstance(data, dict) else None
    return [_item(item) for item in items if isinstance(item, dict)][:500] if isinstance(items, list) else []


def _item(item: Mapping[str, Any]) -> Item:
    def text(*names: str) -> str:
        return next((str(item[name]) for name in names if item.get(name)), "")

    tokens = item.get("tokens")
    return Item(
        text("kind", "category"),
        text("title", "name"),
        text("source"),
        text("text", "content"),
        tokens if isinstance(tokens, int) else None,
    )


def _when(at: datetime, now: datetime) -> list[Part]:
    ahead = at > now
    distance = age(at, now)
    relative = distance if distance == "now" else f"in {distance}" if ahead else f"{distance} ago"
    return [(relative, "text"), (f"  {at.astimezone():%Y-%m-%d %H:%M}", "dim")]


def _took(began: datetime, ended: datetime) -> str:
    seconds = max(0, int((ended - began).total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _two_columns(facts: list[tuple[str, list[Part]]], width: int) -> list[list[Part]]:
    half = (len(facts) + 1) // 2
    column = width // 2
    lines = []
    for n in range(half):
        name, parts = facts[n]
        left: list[Part] = [(f"{name:<11}", "dim"), *parts]
        if n + half < len(facts) and width_of(left) < column:
            other, more = facts[n + half]
            left += [(" " * (column - width_of(left)), ""), (f"{other:<11}", "dim"), *more]
            lines.append(left)
        else:
            lines.append(left)
            if n + half < len(facts):
                other, more = facts[n + half]
                lines.append([(" " * column, ""), (f"{other:<11}", "dim"), *more])
    return lines
