"""How things are written on the screen: tones become styles, states become glyph, word and tone, lines become strips of a given width.

A *part* is a text and its tone. A tone is a field of the palette (``run``, ``dim``), a colour (``#6cb8f0``, legible already), or nothing for plain text;
``bold``, ``underline``, ``strike``, ``reverse`` and ``italic`` may follow it. Texts that are not ours pass :func:`plain` first; nothing here reads markup.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from core.faces.plain import harmless, in_local_time, one_line
from tui.themes import GROUNDS, Palette, legible

Part = tuple[str, str]
"""A text and its tone."""

_STATES: dict[str, tuple[str, str, str]] = {
    "pending": ("○", "o", "text"),
    "blocked": ("◌", "#", "dim"),
    "waiting": ("◔", "~", "warn"),
    "in_progress": ("●", ">", "run"),
    "review": ("◆", "?", "ask"),
    "completed": ("✓", "+", "ok"),
    "failed": ("✗", "x", "bad"),
    "cancelled": ("⊘", "-", "dim"),
    "starting": ("◐", ">", "run"),
    "running": ("●", ">", "run"),
    "verifying": ("◑", ">", "run"),
    "succeeded": ("✓", "+", "ok"),
    "lost": ("✗", "x", "bad"),
    "open": ("◆", "?", "ask"),
    "approved": ("✓", "+", "ok"),
    "merged": ("✓", "+", "ok"),
    "changes_requested": ("↻", "~", "warn"),
    "rejected": ("✗", "x", "bad"),
    "conflict": ("✗", "x", "bad"),
    "superseded": ("⊘", "-", "dim"),
    "answered": ("✓", "+", "ok"),
    "expired": ("⊘", "-", "dim"),
    "active": ("●", "+", "ok"),
    "enabled": ("●", "+", "ok"),
    "disabled": ("‖", "=", "dim"),
    "paused": ("‖", "=", "warn"),
    "draining": ("◔", "~", "warn"),
    "stopped": ("○", "o", "dim"),
    "dead": ("✗", "x", "bad"),
    "suspended": ("‖", "=", "warn"),
    "exhausted": ("✗", "x", "bad"),
    "down": ("✗", "x", "bad"),
    "ok": ("✓", "+", "ok"),
    "missing": ("✗", "x", "bad"),
    "note": ("·", ".", "dim"),
    "question": ("?", "?", "ask"),
    "approval": ("!", "!", "warn"),
    "stalled": ("◔", "~", "warn"),
    "budget": ("$", "$", "warn"),
    "engine": ("✗", "x", "bad"),
    "insert": ("+", "+", "ok"),
    "update": ("~", "~", "text"),
    "delete": ("✗", "x", "bad"),
}
_GLYPHS = {
    "more": ("…", "~"), "rule": ("─", "-"), "bar": ("█", "#"), "half": ("▌", "#"), "rest": ("░", "."), "mark": ("▸", "*"), "down": ("▼", "v"),
    "up": ("▲", "^"), "dot": ("·", "-"), "arrow": ("→", ">"), "ok": ("✓", "+"), "bad": ("✗", "x"), "warn": ("!", "!"), "cursor": ("▎", ">"),
    "times": ("×", "x"), "minus": ("−", "-"), "ask": ("◆", "?"), "run": ("●", ">"), "enter": ("⏎", "enter"), "edge": ("│", "|"), "note": ("·", "-"),
}  # fmt: skip
_LONGEST = 4000
"""Signs of a text that become a line."""
_HIDDEN = re.compile(
    "[\u00ad\u061c\u115f\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)
"""What takes no place and changes what is next to it: terminals disagree about it, and texts hide behind it."""


@dataclass(frozen=True)
class Ink:
    """A palette and what the terminal can show: everything that a widget needs to write a line."""

    palette: Palette
    unicode: bool

    def style(self, tone: str, ground: str = "ground") -> Style:
        """The style of a tone on a ground of the palette."""
        return _style(self.palette, tone, ground)

    def glyph(self, name: str) -> str:
        """A sign, or its ASCII stand-in."""
        pretty, ascii_ = _GLYPHS[name]
        return pretty if self.unicode else ascii_

    def state(self, word: str, *, width: int = 0) -> Part:
        """A state as glyph and word in its tone; padded to ``width``."""
        glyph, letter, tone = _STATES.get(word, ("·", "-", "dim"))
        return f"{glyph if self.unicode else letter} {word.replace('_', ' ')}".ljust(width), tone

    def sign(self, word: str) -> Part:
        """The glyph of a state alone, where its word stands beside it."""
        glyph, letter, tone = _STATES.get(word, ("·", "-", "dim"))
        return glyph if self.unicode else letter, tone

    def project(self, colour: str | None) -> str:
        """The tone of a project."""
        return legible(colour, self.palette) if colour else "text"

    def ascii(self, text: str) -> str:
        """The text as the terminal can show it."""
        return text if self.unicode else text.translate(_TO_ASCII).encode("ascii", "replace").decode()

    def strip(self, parts: Iterable[Part], width: int, ground: str = "ground") -> Strip:
        """Parts as one line of exactly ``width`` cells; what does not fit is cut, and the cut is shown."""
        segments: list[Segment] = []
        room = width
        for text, tone in parts:
            if not text:
                continue
            shown = self.ascii(text)
            wide = cell_len(shown)
            if wide > room:
                more = self.glyph("more")
                shown = set_cell_size(shown, max(room - 1, 0)) + more if room > 0 else ""
                wide = room
            if shown:
                segments.append(Segment(shown, self.style(tone, ground)))
            room -= wide
            if room <= 0:
                break
        if room > 0:
            segments.append(Segment(" " * room, self.style("", ground)))
        return Strip(segments, width)

    def fit(self, text: str, width: int, *, right: bool = False) -> str:
        """A text in exactly ``width`` cells, cut with a sign or padded."""
        shown = self.ascii(text)
        size = cell_len(shown)
        if size > width:
            return set_cell_size(shown, max(width - 1, 0)) + self.glyph("more") if width > 0 else ""
        return " " * (width - size) + shown if right else shown + " " * (width - size)

    def bar(self, share: float, width: int, tone: str) -> list[Part]:
        """A bar that is filled to ``share`` (0 to 1)."""
        filled = max(0, min(width, round(share * width)))
        return [(self.glyph("bar") * filled, tone), (self.glyph("rest") * (width - filled), "dim")]


def plain(text: str) -> str:
    """A text of an agent or a repository as one harmless line: nothing that a terminal obeys, nothing that hides. What is cut is marked."""
    shown = one_line(_HIDDEN.sub("", harmless(text[:_LONGEST])))
    return shown if len(text) <= _LONGEST else f"{shown} …"


def told(text: str) -> str:
    """As :func:`plain`, a reason that the database gives: its times are those of the person's clock."""
    return plain(in_local_time(text[: _LONGEST + 1]))


def plain_lines(text: str) -> list[str]:
    """As :func:`plain`, line by line; tabs become blanks."""
    return [_HIDDEN.sub("", harmless(line)).expandtabs(4) for line in text.split("\n")]


def width_of(parts: Sequence[Part]) -> int:
    """How many cells parts take."""
    return sum(cell_len(text) for text, _ in parts)


def wrapped(
    parts: Sequence[Part], width: int, *, most: int = 10_000, more: str = "", hang: int = 0
) -> list[list[Part]]:
    """Parts in lines of a width, broken at blanks; those after the first begin ``hang`` cells in. At most so many, the last one then cut with ``more``."""
    lines: list[list[Part]] = [[]]
    room = width
    for text, tone in parts:
        for word in (
            piece for found in re.findall(r"\s+|\S+", text) for piece in chop_cells(found, max(2, width - hang))
        ):
            size = cell_len(word)
            if size > room and lines[-1]:
                lines.append([(" " * hang, "")] if hang else [])
                room = width - hang
                if word.isspace():
                    continue
            lines[-1].append((word, tone))
            room -= size
    if len(lines) > most:
        lines = lines[:most]
        lines[-1].append((more, "dim"))
    return lines


def age(at: datetime, now: datetime) -> str:
    """How long ago, in at most four signs: ``now``, ``3m``, ``2h``, ``4d``. It changes once a minute at most."""
    seconds = abs((now - at).total_seconds())
    if seconds < 60:
        return "now"
    if seconds < 3600:
        return f"{seconds // 60:.0f}m"
    if seconds < 48 * 3600:
        return f"{seconds // 3600:.0f}h"
    return f"{seconds // 86400:.0f}d"


def counted(count: int, word: str) -> str:
    """``1 file``, ``2 files``, ``12,345 files``."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def money(amount: Decimal | float) -> str:
    """``$1,234.50``; below a cent ``<$0.01``, so that columns of money line up."""
    return "<$0.01" if 0 < amount < Decimal("0.005") else f"${amount:,.2f}"


_TO_ASCII = {
    ord(pretty): plain_
    for pretty, plain_ in [
        *((glyph, letter) for glyph, letter, _ in _STATES.values()), *((a, b[:1]) for a, b in _GLYPHS.values() if len(a) == 1),
        ("–", "-"), ("—", "-"), ("’", "'"), ("“", '"'), ("”", '"'), ("≤", "<"), ("≥", ">"),
        ("←", "left"), ("→", "right"), ("↑", "up"), ("↓", "down"), ("•", "*"), ("⏎", "enter"), ("‹", "<"), ("›", ">"), ("⍽", "_"),
        *((chr(0x2400 + code), "^") for code in (*range(0x20), 0x21)),
    ]
}  # fmt: skip


@lru_cache(maxsize=4096)
def _style(palette: Palette, tone: str, ground: str) -> Style:
    words = tone.split()
    if "upright" in words:  # a bar: reversed, what is filled would be empty
        words.remove("upright")
        ground = "ground" if palette.ansi else ground
    name = words[0] if words else "text"
    if name in ("bold", "reverse", "underline", "italic", "strike"):
        words, name = ["text", *words], "text"
    colour = name if name.startswith("#") or (palette.ansi and not hasattr(palette, name)) else getattr(palette, name)
    back = getattr(palette, ground) if ground in (*GROUNDS, "match") else ground
    if palette.ansi and ground == "cursor":
        colour = ""  # reversed, each colour would be a block of its own
    made = Style(color=colour or None, bgcolor=back or None)
    for word in words[1:]:
        made += Style.parse(word)
    if palette.ansi:
        made += _ansi_emphasis(palette, name, ground)
    return made


def _ansi_emphasis(palette: Palette, name: str, ground: str) -> Style:
    """What stands in for colours where there are none, or too few: reverse for the cursor, bold and dim for rank."""
    emphasis = Style()
    if ground == "cursor":
        emphasis += Style(reverse=True)
    elif ground == "resting":
        emphasis += Style(bold=True)
    elif ground == "match":
        emphasis += Style(reverse=True, underline=True)
    if name in ("dim", "edge") and ground != "cursor":
        emphasis += Style(dim=True)
    if palette.mono and name in ("focus", "bad", "warn", "ask"):
        emphasis += Style(bold=True)
    return emphasis
