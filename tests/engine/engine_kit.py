"""Real engines on a real database: started, killed, looked at."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from config.paths import Paths, resolve_paths
from config.settings import Settings
from core.commands.table import Context, invoke
from core.keeper import client as keeper
from storage.database import Database, Principal, Role

AGENT = Path(__file__).with_name("scripted_agent.py")
PATIENCE = 90.0


@dataclass(slots=True)
class Host:
    """A state folder and the engine that serves it."""

    home: Path
    dsn: str
    process: asyncio.subprocess.Process | None = None

    @property
    def paths(self) -> Paths:
        return resolve_paths({"QD_HOME": str(self.home)})

    async def start(self, **environ: str) -> None:
        """Start the engine, and wait until it says that it runs."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("QD_")}
        env |= {"QD_HOME": str(self.home), "QD_DATABASE_URL": self.dsn, **environ}
        self.paths.logs.mkdir(parents=True, exist_ok=True)
        with (self.paths.logs / "engine.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "core.engine", stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env
            )

    async def kill(self) -> None:
        """``kill -9``."""
        assert self.process
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        return await asyncio.wait_for(self.process.wait(), 40)

    def log(self) -> str:
        path = self.paths.logs / "engine.log"
        return path.read_text() if path.exists() else ""


@dataclass(slots=True)
class Site:
    """One database, its hosts, and a supervisor."""

    dsn: str
    db: Database
    sql: asyncpg.Connection
    folder: Path
    hosts: list[Host] = field(default_factory=list)

    @property
    def context(self) -> Context:
        return Context(
            db=self.db,
            who=Principal("user:test", Role.ADMIN),
            paths=self.hosts[0].paths,
            settings=Settings(),
            environ={"PATH": os.environ["PATH"]},
            cwd=self.folder,
        )

    def host(self) -> Host:
        host = Host(self.folder / f"host{len(self.hosts) + 1}", self.dsn)
        host.home.mkdir()
        self.hosts.append(host)
        return host

    async def do(self, name: str, /, **arguments: Any) -> Any:
        return await invoke(self.context, name, arguments)

    def repository(self, name: str, files: dict[str, str] | None = None) -> Path:
        path = self.folder / name
        path.mkdir()
        for name_, text in (files or {"README": "hello\n"}).items():
            (path / name_).parent.mkdir(parents=True, exist_ok=True)
            (path / name_).write_text(text)
        git(path, "init", "-q", "-b", "main")
        git(path, "add", "-A")
        git(path, "-c", "user.name=p", "-c", "user.email=p@x", "commit", "-q", "-m", "first")
        return path

    async def project(self, name: str = "app", *, verify: list[str] | None = None, **options: Any) -> Path:
        """A repository that is a project."""
        path = self.repository(name, options.pop("files", None))
        most = options.pop("max_parallel", 4)
        auto = options.pop("auto_merge", True)
        await self.sql.execute(
            "insert into project (id, name, repo, path, verify, auto_merge) values ($1, $1, $2, $2, $3, $4)",
            name,
            str(path),
            ["true"] if verify is None else verify,
            auto,
        )
        await self.sql.execute("insert into load (project, max_parallel) values ($1, $2)", name, most)
        return path

    async def agent(self, name: str = "scripted") -> None:
        command = f"{sys.executable} {AGENT}"
        await self.sql.execute("insert into agent (name, adapter, command) values ($1, 'command', $2)", name, command)

    async def set(self, **values: Any) -> None:
        """Settings, with a double underscore for the dot."""
        for key, value in values.items():
            await self.sql.execute(
                "insert into setting (key, value) values ($1, $2::text::jsonb) on conflict (key) do update set value = excluded.value",
                key.replace("__", "."),
                str(value),
            )

    async def add(self, title: str, **arguments: Any) -> int:
        task = await self.do("task.add", title=title, **({"project": "app"} | arguments))
        return int(task.number)

    async def status(self, task: int) -> str:
        status: str = await self.sql.fetchval("select status::text from task where number = $1", task)
        return status

    async def reason(self, task: int) -> str:
        return str(await self.sql.fetchval("select reason from task_body where task = $1", task))

    async def reaches(self, task: int, *statuses: str) -> str:
        """Wait until a task has one of these statuses; another end fails at once, with what the engines said."""
        ends = {"completed", "failed", "cancelled", "review"}

        async def there() -> bool:
            now = await self.status(task)
            if now in ends and now not in statuses:
                raise AssertionError(f"task #{task} is {now}: {await self.reason(task)}\n{self.logs()}")
            return now in statuses

        await self.until(there)
        return await self.status(task)

    async def until(self, condition: Callable[[], Awaitable[Any]]) -> None:
        """Wait for something to be true."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not await condition():
                    await asyncio.sleep(0.03)
        except TimeoutError:
            raise AssertionError(f"it did not come true within {PATIENCE} s\n{self.logs()}") from None

    async def said(self, task: int, text: str) -> None:
        """Wait until an event of a task's runs holds this text."""
        await self.until(
            lambda: self.sql.fetchval(
                "select exists (select 1 from event e join run r on r.number = e.run where r.task = $1 and e.text like $2)",
                task,
                f"%{text}%",
            )
        )

    async def events(self, task: int, kind: str = "") -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await self.sql.fetch(
            "select e.* from event e join run r on r.number = e.run where r.task = $1 and ($2 = '' or e.kind = $2) order by e.run, e.seq",
            task,
            kind,
        )
        return rows

    async def balanced(self) -> None:
        """The books of the queue balance, and events are numbered without a gap."""
        wrong = {row["what"]: row["n"] for row in await self.sql.fetch("select * from queue_reconcile()") if row["n"]}
        assert not wrong, wrong
        gaps = await self.sql.fetch(
            """select r.number, r.events, count(e.*) as n, count(distinct e.seq) as seqs, coalesce(max(e.seq), 0) as top
                 from run r left join event e on e.run = r.number group by 1, 2
               having count(e.*) <> r.events or count(distinct e.seq) <> r.events or coalesce(max(e.seq), 0) <> r.events"""
        )
        assert not gaps, [dict(row) for row in gaps]

    async def tree(self, task: int) -> Path | None:
        """The worktree of a task's latest run."""
        tree = await self.sql.fetchval("select worktree from run where task = $1 order by number desc limit 1", task)
        return Path(tree) if tree else None

    async def ended(self, folder: str) -> bool:
        """Whether the agent of a run folder has ended and its keeper is gone."""
        return keeper.read_exit(Path(folder)) is not None and not keeper.alive(Path(folder))

    async def tidy(self) -> None:
        """Nothing is left of runs that have ended: no process, no worktree of a task that is over."""
        await self.until(self._nothing_left)

    async def _nothing_left(self) -> bool:
        marks = {row["mark"] for row in await self.sql.fetch("select mark from run")}
        if marks & set(keeper.marks()):
            return False
        trees = [path for host in self.hosts for path in host.paths.worktrees.glob("*/*") if path.is_dir()]
        return not trees

    def logs(self) -> str:
        return "\n".join(f"── {host.home.name}\n{host.log()[-3000:]}" for host in self.hosts)


def git(path: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=path, check=True, capture_output=True, text=True).stdout.strip()


@contextlib.asynccontextmanager
async def site(dsn: str) -> AsyncIterator[Site]:
    """A site whose engines and runs end with the block."""
    folder = Path(tempfile.mkdtemp(prefix="qde-"))
    db = await Database.open(dsn)
    sql = await asyncpg.connect(dsn)
    made = Site(dsn, db, sql, folder)
    try:
        yield made
    finally:
        for host in made.hosts:
            if host.process and host.process.returncode is None:
                await host.kill()
        marks = [row["mark"] for row in await sql.fetch("select mark from run")]
        await asyncio.gather(*(keeper.sweep(mark, patience=0.2) for mark in set(marks) & set(keeper.marks())))
        await sql.close()
        await db.close()
        shutil.rmtree(folder, ignore_errors=True)
