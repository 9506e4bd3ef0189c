"""The engine's part of budgets without an engine's process: its runtime on a real database, with keepers that only listen."""

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from config.paths import resolve_paths
from config.settings import Settings
from core.engine.bell import Bell
from core.engine.life import Life
from core.engine.runtime import Runtime
from core.engine.shipper import Shipper
from storage.database import Database, Principal, Role
from storage.queries.engine import load_work
from tests.budget.gate import add_runs, connect


@dataclass(slots=True)
class Till:
    """A runtime, a supervisor's connection, and what keepers were asked to do."""

    runtime: Runtime
    sql: asyncpg.Connection
    asked: list[str] = field(default_factory=list)
    keepers: list[asyncio.Server] = field(default_factory=list)

    async def life(self, run: int) -> Life:
        """A run in the hands of the runtime, whose keeper notes what it is asked."""
        row = await self.sql.fetchrow("select id, task, agent from run where number = $1", run)
        work = await load_work(self.sql, row["task"], row["agent"])
        assert work is not None
        life = Life(self.runtime, work, run=run, run_id=row["id"])
        life.socket.parent.mkdir(parents=True, exist_ok=True)
        self.keepers.append(await asyncio.start_unix_server(self._keep, life.socket))
        return life

    async def _keep(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(json.loads(await reader.readline())["do"])
        writer.write(b'{"ok": true}\n')
        await writer.drain()
        writer.close()

    async def runs(self, count: int = 1, **more: Any) -> list[int]:
        """Live runs of the engine."""
        return await add_runs(self.sql, count, **more)


@asynccontextmanager
async def till(dsn: str) -> AsyncIterator[Till]:
    """A till on this database."""
    home = Path(tempfile.mkdtemp(prefix="qdm-"))
    sql = await connect(dsn)
    db = await Database.open(dsn, bound=Principal("engine:test", Role.ENGINE), most=4)
    try:
        engine = await sql.fetchval("select engine_register('e', 'h', 1, '0', 100, '1 hour')")
        paths = resolve_paths({"QD_HOME": str(home)})
        bell = Bell(db)
        environ = {"PATH": os.environ["PATH"], "QD_SECRETS": "file", "QD_HOME": str(home)}
        made = Till(Runtime(engine, "test", db, paths, Settings(), environ, bell, Shipper(db, bell, 0.05)), sql)
        yield made
        for keeper in made.keepers:
            keeper.close()
    finally:
        await db.close()
        await sql.close()
        shutil.rmtree(home, ignore_errors=True)
