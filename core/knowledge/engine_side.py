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
from core.knowledge.context import context_for, record
from core.knowledge.gathering import Work
from core.knowledge.learning import learn, learn_from_edit, patch_between
from core.knowledge.merges import learn_from_merges
from core.knowledge.recent import read_commit
from core.knowledge.told import Told
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
        vector = await runtime.knowing.queries.vector(wanted.query, work.project)

        async def choose(connection: asyncpg.Connection) -> Told:
            chosen = await context_for(connection, wanted, repo, budget=budget, vector=vector)
            await record(connection, run, chosen)
            return chosen

        told = await runtime.persist(choose)
    except Exception as error:  # noqa: BLE001 - a boundary: knowing less is no reason not to work
        log.warning("task #%s is told nothing: %r", work.number, error)
    return Telling(told.markdown(secrets.token_hex(6)), told.json())


async def keep_knowledge(runtime: "Runtime") -> None:
    """What comes round: each hour what an engine that died did not learn from any more, once a day what the base has taken back,
    once a week consolidation. Of many engines one does it.
    """
    for step in (_catch_up, _look_back, _weigh, _word):
        try:
            if await step(runtime):
                runtime.bell.ring("knowledge")
        except QuarterdeckError as error:  # no room in a budget, say: the templates' words stand
            log.warning("knowledge was not kept: %s", error.sentence())
        except Exception:  # a boundary: the house is kept without it, and it is tried again in an hour
            log.exception("knowledge was not kept")


async def _catch_up(runtime: "Runtime") -> bool:
    learned = bool(await runtime.persist(learn))
    return await _learn_from_landed(runtime) or learned


async def _look_back(runtime: "Runtime") -> bool:
    from core.knowledge.learned import FromProject, look_for_reverts

    if not await runtime.persist(pulls.due, "reverts", REVERTS_DAYS, datetime.now(UTC)):
        return False
    async with runtime.db.connection() as connection:
        known = await projects.list_projects(connection)
    reverted = 0
    for project in known:
        found = FromProject()
        await look_for_reverts(runtime.db, _who(runtime), project, found)
        reverted += found.reverted
    return reverted > 0


async def _weigh(runtime: "Runtime") -> bool:
    from core.knowledge.consolidation import consolidate

    async def weigh(connection: asyncpg.Connection) -> bool:
        if not await pulls.due(connection, "consolidation", CONSOLIDATION_DAYS, datetime.now(UTC)):
            return False
        await consolidate(connection)
        return True

    return await runtime.persist(weigh)


async def _word(runtime: "Runtime") -> bool:
    from core.knowledge.wording import Writer, word

    writer = runtime.settings.knowledge.writer
    if not writer:
        return False
    model = await Writer.open(runtime.db, runtime.paths, runtime.environ, writer, _who(runtime).actor)
    return bool(await word(runtime.db, _who(runtime), model))


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

        learned = await runtime.persist(work)
        if await _learn_from_landed(runtime, review.task) or learned:
            runtime.bell.ring("knowledge")
    except Exception:  # a boundary, as in learn_from
        log.exception("nothing was learned from the merge of task #%s", review.task)


async def learn_from(runtime: "Runtime", task: int, run: int, tree: Worktree) -> None:
    """Learn from a run that has just ended, whose work is in ``tree``."""
    try:
        heads = {run: await worktree.head(tree)} if tree.path.is_dir() else {}

        async def work(connection: asyncpg.Connection) -> bool:
            return bool(await learn(connection, task=task, heads=heads))

        learned = await runtime.persist(work)
        if await _learn_from_landed(runtime, task) or learned:
            runtime.bell.ring("knowledge")
    except Exception:  # a boundary: what was not learned now is learned within the hour
        log.exception("nothing was learned from task #%s", task)


async def _learn_from_landed(runtime: "Runtime", task: int | None = None) -> bool:
    """Look for patterns in what has landed, of a task or everywhere; whether any was proposed."""
    found = await learn_from_merges(runtime.db, _who(runtime), task=task)
    for words in found.missed:
        log.warning("nothing was learned from a merge: %s", words)
    return bool(found.patterns)


def _who(runtime: "Runtime") -> Principal:
    return Principal(f"engine:{runtime.name}", Role.ENGINE)
