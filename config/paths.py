"""Where Quarterdeck keeps its things.

With ``QD_HOME`` set everything lies under it; otherwise the XDG base directories hold it (``~/Library`` on macOS).
Without ``QD_HOME``, ``HOME`` and a home directory in the user database, a folder per user below the temporary folder
is used.
"""

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from config.errors import UsageError

SOCKET_PATH_LIMIT = 100
"""Bytes that a Unix socket's path may have on every supported system (Linux 107, macOS 103), with a little room."""


@dataclass(frozen=True, slots=True)
class Paths:
    """The folders of one installation. None of them is created until it is used."""

    config: Path
    """The folder of ``config.toml``, keymaps, adapters and standards of the person."""
    state: Path
    """Runs, worktrees, repositories, logs, locks."""
    database: Path
    """The embedded Postgres cluster."""

    @property
    def config_file(self) -> Path:
        """The settings of the person."""
        return self.config / "config.toml"

    @property
    def runs(self) -> Path:
        """One folder per run: spec, prompt, context, spools, exit record."""
        return self.state / "runs"

    @property
    def worktrees(self) -> Path:
        """One folder per project, in it one worktree per task."""
        return self.state / "worktrees"

    @property
    def repositories(self) -> Path:
        """Clones of the projects that were given by URL."""
        return self.state / "repositories"

    @property
    def logs(self) -> Path:
        """Log files of the engine and of the database server."""
        return self.state / "logs"

    @property
    def engine_lock(self) -> Path:
        """Held by the one engine that serves this state folder."""
        return self.state / "engine.lock"

    @property
    def sockets(self) -> Path:
        """A folder, mode 0700, whose path is short enough to hold Unix sockets wherever the state lies."""
        near = self.state / "sockets"
        if len(os.fsencode(near)) + 24 <= SOCKET_PATH_LIMIT:
            return near
        digest = hashlib.sha256(os.fsencode(self.state)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"qd-{os.getuid()}-{digest}"


def written_out(path: str | Path) -> Path:
    """A path in which ``~`` and ``~anna`` are the homes that they stand for. Raises :class:`UsageError` for the home of nobody."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UsageError(
            f"{str(path)[:200]} begins with the home of somebody who is not known here", "write the whole path"
        ) from None


def resolve_paths(environ: Mapping[str, str]) -> Paths:
    """Find the folders from the environment (``QD_HOME``, else XDG through ``platformdirs``)."""
    home = environ.get("QD_HOME")
    if home:
        root = written_out(home).absolute()
        return Paths(config=root / "config", state=root / "state", database=root / "postgres")
    from platformdirs import PlatformDirs

    try:
        Path.home()
    except RuntimeError:
        root = Path(tempfile.gettempdir()) / f"quarterdeck-{os.getuid()}"
        return Paths(config=root / "config", state=root / "state", database=root / "postgres")
    dirs = PlatformDirs("quarterdeck", appauthor=False)
    state = Path(dirs.user_state_dir)
    return Paths(config=Path(dirs.user_config_dir), state=state, database=state / "postgres")
