"""Decides what a run is worth: the supervisor says "done", never the agent.

Its change is committed, rebased on the fetched base and put through the project's gates. Only then is it merged or laid
before a person.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING

from config.errors import ConflictError
from core.agents.adapter import Verdict
from core.engine.ending import Ended, Judgement, Stop, attempt_failed, stopped
from core.engine.shipper import OvertakenError
from core.events import EventKind
from core.verify.gates import GateResult, Shell, run_gates
from core.workspace import landing, repository, worktree
from core.workspace.repository import Repository
from core.workspace.worktree import Worktree
from storage.queries import engine as rows

if TYPE_CHECKING:
    from core.engine.life import Life
    from core.engine.runtime import Runtime

MOST_ROUNDS = 8
"""How often a change is brought onto a base that moves under it before the task is left to a person."""

_LOOK_SECONDS = 1.0

_LIMITS = {
    "time_limit": "it ran longer than it may",
    "idle_limit": "it was silent for too long",
    "memory_limit": "it used more memory than it may",
    "output_limit": "it printed more than it may",
    "spool_failed": "its output could not be stored",
    "spawn_failed": "its program could not be started",
}


LANDED = Judgement("succeeded", "completed", columns={"verdict": "passed"})
"""On a task whose work is on the base already."""


async def judge(life: "Life", tree: Worktree, verdict: Verdict, ended: Ended) -> Judgement:
    """The judgement on a run whose agent has ended."""
    if early := _ended_early(life, ended):
        return early
    if not verdict.ok:
        return attempt_failed(verdict.reason, pause=True)
    if verdict.denials:
        return attempt_failed(f"it was denied what it wanted to do: {', '.join(verdict.denials)[:400]}")
    await worktree.commit_all(tree, f"{life.work.title}\n\nqd task #{life.work.number}")
    return await _verify(life, tree)


def _ended_early(life: "Life", ended: Ended) -> Judgement | None:
    if life.stopped:
        return stopped(life.stopped)
    if ended.reason == "stopped":
        return stopped(Stop.parse(ended.detail) or Stop("person", ended.detail or "stopped"))
    if ended.reason in _LIMITS:
        words = _LIMITS[ended.reason]
        return attempt_failed(f"{words} ({ended.detail})" if ended.detail else words, pause=True)
    return None


async def _verify(life: "Life", tree: Worktree) -> Judgement:
    """Rebase, gates, landing; again while the base moves.

    Changes pass their gates side by side, as long as none overtakes another. One that was overtaken keeps the others
    from landing until it has landed itself: else quick ones could keep a slow one out for ever.
    """
    work, runtime = life.work, life.runtime
    base = work.base or await runtime.default_base(tree.repo)
    turn = runtime.turn(tree.repo, base)
    async with AsyncExitStack() as held:
        for round_ in range(MOST_ROUNDS):
            if round_ == 1:
                await held.enter_async_context(_taken(turn, life))
            if life.stopped:
                return stopped(life.stopped)
            brought = await bring_onto_base(tree, base, if_older_than=0)
            if isinstance(brought, str):
                return attempt_failed(f"its change conflicts with {base}", brought)
            tree = brought
            if (judgement := await _check(life, tree)) is not None:
                return judgement
            try:
                async with turn if round_ == 0 else nullcontext():
                    await landing.land(
                        tree, base, method=work.merge_method, message=merge_message(work.number, work.title)
                    )
            except landing.BaseMovedError:
                continue
            except ConflictError as error:
                return Judgement("succeeded", "review", review_note=error.sentence(), columns={"verdict": "passed"})
            return LANDED
    return Judgement(
        "succeeded", "review", review_note=f"{base} moved too often to merge by itself", columns={"verdict": "passed"}
    )


async def _check(life: "Life", tree: Worktree) -> Judgement | None:
    """The judgement on a change that stands on the tip of its base; None when it may land there."""
    from core.engine.starting import gate_commands, shell

    work, runtime = life.work, life.runtime
    # What lands stands on this very base: whatever an earlier run has landed is in it, or never will be.
    if await has_landed(life, tree.repo, tree.base_commit):
        return LANDED
    if await worktree.is_empty_change(tree):
        return attempt_failed("the agent changed nothing")
    failed = await pass_gates(runtime, life.run, shell(life, tree), await gate_commands(work, tree), life)
    if life.stopped:
        return stopped(life.stopped)
    if failed:
        return _gate_judgement(failed)
    head = await worktree.head(tree)
    stat = await worktree.diff_stat(tree, tree.base_commit, head)
    columns = {
        "verdict": "passed",
        "base_commit": tree.base_commit,
        "head_commit": head,
        "files_changed": stat.files_changed,
        "insertions": stat.insertions,
        "deletions": stat.deletions,
    }
    if not work.auto_merge:
        return Judgement("succeeded", "review", columns=columns)
    # The head is written down before it lands, so that a crash in between is recognised; and a run that was given
    # to another engine meanwhile lands nothing.
    if not await runtime.persist(rows.update_run, life.run, **columns):
        raise OvertakenError
    return None


@asynccontextmanager
async def _taken(turn: asyncio.Lock, life: "Life") -> AsyncIterator[None]:
    """Hold the turn of a base, or go on without it when the run is stopped while it waits."""
    if turn.locked():
        await life.note(EventKind.STATUS, "waits until others have landed")
    taking = asyncio.create_task(turn.acquire())
    try:
        while not taking.done() and not life.stopped:
            await asyncio.wait({taking}, timeout=_LOOK_SECONDS)
        yield
    finally:
        if not taking.cancel() and not taking.cancelled():
            turn.release()


def merge_message(number: int, title: str) -> str:
    """The message of a merge commit."""
    return f"Merge qd task #{number}: {title}"


async def bring_onto_base(tree: Worktree, base: str, *, if_older_than: float) -> Worktree | str:
    """The worktree rebased on the fetched base, or the conflict in words for an agent."""
    await repository.fetch(tree.repo, if_older_than=if_older_than, base=base)
    commit = await repository.base_commit(tree.repo, base)
    result = await worktree.rebase(tree, commit)
    if not result.ok:
        files = "\n".join(f"- `{name}`" for name in result.files)
        return (
            f"The base branch `{base}` has moved, and your change conflicts with it in:\n\n{files}\n\n"
            f"Rebase onto {commit} and resolve the conflict. What git says:\n\n```\n{result.text[-8000:]}\n```"
        )
    return result.worktree


async def pass_gates(
    runtime: "Runtime", run: int, shell: Shell, commands: Sequence[str], life: "Life | None"
) -> GateResult | None:
    """Run the gates and store each result; returns the one that did not pass."""
    round_ = 1 + await runtime.persist(rows.last_gate_round, run)
    poke = runtime.pokes.of(shell.folder)
    if not commands and life:
        await life.note(EventKind.VERIFY, "the project has no verify commands; nothing was checked", passed=True)
    async for result in run_gates(shell, commands, poke):
        await runtime.persist(
            rows.store_gate,
            run,
            round_,
            result.position,
            result.command,
            result.status,
            result.exit_code,
            result.seconds,
            result.output,
        )
        if life:
            await life.note(
                EventKind.VERIFY,
                f"{result.status}: {result.command}",
                command=result.command,
                passed=result.status == "passed",
                exit_code=result.exit_code,
                seconds=round(result.seconds, 3),
                output=result.output[-4000:],
            )
        if result.status != "passed":
            return result
    return None


def _gate_judgement(failed: GateResult) -> Judgement:
    if failed.status == "timeout":
        return Judgement(
            "failed",
            "wait",
            f"the check {failed.command!r} ran out of time after {failed.seconds:.0f} s; retry it or give it more time",
            failed.feedback(),
            wait="person",
            columns={"verdict": "timeout"},
        )
    return attempt_failed(f"the check {failed.command!r} failed", failed.feedback())


async def has_landed(life: "Life", repo: Repository, tip: str) -> bool:
    """Whether ``tip`` holds what a run of this task was landing when its engine died."""
    heads = await life.runtime.persist(rows.heads_without_end, life.work.number)
    for head in heads:
        if await repository.contains(repo, tip, head):
            return True
    return False
