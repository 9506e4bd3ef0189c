"""A database server of its own, hosts with engines on it, and the proofs that nothing was lost, doubled or left behind."""

import asyncio
import contextlib
import json
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from config.paths import Paths
from core.keeper import client as keeper
from storage.migrate import migrate
from storage.server import ensure_server, server_dsn
from tests.chaos.plan import GATE, Planned, ends
from tests.engine.engine_kit import AGENT, Host, git
from tests.postgres import paths_in, temporary_home

FINAL = ("completed", "failed", "cancelled")


@dataclass(slots=True)
class Scene:
    """One server, its hosts and its projects. The first host's database is embedded, the others are told its address."""

    folder: Path
    server: Paths
    dsn: str
    hosts: list[Host] = field(default_factory=list)
    repositories: dict[str, Path] = field(default_factory=dict)
    numbers: list[int] = field(default_factory=list)
    """Of the tasks, in the order of the plan."""
    _sql: asyncpg.Connection | None = None

    async def start(self, host: Host) -> None:
        """Start the engine of a host."""
        await host.start(**({"QD_DATABASE_URL": ""} if host is self.hosts[0] else {}))

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """Ask the database, again and again while it is away."""
        while True:
            try:
                if self._sql is None or self._sql.is_closed():
                    self._sql = await asyncpg.connect(self.dsn, timeout=5)
                return await self._sql.fetch(query, *arguments, timeout=30)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await self._hang_up()
                await asyncio.sleep(0.1)

    async def populate(self, plan: Sequence[Planned], limits: dict[str, int], settings: dict[str, object]) -> None:
        """Projects with repositories, the agent, the settings, and all tasks of the plan."""
        for name, most in limits.items():
            self.repositories[name] = path = self.folder / name
            path.mkdir()
            (path / "README").write_text("hello\n")
            git(path, "init", "-q", "-b", "main")
            git(path, "add", "-A")
            git(path, "-c", "user.name=p", "-c", "user.email=p@x", "commit", "-q", "-m", "first")
            await self.fetch(
                "insert into project (id, name, repo, path, verify, auto_merge) values ($1, $1, $2, $2, $3, true)",
                name, str(path), [GATE],
            )  # fmt: skip
            await self.fetch("insert into load (project, max_parallel) values ($1, $2)", name, most)
        command = f"{sys.executable} -I -S {AGENT}"
        await self.fetch("insert into agent (name, adapter, command) values ('scripted', 'command', $1)", command)
        for key, value in settings.items():
            await self.fetch("insert into setting (key, value) values ($1, $2::text::jsonb)", key, json.dumps(value))
        for planned in plan:
            row = json.dumps([planned.row(self.numbers)])
            added = await self.fetch("select number from task_add($1::text::jsonb)", row)
            self.numbers.append(added[0]["number"])

    async def all_over(self) -> None:
        """Wait until every task has ended."""
        query = "select count(*) from task where status::text <> all($1)"
        while (await self.fetch(query, list(FINAL)))[0][0]:
            self.engines_live()
            await asyncio.sleep(0.2)

    def engines_live(self) -> None:
        """No engine has ended by itself."""
        for host in self.hosts:
            errors = [line for line in host.log().splitlines() if " ERROR qd.engine: " in line]
            assert not errors, f"an engine met an error: {errors}\n{host.log()[-6000:]}"
            code = host.process.returncode if host.process else None
            assert code is None or code == -signal.SIGKILL, (
                f"an engine ended with exit code {code}\n{host.log()[-6000:]}"
            )

    async def all_clear(self) -> None:
        """Wait until no process and no worktree is left."""
        while self.left_behind():
            await asyncio.sleep(0.1)

    def left_behind(self) -> list[str]:
        runs = {path.name for host in self.hosts for path in host.paths.runs.glob("*")}
        trees = [str(tree) for host in self.hosts for tree in host.paths.worktrees.glob("*/*") if tree.is_dir()]
        for path in self.repositories.values():  # what git knows of a worktree goes after its folder
            trees += git(path, "worktree", "list").splitlines()[1:]
            trees += git(path, "for-each-ref", "refs/heads/qd").splitlines()
        return [*trees, *(runs & keeper.marks().keys())]

    # ── the proofs ──

    async def prove(self, plan: Sequence[Planned]) -> None:
        """All that must hold at the end."""
        await self._every_task_ended_once(plan)
        await self._runs_ended_for_known_reasons()
        await self._children_began_after_their_parents()
        await self._events_are_whole(plan)
        await self._books_balance()
        self._commits_are_there_once(plan)
        assert not self.left_behind()

    async def _every_task_ended_once(self, plan: Sequence[Planned]) -> None:
        rows = await self.fetch(
            "select t.number, t.status::text, b.reason, b.title from task t join task_body b on b.task = t.number order by t.number"
        )
        wanted = dict(zip(self.numbers, ends(plan), strict=True))
        wrong = [dict(row) for row in rows if row["status"] != wanted[row["number"]]]
        assert not wrong, wrong
        moves = await self.fetch(
            "select key, count(*) as n from audit where kind = 'task' and after ->> 'status' = any($1) group by key having count(*) <> 1",
            list(FINAL),
        )
        assert not moves, [dict(row) for row in moves]

    async def _runs_ended_for_known_reasons(self) -> None:
        """No run has failed but by its plan, or because something of it was killed."""
        odd = await self.fetch(
            "select task, attempt, status::text, reason from run where status <> 'succeeded' and coalesce(reason, '') !~ $1",
            "^(exit code [34]|ended by SIGKILL|the check .*|its keeper was killed|its engine died|its worktree is gone"
            "|the keeper of .* did not start.*)$",
        )
        assert not odd, [dict(row) for row in odd]

    async def _children_began_after_their_parents(self) -> None:
        early = await self.fetch(
            """
            with begun as (select key::bigint as task, min(id) as id from audit where kind = 'task' and after ->> 'status' = 'in_progress' group by key),
                 done as (select key::bigint as task, id from audit where kind = 'task' and after ->> 'status' = 'completed')
            select d.parent, d.child from task_after d join begun b on b.task = d.child left join done p on p.task = d.parent
             where p.id is null or p.id > b.id
            """
        )
        assert not early, [dict(row) for row in early]

    async def _events_are_whole(self, plan: Sequence[Planned]) -> None:
        """Numbers without a gap; of a run whose agent came to its end, every line in order."""
        gaps = await self.fetch(
            """select r.number, r.events, count(e.*) as n, count(distinct e.seq) as seqs, coalesce(max(e.seq), 0) as top
                 from run r left join event e on e.run = r.number group by 1, 2
               having count(e.*) <> r.events or count(distinct e.seq) <> r.events or coalesce(max(e.seq), 0) <> r.events"""
        )
        assert not gaps, [dict(row) for row in gaps]
        said = await self.fetch(
            """select r.number, r.task, coalesce(array_agg(e.text order by e.seq) filter (where e.kind = 'output'), '{}') as lines
                 from run r left join event e on e.run = r.number
                where r.exit_code in (0, 4) group by 1, 2"""
        )
        assert said
        lines = {number: planned.lines for number, planned in zip(self.numbers, plan, strict=True)}
        for row in said:
            assert row["lines"] == [f"line {n}" for n in range(lines[row["task"]])], dict(row)

    async def _books_balance(self) -> None:
        wrong = {row["what"]: row["n"] for row in await self.fetch("select what, n from queue_reconcile()") if row["n"]}
        assert not wrong, wrong
        assert not await self.fetch("select * from load where running <> 0")
        assert not await self.fetch("select * from agent_slot where task is not null")
        live = await self.fetch("select number from run where status in ('starting', 'running', 'verifying')")
        assert not live, "runs that have not ended"
        claims = await self.fetch(
            """select t.number, t.attempts, count(a.*) as claims from task t
                 left join audit a on a.kind = 'task' and a.key = t.number::text and a.after ->> 'status' = 'in_progress'
                group by 1, 2 having t.attempts <> count(a.*)"""
        )
        assert not claims, [dict(row) for row in claims]

    def _commits_are_there_once(self, plan: Sequence[Planned]) -> None:
        """A task is completed exactly when its work is on main, and it is there once."""
        done = {number for number, end in zip(self.numbers, ends(plan), strict=True) if end == "completed"}
        for name, path in self.repositories.items():
            mine = {number for number, planned in zip(self.numbers, plan, strict=True) if planned.project == name}
            expected = Counter(mine & done)
            merged = Counter(
                int(line.split("#")[1].split(":")[0])
                for line in git(path, "log", "--first-parent", "--format=%s", "main").splitlines()
                if line.startswith("Merge qd task #")
            )
            assert merged == expected, (name, merged - expected, expected - merged)
            bodies = git(path, "log", "--no-merges", "--format=%B", "main").splitlines()
            commits = Counter(int(line.removeprefix("qd task #")) for line in bodies if line.startswith("qd task #"))
            assert commits == expected, (name, commits - expected, expected - commits)
            assert git(path, "status", "--porcelain") == "", "the person's checkout is clean"

    def logs(self) -> str:
        """The last words of the engines."""
        return "\n".join(f"── {host.home.name}\n{host.log()[-6000:]}" for host in self.hosts)

    async def _hang_up(self) -> None:
        if self._sql is not None:
            self._sql.terminate()
            self._sql = None


@contextlib.asynccontextmanager
async def scene(keep: Path, hosts: int = 2) -> AsyncIterator[Scene]:
    """A scene whose engines, runs and server end with the block. The server keeps its promises: it syncs to the disk.

    When the block fails, the logs of the engines and what the database knows are written to ``keep``.
    """
    with temporary_home() as home:
        server = paths_in(home)
        await ensure_server(server)
        dsn = server_dsn(server)
        await migrate(dsn)
        made = Scene(home, server, dsn)
        made.hosts = [Host(home, dsn), *(Host(home / f"host{number}", dsn) for number in range(2, hosts + 1))]
        for host in made.hosts[1:]:
            host.home.mkdir()
        try:
            yield made
        except BaseException:
            for host in made.hosts:
                (keep / f"{host.home.name}.log").write_text(host.log())
            for table in ("audit", "run", "event"):
                rows = await made.fetch(f"select * from {table}")
                (keep / f"{table}.txt").write_text("\n".join(str(dict(row)) for row in rows))
            raise
        finally:
            for host in made.hosts:
                if host.process and host.process.returncode is None:
                    await host.kill()
            runs = {path.name for host in made.hosts for path in host.paths.runs.glob("*")}
            await asyncio.gather(*(keeper.sweep(mark, patience=0.2) for mark in runs & keeper.marks().keys()))
            await made._hang_up()
