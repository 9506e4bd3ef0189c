"""Kills what it finds: engines, keepers, agents, backends of Postgres and its postmaster. Nothing that is not of its scene."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from core.keeper import client as keeper
from storage.server import server_status
from tests.chaos.scene import Scene


@dataclass(slots=True)
class Monkey:
    """Kills one thing after the other until it is stopped. ``pause``: mean seconds between two kills."""

    scene: Scene
    random: Random
    pause: float
    weights: Mapping[str, int]
    long_death: float
    """Seconds that an engine stays away now and then: longer than its lease."""
    killed: Counter[str] = field(default_factory=Counter)
    _returning: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, most: int) -> None:
        """Kill ``most`` things, the postmaster among them once in the middle; then see that every engine is back."""
        names, weights = list(self.weights), list(self.weights.values())
        for turn in range(most):
            await asyncio.sleep(self.pause * self.random.uniform(0.3, 1.7))
            name = "postmaster" if turn == most // 2 else self.random.choices(names, weights)[0]
            for _ in range(20):  # an agent may live for a moment only
                if await self._kill(name):
                    self.killed[name] += 1
                    break
                await asyncio.sleep(0.05)
        await asyncio.gather(*self._returning)

    async def _kill(self, name: str) -> bool:
        match name:
            case "engine":
                return await self._engine()
            case "keeper":
                return self._one_of(self._keepers())
            case "agent":
                return self._one_of(self._agents())
            case "backend":
                return self._one_of(self._backends())
            case _:
                server = server_status(self.scene.server)
                return server is not None and _sigkill(server.pid)

    async def _engine(self) -> bool:
        host = self.random.choice(self.scene.hosts)
        if (
            host.process is None
            or host.process.returncode is not None
            or any(t.get_name() == str(host.home) for t in self._returning)
        ):
            return False
        away = self.long_death if self.random.random() < 0.25 else self.random.uniform(0, 0.5)
        await host.kill()

        async def come_back() -> None:
            await asyncio.sleep(away)
            await self.scene.start(host)

        task = asyncio.create_task(come_back(), name=str(host.home))
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)
        return True

    def _one_of(self, pids: list[int]) -> bool:
        return bool(pids) and _sigkill(self.random.choice(sorted(pids)))

    def _keepers(self) -> list[int]:
        """Keepers of agents and of gates: our run folders stand on their command lines."""
        return [pid for pid in _pids() if "keeper.py" in (line := _command(pid)) and str(self.scene.folder) in line]

    def _agents(self) -> list[int]:
        """Agents, gates, and what they have started."""
        runs = {path.name for host in self.scene.hosts for path in host.paths.runs.glob("*")}
        return [pid for mark, pids in keeper.marks().items() if mark in runs for pid in pids]

    def _backends(self) -> list[int]:
        server = server_status(self.scene.server)
        if server is None:
            return []
        return [
            pid for pid in _pids() if _command(pid).startswith("postgres: quarterdeck ") and _parent(pid) == server.pid
        ]


def _sigkill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
