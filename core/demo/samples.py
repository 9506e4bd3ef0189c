"""Makes the two sample repositories: small but real, with failing tests, the same commit every time."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from config.errors import QuarterdeckError, UnavailableError
from core.demo import harbour, lantern

GIT_SECONDS = 60.0

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
    await _git(path, "init", "--quiet", "--initial-branch=main")
    await _git(path, "add", "--all")
    await _git(path, "commit", "--quiet", "--message", f"Begin {project}")
    # whoever merges here needs a name, also on a machine where git knows of none
    await _git(path, "config", "user.name", "Demo")
    await _git(path, "config", "user.email", "demo@localhost")
    return SampleProject(project, path, name, "python", (VERIFY,), colours)


async def _git(folder: Path, *arguments: str) -> None:
    who = {"NAME": "Demo", "EMAIL": "demo@localhost", "DATE": "2026-01-01T00:00:00Z"}
    person = {f"GIT_{role}_{field}": value for role in ("AUTHOR", "COMMITTER") for field, value in who.items()}
    environ = {
        "PATH": os.environ.get("PATH", os.defpath),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **person,
    }
    try:
        process = await asyncio.create_subprocess_exec(
            *("git", "-C", str(folder), *arguments),
            env=environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except FileNotFoundError:
        raise UnavailableError("git is not on the PATH", "install git") from None
    try:
        output, _ = await asyncio.wait_for(process.communicate(), GIT_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise QuarterdeckError(f"git {arguments[0]} failed in {folder}: {output.decode('utf-8', 'replace').strip()}")
