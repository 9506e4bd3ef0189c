"""What the crew knows: searched while one types, by kind, with a preview, and who was told of it and how that ended."""

import asyncio
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from core.commands.knowledge import ChangeView, UseView
from core.commands.knowledge_views import ItemView
from core.commands.knowledge_weighed import ContradictionView
from tui.actions import Subject
from tui.filter import Filter
from tui.ink import Part, plain
from tui.screens.knowledge_entries import (
    COLUMNS,
    OPPOSED,
    Entry,
    entry_of,
    entry_of_pair,
    entry_of_proposal,
    fits,
    subject_of_item,
)
from tui.screens.paned import PanedScreen
from tui.store import Fresh, Subscription, Trouble
from tui.widgets.bars import Bar
from tui.widgets.page import Page, words
from tui.widgets.panel import TablePanel
from tui.widgets.preview import against, preview, terms
from tui.widgets.rows import Column, Rows

TABS: tuple[tuple[str, str], ...] = (
    ("all", ""), ("code", "code"), ("docs", "documentation"), ("needs", "requirement"), ("patterns", "pattern"), ("decisions", "decision"),
    ("lessons", "lesson"), ("standards", "standard"), ("proposals", "proposed"), ("past", "past"),
)  # fmt: skip
"""Names of the tabs, and the kind of each."""
FROM_FILES = ("code", "documentation")
PAST = ("deleted", "refused", "deprecated", "superseded")
TYPING_SECONDS = 0.12
"""So long a search waits for the next letter."""
RESTING_SECONDS = 0.06
"""So long the preview waits for the cursor to stay."""
MOST_HITS = 50
MOST_ITEMS = 500


class Tabs(Bar):
    """The kinds, one of them chosen; whose knowledge on the right."""

    DEFAULT_CSS = "Tabs { height: 1; background: $qd-ground; }"
    ground = "ground"

    def parts(self, width: int) -> tuple[list[Part], list[Part]]:
        """Names of the kinds; where there is no room for all, those around the chosen one."""
        screen = self.screen
        assert isinstance(screen, KnowledgeScreen)
        named = [(name + (f" {screen.waiting}" if name == "proposals" and screen.waiting else "")) for name, _ in TABS]
        right: list[Part] = (
            [(f"{plain(screen.project)} ", self.deck.tone_of(screen.project))]
            if screen.project
            else [("all projects ", "dim")]
        )
        room = width - sum(len(text) for text, _ in right) - 2
        first, last = 0, len(named)
        while sum(len(name) + 2 for name in named[first:last]) > room and last - first > 1:
            if screen.tab - first > last - 1 - screen.tab:
                first += 1
            else:
                last -= 1
        parts: list[Part] = [(self.ink.glyph("more") if first else " ", "dim")]
        for n in range(first, last):
            tone = "focus bold underline" if n == screen.tab else "warn" if n == 8 and screen.waiting else "dim"
            parts += [(" ", ""), (named[n], tone), (" ", "")]
        if last < len(named):
            parts.append((self.ink.glyph("more"), "dim"))
        return parts, right if room > 20 else []


class KnowledgeList(TablePanel):
    """Items of a kind, or what a search finds."""

    number = 1
    name_shown = "knowledge"
    scopes = ("knowledge", "rows", "motion")
    topics = ("knowledge", "memory")
    columns = COLUMNS

    def __init__(self, *, id: str | None = None, sought: str = "") -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.sought = sought
        self.filter = Filter(sought, pattern=sought or None)
        self.mode = ""
        self._typed = False

    def look_for(self, text: str) -> None:
        """Search; what was being searched for is wanted no more."""
        self.sought = text.strip()
        self.filter = Filter(self.sought, pattern=self.sought or None)
        if self.filter:
            self.last_filter = self.filter
        self._typed = True
        self.changed()
        self.reload()

    async def _chosen(self) -> list[Any]:
        return list(await self.load_all())

    async def load_all(self) -> Sequence[Entry]:
        """What the tab and the search want."""
        if self._typed:
            await asyncio.sleep(TYPING_SECONDS)  # given up when another letter comes
            self._typed = False
        screen, ask = self.screen, self.deck.store.ask
        assert isinstance(screen, KnowledgeScreen)
        whose: dict[str, Any] = {"project": screen.project} if screen.project else {}
        query = self.sought
        kind = TABS[screen.tab][1]
        if query.lstrip("#").isdecimal() and query.startswith("#"):
            return [entry_of(await ask("knowledge.show", id=query))]
        self.mode = ""
        if kind in ("proposed", "past"):
            states = ("proposed",) if kind == "proposed" else PAST
            found = await ask("knowledge.list", state=states, limit=MOST_ITEMS, **whose)
            entries = [entry_of_proposal(item) if kind == "proposed" else entry_of(item) for item in found]
            if kind == "proposed":
                entries += map(entry_of_pair, await ask("knowledge.contradictions"))
            pattern = terms(query)
            return [entry for entry in entries if fits(entry, screen.project, pattern)]
        only: dict[str, Any] = {"category": (kind,)} if kind else {}
        if query:
            hits = await ask("knowledge.search", text=query, limit=MOST_HITS, **only, **whose)
            self.mode = hits[0].mode if hits else ""
            return [entry_of(hit) for hit in hits]
        return [
            entry_of(item)
            for item in await ask("knowledge.list", limit=MOST_ITEMS, files=kind in FROM_FILES, **only, **whose)
        ]

    def key_of(self, row: Entry) -> Hashable:
        """Its number, or those of a pair."""
        return row.key

    def subject_of(self, row: Any) -> Subject:
        """An item."""
        return subject_of_item(row)

    def summary(self) -> list[Part]:
        """How many, and how they were found."""
        if not self.loaded:
            return []
        if self.sought:
            how = f" {self.ink.glyph('dot')} {self.mode}" if self.mode else ""
            return [
                (f"{len(self.keys)} fit{'s' if len(self.keys) == 1 else ''} {plain(self.sought)}", "warn"),
                (how, "dim"),
            ]
        most = len(self.keys) == MOST_ITEMS
        return [(f"the newest {len(self.keys):,}" if most else f"{len(self.keys):,}", "dim")]

    def go(self, to: int) -> None:
        """Another item is shown beside."""
        super().go(to)
        self._tell()

    def changed(self) -> None:
        """As :meth:`go`."""
        super().changed()
        self._tell()

    def _tell(self) -> None:
        if self.is_mounted and isinstance(self.screen, KnowledgeScreen):
            self.screen.show_item()

    def nothing(self) -> Sequence[str]:
        """What would be here, and how it comes to be."""
        keys = self.deck.registry.keys_of
        screen = self.screen
        kind = TABS[screen.tab][1] if isinstance(screen, KnowledgeScreen) else ""
        if kind == "proposed":
            return (
                "No proposals",
                "what agents and consolidation propose, and what contradicts itself, waits here for you",
            )
        if kind == "past":
            return ("Nothing was put away", "what is deleted, refused or superseded is kept here")
        first = {"lesson": "No lessons yet: runs write them as they mend what failed", "": "Nothing is known yet"}.get(
            kind, "None of this kind yet"
        )
        return (first, f"{keys('knowledge.index')} reads a repository, {keys('knowledge.add')} writes something down")


def _run(row: UseView, at: Rows) -> Sequence[Part]:  # noqa: ARG001 - as every column
    return [(row.run, "text bold")]


def _ended(row: UseView, at: Rows) -> Sequence[Part]:
    return [at.ink.state(row.status)]


def _credit(row: UseView, at: Rows) -> Sequence[Part]:  # noqa: ARG001 - as every column
    return [
        ({"won": "it helped", "lost": "it did not"}.get(row.credit or "", ""), "ok" if row.credit == "won" else "bad")
    ]


class Uses(TablePanel):
    """Which runs were told of the item, and how they ended."""

    number = 3
    name_shown = "who was told"
    scopes = ("uses", "rows", "motion")
    topics = ("knowledge",)
    columns = (
        Column("run", 8, _run, rank=10),
        Column("ended", 14, _ended, rank=9),
        Column("credit", 0, _credit, rank=8, least=10),
    )

    async def load_all(self) -> Sequence[UseView]:
        """Of the item under the cursor."""
        screen = self.screen
        assert isinstance(screen, KnowledgeScreen)
        if screen.number is None:
            return ()
        await asyncio.sleep(RESTING_SECONDS)
        found: list[UseView] = await self.deck.store.ask("knowledge.uses", id=str(screen.number))
        return found

    def key_of(self, row: UseView) -> Hashable:
        """The run."""
        return row.run

    def subject_of(self, row: Any) -> Subject:
        """A run, and its task."""
        return Subject("run", {"run": row.run, "task": str(row.task)}, f"run {row.run}", row)

    def summary(self) -> list[Part]:
        """How many."""
        return [(f"{len(self.keys)}", "dim")] if self.loaded else []

    def nothing(self) -> Sequence[str]:
        """What would be here."""
        return ("No run was told of it yet",)


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of one item."""

    item: ItemView
    changes: tuple[ChangeView, ...]


class KnowledgeScreen(PanedScreen):
    """What the crew knows."""

    scopes = ("memory-page", "panes")
    panes = ("list", "preview", "uses")
    holders: ClassVar[dict[str, str]] = {"list": "list", "preview": "sides", "uses": "sides"}
    trail = "knowledge"
    DEFAULT_CSS = """
    KnowledgeScreen #list { width: 3fr; } KnowledgeScreen #sides { width: 2fr; }
    KnowledgeScreen.-wide #list { width: 1fr; } KnowledgeScreen.-wide #sides { width: 1fr; }
    KnowledgeScreen.-narrow #list { width: 1fr; } KnowledgeScreen.-narrow #sides { width: 1fr; }
    KnowledgeScreen #preview { height: 1fr; } KnowledgeScreen #uses { height: 9; } KnowledgeScreen.-narrow #uses { height: 1fr; }
    """

    def __init__(self, item: str = "") -> None:
        super().__init__()
        self.tab = 0
        self.project = ""
        self.waiting = 0
        """How many proposals wait for a person."""
        self.number: int | None = None
        """The item that is shown."""
        self.pair: ContradictionView | None = None
        """The pair that is shown."""
        self.drafts: dict[str, str] = {}
        """What was written for an item and could not be taken: the next edit goes on with it."""
        self._item = item
        self._shown: Subscription | None = None
        self._counted: Subscription | None = None

    def body(self) -> Iterable[Widget]:
        """Tabs, list, preview, uses."""
        yield Tabs(id="tabs")
        yield Horizontal(
            KnowledgeList(id="list", sought=f"#{self._item}" if self._item else ""),
            Vertical(Page("preview", 2, id="preview"), Uses(id="uses"), id="sides"),
        )

    def on_mount(self) -> None:
        """Begin to load."""
        store = self.deck.store
        self._shown = store.subscribe(self, ("knowledge", "memory"), self._load)
        self._counted = store.subscribe(self, ("knowledge", "memory"), self._count)
        self.focus_pane("list")

    def on_unmount(self) -> None:
        """Load no more."""
        for subscription in (self._shown, self._counted):
            if subscription is not None:
                subscription.close()

    async def _count(self) -> int:
        ask = self.deck.store.ask
        proposed = len(await ask("knowledge.list", state=("proposed",), limit=1000))
        return proposed + len(await ask("knowledge.contradictions"))

    async def _load(self) -> Shown | ContradictionView | None:
        if self.number is None:
            return self.pair
        await asyncio.sleep(RESTING_SECONDS)
        ask = self.deck.store.ask
        item: ItemView = await ask("knowledge.show", id=str(self.number))
        file = item.source and item.path and item.category in FROM_FILES
        changes: list[ChangeView] = [] if file else await ask("knowledge.history", id=str(self.number))
        return Shown(item, tuple(changes))

    def on_fresh(self, message: Fresh) -> None:
        """Show what was loaded."""
        if message.of is self._counted:
            self.waiting = message.data if isinstance(message.data, int) else 0
            self.repaint_bars()
            return
        page = self.query_one("#preview", Page)
        data = message.data
        if isinstance(data, Trouble):
            page.write(lambda width: words(data.words, width, "bad"))
        elif data is None:
            page.write(lambda width: words("The item under the cursor is shown here.", width, "dim"))
        elif isinstance(data, ContradictionView):
            page.write(lambda width: against(self.deck.ink, data, width))
        else:
            query = self.query_one("#list", KnowledgeList).sought
            page.write(
                lambda width: preview(self.deck.ink, data.item, width, query, data.changes, self.deck.store.now())
            )

    def show_item(self) -> None:
        """Show the item under the cursor beside the list."""
        row: Entry | None = self.query_one("#list", KnowledgeList).row()
        pair = row.item if row and row.category == OPPOSED else None
        number = row.number if row and pair is None else None
        if (number, pair) == (self.number, self.pair):
            return
        self.number, self.pair = number, pair
        if self._shown is not None:
            self._shown.refresh(superseded=True)
        uses = self.query_one("#uses", Uses)
        if uses.is_mounted:
            uses.reload()

    def choose_tab(self, by: int) -> str:
        """Another kind; what it is called."""
        self.tab = (self.tab + by) % len(TABS)
        self._anew()
        return TABS[self.tab][0]

    def choose_project(self, project: str) -> None:
        """The knowledge of one project and what holds for all, or everything."""
        self.project = project
        self._anew()

    def _anew(self) -> None:
        table = self.query_one("#list", KnowledgeList)
        table.clear_marks()
        table.reload()
        self.repaint_bars()
