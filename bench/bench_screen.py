"""The screen: bytes on the line, processor, memory, start, and how soon a change or a key is painted.

The real program runs on a pseudo-terminal; what is measured is what comes out of it. *Key to paint* is from the key's byte going in to the *last* byte of the
picture that it causes (nothing more comes for a tenth of a second), rows that had to be read from the database included; to its first byte it is less.
"""

import asyncio
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from tempfile import TemporaryDirectory

import asyncpg

from bench.framework import Environment, Figure, at_most, percentile
from bench.terminal import Terminal

EVENTS = 1_000_000
TASKS = 100_000
RUNS = 50
IDLE_SECONDS = 30.0
FOLLOW_SECONDS = 20.0
SAMPLES = 150
HOUR_LINES = 360_000
"""What 100 lines/s come to in an hour."""
MINUTE_LINES = 6_000
FEED_PER_SECOND = 720
"""The hour is fed so fast; the screen reads at most 800 lines/s without leaving any out."""
_SCROLL = ("j", "j", "\x06", "k", "\x04", "j", "\x02", "G", "k", "\x15", "g", "t")
_READ = ("k", "k", "\x02", "j", "\x15", "k", "\x06", "j")
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
                found += _said("key to paint, log of a million events", await _keys(terminal, _READ))
            async with _deck(environ) as terminal:
                await _queue(terminal)
                many = await _keys(terminal, _SCROLL)
                many_filtered = await _filters(terminal)
                found += await _fleet(terminal, connection)
            async with _deck(environ, "--low-bandwidth") as terminal:
                found.append(await _sent(terminal, connection, "  the same with --low-bandwidth", 10_000))
            few, few_filtered = await _few(env, environ)
            found += _said("key to paint, table of 100,000 tasks", many)
            found.append(
                at_most("  the same, p50 : among 100 tasks", percentile(many, 50) / percentile(few, 50), "×", 1.5)
            )
            found.append(Figure("filter typed until shown, 100 tasks, p50", percentile(few_filtered, 50), "ms"))
            found.append(
                at_most("filter typed until shown, 100,000 tasks, p50", percentile(many_filtered, 50), "ms", 300)
            )
            async with _log(environ, connection) as terminal:
                found += await _memory(terminal, connection)
        finally:
            await connection.close()
    return found


async def _few(env: Environment, environ: Mapping[str, str]) -> tuple[list[float], list[float]]:
    """Keys and filters, in milliseconds, over a database with 100 tasks."""
    async with env.database() as dsn:
        connection = await asyncpg.connect(dsn)
        try:
            await _fill(connection, tasks=100, events=1000)
        finally:
            await connection.close()
        async with _deck({**environ, "QD_DATABASE_URL": dsn}) as terminal:
            await _queue(terminal)
            return await _keys(terminal, _SCROLL), await _filters(terminal)


async def _queue(terminal: Terminal) -> None:
    terminal.press("3")
    await terminal.quiet(2.0)


async def _fill(connection: asyncpg.Connection, tasks: int = TASKS, events: int = EVENTS) -> None:
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
            from generate_series(1, {tasks}) n;
        insert into task_body (task, title)
          select n, 'Mend part ' || n || ' of the long pier' from generate_series(1, {tasks}) n;
        insert into run (number, id, task, attempt, project, agent, engine, lease_token, status, mark, folder,
                         started_at, events) overriding system value
          select n, gen_random_uuid(), n, 1, 'harbour', 'builtin', 1, 1, 'running', 'm', '/nowhere',
                 now() - interval '1 hour', case when n = 1 then {events} else 1 end from generate_series(1, {RUNS}) n;
        insert into event (run, seq, at, kind, text)
          select n, 1, now() - interval '1 hour', 'output', 'the first line' from generate_series(2, {RUNS}) n;
        insert into event (run, seq, at, kind, text)
          select 1, n, now() - interval '1 hour' + n * interval '3 milliseconds', 'output',
                 'line ' || n || ' of a log that is as long as the pier' from generate_series(1, {events}) n;
        set session_replication_role = origin;
        """
    )
    await connection.execute("analyze")


@asynccontextmanager
async def _deck(environ: Mapping[str, str], *flags: str) -> AsyncIterator[Terminal]:
    """The screen as it opens for the first time: in a home of its own, where no other has left its place."""
    with TemporaryDirectory(prefix="qdb-") as home:
        terminal = Terminal(
            [sys.executable, "-P", "-m", "core.faces.start", "--readonly", *flags], {**environ, "QD_HOME": home}
        )
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
    """From the start of the program to all panels with what is in them, against what importing the toolkit alone takes."""
    ours, alone = [], []
    for _ in range(7):
        begun = time.perf_counter()
        await asyncio.to_thread(subprocess.run, [sys.executable, "-c", "import textual.app"], check=True)
        alone.append(time.perf_counter() - begun)
        terminal = Terminal([sys.executable, "-P", "-m", "core.faces.start", "--readonly"], environ)
        try:
            # A stalled run in the inbox; the queue's title and its rows.
            ours.append(await terminal.wait_for("Mend part", f"{TASKS:,}", "in progress") - terminal.begun)
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


async def _sent(terminal: Terminal, connection: asyncpg.Connection, name: str, most: float) -> Figure:
    """Bytes that the deck sends while a run writes as fast as one can follow: the worst for the live log, whose every line differs."""
    async with _writing(connection, runs=1, per_second=100):
        await asyncio.sleep(2)
        bytes_, begun = terminal.bytes, time.perf_counter()
        await asyncio.sleep(FOLLOW_SECONDS)
        return at_most(name, (terminal.bytes - bytes_) / (time.perf_counter() - begun), "B/s", most)


async def _fleet(terminal: Terminal, connection: asyncpg.Connection) -> list[Figure]:
    async with _writing(connection, runs=RUNS, per_second=20):
        await asyncio.sleep(2)
        cpu, begun = terminal.cpu_seconds(), time.perf_counter()
        await asyncio.sleep(FOLLOW_SECONDS)
        used = 100 * (terminal.cpu_seconds() - cpu) / (time.perf_counter() - begun)
    return [
        at_most(f"processor, {RUNS} runs at 20 lines/s with the queue visible", used, "%", 25),
        await _sent(terminal, connection, "bytes to the terminal, the deck over 100 lines/s", 60_000),
    ]


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


async def _keys(terminal: Terminal, keys: tuple[str, ...]) -> list[float]:
    """From each key to the last byte of what it causes, in milliseconds; keys that change nothing are left out."""
    await terminal.quiet()
    taken = []
    for number in range(SAMPLES):
        waiting = asyncio.create_task(terminal.wait_for_any(1.0))
        await asyncio.sleep(0)
        pressed = terminal.press(keys[number % len(keys)])
        with suppress(TimeoutError):
            await waiting
            await terminal.quiet(0.1)
            taken.append((terminal.last - pressed) * 1000)
    return taken


def _said(name: str, taken: list[float]) -> list[Figure]:
    return [
        Figure(f"{name}, p50", percentile(taken, 50), "ms"),
        at_most(f"{name}, p99", percentile(taken, 99), "ms", 50),
    ]


async def _filters(terminal: Terminal) -> list[float]:
    """From the last letter of a filter to the title of the table that counts what matches, in milliseconds."""
    taken = []
    for number in range(20):
        wanted = f"part {number % 10 + 1}"
        terminal.press("/")
        await terminal.quiet(0.2)
        terminal.press(wanted[:-1])
        await terminal.quiet(0.3)
        pressed = terminal.press(wanted[-1])
        taken.append((await terminal.wait_for(f"match {wanted}") - pressed) * 1000)
        terminal.press("\x1b")
        await terminal.quiet(0.6)
    return taken


async def _memory(terminal: Terminal, connection: asyncpg.Connection) -> list[Figure]:
    """The lines of an hour at 100 a second, fed faster: every one of them is read and shown, or passes by, as it would."""
    async with _writing(connection, runs=1, per_second=FEED_PER_SECOND) as written:
        await written(MINUTE_LINES)
        early = terminal.memory()
        await written(HOUR_LINES)
        late = terminal.memory()
    return [
        Figure(f"resident memory of its own after {HOUR_LINES:,} lines", late / 1e6, "MB"),
        at_most(f"  against after {MINUTE_LINES:,} (an hour : a minute of 100 lines/s)", late / early, "×", 1.1),
    ]


@asynccontextmanager
async def _writing(
    connection: asyncpg.Connection, *, runs: int, per_second: int
) -> AsyncIterator[Callable[[int], Awaitable[None]]]:
    """Write lines while the block runs, as the engine does: a few times a second, one bell for all.

    Yields how to wait until so many lines of each run were written.
    """
    enough = asyncio.Event()
    written = asyncio.Condition()
    count = 0

    async def more(lines: int) -> None:
        nonlocal count
        async with written:
            count += lines
            written.notify_all()

    async def until(lines: int) -> None:
        async with written:
            await written.wait_for(lambda: count >= lines)

    writing = asyncio.create_task(_write(connection, runs, per_second, enough, more))
    try:
        yield until
    finally:
        enough.set()
        await writing


async def _write(
    connection: asyncpg.Connection,
    runs: int,
    per_second: int,
    enough: asyncio.Event,
    more: Callable[[int], Awaitable[None]],
) -> None:
    due = time.perf_counter()
    while not enough.is_set():
        for number in range(1, runs + 1):
            lines = [" ".join(random.choices(_WORDS, k=14)) for _ in range(per_second // 5)]
            await _append(connection, number, lines)
        topics = " ".join(f"run:{number}" for number in range(1, runs + 1))
        await connection.execute("select pg_notify('qd', $1)", f"event {topics}")
        await more(per_second // 5)
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
