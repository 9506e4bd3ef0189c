"""Makes the two sample repositories: small but real, with failing tests, the same commit every time."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from config.errors import QuarterdeckError, UnavailableError
from core.demo import harbour, lantern

_BEGUN = "2026-01-01T00:00:00+0000"
"""When the repositories were begun: one moment for all, so that they are the same commit every time."""

VERIFY = "python3 check.py"
"""The gate of both: every test module passes, but for those which are known to fail."""


@dataclass(frozen=True, slots=True)
class SampleProject:
    """A repository as `qd project add` is told of it."""

    id: str
    path: Path
    name: str
    stack: str
    verify: tuple[str, ...]
    colours: tuple[str, str]
    """Primary and accent."""


async def make_samples(folder: Path) -> list[SampleProject]:
    """Make the repositories below ``folder``, which must not hold them yet.

    Raises:
        UnavailableError: there is no git.
        QuarterdeckError: git failed.
    """
    return [
        await _make(folder, "harbour", "Harbour", ("#2f6f9f", "#e0b050"), harbour.FILES),
        await _make(folder, "lantern", "Lantern", ("#7a4f9a", "#f0c060"), lantern.FILES),
    ]


async def _make(
    folder: Path, project: str, name: str, colours: tuple[str, str], files: Mapping[str, str]
) -> SampleProject:
    path = folder / project
    for place, text in files.items():
        file = path / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    await asyncio.to_thread(_commit, path, sorted(files), f"Begin {project}")
    return SampleProject(project, path, name, "python", (VERIFY,), colours)


def _commit(folder: Path, files: Sequence[str], message: str) -> None:
    """The files as the first commit of a new repository.

    GitPython serves here, where everything is our own: it obeys what the configuration of a repository asks for, which
    nobody may do in one of somebody else's.
    """
    try:
        from git import Actor, GitError, Repo
    except ImportError as error:
        raise UnavailableError("git is not on the PATH", "install git") from error
    demo = Actor("Demo", "demo@localhost")
    nobody = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TEMPLATE_DIR": ""}
    try:
        with Repo.init(folder, initial_branch="main", env=nobody) as repo:
            repo.index.add(files)
            repo.index.commit(
                message, author=demo, committer=demo, author_date=_BEGUN, commit_date=_BEGUN, skip_hooks=True
            )
            with repo.config_writer() as config:  # who merges here needs a name, also where git knows of none
                config.set_value("user", "name", demo.name).set_value("user", "email", demo.email)
    except GitError as error:
        raise QuarterdeckError(f"git failed in {folder}: {error}") from error
