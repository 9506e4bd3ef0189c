"""Learning from a project's merged pull requests and reverts: reads GitHub and the repository, writes once.

Nothing is read from outside while a transaction is open.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import asyncpg

from config.errors import NotFoundError, QuarterdeckError
from core.integrations.github import GitHub
from core.knowledge.indexing import index_project
from core.knowledge.pulls import FromPull, learn_from_pull, read_material, read_pull, task_of
from core.knowledge.reverts import learn_from_reverts, read_reverts
from core.workspace import repository
from core.workspace.repository import Repository
from storage.database import Database, Principal
from storage.queries import knowledge_pulls as rows
from storage.queries.guard import transact
from storage.queries.projects import ProjectRow

T = TypeVar("T")
Transact = Callable[[Callable[[asyncpg.Connection], Awaitable[T]]], Awaitable[T]]


@dataclass(slots=True)
class FromProject:
    """What was learned from one project; ``missed``: what could not be done, in words."""

    pulls: list[FromPull] = field(default_factory=list)
    reverted: int = 0
    debited: int = 0
    indexed: int = 0
    """Items that were added to the index."""
    missed: list[str] = field(default_factory=list)


async def learn_from_pulls(
    db: Database,
    who: Principal,
    project: ProjectRow,
    github: GitHub,
    repo: str,
    *,
    numbers: Sequence[int] = (),
    since: datetime | None = None,
) -> FromProject:
    """Learn from these pull requests, or from all that were merged since."""
    learned = FromProject()
    clone, trouble = await _clone(project)
    if trouble:
        learned.missed.append(trouble)
    if clone is not None:
        try:
            async for progress in index_project(db, who, project.id, fetch_older_than=0.0):
                learned.indexed = progress.added
        except (
            QuarterdeckError
        ) as error:  # somebody else indexes it, or its remote is away: what was merged is learned all the same
            learned.missed.append(error.sentence())
    async with db.transaction(who) as connection:
        known = await rows.learned(connection, project.id)
    wanted = numbers or [n for n in await github.merged_since(repo, _of(since)) if n not in known]
    for number in wanted:
        if number in known:
            learned.pulls.append(FromPull(number, "", known=True))
            continue
        try:
            pull = await read_pull(github, repo, number)
        except NotFoundError:
            if numbers:
                raise
            continue
        async with db.transaction(who) as connection:
            task = await rows.own_task(connection, project.id, task_of(pull) or 0)
            head = await rows.head_of(connection, task) if task else None
        material = await read_material(github, project.id, repo, pull, clone, head)
        learned.pulls.append(await transact(db, who, lambda c, m=material: learn_from_pull(c, m)))  # type: ignore[misc]
    await look_for_reverts(db, who, project, learned, clone)
    return learned


async def look_for_reverts(
    db: Database, who: Principal, project: ProjectRow, learned: FromProject, clone: Repository | None = None
) -> None:
    """Debit what was told to runs whose work the base has taken back."""
    clone = clone or (await _clone(project))[0]
    if clone is None:
        return
    try:
        base = await repository.base_commit(clone, project.base or await repository.default_base(clone))
        reverts = await read_reverts(clone, base)
    except QuarterdeckError as error:
        learned.missed.append(error.sentence())
        return
    if reverts:
        found = await transact(db, who, lambda connection: learn_from_reverts(connection, project.id, reverts))
        learned.reverted, learned.debited = found


async def _clone(project: ProjectRow) -> tuple[Repository | None, str]:
    try:
        return await repository.open_repository(Path(project.path)), ""
    except QuarterdeckError as error:
        return None, error.sentence()


def _of(since: datetime | None) -> datetime:
    assert since is not None, "either numbers or a time are given"
    return since
