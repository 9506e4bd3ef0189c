"""The end of the demonstration, whichever way it comes: nothing of it stays."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from config.paths import Paths
from storage.server import server_dsn
from tests.postgres import embedded_server

PATIENCE = 120.0
pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked for in /proc")


@pytest.fixture(scope="module")
def place() -> Iterator[Paths]:
    """An installation whose database runs."""
    with embedded_server() as paths:
        yield paths


def demo(place: Paths, output: Path) -> subprocess.Popen[bytes]:
    """A demonstration in which an agent has begun to work."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("QD_")}
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "core.faces.start", "demo", "--headless"],
            env=env | {"QD_HOME": str(place.state.parent)},
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    until(lambda: "tool_call" in output.read_text() or process.poll() is not None)
    assert process.poll() is None, output.read_text()
    return process


def until(condition: object) -> None:
    assert callable(condition)
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.05)


def processes(place: Paths) -> list[str]:
    """The command lines of engines, keepers and agents that belong to this installation."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line, environ = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
        except OSError:
            continue
        if str(place.state).encode() in line + environ and b"postgres" not in line:
            found.append(line.replace(b"\0", b" ").decode(errors="replace"))
    return found


async def databases(place: Paths) -> set[str]:
    connection = await asyncpg.connect(server_dsn(place, "postgres"))
    try:
        return {row[0] for row in await connection.fetch("select datname from pg_database where datname like 'demo%'")}
    finally:
        await connection.close()


def folders(place: Paths) -> list[Path]:
    return list((place.state / "demo").iterdir())


async def test_a_killed_one_ends_by_itself_and_is_cleared_away_by_the_next_which_ctrl_c_ends(
    place: Paths, tmp_path: Path
) -> None:
    killed = demo(place, tmp_path / "killed")
    killed.kill()
    killed.wait(PATIENCE)
    [left] = folders(place)
    until(lambda: not processes(place))
    following = demo(place, tmp_path / "next")
    assert left not in folders(place)
    assert len(await databases(place)) == 1
    os.killpg(following.pid, signal.SIGINT)
    assert following.wait(PATIENCE) == 130
    assert "Traceback" not in (tmp_path / "next").read_text()
    assert (processes(place), folders(place), await databases(place)) == ([], [], set())


def test_a_reader_that_leaves_ends_it_without_a_word(place: Paths, tmp_path: Path) -> None:
    with (tmp_path / "err").open("wb") as err:
        reading = subprocess.Popen(
            [sys.executable, "-P", "-m", "core.faces.start", "demo", "--headless"],
            env=os.environ | {"QD_HOME": str(place.state.parent)},
            stdout=subprocess.PIPE,
            stderr=err,
        )
    assert reading.stdout
    reading.stdout.readline()
    reading.stdout.close()
    assert reading.wait(PATIENCE) == 0
    assert (tmp_path / "err").read_text() == ""
    assert (processes(place), folders(place)) == ([], [])
