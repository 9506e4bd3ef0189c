"""A process that indexes a project again and again: ``indexer.py DSN PROJECT``. It says a line for each step."""

import asyncio
import sys

from config.errors import ConflictError
from core.knowledge.indexing import index_project
from storage.database import Database, Principal, Role


async def main(dsn: str, project: str) -> None:
    db = await Database.open(dsn)
    who = Principal("user:indexer", Role.SUPERVISOR)
    while True:
        try:
            async for step in index_project(db, who, project):
                print(f"{step.commit} {step.finished}", flush=True)
        except ConflictError:
            print("busy", flush=True)
        await asyncio.sleep(0.01)


asyncio.run(main(*sys.argv[1:]))
