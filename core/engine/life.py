"""The life of one run, from the claim of its task to the last word on it.

    begin → prepare → start → follow → judge → settle

Each step leaves the database and the disk in a state from which a later engine can go on: a life can be cut off at any
await, by a stop or by ``kill -9``, and be taken up again (``adopted``).
"""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from config.errors import QuarterdeckError, UnavailableError
from core.agents.adapter import Verdict, load_adapter
from core.budget import engine_side
from core.engine.ending import Ended, Judgement, Stop, stopped
from core.engine.follow import Follower
from core.engine.identity import uuid7
from core.engine.journal import Journal
from core.engine.judge import LANDED, has_landed, judge
from core.engine.money import pause_of, settle_money
from core.engine.runtime import Runtime, run_folder
from core.engine.shipper import OvertakenError
from core.engine.starting import prepare, start
from core.events import EventKind
from core.keeper import client as keeper
from core.knowledge.engine_side import learn_from
from core.workspace import repository, worktree
from core.workspace.worktree import Worktree
from storage.queries import engine as rows
from storage.queries.budget_runs import Refused
from storage.queries.engine import LiveRun, Work
from storage.queries.queue import finish, task_lost

OUTSIDE_PAUSE = timedelta(seconds=30)
"""How long a task waits when something outside cannot be reached."""


@dataclass(slots=True)
class Life:
    """One run in the hands of this engine."""

    runtime: Runtime
    work: Work
    adopted: LiveRun | None = None
    run: int = 0
    run_id: UUID = field(default_factory=uuid7)
    attempt: int = 0
    journal: Journal | None = None
    stopped: Stop | None = None
    """Set when this run is to end before its time."""
    stop_delivered: bool = False
    """Whether the keeper has been told; one that is just starting cannot be."""

    @property
    def folder(self) -> Path:
        """Spec, prompt, context, spools and exit record."""
        return run_folder(self.runtime.paths, self.run_id)

    @property
    def socket(self) -> Path:
        """Where the keeper of the agent listens."""
        return self.runtime.paths.sockets / f"r{self.run_id.hex[-20:]}.sock"

    @property
    def tree_path(self) -> Path:
        """The worktree: one per task, so that a later attempt goes on where the last one ended."""
        return self.runtime.paths.worktrees / self.work.project / _tree_name(self.work)

    async def live(self) -> None:
        """All of it. Whatever goes wrong ends as a word on the run, never as the end of the engine."""
        try:
            async with self.runtime.lock(self.tree_path):
                await self._live()
        except OvertakenError:
            await self._let_go("another engine has taken this run over")
        except UnavailableError as error:
            await self._put_off(error.sentence())
        except QuarterdeckError as error:
            await self._give_up(error.sentence())
        finally:
            self.runtime.pokes.forget(self.folder)

    async def _live(self) -> None:
        runtime, work = self.runtime, self.work
        adapter = load_adapter(work.adapter, runtime.paths, runtime.environ)
        branch = work.branch or worktree.branch_name(work.number, work.title)
        if self.adopted:
            self._take_up(self.adopted)
            if await self._is_ended_by_force():
                return
        else:
            if refused := await runtime.money.refuses(self):
                await self._wait_for_budget(refused)
                return
            if not await self._begin(branch, self.tree_path):
                return
            if self.attempt > 1 and await self._is_done_already():
                return
        journal = self._journal()
        status = self.adopted.status if self.adopted else "starting"
        if status == "starting" and not await self._was_started():
            tree = await prepare(self, branch)
            if self.stopped:
                await self._settle_judgement(stopped(self.stopped))
                return
            await start(self, adapter, tree)
        else:
            repo = await runtime.repository(work.repository)
            reopened = await worktree.reopen(repo, self.tree_path)
            if reopened is None:
                await self._lose("its worktree is gone")
                return
            tree = reopened
        # Also where an engine died while it judged: how the agent ended is in the run's folder and nowhere else.
        outcome = await Follower(self, adapter, journal).follow()
        if outcome is None:
            await self._lose("its keeper was killed")
            return
        await self._judge(tree, *outcome)

    async def abandon(self, reason: str) -> None:
        """Give the run up after a bug: end what it started and count the attempt as failed."""
        await self._give_up(reason)

    async def stop(self, stop: Stop) -> None:
        """End this run before its time: the agent through its keeper, a gate by its mark."""
        if self.stopped is None or stop.kind == "cancel":
            self.stopped = stop
            self.runtime.pokes.poke(self.folder.name)
        try:
            await keeper.stop(self.socket, f"{stop.kind}: {stop.words}")
        except QuarterdeckError:
            await keeper.sweep(str(self.run_id))
        else:
            self.stop_delivered = True

    # ── from the claim to the first instruction ──

    async def _begin(self, branch: str, tree_path: Path) -> bool:
        """Commit the row of the run, so that from here on whatever is started can be found."""

        async def insert(connection: asyncpg.Connection) -> tuple[int, int] | None:
            existing = await connection.fetchrow("select number, attempt from run where id = $1", self.run_id)
            return (
                tuple(existing)
                if existing
                else await rows.insert_run(
                    connection,
                    id=self.run_id,
                    work=self.work,
                    engine=self.runtime.engine,
                    mark=str(self.run_id),
                    folder=str(self.folder),
                    branch=branch,
                    worktree=str(tree_path),
                )
            )

        begun = await self.runtime.persist(insert)
        if begun is None:
            return False
        self.run, self.attempt = begun
        self.journal = Journal(self.runtime.shipper, self.run, self.runtime.money.services)
        self.runtime.changed_task(self.work.number, "run", f"run:{self.run}")
        return True

    def _take_up(self, run: LiveRun) -> None:
        self.run, self.run_id, self.attempt = run.number, run.id, run.attempt
        self.journal = Journal(
            self.runtime.shipper,
            run.number,
            self.runtime.money.services,
            events=run.events,
            out=run.shipped_out,
            err=run.shipped_err,
        )

    async def _is_ended_by_force(self) -> bool:
        """Count an adoption that has brought nothing: what kills its engine again and again must not do so for ever."""
        run = self.adopted
        if run is None or run.adoptions < self.runtime.settings.engine.max_rescues:
            return False
        await self._stop_processes("set aside")
        await self._settle(
            "failed", "failed", f"set aside: the engine died {run.adoptions} times while it followed this run"
        )
        return True

    async def _is_done_already(self) -> bool:
        """Whether an engine landed the work of this task and died before it could say so."""
        if not await self.runtime.persist(rows.heads_without_end, self.work.number):
            return False
        repo = await self.runtime.repository(self.work.repository)
        base = self.work.base or await self.runtime.default_base(repo)
        await repository.fetch(repo, if_older_than=0, base=base)
        if not await has_landed(self, repo, await repository.base_commit(repo, base)):
            return False
        await self._settle_judgement(LANDED)
        return True

    async def _was_started(self) -> bool:
        """Whether the keeper of an adopted run got as far as starting the agent.

        A spec that is still there has not been read, and once it is taken away it never will be: only then may another
        keeper be started.
        """
        if self.adopted is None:
            return False
        (self.folder / "spec.json").unlink(missing_ok=True)
        async with asyncio.timeout(keeper.START_SECONDS):
            while not _has_started(self.folder) and keeper.alive(self.folder):  # noqa: ASYNC110 - a process apart
                await asyncio.sleep(0.05)
        return _has_started(self.folder)

    # ── from the end of the agent to the last word ──

    async def _judge(self, tree: Worktree, verdict: Verdict, ended: Ended) -> None:
        if not await self.runtime.persist(rows.update_run, self.run, status="verifying", exit_code=ended.exit_code):
            raise OvertakenError
        self.runtime.changed_task(self.work.number, "run", f"run:{self.run}")
        judgement = await judge(self, tree, verdict, ended)
        await self._settle_judgement(await self.runtime.money.after(self, judgement))
        await learn_from(self.runtime, self.work.number, self.run, tree)

    async def _settle_judgement(self, judgement: Judgement) -> None:
        await self._settle(
            judgement.run_status,
            judgement.outcome,
            judgement.reason,
            feedback=judgement.feedback,
            wait=judgement.wait,
            review_note=judgement.review_note,
            pause=judgement.pause,
            retry_in=pause_of(judgement),
            refused=judgement.refused,
            hand_to=judgement.hand_to,
            columns=judgement.columns,
        )

    async def _settle(
        self,
        run_status: str,
        outcome: Any,
        reason: str | None,
        *,
        feedback: str | None = None,
        wait: Any = None,
        review_note: str | None = None,
        pause: bool = False,
        retry_in: timedelta | None = None,
        refused: Refused | None = None,
        hand_to: str | None = None,
        columns: Mapping[str, Any] | None = None,
    ) -> None:
        """The last word on the run and what becomes of its task, in one transaction."""
        journal = self._journal()
        await journal.note(EventKind.STATUS, _closing_words(outcome, reason), outcome=outcome)
        retry_in = timedelta(seconds=self._pause_before_retry()) if pause else retry_in

        async def settle(connection: asyncpg.Connection) -> str | None:
            await rows.end_run(connection, self.run, run_status, reason=reason, **(columns or {}))
            await settle_money(connection, self.run, self.work.number, refused)
            if hand_to:
                await rows.hand_over(connection, self.work.number, self.work.lease_token, hand_to)
            status = await finish(
                connection,
                self.work.number,
                self.work.lease_token,
                outcome,
                reason=reason,
                retry_in=retry_in,
                wait=wait,
                feedback=feedback,
            )
            if status == "review":
                await rows.open_review(connection, self.work.number, self.run, review_note)
            return status

        await self.runtime.persist(settle)
        self.runtime.changed_task(self.work.number, "run", f"run:{self.run}", "review", "question", "project")

    def _pause_before_retry(self) -> float:
        seconds = self.runtime.settings.engine.retry_seconds * 2.0**self.work.failures
        return min(seconds, 600.0)

    async def _give_up(self, reason: str) -> None:
        """Something that we needed failed before or around the agent's work: the attempt counts as failed."""
        if not self.run:
            await self.runtime.persist(
                finish,
                self.work.number,
                self.work.lease_token,
                "retry",
                reason=reason,
                retry_in=timedelta(seconds=self._pause_before_retry()),
            )
            self.runtime.changed_task(self.work.number)
            return
        await self._stop_processes(reason)
        await self._settle("failed", "retry", reason, pause=True)

    async def _wait_for_budget(self, refused: Refused) -> None:
        """No call of this run would be answered: it does not begin, or begins with an agent whose calls would be."""
        handed = await self.runtime.money.hand_over(self, refused)

        async def wait(connection: asyncpg.Connection) -> None:
            number, token = self.work.number, self.work.lease_token
            if handed:
                await rows.hand_over(connection, number, token, handed.agent)
                await finish(connection, number, token, "wait", reason=refused.text, wait="time", feedback=handed.note)
                return
            await engine_side.wait(connection, number, refused)
            await finish(
                connection,
                number,
                token,
                "wait",
                reason=refused.text,
                wait="budget" if refused.kind == "budget" else "time",
                retry_in=None if refused.kind == "budget" else timedelta(seconds=refused.retry_seconds or 30.0),
            )

        await self.runtime.persist(wait)
        self.runtime.changed_task(self.work.number)

    async def _put_off(self, reason: str) -> None:
        """Something outside cannot be reached, a remote say: no fault of the work, which starts again later."""
        if not self.run:
            await self._give_up(reason)
            return
        await self._stop_processes(reason)
        await self._settle("failed", "wait", reason, wait="time", retry_in=OUTSIDE_PAUSE)

    async def _lose(self, reason: str) -> None:
        """The run vanished through no fault of the work."""
        await self._stop_processes(reason)
        await self._journal().note(EventKind.ERROR, reason)

        async def lose(connection: asyncpg.Connection) -> None:
            await rows.end_run(connection, self.run, "lost", reason=reason)
            await task_lost(
                connection, self.work.number, self.work.lease_token, reason, self.runtime.settings.engine.max_rescues
            )

        await self.runtime.persist(lose)
        self.runtime.changed_task(self.work.number, "run", f"run:{self.run}")

    async def _let_go(self, reason: str) -> None:
        """The task is somebody else's by now: end what we started, and write nothing about it."""
        await self._stop_processes(reason)

    async def _stop_processes(self, reason: str) -> None:
        await stop_processes(self.folder, self.socket, str(self.run_id), reason)

    async def note(self, kind: EventKind, text: str, **data: Any) -> None:
        """Write an event of the engine's own into the run's journal."""
        await self._journal().note(kind, text, **data)

    def _journal(self) -> Journal:
        if self.journal is None:
            raise RuntimeError("a run has no journal before it has a row")
        return self.journal


async def stop_processes(folder: Path, socket: Path, mark: str, reason: str) -> None:
    """End everything that a run has started: through its keeper where it lives, then whatever carries the mark."""
    if keeper.alive(folder):
        try:
            await keeper.stop(socket, reason)
        except QuarterdeckError:
            pass
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(30):
                    await keeper.wait(folder, socket)
    await keeper.sweep(mark)


def _tree_name(work: Work) -> str:
    return worktree.branch_name(work.number, work.title).removeprefix("qd/")


def _has_started(folder: Path) -> bool:
    return keeper.read_started(folder) is not None or keeper.read_exit(folder) is not None


def _closing_words(outcome: str, reason: str | None) -> str:
    words = {
        "completed": "done and merged",
        "review": "done, waits for review",
        "retry": "this attempt failed",
        "wait": "waits",
        "cancelled": "cancelled",
        "failed": "failed",
    }[outcome]
    return f"{words}: {reason}" if reason else words
