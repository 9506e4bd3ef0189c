"""The themes: everything can be read on everything, with any colour of a project; what a terminal can show is decided beforehand."""

import pytest

from config.colours import NAMES, PALETTE
from tui.ink import Ink, age, counted, plain, width_of
from tui.themes import GROUNDS, PALETTES, READABLE, TEXTS, choose_theme, contrast, legible, shows_unicode

OURS = [palette for palette in PALETTES.values() if not palette.ansi]


@pytest.mark.parametrize("palette", OURS, ids=lambda palette: palette.name)
def test_every_text_can_be_read_on_every_ground(palette) -> None:  # type: ignore[no-untyped-def]
    for text in TEXTS:
        for ground in GROUNDS:
            assert contrast(getattr(palette, text), getattr(palette, ground)) >= READABLE, (text, ground)
    assert contrast(palette.text, palette.match) >= READABLE


@pytest.mark.parametrize("palette", OURS, ids=lambda palette: palette.name)
def test_any_colour_of_a_project_can_be_read(palette) -> None:  # type: ignore[no-untyped-def]
    for colour in [
        *(shade for pair in PALETTE for shade in pair),
        *sorted(NAMES)[::7],
        "#000000",
        "#ffffff",
        "#777777",
        "#ff0000",
        "#0000ff",
    ]:
        shown = legible(colour, palette)
        assert min(contrast(shown, getattr(palette, ground)) for ground in GROUNDS) >= READABLE, colour


@pytest.mark.parametrize(
    ("wanted", "environ", "theme"),
    [
        ("", {"TERM": "xterm-256color"}, "dark"),
        ("light", {"TERM": "xterm-256color"}, "light"),
        ("light", {"TERM": "xterm-256color", "NO_COLOR": "1"}, "mono"),
        ("light", {"TERM": "xterm-256color", "NO_COLOR": ""}, "light"),
        ("dark", {"TERM": "vt100"}, "mono"),
        ("", {"TERM": "linux"}, "ansi"),
        ("nonsense", {"TERM": "tmux-256color"}, "dark"),
        ("dark", {}, "mono"),
    ],
)
def test_the_theme_follows_the_terminal(wanted: str, environ: dict[str, str], theme: str) -> None:
    assert choose_theme(wanted, environ) == theme


@pytest.mark.parametrize(
    ("environ", "can"),
    [
        ({"LANG": "de_DE.UTF-8"}, True),
        ({"LC_ALL": "C", "LANG": "de_DE.UTF-8"}, False),
        ({"LANG": "de_DE.UTF-8", "TERM": "linux"}, False),
        ({}, True),
    ],
)
def test_letters_beyond_ascii_only_where_they_can_be_shown(environ: dict[str, str], can: bool) -> None:
    assert shows_unicode(environ) is can


@pytest.mark.parametrize("unicode", [True, False])
def test_a_line_has_its_width_whatever_is_in_it(unicode: bool) -> None:
    ink = Ink(PALETTES["dark"], unicode)
    for text in (
        "plain",
        "日本語のテキスト" * 9,
        "e\u0301" * 200,
        "👩‍👩‍👧 family",
        "\u202eright to left",
        "\x1b[31mred\x1b[0m\x07",
        "a\tb\r\nc",
        "[bold]no markup[/]",
    ):
        for width in (0, 1, 2, 7, 40):
            strip = ink.strip([(plain(text), "run"), ("tail", "dim")], width)
            assert strip.cell_length == width == sum(segment.cell_length for segment in strip)
            assert width_of([(ink.fit(plain(text), width), "")]) == width


def test_what_a_terminal_would_obey_is_made_harmless() -> None:
    shown = plain("\x1b]52;c;aGk=\x07\x1b[2J\u202eevil\u200b\ufeff\x9b5n [red]x[/red]")
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\x9b" not in shown
    assert "\u202e" not in shown
    assert "\u200b" not in shown
    assert "[red]x[/red]" in shown


def test_ages_change_once_a_minute_at_most() -> None:
    from datetime import timedelta

    from tests.tui.world import NOW

    assert [age(NOW - timedelta(seconds=s), NOW) for s in (0, 59, 61, 3599, 7200, 200_000)] == [
        "now",
        "now",
        "1m",
        "59m",
        "2h",
        "2d",
    ]


def test_words_agree_with_their_numbers() -> None:
    assert [counted(n, "file") for n in (0, 1, 2, 12_345)] == ["0 files", "1 file", "2 files", "12,345 files"]
