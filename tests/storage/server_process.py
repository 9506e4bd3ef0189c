"""Programs that use the embedded server from outside of the test, as a command of a person would."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from storage.server.place import Account

ROOT = Path(__file__).resolve().parents[2]
ENSURE = "info = asyncio.run(ensure_server(paths, {'fsync': 'off'})); print(info.pid, info.dsn, info.data, sep='\\n')"
STOP = "print(asyncio.run(stop_server(paths)))"
STATUS = "print(server_status(paths))"
CONNECT = "asyncio.run(asyncpg.connect(server_dsn(paths))); print('connected')"

_PROGRAM = """
import asyncio, os
import asyncpg, concurrent.futures.thread, psutil, pwd, tempfile
from config.errors import UnavailableError
from config.paths import resolve_paths
from storage.server import ensure_server, server_dsn, server_status, stop_server
paths = resolve_paths(os.environ)
if "AS" in os.environ:  # now that all is loaded: the interpreter may be out of that user's reach
    uid, gid = map(int, os.environ["AS"].split(":"))
    os.setgroups([]); os.setgid(gid); os.setuid(uid)
try:
    {}
except UnavailableError as error:
    print("UNAVAILABLE", error.sentence())
except OSError as error:
    print("REFUSED", error)
"""


def start(home: Path, does: str, user: Account | None = None, secret: str = "", **how: Any) -> "subprocess.Popen[str]":
    """Start a program on the installation ``home``, as ``user`` (which root alone can); ``how`` goes to Popen."""
    environ = {"QD_HOME": str(home), "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "QD_SECRET": secret}
    if user is not None:
        environ["AS"] = f"{user.uid}:{user.gid}"
    program = [sys.executable, "-P", "-c", _PROGRAM.format(does)]
    return subprocess.Popen(program, env=environ, stdout=subprocess.PIPE, text=True, cwd="/", **how)


def run(home: Path, does: str, user: Account | None = None, **how: Any) -> list[str]:
    """Run such a program to its end and return the lines that it printed."""
    with start(home, does, user, **how) as process:
        output, _ = process.communicate(timeout=120)
    return output.splitlines()


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and not been waited for does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Poll until ``condition`` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.002)
