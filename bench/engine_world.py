"""An engine at work for the benchmarks: a real process on a database of its own, one project, one agent that runs a command."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from bench.framework import Environment
from config.paths import Paths
from config.settings import Settings
from core.commands.table import Context, invoke
from core.keeper import client as keeper
from storage.database import Database, Principal, Role

FILES = 100
"""In the repository of the project."""


@dataclass(slots=True)
class EngineWorld:
    """What a benchmark of the engine works with."""

    paths: Paths
    dsn: str
    sql: asyncpg.Connection
    context: Context
    repository: Path
    engine: asyncio.subprocess.Process

    async def add(self, count: int = 1, **fields: Any) -> list[int]:
        """Add tasks as a person does; their numbers."""
        return [
            (await invoke(self.context, "task.add", {"title": "work", "project": "app", **fields})).number
            for _ in range(count)
        ]

    async def until(self, condition: Callable[[], Awaitable[Any]], seconds: float = 120) -> None:
        """Wait until something is true."""
        async with asyncio.timeout(seconds):
            while not await condition():  # noqa: ASYNC110 - another process rings no bell
                await asyncio.sleep(0.02)

    async def running(self, count: int) -> None:
        """Wait until so many runs are running."""
        query = "select count(*) >= $1 from run where status = 'running'"
        await self.until(lambda: self.sql.fetchval(query, count))

    async def idle(self) -> None:
        """Wait until all tasks are over and their worktrees gone."""
        query = "select not exists (select 1 from task where status not in ('completed', 'failed', 'cancelled'))"
        await self.until(lambda: self.sql.fetchval(query))
        while any(path.is_dir() for path in self.paths.worktrees.glob("*/*")):  # noqa: ASYNC110 - nobody rings for it
            await asyncio.sleep(0.02)

    async def cancel_all(self) -> None:
        """Cancel what runs, and wait for its end."""
        for row in await self.sql.fetch(
            "select number from task where status not in ('completed', 'failed', 'cancelled')"
        ):
            await invoke(self.context, "task.cancel", {"task": row["number"]})
        await self.idle()


@contextlib.asynccontextmanager
async def engine_world(env: Environment, command: str, *, parallel: int) -> AsyncIterator[EngineWorld]:
    """An engine that runs up to ``parallel`` agents, each of them ``command``."""
    async with env.database() as dsn:
        sql = await asyncpg.connect(dsn)
        db = await Database.open(dsn)
        repository = make_repository(env.paths.state.parent / "repository")
        context = Context(
            db=db, who=Principal("user:bench", Role.ADMIN), paths=env.paths, settings=Settings(),
            environ={"PATH": os.environ["PATH"]}, cwd=env.paths.state,
        )  # fmt: skip
        await sql.execute(
            "insert into setting (key, value) values ('engine.max_parallel', $1::text::jsonb)", str(parallel)
        )
        await sql.execute("insert into project (id, name, repo, path) values ('app', 'app', $1, $1)", str(repository))
        await sql.execute("insert into load (project, max_parallel) values ('app', $1)", parallel)
        await sql.execute("insert into agent (name, adapter, command) values ('bench', 'command', $1)", command)
        await sql.execute("update project set agent = 'bench'")
        engine = await _start(env.paths, dsn)
        world = EngineWorld(env.paths, dsn, sql, context, repository, engine)
        try:
            await world.until(lambda: sql.fetchval("select exists (select 1 from engine where pid = $1)", engine.pid))
            yield world
        finally:
            engine.send_signal(signal.SIGKILL)
            await engine.wait()
            marks = {row["mark"] for row in await sql.fetch("select mark from run")}
            await asyncio.gather(*(keeper.sweep(mark, 0.1) for mark in marks & keeper.marks().keys()))
            await sql.close()
            await db.close()
            shutil.rmtree(repository, ignore_errors=True)


def make_repository(path: Path) -> Path:
    """A repository with a hundred small files."""
    path.mkdir(parents=True)
    for number in range(FILES):
        folder = path / f"part{number % 10}"
        folder.mkdir(exist_ok=True)
        (folder / f"file{number}.txt").write_text(f"{number}\n" * 100)
    for arguments in (
        ("init", "-q", "-b", "main"),
        ("add", "-A"),
        ("-c", "user.name=b", "-c", "user.email=b@x", "commit", "-q", "-m", "first"),
    ):
        subprocess.run(["git", *arguments], cwd=path, check=True, capture_output=True)
    return path


async def _start(paths: Paths, dsn: str) -> asyncio.subprocess.Process:
    env = {name: value for name, value in os.environ.items() if not name.startswith("QD_")}
    env |= {"QD_HOME": str(paths.state.parent), "QD_DATABASE_URL": dsn}
    paths.logs.mkdir(parents=True, exist_ok=True)
    with (paths.logs / "engine.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "core.engine", stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env
        )
