"""The lines of the run screen: what the run is, how it stands, its tabs, where one is in the log, what it asks."""

from datetime import datetime
from typing import TYPE_CHECKING

from textual.strip import Strip

from core.events import EventKind
from core.faces.render import duration
from storage.queries.permissions import rule_for
from storage.queries.questions import Question
from storage.queries.run_screen import RunPicture
from tui.answers import Asked
from tui.ink import Part, money, plain, told
from tui.widgets.bars import Bar
from tui.widgets.log_view import LogState

if TYPE_CHECKING:
    from tui.screens.run_screen import RunScreen

TABS: tuple[tuple[str, str], ...] = (
    ("log", "log"),
    ("diff", "diff so far"),
    ("usage", "usage"),
    ("gates", "gates"),
    ("told", "what it was told"),
)
PRESETS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("all but usage", tuple(kind.value for kind in EventKind if kind is not EventKind.USAGE)),
    ("everything", ()),
    ("talk", ("message", "thinking", "question", "answer", "status")),
    ("tools", ("tool_call", "tool_result", "output")),
    ("edits and checks", ("edit", "verify", "status", "error")),
    ("errors", ("error",)),
)
"""What the log can be narrowed down to with one key; it begins with the first."""


class RunBar(Bar):
    """A line about the run."""

    ground = "ground"
    DEFAULT_CSS = "RunBar { height: 1; background: $qd-ground; }"

    @property
    def run(self) -> "RunScreen":
        """The screen that it belongs to."""
        return self.screen  # type: ignore[return-value]

    @property
    def picture(self) -> RunPicture | None:
        """What is known of the run."""
        return self.run.picture


class RunTitle(RunBar):
    """The task, and where it belongs."""

    def parts(self, width: int) -> tuple[list[Part], list[Part]]:
        """Task on the left; attempt, agent and project on the right."""
        found = self.picture
        if found is None:
            return [
                (f" {self.run.trouble or 'loading' + self.ink.glyph('more')}", "bad" if self.run.trouble else "dim")
            ], []
        run, dot = found.run, f" {self.ink.glyph('dot')} "
        left: list[Part] = [
            (f" #{run.task} ", self.ink.project(found.colour)),
            (plain(found.title), "text bold"),
            (" ", ""),
        ]
        right: list[Part] = [
            (plain(run.agent), "text"),
            (dot, "dim"),
            (run.project, self.ink.project(found.colour)),
            (" ", ""),
        ]
        attempt = f"attempt {run.attempt} of {max(found.max_attempts, run.attempt)}"
        return left, [(f"{attempt}{dot}", "dim"), *right] if width >= 100 else right


class RunFigures(RunBar):
    """How the run stands: state, time, money, tokens, files."""

    def parts(self, width: int) -> tuple[list[Part], list[Part]]:
        """The state and why on the left; figures on the right."""
        found = self.picture
        if found is None:
            return [], []
        run, ink = found.run, self.ink
        word, tone = ink.state("paused" if found.paused else run.status)
        left: list[Part] = [(f" {word}", f"{tone} bold"), (f"  {told(run.reason)}" if run.reason else "", "dim")]
        spent = (run.finished_at or self.deck.store.now()) - run.started_at
        tokens = run.tokens
        taken = tokens.input + tokens.cache_read + tokens.cache_write
        gap: Part = ("   ", "")
        right: list[Part] = [
            (duration(max(0.0, spent.total_seconds())), "text"),
            gap,
            (money(run.cost_usd), "text"),
            gap,
        ]
        if width >= 70:
            right += [(f"{count(taken)} in ", "text"), (f"{count(tokens.output)} out", "text"), gap]
        files = f"{run.files_changed} file{'' if run.files_changed == 1 else 's'} " if width >= 90 else ""
        right += [(files, "text"), (f"+{run.insertions:,} ", "ok"), (f"{ink.glyph('minus')}{run.deletions:,} ", "bad")]
        return left, right


class Tabs(RunBar):
    """The tabs, and which of them is open."""

    ground = "raised"

    def parts(self, width: int) -> tuple[list[Part], list[Part]]:
        """Their names."""
        left: list[Part] = [(" ", "")]
        for name, words in TABS:
            here = name == self.run.tab
            left.append((f" {words if width >= 60 else name} ", "focus bold underline" if here else "dim"))
            left.append((" ", ""))
        return left, [(f"{self.deck.registry.keys_of('tab.next')} next ", "dim")] if width >= 80 else []


class LogLine(RunBar):
    """Where one is in the log."""

    ground = "raised"

    def parts(self, width: int) -> tuple[list[Part], list[Part]]:
        """Whether it follows and what is new on the left; the place on the right."""
        state: LogState = self.run.log_state
        ink, found = self.ink, self.picture
        left: list[Part] = [(" ", "")]
        if state.trouble:
            left += [(plain(state.trouble), "bad"), ("  ", "")]
        if state.following:
            ended = found is not None and not found.run.live
            left.append(
                (f"{ink.glyph('dot')} the end" if ended else f"{ink.glyph('mark')} following", "dim" if ended else "ok")
            )
        elif state.new:
            left += [(f"{ink.glyph('down')} {state.new:,} new", "warn bold"), ("  G follows", "dim")]
        else:
            left += [(ink.state("paused")[0], "warn"), ("  G follows", "dim")]
        if state.kinds != PRESETS[0][1]:
            name = next((name for name, kinds in PRESETS if kinds == state.kinds), ", ".join(state.kinds))
            left += [("   shown: ", "dim"), (name, "focus")]
        if state.since is not None:
            left += [("   since ", "dim"), (f"{state.since.astimezone():%H:%M:%S}", "focus")]
        if state.needle:
            left += [("   /", "dim"), (plain(state.needle), "focus")]
        if state.selected:
            left.append(("   selecting", "warn"))
        end = max(found.run.events if found else 0, state.end)
        share = f" {ink.glyph('dot')} {100 * state.seq // end}%" if end and width >= 60 else ""
        return left, [(f"{state.seq:,} of {end:,}{share} ", "dim")] if end else []


class QuestionBar(RunBar):
    """What the run asks, with a key for each answer. Not there while it asks nothing."""

    ground = "cursor"
    DEFAULT_CSS = "QuestionBar { height: 2; background: $qd-cursor; }"

    def parts(self, width: int) -> tuple[list[Part], list[Part]]:  # noqa: ARG002 - as every bar
        """The question."""
        found = self.run.question
        if found is None:
            return [], []
        more = f" {self.ink.glyph('dot')} {self.run.questions - 1} more" if self.run.questions > 1 else ""
        return [(" ? ", "ask bold"), (plain(found.text), "text bold")], [
            (f"{more} asked {since(found.asked_at, self.deck.store.now())} ", "dim")
        ]

    def answers(self) -> list[Part]:
        """The answers and their keys."""
        found = self.run.question
        if found is None:
            return []
        asked = asked_of(found)
        made: list[Part] = [("   ", "")]
        for n, answer in enumerate(asked.answers, start=1):
            made += [(f"{n} ", "focus bold"), (f"{plain(answer.name)}   ", "text")]
        more = "asks first" if asked.permission else "in words"
        return [*made, (f"{self.deck.registry.keys_of('question.answer')} ", "focus bold"), (more, "dim")]

    def render_line(self, y: int) -> Strip:
        """The question, and its answers under it."""
        if y == 0:
            return super().render_line(y)
        return self.ink.strip(self.answers(), self.size.width, self.ground)


def asked_of(question: Question) -> Asked:
    """What a question asks of the person."""
    leave = question.kind == "permission"
    rule = rule_for(question.data) if leave else None
    return Asked(str(question.number), question.text, question.options, leave, rule, question.project)


def count(number: int) -> str:
    """A number of tokens in at most six signs: ``834``, ``45.2k``, ``1.25M``."""
    if number < 1000:
        return str(number)
    return f"{number / 1000:.1f}k" if number < 1_000_000 else f"{number / 1_000_000:.2f}M"


def since(at: datetime, now: datetime) -> str:
    """``3 min ago``."""
    return f"{duration(max(0.0, (now - at).total_seconds()), coarse=True)} ago"
