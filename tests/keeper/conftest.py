"""Real keepers around small real programs, all of them gone when the test is over."""

import asyncio
import shutil
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.keeper import client
from core.keeper.client import Exit, Grace, Limits, Spec

PYTHON = (sys.executable, "-I", "-S", "-c")
QUICK = Grace(interrupt_seconds=0.3, terminate_seconds=0.3, drain_seconds=0.2)


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for something that no event tells; fails after ``seconds``."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def lives(pid: int) -> bool:
    """Whether this process runs: a zombie has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@dataclass(frozen=True)
class Kept:
    """A run that was launched."""

    folder: Path
    spec: Spec
    keeper: int

    @property
    def socket(self) -> Path:
        return self.spec.socket

    def out(self) -> bytes:
        return (self.folder / "stdout.spool").read_bytes()

    def err(self) -> bytes:
        return (self.folder / "stderr.spool").read_bytes()

    def agent(self) -> int:
        started = client.read_started(self.folder)
        assert started is not None
        return started.pid

    async def says(self, text: bytes) -> None:
        """Wait until this was written to stdout."""
        await until(lambda: text in self.out())

    async def end(self, seconds: float = 60) -> Exit:
        """Wait for the end of the run."""
        async with asyncio.timeout(seconds):
            ending = await client.wait(self.folder, self.socket)
        assert ending is not None, (self.folder / "keeper.log").read_text()
        return ending


class Crew:
    """Launches keepers in a folder of this test alone."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kept: list[Kept] = []

    def spec(
        self,
        argv: Sequence[str],
        *,
        limits: Limits = Limits(),  # noqa: B008  frozen
        grace: Grace = QUICK,
        opening: bytes = b"",
        stdin_open: bool = False,
        cwd: Path | None = None,
    ) -> Spec:
        name = uuid.uuid4().hex[:12]
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PLACE": str(self.root)}
        sockets = self.root / "s"
        return Spec(argv, env, cwd or self.root, name, sockets / name, limits, grace, opening, stdin_open)

    async def launch(self, spec: Spec) -> Kept:
        folder = self.root / "the runs" / spec.mark
        kept = Kept(folder, spec, await client.launch(folder, spec))
        self.kept.append(kept)
        return kept

    async def python(self, code: str, **options: object) -> Kept:
        """Run a Python program that finds ``os, sys, time, signal`` imported and a function ``say``."""
        prelude = "import os, sys, time, signal\ndef say(*a): print(*a, flush=True)\n"
        return await self.launch(self.spec([*PYTHON, prelude + code], **options))  # type: ignore[arg-type]

    async def shell(self, line: str, **options: object) -> Kept:
        return await self.launch(self.spec(["/bin/sh", "-c", line], **options))  # type: ignore[arg-type]


@pytest.fixture
async def crew() -> AsyncIterator[Crew]:
    root = Path(tempfile.mkdtemp(prefix="qd-k "))
    crew = Crew(root)
    try:
        yield crew
    finally:
        for kept in crew.kept:
            if client.alive(kept.folder):
                await client.kill(kept.socket, "the test is over")
                await kept.end()
            await client.sweep(kept.spec.mark, patience=0.2)
        shutil.rmtree(root)
