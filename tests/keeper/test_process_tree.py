"""The processes of a run are found through /proc, and through ps where there is none."""

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from core.keeper import tree
from tests.keeper.conftest import until

pytestmark = pytest.mark.skipif(shutil.which("ps") is None, reason="ps is not installed")


@pytest.fixture(params=["children", "proc", "ps"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(tree, "_CHILDREN", request.param == "children")
    monkeypatch.setattr(tree, "PROC", request.param != "ps")
    return str(request.param)


@pytest.fixture
def family() -> Iterator[subprocess.Popen[bytes]]:
    """A shell with a sleeping child, in a session of its own, marked."""
    mark = f"tree-{os.getpid()}"
    command = ["/bin/sh", "-c", "sleep 1000 & wait"]
    with subprocess.Popen(command, env={"QD_RUN_MARK": mark, "A": "1"}, start_new_session=True) as process:
        yield process
        os.killpg(process.pid, 9)


async def test_descendants_are_listed_parents_first(way: str, family: "subprocess.Popen[bytes]") -> None:
    await until(lambda: len(tree.descendants(family.pid)) == 1)
    found = tree.descendants(os.getpid())
    child = tree.descendants(family.pid)[0]
    assert found.index(family.pid) < found.index(child)
    assert os.getpid() not in found


async def test_the_marked_are_found(way: str, family: "subprocess.Popen[bytes]") -> None:
    mark = f"tree-{os.getpid()}"
    await until(lambda: len(tree.marked(mark)) == 2)
    assert sorted(tree.marked(mark)) == sorted([family.pid, *tree.descendants(family.pid)])
    assert tree.marked(mark[:-1]) == []
    assert tree.marked("") == []


async def test_the_group_of_a_leader_is_found(family: "subprocess.Popen[bytes]") -> None:
    await until(lambda: len(tree.group(family.pid)) == 2)


async def test_memory_and_state_are_found(way: str, family: "subprocess.Popen[bytes]") -> None:
    await until(lambda: len(tree.descendants(family.pid)) == 1)
    used = tree.memory([family.pid])
    assert 100_000 < used < 100_000_000
    assert tree.memory([family.pid], limit=1) <= used or way == "ps"
    assert tree.memory([]) == 0
    assert not tree.is_stopped(family.pid)
    tree.send([family.pid, 2**22 + 1], 19)
    await until(lambda: tree.is_stopped(family.pid))
