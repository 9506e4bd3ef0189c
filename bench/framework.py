"""What every benchmark stands on: figures, an environment with a real server of its own, fair rounds, the report."""

import asyncio
import json
import os
import platform
import shutil
import statistics
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import asyncpg

from config.paths import Paths, resolve_paths
from storage.migrate import migrate
from storage.server import ensure_server, remove_server, server_dsn
from storage.server.binaries import find_binaries

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value; ``reach`` is what it must reach, in words, empty when it is for information."""

    name: str
    value: float
    unit: str
    reach: str = ""
    ok: bool = True


def at_least(name: str, value: float, unit: str, bound: float) -> Figure:
    """A figure that must not be smaller than ``bound``."""
    return Figure(name, value, unit, f"≥ {bound:,g}", value >= bound)


def at_most(name: str, value: float, unit: str, bound: float) -> Figure:
    """A figure that must not be greater than ``bound``."""
    return Figure(name, value, unit, f"≤ {bound:,g}", value <= bound)


@dataclass(frozen=True, slots=True)
class Environment:
    """A home of its own and, in it, the embedded server with the settings that people get."""

    paths: Paths

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """The dsn of a new database with our schema."""
        name = f"bench_{uuid4().hex[:12]}"
        await self._server(f"create database {name}")
        try:
            dsn = server_dsn(self.paths, name)
            await migrate(dsn)
            yield dsn
        finally:
            await self._server(f"drop database {name} with (force)")

    async def _server(self, statement: str) -> None:
        connection = await asyncpg.connect(server_dsn(self.paths, "postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def pgbench(self, dsn: str, script: str, *, clients: int, seconds: int, role: str | None = None) -> float:
        """Run a script of pgbench with prepared statements; how often per second it was run."""
        options = f"-c role={role} -c qd.actor=bench" if role else ""
        with tempfile.NamedTemporaryFile("w", suffix=".pgbench", dir=self.paths.state) as file:
            file.write(script)
            file.flush()
            process = await asyncio.create_subprocess_exec(
                find_binaries().program("pgbench"),
                *("-n", "-M", "prepared", "-c", str(clients), "-j", "1", "-T", str(seconds), "-f", file.name, dsn),
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "PGOPTIONS": options},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await process.communicate()
        text = output.decode()
        rates = [float(line.split()[2]) for line in text.splitlines() if line.startswith("tps = ")]
        if process.returncode or "aborted" in text or len(rates) != 1:
            raise RuntimeError(f"pgbench failed: {text}")
        return rates[0]


@asynccontextmanager
async def environment() -> AsyncIterator[Environment]:
    """A temporary ``QD_HOME`` with a running server; nothing of it stays."""
    home = Path(tempfile.mkdtemp(prefix="qd-bench-"))
    home.chmod(0o755)  # the server of root runs as somebody else
    paths = resolve_paths({"QD_HOME": str(home)})
    try:
        await ensure_server(paths)
        paths.state.mkdir(parents=True, exist_ok=True)
        yield Environment(paths)
    finally:
        await remove_server(paths)
        shutil.rmtree(home, ignore_errors=True)


Side = Callable[[], Awaitable[float]]


async def in_turn(rounds: int, *sides: Side, warm: int = 1) -> list[list[float]]:
    """Measure the sides by turns, after ``warm`` rounds that do not count; the values of each side, round by round.

    Every other round goes the other way about, so that no side always follows the same one.
    """
    values: list[list[float]] = [[] for _ in sides]
    for number in range(-warm, rounds):
        order = range(len(sides)) if number % 2 else range(len(sides) - 1, -1, -1)
        for side in order:
            value = await sides[side]()
            if number >= 0:
                values[side].append(value)
    return values


def median_ratio(upper: Sequence[float], lower: Sequence[float]) -> float:
    """The median of the ratios of the rounds."""
    return statistics.median(a / b for a, b in zip(upper, lower, strict=True))


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that ``percent`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def show(name: str, figures: Sequence[Figure]) -> str:
    """The figures of one benchmark as lines of a table."""
    lines = [name]
    for figure in figures:
        mark = ("ok" if figure.ok else "MISSED") if figure.reach else ""
        lines.append(f"  {figure.name:<62} {_number(figure.value):>12} {figure.unit:<6} {figure.reach:>12}  {mark}")
    return "\n".join(lines)


def store(results: dict[str, list[Figure]], file: Path | None) -> None:
    """Write what was measured, and on what, as JSON: one file per benchmark, and all of it into ``file``."""
    about = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.machine(),
        "system": platform.system(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "postgres": find_binaries().version,
    }
    documents = {name: about | {"figures": [asdict(figure) for figure in figures]} for name, figures in results.items()}
    RESULTS.mkdir(exist_ok=True)
    for name, document in documents.items():
        (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    if file:
        file.write_text(json.dumps(documents, indent=2, ensure_ascii=False) + "\n")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
