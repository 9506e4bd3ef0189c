"""The real `qd`, as a process."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.command_line import CommandLine

QD = (sys.executable, "-P", "-m", "core.faces.start")


def qd_process(qd: CommandLine, *argv: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*QD, *argv], cwd=qd.cwd, env={**qd.environ, **more}, capture_output=True, text=True, timeout=60, check=False
    )


def seconds_of(*argv: str) -> float:
    """The best of seven starts: the others were disturbed by what else the machine does."""

    def once() -> float:
        began = time.perf_counter()
        subprocess.run(argv, check=True, capture_output=True)
        return time.perf_counter() - began

    return min(once() for _ in range(7))


def test_the_version_comes_within_three_times_of_a_bare_start() -> None:
    assert seconds_of(*QD, "--version") < 3 * seconds_of(sys.executable, "-P", "-c", "pass") + 0.01


def test_nothing_heavy_is_loaded_for_a_command_that_does_not_need_it(qd: CommandLine) -> None:
    heavy = {"sqlmodel", "sqlalchemy", "anthropic", "textual", "git", "httpx", "rich", "alembic", "watchfiles"}
    code = """if True:
        import sys, core.faces.start
        sys.argv[1:] = ["status", "--json"]
        core.faces.start.main()
        print(*sys.modules, file=sys.stderr)
    """
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=qd.environ, cwd=qd.cwd, capture_output=True, text=True, check=True
    )
    assert not heavy & {name.partition(".")[0] for name in done.stderr.split()}


async def test_a_journey(qd: CommandLine) -> None:
    assert qd_process(qd, "agent", "add", "a", "--adapter", "command", "--command", "true").returncode == 0
    listed = qd_process(qd, "agent", "list")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert listed.stdout.splitlines()[1].startswith("a     ● enabled")
    assert "a     + enabled" in qd_process(qd, "agent", "list", PYTHONIOENCODING="ascii").stdout
    wrong = qd_process(qd, "agent", "show", "b")
    assert (wrong.returncode, wrong.stdout, wrong.stderr) == (3, "", "qd: there is no agent b; see `qd agent list`\n")


def test_bytes_that_are_no_text_are_refused_in_a_sentence(qd: CommandLine) -> None:
    done = subprocess.run(
        [*QD, "agent", "show", b"\xff\xfe\x1b[2J"], env=qd.environ, cwd=qd.cwd, capture_output=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == b""
    assert b"is not valid UTF-8 text" in done.stderr
    assert b"\x1b" not in done.stderr


def test_a_reader_that_leaves_is_no_failure(qd: CommandLine) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as out:
        done = subprocess.run(
            [*QD, "settings", "list"], env=qd.environ, cwd=qd.cwd, stdout=out, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_interrupt_is_130_and_quiet(qd: CommandLine, tmp_path: Path) -> None:
    fifo = tmp_path / "never"
    os.mkfifo(fifo)
    process = subprocess.Popen(
        [*QD, "settings", "list"],
        env={**qd.environ, "QD_CONFIG": str(fifo)},  # whoever reads this file waits for a writer
        cwd=qd.cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process, fifo.open("wb"):  # it opens when the process has come to read it
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, b"")


def test_somebody_elses_modules_in_the_way_are_named(qd: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "__init__.py").write_text("")
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); import core.faces.start as s; sys.exit(s.main())"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(tmp_path), "status"],
        env=qd.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "the module config was loaded from" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_is_gone_is_a_sentence(qd: CommandLine, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    shell = f"rmdir '{gone}'; exec '{sys.executable}' -P -m core.faces.start status"
    done = subprocess.run(["sh", "-c", shell], cwd=gone, env=qd.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "does not exist any more" in done.stderr


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_any_locale_can_show_everything(qd: CommandLine, locale: str) -> None:
    assert qd_process(qd, "settings", "set", "engine.max_parallel", "\u202e5", LC_ALL=locale).returncode == 2
    assert qd_process(qd, "settings", "list", LC_ALL=locale).returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
def test_output_that_nobody_takes_ends_in_a_sentence_or_in_silence(qd: CommandLine) -> None:
    words = f"exec {shlex.join(QD)} agent list --json"
    for redirection, code, said in (
        (">/dev/full", 1, "there is no room left"),
        (">&-", 0, ""),
        ("<&- 2>&-", 0, ""),
    ):
        done = subprocess.run(
            ["sh", "-c", f"{words} {redirection}"],
            cwd=qd.cwd,
            env=qd.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, (redirection, done.stderr)
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_what_is_made_is_never_the_whole_world_s_to_change(qd: CommandLine, tmp_path: Path) -> None:
    code = """if True:
        import pathlib, sys, core.faces.start
        sys.argv[1:] = ["help"]
        core.faces.start.main()
        pathlib.Path("made").mkdir()
    """
    subprocess.run(
        [sys.executable, "-P", "-c", code], env=qd.environ, cwd=tmp_path, umask=0, check=True, capture_output=True
    )
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o775
