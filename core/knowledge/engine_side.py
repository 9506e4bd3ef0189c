"""What an engine has to do with knowledge: tell a run what is known before it begins, learn when it has ended.

Neither may ever stop a run: what goes wrong here is written into the log, and the run goes on knowing less.
"""

import logging
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import asyncpg

from config.errors import QuarterdeckError
from core.knowledge.context import Told, context_for, record
from core.knowledge.gathering import Work
from core.knowledge.learning import learn, learn_from_edit, patch_between
from core.knowledge.recent import read_commit
from core.workspace import worktree
from core.workspace.repository import Repository
from core.workspace.worktree import Worktree
from storage.database import Principal, Role
from storage.queries import engine as engine_rows
from storage.queries import knowledge_context as rows
from storage.queries import knowledge_pulls as pulls
from storage.queries import projects

if TYPE_CHECKING:
    from core.engine.runtime import Runtime

log = logging.getLogger("qd.knowledge")

REVERTS_DAYS, CONSOLIDATION_DAYS = 1.0, 7.0


@dataclass(frozen=True, slots=True)
class Telling:
    """What goes into the prompt and into the context file of a run."""

    prompt: str
    file: str


async def tell(runtime: "Runtime", work: engine_rows.Work, run: int, tree: Worktree) -> Telling:
    """Choose what a run is told, and write down that it was."""
    budget = runtime.settings.knowledge.context_tokens
    told = Told(work.project, work.number, budget, 0)
    try:
        async with runtime.db.connection() as connection:
            paths = await rows.paths_of(connection, work.number)
        repo = await read_commit(tree.repo, tree.base_commit, paths)
        wanted = Work(work.project, work.number, work.title, work.description, paths, work.feedback)

        async def choose(connection: asyncpg.Connection) -> Told:
            chosen = await context_for(connection, wanted, repo, budget=budget, embedder=runtime.knowing.queries)
            await record(connection, run, chosen)
            return chosen

        told = await runtime.persist(choose)
    except Exception as error:  # noqa: BLE001 - a boundary: knowing less is no reason not to work
        log.warning("task #%s is told nothing: %r", work.number, error)
    return Telling(told.markdown(secrets.token_hex(6)), told.json())


async def keep_knowledge(runtime: "Runtime") -> None:
    """What comes round: once a day what the base has taken back, once a week consolidation. Of many engines one does it."""
    from core.knowledge.consolidation import consolidate
    from core.knowledge.learned import FromProject, look_for_reverts
    from core.knowledge.wording import Writer, word

    now = datetime.now(UTC)
    try:
        if await runtime.persist(pulls.due, "reverts", REVERTS_DAYS, now):
            async with runtime.db.connection() as connection:
                known = await projects.list_projects(connection)
            for project in known:
                who = Principal(f"engine:{runtime.name}", Role.ENGINE)
                await look_for_reverts(runtime.db, who, project, FromProject())

        async def weigh(connection: asyncpg.Connection) -> bool:
            if not await pulls.due(connection, "consolidation", CONSOLIDATION_DAYS, now):
                return False
            await consolidate(connection)
            return True

        if await runtime.persist(weigh):
            runtime.bell.ring("knowledge")
        if writer := runtime.settings.knowledge.writer:
            who = Principal(f"engine:{runtime.name}", Role.ENGINE)
            model = await Writer.open(runtime.db, runtime.paths, runtime.environ, writer, who.actor)
            if await word(runtime.db, who, model):
                runtime.bell.ring("knowledge")
    except QuarterdeckError as error:  # no room in a budget, say: the templates' words stand
        log.warning("knowledge was not kept: %s", error.sentence())
    except Exception:  # a boundary: the house is kept without it, and it is tried again in an hour
        log.exception("knowledge was not kept")


async def learn_from_merge(
    runtime: "Runtime", review: engine_rows.Approved, repo: Repository, handed_over: str
) -> None:
    """Learn from a change that a person has approved; ``handed_over``: the commit that stood there when it was merged,
    which is another than the run's where the person changed it first.
    """
    try:
        patch = ""
        if handed_over != review.head_commit:
            patch = await patch_between(repo, review.head_commit, handed_over)

        async def work(connection: asyncpg.Connection) -> bool:
            learned = bool(await learn(connection, task=review.task))
            if patch:
                learned |= await learn_from_edit(
                    connection,
                    project=review.project,
                    task=review.task,
                    run=review.run,
                    title=review.title,
                    patch=patch,
                    head=handed_over,
                )
            return learned

        if await runtime.persist(work):
            runtime.bell.ring("knowledge")
    except Exception:  # a boundary, as in learn_from
        log.exception("nothing was learned from the merge of task #%s", review.task)


async def learn_from(runtime: "Runtime", task: int, run: int, tree: Worktree) -> None:
    """Learn from a run that has just ended, whose work is in ``tree``."""
    try:
        heads = {run: await worktree.head(tree)} if tree.path.is_dir() else {}

        async def work(connection: asyncpg.Connection) -> bool:
            return bool(await learn(connection, task=task, heads=heads))

        if await runtime.persist(work):
            runtime.bell.ring("knowledge")
    except Exception:  # a boundary: what was not learned now is learned by `qd learn`
        log.exception("nothing was learned from task #%s", task)
