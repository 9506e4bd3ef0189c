"""What a task's run knew: everything that it was told, where that comes from and why it was chosen."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, ClassVar

from textual.containers import Horizontal
from textual.widget import Widget

from core.commands.context import ContextView, ItemView
from tui.actions import Subject
from tui.ink import Part, plain
from tui.screens.paned import PanedScreen
from tui.widgets.page import Page, words
from tui.widgets.panel import TablePanel
from tui.widgets.rows import Column, Rows


def _section(row: ItemView, at: Rows) -> Sequence[Part]:  # noqa: ARG001 - as every column
    return [(plain(row.section), "focus")]


def _title(row: ItemView, at: Rows) -> Sequence[Part]:
    return [(plain(row.title), "text"), (f"  {at.ink.glyph('dot')} {plain(row.why)}" if row.why else "", "dim")]


def _source(row: ItemView, at: Rows) -> Sequence[Part]:  # noqa: ARG001 - as every column
    return [(plain(row.source), "dim")]


def _tokens(row: ItemView, at: Rows) -> Sequence[Part]:  # noqa: ARG001 - as every column
    return [(f"{row.tokens:,}", "dim")]


class Told(TablePanel):
    """The items."""

    number = 1
    name_shown = "what it knew"
    headed = True
    scopes = ("knew", "rows", "motion")
    topics = ("run", "knowledge")
    columns = (
        Column("section", 18, _section, rank=7),
        Column("what", 0, _title, rank=10, least=24),
        Column("from", 18, _source, rank=4),
        Column("tokens", 6, _tokens, right=True, rank=6),
    )

    async def load_all(self) -> Sequence[tuple[int, ItemView]]:
        """What was told; what would be, where no run was told anything yet."""
        screen = self.screen
        assert isinstance(screen, KnewScreen)
        found: ContextView = await self.deck.store.ask("context", task=screen.task_number, now=screen.now)
        screen.view = found
        return list(enumerate(found.items))

    def words_of(self, row: Any) -> str:
        """As every table, of the item."""
        return super().words_of(row[1])

    def key_of(self, row: tuple[int, ItemView]) -> Hashable:
        """Its place."""
        return row[0]

    async def _chosen(self) -> list[Any]:
        return [row for row in await self.load_all() if self.filter.accepts(self.words_of(row), {})]

    async def _load_keys(self) -> Any:
        keys, rows = await super()._load_keys()
        return keys, {key: row[1] for key, row in (rows or {}).items()}

    def subject_of(self, row: Any) -> Subject:
        """An item of knowledge, where it is one."""
        return Subject("knowledge", {"memory": str(row.number)} if row.number else {}, plain(row.title), row)

    def summary(self) -> list[Part]:
        """How much of the room that there is."""
        screen = self.screen if self.is_mounted else None
        view = screen.view if isinstance(screen, KnewScreen) else None
        if view is None:
            return []
        when = f"run {view.run}" if view.run else "would be told now"
        parts: list[Part] = [(f"{when} {self.ink.glyph('dot')} {view.tokens:,} of {view.budget:,} tokens", "dim")]
        if view.warnings:
            parts.append(
                (
                    f" {self.ink.glyph('warn')} {len(view.warnings)} hidden instruction{'s' if len(view.warnings) > 1 else ''}",
                    "bad",
                )
            )
        if view.left_out:
            parts.append((f" {self.ink.glyph('dot')} no room for {len(view.left_out)}", "dim"))
        return parts

    def go(self, to: int) -> None:
        """Another item is shown beside."""
        super().go(to)
        self._tell()

    def changed(self) -> None:
        """As :meth:`go`."""
        super().changed()
        self._tell()

    def _tell(self) -> None:
        if self.is_mounted and isinstance(self.screen, KnewScreen):
            self.screen.show_item()

    def nothing(self) -> Sequence[str]:
        """Why there is nothing."""
        return ("It was told nothing", "often nothing is worth telling: what is beside the point is left out")


class KnewScreen(PanedScreen):
    """What a task's run knew."""

    scopes = ("panes",)
    panes = ("told", "text")
    holders: ClassVar[dict[str, str]] = {"told": "told", "text": "text"}
    DEFAULT_CSS = "KnewScreen #told { width: 3fr; } KnewScreen #text { width: 2fr; }"

    def __init__(self, task: str) -> None:
        super().__init__()
        self.task_number = task
        self.now = False
        self.view: ContextView | None = None
        self.trail = f"what #{task} knew"

    def body(self) -> Iterable[Widget]:
        """The items, and the text of one."""
        yield Horizontal(Told(id="told"), Page("text", 2, id="text"))

    def on_mount(self) -> None:
        """The items have the keys."""
        self.focus_pane("told")

    def turn(self) -> str:
        """What would be told now, or what was told; in words."""
        self.now = not self.now
        self.query_one("#told", Told).reload()
        return "what a run would be told that begins now" if self.now else "what the latest run was told"

    def show_item(self) -> None:
        """The text of the item under the cursor; after it, what hid in texts."""
        row: ItemView | None = self.query_one("#told", Told).row()
        view = self.view
        self.query_one("#text", Page).write(lambda width: _text(row, view, width))


def _text(row: ItemView | None, view: ContextView | None, width: int) -> list[list[Part]]:
    lines: list[list[Part]] = []
    if row is not None:
        lines += [[(text, "text bold") for text, _ in line] for line in words(row.title, width)]
        lines += [[("from ", "dim"), (plain(row.source), "text")], [("because ", "dim"), (plain(row.why), "text")], []]
        lines += words(row.text, width)
    for warning in view.warnings if view else ():
        lines += [
            [],
            [("not told, and to be looked at: ", "bad bold"), (plain(warning.what), "bad")],
            [(plain(warning.source), "dim")],
        ]
        lines += words(warning.text, width, "warn")
    for one in view.left_out if view else ():
        lines += [[], [("no room for ", "dim"), (plain(one.title), "text"), (f"  {one.tokens:,} tokens", "dim")]]
    return lines
