"""Starts the screen: decides what the terminal can show before anything is drawn, runs the app, gives the terminal back."""

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from config.errors import UsageError
from config.paths import Paths, resolve_paths
from core.commands.table import Context
from tui.litter import held, settled_heap
from tui.store import Opener, Store


@held
async def open_screen(
    environ: Mapping[str, str],
    cwd: Path,
    *,
    context: Context | None = None,
    readonly: bool = False,
    low_bandwidth: bool = False,
    theme: str = "",
    starts_engine: bool = True,
    beside: Callable[[], Awaitable[str]] | None = None,
) -> int:
    """Run the screen until the person leaves; the exit code.

    ``starts_engine``: have an engine of this host work on the queue where none does. ``context``: what to look at,
    open already (the demonstration); else the database that the environment names is opened by the screen itself,
    which shows itself before that. ``beside``: work that goes on meanwhile; what it returns is said. Raises
    :class:`UsageError` for a keymap that is wrong.
    """
    from tui.themes import choose_theme, shows_unicode

    paths = context.paths if context else resolve_paths(environ)
    slow = low_bandwidth or environ.get("QD_LOW_BANDWIDTH", "") not in ("", "0")
    from tui.memory import Memory

    memory = Memory(paths.state / "screen.json")
    wanted = theme or memory.get("theme", "")
    shown = choose_theme(wanted, environ)
    if shown == "mono":
        os.environ.pop("NO_COLOR", None)  # resolved into our own theme; Textual's filter would blacken it

    from tui.actions import clashes, registry
    from tui.app import Choices, QuarterdeckApp
    from tui.keymap import read_keymap
    from tui.lifeline import Lifeline

    plain = registry()
    known = registry(read_keymap(paths.config / "keymap.toml", plain.actions))
    if wrong := clashes(known):
        raise UsageError(f"the keymap does not work out: {wrong[0]}", f"see {paths.config / 'keymap.toml'}")
    store = Store(
        _given(context) if context else _opener(paths, environ, cwd), readonly=readonly, pace=1.0 if slow else 0.1
    )
    lifeline = Lifeline(
        paths.logs,
        starts_engine=starts_engine and context is None,
        on_terminal=True,
    )
    choices = Choices(shown, shows_unicode(environ), readonly, slow, memory.get("dense", True))
    _log_to(paths.logs / "screen.log")
    app = QuarterdeckApp(store, known, choices, memory, lifeline, beside)
    async with settled_heap(store.ready):
        await app.run_async(mouse=not slow)
    if lifeline.hung_up:
        forget_terminal()
    if lifeline.report:
        print(lifeline.report, file=sys.stderr)
        return 1
    return app.return_code or 0


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


def _opener(paths: Paths, environ: Mapping[str, str], cwd: Path) -> Opener:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Context]:
        from core.faces.opening import open_context

        async with open_context(paths, environ, cwd=cwd) as context:
            yield context

    return opened


def _given(context: Context) -> Opener:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Context]:
        yield replace(context)

    return opened
