"""The app on a test database: the screen as it is, with the clock frozen and nothing remembered."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from textual.pilot import Pilot

from tests.tui.world import ANN, NOW, opener
from tui.actions import registry
from tui.app import Choices, QuarterdeckApp
from tui.lifeline import Lifeline
from tui.memory import Memory
from tui.store import Store


def screen_on(
    dsn: str,
    folder: Path,
    *,
    theme: str = "dark",
    unicode: bool = True,
    readonly: bool = False,
    who: Any = ANN,
    notice: str = "",
) -> QuarterdeckApp:
    """The app."""
    store = Store(opener(dsn, folder, who=who), readonly=readonly, now=lambda: NOW)
    return QuarterdeckApp(
        store,
        registry(),
        Choices(theme, unicode, readonly, notice=notice),
        Memory(folder / "screen.json"),
        Lifeline(folder / "logs", starts_engine=False),
    )


async def until(true: Callable[[], Any], pilot: Pilot[Any], seconds: float = 30) -> None:
    """Wait until something is so."""
    end = asyncio.get_running_loop().time() + seconds
    while not true():
        app: Any = pilot.app
        assert asyncio.get_running_loop().time() < end, (
            f"never so; said {app.said}, store {app.store.state}\n{seen(app)}"
        )
        await asyncio.sleep(0.02)
    await pilot.pause()


async def settled(pilot: Pilot[Any]) -> None:
    """Wait until everything that is seen is loaded and painted."""
    app: Any = pilot.app
    await until(lambda: app.pulse is not None or app.store.gone, pilot)
    await until(lambda: app.screen.is_mounted, pilot)  # till then there is nothing on it that could be loaded
    await until(lambda: not (app.ahead._reasons or app.ahead._keys or app.ahead._draining), pilot)
    await pilot.pause()
    if not app.store.gone:
        await until(lambda: all(s.loaded or s.asleep for s in app.store._subscriptions), pilot)
        await until(lambda: app.store.settled and not app.store._loads, pilot)
    await pilot.pause()
    await pilot.pause()


async def value_of(dsn: str, statement: str, *values: Any) -> Any:
    """The first value that a statement gives, beside the screen."""
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement, *values)
    finally:
        await connection.close()


async def says(pilot: Pilot[Any], words: str) -> None:
    """Wait until the screen has said something in which these words are."""
    await until(lambda: pilot.app.said and words in pilot.app.said[1], pilot)


def seen(app: QuarterdeckApp) -> str:
    """What is on the screen, as text."""
    height = app.size.height
    lines = app.screen._compositor.render_strips()
    return "\n".join(strip.text for strip in lines[:height])


@asynccontextmanager
async def at_the_screen(
    dsn: str, folder: Path, size: tuple[int, int] = (120, 40), **more: Any
) -> AsyncIterator[Pilot[Any]]:
    """A person at the screen, with everything loaded."""
    app = screen_on(dsn, folder, **more)
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        yield pilot


async def type_(pilot: Pilot[Any], text: str) -> None:
    """Type a text."""
    names = {" ": "space", ":": "colon", "/": "slash", "-": "minus", "#": "number_sign", '"': "quotation_mark", "!": "exclamation_mark", "~": "tilde",
             ".": "full_stop", ",": "comma", "?": "question_mark", "=": "equals_sign", "'": "apostrophe", "_": "underscore", "*": "asterisk"}  # fmt: skip
    await pilot.press(*[names.get(letter, letter) for letter in text])
