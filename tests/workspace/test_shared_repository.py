"""Engines that share a repository, in one process or in several, do not get into each other's way."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from workspace_kit import commit, fingerprint, run_git

from config.errors import UnavailableError
from core.workspace.locks import locked
from core.workspace.repository import Repository, base_commit, open_repository
from core.workspace.worktree import create, remove

ENGINE = """
import asyncio, json, sys
from pathlib import Path
from core.workspace.repository import base_commit, open_repository
from core.workspace.worktree import commit_all, create

async def one(repo, root, number):
    worktree = await create(repo, root / str(number), f"qd/{number}-x", await base_commit(repo, "main"))
    (worktree.path / f"work{number}.txt").write_text("w")
    return [number, await commit_all(worktree, "m")]

async def main():
    repo, root = await open_repository(Path(sys.argv[1])), Path(sys.argv[2])
    numbers = [int(word) for word in sys.argv[3:]]
    print(json.dumps(await asyncio.gather(*(one(repo, root, number) for number in numbers))))

asyncio.run(main())
"""


def test_ten_worktrees_made_at_once_by_two_processes(person: Path, tmp_path: Path) -> None:
    before = fingerprint(person)
    root = Path(__file__).resolve().parents[2]
    engines = [
        subprocess.Popen(
            [sys.executable, "-c", ENGINE, str(person), str(tmp_path / "wt"), *map(str, numbers)],
            cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for numbers in (range(5), range(5, 10))
    ]  # fmt: skip
    made: dict[int, str] = {}
    for engine in engines:
        out, err = engine.communicate(timeout=120)
        assert engine.returncode == 0, err
        made |= dict(json.loads(out))
    for number in range(10):
        assert run_git(person, "rev-parse", f"qd/{number}-x") == made[number]
        assert run_git(person, "show", f"qd/{number}-x:work{number}.txt") == "w"
    assert fingerprint(person) == before


def test_ten_worktrees_made_at_once_by_two_event_loops(person: Path, tmp_path: Path) -> None:
    failures: list[BaseException] = []

    async def make(numbers: range) -> None:
        repo = await open_repository(person)
        base = await base_commit(repo, "main")
        worktrees = await asyncio.gather(
            *(create(repo, tmp_path / "wt" / str(number), f"qd/{number}-x", base) for number in numbers)
        )
        await asyncio.gather(*(remove(worktree, merged_or_salvaged=False) for worktree in worktrees))

    def loop(numbers: range) -> None:
        try:
            asyncio.run(make(numbers))
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=loop, args=(numbers,)) for numbers in (range(5), range(5, 10))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failures == []
    assert run_git(person, "worktree", "list").count("\n") == 0
    assert len(run_git(person, "branch", "--list", "qd/*").splitlines()) == 10


async def test_a_worktree_that_a_killed_engine_was_making_is_waited_for_and_taken_up(
    person: Path, tmp_path: Path
) -> None:
    commit(person, "slow", _dot_gitattributes="*.slow filter=slow\n", z_dot_slow="content")
    wait = f"touch '{tmp_path}/slowly'; until [ -e '{tmp_path}/release' ]; do sleep 0.02; done; cat"
    run_git(person, "config", "filter.slow.smudge", wait)
    root = Path(__file__).resolve().parents[2]
    engine = subprocess.Popen(
        [sys.executable, "-c", ENGINE, str(person), str(tmp_path / "wt"), "1"],
        cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            while not (tmp_path / "slowly").exists():
                await asyncio.sleep(0.01)
    finally:
        engine.kill()
        engine.wait()
    repo = await open_repository(person)
    with pytest.raises(UnavailableError):
        async with locked(repo.git_dir, patience=0):
            pass
    again = asyncio.create_task(create(repo, tmp_path / "wt" / "1", "qd/1-x", await base_commit(repo, "main")))
    (tmp_path / "release").touch()
    worktree = await again
    assert (worktree.path / "z.slow").read_text() == "content"
    assert run_git(worktree.path, "status", "--porcelain") == ""


async def test_the_lock_is_held_by_one_at_a_time_and_waited_for(repo: Repository) -> None:
    order: list[str] = []
    entered = asyncio.Event()

    async def first() -> None:
        async with locked(repo.git_dir):
            entered.set()
            await asyncio.sleep(0.05)
            order.append("first")

    async def second() -> None:
        await entered.wait()
        async with locked(repo.git_dir):
            order.append("second")

    await asyncio.gather(second(), first())
    assert order == ["first", "second"]


async def test_a_lock_that_is_not_let_go_is_an_error_in_the_end(repo: Repository) -> None:
    async with locked(repo.git_dir):
        with pytest.raises(UnavailableError, match="another engine has held"):
            async with locked(repo.git_dir, patience=0.05):
                pass


async def test_a_dead_engine_holds_no_lock(repo: Repository) -> None:
    program = (
        "import fcntl, os, sys, time; fcntl.flock(os.open(sys.argv[1], os.O_CREAT | os.O_RDWR), fcntl.LOCK_EX); "
        "print('held', flush=True); time.sleep(300)"
    )
    holder = subprocess.Popen([sys.executable, "-c", program, str(repo.git_dir / "qd.lock")], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    holder.kill()
    holder.communicate()
    async with locked(repo.git_dir, patience=20):
        pass
