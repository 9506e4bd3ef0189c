"""Text of agents on a terminal: hostile output, through the parser, and as a real terminal would take it."""

import re
import time

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from textual.strip import Strip

from core.tasks.log_pages import LogEvent
from tests.tui.log_kit import event
from tui.ink import Ink, plain
from tui.safe_text import LINE_LIMIT, PLAIN, Pen, lines_of, pen_after, pieces, plain_text, rows_of, segments
from tui.themes import ANSI, COLOUR_BLIND, DARK, LIGHT, MONO, PALETTES, contrast
from tui.widgets.log_rows import LogLayout

INK = Ink(DARK, unicode=True)
WIDTH, HEIGHT = 80, 24
SGR = re.compile(r"\x1b\[[0-9;]*m")
OBEYED = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")

HOSTILE = {
    "clear the screen": "before\x1b[2J\x1b[Hafter",
    "a title": "a\x1b]0;owned\x07b",
    "a title that never ends": "a\x1b]0;owned by nobody",
    "the clipboard": "\x1b]52;c;cm0gLXJmIH4=\x07text",
    "a question to the terminal": "\x1b[6n\x1b[c\x1b[>c\x1bZ",
    "another screen": "\x1b[?1049h\x1b[?1000h\x1b[?1002h\x1b[?1006h",
    "a full reset": "\x1bc and on",
    "eight bit controls": "\x9b2J \x9d0;x\x9c \x90q\x9c \x85 \x84",
    "a picture": "\x1bPq#0;2;0;0;0#0~~@@vv@@~~\x1b\\",
    "a sequence that is cut off": "text\x1b[38;5",
    "an escape at the end": "text\x1b",
    "a link": "\x1b]8;;http://evil.example\x1b\\https://good.example\x1b]8;;\x1b\\",
    "a line written over": "rm -rf /\rls",
    "backspaces": "evil\b\b\b\bgood",
    "text written backwards": "user\u202etxt.exe\u202c \u2066x\u2069",
    "text that is not seen": "a\u200bd\u200cm\u200din\ufeff \U000e0061\U000e0062\u2060",
    "a heap of marks": "Z" + "\u0301" * 500,
    "marks on nothing": "\u0301\u0302 text",
    "wide characters": "漢字かな交じり文" * 20,
    "wide pictures": "👩\u200d👩\u200d👧 ❤\ufe0f 👍🏽 🇩🇪🇫🇷",
    "markup": "[bold red]not bold[/] [link=http://evil]x[/link] [@click=app.quit]y[/]",
    "tabs": "a\tb\t\tc",
    "line separators": "one\u2028two\u2029three\x0bfour\x0cfive",
    "half a character": "a\ud800b\udfffc",
    "concealed and blinking": "\x1b[8mhidden\x1b[0m \x1b[5mblinks",
    "colours without end": "\x1b[38;2;1;2;3;4;5;6;7m x \x1b[38m y \x1b[48;5m z \x1b[999999999m",
    "margins and scrolling": "\x1b[1;3r\x1b[5S\x1b[10T\x1bM\x1bD\x1bE",
    "character sets": "\x0e\x1b(0lqqk\x0f",
    "keys that lock": "\x1b[?1h\x1b=\x1b[?2004h\x1b[20h\x1b[4h\x1b[2i\x1b[5i",
}


def render(rows: list[Strip]) -> str:
    """What the terminal is sent for rows."""
    console = Console(color_system="truecolor", force_terminal=True, width=WIDTH, legacy_windows=False)
    return "\r\n".join(strip.render(console) for strip in rows)


def rows_for(text: str, palette=DARK, *, unicode: bool = True, wrap: bool = True, width: int = WIDTH) -> list[Strip]:
    """The rows of the log for one event."""
    layout = LogLayout(Ink(palette, unicode), width=width, wrap=wrap)
    made = LogEvent(1, event(1).at, "output", text, 0)
    return [layout.strip(made, n) for n in range(len(layout.rows(made)))]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("palette", [DARK, ANSI, MONO], ids=lambda palette: palette.name)
def test_hostile_output_does_nothing_to_a_terminal_but_stand_in_its_row(name, palette):
    screen = pyte.Screen(WIDTH, HEIGHT)
    stream = pyte.Stream(screen)
    stream.feed("\x1b[1;1HTOP\x1b[24;1HBOTTOM\x1b[3;1H")
    strips = rows_for(HOSTILE[name], palette)[:10]
    sent = render(strips)
    assert not OBEYED.search(SGR.sub("", sent).replace("\r\n", ""))
    stream.feed(sent)
    assert screen.display[0].startswith("TOP")
    assert screen.display[23].startswith("BOTTOM")
    assert screen.title == ""
    assert screen.cursor.y == 2 + len(strips) - 1
    assert all(strip.cell_length == WIDTH for strip in strips)


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("clear the screen", "before␛[2J␛[Hafter"),
        ("a title", "a␛]0;owned␇b"),
        ("a title that never ends", "a␛]0;owned by nobody"),
        ("a link", "https://good.example"),
        ("a line written over", "␍ls"),
        ("backspaces", "evil␈␈␈␈good"),
        ("text written backwards", "user‹U+202E›txt.exe‹U+202C› ‹U+2066›x‹U+2069›"),
        ("wide pictures", "👩👩👧 ❤ 👍 DEFR"),
        ("markup", HOSTILE["markup"]),
        ("tabs", "a       b               c"),
        ("marks on nothing", "◌\u0301\u0302 text"),
        ("concealed and blinking", "hidden blinks"),
        ("half a character", "a‹U+D800›b‹U+DFFF›c"),
    ],
)
def test_what_is_seen_of_it(name, seen):
    assert plain_text(HOSTILE[name]) == seen


ANYTHING = st.text(
    alphabet=st.one_of(
        st.characters(),
        st.sampled_from("\x1b\x9b[]0123456789;:mJKHP\\\x07\r\n\t\b\u202e\u200d漢\u0301🇩👍🏽"),
    ),
    max_size=200,
)


@settings(max_examples=400, deadline=None)
@given(ANYTHING, st.integers(24, 120), st.booleans(), st.sampled_from(list(PALETTES.values())), st.booleans())
def test_no_control_but_our_own_colours_reaches_the_terminal(text, width, wrap, palette, unicode):
    for strip in rows_for(text, palette, unicode=unicode, wrap=wrap, width=width):
        assert strip.cell_length == width
        sent = strip.render(Console(color_system="truecolor", force_terminal=True, width=width))
        bare = SGR.sub("", sent)
        assert not OBEYED.search(bare)
        assert bare.isprintable()
        assert cell_len(bare) == width
        if not unicode:
            assert bare.isascii()


def test_no_character_of_unicode_that_cannot_be_shown_gets_through() -> None:
    for first in range(0, 0x110000, 256):
        text = "x".join(map(chr, range(first, first + 256)))
        assert plain_text(text).isprintable(), hex(first)
        assert plain(text).isprintable(), hex(first)
    assert plain_text("a\U00018d09\ue0b0b\u0378") == "a‹U+18D09›‹U+E0B0›b‹U+0378›"
    assert plain_text("10\u00a0km\u3000\u6e2f") == "10 km  \u6e2f"


@settings(max_examples=200, deadline=None)
@given(ANYTHING)
def test_the_pen_goes_on_from_line_to_line_as_if_they_were_one(text):
    text = text.replace("\r", "").replace("\n", "")
    cut = len(text) // 2
    if "\x1b" in text[max(0, cut - 210) : cut]:
        return  # a sequence may be cut in two
    _, pen = pieces(text[:cut])
    assert pen == pen_after(text[:cut])


@settings(max_examples=200, deadline=None)
@given(ANYTHING, st.integers(2, 60))
def test_wrapping_loses_nothing_and_keeps_to_the_width(text, width):
    line, _ = pieces(text)
    rows = list(rows_of(line, width))
    assert "".join(part for row in rows for part, _ in row) == "".join(part for part, _ in line)
    assert all(cell_len("".join(part for part, _ in row)) <= width for row in rows)


def test_words_are_broken_between_where_one_ends_near_the_edge():
    rows = rows_of([("the quick brown fox jumps over", PLAIN)], 12)
    assert ["".join(text for text, _ in row) for row in rows] == ["the quick ", "brown fox ", "jumps over"]


def test_colours_of_programs_stay():
    found, pen = pieces("\x1b[1;31mbad\x1b[0m \x1b[38;5;208mamber\x1b[48;2;1;2;3m on\x1b[m end")
    assert found[0] == ("bad", Pen(colour=1, bold=True))
    assert found[2] == ("amber", Pen(colour=208))
    assert found[3] == (" on", Pen(colour=208, ground="#010203"))
    assert pen == PLAIN
    [segment, *_] = segments(found, INK)
    assert segment.style.color.name == DARK.bad
    assert segment.style.bold


def test_a_colour_carries_on_into_the_next_line_of_an_event():
    strips = rows_for("\x1b[32mone\ntwo\x1b[0m\nthree")
    colours = [[s.style.color.name for s in strip if s.text.strip() in ("one", "two", "three")] for strip in strips]
    assert colours == [[DARK.ok], [DARK.ok], [DARK.text]]


@pytest.mark.parametrize("palette", [DARK, LIGHT, COLOUR_BLIND], ids=lambda palette: palette.name)
def test_whatever_colours_a_program_chooses_they_can_be_read(palette):
    ink = Ink(palette, unicode=True)
    for code in [
        *range(30, 38),
        *range(90, 98),
        "38;2;15;22;34",
        "38;5;16",
        "38;5;231",
        "30;40",
        "37;47",
        "7",
        "31;7",
        "47",
    ]:
        [segment] = segments(pieces(f"\x1b[{code}mtext")[0], ink)
        ground = segment.style.bgcolor.name if segment.style.bgcolor else palette.ground
        assert contrast(segment.style.color.name, ground) >= 2.95, code


def test_mono_shows_no_colour_and_ansi_only_those_of_the_terminal():
    text = "\x1b[31ma\x1b[38;2;1;2;3mb\x1b[44mc"
    assert all(s.style.color is None and s.style.bgcolor is None for s in segments(pieces(text)[0], Ink(MONO, True)))
    for segment in segments(pieces(text)[0], Ink(ANSI, True)):
        assert segment.style.color is None or segment.style.color.number is not None


def test_a_line_of_ten_megabytes_costs_no_more_than_its_beginning():
    huge = "x\x1b[31m" * 1_700_000
    start = time.perf_counter()
    found, _ = pieces(huge)
    assert time.perf_counter() - start < 2
    assert sum(len(text) for text, _ in found) < LINE_LIMIT
    assert "more characters in this line" in found[-1][0]


@pytest.mark.parametrize("evil", ["\x1b]", "\x1b[", "\x1b[0;", "\x1bP", "\x9b0", "\x1b]8;", "\u0301", "\r", "\u202e"])
def test_no_text_makes_the_parser_slow(evil):
    start = time.perf_counter()
    pieces(evil * (LINE_LIMIT // len(evil)))
    assert time.perf_counter() - start < 3


def test_lines_end_with_line_feeds_and_empty_ones_at_the_end_are_not_shown():
    assert lines_of("a\r\nb\n\n\nc\n\n") == ["a", "b", "", "", "c"]
    assert lines_of("") == [""]


def test_ascii_stands_in_where_the_terminal_has_no_more():
    strips = rows_for("naïve “quotes” 漢字\u202e", MONO, unicode=False)
    assert strips[0].text.isascii()
    assert isinstance(next(iter(strips[0])), Segment)
