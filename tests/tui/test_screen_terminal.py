"""The screen on a real terminal: it lives and dies with it, and gives it back as it was."""

import json
import os
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.tui.terminal import ROOT, Terminal, terminal


def _seen(terminal_: Terminal) -> None:
    terminal_.wait("need you", 60)


def test_a_line_that_is_cut_ends_the_screen(seen_day: str, world_environ: dict[str, str]) -> None:
    with terminal(world_environ | {"QD_DATABASE_URL": seen_day}, "--readonly") as line:
        _seen(line)
        line.hang_up()
        assert line.ended(5) == 128 + signal.SIGHUP


def test_a_line_that_is_cut_ends_a_screen_that_was_told_to_ignore_it(
    seen_day: str, world_environ: dict[str, str]
) -> None:
    with terminal(world_environ | {"QD_DATABASE_URL": seen_day}, "--readonly", deaf=True) as line:
        _seen(line)
        line.hang_up()
        line.ended(5)


def test_a_kill_gives_the_terminal_back(seen_day: str, world_environ: dict[str, str]) -> None:
    with terminal(world_environ | {"QD_DATABASE_URL": seen_day}, "--readonly") as line:
        _seen(line)
        os.kill(line.pid, signal.SIGTERM)
        assert line.ended(5) == 128 + signal.SIGTERM
        line.wait(lambda: b"\x1b[?1049l" in line.output)
        assert b"\x1b[?25h" in line.output
        assert termios.tcgetattr(line.master)[3] & termios.ECHO


def test_it_is_suspended_and_comes_back(seen_day: str, world_environ: dict[str, str]) -> None:
    with terminal(world_environ | {"QD_DATABASE_URL": seen_day}, "--readonly") as line:
        _seen(line)
        line.wait(lambda: b"\x1b[22;2t" in line.output)
        line.send("\x1a")
        line.stopped()
        line.wait(lambda: line.output.count(b"\x1b[23;2t") == 1)
        before = len(line.output)
        os.kill(line.pid, signal.SIGCONT)
        line.wait(lambda: b"\x1b[?1049h" in line.output[before:])
        line.wait(lambda: b"\x1b]2;(" in line.output[before:])
        line.send("3")
        line.send("q")
        assert line.ended() == 0
        line.wait(lambda: line.output.count(b"\x1b[23;2t") == 2)


def test_what_another_program_wrote_meanwhile_is_painted_over(seen_day: str, world_environ: dict[str, str]) -> None:
    with terminal(world_environ | {"QD_DATABASE_URL": seen_day}, "--readonly", size=(120, 40)) as line:
        _seen(line)
        line.wait("22")
        line.quiet()
        before = line.cells()
        line.send("\x1a")
        line.stopped()
        line.soil()
        os.kill(line.pid, signal.SIGCONT)
        line.wait("need you")
        line.quiet()
        assert line.cells() == before, line.text()
        line.send("Q")
        assert line.ended() == 0


def test_what_an_editor_leaves_is_painted_over(day: str, world_environ: dict[str, str], tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text(
        '#!/bin/sh\nfor n in 1 2 3 4 5 6 7 8 9; do printf "\\033[${n}0H\\033[${n};1Hthe editor was here"; done\necho more >> "$1"\n'
    )
    editor.chmod(0o755)
    with terminal(world_environ | {"EDITOR": str(editor)}, "--database-url", day, size=(120, 40)) as line:
        _seen(line)
        line.wait("22")
        line.send("3")
        line.send("t")
        line.wait("new task")
        line.quiet()
        line.send("\x05")
        line.wait(lambda: b"the editor was here" in line.output)
        line.wait("more")
        line.quiet()
        written = line.cells()
        assert "the editor was here" not in line.text()
        size = len(line.output)
        line.send("\x0c")
        line.wait(lambda: len(line.output) > size + 5000)
        line.quiet()
        assert line.cells() == written
        for _ in range(2):
            line.send("\x1b")
            line.quiet()
        line.send("Q")
        assert line.ended() == 0


def test_it_bears_any_size(seen_day: str, world_environ: dict[str, str]) -> None:
    with terminal(world_environ | {"QD_DATABASE_URL": seen_day}, "--readonly") as line:
        _seen(line)
        for size in ((1, 1), (2, 1), (1, 40), (300, 2), (20, 5), (200, 60), (7, 3), (1, 1)):
            line.resize(*size)
            line.send("jz3lz1k")
        line.resize(120, 40)
        line.wait("3 queue")
        line.send("Q")
        assert line.ended() == 0


def test_the_size_that_is_told_last_is_the_one_that_the_terminal_has(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from textual.drivers.linux_driver import LinuxDriver
    from textual.events import Resize
    from textual.geometry import Size

    from tui.lifeline import Lifeline

    driver = LinuxDriver.__new__(LinuxDriver)
    driver._in_band_window_resize = False
    monkeypatch.setattr(driver, "_get_terminal_size", lambda: (120, 40))
    line = Lifeline(on_terminal=True)
    line._app = SimpleNamespace(_driver=driver)  # type: ignore[assignment]
    assert line.sized(Resize(Size(300, 2), Size(300, 2))).size == Size(120, 40)
    line.on_terminal = False
    assert line.sized(Resize(Size(300, 2), Size(300, 2))).size == Size(300, 2), "a browser says itself how large it is"


def test_what_is_painted_bit_by_bit_is_what_is_painted_at_once(seen_day: str, world_environ: dict[str, str]) -> None:
    with terminal(world_environ | {"QD_DATABASE_URL": seen_day}, "--readonly", size=(120, 40)) as line:
        _seen(line)
        line.wait("22")
        for keys in ("3jjj", "z", "z", "\x06G", "gt", "/lantern\r", "\x1b", "\r", "jj", "\t", "q", "?", "\x1b", "2j", ":budget list\r", "\x1b", "4", "kkk",
                     "G", "\r", "kk", "q", "1j", "\x0f", "\x1b", "gcmono\r", "gcdark\r", "gb", "j", "q", "gk", "q"):  # fmt: skip
            line.send(keys)
            if keys.startswith(":"):  # it asks the database first
                line.wait(f"qd {keys[1:].strip()}")
            line.quiet()
            bit_by_bit, written = line.cells(), len(line.output)
            line.send("\x0c")
            line.wait(lambda seen=written: len(line.output) > seen + 5000)
            line.quiet()
            assert line.cells() == bit_by_bit, f"after {keys!r}:\n{line.text()}"
        line.send("Q")
        assert line.ended() == 0


def test_nothing_is_written_while_nothing_happens(seen_day: str, world_environ: dict[str, str]) -> None:
    with terminal(world_environ | {"QD_DATABASE_URL": seen_day}, "--readonly", size=(120, 40)) as line:
        _seen(line)
        line.wait("22")
        settled, since = len(line.output), time.monotonic()
        while time.monotonic() - since < 2.5:
            if len(line.output) != settled:
                settled, since = len(line.output), time.monotonic()
            assert time.monotonic() - since < 60
            time.sleep(0.05)
        quiet = len(line.output)
        time.sleep(3)
        assert len(line.output) == quiet


def test_a_terminal_without_colours_and_unicode_gets_neither(seen_day: str, world_environ: dict[str, str]) -> None:
    poor = world_environ | {"QD_DATABASE_URL": seen_day, "TERM": "vt100", "LANG": "C", "NO_COLOR": "1"}
    with terminal(poor, "--readonly") as line:
        _seen(line)
        line.wait("3 queue")
        assert line.output.isascii(), [row for row in line.text().splitlines() if not row.isascii()]
        assert b"\x1b[38;" not in line.output
        assert b"48;2" not in line.output
        line.send("Q")
        assert line.ended() == 0


def test_without_a_terminal_it_says_so(world_environ: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "core.faces.start"],
        env=world_environ,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "needs a terminal" in done.stderr


async def test_an_engine_elsewhere_is_shown_and_none_is_started_for_it(
    day: str, seen_nothing: str, world_environ: dict[str, str]
) -> None:
    import asyncpg

    here = world_environ | {"QD_DATABASE_URL": seen_nothing}
    with terminal(here, "--readonly", size=(120, 40)) as line:
        line.wait("No projects yet")
        line.send("Q")
        assert line.ended() == 0
    connection = await asyncpg.connect(day)
    await connection.execute("update engine set state = 'stopped'")
    with terminal(here, "--database-url", day, size=(120, 40)) as line:
        line.wait("harbour")
        line.wait("no engine is running")
        line.send("Q")
        assert line.ended() == 0
    assert await connection.fetchval("select count(*) from engine") == 1
    await connection.close()
    told = subprocess.run(
        [sys.executable, "-P", "-m", "core.faces.start", "--database-url", day, "project", "list", "--json"],
        env=here, cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [project["id"] for project in json.loads(told.stdout)] == ["harbour", "lantern", "quay"]


async def test_what_needs_the_person_rings_once(day: str, world_environ: dict[str, str]) -> None:
    import asyncpg

    with terminal(world_environ | {"QD_DATABASE_URL": day}, "--readonly") as line:
        line.wait(lambda: b"\x1b]2;(6) Quarterdeck\x07" in line.output)
        assert b"\x1b]9;" not in line.output, "what was there already rings for nobody"
        connection = await asyncpg.connect(day)
        await connection.execute(
            "insert into question (run, task, project, ref, text) select number, task, project, 'new', 'May I?' from run where task = 4"
        )
        for _ in range(3):
            await connection.execute("select pg_notify('qd', 'question task:4')")
        await connection.close()
        line.wait("May I?")
        line.wait(lambda: b"\x1b]9;Quarterdeck: question" in line.output)
        assert line.output.count(b"\x1b]9;") == 1
        assert b"\x1b]2;(6) Quarterdeck\x07" in line.output


async def test_what_agents_and_repositories_say_moves_nothing_on_the_terminal(
    day: str, world_environ: dict[str, str]
) -> None:
    import asyncpg

    evil = "\x1b]52;c;cm0gLXJm\x07\x1b]0;owned\x07\x1b[2J\x1b[?1049l\x1bc\x9b5n\x1b[6n\u202efdp\U00018d09[bold]x[/bold]\r\x08end"
    connection = await asyncpg.connect(day)
    await connection.execute("alter table task_body disable trigger user")
    await connection.execute("update task_body set title = $1, description = $1, reason = $1 where task = 4", evil)
    await connection.execute("update project set name = $1, stack = $1 where id = 'quay'", evil)
    await connection.execute(
        "insert into event (run, seq, at, kind, text) select number, 50, now(), 'output', $1 from run where task = 4",
        evil,
    )
    await connection.execute(
        "insert into question (run, task, project, ref, text, options) select number, task, project, 'new', $1, jsonb_build_array($1::text) from run where task = 4",
        evil,
    )
    await connection.close()
    with terminal(world_environ | {"QD_DATABASE_URL": day}, "--readonly", size=(120, 40)) as line:
        line.wait("need you", 60)
        line.wait("]52;c;cm0gLXJm")
        line.send(":4\r")
        line.wait("what is wanted")
        line.send("L")
        line.wait("run 4.1")
        line.wait("[bold]x[/bold]")
        line.send("Q")
        assert line.ended() == 0
        sent = bytes(line.output)
        left = sent.index(b"\x1b[?1049l")
        for obeyed in (
            b"\x1b]52",
            b"\x1b]0;",
            b"\x1b[2J",
            b"\x1bc",
            b"\x9b5n",
            b"\x1b[6n",
            "\u202e".encode(),
            "\U00018d09".encode(),
            b"\x08",
        ):
            assert obeyed not in sent[:left].replace(b"\xe2\x90\x9b", b""), obeyed


@pytest.mark.parametrize(
    ("in_tmux", "written"),
    [
        (False, "\x07\x1b]9;Quarterdeck: question: Which port?\x07"),
        (True, "\x07\x1bPtmux;\x1b\x1b]9;Quarterdeck: question: Which port?\x07\x1b\\"),
    ],
)
def test_an_alert_reaches_the_terminal_of_the_person_through_tmux_too(in_tmux: bool, written: str) -> None:
    from datetime import UTC, datetime
    from types import SimpleNamespace

    from tui.lifeline import Lifeline

    sent: list[str] = []
    line = Lifeline(in_tmux=in_tmux)
    line._app = SimpleNamespace(  # type: ignore[assignment]
        is_headless=False,
        _driver=SimpleNamespace(write=sent.append),
        store=SimpleNamespace(now=lambda: datetime(2026, 5, 6, tzinfo=UTC)),
    )
    line.alert([])
    line.alert([SimpleNamespace(kind="question", key="1", title="Which port?")])  # type: ignore[list-item]
    assert sent == [written]


def test_quiet_hours_go_over_midnight() -> None:
    from datetime import time as clock

    from config.settings import ScreenSettings
    from tui.lifeline import Lifeline

    line = Lifeline(wishes=ScreenSettings(quiet_hours="22:00-07:30"))
    hours = (21, 22, 23, 3, 7, 8, 12)
    assert [line.silent(clock(hour)) for hour in hours] == [False, True, True, True, True, False, False]
    assert not Lifeline().silent(clock(3))
    for wrong in ("late", "22:00", "22-07", "25:00-07:00", "22:00-07:60", ""):
        with pytest.raises(ValueError, match="two times of the day"):
            ScreenSettings(quiet_hours=wrong)
