"""Keeps what is known of repositories as they are: an engine indexes again whatever branch of a project moves.

A merge, a fetch and a commit of the person all move a ref, and that is what is watched; a slow sweep is behind it. What is not committed
is not read: runs begin at the base branch, and must be told what stands there.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from config.errors import ConflictError, QuarterdeckError
from core.knowledge.embedding import Queries, Reach
from core.knowledge.indexing import index_project
from core.knowledge.vectors import Vectors
from core.workspace import repository
from core.workspace.repository import Repository
from storage.database import Principal, Role
from storage.queries import knowledge_index as rows
from storage.queries.knowledge_index import CorpusRow

if TYPE_CHECKING:
    from core.engine.runtime import Runtime

log = logging.getLogger("qd.knowledge")

SWEEP = 30.0
"""Seconds between looks at every project, for what no bell has told of; the first one is so long after the start."""
LOOK = 5.0
"""Seconds between looks at which projects there are to be watched."""
SETTLE_MS = 300
"""A ref that moves again within so many milliseconds is looked at once."""
MOST_WATCHED = 500
"""Repositories that are watched; further ones are seen by the sweep."""


class Keeping:
    """One engine's care for what is known: vectors of what it searches by, and the index of every project."""

    def __init__(self, runtime: "Runtime") -> None:
        self._runtime = runtime
        self._who = Principal(f"engine:{runtime.name}", Role.ENGINE)
        reach = Reach(runtime.db, runtime.paths, runtime.environ, self._who.actor)
        self.queries = Queries(reach)
        self.vectors = Vectors(reach, self._who)
        self._said: dict[str, str] = {}
        self._marks: dict[str, tuple[object, ...]] = {}
        self._moved: set[str] = set()
        self._bell = asyncio.Event()

    async def run(self) -> None:
        """Index until cancelled, one project at a time; a project that was never indexed waits for the sweep."""
        watching = asyncio.create_task(self._watch())
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SWEEP):
                        await self._bell.wait()
                self._bell.clear()
                moved, self._moved = self._moved, set()
                await self.refresh(moved or None)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def refresh(self, projects: Iterable[str] | None) -> None:
        """Index these projects, or all, where their base has moved. Vectors are made elsewhere: what is gone must not be found for as
        long as a service takes its time over them.
        """
        if self._runtime.settings.knowledge.index == "off":
            return
        wanted = None if projects is None else set(projects)
        async with self._runtime.db.transaction(self._who) as connection:
            known = [
                one for one in await rows.freshness(connection) if one.path and (not wanted or one.project in wanted)
            ]
        for one in known:
            assert one.project is not None
            try:
                await self._index(one)
                self._said.pop(one.project, None)
            except ConflictError:
                continue  # another engine, or a person, is at it
            except (QuarterdeckError, asyncpg.PostgresError) as error:  # the others are indexed all the same
                words = error.sentence() if isinstance(error, QuarterdeckError) else repr(error)
                if self._said.get(one.project) != words:
                    self._said[one.project] = words
                    log.warning("project %s is not indexed: %s", one.project, words)

    async def _index(self, one: CorpusRow) -> None:
        assert one.path is not None
        assert one.project is not None
        repo = await self._runtime.repository(one.path)
        mark = (one.head, one.base, *_mark(repo, one.base or one.branch or ""))
        if one.target is None and self._marks.get(one.project) == mark:
            return
        base = one.base or await self._runtime.default_base(repo)
        if one.target is None and one.head == await repository.base_commit(repo, base):
            self._marks[one.project] = mark
            return
        async for _ in index_project(self._runtime.db, self._who, one.project):
            pass

    async def _watched(self) -> dict[Path, str]:
        """The folders of refs of the projects that are indexed already."""
        async with self._runtime.db.transaction(self._who) as connection:
            known = await rows.freshness(connection)
        found = {}
        for one in known[:MOST_WATCHED]:
            if one.path and one.project and one.head:
                try:
                    repo = await self._runtime.repository(one.path)
                except QuarterdeckError:
                    continue
                refs = repo.git_dir / "refs"
                if refs.is_dir():
                    found[refs.resolve()] = one.project
        return found

    async def _watch(self) -> None:
        """Ring for every project of which a ref has moved."""
        import watchfiles

        while True:
            try:
                watched = await self._watched()
                if not watched:
                    await asyncio.sleep(LOOK)
                    continue
                moves = watchfiles.awatch(
                    *watched,
                    step=50,
                    debounce=SETTLE_MS,
                    rust_timeout=int(LOOK * 1000),
                    yield_on_timeout=True,
                    watch_filter=None,
                )
                begun = False
                async for changes in moves:
                    touched = [Path(path) for _, path in changes]
                    self._moved |= {  # what moved before the watch began is looked for once
                        name
                        for refs, name in watched.items()
                        if not begun or any(path.is_relative_to(refs) for path in touched)
                    }
                    begun = True
                    if self._moved:
                        self._bell.set()
                    if not changes and await self._watched() != watched:
                        break
            except (
                OSError,
                RuntimeError,
                QuarterdeckError,
            ) as error:  # too many watches, a folder that went away, no database
                log.warning("repositories are looked at every %.0f s: %s", SWEEP, error)
                await asyncio.sleep(SWEEP)


def _mark(repo: Repository, branch: str) -> tuple[int, ...]:
    """What changes when a branch moves, at the price of a few looks at the disk: no program needs to be started."""
    names = (
        "HEAD",
        "packed-refs",
        f"refs/heads/{branch}",
        f"refs/remotes/origin/{branch}",
        "refs/remotes/origin/HEAD",
        "reftable",
    )
    return tuple(_changed_at(repo.git_dir / name) for name in names)


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
