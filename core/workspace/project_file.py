"""``.quarterdeck.toml``: what a repository says about how its work is prepared and judged.

An agent can write to the copy in its worktree. What decides over its own work is read from the base commit
(:func:`read_project_file_at`) or from the worktree before the agent starts.
"""

import difflib
import os
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from config.errors import UsageError
from core.workspace.git import git
from core.workspace.repository import Repository

NAME = ".quarterdeck.toml"
_LISTS = ("verify", "setup", "teardown", "include")
_STRINGS = ("base", "queue")
_MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """The settings of a repository. Commands are run by ``sh -c`` in the worktree, in their order."""

    verify: tuple[str, ...] | None = None
    """The gates; None where the file is silent, empty where it says that there are none."""
    setup: tuple[str, ...] = ()
    teardown: tuple[str, ...] = ()
    base: str | None = None
    """The branch that work starts from and lands on."""
    include: tuple[str, ...] = ()
    """Patterns of ignored files, relative to the root, that a worktree gets from the person's checkout."""
    queue: str | None = None
    """The folder, relative to the root, that holds the folder queue."""


def read_project_file(root: Path) -> ProjectFile:
    """Read the file from a work tree; an absent one sets nothing. Raises ``UsageError`` naming what is wrong with
    it."""
    path = root / NAME
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return ProjectFile()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "make it a regular file, not a link") from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UsageError(f"{path} is not a regular file", "replace it by one")
        return parse_project_file(file.read(_MAX_BYTES + 1), str(path))


async def read_project_file_at(repo: Repository, commit: str) -> ProjectFile:
    """Read the file as it is in a commit; else like :func:`read_project_file`."""
    where = f"{commit}:{NAME}"
    blob = await git("cat-file", "blob", where, at=repo.place, max_bytes=_MAX_BYTES + 1, accept=(0, 128))
    if blob.status and not blob.truncated:
        return ProjectFile()
    return parse_project_file(blob.stdout, f"{NAME} at {commit[:12]}")


def parse_project_file(content: bytes, name: str) -> ProjectFile:
    """Parse the content of the file called ``name``. Raises ``UsageError`` naming the file, the key, the value and
    the remedy."""
    if len(content) > _MAX_BYTES:
        raise UsageError(f"{name} is larger than {_MAX_BYTES // 1024} kB", "keep long scripts in files of their own")
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{name} is no valid TOML: {error}", "mend it at that place") from error
    for key in table:
        if key not in (*_LISTS, *_STRINGS):
            near = difflib.get_close_matches(key, (*_LISTS, *_STRINGS), 1)
            known = ", ".join((*_LISTS, *_STRINGS))
            hint = f"did you mean {near[0]!r}?" if near else f"known keys are {known}"
            raise UsageError(f"{name}: unknown key {_shown(key)}", hint)
    lists = {key: _strings(name, key, table[key]) for key in _LISTS if key in table}
    for pattern in lists.get("include", ()):
        _check_relative(name, "include", pattern)
    base, queue = (_string(name, key, table.get(key)) for key in _STRINGS)
    if queue is not None:
        _check_relative(name, "queue", queue)
    return ProjectFile(
        verify=lists.get("verify"),
        setup=lists.get("setup", ()),
        teardown=lists.get("teardown", ()),
        base=base,
        include=lists.get("include", ()),
        queue=queue,
    )


def is_relative_inside(pattern: str) -> bool:
    """Whether a path or pattern names something below the root, outside ``.git``."""
    parts = PurePosixPath(pattern).parts
    return bool(parts) and not pattern.startswith(("/", "~")) and ".." not in parts and ".git" not in parts


def _strings(name: str, key: str, value: object) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list):
        raise UsageError(f"{name}: {key} is {_shown(value)}", "give a string or a list of strings")
    for item in values:
        if not isinstance(item, str) or not item.strip() or "\0" in item:
            raise UsageError(f"{name}: {key} contains {_shown(item)}", "each entry is a string that is not empty")
    return tuple(values)


def _string(name: str, key: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise UsageError(f"{name}: {key} is {_shown(value)}", "give a string that is not empty")
    return value


def _check_relative(name: str, key: str, value: str) -> None:
    if not is_relative_inside(value):
        raise UsageError(
            f"{name}: {key} contains {_shown(value)}", "give a path below the root of the repository, without '..'"
        )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
