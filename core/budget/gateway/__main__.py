"""``python -P -m core.budget.gateway``: reads a line of JSON (:class:`~core.budget.gateway.boot.Boot`) from
stdin.
"""

import asyncio
import contextlib
import ctypes
import gc
import os
import resource
import signal
import sys

from config.errors import QuarterdeckError
from core.budget.gateway.boot import Boot
from core.budget.gateway.process import only_one, serve, until_unwanted
from core.secrets.store import open_store

PR_SET_DUMPABLE = 4
"""From ``linux/prctl.h``."""


def main() -> int:
    """Serve until SIGTERM or SIGINT. Exit code as the command line has them."""
    try:
        hide_memory()
        boot = Boot.from_json(sys.stdin.readline())
        with only_one(boot.paths) as lock:
            asyncio.run(_run(boot, lock))
    except QuarterdeckError as error:
        print(f"gateway: {error.sentence()}", file=sys.stderr)
        return error.exit_code
    return 0


def hide_memory() -> None:
    """Let no other program of the same user look into this one: keys are in its memory. Linux alone has this."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


async def _run(boot: Boot, lock: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    gc.freeze()  # what is here now stays: the collector need not look at it with every burst of calls
    watch = asyncio.create_task(until_unwanted(boot.paths, lock, stop))
    try:
        await serve(boot, open_store(boot.paths, os.environ), stop)
    finally:
        stop.set()
        await watch


if __name__ == "__main__":
    sys.exit(main())
