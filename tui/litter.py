"""Garbage is collected beside the keys, never under one.

A full collection of Python walks every object that lives. Of the screen's 200,000 nearly all (classes, style rules, the toolkit) stay to the end, and a walk
over them takes 30 to 60 ms: longer than a key may take. So they are set aside once the screen stands; what is left to walk is what it works with.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

_STANDS_SECONDS = 1.5
"""How long after the first connection everything that stays has been made."""


@asynccontextmanager
async def settled_heap(ready: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """While the block runs: set aside what lives a moment after ``ready``; give it back at the end."""
    waiting = asyncio.create_task(_set_aside(ready), name="heap of the screen")
    try:
        yield
    finally:
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        gc.unfreeze()


async def _set_aside(ready: Callable[[], Awaitable[None]]) -> None:
    await ready()
    await asyncio.sleep(_STANDS_SECONDS)
    gc.collect()
    gc.freeze()
