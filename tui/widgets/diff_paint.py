"""How the lines of a change are coloured: grounds behind what was added and taken away, the colours of the language, matches of a search.

Texts of repositories are shown as they are, and nothing in them is obeyed: escapes and what hides or reorders text are seen.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.color import Color

from tui.ink import Ink, Part, plain, width_of
from tui.patch import FileChange, PatchLine
from tui.safe_text import pieces
from tui.themes import READABLE, TEXTS, Palette, contrast
from tui.widgets.syntax import Span


@dataclass(frozen=True, slots=True)
class Grounds:
    """What stands behind lines that were added or taken away, and behind the part of them that is new."""

    added: str
    added_part: str
    removed: str
    removed_part: str


KINDS = {
    "modified": ("M", "warn"),
    "added": ("A", "ok"),
    "deleted": ("D", "bad"),
    "renamed": ("R", "run"),
    "copied": ("C", "run"),
}
"""What became of a file: letter and tone."""


def file_heading(ink: Ink, file: FileChange, width: int, *, notes: int, closed: bool) -> list[Part]:
    """What stands above the lines of a file: what became of it, its path, how much has changed."""
    letter, tone = KINDS[file.kind]
    right: list[Part] = [("folded  ", "dim")] if closed else []
    right += [(f"{notes} note{'s' if notes != 1 else ''}  ", "ask")] if notes else []
    right += [(f"+{file.insertions:,} ", "ok"), (f"{ink.glyph('minus')}{file.deletions:,} ", "bad")]
    folder, slash, name = plain(file.path).rpartition("/")
    room = max(8, width - width_of(right) - 4)
    path = folder + slash
    if cell_len(path + name) > room:
        path = ink.glyph("more") + path[-(max(0, room - cell_len(name) - 1)) :] if room > cell_len(name) + 1 else ""
    left: list[Part] = [(f" {letter} ", f"{tone} bold"), (path, "dim"), (name, "text bold")]
    return [*left, (" " * max(1, width - width_of(left) - width_of(right)), ""), *right]


_BLANKS = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f"
_SEEN = str.maketrans({"\x1b": "␛", "\r": "␍"} | dict.fromkeys(_BLANKS, "⍽"))
"""What is seen in a change although it means nothing elsewhere: a blank that is none may be all that was changed."""


def tabless(text: str) -> str:
    return text.expandtabs(4)


def text_segments(
    ink: Ink, line: PatchLine, spans: Sequence[Span], emphasis: tuple[int, int] | None, *,
    base: str, back: str, part: str, needle: re.Pattern[str] | None,
) -> list[Segment]:  # fmt: skip
    """The text of a line, harmless, in its colours."""
    text = tabless(line.text[:20_000])
    tail = [Segment(" no newline at the end", ink.style("dim italic", back))] if line.open_end else []
    if not text.isprintable() or not text.isascii():
        shown = pieces(text.translate(_SEEN))[0]
        if "".join(piece for piece, _ in shown) != text:
            return [
                Segment(ink.ascii(piece), ink.style("warn" if pen.control else base, back)) for piece, pen in shown
            ] + tail
    if needle is None and emphasis is None and not spans:
        return [Segment(ink.ascii(text), ink.style(base, back)), *tail] if text else tail
    return [*_painted(ink, text, spans, emphasis, base, back, part, needle), *tail]


def _painted(
    ink: Ink, text: str, spans: Sequence[Span], emphasis: tuple[int, int] | None, base: str, back: str, part: str, needle: re.Pattern[str] | None
) -> list[Segment]:  # fmt: skip
    found = [match.span() for match in needle.finditer(text) if match.end() > match.start()][:200] if needle else []
    cuts = {0, len(text)}
    for first, last, _ in spans:
        cuts |= {first, min(last, len(text))}
    for first, last in (*found, *([emphasis] if emphasis else [])):
        cuts |= {first, last}
    places = sorted(place for place in cuts if 0 <= place <= len(text))
    segments: list[Segment] = []
    rest = iter(spans)
    span = next(rest, None)
    for first, last in pairwise(places):
        while span is not None and span[1] <= first:
            span = next(rest, None)
        tone = span[2] if span is not None and span[0] <= first < span[1] else base
        inner = emphasis is not None and emphasis[0] <= first < emphasis[1]
        style: Style = ink.style(tone, part if inner else back)
        if inner and ink.palette.ansi:
            style += Style(underline=True, bold=True)
        if any(one <= first < other for one, other in found):
            style = ink.style("text bold", "match")
        segments.append(Segment(ink.ascii(text[first:last]), style))
    return segments


@lru_cache(maxsize=16)
def grounds_of(palette: Palette) -> Grounds:
    """The grounds of a palette for changed lines: as strong as every text on them stays readable."""
    if palette.ansi:
        return Grounds("", "", "", "")
    return Grounds(
        _tinted(palette, palette.ok, 0.13), _tinted(palette, palette.ok, 0.26),
        _tinted(palette, palette.bad, 0.13), _tinted(palette, palette.bad, 0.26),
    )  # fmt: skip


def _tinted(palette: Palette, colour: str, most: float) -> str:
    ground, tint = Color.parse(palette.ground), Color.parse(colour)
    for step in range(20):
        shade: str = ground.blend(tint, most * (1 - step / 20)).hex6.lower()
        if all(contrast(getattr(palette, name), shade) >= READABLE for name in TEXTS):
            return shade
    return palette.ground
