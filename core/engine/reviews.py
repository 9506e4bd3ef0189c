"""Merges what a person has approved, after the gates have passed on the base as it is by then."""

from dataclasses import replace
from pathlib import Path

import asyncpg

from config.errors import ConflictError, QuarterdeckError
from core.engine.judge import MOST_ROUNDS, bring_onto_base, merge_message, pass_gates
from core.engine.prompt import base_environment
from core.engine.runtime import Runtime
from core.knowledge.engine_side import learn_from_merge
from core.verify.gates import Shell
from core.workspace import landing, repository, worktree
from core.workspace.project_file import read_project_file_at
from core.workspace.worktree import Worktree
from storage.queries import engine as rows
from storage.queries.engine import Approved


async def merge_approved(runtime: Runtime) -> None:
    """Merge every approved review whose worktree lies with this engine, one after the other."""
    async with runtime.db.connection() as connection:
        approved = await rows.approved_reviews(connection, runtime.engine)
    for review in approved:
        try:
            async with runtime.lock(Path(review.worktree)):
                await _merge(runtime, review)
        except QuarterdeckError as error:
            await _reopen(runtime, review, error.sentence())
        finally:
            runtime.pokes.forget(Path(review.folder))


async def _merge(runtime: Runtime, review: Approved) -> None:
    repo = await runtime.repository(review.repository)
    base = review.base or await runtime.default_base(repo)
    await repository.fetch(repo, if_older_than=0, base=base)
    tip = await repository.base_commit(repo, base)
    if await repository.contains(repo, tip, review.head_commit):
        await _merged(runtime, review, tip)
        return
    tree = await worktree.reopen(repo, Path(review.worktree)) or await worktree.create(
        repo, Path(review.worktree), review.branch, review.base_commit
    )
    handed_over = await worktree.head(tree)
    async with runtime.turn(repo, base):
        landed = await _land(runtime, review, replace(tree, base_commit=review.base_commit), base)
    if landed:
        await learn_from_merge(runtime, review, repo, handed_over)


async def _land(runtime: Runtime, review: Approved, tree: Worktree, base: str) -> bool:
    """Bring an approved change onto the base; whether it is there."""
    checked_on = review.base_commit
    for _ in range(MOST_ROUNDS):
        brought = await bring_onto_base(tree, base, if_older_than=0)
        if isinstance(brought, str):
            await _send_back(runtime, review, f"its change conflicts with {base}", brought)
            return False
        tree = brought
        if tree.base_commit != checked_on:
            commands = review.verify or (await read_project_file_at(tree.repo, tree.base_commit)).verify or ()
            failed = await pass_gates(runtime, review.run, _shell(runtime, review, tree), commands, None)
            if failed:
                words = f"the base moved, and on it the check {failed.command!r} does not pass"
                await _send_back(runtime, review, words, failed.feedback())
                return False
            checked_on = tree.base_commit
        try:
            landed = await landing.land(
                tree, base, method=review.merge_method, message=merge_message(review.task, review.title)
            )
        except landing.BaseMovedError:
            continue
        except ConflictError as error:
            await _reopen(runtime, review, error.sentence())
            return False
        await _merged(runtime, review, landed.commit)
        return True
    await _reopen(runtime, review, f"{base} moves too often; approve again")
    return False


def _shell(runtime: Runtime, review: Approved, tree: Worktree) -> Shell:
    return Shell(
        folder=Path(review.folder),
        sockets=runtime.paths.sockets,
        worktree=tree.path,
        env=base_environment(runtime.environ)
        | {"QD_PROJECT": review.project, "QD_TASK_NUMBER": str(review.task), "QD_WORKTREE": str(tree.path)},
        mark=review.mark,
        seconds=runtime.settings.run.gate_seconds,
    )


async def _merged(runtime: Runtime, review: Approved, commit: str) -> None:
    async def write(connection: asyncpg.Connection) -> None:
        await rows.settle_review(connection, review.review, "merged", None, commit)
        await rows.move_task(connection, review.task, ["review"], "completed")

    await runtime.persist(write)
    runtime.changed_task(review.task, "review", f"run:{review.run}", "janitor")


async def _send_back(runtime: Runtime, review: Approved, reason: str, feedback: str) -> None:
    """The agent has to mend its change: the task becomes ready again, with the trouble as its text."""

    async def write(connection: asyncpg.Connection) -> None:
        await rows.settle_review(connection, review.review, "conflict", reason, None)
        await rows.move_task(
            connection, review.task, ["review"], "pending", reason=reason, feedback=feedback, fresh=True
        )

    await runtime.persist(write)
    runtime.changed_task(review.task, "review")


async def _reopen(runtime: Runtime, review: Approved, note: str) -> None:
    """Nothing is wrong with the change; a person has to clear the way and approve again."""

    async def write(connection: asyncpg.Connection) -> None:
        await rows.settle_review(connection, review.review, "open", note, None)

    await runtime.persist(write)
    runtime.changed_task(review.task, "review")
