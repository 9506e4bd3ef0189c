"""A database with knowledge in it: a repository made for the test, commands given by a supervisor."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg

from config.paths import Paths
from config.settings import Settings
from core.commands.table import Context, invoke
from storage.database import Database, Principal, Role

if TYPE_CHECKING:
    from core.engine.runtime import Runtime

WHO = Principal("user:test", Role.SUPERVISOR)

HARBOUR = {
    "src/berths.py": (
        '"""Berths of the harbour."""\n\n\nclass Berth:\n    """A place for one ship."""\n\n    def moor(self, ship):\n'
        '        """Tie a ship to its bollards."""\n        return ship\n\n\n'
        "def allocate_berth(ships, berths):\n"
        '    """Give each waiting ship the smallest berth that holds it."""\n    return zip(ships, berths)\n'
    ),
    "src/tides.py": 'def nextHighTide(moment):\n    """When the water stands highest after a moment."""\n    return moment\n',
    "docs/guide.md": "# Guide\n\nHow the harbour works.\n\n## Pilots\n\nA pilot boards at the outer buoy.\n"
    + "More.\n" * 90,
}


@dataclass(slots=True)
class Quay:
    """One database, its supervisor and the folder of the test."""

    db: Database
    sql: asyncpg.Connection
    context: Context
    folder: Path

    async def do(self, command: str, /, *, role: Role = Role.SUPERVISOR, stdin: str | None = None, **given: Any) -> Any:
        context = replace(self.context, who=Principal(f"user:{role.value}", role), stdin=lambda: stdin or "")
        return await invoke(context, command, given)

    async def project(self, name: str = "app", files: dict[str, str | bytes] | None = None) -> "Checkout":
        path = self.folder / name
        path.mkdir()
        repo = Checkout(path)
        repo.git("init", "-q", "-b", "main")
        repo.commit(dict(HARBOUR) if files is None else files)
        await self.sql.execute("insert into project (id, name, repo, path) values ($1, $1, $2, $2)", name, str(path))
        await self.sql.execute("insert into load (project) values ($1)", name)
        return repo

    async def task(self, title: str, project: str = "app", **given: Any) -> int:
        return int((await self.do("task.add", title=title, project=project, **given)).number)

    async def run(self, task: int, status: str, *, verdict: str | None = None) -> int:
        """A run of a task that was told something, and has ended so."""
        number: int = await self.sql.fetchval(
            """insert into run (id, task, attempt, project, agent, engine, lease_token, mark, folder, status)
               select $2, t.number, coalesce((select max(attempt) from run where task = $1), 0) + 1, t.project, 'coder', 1, 1, 'm', '/f', 'running'
                 from task t where t.number = $1 returning number""",
            task,
            uuid4(),
        )
        if status != "running":
            await self.end(number, status, verdict=verdict)
        return number

    async def end(self, run: int, status: str, *, verdict: str | None = None) -> None:
        verdict = verdict or {"succeeded": "passed", "failed": "failed"}.get(status)
        await self.sql.execute(
            "update run set status = $2::text::run_status, verdict = $3, finished_at = clock_timestamp() where number = $1",
            run,
            status,
            verdict,
        )

    async def found(self, text: str, **given: Any) -> list[str]:
        """Titles of what a search finds, the best first."""
        return [hit.title for hit in await self.do("knowledge.search", text=text, **given)]


@dataclass(frozen=True, slots=True)
class Checkout:
    """A repository of a test."""

    path: Path

    def git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=self.path, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, files: dict[str, str | bytes], *, remove: tuple[str, ...] = (), message: str = "work") -> str:
        for name, text in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        for name in remove:
            (self.path / name).unlink()
        self.git("add", "-A")
        self.git("-c", "user.name=p", "-c", "user.email=p@x", "commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")


@asynccontextmanager
async def quay_on(dsn: str, folder: Path) -> AsyncIterator[Quay]:
    db = await Database.open(dsn)
    sql = await asyncpg.connect(dsn)
    await sql.set_type_codec("jsonb", encoder=str, decoder=__import__("json").loads, schema="pg_catalog")
    context = Context(
        db=db,
        who=WHO,
        paths=Paths(config=folder / "config", state=folder / "state", database=folder / "postgres"),
        settings=Settings(),
        environ={},
        cwd=folder,
    )
    try:
        yield Quay(db, sql, context, folder)
    finally:
        await sql.close()
        await db.close()


@asynccontextmanager
async def engine_of(quay: Quay) -> AsyncIterator["Runtime"]:
    """What an engine on this database has at hand, acting as one; nothing runs by itself."""
    from core.engine.bell import Bell
    from core.engine.runtime import Runtime
    from core.engine.shipper import Shipper

    db = await Database.open(quay.db.dsn, bound=Principal("engine:quay", Role.ENGINE))
    try:
        bell = Bell(db)
        context = quay.context
        yield Runtime(1, "quay", db, context.paths, context.settings, context.environ, bell, Shipper(db, bell, 0.05))
    finally:
        await db.close()
