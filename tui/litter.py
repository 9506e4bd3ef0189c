"""Garbage is collected beside the keys, never under one.

A full collection of Python walks every object that lives. Of the screen's 200,000 nearly all (classes, style rules, the toolkit) stay to the end, and a walk
over them takes 30 to 60 ms: longer than a key may take. So they are set aside once the screen stands; what is left to walk is what it works with.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_STANDS_SECONDS = 1.5
"""How long after the first connection everything that stays has been made."""

_MOST_SECONDS = 5.0
"""So long a database is waited for."""


@asynccontextmanager
async def settled_heap(
    ready: Callable[[], Awaitable[None]], last: Callable[[], Awaitable[None]]
) -> AsyncIterator[None]:
    """While the block runs: set aside what lives a moment after ``ready``, and what ``last`` loads then; give it back at the end. From then
    on garbage is collected.
    """
    waiting = asyncio.create_task(_set_aside(ready, last), name="heap of the screen")
    try:
        yield
    finally:
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        gc.unfreeze()


def held(begin: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Collect nothing while the screen is being loaded, since all of that stays; whatever comes of it, collect again after the end."""

    @wraps(begin)
    async def held_(*args: P.args, **more: P.kwargs) -> T:
        gc.disable()
        try:
            return await begin(*args, **more)
        finally:
            gc.enable()

    return held_


async def _set_aside(ready: Callable[[], Awaitable[None]], last: Callable[[], Awaitable[None]]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_MOST_SECONDS):
            await ready()
    await asyncio.sleep(_STANDS_SECONDS)
    await last()
    gc.collect()
    gc.freeze()
    gc.enable()
