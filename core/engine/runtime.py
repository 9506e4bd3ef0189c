"""What the parts of one engine share."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakValueDictionary

import asyncpg

from config.errors import UnavailableError
from config.paths import Paths
from config.settings import Settings
from core.engine.bell import Bell
from core.engine.shipper import Shipper
from core.engine.watching import Pokes
from core.workspace import repository
from core.workspace.repository import Repository
from storage.database import Database

if TYPE_CHECKING:
    from core.engine.money import Money
    from core.engine.tooling import Tooling
    from core.knowledge.keeping import Keeping

BASE_IS_FRESH = 60.0
"""Seconds for which the name of a repository's default branch is believed."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True)
class Runtime:
    """One engine's identity, its means and what it holds."""

    engine: int
    name: str
    db: Database
    paths: Paths
    settings: Settings
    environ: Mapping[str, str]
    bell: Bell
    shipper: Shipper
    money: "Money" = field(init=False)
    tooling: "Tooling" = field(init=False)
    knowing: "Keeping" = field(init=False)
    pokes: Pokes = field(default_factory=Pokes)
    _locks: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)
    """Each for as long as somebody holds it or waits for it."""
    _repositories: dict[str, Repository] = field(default_factory=dict)
    _bases: dict[Path, tuple[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from core.engine.money import Money
        from core.engine.tooling import Tooling
        from core.knowledge.keeping import Keeping

        self.money = Money(self)
        self.tooling = Tooling(self)
        self.knowing = Keeping(self)

    async def repository(self, path: str) -> Repository:
        """The repository at ``path``, looked into once as long as it stays where it is."""
        known = self._repositories.get(path)
        if known is None or not known.git_dir.is_dir():
            known = self._repositories[path] = await repository.open_repository(Path(path))
        return known

    async def default_base(self, repo: Repository) -> str:
        """The base branch of a project that names none, looked up at most once a minute."""
        now = asyncio.get_running_loop().time()
        name, at = self._bases.get(repo.git_dir, ("", -BASE_IS_FRESH))
        if now - at >= BASE_IS_FRESH:
            name = await repository.default_base(repo)
            self._bases[repo.git_dir] = (name, now)
        return name

    def lock(self, tree: Path) -> asyncio.Lock:
        """Whoever works in a worktree, merges from it or removes it holds this."""
        return self._locks.setdefault(str(tree), asyncio.Lock())

    def turn(self, repo: Repository, base: str) -> asyncio.Lock:
        """Whoever lands on a base of a repository holds this."""
        return self._locks.setdefault(f"{repo.git_dir} {base}", asyncio.Lock())

    async def persist(
        self, work: Callable[Concatenate[asyncpg.Connection, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``work`` with a connection in a transaction, again and again until the database takes it.

        The reply of a commit can be lost, so ``work`` may run again after it has succeeded: it must be guarded by a
        fence or a number.
        """
        delay = 0.05
        while True:
            try:
                async with self.db.connection() as connection, connection.transaction():
                    return await work(connection, *args, **kwargs)
            except (UnavailableError, asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
                await asyncio.sleep(delay)
                delay = min(delay * 2, 1.0)

    def changed_task(self, number: int, *more: str) -> None:
        """Ring for a task."""
        self.bell.ring("task", f"task:{number}", *more)


def run_folder(paths: Paths, run_id: Any) -> Path:
    """Where everything of one run lies on this host."""
    return paths.runs / str(run_id)
