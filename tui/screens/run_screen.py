"""One run: its log as it comes, what it has changed and used, what was checked and told; and a line to talk to it."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.widget import Widget
from textual.widgets import Input

from config.errors import QuarterdeckError
from core.commands.views import QuestionView
from core.tasks.log_pages import LogPages, Range
from storage.queries import run_screen as queries
from storage.queries.run_screen import RunPicture
from tui.actions import Subject
from tui.ink import plain
from tui.patch import read_patch
from tui.screens.base import BaseScreen
from tui.screens.run_parts import PRESETS, TABS, LogLine, QuestionBar, RunFigures, RunTitle, Tabs, asked_of
from tui.screens.run_tabs import gate_lines, read_prompt, told_lines, usage_lines
from tui.store import Fresh, Subscription, Trouble
from tui.widgets.dialogs import Reader
from tui.widgets.diff_view import DiffView
from tui.widgets.log_view import LogState, LogView

if TYPE_CHECKING:
    from collections.abc import Callable

_CHANGE_SECONDS = 1.0
"""Least seconds between two looks at the worktree."""
_GUARD_SECONDS = 1.0
"""So long after a question has appeared no key answers it: it was meant for something else."""


class MessageBox(Input):
    """The line to talk to the agent."""

    takes_text = True
    BINDINGS: ClassVar = [("escape", "leave", "leave")]

    def action_leave(self) -> None:
        """Give the keys back; what was written stays."""
        self.screen.set_focus(self.screen.query_one(LogView))


class TextTab(Reader):
    """A tab that is a text."""

    scopes = ("run-tab", "motion")  # type: ignore[assignment] # mypy takes the base's for a pair of one


class DiffTab(DiffView):
    """What has changed so far: to be read, not judged."""

    scopes: ClassVar[tuple[str, ...]] = ("run-tab", "motion")


class RunScreen(BaseScreen):
    """A run, by its name (``42.2``) or the task whose latest it is."""

    scopes = ("run-screen",)
    DEFAULT_CSS = """
    RunScreen LogView, RunScreen TextTab { height: 1fr; }
    RunScreen DiffTab { height: 1fr; border: none; }
    RunScreen MessageBox { height: 1; border: none; padding: 0 1; background: $qd-raised; color: $qd-text; }
    RunScreen MessageBox:focus { border: none; background: $qd-cursor; }
    """

    def __init__(self, run: str) -> None:
        super().__init__()
        self._wanted = run
        self.trail = f"run {run}"
        self.tab = "log"
        self.picture: RunPicture | None = None
        self.question: QuestionView | None = None
        self.questions = 0
        self.log_state = LogState()
        self.trouble = ""
        self._asked = 0.0
        self._about: Subscription | None = None
        self._events: Subscription | None = None
        self._change: Subscription | None = None
        """The diff so far, while it is seen."""

    def body(self) -> Iterable[Widget]:
        """Head, tabs, what the tab shows, question, line to write on."""
        yield RunTitle()
        yield RunFigures()
        yield Tabs()
        yield LogView(ink=lambda: self.deck.ink, pace=1.0 if self.deck.choices.low_bandwidth else 0.2)
        yield DiffTab()
        yield TextTab([], "ground")
        yield LogLine()
        yield QuestionBar()
        box = MessageBox(placeholder="say something to the agent", select_on_focus=False)
        box.cursor_blink = False
        yield box

    def on_mount(self) -> None:
        """Begin to load."""
        self.query_one(QuestionBar).display = False
        self._show_tab()
        self._about = self.deck.store.subscribe(self, ("run", "run-input", "task", "question", "review"), self._load)

    def on_unmount(self) -> None:
        """Load no more."""
        for subscription in (self._about, self._events, self._change):
            if subscription is not None:
                subscription.close()

    # ── loading ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _load(self) -> tuple[RunPicture, tuple[QuestionView, ...]]:
        store = self.deck.store
        found = await store.read(lambda connection: queries.picture(connection, self._wanted))
        asked = await store.ask("question.list", task=str(found.run.task)) if found.run.live else []
        return found, tuple(question for question in asked if question.run == found.run.id)

    async def _how_far(self) -> int:
        assert self.picture is not None
        number = self.picture.number
        return await LogPages(self.deck.store.read, number).end()

    async def on_fresh(self, message: Fresh) -> None:
        """Show what was loaded; open the log once it is known which."""
        message.stop()
        if message.of is self._events:
            await self._log_goes_on(message.data)
            return
        if message.of is self._change:
            self._show_change(message.data)
            return
        if isinstance(message.data, Trouble):
            self.trouble = message.data.words
        else:
            self.trouble = ""
            first = self.picture is None
            self.picture, asked = message.data
            self._ask(asked)
            self.trail = f"run {self.picture.run.name}"
            if first:
                await self._open_log()
            self._fill_tab()
        self.repaint_bars()

    async def _open_log(self) -> None:
        found = self.picture
        assert found is not None
        log = self.query_one(LogView)
        pages = LogPages(self.deck.store.read, found.number)
        await log.open(pages, begun=found.run.started_at, wanted=Range(kinds=PRESETS[0][1]))
        self._events = self.deck.store.subscribe(self, (f"run:{found.number}",), self._how_far)

    async def _log_goes_on(self, end: object) -> None:
        """New events; a log that has become shorter is another one (a replay went back)."""
        log = self.query_one(LogView)
        if isinstance(end, int) and log.window is not None and end < log.window.last:
            await log.open(log.window.source, begun=log.layout_of.begun, wanted=log.window.range)
        else:
            log.poke()

    def _ask(self, asked: tuple[QuestionView, ...]) -> None:
        before, self.question, self.questions = self.question, asked[0] if asked else None, len(asked)
        bar = self.query_one(QuestionBar)
        bar.display = self.question is not None
        if self.question is not None and (before is None or before.number != self.question.number):
            self._asked = time.monotonic()
            bar.refresh()

    @on(LogView.Changed)
    def _log_changed(self, message: LogView.Changed) -> None:
        """Another place in the log."""
        self.log_state = message.state
        self.query_one(LogLine).repaint()

    # ── tabs ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def next_tab(self, by: int) -> None:
        """Another tab."""
        names = [name for name, _ in TABS]
        self.open_tab(names[(names.index(self.tab) + by) % len(names)])

    def open_tab(self, name: str) -> None:
        """The tab of this name."""
        self.tab = name
        self._show_tab()
        self._fill_tab()
        self.repaint_bars()

    def _show_tab(self) -> None:
        panes: dict[str, Widget] = {"log": self.query_one(LogView), "diff": self.query_one(DiffTab)}
        text = self.query_one(TextTab)
        shown = panes.get(self.tab, text)
        self.set_focus(None)  # else the keys would go on to the next widget when the one that has them is hidden
        for pane in (*panes.values(), text):
            pane.display = pane is shown
        self.query_one(LogLine).display = self.tab == "log"
        self.call_after_refresh(self.set_focus, shown)

    def _fill_tab(self) -> None:
        found, ink = self.picture, self.deck.ink
        if self._change is not None and self.tab != "diff":
            self._change.close()
            self._change = None
        if found is None or self.tab == "log":
            return
        if self.tab == "diff":
            if self._change is None:
                topics = ("run", f"run:{found.number}")
                self._change = self.deck.store.subscribe(self, topics, self._load_change, pace=_CHANGE_SECONDS)
            return
        makers: dict[str, Callable[[], list[object]]] = {
            "usage": lambda: list(usage_lines(found, ink)),
            "gates": lambda: list(gate_lines(found, ink)),
            "told": lambda: list(told_lines(found, read_prompt(found.folder), self.deck.store.now())),
        }
        self.query_one(TextTab).show(makers[self.tab]())  # type: ignore[arg-type]

    async def _load_change(self) -> str:
        change = await self.deck.store.ask("run.diff", run=self._wanted)
        patch: str = change.patch
        return patch

    def _show_change(self, patch: str | Trouble) -> None:
        view = self.query_one(DiffTab)
        if isinstance(patch, Trouble):
            view.say_nothing(plain(patch.words))
        elif not patch:
            view.say_nothing("Nothing has changed yet", "what the agent writes appears here, committed or not")
        else:
            view.go_on(read_patch(patch))

    # ── talking ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def say(self) -> None:
        """Write to the agent."""
        self.set_focus(self.query_one(MessageBox))

    @on(Input.Submitted)
    async def _send(self, event: Input.Submitted) -> None:
        event.stop()
        text = event.value.strip()
        if not text:
            return
        try:
            told = await self.deck.do("run.send", {"run": self._run_name, "text": text})
        except QuarterdeckError as error:
            self.deck.say(error.message, "bad", error.hint or "")
            return
        event.input.value = ""
        self.deck.say(f"message {told.seq} is on its way to run {told.run}", "ok")

    @property
    def just_asked(self) -> bool:
        """Whether the question is so new that a key may have been meant for something else."""
        return time.monotonic() - self._asked < _GUARD_SECONDS

    @property
    def _run_name(self) -> str:
        return self.picture.run.name if self.picture else self._wanted

    @property
    def loading_yet(self) -> bool:
        """Whether the run is not there yet."""
        return self.picture is None and not self.trouble

    def subject(self) -> Subject:
        """The run, with what it asks."""
        if self.picture is None:
            return Subject("run", {"run": self._wanted}, f"run {self._wanted}")
        run, asked = self.picture.run, self.question
        names = {"run": run.name, "task": str(run.task), "project": run.project}
        if asked is not None:
            names["question"] = str(asked.number)
        asks = asked_of(asked) if asked else None
        return Subject("run", names, f"run {run.name}", run, asks, self.picture.state, run.live)
