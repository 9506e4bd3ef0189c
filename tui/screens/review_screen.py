"""The review of a change: its files, the change itself, the checks it passed and what the agent said of it; and the judgement."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from config.errors import ConflictError, QuarterdeckError, UnavailableError
from core.commands.views import DiffView as Change
from storage.queries.reviews import Gate, Review, ReviewDetails
from storage.queries.runs import Run
from tui.actions import Subject
from tui.ink import Part, age, money, plain
from tui.notes import Note, as_text, by_file, drop_notes, keep_note, read_notes
from tui.patch import Patch, read_patch
from tui.screens.base import BaseScreen
from tui.screens.paned import NARROW, PanedScreen
from tui.store import Fresh, Trouble
from tui.widgets.bars import Bar
from tui.widgets.diff_view import DiffView, Moved
from tui.widgets.file_tree import FileTree, Picked
from tui.widgets.page import Page, heading, words

_WHOLE = 1_000
"""Unchanged lines around a change that are read, to be unfolded."""
_WHOLE_BYTES = 4_000_000
_MOST_BYTES = 48_000_000


@dataclass(frozen=True, slots=True)
class Shown:
    """What the screen shows of one review."""

    details: ReviewDetails
    run: Run
    waiting: tuple[int, ...]
    """Tasks whose changes wait for a judgement, the oldest first."""


class _Heading(Bar):
    """What is judged, in one line."""

    ground = "ground"

    def parts(self, width: int) -> tuple[list[Part], list[Part]]:
        """Title and state on the left, where one is among the reviews on the right."""
        screen = self.screen
        assert isinstance(screen, ReviewScreen)
        shown, ink = screen.shown, self.ink
        if shown is None:
            return [(f" {screen.trouble or 'loading' + ink.glyph('more')}", "bad" if screen.trouble else "dim")], []
        review = shown.details.review
        dot: Part = (f" {ink.glyph('dot')} ", "dim")
        left: list[Part] = [(" ", ""), ink.state(review.status), ("  ", ""), (plain(review.title), "text bold"), dot]
        left += [
            (plain(review.project), self.deck.tone_of(review.project)),
            dot,
            (plain(review.agent), "text"),
            dot,
            (f"attempt {review.attempt}", "text"),
        ]
        left += [dot, (money(review.cost_usd), "text")]
        right: list[Part] = []
        if screen.notes:
            right += [(f" {len(screen.notes)} note{'s' if len(screen.notes) != 1 else ''} to send  ", "ask bold")]
        if review.task in shown.waiting and width >= NARROW:
            right += [(f"{shown.waiting.index(review.task) + 1} of {len(shown.waiting)} to review ", "dim")]
        return left, right


class ReviewScreen(PanedScreen):
    """One review; ``(`` and ``)`` go through those that wait."""

    scopes = ("judge", "panes")
    panes = ("change", "files", "about")
    holders = {"files": "side", "about": "side"}  # noqa: RUF012 - as Textual declares such things
    DEFAULT_CSS = """
    ReviewScreen #side { width: 36; }
    ReviewScreen.-wide #side { width: 52; }
    ReviewScreen.-narrow #side { width: 1fr; }
    ReviewScreen #files, ReviewScreen #about { height: 1fr; }
    ReviewScreen #change { width: 1fr; }
    """

    def __init__(self, task: str) -> None:
        super().__init__()
        self.task_number = task
        self.trail = f"review #{task}"
        self.shown: Shown | None = None
        self.notes: list[Note] = []
        self.trouble = ""
        self.merging = ""
        """What is going on with the merge, or came of it."""
        self._run = ""
        """The run whose change is shown."""
        self._read = ""
        """The run whose change was read, or could not be: until then nobody has seen what is judged."""
        self._subscription: Any = None

    def body(self) -> Iterable[Widget]:
        """The line above, the panes."""
        yield _Heading(id="heading")
        about = Page("checks, words", 3, id="about")
        yield Horizontal(Vertical(FileTree(id="files"), about, id="side", classes="holder"), DiffView(id="change"))

    # ── life ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_mount(self) -> None:
        """Begin to load."""
        self._listen()
        self.focus_pane("change")

    def on_unmount(self) -> None:
        """Load no more."""
        if self._subscription is not None:
            self._subscription.close()

    def _listen(self) -> None:
        self._subscription = self.deck.store.subscribe(self, ("review", f"task:{self.task_number}"), self._load)

    async def _load(self) -> Shown:
        store = self.deck.store
        details: ReviewDetails = await store.ask("review.show", task=self.task_number)
        run: Run = await store.ask("run.show", run=str(details.review.run))
        waiting: list[Review] = await store.ask("review.list", status=["open"], limit=1000)
        return Shown(details, run, tuple(review.task for review in waiting))

    def on_fresh(self, message: Fresh) -> None:
        """Show what was loaded; the change itself is fetched once for each run."""
        data = message.data
        if isinstance(data, Trouble):
            self.trouble = plain(data.words)
            self.query_one(DiffView).say_nothing(self.trouble, "esc goes back")
            self.repaint_bars()
            return
        self.trouble, self.shown = "", data
        self.notes = read_notes(self.deck.memory, data.details.review.number)
        run = f"{data.details.review.task}.{data.details.review.attempt}"
        if run != self._run:
            self._run = run
            self.query_one(DiffView).say_nothing("reading the change" + self.deck.ink.glyph("more"))
            self.run_worker(self._fetch(run), exclusive=True, group="change")
        self._write_about()
        self._show_notes()
        self.repaint_bars()

    async def _fetch(self, run: str) -> None:
        """Read the change with much around it, so that it can be unfolded; with little where it is large."""
        await self._show_change(run)
        self._read = run
        self.repaint_bars()

    async def _show_change(self, run: str) -> None:
        view = self.query_one(DiffView)
        try:
            change: Change = await self.deck.store.ask("run.diff", run=run, max_bytes=_WHOLE_BYTES, context=_WHOLE)
            if change.patch.rstrip("\n").rpartition("\n")[2].startswith("… cut after"):
                change = await self.deck.store.ask("run.diff", run=run, max_bytes=_MOST_BYTES)
        except (ConflictError, UnavailableError, QuarterdeckError) as error:
            view.say_nothing("The change cannot be shown", plain(error.message), plain(error.hint))
            return
        patch: Patch = await asyncio.to_thread(read_patch, change.patch)
        if not patch.files:
            view.say_nothing("This run has changed nothing", "m completes the task as it is, c asks for more")
            return
        view.show(patch, {note.key: note.text for note in self.notes})
        self.query_one(FileTree).show(patch.files)
        self._show_notes()

    # ── panes ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_moved(self, message: Moved) -> None:
        """The tree shows in which file one reads."""
        self.query_one(FileTree).go_to_file(message.file)

    def on_picked(self, message: Picked) -> None:
        """The change shows the file that was picked."""
        self.query_one(DiffView).go_to_file(message.file)
        if message.opened:
            self.focus_pane("change")

    # ── checks and words ────────────────────────────────────────────────────────────────────────────────────────────

    def _write_about(self) -> None:
        page = self.query_one("#about", Page)
        shown = self.shown
        if shown is None:
            return
        gates = shown.details.gates
        passed = sum(gate.status == "passed" for gate in gates)
        page.more = (
            [(f"{passed}/{len(gates)}", "ok" if passed == len(gates) else "bad")] if gates else [("no checks", "dim")]
        )
        page.write(self._about)

    def _about(self, width: int) -> list[list[Part]]:
        ink, shown = self.deck.ink, self.shown
        if shown is None:
            return []
        review = shown.details.review
        lines: list[list[Part]] = [self._became(review), []] if review.status != "open" or self.merging else []
        if review.note:
            lines += [heading(ink, "said with it", width), *words(review.note, width), []]
        lines += [
            heading(ink, "checks", width),
            *(line for gate in shown.details.gates for line in gate_lines(self, gate, width)),
        ]
        if not shown.details.gates:
            lines += words("This project has no checks. `qd project edit ID --verify CMD` adds one.", width, "dim")
        lines += [[], heading(ink, "what the agent said last", width)]
        lines += words(shown.details.last_message, width) if shown.details.last_message else [[("nothing", "dim")]]
        if self.notes:
            lines += [[], heading(ink, "notes, not sent yet", width)]
            for note in self.notes:
                lines += [[(f"{ink.glyph('mark')} ", "ask"), (plain(note.place), "ask bold")], *words(note.text, width)]
        if shown.details.description.strip():
            lines += [[], heading(ink, "what was wanted", width), *words(shown.details.description, width)]
        return lines

    def _became(self, review: Review) -> list[Part]:
        ink = self.deck.ink
        parts: list[Part] = [ink.state(review.status)]
        if review.status == "approved":
            return [*parts, ("  the engine checks it once more and merges it" + ink.glyph("more"), "text")]
        if review.merge_commit:
            parts.append((f" as {review.merge_commit[:10]}", "text"))
        at = review.merged_at or review.decided_at
        if at is not None:
            parts.append((f"  {age(at, self.deck.store.now())}", "dim"))
        if review.actor:
            parts.append((f"  by {plain(review.actor).removeprefix('user:')}", "dim"))
        return parts

    # ── what actions ask ────────────────────────────────────────────────────────────────────────────────────────────

    def subject(self) -> Subject | None:
        """The task; its review has actions of this screen."""
        if self.shown is None:
            return None
        review = self.shown.details.review
        state = "review" if review.status in ("open", "approved") else ""
        names = {"task": str(review.task)}
        return Subject("task", names, f"#{review.task} {plain(review.title)}", review, state=state, live=False)

    @property
    def loading_yet(self) -> bool:
        """Whether the review is not there yet."""
        return self.shown is None and not self.trouble

    @property
    def change_read(self) -> bool:
        """Whether the change that is judged is the one that is shown."""
        return bool(self._run) and self._read == self._run

    @property
    def review(self) -> Review | None:
        """What is judged."""
        return self.shown.details.review if self.shown else None

    def keep(self, note: Note) -> None:
        """Keep a note, or take it away where it has no words."""
        if (review := self.review) is not None:
            keep_note(self.deck.memory, review.number, note)
            self._read_notes(review)

    def sent(self) -> None:
        """The notes were sent."""
        if (review := self.review) is not None:
            drop_notes(self.deck.memory, review.number)
            self._read_notes(review)

    def told(self, words_: str) -> str:
        """Words and notes as the agent is told them."""
        return as_text(self.notes, words_)

    def _read_notes(self, review: Review) -> None:
        self.notes = read_notes(self.deck.memory, review.number)
        self._show_notes()
        self._write_about()
        self.repaint_bars()

    def _show_notes(self) -> None:
        view = self.query_one(DiffView)
        found = {note.key: note.text for note in self.notes}
        if found != view.notes and view.patch.files:
            view.set_notes(found)
        self.query_one(FileTree).set_notes(dict(by_file(self.notes)))

    def step(self, by: int) -> bool:
        """Show the next review that waits, or the one before; False where there is none."""
        if self.shown is None:
            return False
        waiting, here = self.shown.waiting, self.shown.details.review.task
        others = [task for task in waiting if task != here]
        if not others:
            return False
        place = waiting.index(here) + by if here in waiting else (0 if by > 0 else -1)
        self.change_to(str(waiting[place % len(waiting)]))
        return True

    def change_to(self, task: str) -> None:
        """Show the review of another task."""
        self._subscription.close()
        self.task_number, self.trail, self.shown, self._run, self.merging = task, f"review #{task}", None, "", ""
        self.names = {"task": task}
        self.query_one(DiffView).say_nothing("loading" + self.deck.ink.glyph("more"))
        self.query_one(FileTree).show(())
        self._listen()
        self.repaint_bars()

    def file_path(self) -> tuple[Path | None, int]:
        """The file under the cursor in the worktree of the run, where it is there and is a plain file in it; and the line."""
        view = self.query_one(DiffView)
        spot, at = view.spot(), view.file_here()
        if at < 0 or self.shown is None or not self.shown.run.worktree:
            return None, 0
        root = Path(self.shown.run.worktree)
        path = root / view.patch.files[at].path
        try:
            inside = path.resolve().is_relative_to(root.resolve()) and path.is_file() and not path.is_symlink()
        except OSError:
            inside = False
        return (path if inside else None), spot.number if spot and spot.side == "new" else 0


def gate_lines(screen: BaseScreen, gate: Gate, width: int) -> list[list[Part]]:
    """One check: how it ended, how long it took, and the end of what it said where it did not pass."""
    ink = screen.deck.ink
    sign, tone = {"passed": ("ok", "ok"), "failed": ("bad", "bad")}.get(gate.status, ("warn", "warn"))
    code = f" {gate.exit_code}" if gate.status == "failed" and gate.exit_code is not None else ""
    state = f"{ink.glyph(sign)} {gate.status}{code} "
    time = f"{gate.seconds:.1f} s"
    room = max(4, width - len(state) - len(time) - 1)
    lines: list[list[Part]] = [[(state, tone), (ink.fit(plain(gate.command), room), "text"), (f" {time}", "dim")]]
    if gate.status != "passed" and gate.output.strip():
        lines += [
            [("  ", ""), *line]
            for line in words("\n".join(gate.output.rstrip("\n").split("\n")[-30:]), width - 2, "dim")
        ]
    return lines
