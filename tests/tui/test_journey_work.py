"""Journeys of a person with nothing but keys: what is seen, what is in the database, and what is in git agree."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.engine.engine_kit import Site, git, site
from tests.tui.change_kit import World, app_on, shows, text_of, world, write
from tui.actions import why_not
from tui.memory import Memory
from tui.notes import read_notes
from tui.screens.review_screen import ReviewScreen


@pytest.fixture
async def crew(migrated_database: str) -> AsyncIterator[Site]:
    """A site with an engine at work and a scripted agent, and no project yet."""
    async with site(migrated_database) as made:
        await made.agent()
        host = made.host()
        await made.set(engine__retry_seconds=0.05, run__interrupt_seconds=0.5, run__terminate_seconds=0.5)
        await host.start()
        yield made


@pytest.fixture
async def harbour(migrated_database: str, tmp_path: Path) -> AsyncIterator[World]:
    """A change that waits for its review, without an engine."""
    async with world(migrated_database, tmp_path) as made:
        yield made


async def _reaches(pilot: Pilot[int], crew: Site, task: int, status: str) -> None:
    await crew.until(
        lambda: crew.sql.fetchval("select status = $2::text::task_status from task where number = $1", task, status)
    )
    await pilot.pause()


TITLE = "attempt 1 ask Which greeting?; attempt 1 write greet.txt hello; attempt 2 write greet.txt good morning; prompt told.md; say The greeting stands"


async def test_from_a_project_to_what_is_merged(crew: Site) -> None:
    repository = crew.repository("app")
    app = app_on(crew.context, frozen=False)
    async with app.run_test(size=(120, 40)) as pilot:
        await shows(pilot, "No projects yet")

        # A project, in a form; what is wrong is told while one types.
        await pilot.press("b")
        await shows(pilot, "new project", "path, URL, or owner/name on GitHub")
        await write(pilot, str(repository))
        await pilot.press("tab", "tab", "tab", "tab")
        await write(pilot, "9")
        await shows(pilot, "less than or equal to 5")
        await pilot.press("backspace", "4", "ctrl+s")
        await shows(pilot, "app")
        await crew.until(lambda: crew.sql.fetchval("select priority = 4 from project where id = 'app'"))

        # A task; its project is offered.
        await pilot.press("t")
        await shows(pilot, "new task", "What is wanted, in one line")
        await write(pilot, TITLE)
        await pilot.press("tab")
        assert app.screen.texts()["project"] == "app"  # type: ignore[attr-defined]
        await pilot.press("ctrl+s")
        await crew.until(lambda: crew.sql.fetchval("select exists (select 1 from task)"))
        task = int(await crew.sql.fetchval("select number from task"))

        # It runs, and asks.
        await crew.until(lambda: crew.sql.fetchval("select exists (select 1 from question where status = 'open')"))
        await pilot.press("1")
        await shows(pilot, "1 inbox · 1 needs you", "? asks", "Which greeting?")
        await pilot.press("a", "1")
        await crew.until(lambda: crew.sql.fetchval("select answer = 'yes' from question where status = 'answered'"))

        # What it made is read line by line.
        await _reaches(pilot, crew, task, "review")
        await shows(pilot, "to review")
        await pilot.press("enter")
        await shows(pilot, "review #1", "greet.txt", "hello", "The greeting stands")
        while "hello" not in (app.screen.query_one("#change").selected_text()):  # type: ignore[attr-defined]
            await pilot.press("J")
        await pilot.press("e")
        await shows(pilot, "note on greet.txt:1")
        await write(pilot, "say it for the morning")
        await pilot.press("enter")
        await shows(pilot, "1 note to send", "say it for the morning")
        await pilot.press("c")
        await shows(pilot, "request changes of #1")
        await write(pilot, "one thing only")
        await pilot.press("enter")
        await crew.until(
            lambda: crew.sql.fetchval("select exists (select 1 from review where status = 'changes_requested')")
        )
        assert not read_notes(app.memory, 1)

        # The second attempt was told, its change is seen here, and is merged.
        await crew.until(lambda: crew.sql.fetchval("select exists (select 1 from review where status = 'open')"))
        await shows(pilot, "attempt 2", "good morning")
        await pilot.press("m")
        await _reaches(pilot, crew, task, "completed")
        seen = await shows(pilot, "merged as")
        head = git(repository, "rev-parse", "main")
        assert head[:10] in seen
        assert await crew.sql.fetchval("select merge_commit from review where status = 'merged'") == head
        assert git(repository, "show", "main:greet.txt") == "good morning"
        assert "greet.txt:1\n> hello\nsay it for the morning" in git(repository, "show", "main:told.md")
        assert "one thing only" in git(repository, "show", "main:told.md")

        # Its page tells the story.
        app.open("task", task=str(task))
        await shows(pilot, "2 of 3", "attempt 2 succeeded", "answered: yes")
        assert [entry.outcome for entry in app.store.sent] == ["done"] * 5
        assert await crew.sql.fetchval("select count(*) from audit where actor = 'user:test' and kind = 'review'") == 2


async def test_a_change_is_not_merged_before_it_is_shown(harbour: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with harbour.app().run_test(size=(80, 24)) as pilot:
        app: Any = pilot.app
        await shows(pilot, "to review")
        there, ask = asyncio.Event(), app.store.ask

        async def slow(name: str, /, **arguments: Any) -> Any:
            if name == "run.diff":
                await there.wait()
            return await ask(name, **arguments)

        monkeypatch.setattr(app.store, "ask", slow)
        await pilot.press("enter")
        await shows(pilot, "reading the change")
        await pilot.press("m")
        await shows(pilot, "its change is still being read")
        there.set()
        await shows(pilot, "tides.bin", "2 files")
        assert why_not(app.registry.actions["judge.merge"], app.place()) is None
        assert await harbour.sql.fetchval("select status from review") == "open"


async def test_a_read_only_screen_lets_no_editor_at_the_files_of_a_run(
    harbour: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReviewScreen, "file_path", lambda _: (tmp_path / "its-file.py", 3))
    editor, opened = tmp_path / "editor", tmp_path / "opened"
    editor.write_text(f'#!/bin/sh\necho "$@" > "{opened}"\n')
    editor.chmod(0o755)
    context = replace(harbour.context, environ={**harbour.context.environ, "EDITOR": str(editor)})
    for readonly in (False, True):
        async with app_on(context, readonly=readonly).run_test(size=(80, 24)) as pilot:
            await shows(pilot, "to review")
            await pilot.press("enter")
            await shows(pilot, "tides.bin", "2 files")
            await pilot.press("E")
            if readonly:
                await shows(pilot, "the screen is read-only: that was the change as text")
        assert ("its-file.py" in opened.read_text()) is not readonly


async def test_rejecting_asks_and_says_what_is_lost(harbour: World) -> None:
    async with harbour.app().run_test(size=(80, 24)) as pilot:
        app = pilot.app
        await shows(pilot, "to review")
        await pilot.press("enter")
        await shows(pilot, "tides.bin", "2 files", "3 checks")
        await pilot.press("X")
        await shows(pilot, "Why it is not wanted")
        await write(pilot, "we do without")
        await pilot.press("enter")
        await shows(pilot, "Measure voyages by their legs", "7 files", "the task is", "cancelled", "qd/1-measure")
        await pilot.press("enter")
        await shows(pilot, "nothing was done")
        assert await harbour.sql.fetchval("select status from review") == "open"
        await pilot.press("X")
        await write(pilot, "we do without")
        await pilot.press("enter", "y")
        await shows(pilot, "✗ rejected")
        assert await harbour.sql.fetchval("select status || ': ' || note from review") == "rejected: we do without"
        assert await harbour.sql.fetchval("select status::text from task where number = 1") == "cancelled"
        await pilot.press("m")
        await shows(pilot, "it is rejected already")
        await pilot.press("escape")
        await shows(pilot, "inbox", "queue")
        assert app.is_running


async def test_notes_survive_the_screen_and_no_words_take_them_away(harbour: World, tmp_path: Path) -> None:
    kept = tmp_path / "screen.json"
    async with harbour.app(memory=Memory(kept)).run_test(size=(120, 40)) as pilot:
        await pilot.app.store.ready()  # type: ignore[attr-defined]
        pilot.app.open("review", task="1")  # type: ignore[attr-defined]
        await shows(pilot, "def rounded")
        await pilot.press("J", "e")
        await write(pilot, "why by hand?")
        await pilot.press("enter")
        await shows(pilot, "1 note to send")
    assert "why by hand?" in json.dumps(json.loads(kept.read_text()))
    async with harbour.app(memory=Memory(kept)).run_test(size=(120, 40)) as pilot:
        await pilot.app.store.ready()  # type: ignore[attr-defined]
        pilot.app.open("review", task="1")  # type: ignore[attr-defined]
        await shows(pilot, "1 note to send", "why by hand?", "def rounded")
        await pilot.press(",", "f")
        assert "def rounded" not in await shows(pilot, "folded")
        await pilot.press("f", ",", "e")
        await shows(pilot, "note on harbour/legs/rounding.py:1")
        await pilot.press("ctrl+u", "enter")
        await pilot.pause()
        assert "why by hand?" not in text_of(pilot.app)  # type: ignore[arg-type]


async def test_a_task_is_edited_and_its_neighbours_are_visited(harbour: World) -> None:
    async with harbour.app().run_test(size=(120, 40)) as pilot:
        await pilot.app.store.ready()  # type: ignore[attr-defined]
        await pilot.press("3")
        await shows(pilot, "Print the timetable")
        await pilot.press("j", "e")
        await shows(pilot, "#2 Work out when a ship arrives", "What is wanted, in one line")
        await pilot.press("end")
        await write(pilot, " at night")
        await pilot.press("tab", "tab", "ctrl+u", "5", "tab")
        await shows(pilot, "Who is to do it")
        await pilot.press("ctrl+n", "ctrl+s")
        await shows(pilot, "Work out when a ship arrives at night: blocked")
        row = await harbour.sql.fetchrow(
            "select b.title, t.priority, t.agent from task t join task_body b on b.task = t.number where t.number = 2"
        )
        assert tuple(row) == ("Work out when a ship arrives at night", 5, "claude")
        await pilot.press("enter")
        await shows(pilot, "task #2", "dependencies", "No attempt yet")
        await pilot.press("2", "l")
        await shows(pilot, "Print the timetable of a harbour", "after #2, #3")
        await pilot.press("enter")
        await shows(pilot, "task #4", "waits for")


async def test_long_text_is_written_in_the_editor(harbour: World, tmp_path: Path) -> None:
    editor = tmp_path / "an editor"
    editor.write_text(f"#!{shutil.which('sh')}\nprintf 'First line.\\n\\n- second\\n' > \"$1\"\n")
    editor.chmod(0o755)
    context = replace(harbour.context, environ={**harbour.context.environ, "EDITOR": f"'{editor}'"})
    async with app_on(context).run_test(size=(80, 24)) as pilot:
        await pilot.app.store.ready()  # type: ignore[attr-defined]
        await pilot.press("t")
        await shows(pilot, "new task")
        await write(pilot, "Look again")
        await pilot.press("tab", "tab", "ctrl+e")
        await shows(pilot, "First line.", "- second")
        await pilot.press("escape")
        await shows(pilot, "esc again drops what you have written")
        await pilot.press("ctrl+s")
        await shows(pilot, "Look again: pending")
    assert (
        await harbour.sql.fetchval("select description from task_body where title = 'Look again'")
        == "First line.\n\n- second"
    )


async def test_a_form_says_what_the_command_refuses(harbour: World) -> None:
    async with harbour.app().run_test(size=(120, 40)) as pilot:
        await pilot.app.store.ready()  # type: ignore[attr-defined]
        await pilot.press("t")
        await shows(pilot, "new task")
        await pilot.press("ctrl+s")
        await shows(pilot, "is needed")
        await write(pilot, "Again")
        await pilot.press("tab")
        await write(pilot, "x")
        await shows(pilot, "there is no project harbourx")
        await pilot.press("backspace", "tab", "tab", "tab")
        await write(pilot, "99")
        await pilot.press("ctrl+s")
        await shows(pilot, "there is no task #99")
        assert await harbour.sql.fetchval("select count(*) from task") == 5


async def test_an_agent_is_added_and_changed(harbour: World) -> None:
    async with harbour.app().run_test(size=(120, 40)) as pilot:
        await pilot.app.store.ready()  # type: ignore[attr-defined]
        await pilot.press("g", "a")
        await shows(pilot, "coder")
        await pilot.press("A")
        await shows(pilot, "kind of program")
        await write(pilot, "helper")
        await pilot.press("tab", "ctrl+n", "ctrl+s")
        await shows(pilot, "helper")
        assert await harbour.sql.fetchval("select adapter <> '' from agent where name = 'helper'")
        await pilot.press("e")
        await shows(pilot, "agent claude", "claude-code")


async def test_a_read_only_screen_judges_nothing(harbour: World) -> None:
    async with harbour.app(readonly=True).run_test(size=(120, 40)) as pilot:
        await pilot.app.store.ready()  # type: ignore[attr-defined]
        pilot.app.open("review", task="1")  # type: ignore[attr-defined]
        await shows(pilot, "def rounded")
        await pilot.press("m")
        await shows(pilot, "the screen is read-only")
        await pilot.press("t")
        await pilot.pause()
        assert "new task" not in text_of(pilot.app).splitlines()[2]  # type: ignore[arg-type]
    assert await harbour.sql.fetchval("select status from review") == "open"
