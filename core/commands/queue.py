"""The whole queue: pause it, resume it, look at it."""

from dataclasses import dataclass

from core.commands.setting import store_setting
from core.commands.table import Context, command
from storage.database import Role
from storage.queries import settings as settings_rows
from storage.queries import status as rows


@dataclass(frozen=True, slots=True)
class Queue:
    """The queue: whether tasks are started, and how many are in which state."""

    paused: bool
    tasks: dict[str, int]
    running: int
    engines: int


@command("queue.show", role=Role.VIEWER)
async def show_queue(ctx: Context) -> Queue:
    """Show whether tasks are started, and how many wait."""
    async with ctx.db.transaction(ctx.who) as connection:
        paused = (await settings_rows.all_settings(connection)).get("queue.paused", False)
        tasks = await rows.task_counts(connection)
        engines = await rows.engines(connection)
    return Queue(bool(paused), tasks, tasks.get("in_progress", 0), sum(one.alive for one in engines))


@command("queue.pause", role=Role.ADMIN, says="the queue is paused; what runs goes on ({running} in progress)")
async def pause_queue(ctx: Context) -> Queue:
    """Start no more tasks, in any project. What runs goes on."""
    await store_setting(ctx, "queue.paused", value=True)
    await ctx.db.ring("queue", "task")
    return await show_queue(ctx)


@command("queue.resume", role=Role.ADMIN, says="the queue is open")
async def resume_queue(ctx: Context) -> Queue:
    """Start tasks again."""
    await store_setting(ctx, "queue.paused", value=False)
    await ctx.db.ring("queue", "task")
    return await show_queue(ctx)
