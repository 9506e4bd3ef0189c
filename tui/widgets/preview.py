"""An item of knowledge as a page: what it is, where it comes from, how it did, and what it says, in colours."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Any

from core.commands.knowledge import ChangeView
from core.commands.knowledge_views import ItemView
from core.commands.knowledge_weighed import ContradictionView, SideView
from tui.ink import Ink, Part, age, plain, width_of
from tui.safe_text import plain_text
from tui.widgets.page import heading, words
from tui.widgets.syntax import colours

MOST_LINES = 400
_TWO_COLUMNS = 60
"""Cells from which on two items stand side by side."""
_LANGUAGES = {
    "python": "x.py",
    "typescript": "x.ts",
    "javascript": "x.js",
    "go": "x.go",
    "rust": "x.rs",
    "java": "x.java",
    "ruby": "x.rb",
}
_DETAILS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "lesson": (("error", "error"), ("context", "when"), ("command", "command"), ("fix", "fix"), ("worked", "it worked"), ("rule", "from now on")),
    "decision": (("question", "question"), ("chosen", "chosen"), ("alternatives", "not chosen"), ("reasoning", "because"), ("outcome", "outcome"),
                 ("outcome_note", "how it went"), ("lesson", "lesson"), ("repeat", "do it again")),
    "pattern": (("description", "when"), ("slug", "name"), ("stacks", "stacks"), ("projects", "projects")),
}  # fmt: skip


def preview(
    ink: Ink, item: ItemView, width: int, query: str, changes: Sequence[ChangeView], now: datetime
) -> list[list[Part]]:
    """The page of an item; the words of ``query`` are set off."""
    lines = _head(ink, item, width, now)
    details = dict(item.details or {})
    if item.category in _DETAILS and details:
        lines += _fields(item.category, details, width)
        if item.category == "pattern":
            lines += [[], heading(ink, "template", width), *_code(_named(details), str(details.get("template", "")))]
            if details.get("example"):
                lines += [[], heading(ink, "example", width), *_code(_named(details), str(details["example"]))]
    elif item.path and item.category == "code":
        lines += _code(item.path, item.content, item.first_line)
    else:
        lines += words(item.content, width, most=MOST_LINES)
    if item.change:
        lines += [[], heading(ink, "what it changes of the standards", width), *_diff(item.change, width)]
    if changes:
        lines += [[], heading(ink, "history", width)]
        lines += [line for change in changes[:30] for line in _change(change, width, now)]
    return _marked(lines, query)


def _head(ink: Ink, item: ItemView, width: int, now: datetime) -> list[list[Part]]:
    lines: list[list[Part]] = [[(text, "text bold") for text, _ in line] for line in words(item.title, width)]
    state: list[Part] = (
        [] if item.state == "active" else [("  ", ""), (item.state, "warn bold" if item.state == "proposed" else "bad")]
    )
    lines.append([
        (f"#{item.number} ", "dim"), (item.category, "focus"), *state, (f"  {ink.glyph('dot')} ", "dim"),
        (plain(item.project) if item.project else "all projects", "text"), (f"  {ink.glyph('dot')} {age(item.updated_at, now)}", "dim"),
    ])  # fmt: skip
    if item.source or item.path:
        place = item.path and f"{item.path}:{item.first_line}" if item.first_line else item.path
        source = plain(item.source)
        lines.append([("from ", "dim"), (ink.fit(source, min(width - 5, max(1, width_of([(source, "")])))), "text")])
        if place and not source.startswith(plain(item.path or "")):
            lines.append([("at ", "dim"), (plain(place), "text")])
    if item.uses:
        tone = "ok" if item.worth >= 0.6 else "bad" if item.worth < 0.4 else "text"
        lines.append([*ink.bar(item.worth, 10, tone), (f"  helped {item.wins} of {item.uses} times", "text")])
    else:
        lines.append([("no run was told of it yet", "dim")])
    if item.tags:
        lines.append([("tags ", "dim"), (plain(", ".join(item.tags)), "text")])
    if item.doubt:
        lines += words(f"to be taken out: {item.doubt}", width, "warn bold")
    if item.replaces and item.state == "proposed":
        lines += words(f"accepted, it takes the place of #{item.replaces}", width, "warn")
    if item.cold:
        lines += words("in cold storage: a search finds it, no run is told of it", width, "warn")
    if item.note:
        lines += words(item.note, width, "warn")
    return [*lines, [(ink.glyph("rule") * width, "edge")]]


def against(ink: Ink, pair: ContradictionView, width: int) -> list[list[Part]]:
    """The page of two items that contradict each other: side by side where there is room, else one below the other."""
    sides = (pair.left, pair.right)
    lines: list[list[Part]] = [*words(pair.why, width, "warn bold"), []]
    if width < _TWO_COLUMNS:
        for side in sides:
            lines += [heading(ink, f"#{side.number}", width), *_side(side, width), []]
        return lines
    room = (width - 3) // 2
    for left, right in zip_longest(*(_side(side, room) for side in sides), fillvalue=[]):
        blank = " " * max(0, room - width_of(left))
        lines.append([*left, (blank, ""), (f" {ink.glyph('edge')} ", "edge"), *right])
    return lines


def _side(side: SideView, width: int) -> list[list[Part]]:
    about = f"#{side.number} {side.category}, {side.project or 'all projects'}"
    lines = [*words(about, width, "focus"), *words(side.title, width, "text bold")]
    if " ".join(side.text.split()) != side.title:
        lines += words(side.text, width)
    return [*lines, *words(f"from {side.source}", width, "dim"), *words(f"worth {side.worth:.0%}", width, "dim")]


def _diff(text: str, width: int) -> list[list[Part]]:
    """A unified diff without the heads of its files."""
    tones = {"+": "ok", "-": "bad", "@": "dim"}
    shown = [line for line in text.split("\n") if line and not line.startswith(("+++", "---"))]
    return [part for line in shown for part in words(line, width, tones.get(line[0], "text"))]


def _fields(kind: str, details: Mapping[str, Any], width: int) -> list[list[Part]]:
    lines: list[list[Part]] = []
    room = max(8, width - 13)
    for name, label in _DETAILS[kind]:
        value = details.get(name)
        if value in (None, "", (), []):
            continue
        text = (
            ("yes" if value else "no")
            if isinstance(value, bool)
            else ", ".join(map(str, value))
            if isinstance(value, list | tuple)
            else str(value)
        )
        tone = "ok bold" if name in ("rule", "chosen") else "bad" if name == "error" else "text"
        for n, line in enumerate(words(text, room, tone, most=60)):
            lines.append([(f"{label if n == 0 else '':<12} ", "dim"), *line])
    return lines


def _named(details: Mapping[str, Any]) -> str:
    """The name of a file of a pattern's language."""
    return next((_LANGUAGES[stack] for stack in map(str, details.get("stacks") or ()) if stack in _LANGUAGES), "x.txt")


def _code(path: str, text: str, first: int | None = None) -> list[list[Part]]:
    """A text with the colours of its language; its lines are numbered where they stand in a file."""
    shown = [plain_text(line).expandtabs(4) for line in text.strip("\n").split("\n")[:MOST_LINES]]
    gutter = len(str((first or 0) + len(shown))) + 1 if first else 0
    lines: list[list[Part]] = []
    for n, (line, spans) in enumerate(zip(shown, colours(path, shown), strict=True)):
        parts: list[Part] = [(f"{(first or 0) + n:>{gutter - 1}} ", "dim")] if gutter else []
        place = 0
        for start, end, tone in spans:
            parts += [(line[place:start], "text"), (line[start:end], tone)]
            place = end
        parts.append((line[place:], "text"))
        lines.append(parts)
    return lines


def _change(change: ChangeView, width: int, now: datetime) -> list[list[Part]]:
    names = [name for name in (*change.before, *change.after) if name != "updated_at"]
    what = ", ".join(dict.fromkeys(names))
    line: list[Part] = [
        (f"{age(change.at, now):>4}  ", "dim"),
        (plain(change.actor), "text"),
        (f"  {plain(change.action)} ", "dim"),
    ]
    told: list[list[Part]] = [[*line, (plain(what), "dim")]]
    for name in dict.fromkeys(names):
        before, after = change.before.get(name), change.after.get(name)
        if (
            name in ("content", "title", "state", "rule", "fix", "chosen", "template")
            and before is not None
            and after is not None
        ):
            told.append([("      - ", "bad"), (plain(str(before))[: width - 8], "dim")])
            told.append([("      + ", "ok"), (plain(str(after))[: width - 8], "text")])
    return told


def terms(query: str) -> re.Pattern[str] | None:
    """What the words of a query look like in a text; None for none."""
    found = [re.escape(word) for word in re.findall(r"\w{2,}", query)]
    return re.compile("|".join(sorted(found, key=len, reverse=True)), re.IGNORECASE) if found else None


def _marked(lines: list[list[Part]], query: str) -> list[list[Part]]:
    pattern = terms(query)
    return lines if pattern is None else [marked(line, pattern) for line in lines]


def marked(parts: Sequence[Part], pattern: re.Pattern[str]) -> list[Part]:
    """Parts in which whatever fits is set off."""
    made: list[Part] = []
    for text, tone in parts:
        place = 0
        for match in pattern.finditer(text):
            made += [(text[place : match.start()], tone), (match.group(), "warn bold underline")]
            place = match.end()
        made.append((text[place:], tone))
    return [part for part in made if part[0]]
