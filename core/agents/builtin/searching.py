"""Searches the worktree for a regular expression, as a program of its own: an expression that never ends can be ended.

Usage: ``python -P -m core.agents.builtin.searching ROOT FOLDER PATTERN``.
"""

import re
import sys
from pathlib import Path

from core.agents.builtin.files import RefusedError, Worktree

MATCH_LIMIT = 200
"""Lines that are shown."""

SIZE_LIMIT = 1_000_000
"""Bytes of the largest file that is searched."""

LINE_LIMIT = 240
"""Characters of a line that are shown."""


def search(worktree: Worktree, folder: str, pattern: str) -> list[str]:
    """Every match as ``path:line: text``. Raises RefusedError."""
    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise RefusedError(f"{pattern!r} is not a regular expression: {error}") from None
    found: list[str] = []
    for path, about in worktree.files(folder):
        if about.st_size > SIZE_LIMIT:
            continue
        try:
            lines = worktree.read(path).splitlines()
        except (RefusedError, OSError):
            continue  # no text, a link to elsewhere, or gone meanwhile
        for number, line in enumerate(lines, 1):
            if wanted.search(line):
                found.append(f"{path}:{number}: {line[:LINE_LIMIT]}")
                if len(found) > MATCH_LIMIT:
                    return [*found[:MATCH_LIMIT], f"… (more than {MATCH_LIMIT} matches; search for something narrower)"]
    return found


if __name__ == "__main__":
    try:
        print("\n".join(search(Worktree(Path(sys.argv[1])), sys.argv[2], sys.argv[3])) or "no match")
    except RefusedError as refused:
        sys.exit(str(refused))
