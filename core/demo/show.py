"""The demonstration: the whole job on two sample repositories, with a scripted model, in a corner of its own.

It has a database, an engine, runs and worktrees of its own, all of them below the state folder; nothing of the person's
is read or changed, no key and no network are needed. What happens is told while it happens.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

from config.errors import QuarterdeckError
from config.settings import Settings
from core.agents.adapter import load_adapter
from core.commands.shown import Column
from core.commands.table import Context, invoke
from core.demo.corner import Corner, engine, surroundings
from core.demo.model_server import model_server
from core.demo.samples import SampleProject, make_samples
from core.demo.script import TASKS, answer_for, demo_brain
from core.tasks.watch import Watch
from storage.database import Database, Principal, Role

PATIENCE = 600.0
"""Seconds after which the demonstration gives up."""
MODEL = "claude-sonnet-4-5"
"""The model whose price the scripted one is given."""
SUPERVISOR = Principal("user:demo", Role.ADMIN)
SETTINGS = (("engine.max_parallel", "3"), ("run.interrupt_seconds", "1"), ("run.terminate_seconds", "1"))
"""Three agents at a time, which make way quickly when the demonstration is interrupted."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened in the demonstration."""

    at: datetime
    task: str
    """``#7`` and what it is about; empty for what concerns no task."""
    what: str
    text: str
    columns: ClassVar[tuple[Column, ...]] = (
        Column("time", "at", "time"),
        Column("task", "task"),
        Column("what", "what", "state"),
        Column("text", "text"),
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one task: a row of the closing table."""

    task: int
    project: str
    title: str
    agent: str
    status: str
    attempts: int
    commit: str
    files_changed: int
    seconds: float
    cost_usd: Decimal
    columns: ClassVar[tuple[Column, ...]] = (
        Column("task", "task"),
        Column("project", "project"),
        Column("title", "title"),
        Column("agent", "agent"),
        Column("status", "status", "state"),
        Column("attempts", "attempts", "count", spare=2),
        Column("commit", "commit"),
        Column("files", "files_changed", "count", spare=1),
        Column("time", "seconds", "seconds"),
        Column("cost", "cost_usd", "usd"),
    )


@contextlib.asynccontextmanager
async def crew_at_work(where: Corner, environ: Mapping[str, str], cwd: Path) -> AsyncIterator[Context]:
    """The sample projects with their tasks, the model and an engine, for as long as the block lasts."""
    db = await Database.open(where.dsn)
    context = Context(
        db=db, who=SUPERVISOR, paths=where.paths, settings=Settings(), environ=surroundings(where, environ), cwd=cwd
    )
    try:
        async with model_server(demo_brain(), bool) as url:
            samples = await make_samples(where.home / "repositories")
            agents = await _hire(context, url)
            await _register(context, samples)
            async with engine(where, environ):
                await _add_tasks(context, agents)
                yield context
    finally:
        await db.close()


async def happenings(context: Context, *, patience: float = 0) -> AsyncGenerator[Happening | Outcome]:
    """Play the supervisor until every task is over: answer, approve, and tell what happens. Ends with the outcomes.

    ``patience``: seconds that each question and review is left to somebody else first.
    """
    seen = _Seen()
    clock = asyncio.get_running_loop().time
    most = PATIENCE + 12 * patience
    end = clock() + most
    async with Watch.on(context.db.dsn, "task", "event", "run", "question", "review") as watch:
        done = False
        while not done:
            if clock() > end:
                raise QuarterdeckError(f"the demo is not done after {most:.0f} s", "is this machine overloaded?")
            await watch.changed(2.0)
            done = await _all_over(context)
            for happening in await seen.news(context):
                yield happening
            await _answer_and_approve(context, context.now() - timedelta(seconds=patience))
    for outcome in await _outcomes(context):
        yield outcome


async def _hire(context: Context, url: str) -> dict[str, str]:
    """The agents, each talking to the scripted model; returns who works for which adapter."""
    env = json.dumps({"ANTHROPIC_BASE_URL": url})
    claude = load_adapter("claude-code", context.paths, context.environ).find(context.environ) is not None
    names = {"builtin": "builtin", "claude-code": "claude" if claude else "builtin"}
    async with context.db.transaction(context.who) as connection:
        for name, adapter in (("builtin", "builtin"), ("claude", "claude-code")):
            if name in names.values():
                await connection.execute(
                    "insert into agent (name, adapter, model, env) values ($1, $2, $3, $4::text::jsonb)",
                    name,
                    adapter,
                    MODEL,
                    env,
                )
        await connection.executemany("insert into setting (key, value) values ($1, $2::text::jsonb)", SETTINGS)
    return names


async def _register(context: Context, samples: list[SampleProject]) -> None:
    for sample in samples:
        await invoke(
            context,
            "project.add",
            {
                "repo": str(sample.path),
                "id": sample.id,
                "name": sample.name,
                "stack": sample.stack,
                "verify": list(sample.verify),
                "max_parallel": 2,
                "auto_merge": sample.id == "harbour",
                "primary": sample.colours[0],
                "accent": sample.colours[1],
            },
        )


async def _add_tasks(context: Context, agents: Mapping[str, str]) -> None:
    numbers: dict[str, int] = {}
    for task in TASKS:
        added = await invoke(
            context,
            "task.add",
            {
                "title": task.title,
                "project": task.project,
                "description": task.description,
                "priority": task.priority,
                "after": [numbers[key] for key in task.after],
                "path": list(task.paths),
                "agent": agents[task.agent],
            },
        )
        numbers[task.key] = added.number


async def _answer_and_approve(context: Context, until: datetime) -> None:
    """Settle what has come up ``until`` then."""
    for question in await invoke(context, "question.list", {}):
        if question.asked_at > until:
            continue
        asked = {"kind": question.kind, "text": question.text}
        answer = answer_for(asked)
        choice = {"allow": True} if question.kind == "permission" else {"text": answer}
        with contextlib.suppress(QuarterdeckError):  # it ended or was answered in between
            await invoke(context, "question.answer", {"id": str(question.id)} | choice)
    for review in await invoke(context, "review.list", {}):
        if review.status == "open" and review.created_at <= until:
            with contextlib.suppress(QuarterdeckError):
                await invoke(context, "review.approve", {"task": str(review.task)})


async def _all_over(context: Context) -> bool:
    tasks = await invoke(context, "task.list", {})
    return all(task.status in ("completed", "failed", "cancelled") for task in tasks)


class _Seen:
    """What has been told already."""

    def __init__(self) -> None:
        self._runs: dict[int, int] = {}
        self._tasks: dict[int, str] = {}

    async def news(self, context: Context) -> list[Happening]:
        """What has happened since the last call, oldest first."""
        told: list[Happening] = []
        async with context.db.transaction(context.who) as connection:
            tasks = await connection.fetch(
                """select t.number, t.status::text, b.title, b.reason
                     from task t join task_body b on b.task = t.number order by 1"""
            )
            events = await connection.fetch(
                """select e.run, e.seq, e.at, e.kind, e.text, r.task, r.agent
                     from event e join run r on r.number = e.run
                    where e.kind in ('message', 'edit', 'tool_call', 'question', 'answer', 'verify', 'error', 'status')
                    order by e.at, e.run, e.seq"""
            )
        for event in events:
            if event["seq"] <= self._runs.get(event["run"], 0):
                continue
            self._runs[event["run"]] = event["seq"]
            if text := _one_line(event["text"]):
                told.append(Happening(event["at"], f"#{event['task']} {event['agent']}", event["kind"], text))
        for task in tasks:
            if self._tasks.get(task["number"]) != task["status"]:
                self._tasks[task["number"]] = task["status"]
                text = f"{task['title']}" + (f" ({task['reason']})" if task["reason"] else "")
                told.append(Happening(datetime.now(UTC), f"#{task['number']}", task["status"], text))
        return told


async def _outcomes(context: Context) -> list[Outcome]:
    async with context.db.transaction(context.who) as connection:
        rows = await connection.fetch(
            """
            select t.number as task, t.project, b.title, coalesce(last.agent, '') as agent, t.status::text,
                   t.attempts::int, coalesce(left(last.head_commit, 8), '') as commit,
                   coalesce(last.files_changed, 0) as files_changed,
                   coalesce(extract(epoch from t.finished_at - all_runs.began), 0)::float8 as seconds,
                   coalesce(all_runs.cost, 0) as cost_usd
              from task t join task_body b on b.task = t.number
              left join lateral (select * from run r where r.task = t.number order by attempt desc limit 1) last on true
              left join lateral (select min(started_at) as began, sum(cost_usd) as cost
                                   from run r where r.task = t.number) all_runs on true
             order by t.number
            """
        )
    return [Outcome(**row) for row in rows]


def _one_line(text: str, most: int = 160) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
