"""Learning by hand: what runs and reviews have taught since the last time."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import asyncpg
from pydantic import Field

from core.commands.knowledge_views import check_project
from core.commands.table import Context, command
from core.commands.values import Slug
from storage.database import Role
from storage.queries.guard import transact


@dataclass(frozen=True, slots=True)
class LearnView:
    """What was learned. ``met_again``: known troubles that were met once more; ``mended``: troubles whose fix is
    known now.
    """

    project: str | None
    lessons: int
    met_again: int
    mended: int
    reviews: int
    decisions: int
    promoted: tuple[int, ...] = ()
    deprecated: tuple[int, ...] = ()
    cold: int = 0


@command("learn", role=Role.SUPERVISOR)
async def learn(
    ctx: Context,
    project: Annotated[Slug | None, "only from this project"] = None,
    *,
    days: Annotated[int | None, Field(ge=1, le=3650), "only from the last so many days"] = None,
    consolidate: Annotated[bool, "also promote what holds in several projects and deprecate what fails"] = False,
) -> LearnView:
    """Learn from checks that failed and what mended them, from what people asked to be different, from decisions that turned out.

    Engines do it after each run. Doing it again learns nothing twice.
    """
    from core.knowledge import learning
    from core.knowledge.consolidation import Consolidated
    from core.knowledge.consolidation import consolidate as weigh

    since = ctx.now() - timedelta(days=days) if days else None

    async def work(connection: asyncpg.Connection) -> tuple[learning.Learned, Consolidated | None]:
        await check_project(connection, project)
        learned = await learning.learn(connection, project=project, since=since)
        return learned, await weigh(connection) if consolidate else None

    learned, weighed = await transact(ctx.db, ctx.who, work)
    await ctx.db.ring("knowledge")
    return LearnView(
        project,
        learned.lessons,
        learned.met_again,
        learned.mended,
        learned.reviews,
        learned.decisions,
        weighed.promoted if weighed else (),
        weighed.deprecated if weighed else (),
        weighed.cold if weighed else 0,
    )
