"""How a patch is laid out in rows: one above the other or side by side, unchanged stretches folded, notes under the lines that they are about.

Pure functions over :mod:`tui.patch`. A file is laid out by itself, so that opening a fold in one costs nothing in the others.
"""

from collections.abc import Container, Iterator, Mapping
from typing import Literal, NamedTuple

from tui.patch import FileChange, Hunk, PatchLine, Side

RowKind = Literal["file", "words", "gap", "line", "note", "space"]
AROUND = 3
"""Unchanged lines that stay around a change."""
LEAST_FOLD = 4
"""Fewer unchanged lines are not worth a fold."""

NoteKey = tuple[str, Side, int]
"""What a note is about: path, side, number of the line."""
FoldKey = tuple[int, int, int]
"""A stretch of unchanged lines: file, hunk, place of its first line."""


class Row(NamedTuple):
    """One row. ``left`` and ``right`` are places in the lines of the hunk, -1 for none."""

    kind: RowKind
    file: int
    hunk: int = -1
    left: int = -1
    right: int = -1
    pair: int = -1
    """The line that stands against this one, where one was changed into the other."""
    text: str = ""
    size: int = 0
    """Of a gap: how many lines it holds."""


class View(NamedTuple):
    """What the person has chosen to see."""

    split: bool = False
    opened: Container[FoldKey] = ()
    """Folds that are open; all are where ``unfolded``."""
    unfolded: bool = False
    closed: Container[int] = ()
    """Files of which only the heading is shown."""
    notes: Mapping[NoteKey, str] = {}
    note_width: int = 60


def file_rows(change: FileChange, index: int, view: View) -> list[Row]:
    """The rows of one file, its heading first."""
    rows = [Row("file", index)]
    if index not in view.closed:
        rows += [Row("words", index, text=words) for words in change.words]
        after = 1
        for number, hunk in enumerate(change.hunks):
            gap = hunk.old - after if change.kind != "added" and hunk.old else 0
            if gap > 0 or (number and hunk.title):
                rows.append(Row("gap", index, -1, text=hunk.title, size=max(gap, 0)))
            rows += _hunk_rows(change, index, number, hunk, view)
            after = hunk.old + sum(line.old > 0 for line in hunk.lines)
    rows.append(Row("space", index))
    return rows


def _hunk_rows(change: FileChange, index: int, number: int, hunk: Hunk, view: View) -> Iterator[Row]:
    lines, at = hunk.lines, 0
    while at < len(lines):
        end = at
        if lines[at].sign == " ":
            while end < len(lines) and lines[end].sign == " ":
                end += 1
            yield from _unchanged(change, index, number, hunk, at, end, view)
        else:
            while end < len(lines) and lines[end].sign != " ":
                end += 1
            yield from _changed(change, index, number, lines, at, end, view)
        at = end


def _unchanged(change: FileChange, index: int, number: int, hunk: Hunk, at: int, end: int, view: View) -> Iterator[Row]:
    first = at if at == 0 else at + AROUND
    last = end if end == len(hunk.lines) else end - AROUND
    folds = last - first >= LEAST_FOLD and not view.unfolded and (index, number, first) not in view.opened
    for place in range(at, end):
        if folds and first <= place < last and not view.notes:
            if place == first:
                yield Row("gap", index, number, first, size=last - first)
            continue
        if folds and first <= place < last and not _noted(change, hunk.lines[place], view):
            if place == first or _noted(change, hunk.lines[place - 1], view):
                yield Row("gap", index, number, first, size=_run(change, hunk, place, last, view))
            continue
        yield Row("line", index, number, place, place if view.split else -1)
        yield from _notes(change, index, hunk.lines[place], view)


def _run(change: FileChange, hunk: Hunk, place: int, last: int, view: View) -> int:
    end = place
    while end < last and not _noted(change, hunk.lines[end], view):
        end += 1
    return end - place


def _changed(
    change: FileChange, index: int, number: int, lines: list[PatchLine], at: int, end: int, view: View
) -> Iterator[Row]:
    """Deletions and what was put in their place, in the groups in which git writes them."""
    while at < end:
        middle = at
        while middle < end and lines[middle].sign == "-":
            middle += 1
        after = middle
        while after < end and lines[after].sign == "+":
            after += 1
        removed, added = middle - at, after - middle
        if view.split:
            for n in range(max(removed, added)):
                left, right = (at + n if n < removed else -1), (middle + n if n < added else -1)
                yield Row("line", index, number, left, right)
                for place in (left, right):
                    if place >= 0 and view.notes:
                        yield from _notes(change, index, lines[place], view)
        else:
            for n in range(removed):
                yield Row("line", index, number, at + n, pair=middle + n if n < added else -1)
                yield from _notes(change, index, lines[at + n], view)
            for n in range(added):
                yield Row("line", index, number, -1, middle + n, at + n if n < removed else -1)
                yield from _notes(change, index, lines[middle + n], view)
        at = after


def key_of(change: FileChange, line: PatchLine) -> NoteKey:
    """What a note on a line is filed under: the new side, unless the line is gone."""
    return (change.path, "new", line.new) if line.new else (change.old_path or change.path, "old", line.old)


def _noted(change: FileChange, line: PatchLine, view: View) -> bool:
    return bool(view.notes) and key_of(change, line) in view.notes


def _notes(change: FileChange, index: int, line: PatchLine, view: View) -> Iterator[Row]:
    if view.notes and (text := view.notes.get(key_of(change, line))):
        for part in _wrapped(text, max(8, view.note_width)):
            yield Row("note", index, text=part)


def _wrapped(text: str, width: int) -> list[str]:
    import textwrap

    from tui.ink import plain_lines

    return [part for line in plain_lines(text[:20_000]) for part in (textwrap.wrap(line, width) or [""])]


def changed_span(one: str, other: str) -> tuple[int, int] | None:
    """From where to where ``one`` differs from ``other``; None where they have too little in common for that to help."""
    shorter = min(len(one), len(other))
    first = 0
    while first < shorter and one[first] == other[first]:
        first += 1
    last = 0
    while last < shorter - first and one[-1 - last] == other[-1 - last]:
        last += 1
    blank = len(one) - len(one.lstrip())
    shared = max(0, first - blank) + last
    return (first, len(one) - last) if shared * 3 >= len(one.strip()) and first < len(one) - last else None
