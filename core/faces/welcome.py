"""Plain `qd`: the screen, for a person at a terminal, with an engine at work behind it."""

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Never

from config.errors import UsageError
from config.paths import resolve_paths
from core.commands.table import invoke
from core.faces.help import help_text
from core.faces.opening import open_context
from storage.database import Role

if TYPE_CHECKING:
    from core.faces.cli import Edge

SCREEN = "tui.__main__"
"""The screen is a process of its own that takes the place of this one: nothing here ever imports it."""


async def welcome(edge: "Edge", environ: Mapping[str, str]) -> int:
    """Start the engine if none runs and become the screen; without one installed, show the help.

    Raises UsageError where there is no terminal.
    """
    if not (edge.stdin.isatty() and edge.stdout.isatty()):
        raise UsageError("qd without a command opens the screen, which needs a terminal", "see `qd help`")
    if find_spec(SCREEN) is None:
        edge.stdout.write(help_text(None, None))
        return 0
    async with open_context(resolve_paths(environ), environ, cwd=edge.cwd) as context:
        if context.who.role is not Role.VIEWER:
            await invoke(context, "up", {})
    edge.stdout.flush()
    return _become_screen(environ)


def _become_screen(environ: Mapping[str, str]) -> Never:
    argv = [sys.executable, "-P", "-m", SCREEN.rpartition(".")[0]]
    os.execve(argv[0], argv, dict(environ))  # noqa: S606
