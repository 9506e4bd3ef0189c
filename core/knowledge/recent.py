"""What a repository says for itself when a run begins: its rule files, and its latest changes near the task."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.knowledge.reading import shown
from core.knowledge.rules import RuleFile, Unread, rule_files
from core.knowledge.secrets import redact
from core.workspace import repository
from core.workspace.git import git
from core.workspace.repository import Repository

RECENT_DAYS = 30
MOST_CHANGES = 8


@dataclass(frozen=True, slots=True)
class Change:
    """A commit: short name, subject, age in days, and the files that it changed."""

    commit: str
    subject: str
    days: float
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Repo:
    """What was read of a repository at a commit."""

    commit: str
    rules: tuple[RuleFile, ...]
    changes: tuple[Change, ...]
    unread: tuple[Unread, ...] = ()


async def read_repository(path: str, base: str | None, paths: Sequence[str]) -> Repo:
    """Read what is needed for work on ``paths``, from the base branch as it is known here."""
    repo = await repository.open_repository(Path(path))
    commit = await repository.base_commit(repo, base or await repository.default_base(repo))
    return await read_commit(repo, commit, paths)


async def read_commit(repo: Repository, commit: str, paths: Sequence[str]) -> Repo:
    """As :func:`read_repository`, at a commit."""
    rules, unread = await rule_files(repo, commit, paths)
    return Repo(commit, tuple(rules), tuple(await recent_changes(repo, commit)), tuple(unread))


async def recent_changes(repo: Repository, commit: str, count: int = 40) -> list[Change]:
    """The latest changes of a branch, the newest first, merges left out."""
    output = await git(
        "log", "-z", f"-{count}", "--no-merges", f"--since={RECENT_DAYS}.days", "--format=%x01%h%x02%ct%x02%s%x02", "--name-only",
        "--no-renames", "--no-ext-diff", commit, "--", at=repo.place, max_bytes=2_000_000,
    )  # fmt: skip
    now = time.time()
    changes = []
    for part in shown(output.stdout).split("\x01")[1:]:
        short, at, subject, files = (*part.split("\x02", 3), "", "", "")[:4]
        names = tuple(name.strip("\n") for name in files.split("\0") if name.strip("\n"))
        if at.isdigit():
            changes.append(Change(short, redact(subject[:200]), max(0.0, (now - int(at)) / 86400), names[:200]))
    return changes
