"""Learning by hand: what runs, reviews and merged pull requests have taught since the last time."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import asyncpg

from config.errors import NotFoundError, QuarterdeckError, UsageError
from core.commands.checks import Within
from core.commands.knowledge_views import check_project
from core.commands.table import Context, Metavar, command
from core.commands.values import Line, Slug
from storage.database import Role
from storage.queries import projects
from storage.queries.guard import transact
from storage.queries.projects import ProjectRow

if TYPE_CHECKING:
    from core.knowledge.learned import FromProject


@dataclass(frozen=True, slots=True)
class PullView:
    """What one pull request taught. ``lessons`` and ``patterns`` are proposals: numbers of items that wait to be
    accepted; ``known``: it was learned from before.
    """

    project: str
    number: int
    title: str
    known: bool
    task: int | None
    lessons: tuple[int, ...]
    patterns: tuple[int, ...]
    decisions: int
    credited: int


@dataclass(frozen=True, slots=True)
class LearnView:
    """What was learned. ``met_again``: known troubles that were met once more; ``mended``: troubles whose fix is
    known now; ``reverted``: merged work of runs that was taken back; ``contradictions``: pairs of items that say
    opposite things; ``doubted``: standards that are proposed to be taken out; ``patterns``: proposed from what was
    merged here; ``worded``: items that a model has worded; ``missed``: what could not be done.
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
    contradictions: tuple[tuple[int, int], ...] = ()
    standards: tuple[int, ...] = ()
    doubted: tuple[int, ...] = ()
    patterns: tuple[int, ...] = ()
    pulls: tuple[PullView, ...] = ()
    reverted: int = 0
    worded: int = 0
    missed: tuple[str, ...] = field(default=())


@command("learn", role=Role.SUPERVISOR)
async def learn(
    ctx: Context,
    project: Annotated[Slug | None, "only from this project"] = None,
    *,
    days: Annotated[int | None, Within(ge=1, le=3650), "only from the last so many days; of pull requests 30"] = None,
    from_prs: Annotated[bool, "also from pull requests that were merged on GitHub"] = False,
    pr: Annotated[tuple[Line, ...], "also from this one: its number or its address", Metavar("NUMBER|URL")] = (),
    consolidate: Annotated[bool, "also promote what holds in several projects and deprecate what fails"] = False,
) -> LearnView:
    """Learn from checks that failed and what mended them, from what people asked to be different, from merges.

    Engines learn from each run by themselves, and consolidate weekly. Of a pull request the changed code is indexed, what
    reviewers wanted and how new files are made is proposed (`qd knowledge list --state proposed`), decisions of its task
    get their outcome, and what its run was told gets its credit; work that was reverted loses it. Doing it again
    learns nothing twice.
    """
    from core.knowledge import learning
    from core.knowledge.consolidation import Consolidated
    from core.knowledge.consolidation import consolidate as weigh
    from core.knowledge.learned import FromProject, look_for_reverts
    from core.knowledge.merges import learn_from_merges

    since = ctx.now() - timedelta(days=days) if days else None

    async def work(connection: asyncpg.Connection) -> tuple[learning.Learned, list[ProjectRow]]:
        await check_project(connection, project)
        learned = await learning.learn(connection, project=project, since=since)
        return learned, await projects.list_projects(connection)

    learned, known = await transact(ctx.db, ctx.who, work)
    merges = await learn_from_merges(ctx.db, ctx.who, project=project)
    chosen = [row for row in known if project in (None, row.id)]
    pulls: list[PullView] = []
    reverts = FromProject()
    if from_prs or pr:
        pulls = await _from_pulls(ctx, chosen, known, project, pr, days or 30, reverts)
    else:
        for row in chosen:
            found = FromProject()
            await look_for_reverts(ctx.db, ctx.who, row, found)
            reverts.reverted += found.reverted
    weighed: Consolidated | None = None
    if consolidate:
        weighed = await transact(ctx.db, ctx.who, weigh)
    worded = await _word(ctx, reverts)
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
        weighed.contradictions if weighed else (),
        weighed.standards if weighed else (),
        weighed.doubted if weighed else (),
        merges.patterns,
        tuple(pulls),
        reverts.reverted,
        worded,
        (*reverts.missed, *merges.missed),
    )


async def _word(ctx: Context, total: "FromProject") -> int:
    """Have the model that is set word what templates have worded; how many items."""
    if ctx.settings.knowledge.writer is None:
        return 0
    from core.knowledge.wording import Writer, word

    try:
        writer = await Writer.open(ctx.db, ctx.paths, ctx.environ, ctx.settings.knowledge.writer, ctx.who.actor)
        return await word(ctx.db, ctx.who, writer)
    except QuarterdeckError as error:  # the templates' words stand
        total.missed.append(error.sentence())
        return 0


async def _from_pulls(
    ctx: Context,
    chosen: list[ProjectRow],
    known: list[ProjectRow],
    project: str | None,
    named: tuple[str, ...],
    days: int,
    total: "FromProject",
) -> list[PullView]:
    """Learn from the named pull requests, else from all of the projects on GitHub that were merged lately."""
    import asyncio

    import httpx

    from core.integrations.github import TOKEN, GitHub, repository_of
    from core.knowledge.learned import learn_from_pulls
    from core.secrets.store import find, open_store

    wanted = _wanted(named, chosen, known, project)
    if not named:
        wanted = {row.id: (row, ()) for row in chosen if repository_of(row.repo)}
        if not wanted:
            raise NotFoundError("no project here has its repository on GitHub", "see `qd project list`")
    store = open_store(ctx.paths, ctx.environ)
    views: list[PullView] = []
    since = ctx.now() - timedelta(days=days)
    async with httpx.AsyncClient() as client:
        for row, numbers in wanted.values():
            repo = repository_of(row.repo)
            assert repo is not None
            token = await asyncio.to_thread(find, store, TOKEN, row.id)
            github = GitHub(client, token, ctx.paths.state / "github", api=ctx.settings.github.api_url, now=ctx.now)
            found = await learn_from_pulls(ctx.db, ctx.who, row, github, repo, numbers=numbers, since=since)
            total.reverted += found.reverted
            total.missed += found.missed
            views += [
                PullView(
                    row.id, one.number, one.title, one.known, one.task, tuple(one.lessons), tuple(one.patterns),
                    one.decisions, one.credited,
                )
                for one in found.pulls
            ]  # fmt: skip
    return views


def _wanted(
    named: tuple[str, ...], chosen: list[ProjectRow], known: list[ProjectRow], project: str | None
) -> dict[str, tuple[ProjectRow, tuple[int, ...]]]:
    """Which pull requests of which project are meant. Raises UsageError, NotFoundError."""
    from core.integrations.github import pull_of, repository_of

    wanted: dict[str, tuple[ProjectRow, tuple[int, ...]]] = {}
    for word in named:
        meant = pull_of(word)
        if meant is None:
            raise UsageError(f"{word!r} is no pull request", "give its number, or its address on GitHub")
        repo, number = meant
        if repo is None:
            if project is None and len(known) != 1:
                raise UsageError(f"of which project #{number} is, is not said", "name the project, or give its address")
            row = chosen[0]
            if repository_of(row.repo) is None:
                raise NotFoundError(f"project {row.id} has its repository not on GitHub", "see `qd project show`")
        else:
            here = [row for row in chosen if (repository_of(row.repo) or "").lower() == repo.lower()]
            if not here:
                raise NotFoundError(f"no project here is {repo}", "see `qd project list`")
            row = here[0]
        before = wanted.get(row.id, (row, ()))[1]
        wanted[row.id] = (row, (*before, number))
    return wanted
