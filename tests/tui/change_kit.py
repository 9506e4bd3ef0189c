"""A small world for screens that show work: a repository with a change of every kind, tasks, a run, its checks and its review. Times are fixed."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
from textual.keys import _character_to_key
from textual.pilot import Pilot

from config.paths import Paths
from config.settings import Settings
from core.commands.table import Context
from storage.database import Database, Principal, Role
from tests.tui.world import NOW, opener
from tui.actions import registry
from tui.app import Choices, QuarterdeckApp
from tui.lifeline import Lifeline
from tui.memory import Memory
from tui.store import Store

_BEFORE = {
    "harbour/voyage.py": '"""Voyages between ports."""\n\nfrom datetime import timedelta\n\n\nclass Leg:\n    """One leg of a voyage."""\n\n    def __init__(self, miles: float, knots: float) -> None:\n        self.miles = miles\n        self.knots = knots\n\n'
    + "".join(f"    # chart {n:02}\n" for n in range(24))
    + "\ndef duration(legs):\n    total = 0\n    for leg in legs:\n        total = total + leg.miles / leg.knots\n    return timedelta(hours=total)\n",
    "harbour/ports.py": 'PORTS = ["Aden", "Bergen"]\n\n\ndef known(name):\n    return name in PORTS\n',
    "docs/charts.md": "# Charts\n\nThey are old.\n",
    "run.sh": "#!/bin/sh\nexec python3 check.py\n",
    "data/tides.bin": "\0\1\2tides",
    "old/notes.txt": "to be deleted\n",
}


@dataclass(slots=True)
class World:
    """What was made."""

    dsn: str
    db: Database
    sql: asyncpg.Connection
    folder: Path
    repository: Path
    task: int
    review: int

    @property
    def context(self) -> Context:
        """As a supervisor works with it."""
        return Context(
            db=self.db,
            who=Principal("user:test", Role.SUPERVISOR),
            paths=Paths(config=self.folder / "config", state=self.folder / "state", database=self.folder / "postgres"),
            settings=Settings(),
            environ={"PATH": os.environ["PATH"], "EDITOR": "true"},
            cwd=self.folder,
            now=lambda: NOW,
        )

    def app(
        self, *, theme: str = "dark", unicode: bool = True, memory: Memory | None = None, readonly: bool = False
    ) -> QuarterdeckApp:
        """The screen, on this world, with the clock frozen."""
        return app_on(self.context, theme=theme, unicode=unicode, memory=memory, readonly=readonly)


def app_on(
    context: Context,
    *,
    theme: str = "dark",
    unicode: bool = True,
    memory: Memory | None = None,
    readonly: bool = False,
    frozen: bool = True,
) -> QuarterdeckApp:
    """The screen on a context that is open already."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Context]:
        yield context

    store = Store(opened, readonly=readonly, now=(lambda: NOW)) if frozen else Store(opened, readonly=readonly)
    return QuarterdeckApp(
        store, registry(), Choices(theme, unicode, readonly), memory or Memory(None), Lifeline(starts_engine=False)
    )


def git(path: Path, *arguments: str) -> str:
    """Run git, as nobody in particular, at a fixed time."""
    env = {"PATH": os.environ["PATH"], "HOME": str(path), "GIT_CONFIG_NOSYSTEM": "1"}
    env |= {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "p"), ("EMAIL", "p@x"), ("DATE", "2026-03-14T12:00:00Z"))
    }
    return subprocess.run(
        ["git", *arguments], cwd=path, check=True, capture_output=True, text=True, env=env
    ).stdout.strip()


def make_repository(path: Path) -> tuple[str, str]:
    """A repository in which a branch changes, adds, deletes, renames files; the two commits."""
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    _write(path, _BEFORE)
    git(path, "add", "-A")
    git(path, "commit", "-q", "-m", "first")
    base = git(path, "rev-parse", "HEAD")
    git(path, "checkout", "-q", "-b", "qd/1-measure")
    voyage = _BEFORE["harbour/voyage.py"]
    voyage = voyage.replace(
        "def duration(legs):\n    total = 0\n", "def duration(legs: list[Leg]) -> timedelta:\n    total = 0.0\n"
    )
    voyage = voyage.replace(
        "        total = total + leg.miles / leg.knots\n",
        '        if leg.knots <= 0:\n            raise ValueError(f"leg without speed: {leg.miles} miles")\n        total += leg.miles / leg.knots\n',
    )
    _write(path, {
        "harbour/voyage.py": voyage,
        "harbour/legs/rounding.py": 'def rounded(hours: float) -> float:\n    """To a tenth, half up."""\n    return int(hours * 10 + 0.5) / 10\n',
        "harbour/ports.py": _BEFORE["harbour/ports.py"].replace("\n\n\ndef", "\n# 港 \x1b[31mred\x1b[0m \u202egnp\n\n\ndef").rstrip("\n"),
        "data/tides.bin": "\0\1\2other tides",
    })  # fmt: skip
    git(path, "mv", "docs/charts.md", "docs/maps.md")
    git(path, "rm", "-q", "old/notes.txt")
    (path / "run.sh").chmod(0o755)
    git(path, "add", "-A")
    git(path, "commit", "-q", "-m", "measure")
    head = git(path, "rev-parse", "HEAD")
    git(path, "checkout", "-q", "main")
    return base, head


def _write(path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(text.encode())


async def settle(dsn: str, folder: Path) -> None:
    """Fill an empty database with the world, its repository in ``folder``."""
    base, head = await asyncio.to_thread(make_repository, folder / "harbour")
    sql = await asyncpg.connect(dsn)
    try:
        await _fill(sql, folder, base, head)
    finally:
        await sql.close()


@asynccontextmanager
async def world(dsn: str, folder: Path) -> AsyncIterator[World]:
    """A database with all that, for as long as the block runs."""
    await settle(dsn, folder)
    db = await Database.open(dsn)
    sql = await asyncpg.connect(dsn)
    try:
        task, review = await sql.fetchrow("select task, number from review")
        yield World(dsn, db, sql, folder, folder / "harbour", task, review)
    finally:
        await sql.close()
        await db.close()


def screen_of(dsn: str, folder: Path, *, theme: str = "dark", unicode: bool = True) -> QuarterdeckApp:
    """The screen on a database that it opens itself, with the clock frozen."""
    store = Store(opener(dsn, folder), now=lambda: NOW)
    return QuarterdeckApp(store, registry(), Choices(theme, unicode), Memory(None), Lifeline(starts_engine=False))


def text_of(app: QuarterdeckApp) -> str:
    """What is seen."""
    return "\n".join(strip.text.rstrip() for strip in app.screen._compositor.render_strips())


async def shows(pilot: Pilot[int], *wanted: str, patience: float = 20.0) -> str:
    """Wait until all of these words are seen."""
    app = pilot.app
    assert isinstance(app, QuarterdeckApp)
    try:
        async with asyncio.timeout(patience):
            while not all(words in text_of(app) for words in wanted):
                await pilot.pause(0.03)
    except TimeoutError:
        raise AssertionError(f"{wanted} is not seen within {patience} s:\n{text_of(app)}") from None
    return text_of(app)


async def write(pilot: Pilot[int], text: str) -> None:
    """Type a text."""
    for letter in text:
        await pilot.press(_character_to_key(letter))


async def _fill(sql: asyncpg.Connection, folder: Path, base: str, head: str) -> None:
    await sql.execute(
        """insert into project (id, name, repo, path, stack, verify, primary_colour, accent_colour)
           values ('harbour', 'Harbour', 'harbour', $1, 'python', '{python3 check.py}', '#4e9af1', '#f1b24e')""",
        str(folder / "harbour"),
    )
    await sql.execute("insert into load (project, max_parallel) values ('harbour', 2)")
    await sql.execute("insert into agent (name, adapter) values ('coder', 'command'), ('claude', 'claude-code')")
    await sql.execute(
        "insert into engine (name, host, pid, version, lease_until, started_at) values ('here', 'here', 7, '1', now() + interval '1 year', $1)",
        NOW,
    )
    tasks = (
        (
            "Measure voyages by their legs",
            "Sum up the legs; a leg without speed is an error.\n\n- keep `duration`\n- add tests",
            4,
            [],
            "review",
        ),
        ("Work out when a ship arrives", "", 3, [1], "blocked"),
        ("Report on voyages in one line each", "", 3, [1], "blocked"),
        ("Print the timetable of a harbour", "", 2, [2, 3], "blocked"),
        ("Read and write quoted fields", "", 5, [], "completed"),
    )
    for n, (title, description, priority, after, status) in enumerate(tasks, start=1):
        await sql.fetch(
            "select number from task_add($1::text::jsonb)",
            _json(
                [
                    {
                        "project": "harbour",
                        "title": title,
                        "description": description,
                        "priority": priority,
                        "after": after,
                    }
                ]
            ),
        )
        await sql.execute("update task set status = $2::text::task_status, created_at = $3, updated_at = $3, attempts = $4 where number = $1",
                          n, status, NOW - timedelta(hours=3), 1 if status in ("review", "completed") else 0)  # fmt: skip
    await sql.execute("update task set finished_at = $1 where number = 5", NOW - timedelta(hours=1))
    await sql.execute("update task_body set branch = 'qd/1-measure' where task = 1")
    for task, attempt, status, agent, ago in ((5, 1, "succeeded", "claude", 100), (1, 1, "succeeded", "coder", 50)):
        run_folder = folder / f"run{task}"
        run_folder.mkdir()
        (run_folder / "context.json").write_text(
            '{"task": 1, "items": [{"kind": "standard", "title": "Type every function", "source": "standards/python.md", "tokens": 120},'
            ' {"kind": "memory", "title": "Speeds come in knots", "source": "harbour:decision 3", "tokens": 48, "text": "Knots everywhere; convert at the edge."}]}'
        )
        await sql.execute(
            """insert into run (id, task, attempt, project, agent, engine, lease_token, mark, folder, status, branch, worktree, base_commit, head_commit,
                                started_at, finished_at, cost_usd, tokens_input, tokens_output, events, files_changed, insertions, deletions)
               values ($1, $2, $3, 'harbour', $4, 1, 1, 'm', $5, $6::text::run_status, 'qd/1-measure', $7, $8, $9, $10, $11, 0.0213, 5210, 890, 3, 7, 9, 4)""",
            UUID(int=task * 10 + attempt), task, attempt, agent, str(run_folder), status, str(folder / "gone"), base, head,
            NOW - timedelta(minutes=ago), NOW - timedelta(minutes=ago - 12),
        )  # fmt: skip
    run: int = await sql.fetchval("select number from run where task = 1")
    said = "Voyages are measured leg by leg now.\n\n- a leg without speed raises `ValueError`\n- rounding moved into `harbour/legs/rounding.py`"
    for seq, (kind, text) in enumerate(
        (("status", "started"), ("tool_call", "read harbour/voyage.py"), ("message", said)), start=1
    ):
        await sql.execute(
            "insert into event (run, seq, at, kind, text) values ($1, $2, $3, $4, $5)",
            run,
            seq,
            NOW - timedelta(minutes=45),
            kind,
            text,
        )
    await sql.execute(
        """insert into gate (run, round, position, command, status, exit_code, seconds, output, at) values
           ($1, 1, 1, 'python3 check.py', 'failed', 1, 2.4, E'F..\\nFAILED tests/test_voyage.py::test_no_speed\\n1 failed, 2 passed', $2),
           ($1, 2, 1, 'python3 check.py', 'passed', 0, 2.3, '3 passed', $2), ($1, 2, 2, 'ruff check .', 'passed', 0, 0.1, '', $2)""",
        run, NOW - timedelta(minutes=40),
    )  # fmt: skip
    await sql.execute("insert into review (task, run, created_at) values (1, $1, $2)", run, NOW - timedelta(minutes=38))
    await sql.execute("delete from audit")


def _json(value: object) -> str:
    import json

    return json.dumps(value)
