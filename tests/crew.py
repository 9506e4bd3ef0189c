"""An engine in miniature for tests of commands: it claims, begins runs, says things and ends them, by statements alone."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg

from config.paths import Paths
from config.settings import Settings
from core.commands.table import Context, invoke
from storage.database import Database, Principal, Role


@dataclass(slots=True)
class Crew:
    """One database, a supervisor who gives commands, and what happens behind the scenes."""

    db: Database
    connection: asyncpg.Connection
    context: Context

    async def do(self, name: str, *, role: Role = Role.SUPERVISOR, stdin: str | None = None, **arguments: Any) -> Any:
        """Give a command."""
        context = replace(self.context, who=Principal(f"user:{role.value}", role))
        if stdin is not None:
            context = replace(context, stdin=lambda: stdin)
        return await invoke(context, name, arguments)

    async def add(self, title: str = "mend it", **arguments: Any) -> int:
        """Add a task to the project ``app``; its number."""
        task = await self.do("task.add", title=title, **({"project": "app"} | arguments))
        return int(task.number)

    async def project(self, name: str, *, path: str = "/nowhere", most: int = 4) -> None:
        """Register a project."""
        await self.connection.execute("insert into project (id, name, repo, path) values ($1, $1, $2, $2)", name, path)
        await self.connection.execute("insert into load (project, max_parallel) values ($1, $2)", name, most)

    async def agent(self, name: str, most: int | None = None) -> None:
        """Register an agent."""
        await self.connection.execute(
            "insert into agent (name, adapter, max_parallel) values ($1, 'command', $2)", name, most
        )

    async def engine(self, most: int = 4) -> int:
        """An engine with a lease of an hour."""
        number: int = await self.connection.fetchval(
            "select engine_register('here', 'here', 1, '1', $1, '1 hour')", most
        )
        return number

    async def claim(self, count: int = 1) -> list[int]:
        """The engine claims what is ready; the numbers."""
        engine = await self.engine()
        names = [row["name"] for row in await self.connection.fetch("select name from agent order by name")]
        rows = await self.connection.fetch("select number from task_claim($1, $2, $3)", engine, count, names)
        return [row["number"] for row in rows]

    async def begin(self, task: int) -> int:
        """The engine claims until it has ``task``, and begins a run of it; the run's number."""
        while task not in await self.claim():
            pass
        run: int = await self.connection.fetchval(
            """
            insert into run (id, task, attempt, project, agent, engine, lease_token, mark, folder, status)
            select $2, number, attempts, project, 'coder', engine, lease_token, 'm', '/f', 'running' from task where number = $1
            returning number
            """,
            task,
            uuid4(),
        )
        return run

    async def say(self, run: int, events: Sequence[tuple[str, str]]) -> None:
        """The engine stores events (kind, text) of a run in one transaction, and rings."""
        async with self.connection.transaction():
            last: int = await self.connection.fetchval(
                "update run set events = events + $2 where number = $1 returning events", run, len(events)
            )
            first = last - len(events) + 1
            await self.connection.executemany(
                "insert into event (run, seq, kind, text) values ($1, $2, $3, $4)",
                [(run, first + n, kind, text) for n, (kind, text) in enumerate(events)],
            )
        await self.db.ring("event", f"run:{run}")

    async def ask(
        self, run: int, text: str, *, options: Sequence[str] = (), data: Mapping[str, Any] | None = None
    ) -> int:
        """The agent asks; ``data`` makes it a request for permission. The question's number."""
        number: int = await self.connection.fetchval(
            """
            insert into question (run, task, project, ref, kind, text, options, data)
            select number, task, project, 'q-' || (select count(*) from question), $2, $3, $4, $5 from run where number = $1
            returning number
            """,
            run,
            "permission" if data else "question",
            text,
            list(options),
            dict(data or {}),
        )
        return number

    async def end(self, task: int, outcome: str = "completed", run_status: str = "succeeded") -> None:
        """The engine ends the run of a task, and the task with ``outcome``."""
        await self.connection.execute(
            """update run set status = $2::text::run_status, finished_at = clock_timestamp()
                where task = $1 and status in ('starting', 'running', 'verifying')""",
            task,
            run_status,
        )
        await self.connection.execute(
            "select task_finish(number, lease_token, $2, 'the tests fail') from task where number = $1", task, outcome
        )
        await self.db.ring("task", f"task:{task}", *[f"run:{number}" for number in await self.runs(task)])

    async def runs(self, task: int) -> list[int]:
        """The numbers of the runs of a task."""
        return [row["number"] for row in await self.connection.fetch("select number from run where task = $1", task)]

    async def to_review(self, task: int) -> int:
        """A run of the task succeeds and waits for a review; the run's number."""
        run = await self.begin(task)
        await self.end(task, "review")
        await self.connection.execute("insert into review (task, run) values ($1, $2)", task, run)
        return run

    async def reason(self, task: int) -> str:
        """Why the task is not running."""
        return str((await self.do("task.show", task=task)).reason)


@asynccontextmanager
async def crew_on(dsn: str, folder: Path) -> AsyncIterator[Crew]:
    """A crew with the project ``app`` and the agent ``coder``; whatever else the database holds is thrown away."""
    db = await Database.open(dsn)
    try:
        async with db.connection() as connection:
            context = Context(
                db=db,
                who=Principal("user:test", Role.SUPERVISOR),
                paths=Paths(config=folder / "config", state=folder / "state", database=folder / "postgres"),
                settings=Settings(),
                environ={},
                cwd=folder,
            )
            crew = Crew(db, connection, context)
            await connection.execute(
                "truncate project, agent, engine, setting, load, lane, task, run, event, audit restart identity cascade"
            )
            await crew.project("app")
            await crew.agent("coder")
            yield crew
    finally:
        await db.close()
