"""Text of agents and their programs, for a terminal: colours stay, and nothing else that a terminal obeys gets through.

A line becomes *pieces*: text in which every character takes the cells that it seems to take, and the pen that it is
written with. Of the control sequences only SGR (ECMA-48, 8.3.117) means anything here, and of that only what does not
hide or blink; harmless ones of progress bars go unsaid, all others are shown (``␛[2J``), as are characters that
reorder or hide text and those that no terminal can show (``‹U+202E›``); every kind of blank is a blank. A line is
read up to :data:`LINE_LIMIT` characters, however long it is. Nothing here reads markup.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby

from rich.cells import cell_len
from rich.color import Color as RichColour
from rich.color import ColorSystem, ColorType
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import DIMMED_MONOKAI

from core.faces.plain import is_space, shows
from tui.ink import Ink
from tui.themes import READABLE, Palette, contrast

LINE_LIMIT = 16_384
"""Characters of one line that are read; what follows is counted, not shown."""
TAB = 8
"""Cells between two tab stops."""
_MARKS = 4
"""Combining marks that one character may carry."""
_LEGIBLE = 3.0
"""The least contrast that a program's own colours get: what it says may be pale, but it can be read."""

Colour = int | str | None
"""A number of the terminal's 256 colours, ``#rrggbb``, or the colour of the ground."""


@dataclass(frozen=True, slots=True)
class Pen:
    """What SGR has set. Blinking and concealed text are not in it: the one disturbs, the other hides."""

    colour: Colour = None
    ground: Colour = None
    bold: bool = False
    dim: bool = False
    italic: bool = False
    underline: bool = False
    strike: bool = False
    reverse: bool = False
    control: bool = False
    """The text is ours: it stands for something that the terminal is not shown."""


Piece = tuple[str, Pen]
"""Harmless text and its pen."""

PLAIN = Pen()

_TOKEN = re.compile(
    r"\x1b\[(?P<sgr>[0-9;:]{0,200})m"
    r"|(?P<quiet>\x1b\[(?:[012]?K|\?(?:1|7|25|2004|2026)[hl]|1?G)|\x1b\]8;[^\x00-\x1f\x7f-\x9f]{0,1000}(?:\x07|\x1b\\)|\x1b\([AB0])"
    r"|(?P<string>\x1b[\]PX^_][^\x00-\x06\x0e-\x1f\x7f-\x9f]{0,1000}(?:\x07|\x1b\\))"
    r"|(?P<csi>(?:\x1b\[|\x9b)[0-?]{0,60}[ -/]{0,10}[@-~])"
    r"|(?P<control>[\x00-\x08\x0a-\x1f\x7f-\x9f])"
    r"|(?P<tab>\t+)"
    r"|(?P<hidden>[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    r"\ufff9-\ufffb\ud800-\udfff\U0001f3fb-\U0001f3ff\U000e0000-\U000e0fff]+)"
    r"|(?P<flag>[\U0001f1e6-\U0001f1ff]+)"
)
_JOINERS = frozenset("\u200c\u200d\ufe0e\ufe0f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff")
"""Make one picture of several, or change its look. Terminals disagree about the width, so the pictures stand alone."""
_SGR = re.compile(r"\x1b\[([0-9;:]{0,200})m")


def pieces(line: str, pen: Pen = PLAIN) -> tuple[list[Piece], Pen]:
    """A line as pieces, and the pen that the next line begins with."""
    rest = len(line) - LINE_LIMIT
    if rest > 0:
        line = line[:LINE_LIMIT]
    line, overwritten = _last_state(line)
    if not overwritten and rest <= 0 and line.isascii() and line.isprintable():
        return ([(line, pen)] if line else []), pen
    writer = _Writer(pen)
    if overwritten:
        writer.control("␍")
    place = 0
    for found in _TOKEN.finditer(line):
        writer.text(line[place : found.start()])
        writer.token(found)
        place = found.end()
    writer.text(line[place:])
    if rest > 0:
        writer.control(f"… {rest:,} more characters in this line")
    return writer.done, writer.pen


def pen_after(text: str, pen: Pen = PLAIN) -> Pen:
    """The pen that is left by a text of any number of lines."""
    if "\x1b[" in text:
        for found in _SGR.finditer(text):
            pen = _apply(pen, found[1])
    return pen


def plain_text(text: str) -> str:
    """A line without its colours: what is seen of it, for searching and copying."""
    return "".join(part for part, _ in pieces(text)[0])


def lines_of(text: str) -> list[str]:
    """A text as lines: those that the program ended, by line feed with or without carriage return."""
    lines = text.replace("\r\n", "\n").split("\n")
    while len(lines) > 1 and not lines[-1].strip("\r"):
        lines.pop()
    return lines


def rows_of(line: Sequence[Piece], width: int) -> Iterator[list[Piece]]:
    """Pieces broken into rows of at most ``width`` cells (2 or more), between words where one ends near the edge."""
    whole = "".join(text for text, _ in line)
    if len(whole) <= width and cell_len(whole) <= width:
        yield list(line)
        return
    cuts = iter(_cuts(whole, width))
    cut = next(cuts, len(whole))
    row: list[Piece] = []
    place = 0
    for text, pen in line:
        start = 0
        while place + len(text) - start > cut:
            taken = text[start : start + cut - place]
            if taken:
                row.append((taken, pen))
            yield row
            row = []
            start += cut - place
            place = cut
            cut = next(cuts, len(whole))
        if start < len(text):
            row.append((text[start:], pen))
            place += len(text) - start
    if row:
        yield row


def segments(line: Sequence[Piece], ink: Ink, ground: str = "ground", tone: str = "") -> list[Segment]:
    """Pieces as segments on a ground of the palette; ``tone``: of text that has no colour of its own."""
    base = ink.style(tone, ground)
    return [
        Segment(ink.ascii(text), base if pen is PLAIN or pen == PLAIN else _style(ink.palette, pen, base))
        for text, pen in line
    ]


class _Writer:
    """Collects pieces, one for each stretch of text of the same pen."""

    def __init__(self, pen: Pen) -> None:
        self.pen = pen
        self.done: list[Piece] = []
        self._column = 0

    def text(self, text: str) -> None:
        """Text without controls."""
        if text.isascii():
            if text:
                self._put(text, self.pen)
            return
        if text.isprintable():
            self._put(_tame(text, at_start=not self.done), self.pen)
            return
        for shown, run in groupby(text, shows):
            if shown:
                self._put(_tame("".join(run), at_start=not self.done), self.pen)
                continue
            for blank, part in groupby(run, is_space):
                if blank:
                    self._put("".join(" " * cell_len(letter) for letter in part), self.pen)
                else:
                    self._hidden("".join(part))

    def control(self, text: str) -> None:
        """What stands for something that is not shown."""
        self._put(text, replace(self.pen, control=True))

    def token(self, found: re.Match[str]) -> None:
        """A control, or what else is not shown as it is."""
        text = found[0]
        match found.lastgroup:
            case "sgr":
                self.pen = _apply(self.pen, found["sgr"])
            case "quiet":
                pass
            case "tab":
                self._put(" " * (TAB * len(text) - self._column % TAB), self.pen)
            case "hidden":
                self._hidden(text)
            case "flag":
                self._put("".join(chr(ord(letter) - 0x1F1E6 + ord("A")) for letter in text), self.pen)
            case _:
                self.control(_seen(text))

    def _hidden(self, text: str) -> None:
        if self.done and all(letter in _JOINERS for letter in text) and _pictorial(self.done[-1][0][-1:]):
            return
        shown = "".join(f"‹U+{ord(letter):04X}›" for letter in text[:4])
        self.control(shown + (f"‹{len(text) - 4} more›" if len(text) > 4 else ""))

    def _put(self, text: str, pen: Pen) -> None:
        if self.done and self.done[-1][1] == pen:
            self.done[-1] = (self.done[-1][0] + text, pen)
        else:
            self.done.append((text, pen))
        self._column += len(text) if text.isascii() else cell_len(text)


def _last_state(line: str) -> tuple[str, bool]:
    """What is left of a line that its program has written over (progress bars), and whether anything went."""
    if "\r" not in line:
        return line, False
    states = [state for state in line.split("\r") if state]
    if len(states) < 2:
        return (states[0] if states else ""), False
    return states[-1], True


def _tame(text: str, *, at_start: bool) -> str:
    """Text in which no character carries more than a few marks, and none stands without one to carry it."""
    out: list[str] = []
    carried = 0 if not at_start else -1
    for letter in text:
        if letter < "\u0300" or not unicodedata.category(letter).startswith("M"):
            carried = 0
            out.append(letter)
        elif carried < 0:
            carried = 1
            out.append("◌" + letter)
        elif carried < _MARKS:
            carried += 1
            out.append(letter)
    return "".join(out)


def _pictorial(letter: str) -> bool:
    return bool(letter) and unicodedata.category(letter) in ("So", "Sk", "Sm", "Po", "Nd")


def _seen(text: str) -> str:
    """A control sequence as text: its escape as a sign, its end left out where it is long."""
    shown = "".join(_sign(letter) for letter in text[:24])
    return shown + ("…" if len(text) > 24 else "")


def _sign(letter: str) -> str:
    code = ord(letter)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    return f"\\x{code:02x}" if 0x80 <= code < 0xA0 else letter


def _cuts(text: str, width: int) -> Iterator[int]:
    """Where a text is broken, as places in it."""
    ascii_only = text.isascii()
    start = 0
    while start < len(text):
        end = start + width if ascii_only else _reach(text, start, width)
        if end >= len(text):
            return
        space = text.rfind(" ", max(start + 1, end - max(width // 4, 1)), end)
        start = space + 1 if space > 0 and text[end] != " " else end
        yield start


def _reach(text: str, start: int, width: int) -> int:
    """The end of what fits into ``width`` cells from ``start`` on; marks stay with what carries them."""
    room = width
    for place in range(start, len(text)):
        room -= cell_len(text[place])
        if room < 0:
            return max(place, start + 1)
    return len(text)


def _apply(pen: Pen, parameters: str) -> Pen:
    """The pen after one SGR sequence. Colons part the values of one parameter (ITU T.416), as semicolons do."""
    values = [int(value[-4:]) if value else 0 for value in re.split("[;:]", parameters)]
    place = 0
    while place < len(values):
        code = values[place]
        if code in (38, 48):
            colour, used = _extended(values[place + 1 :])
            pen = replace(pen, colour=colour) if code == 38 else replace(pen, ground=colour)
            place += used
        elif code == 4 and parameters == "4:0":
            return replace(pen, underline=False)
        else:
            pen = _simple(pen, code)
        place += 1
    return pen


_SWITCHES: dict[int, dict[str, bool]] = {
    1: {"bold": True}, 2: {"dim": True}, 3: {"italic": True}, 4: {"underline": True}, 7: {"reverse": True},
    9: {"strike": True}, 21: {"underline": True}, 22: {"bold": False, "dim": False}, 23: {"italic": False},
    24: {"underline": False}, 27: {"reverse": False}, 29: {"strike": False},
}  # fmt: skip


def _simple(pen: Pen, code: int) -> Pen:
    if code == 0:
        return PLAIN
    if code in _SWITCHES:
        return replace(pen, **_SWITCHES[code])
    if 30 <= code <= 37 or 90 <= code <= 97:
        return replace(pen, colour=code - 30 if code < 90 else code - 82)
    if 40 <= code <= 47 or 100 <= code <= 107:
        return replace(pen, ground=code - 40 if code < 100 else code - 92)
    if code == 39:
        return replace(pen, colour=None)
    return replace(pen, ground=None) if code == 49 else pen


def _extended(values: Sequence[int]) -> tuple[Colour, int]:
    """The colour after 38 or 48, and how many values it took."""
    if values[:1] == [5] and len(values) > 1:
        return min(values[1], 255), 2
    if values[:1] == [2] and len(values) > 3:
        red, green, blue = (min(value, 255) for value in values[1:4])
        return f"#{red:02x}{green:02x}{blue:02x}", 4
    return None, len(values)


@lru_cache(maxsize=2048)
def _style(palette: Palette, pen: Pen, base: Style) -> Style:
    if pen.control:
        return base + Style(color=_or_none(palette.warn), italic=True, dim=palette.mono or None)
    emphasis = Style(
        bold=pen.bold or None,
        dim=pen.dim or None,
        italic=pen.italic or None,
        underline=pen.underline or None,
        strike=pen.strike or None,
    )
    if palette.mono:
        return base + emphasis + Style(reverse=(pen.reverse or pen.ground is not None) or None)
    if palette.ansi:
        return base + emphasis + _ansi(pen)
    colour, ground = _hex(pen.colour, palette), _hex(pen.ground, palette)
    if pen.reverse:
        colour, ground = ground or palette.ground, colour or palette.text
    behind = ground or (base.bgcolor.name if base.bgcolor else palette.ground)
    if colour or ground:
        colour = _readable(colour or palette.text, behind)
    return base + emphasis + Style(color=colour, bgcolor=ground)


def _ansi(pen: Pen) -> Style:
    """The terminal's own colours; those that would be read as the ground itself are left out."""

    def name(colour: Colour) -> str | None:
        number = RichColour.parse(colour).downgrade(ColorSystem.STANDARD).number if isinstance(colour, str) else colour
        return None if number in (None, 0, 7, 15) else f"color({number})"

    shown = name(pen.colour)
    return Style(
        color=shown if shown != name(pen.ground) else None, reverse=(pen.reverse or pen.ground is not None) or None
    )


def _hex(colour: Colour, palette: Palette) -> str | None:
    if not isinstance(colour, int):
        return colour
    if colour < 16:
        meanings = (
            palette.edge,
            palette.bad,
            palette.ok,
            palette.warn,
            palette.run,
            palette.ask,
            palette.focus,
            palette.text,
        )
        return palette.dim if colour == 8 else meanings[colour % 8]
    red, green, blue = RichColour("", ColorType.EIGHT_BIT, number=colour).get_truecolor(DIMMED_MONOKAI)
    return f"#{red:02x}{green:02x}{blue:02x}"


@lru_cache(maxsize=4096)
def _readable(colour: str, behind: str) -> str:
    """A colour moved towards white or black until it can be told from what is behind it."""
    from textual.color import Color

    if contrast(colour, behind) >= _LEGIBLE:
        return colour
    goal = "#ffffff" if contrast("#ffffff", behind) >= READABLE else "#000000"
    start, end = Color.parse(colour), Color.parse(goal)
    for step in range(1, 21):
        shade: str = start.blend(end, step / 20).hex6.lower()
        if contrast(shade, behind) >= _LEGIBLE:
            return shade
    return goal


def _or_none(colour: str) -> str | None:
    return colour or None
