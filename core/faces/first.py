"""What `make run` shows: the program at its real work, as far as this place allows.

At a terminal with a registered project that is the screen; with nothing registered the demonstration; without a
terminal the demonstration, printed.
"""

import asyncio
import os
import sys
from pathlib import Path

from config.errors import QuarterdeckError
from config.paths import resolve_paths


def main() -> int:
    """Choose, and hand over to `qd`. Returns its exit code."""
    from core.faces.cli import main as qd

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return qd(["demo", "--headless"])
    try:
        registered = asyncio.run(_has_project())
    except QuarterdeckError as error:
        print(f"qd: {error.sentence()}", file=sys.stderr)
        return error.exit_code
    return qd([] if registered else ["demo"])


async def _has_project() -> bool:
    from core.commands.table import invoke
    from core.faces.opening import open_context

    environ = dict(os.environ)
    async with open_context(resolve_paths(environ), environ, cwd=Path.cwd()) as context:
        return bool(await invoke(context, "project.list", {}))


if __name__ == "__main__":
    sys.exit(main())
