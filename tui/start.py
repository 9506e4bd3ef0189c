"""Starts the screen: decides what the terminal can show before anything is drawn, runs the app, gives the terminal back."""

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from config.errors import QuarterdeckError, UnavailableError, UsageError
from config.paths import Paths, resolve_paths
from core.commands.table import Context
from core.faces.opening import open_context
from tui.litter import held, settled_heap

if TYPE_CHECKING:
    from tui.actions import Registry
    from tui.app import Choices, QuarterdeckApp
    from tui.memory import Memory

Opener = Callable[[], AbstractAsyncContextManager[Context]]

_TOOLKIT = (
    *(
        "rich.style",
        "rich.text",
        "rich.console",
        "rich.segment",
        "textual.geometry",
        "textual.color",
        "textual.css.model",
    ),
    *(
        "textual.css.styles",
        "textual.strip",
        "textual.events",
        "textual._compositor",
        "textual.widget",
        "textual.screen",
    ),
    *("textual.binding", "textual.command", "textual.theme", "textual.app"),
)
"""In small pieces."""
_TURNS = 3
"""Turns of the event loop from an answer of the database to the next question."""
_CHECKS = (
    *("annotated_types", "pydantic_core", "pydantic.version", "pydantic._internal._decorators"),
    *("pydantic.functional_validators", "pydantic.types", "pydantic.main", "pydantic.type_adapter"),
)
"""What checks the arguments of commands: nothing that is shown at first needs it, and the first command should not wait for it."""
_SCREEN = ("tui.memory", "tui.themes", "tui.keymap", "tui.store", "tui.app", "tui.lifeline", "tui.screens.deck")


@dataclass(frozen=True, slots=True)
class Setup:
    """What a screen is started with, whatever it shows."""

    registry: "Registry"
    choices: "Choices"
    memory: "Memory"


@held
async def open_screen(
    environ: Mapping[str, str],
    cwd: Path,
    *,
    context: Context | None = None,
    readonly: bool = False,
    low_bandwidth: bool = False,
    theme: str = "",
    notice: str = "",
    starts_engine: bool = True,
    beside: Callable[[], Awaitable[str]] | None = None,
) -> int:
    """Run the screen until the person leaves; the exit code.

    ``starts_engine``: have an engine of this host work on the queue where none does. ``context``: what to look at,
    open already (the demonstration); else the database that the environment names is opened by the screen itself,
    which shows itself before that. ``notice``: what the status line says of all that is shown. ``beside``: work that
    goes on meanwhile; what it returns is said. Raises :class:`UsageError` for a keymap that is wrong.
    """
    paths = context.paths if context else resolve_paths(environ)
    async with _given(context) if context else _ahead(paths, environ, cwd) as opener:
        setup = await prepare(
            paths, environ, readonly=readonly, low_bandwidth=low_bandwidth, theme=theme, notice=notice
        )
        from tui.app import QuarterdeckApp
        from tui.lifeline import Lifeline
        from tui.store import Store

        store = Store(opener, readonly=readonly, pace=1.0 if setup.choices.low_bandwidth else 0.1)
        lifeline = Lifeline(
            paths.logs,
            starts_engine=starts_engine and context is None,
            on_terminal=True,
            in_tmux=bool(environ.get("TMUX")),
        )
        app = QuarterdeckApp(store, setup.registry, setup.choices, setup.memory, lifeline, beside)
        await run(app)
    return farewell(app)


async def prepare(
    paths: Paths,
    environ: Mapping[str, str],
    *,
    readonly: bool = False,
    low_bandwidth: bool = False,
    theme: str = "",
    notice: str = "",
) -> Setup:
    """The keys, the looks and the memory of the person of ``paths``, on the terminal of ``environ``. Raises UsageError for a wrong keymap or theme."""
    await _load(*_TOOLKIT, *_SCREEN, "tui.actions")
    from tui.actions import MODULES, clashes, registry

    await _load(*MODULES)
    from tui.app import Choices
    from tui.keymap import read_keymap
    from tui.memory import Memory
    from tui.themes import PALETTES, choose_theme, shows_unicode

    if theme and theme not in PALETTES:
        raise UsageError(f"there is no theme {theme[:60]!r}", f"there are {', '.join(PALETTES)}")
    url = environ.get("QD_DATABASE_URL", "")
    memory = Memory(paths.state / "screen.json", hashlib.sha256(url.encode()).hexdigest()[:8] if url else "")
    shown = choose_theme(theme or memory.get("theme", ""), environ)
    if shown == "mono":
        os.environ.pop("NO_COLOR", None)  # resolved into our own theme; Textual's filter would blacken it
    known = registry(read_keymap(paths.config / "keymap.toml", registry().actions))
    if wrong := clashes(known):
        raise UsageError(f"the keymap does not work out: {wrong[0]}", f"see {paths.config / 'keymap.toml'}")
    slow = low_bandwidth or environ.get("QD_LOW_BANDWIDTH", "") not in ("", "0")
    _log_to(paths.logs / "screen.log")
    choices = Choices(shown, shows_unicode(environ), readonly, slow, memory.get("dense", True), notice)
    return Setup(known, choices, memory)


async def run(app: "QuarterdeckApp") -> None:
    """Run the screen on the terminal until the person leaves, or the terminal is gone."""
    async with settled_heap(app.store.ready, lambda: _load(*_CHECKS)):
        await app.run_async(mouse=not app.choices.low_bandwidth)


def farewell(app: "QuarterdeckApp") -> int:
    """Say after the end what there is to say; the exit code."""
    if app.lifeline.hung_up:
        forget_terminal()
    if app.lifeline.report:
        print(app.lifeline.report, file=sys.stderr)
        return 1
    return app.return_code or 0


async def _load(*modules: str) -> None:
    """Load modules one after the other; between them goes on whatever waits for the database."""
    for module in modules:
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        import_module(module)


def _log_to(file: Path) -> None:
    """What libraries have to say goes into a file: on the terminal it would be written over the screen."""
    import contextlib
    import logging

    handler: logging.Handler = logging.NullHandler()
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handler = logging.FileHandler(file, encoding="utf-8", delay=True)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def forget_terminal() -> None:
    """The terminal is gone: what is still to be written goes nowhere, and nothing fails for it."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)


@asynccontextmanager
async def _ahead(paths: Paths, environ: Mapping[str, str], cwd: Path) -> AsyncIterator[Opener]:
    """Connects to the database at once, while the screen is still being loaded; who asks first gets that connection, later ones their own."""

    async def enter() -> tuple[AbstractAsyncContextManager[Context], Context]:
        opened = open_context(paths, environ, cwd=cwd)
        context = await opened.__aenter__()
        with suppress(UnavailableError):
            await context.db.warm()
        return opened, context

    begun = [asyncio.create_task(enter(), name="first connection of the screen")]

    @asynccontextmanager
    async def opener() -> AsyncIterator[Context]:
        opened, context = await (begun.pop() if begun else enter())
        try:
            yield context
        finally:
            await opened.__aexit__(None, None, None)

    try:
        yield opener
    finally:
        for task in begun:  # nobody asked
            task.cancel()
            with suppress(asyncio.CancelledError, QuarterdeckError):
                opened, _ = await task
                await opened.__aexit__(None, None, None)


@asynccontextmanager
async def _given(context: Context) -> AsyncIterator[Opener]:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Context]:
        yield replace(context)

    yield opened
