"""The screen of a run, over a real database: what it shows, its tabs, talking to the agent, answering what it asks."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest
from textual.pilot import Pilot

from core.workspace.repository import open_repository
from core.workspace.worktree import create
from storage.database import Database
from tests.tui.world import opener, settle_in
from tui.actions import registry
from tui.app import Choices, QuarterdeckApp
from tui.lifeline import Lifeline
from tui.memory import Memory
from tui.screens.run_parts import LogLine, QuestionBar, RunFigures, RunTitle
from tui.screens.run_screen import DiffTab, MessageBox, RunScreen, TextTab
from tui.store import Store
from tui.widgets.dialogs import Confirm
from tui.widgets.log_view import LogView


@pytest.fixture
async def world(migrated_database: str) -> str:
    """A database in the middle of a day's work."""
    db = await Database.open(migrated_database)
    async with db.connection() as connection:
        await settle_in(connection)
    await db.close()
    return migrated_database


@asynccontextmanager
async def screen_of(
    dsn, tmp_path, run: str, *, size=(120, 40), readonly=False
) -> AsyncIterator[tuple[Pilot, RunScreen]]:
    """The app with the screen of a run open and loaded."""
    store = Store(opener(dsn, tmp_path), readonly=readonly)
    app = QuarterdeckApp(store, registry(), Choices(readonly=readonly), Memory(None), Lifeline(starts_engine=False))
    async with app.run_test(size=size) as pilot:
        await store.ready()
        app.open("run", run=run)
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and app.screen.picture is not None)
        await until(pilot, lambda: app.screen.query_one(LogView).window is not None)
        yield pilot, app.screen


async def until(pilot: Pilot, true: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(20):
        while not true():
            await pilot.pause(0.02)


def line(screen: RunScreen, kind, y: int = 0) -> str:
    """What a line of the screen says."""
    return screen.query_one(kind).render_line(y).text


async def execute(dsn: str, statement: str, *values: object) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement, *values)
    finally:
        await connection.close()


async def fetch(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_it_says_what_the_run_is_and_how_it_stands(world, tmp_path):
    async with screen_of(world, tmp_path, "7") as (pilot, screen):
        assert "#7 Take the accents off slugs" in line(screen, RunTitle)
        assert "attempt 2 of 3" in line(screen, RunTitle)
        assert "● running" in line(screen, RunFigures)
        assert "+49" in line(screen, RunFigures)
        assert screen.trail == "run 7.2"
        await until(pilot, lambda: "npm test" in screen.query_one(LogView).visible_text())
        assert "following" in line(screen, LogLine)


async def test_a_new_event_appears_by_itself(world, tmp_path):
    async with screen_of(world, tmp_path, "7") as (pilot, screen):
        run = screen.picture.number
        await execute(
            world, "insert into event (run, seq, kind, text) values ($1, 7, 'output', 'it has just come')", run
        )
        await execute(world, "select pg_notify('qd', $1)", f"event run:{run}")
        await until(pilot, lambda: "it has just come" in screen.query_one(LogView).visible_text())


async def test_every_tab_shows_its_own_and_has_the_keys(world, tmp_path):
    async with screen_of(world, tmp_path, "7") as (pilot, screen):
        run = screen.picture.number
        await execute(
            world,
            """insert into gate (run, round, position, command, status, exit_code, seconds, output)
               values ($1, 1, 1, 'npm test', 'failed', 1, 2.5, 'one of them fails')""",
            run,
        )
        await execute(world, "select pg_notify('qd', 'run')")
        await until(pilot, lambda: bool(screen.picture.gates))
        for tab, pane, words in (
            ("diff", DiffTab, ""),
            ("usage", TextTab, "from cache"),
            ("gates", TextTab, "one of them fails"),
            ("told", TextTab, "Take the accents off slugs"),
            ("log", LogView, ""),
        ):
            await pilot.press("tab")
            await until(pilot, lambda pane=pane: pilot.app.focused is screen.query_one(pane))
            assert screen.tab == tab
            if words:
                reader = screen.query_one(TextTab)
                assert any(words in "".join(text for text, _ in found) for found in reader._lines)


async def test_the_diff_so_far_shows_what_the_agent_writes_and_goes_on_with_it(world, tmp_path):
    repository, who = tmp_path / "repository", ("-c", "user.name=t", "-c", "user.email=t@example.org")
    repository.mkdir()
    (repository / "slug.py").write_text("".join(f"line {n}\n" for n in range(40)))
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), (*who, "commit", "-qm", "first")):
        subprocess.run(["git", *words], cwd=repository, check=True)
    base = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=repository, check=True, capture_output=True, text=True
    ).stdout.strip()
    tree = await create(await open_repository(repository), tmp_path / "trees" / "7", "qd/7-slug", base)
    (tree.path / "new.py").write_text("an eszett is ss\n")
    await execute(world, "update project set path = $1 where id = 'lantern'", str(repository))
    await execute(
        world,
        "update run set base_commit = $1, branch = $2, worktree = $3 where task = 7",
        base,
        tree.branch,
        str(tree.path),
    )
    async with screen_of(world, tmp_path, "7") as (pilot, screen):
        view = screen.query_one(DiffTab)
        await pilot.press("tab")
        await until(pilot, lambda: "an eszett is ss" in view.whole_text())
        while view.spot() is None:
            await pilot.press("j")
        assert view.spot().text == "an eszett is ss"
        (tree.path / "a first file.py").write_text("it sorts before\n")
        await execute(world, "select pg_notify('qd', $1)", f"event run:{screen.picture.number}")
        await until(pilot, lambda: "it sorts before" in view.whole_text())
        assert view.spot().text == "an eszett is ss"
        await pilot.press("tab")
        assert screen._change is None


async def test_a_message_is_written_and_sent_by_keyboard_alone(world, tmp_path):
    async with screen_of(world, tmp_path, "7") as (pilot, screen):
        await until(pilot, lambda: pilot.app.focused is screen.query_one(LogView))
        await pilot.press("s")
        await until(pilot, lambda: pilot.app.focused is screen.query_one(MessageBox))
        await pilot.press(*"mind the eszett", "enter")
        await until(pilot, lambda: bool(screen.picture.inputs))
        told = screen.picture.inputs[-1]
        assert (told.kind, told.data["text"], told.actor) == ("message", "mind the eszett", "user:ann")
        assert screen.query_one(MessageBox).value == ""
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.focused is screen.query_one(LogView))


async def test_a_question_is_answered_with_one_key_but_not_by_one_that_was_meant_for_something_else(world, tmp_path):
    async with screen_of(world, tmp_path, "8") as (pilot, screen):
        await until(pilot, lambda: "Is a missing port an error" in line(screen, QuestionBar))
        assert "1 an error   2 unknown" in line(screen, QuestionBar, 1)
        assert "a a in words" in line(screen, QuestionBar, 1)
        await pilot.press("2")
        await pilot.pause()
        assert await fetch(world, "select status from question where number = 1") == "open"
        screen._asked -= 5
        await pilot.press("2")
        await until(pilot, lambda: screen.question is None)
        assert await fetch(world, "select answer from question where number = 1") == "unknown"
        assert not screen.query_one(QuestionBar).display


async def test_a_permission_is_given_with_one_key(world, tmp_path):
    async with screen_of(world, tmp_path, "3") as (pilot, screen):
        await until(pilot, lambda: "1 allow once   2 deny   3 always   a a asks first" in line(screen, QuestionBar, 1))
        screen._asked -= 5
        await pilot.press("2")
        await until(pilot, lambda: screen.question is None)
        assert await fetch(world, "select decision from question where number = 2") == "deny"


async def test_what_is_always_allowed_is_shown_to_the_letter_and_confirmed(world, tmp_path):
    await execute(
        world,
        """update question set data = '{"tool": "Bash", "input": {"command": "git push --force"}}' where number = 2""",
    )
    async with screen_of(world, tmp_path, "3") as (pilot, screen):
        await until(pilot, lambda: screen.question is not None)
        screen._asked -= 5
        await pilot.press("3")
        await until(pilot, lambda: isinstance(pilot.app.screen, Confirm))
        assert "`Bash: git push`" in pilot.app.screen._loses
        assert "every command of the tool Bash that begins with `git push`" in pilot.app.screen._loses
        await pilot.press("n")
        await until(pilot, lambda: not isinstance(pilot.app.screen, Confirm))
        assert await fetch(world, "select count(*) from permission") == 0
        await pilot.press("3")
        await until(pilot, lambda: isinstance(pilot.app.screen, Confirm))
        await pilot.press("y")
        await until(pilot, lambda: screen.question is None)
        assert await fetch(world, "select rule from permission where project = 'harbour'") == "Bash: git push"


async def test_a_screen_that_only_reads_sends_nothing(world, tmp_path):
    async with screen_of(world, tmp_path, "8", readonly=True) as (pilot, screen):
        await until(pilot, lambda: screen.question is not None)
        screen._asked -= 5
        await pilot.press("1", "s", "x", "enter")
        await pilot.pause()
        assert await fetch(world, "select count(*) from run_input") == 0
        assert await fetch(world, "select status from question where number = 1") == "open"


async def test_pause_is_sent_and_seen(world, tmp_path):
    async with screen_of(world, tmp_path, "7") as (pilot, screen):
        await until(pilot, lambda: pilot.app.focused is screen.query_one(LogView))
        await pilot.press("[")
        await until(pilot, lambda: screen.picture.paused)
        assert "paused" in line(screen, RunFigures)


@pytest.mark.parametrize("size", [(80, 24), (200, 50), (40, 12), (20, 6)])
async def test_it_fits_every_size(world, tmp_path, size):
    async with screen_of(world, tmp_path, "8", size=size) as (pilot, screen):
        await until(pilot, lambda: screen.question is not None)
        for _ in range(5):
            await pilot.press("tab")
            await pilot.pause()
        view = screen.query_one(LogView)
        assert [strip.cell_length for strip in view._painted] == [view.size.width] * len(view._painted)


async def test_a_change_that_is_on_another_host_is_said_and_is_no_trouble_of_the_database(world, tmp_path):
    await execute(world, "update project set path = '/srv/database-of-ships' where id = 'harbour'")
    await execute(world, "update run set base_commit = 'abc', head_commit = 'def' where task = 3")
    async with screen_of(world, tmp_path, "3.1") as (pilot, screen):
        states, say = [], pilot.app.store._say
        pilot.app.store._say = lambda state, words="": (states.append(state), say(state, words))
        screen.open_tab("diff")
        view = screen.query_one(DiffTab)
        await until(pilot, lambda: "database-of-ships is not on this host" in " ".join(view.empty))
        assert "gone" not in states
