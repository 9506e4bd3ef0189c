"""Pictures of one state of a screen on every size of terminal and in the themes that differ most, from one run of the app."""

from typing import Any

from pytest_textual_snapshot import SVGImageExtension
from textual.pilot import Pilot

from tests.tui.screen_kit import seen, settled

SIZES = ((80, 24), (120, 40), (200, 50))
THEMES = ("dark", "ansi", "mono")


async def still(pilot: Pilot[Any]) -> None:
    """Wait until nothing moves any more: what a screen lays out or draws for another size comes a moment after it."""
    before = None
    while before != (now := seen(pilot.app)):
        before = now
        await pilot.pause(0.05)


async def photograph(
    pilot: Pilot[Any], snapshot: Any, *, sizes: Any = SIZES, themes: Any = THEMES, name: str = ""
) -> None:
    """Compare what is seen with the pictures that are kept, for each size and theme."""
    app: Any = pilot.app
    pictures = snapshot.use_extension(SVGImageExtension)
    wrong = []
    for columns, lines in sizes:
        await pilot.resize_terminal(columns, lines)
        for theme in themes:
            app.use_theme(theme)
            await pilot.pause()
            await settled(pilot)
            await still(pilot)
            title = f"{name}{columns}x{lines}-{theme}"
            if app.export_screenshot() != pictures(name=title):
                wrong.append(title)
    assert not wrong
