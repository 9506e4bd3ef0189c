"""Ignored files that a worktree needs, such as ``.env``, copied from the person's checkout.

Only what git ignores in the worktree too is copied, so that nothing of it can end up in a commit; what is there
already stays.
"""

import asyncio
import fnmatch
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from config.errors import UsageError
from core.workspace.checkout import Worktree, place
from core.workspace.git import LONG, git
from core.workspace.project_file import is_relative_inside

MAX_BYTES = 256 * 1024 * 1024
MAX_FILES = 20_000


async def include(
    worktree: Worktree, source: Path, patterns: Sequence[str], *, max_bytes: int = MAX_BYTES
) -> list[str]:
    """Copy what matches the patterns (globs relative to ``source``; a folder means all in it); returns the paths
    copied.

    Links are followed only within ``source``. Raises ``UsageError`` for a pattern that leads outside and when it is
    more than ``max_bytes``.
    """
    for pattern in patterns:
        if not is_relative_inside(pattern):
            raise UsageError(
                f"include contains {pattern!r}", "give a path below the root of the repository, without '..'"
            )
    if not patterns:
        return []
    found = await asyncio.to_thread(_find, source, worktree.path, [pattern.rstrip("/") for pattern in patterns])
    if not found:
        return []
    stdin = b"".join(os.fsencode(name) + b"\0" for name in found)
    ignored = await git("check-ignore", "-z", "--stdin", at=place(worktree), stdin=stdin, accept=(0, 1), timeout=LONG)
    return await asyncio.to_thread(_copy_all, source, worktree.path, ignored.fields, max_bytes)


def _find(source: Path, target: Path, patterns: Sequence[str]) -> list[str]:
    """The files of ``source`` that match and that there is a free place for in ``target``."""
    found: list[str] = []
    split = [tuple(part for part in pattern.split("/") if part not in ("", ".")) for pattern in patterns]
    for name in _walk(source, "", split):
        if not os.path.lexists(target / name) and not _leads_elsewhere(target, name):
            found.append(name)
        if len(found) > MAX_FILES:
            raise UsageError(f"include matches more than {MAX_FILES} files in {source}", "narrow its patterns")
    return found


def _walk(source: Path, below: str, patterns: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Files that match, entering only folders in which something can match. An empty pattern matches all."""
    try:
        entries = sorted(os.scandir(source / below), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name == ".git":
            continue
        name = below + entry.name
        left = [rest for pattern in patterns for rest in _advance(pattern, entry.name)]
        whole = any(not rest for rest in left)
        if not left or (whole and _is_foreign(source, name, entry)):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(source, f"{name}/", [()] if whole else left)
        elif whole and entry.is_file():
            yield name


def _advance(pattern: tuple[str, ...], name: str) -> list[tuple[str, ...]]:
    """What is left of a pattern below an entry of this name; nothing where it does not match."""
    if not pattern:
        return [()]
    first, *rest = pattern
    if first == "**":
        return [pattern, *_advance(tuple(rest) or ("*",), name)]
    return [tuple(rest)] if fnmatch.fnmatchcase(name, first) else []


def _is_foreign(source: Path, name: str, entry: "os.DirEntry[str]") -> bool:
    return entry.is_symlink() and not (source / name).resolve().is_relative_to(source.resolve())


def _leads_elsewhere(target: Path, name: str) -> bool:
    """Whether a link or a file in the worktree stands where a folder would have to be."""
    folders = list(Path(name).parents)[:-1]
    return any(os.path.lexists(target / at) and not _is_folder(target / at) for at in folders)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _copy_all(source: Path, target: Path, names: Sequence[str], budget: int) -> list[str]:
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        budget -= _copy(source / name, target / name, budget)
    return list(names)


def _copy(source: Path, goal: Path, budget: int) -> int:
    reader = os.open(source.resolve(), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(reader, "rb") as content:
        state = os.fstat(reader)
        if not stat.S_ISREG(state.st_mode) or state.st_size > budget:
            raise UsageError(f"include copies more than it may with {source}", "narrow its patterns")
        mode = stat.S_IMODE(state.st_mode) & 0o777
        writer = os.open(goal, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        size = 0
        with os.fdopen(writer, "wb") as copy:
            while size <= budget and (chunk := content.read(1 << 20)):
                size += copy.write(chunk)
    return size
