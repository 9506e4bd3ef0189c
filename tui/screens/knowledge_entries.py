"""The lines of the list of knowledge: items, hits of a search, proposals, and pairs that contradict each other."""

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.commands.knowledge_views import HitView, ItemView
from core.commands.knowledge_weighed import ContradictionView
from tui.actions import Subject
from tui.ink import Part, age, plain
from tui.widgets.preview import marked, terms
from tui.widgets.rows import Column, Rows

OPPOSED = "opposed"
"""Kind and state of a pair."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the list: an item, a hit with the words that fit, or a pair of items that contradict each other."""

    number: int
    title: str
    category: str
    project: str | None
    source: str
    path: str | None
    line: int | None
    state: str
    uses: int | None
    wins: int
    snippet: str
    item: Any
    origin: str = ""
    cold: bool = False

    @property
    def key(self) -> Hashable:
        """What it is known by as long as it is there."""
        return (self.item.first, self.item.second) if self.category == OPPOSED else self.number


def entry_of(found: ItemView | HitView) -> Entry:
    """An item or a hit as one line."""
    shown: dict[str, Any] = {
        "number": found.number,
        "title": found.title,
        "category": found.category,
        "project": found.project,
        "source": found.source,
        "path": found.path,
        "origin": found.origin,
        "cold": found.cold,
    }
    if isinstance(found, HitView):
        words_ = " ".join(found.snippet.split())
        return Entry(**shown, line=found.line, state="active", uses=None, wins=0, snippet=words_, item=found)
    words_ = " ".join(found.content[:300].split())
    return Entry(
        **shown, line=found.first_line, state=found.state, uses=found.uses, wins=found.wins, snippet=words_, item=found
    )


def entry_of_proposal(found: ItemView) -> Entry:
    """A proposal as one line: an item that is new, or one that is to be taken out."""
    entry = entry_of(found)
    return replace(entry, state="proposed", title=f"take out: {entry.title}") if found.doubt else entry


def entry_of_pair(pair: ContradictionView) -> Entry:
    """Two items that contradict each other as one line."""
    left, right = pair.left, pair.right
    title = f"#{left.number} {left.title} / #{right.number} {right.title}"
    project = left.project or right.project
    return Entry(left.number, title, OPPOSED, project, "", None, None, OPPOSED, None, 0, pair.why, pair)


def fits(entry: Entry, project: str, pattern: re.Pattern[str] | None) -> bool:
    """Whether a line belongs to a project or to all, and holds what is looked for."""
    sides = (entry.item.left, entry.item.right) if entry.category == OPPOSED else (entry.item,)
    if project and any(side.project not in (None, project) for side in sides):
        return False
    said = " ".join(f"{side.title} {getattr(side, 'content', '') or getattr(side, 'text', '')}" for side in sides)
    return pattern is None or pattern.search(said) is not None


def subject_of_item(row: Entry) -> Subject:
    """An item, or a pair, as what actions work on."""
    if row.category == OPPOSED:
        names = {"memory": str(row.item.first), "other": str(row.item.second)}
        return Subject("knowledge", names, f"#{row.item.first} against #{row.item.second}", row)
    return Subject("knowledge", {"memory": str(row.number)}, f"#{row.number} {plain(row.title)}", row)


def _number(row: Entry, at: Rows) -> Sequence[Part]:  # noqa: ARG001 - as every column
    return [(f"#{row.number}", "dim")]


def _kind(row: Entry, at: Rows) -> Sequence[Part]:  # noqa: ARG001 - as every column
    return [(row.category, "focus" if row.state == "active" else "warn")]


def _title(row: Entry, at: Rows) -> Sequence[Part]:
    parts: list[Part] = [(plain(row.title), "text" if row.state in ("active", "proposed", OPPOSED) else "dim")]
    if row.cold:
        parts.append((f"  {at.ink.glyph('dot')} cold", "warn"))
    if row.snippet and plain(row.snippet)[:40] != plain(row.title)[:40]:
        parts.append((f"  {at.ink.glyph('dot')} {plain(row.snippet)}", "dim"))
    pattern = terms(getattr(at, "sought", ""))
    return parts if pattern is None else marked(parts, pattern)


def _project(row: Entry, at: Rows) -> Sequence[Part]:
    return [(plain(row.project), at.deck.tone_of(row.project)) if row.project else ("all", "dim")]


def _worth(row: Entry, at: Rows) -> Sequence[Part]:  # noqa: ARG001 - as every column
    if not row.uses:
        return [("", "")]
    share = row.wins / row.uses
    return [(f"{row.wins}/{row.uses}", "ok" if share >= 0.6 else "bad" if share < 0.4 else "dim")]


def _age(row: Entry, at: Rows) -> Sequence[Part]:
    names = {HitView: "created_at", ContradictionView: "since"}
    when = getattr(row.item, names.get(type(row.item), "updated_at"))
    return [(age(when, at.deck.store.now()) if when else "", "dim")]


COLUMNS = (
    Column("no", 5, _number, right=True, rank=6),
    Column("kind", 13, _kind, rank=7),
    Column("title", 0, _title, rank=10, least=24),
    Column("of", 9, _project, rank=5),
    Column("won", 5, _worth, right=True, rank=4),
    Column("age", 4, _age, right=True, rank=3),
)
