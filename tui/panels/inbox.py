"""The inbox: everything that waits for the person, the most urgent first: by what it blocks × priority. Answered where it stands."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from textual.strip import Strip

from core.tasks.states import TaskStatus
from storage.queries.screen import Need
from tui.actions import Subject
from tui.answers import Asked
from tui.ink import Part, age, plain, told, wrapped
from tui.memory import Memory
from tui.pulse import TOPICS, load_needs
from tui.widgets.panel import TablePanel
from tui.widgets.rows import Column, Rows

_DOES = {
    "question": "asks", "approval": "wants leave", "review": "to review", "conflict": "conflict", "failed": "failed", "waiting": "waits",
    "budget": "no budget", "stalled": "silent", "paused": "paused", "engine": "engine dead",
}  # fmt: skip


_AT_WORK = {"question": True, "approval": True, "stalled": True, "review": False, "conflict": False, "failed": False}
"""Kind of what waits → whether its run is at work, where that follows."""


def _kind(row: Need, at: Rows) -> Sequence[Part]:
    word = {"review": "review"}.get(row.kind, row.kind)
    sign, tone = at.ink.sign(word)
    return [(f"{sign} ", tone), (_DOES.get(row.kind, row.kind), tone)]


def _task(row: Need, at: Rows) -> Sequence[Part]:
    if row.task is None:
        return [("", "")]
    tone = at.deck.tone_of(row.project)
    return [(f"#{row.task}", tone)]


def _text(row: Need, at: Rows) -> Sequence[Part]:
    if row.kind in ("question", "approval"):
        parts: list[Part] = [(plain(row.text), "text")]
        return [*parts, *_answers(row)] if row.kind == "question" else parts
    text = told(row.text).replace("−", at.ink.glyph("minus"))
    return [(plain(row.title), "text"), (f"  {text}" if text else "", "dim")]


def _answers(row: Need) -> list[Part]:
    asked = asked_of(row)
    answers = enumerate(asked.answers, start=1) if asked else ()
    return [part for n, answer in answers for part in ((f"  {n} ", "focus bold"), (plain(answer.name), "text"))]


def _blocks(row: Need, at: Rows) -> Sequence[Part]:
    return [(f"{at.ink.glyph('arrow')}{row.blocks}" if row.blocks else "", "warn")]


def _age(row: Need, at: Rows) -> Sequence[Part]:
    return [(age(row.at, at.deck.store.now()), "dim")]


class InboxPanel(TablePanel):
    """What needs the person."""

    number = 1
    name_shown = "inbox"
    scopes = ("inbox", "rows", "motion")
    topics = TOPICS
    statuses = tuple(TaskStatus)
    columns = (
        Column("what", 13, _kind, rank=8),
        Column("task", 5, _task, right=True, rank=7, numbers=True),
        Column("", 0, _text, rank=10, least=20),
        Column("blocks", 3, _blocks, right=True, rank=4),
        Column("age", 4, _age, right=True, rank=6),
    )

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.shows_aside = False
        """Whether what was put aside is shown, in place of what waits."""
        self.aside = 0
        """How many were put aside."""
        self._waiting = 0

    async def load_all(self) -> Sequence[Need]:
        """What needs the person, without what was put aside; or that alone."""
        found = await load_needs(self.deck.store)
        waiting = without_aside(found, self.deck.memory)
        self._waiting, self.aside = len(waiting), len(found) - len(waiting)
        self.shows_aside = self.shows_aside and self.aside > 0
        self.title_now()
        return [need for need in found if need not in waiting] if self.shows_aside else waiting

    def key_of(self, row: Need) -> Hashable:
        """Kind and name."""
        return row.kind, row.key

    def subject_of(self, row: Any) -> Subject:
        """What waits, and whose it is."""
        return subject_of_need(row)

    def fields_of(self, row: Need) -> Mapping[str, str | None]:
        """``status:`` looks at the state of the task, ``reason:`` at what is said of it."""
        return {"project": row.project, "status": row.state, "agent": row.agent, "reason": row.text}

    def summary(self) -> list[Part]:
        """How many."""
        if not self.loaded:
            return []
        count, keys = len(self.keys), self.deck.registry.keys_of("inbox.aside")
        if self.filter:
            return [
                (f"{count} of {self.aside if self.shows_aside else self._waiting} match {self.filter.text}", "warn")
            ]
        if self.shows_aside:
            return [(f"{count} put aside", "warn"), (f"  {keys} back", "dim")]
        waits: Part = (f"{count} need{'s' if count == 1 else ''} you", "ask bold") if count else ("all clear", "ok")
        return [waits, (f"  {self.aside} put aside, {keys} lists", "dim")] if self.aside else [waits]

    @property
    def foot_lines(self) -> int:
        """The whole text of what is under the cursor, where there is room for it."""
        return 4 if self._height >= 10 and self.keys else 0

    def draw_foot(self, line: int, width: int) -> Strip:
        """A rule, and three lines of text."""
        if line == 0:
            return self.ink.strip([(self.ink.glyph("rule") * width, "edge")], width)
        row = self.row()
        lines = wrapped(preview(row, self), width - 2, most=3, more=self.ink.glyph("more")) if row else []
        return self.ink.strip([(" ", ""), *lines[line - 1]] if line <= len(lines) else (), width)

    def nothing(self) -> Sequence[str]:
        """All is well."""
        if self.aside:
            keys = self.deck.registry.keys_of("inbox.aside")
            return (
                "Nothing else needs you",
                f"{self.aside} put aside: {keys} lists {'it' if self.aside == 1 else 'them'}",
            )
        return ("Nothing needs you", "what asks, fails or waits comes here")


def preview(row: Need, at: Rows) -> list[Part]:
    """What waits, in full."""
    if row.kind not in ("question", "approval"):
        text = told(row.text).replace("−", at.ink.glyph("minus"))
        return [(plain(row.title), "text bold"), (f"  {text}", "dim")]
    parts: list[Part] = [(plain(row.text), "text bold")]
    return [*parts, *_answers(row), (f"  {at.ink.glyph('dot')} #{row.task} {plain(row.title)}", "dim")]


def subject_of_need(row: Need) -> Subject:
    """What waits for the person, and what it belongs to."""
    names: dict[str, str] = {}
    if row.kind in ("question", "approval"):
        names["question"] = row.key
    if row.kind in ("review", "conflict"):
        names["review"] = str(row.task)
    if row.kind == "engine":
        names["engine"] = row.key
    if row.run:
        names["run"] = row.run
    if row.task is not None:
        names["task"] = str(row.task)
    if row.project:
        names["project"] = row.project
    label = f"#{row.task} {plain(row.title)}" if row.task is not None else plain(row.text)
    return Subject(
        {
            "approval": "question",
            "conflict": "task",
            "failed": "task",
            "waiting": "task",
            "budget": "task",
            "stalled": "run",
            "paused": "run",
        }.get(row.kind, row.kind),
        names,
        label,
        row,
        asked_of(row),
        row.state,
        _AT_WORK.get(row.kind),
    )


def without_aside(needs: Sequence[Need], memory: Memory) -> list[Need]:
    """What needs the person, without what was put aside."""
    aside = set(memory.get("aside", []))
    return [need for need in needs if aside_key(need) not in aside] if aside else list(needs)


def asked_of(row: Need) -> Asked | None:
    """What the need asks of the person, where it is a question of a run."""
    if row.kind not in ("question", "approval"):
        return None
    return Asked(row.key, row.text, row.options, row.kind == "approval", row.rule, row.project or "")


def aside_key(need: Need) -> str:
    """What is remembered of a need that was put aside: when it comes again later, it is seen again."""
    return f"{need.kind}:{need.key}:{need.at.isoformat()}"
