"""`qd` in this process: a command line, the world that it sees, and what came of it."""

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from config.paths import Paths
from core.faces.cli import Edge, run
from storage.server import server_dsn


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call of `qd` left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON; the call must have succeeded and told nothing else."""
        assert self.code == 0, self.err
        return json.loads(self.out)

    @property
    def error(self) -> Mapping[str, str]:
        """The error as ``--json`` tells it."""
        assert self.out == ""
        error: Mapping[str, str] = json.loads(self.err)["error"]
        return error


@dataclass(frozen=True, slots=True)
class CommandLine:
    """Calls `qd` with a home and a database of its own."""

    environ: Mapping[str, str]
    cwd: Path

    async def __call__(self, *argv: str, stdin: str = "", terminal: bool = False, **environ: str) -> Outcome:
        """One call; at a terminal ``stdin`` is what the person types."""
        kind = Terminal if terminal else io.StringIO
        streams = kind(stdin), kind(), kind()
        code = await run(argv, Edge({**self.environ, **environ}, self.cwd, *streams))
        return Outcome(code, streams[1].getvalue(), streams[2].getvalue())


def command_line(dsn: str, folder: Path) -> CommandLine:
    """`qd` on this database, with its home below ``folder``, in ``folder``."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return CommandLine({**kept, "QD_HOME": str(folder / "home"), "QD_DATABASE_URL": dsn}, folder)


async def emptied_database(server: Paths, template: str, name: str = "cli") -> str:
    """The dsn of a database with our schema and no rows; emptying it is quicker than making one."""
    owner = await asyncpg.connect(server_dsn(server, "postgres"))
    try:
        if not await owner.fetchval("select exists (select 1 from pg_database where datname = $1)", name):
            await owner.execute(f'create database "{name}" template "{template}"')
    finally:
        await owner.close()
    dsn = server_dsn(server, name)
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            "truncate project, agent, engine, setting, load, lane, task, run, event, audit restart identity cascade"
        )
    finally:
        await connection.close()
    return dsn
