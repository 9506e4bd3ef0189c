"""The screen: bytes on the line, processor, memory, start, and how soon a change or a key is painted."""

import asyncio
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import asyncpg

from bench.framework import Environment, Figure, at_most, percentile
from bench.terminal import Terminal

EVENTS = 1_000_000
TASKS = 100_000
RUNS = 50
IDLE_SECONDS = 30.0
FOLLOW_SECONDS = 20.0
MEMORY_SECONDS = 75.0
SAMPLES = 150
_WORDS = ("the", "harbour", "master", "reads", "every", "line", "and", "says", "what", "the", "tide", "has", "done")


async def run(env: Environment) -> list[Figure]:
    """A screen on a pseudo-terminal of 120 × 40, over a database with 100,000 tasks and a run of a million events."""
    async with env.database() as dsn:
        environ = {
            "PATH": os.environ.get("PATH", ""),
            "QD_DATABASE_URL": dsn,
            "QD_HOME": str(env.paths.state.parent),
            "PYTHONPATH": os.getcwd(),  # noqa: PTH109 - as it is
        }
        connection = await asyncpg.connect(dsn)
        try:
            await _fill(connection)
            found = [*await _start(environ)]
            async with _log(environ, connection) as terminal:
                found += await _idle(terminal)
                found += await _following(terminal, connection)
                found += await _changes(terminal, connection)
                found += await _keys(
                    terminal, "key to paint in a log of a million events", ("k", "k", "\x02", "j", "\x15")
                )
            async with _deck(environ) as terminal:
                terminal.press("3")
                await terminal.quiet(0.5)
                found += await _keys(terminal, "key to paint among 100,000 tasks", ("j", "j", "\x06", "k", "G"))
                found += await _fleet(terminal, connection)
            async with _log(environ, connection) as terminal:
                found += await _memory(terminal, connection)
        finally:
            await connection.close()
    return found


async def _fill(connection: asyncpg.Connection) -> None:
    """Tasks, runs and a long log, written past the triggers: they are not what is measured."""
    await connection.execute(
        f"""
        set session_replication_role = replica;
        insert into project (id, name, repo, path) values ('harbour', 'harbour', '/srv/harbour', '/srv/harbour');
        insert into load (project, max_parallel) values ('harbour', 4);
        insert into engine (name, host, pid, version, lease_until)
          values ('bench', 'bench', 1, '1', now() + interval '1 day');
        insert into agent (name, adapter) values ('builtin', 'builtin');
        insert into task (number, project, status, priority, created_at) overriding system value
          select n, 'harbour', case when n <= {RUNS} then 'in_progress' when n % 3 = 0 then 'completed'
                 else 'pending' end::task_status, 1 + n % 5, now() - interval '1 day'
            from generate_series(1, {TASKS}) n;
        insert into task_body (task, title)
          select n, 'Mend part ' || n || ' of the long pier' from generate_series(1, {TASKS}) n;
        insert into run (number, id, task, attempt, project, agent, engine, lease_token, status, mark, folder,
                         started_at, events) overriding system value
          select n, gen_random_uuid(), n, 1, 'harbour', 'builtin', 1, 1, 'running', 'm', '/nowhere',
                 now() - interval '1 hour', case when n = 1 then {EVENTS} else 1 end from generate_series(1, {RUNS}) n;
        insert into event (run, seq, at, kind, text)
          select n, 1, now() - interval '1 hour', 'output', 'the first line' from generate_series(2, {RUNS}) n;
        insert into event (run, seq, at, kind, text)
          select 1, n, now() - interval '1 hour' + n * interval '3 milliseconds', 'output',
                 'line ' || n || ' of a log that is as long as the pier' from generate_series(1, {EVENTS}) n;
        set session_replication_role = origin;
        """
    )
    await connection.execute("analyze")


@asynccontextmanager
async def _deck(environ: Mapping[str, str]) -> AsyncIterator[Terminal]:
    """The screen as it opens."""
    terminal = Terminal([sys.executable, "-P", "-m", "core.faces.start", "--readonly"], environ)
    try:
        await terminal.wait_for("Mend part")
        await terminal.quiet()
        yield terminal
    finally:
        terminal.close()


@asynccontextmanager
async def _log(environ: Mapping[str, str], connection: asyncpg.Connection) -> AsyncIterator[Terminal]:
    """The log of the long run, opened from the newest event on the deck."""
    await _append(connection, 1, ["the newest line"])
    async with _deck(environ) as terminal:
        terminal.press("4")
        await terminal.quiet(0.5)
        terminal.press("\r")
        await terminal.wait_for("run 1.1")
        await terminal.quiet(2.0)
        yield terminal


async def _start(environ: Mapping[str, str]) -> list[Figure]:
    """From the start of the program to the first task on the screen, against what importing the toolkit alone takes."""
    ours, alone = [], []
    for _ in range(7):
        begun = time.perf_counter()
        await asyncio.to_thread(subprocess.run, [sys.executable, "-c", "import textual.app"], check=True)
        alone.append(time.perf_counter() - begun)
        terminal = Terminal([sys.executable, "-P", "-m", "core.faces.start", "--readonly"], environ)
        try:
            ours.append(await terminal.wait_for("Mend part") - terminal.begun)
        finally:
            terminal.close()
    return [
        Figure("start to first full paint", statistics.median(ours) * 1000, "ms"),
        at_most(
            "start to first full paint : import textual.app",
            statistics.median(ours) / statistics.median(alone),
            "×",
            2.5,
        ),
    ]


async def _idle(terminal: Terminal) -> list[Figure]:
    bytes_, cpu, begun = terminal.bytes, terminal.cpu_seconds(), time.perf_counter()
    await asyncio.sleep(IDLE_SECONDS)
    took = time.perf_counter() - begun
    return [
        at_most("bytes to the terminal, idle", (terminal.bytes - bytes_) / took, "B/s", 0),
        at_most("processor, idle", 100 * (terminal.cpu_seconds() - cpu) / took, "%", 0.5),
    ]


async def _following(terminal: Terminal, connection: asyncpg.Connection) -> list[Figure]:
    async with _writing(connection, runs=1, per_second=100):
        await asyncio.sleep(2)
        bytes_, cpu, begun = terminal.bytes, terminal.cpu_seconds(), time.perf_counter()
        await asyncio.sleep(FOLLOW_SECONDS)
        took = time.perf_counter() - begun
        sent, used = terminal.bytes - bytes_, terminal.cpu_seconds() - cpu
    return [
        at_most("bytes to the terminal, following 100 lines/s", sent / took, "B/s", 60_000),
        at_most("processor, following 100 lines/s", 100 * used / took, "%", 8),
    ]


async def _fleet(terminal: Terminal, connection: asyncpg.Connection) -> list[Figure]:
    async with _writing(connection, runs=RUNS, per_second=20):
        await asyncio.sleep(2)
        cpu, begun = terminal.cpu_seconds(), time.perf_counter()
        await asyncio.sleep(FOLLOW_SECONDS)
        used = 100 * (terminal.cpu_seconds() - cpu) / (time.perf_counter() - begun)
    return [at_most(f"processor, {RUNS} runs at 20 lines/s with the queue visible", used, "%", 25)]


async def _changes(terminal: Terminal, connection: asyncpg.Connection) -> list[Figure]:
    """Commit an event, and wait until its words come out of the terminal."""
    await terminal.quiet()
    taken = []
    for number in range(SAMPLES):
        word = f"mark{number:04}x{random.randrange(10**6):06}"
        terminal.forget()
        await _append(connection, 1, [word])
        begun = time.perf_counter()
        await connection.execute("select pg_notify('qd', 'event run:1')")
        taken.append((await terminal.wait_for(word) - begun) * 1000)
        await asyncio.sleep(random.uniform(0.0, 0.4))
    return [
        at_most("change committed until painted, p50", percentile(taken, 50), "ms", 120),
        at_most("change committed until painted, p99", percentile(taken, 99), "ms", 300),
    ]


async def _keys(terminal: Terminal, name: str, keys: tuple[str, ...]) -> list[Figure]:
    await terminal.quiet()
    taken = []
    for number in range(SAMPLES):
        waiting = asyncio.create_task(terminal.wait_for_any())
        await asyncio.sleep(0)
        pressed = terminal.press(keys[number % len(keys)])
        with suppress(TimeoutError):
            taken.append((await waiting - pressed) * 1000)
        await terminal.quiet(0.05)
    return [
        Figure(f"{name}, p50", percentile(taken, 50), "ms"),
        at_most(f"{name}, p99", percentile(taken, 99), "ms", 50),
    ]


async def _memory(terminal: Terminal, connection: asyncpg.Connection) -> list[Figure]:
    """A short form of an hour: the window of the log is full after the first seconds."""
    async with _writing(connection, runs=1, per_second=100):
        await asyncio.sleep(MEMORY_SECONDS / 2)
        early = terminal.memory()
        await asyncio.sleep(MEMORY_SECONDS / 2)
        late = terminal.memory()
    return [
        Figure("memory of its own, following", late / 1e6, "MB"),
        at_most("memory, end : middle of following 100 lines/s", late / early, "×", 1.1),
    ]


@asynccontextmanager
async def _writing(connection: asyncpg.Connection, *, runs: int, per_second: int) -> AsyncIterator[None]:
    """Write lines while the block runs, as the engine does: a few times a second, one bell for all."""
    enough = asyncio.Event()
    writing = asyncio.create_task(_write(connection, runs, per_second, enough))
    try:
        yield
    finally:
        enough.set()
        await writing


async def _write(connection: asyncpg.Connection, runs: int, per_second: int, enough: asyncio.Event) -> None:
    due = time.perf_counter()
    while not enough.is_set():
        for number in range(1, runs + 1):
            lines = [" ".join(random.choices(_WORDS, k=14)) for _ in range(per_second // 5)]
            await _append(connection, number, lines)
        topics = " ".join(f"run:{number}" for number in range(1, runs + 1))
        await connection.execute("select pg_notify('qd', $1)", f"event {topics}")
        due += 0.2
        await asyncio.sleep(max(0.0, due - time.perf_counter()))


async def _append(connection: asyncpg.Connection, run: int, lines: list[str]) -> None:
    await connection.execute(
        """with grown as (
             update run set events = events + cardinality($2::text[]) where number = $1
             returning events - cardinality($2::text[]) as base)
           insert into event (run, seq, at, kind, text)
           select $1, base + n, clock_timestamp(), 'output', line
             from grown, unnest($2::text[]) with ordinality as l (line, n)""",
        run,
        lines,
    )
