"""The themes: five palettes of our own, and what makes them: contrast, legible project colours, what a terminal can show.

A palette names meanings, never places: ``run`` is the colour of whatever works, ``bad`` of whatever failed. Every text colour has a contrast
of at least 4.5 to 1 (WCAG 2, relative luminance) to every ground that it may stand on. ``ansi`` leaves the colours to the terminal, ``mono`` uses none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache

from textual.color import Color
from textual.theme import Theme

READABLE = 4.5
"""The least contrast of text to its ground."""


@dataclass(frozen=True, slots=True)
class Palette:
    """One theme as colours by meaning. An empty text is the terminal's own colour."""

    name: str
    title: str
    dark: bool
    ground: str
    """Behind everything."""
    raised: str
    """Behind dialogs, the status line and the footer."""
    cursor: str
    """Behind the row under the cursor of the panel that has the keys."""
    resting: str
    """Behind the row under the cursor of any other panel."""
    text: str
    dim: str
    """What is there to be looked up: labels, ages, paths."""
    edge: str
    """Frames and rules; not text."""
    focus: str
    """The frame and title of the panel that has the keys; keys in the footer."""
    run: str
    """What works."""
    ok: str
    warn: str
    bad: str
    ask: str
    """What asks for a judgement."""
    match: str
    """Behind what a search has found."""
    ansi: bool = False
    mono: bool = False


DARK = Palette(
    "dark", "Night watch", dark=True,
    ground="#0f1622", raised="#172131", cursor="#1e3850", resting="#1a2636",
    text="#dce4ef", dim="#93a3ba", edge="#33445e", focus="#6ad4c6",
    run="#6cb8f0", ok="#84cf94", warn="#efb860", bad="#f58a92", ask="#cba6f7", match="#5a4a1c",
)  # fmt: skip
LIGHT = Palette(
    "light", "Day watch", dark=False,
    ground="#faf8f3", raised="#efebe1", cursor="#cfe4ea", resting="#ece8dd",
    text="#1d2a38", dim="#4f5e6e", edge="#bcb6a6", focus="#00615a",
    run="#0b5394", ok="#1f6331", warn="#7a4700", bad="#a01d31", ask="#6430a0", match="#ffe49a",
)  # fmt: skip
COLOUR_BLIND = Palette(
    "colour-blind", "Colour-blind", dark=True,
    ground="#101418", raised="#1a2027", cursor="#283a52", resting="#20272f",
    text="#e8ebef", dim="#a2acb8", edge="#3f4a57", focus="#f0e442",
    run="#6fc3f7", ok="#56d3ad", warn="#f0e442", bad="#ff9a5c", ask="#eaa6cf", match="#5a541c",
)  # fmt: skip
ANSI = Palette(
    "ansi", "The terminal's own", dark=True,
    ground="", raised="", cursor="", resting="", text="", dim="", edge="bright_black", focus="cyan",
    run="blue", ok="green", warn="yellow", bad="red", ask="magenta", match="", ansi=True,
)  # fmt: skip
MONO = Palette(
    "mono", "No colour", dark=True,
    ground="", raised="", cursor="", resting="", text="", dim="", edge="", focus="",
    run="", ok="", warn="", bad="", ask="", match="", ansi=True, mono=True,
)  # fmt: skip

PALETTES: Mapping[str, Palette] = {p.name: p for p in (DARK, LIGHT, COLOUR_BLIND, ANSI, MONO)}
TEXTS = ("text", "dim", "focus", "run", "ok", "warn", "bad", "ask")
"""The fields of a palette that are written with."""
GROUNDS = ("ground", "raised", "cursor", "resting")
"""The fields that are written upon."""


def choose_theme(wanted: str, environ: Mapping[str, str]) -> str:
    """Which theme to begin with, resolved before the app is made: a terminal without colours gets ``mono``, whatever is wished for.

    ``NO_COLOR`` counts when it is not empty (no-color.org). With a dozen colours or fewer, ours cannot be told apart: ``ansi``.
    """
    term = environ.get("TERM", "")
    if environ.get("NO_COLOR") or term in ("", "dumb", "vt100", "vt102", "vt220", "xterm-mono", "linux-m"):
        return "mono"
    if wanted in PALETTES:
        return wanted
    if term in ("linux", "xterm", "screen", "ansi", "xterm-color") and not environ.get("COLORTERM"):
        return "ansi"
    return "dark"


def shows_unicode(environ: Mapping[str, str]) -> bool:
    """Whether the terminal can show more than ASCII: by its locale, and it is no console of old."""
    locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    if environ.get("TERM", "") in ("dumb", "linux", "vt100", "vt102", "vt220"):
        return False
    return "utf" in locale.lower() or locale in ("", "C.UTF-8")


def contrast(one: str, other: str) -> float:
    """The contrast of two colours (``#rrggbb`` or a name), 1 to 21. Source: WCAG 2.2, contrast ratio."""
    first, second = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (first + 0.05) / (second + 0.05)


@lru_cache(maxsize=1024)
def legible(colour: str, palette: Palette) -> str:
    """A project's colour as it can be read on every ground of a palette: moved towards white or black as little as it takes."""
    if palette.mono:
        return ""
    if palette.ansi:
        return _nearest_ansi(colour)
    goal = Color.parse("#ffffff" if palette.dark else "#000000")
    start = Color.parse(colour)
    for step in range(51):
        shade: str = start.blend(goal, step / 50).hex6.lower()
        if min(contrast(shade, getattr(palette, ground)) for ground in GROUNDS) >= READABLE:
            return shade
    return palette.text


def textual_theme(palette: Palette) -> Theme:
    """A palette as Textual has it, with our meanings as variables of the style sheet (``$qd-edge``)."""
    ours = {
        f"qd-{field.name}": _css(getattr(palette, field.name), field.name)
        for field in fields(palette)
        if isinstance(getattr(palette, field.name), str) and field.name not in ("name", "title")
    }
    get = ours.__getitem__
    variables = ours | {
        "border": get("qd-focus"),
        "border-blurred": get("qd-edge"),
        "scrollbar": get("qd-edge"),
        "scrollbar-hover": get("qd-dim"),
        "scrollbar-active": get("qd-focus"),
        "scrollbar-background": get("qd-ground"),
        "scrollbar-background-hover": get("qd-ground"),
        "scrollbar-background-active": get("qd-ground"),
        "scrollbar-corner-color": get("qd-ground"),
        "input-cursor-background": get("qd-text"),
        "input-cursor-foreground": get("qd-ground"),
        "input-cursor-text-style": "reverse" if palette.ansi else "none",
        "input-selection-background": get("qd-cursor"),
        "input-selection-foreground": get("qd-text"),
        "block-cursor-background": get("qd-cursor"),
        "block-cursor-foreground": get("qd-text"),
    }
    plain = "ansi_default"
    if palette.ansi:
        variables |= {"ansi-background": plain, "ansi-foreground": plain}  # Textual's own style sheets ask for these
    return Theme(
        name=palette.name, dark=palette.dark, ansi=palette.ansi,
        primary=palette.run if not palette.ansi else _css(palette.run, "run"),
        secondary=get("qd-ask"), warning=get("qd-warn"), error=get("qd-bad"), success=get("qd-ok"), accent=get("qd-focus"),
        foreground=get("qd-text"), background=get("qd-ground"),
        surface=palette.raised or plain, panel=palette.raised or plain, variables=variables,
    )  # fmt: skip


def _css(colour: str, meaning: str) -> str:
    if not colour:
        return "ansi_default"
    if colour.startswith("#"):
        return colour
    del meaning
    return f"ansi_{colour}"


def _luminance(colour: str) -> float:
    return float(Color.parse(colour).rgb and _relative(Color.parse(colour)))


def _relative(colour: Color) -> float:
    def linear(channel: int) -> float:
        value = channel / 255
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = colour.rgb
    return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue)


_ANSI_HUES = ((0, "red"), (55, "yellow"), (120, "green"), (180, "cyan"), (235, "blue"), (300, "magenta"), (360, "red"))


def _nearest_ansi(colour: str) -> str:
    """The terminal's colour whose hue is nearest; greys have none."""
    hue, saturation, _ = Color.parse(colour).hsl
    if saturation < 0.12:
        return ""
    return min(_ANSI_HUES, key=lambda known: abs(known[0] - hue * 360))[1]
