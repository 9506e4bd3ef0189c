"""`qd review`: the judgement of a person on what the crew has made."""

import asyncio
from typing import Annotated, Literal

import asyncpg

from config.errors import ConflictError, NotFoundError, QuarterdeckError, UnavailableError, UsageError
from core.commands.table import Context, command
from core.commands.values import Slug, TaskRef, Text
from core.commands.views import ReviewDetailsView, ReviewView, view, views
from core.tasks.watch import Watch
from storage.database import Role
from storage.queries import reviews as rows
from storage.queries import tasks
from storage.queries.guard import transact

_WAITING = ("open", "approved")
ReviewStatus = Literal["open", "approved", "merged", "changes_requested", "rejected", "conflict", "superseded"]


@command("review.list", role=Role.VIEWER)
async def list_reviews(
    ctx: Context,
    *,
    status: Annotated[
        tuple[ReviewStatus, ...], "In this state; without it, what waits for a judgement or its merge"
    ] = (),
    project: Annotated[Slug | None, "Only this project's"] = None,
    limit: Annotated[int, "At most so many"] = 100,
) -> list[ReviewView]:
    """List what waits for a review, the oldest first."""
    if limit < 1:
        raise UsageError(f"limit {limit}: must be 1 or more")
    async with ctx.db.transaction(ctx.who) as connection:
        found = await rows.list_reviews(connection, statuses=status or _WAITING, project=project, limit=limit)
    return views(ReviewView, found)


@command("review.show", role=Role.VIEWER)
async def show(ctx: Context, task: Annotated[TaskRef, "Number (42, #42) or id"]) -> ReviewDetailsView:
    """Show the review of a task: its checks, and what the agent said of it."""
    async with ctx.db.transaction(ctx.who) as connection:
        found = await tasks.find_task(connection, task)
        review = await _latest(connection, found.number)
        return ReviewDetailsView(
            view(ReviewView, review),
            found.description,
            await rows.gates_of(connection, review.run),
            await rows.last_message(connection, review.run),
        )


@command("review.approve", role=Role.SUPERVISOR)
async def approve(
    ctx: Context,
    task: Annotated[TaskRef, "Number (42, #42) or id"],
    *,
    note: Annotated[Text | None, "A word about it"] = None,
    timeout: Annotated[float, "Seconds to wait for the merge"] = 3600.0,  # noqa: ASYNC109 - an option of the command
) -> ReviewView:
    """Approve a change and have it merged.

    The engine runs the checks again if the base has moved. Fails when the change cannot be merged, and says
    what became of it.
    """

    async def work(connection: asyncpg.Connection) -> rows.Review:
        [number] = await tasks.resolve(connection, [task])
        review = await _latest(connection, number)
        if review.status == "approved":
            return review
        if not await tasks.engine_is_alive(connection):
            raise UnavailableError("no engine is running that could merge it", "start one with `qd up`")
        await _decide(connection, review, "approved", note, ctx.who.actor)
        return review

    review = await transact(ctx.db, ctx.who, work)
    await ctx.db.ring("review", "task", f"task:{review.task}")
    settled = await _settled(ctx, review, timeout)
    if settled.status != "merged":
        because = f": {settled.note}" if settled.note else ""
        became = {
            "conflict": "could not be merged and was sent back",
            "open": "could not be merged; it is open for review again",
        }.get(settled.status, f"was not merged, it is {settled.status.replace('_', ' ')}")
        raise QuarterdeckError(
            f"the change of task #{settled.task} {became}{because}", f"see `qd task show {settled.task}`"
        )
    return view(ReviewView, settled)


@command("review.request-changes", role=Role.SUPERVISOR)
async def request_changes(
    ctx: Context,
    task: Annotated[TaskRef, "Number (42, #42) or id"],
    text: Annotated[Text, "What is to be different"],
) -> ReviewView:
    """Send a change back: the agent tries again and is told what to change."""
    if not text.strip():
        raise UsageError("the text is empty", "say what is to be different")

    async def work(connection: asyncpg.Connection) -> rows.Review:
        review = await _open(connection, task)
        await _decide(connection, review, "changes_requested", text, ctx.who.actor)
        await _move(connection, review, "pending", reason="changes were requested", feedback=text)
        return await _again(connection, review)

    return await _judged(ctx, await transact(ctx.db, ctx.who, work))


@command("review.reject", role=Role.SUPERVISOR, destructive=True)
async def reject(
    ctx: Context,
    task: Annotated[TaskRef, "Number (42, #42) or id"],
    reason: Annotated[Text, "Why it is not wanted"],
) -> ReviewView:
    """Reject a change and cancel its task."""
    if not reason.strip():
        raise UsageError("the reason is empty", "say why it is not wanted")

    async def work(connection: asyncpg.Connection) -> rows.Review:
        review = await _open(connection, task)
        await _decide(connection, review, "rejected", reason, ctx.who.actor)
        await _move(connection, review, "cancelled", reason=f"rejected by {ctx.who.actor}: {reason}")
        return await _again(connection, review)

    return await _judged(ctx, await transact(ctx.db, ctx.who, work))


async def _latest(connection: asyncpg.Connection, number: int) -> rows.Review:
    review = await rows.latest_review(connection, number)
    if review is None:
        raise NotFoundError(f"task #{number} has no review", f"`qd task show {number}` says how far it is")
    return review


async def _open(connection: asyncpg.Connection, name: tasks.TaskName) -> rows.Review:
    [number] = await tasks.resolve(connection, [name])
    return await _latest(connection, number)


async def _decide(
    connection: asyncpg.Connection, review: rows.Review, status: str, note: str | None, actor: str
) -> None:
    if await rows.decide(connection, review.number, status, note=note, actor=actor):
        return
    now = await rows.review_by_number(connection, review.number)
    words = now.status.replace("_", " ") if now else "deleted"
    by = f" by {now.actor}" if now and now.actor else ""
    raise ConflictError(
        f"the review of task #{review.task} is {words}{by} already", f"see `qd review show {review.task}`"
    )


async def _move(
    connection: asyncpg.Connection, review: rows.Review, to: str, *, reason: str, feedback: str | None = None
) -> None:
    moved = await tasks.move(connection, review.task, ["review"], to, reason=reason, feedback=feedback, fresh=True)
    if moved is None:
        status = (await tasks.statuses(connection, [review.task])).get(review.task, "deleted")
        raise ConflictError(
            f"task #{review.task} is {status.replace('_', ' ')}, not in review", f"see `qd task show {review.task}`"
        )


async def _again(connection: asyncpg.Connection, review: rows.Review) -> rows.Review:
    settled = await rows.review_by_number(connection, review.number)
    assert settled is not None
    return settled


async def _judged(ctx: Context, review: rows.Review) -> ReviewView:
    await ctx.db.ring("review", "task", f"task:{review.task}")
    return view(ReviewView, review)


async def _settled(ctx: Context, review: rows.Review, timeout: float) -> rows.Review:  # noqa: ASYNC109
    """The review once it is no longer approved only."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    async with Watch.on(ctx.db.dsn, "review", f"task:{review.task}") as watch:
        while True:
            rung = await watch.changed(max(0.0, end - loop.time()))
            async with ctx.db.transaction(ctx.who) as connection:
                now = await rows.review_by_number(connection, review.number)
            if now is None:
                raise NotFoundError(f"task #{review.task} was deleted meanwhile", "see `qd task list`")
            if now.status != "approved":
                return now
            if not rung:
                raise QuarterdeckError(
                    f"the change of task #{review.task} is approved and not merged after {timeout:g} s",
                    f"see `qd review show {review.task}`",
                )
