"""Everything at once: two that index and are killed, searches, new vectors, deletions. Nothing is left over, nothing gone is found."""

import asyncio
import contextlib
import os
import random
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.knowledge.embedding import Chosen
from core.knowledge.vectors import embed_all
from tests.knowledge.knowledge_kit import WHO, Checkout, Quay
from tests.knowledge.test_knowledge_meaning import DIMS, Words

ROOT = Path(__file__).parents[2]
INDEXER = Path(__file__).with_name("indexer.py")

LEFT_OVER = {
    "postings of what is not active": "select count(*) from posting p left join memory m on m.number = p.memory where m.state is distinct from 'active'",
    "vectors of what is not active": "select count(*) from embedding e left join memory m on m.number = e.memory where m.state is distinct from 'active'",
    "active items without postings": """select count(*) from memory m where m.state = 'active'
         and not exists (select 1 from posting p where p.memory = m.number)""",
    "books of corpora that do not balance": """select count(*) from corpus c
        where c.docs <> (select count(*) from memory m where m.corpus = c.id and m.state = 'active')
           or c.words <> (select coalesce(sum(p.tf), 0) from posting p where p.corpus = c.id)""",
    "items of files twice": """select count(*) from (select 1 from memory where state = 'active' and origin = 'file'
         group by corpus, path, title, first_line having count(*) > 1) twice""",
    "locks": "select count(*) from pg_locks where locktype = 'advisory'",
}


@contextlib.asynccontextmanager
async def indexing(dsn: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that indexes, killed at the end of the block at the latest."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", str(INDEXER), dsn, "app",
        stdout=asyncio.subprocess.PIPE, cwd="/", env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def seen(process: asyncio.subprocess.Process, word: str) -> None:
    """Wait until it says a line with this word."""
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while word not in (line := (await process.stdout.readline()).decode()):
            assert line, "it has ended"


FILES = 60


@dataclass(slots=True)
class Storm:
    """What goes on at once until it is over."""

    quay: Quay
    repo: Checkout
    gone: set[str] = field(default_factory=set)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def kill(self) -> None:
        """Two index; one of them is killed, wherever it is then."""
        chance = random.Random(7)
        for _ in range(3):
            async with indexing(self.quay.db.dsn) as one, indexing(self.quay.db.dsn) as other:
                await seen(one, " ")
                await asyncio.sleep(chance.random() * 0.3)
                one.kill()
                await seen(other, "True")
        self.over.set()

    async def commit(self) -> None:
        turn = 0
        while not self.over.is_set():
            turn += 1
            changed: dict[str, str | bytes] = {
                f"p{n}.py": f"def berth_{n}_v{turn}():\n    return {n}\n" for n in range(turn % 7, FILES, 7)
            }
            await asyncio.to_thread(self.repo.commit, changed)
            await asyncio.sleep(0.1)

    async def ask(self) -> None:
        while not self.over.is_set():
            gone = set(self.gone)
            hits = await self.quay.do("knowledge.search", text="berth pilot", limit=50)
            assert not gone & {hit.title for hit in hits}

    async def tell_and_delete(self) -> None:
        turn = 0
        while not self.over.is_set():
            turn += 1
            item = await self.quay.do("knowledge.add", text=(f"pilot {turn} is asleep",), project="app")
            await self.quay.do("knowledge.delete", id=item.number)
            self.gone.add(item.title)

    async def embed(self) -> None:
        turn = 0
        while not self.over.is_set():
            turn += 1
            async for _ in embed_all(self.quay.db, WHO, Chosen(f"m{turn}", f"m{turn}", DIMS, Words())):
                pass


async def test_indexing_searching_embedding_and_deleting_at_once_leave_nothing_over(quay: Quay) -> None:
    files: dict[str, str | bytes] = {f"p{n}.py": f"def berth_{n}_v0():\n    return {n}\n" for n in range(FILES)}
    repo = await quay.project(files=files)
    storm = Storm(quay, repo)
    async with asyncio.TaskGroup() as group:
        for work in (storm.kill(), storm.commit(), storm.ask(), storm.tell_and_delete(), storm.embed()):
            group.create_task(work)
    await _settled(quay)
    head = repo.git("rev-parse", "HEAD")
    assert (await quay.do("knowledge.index", project="app")).commit == head
    assert await _left_over(quay) == {}
    for number in (0, 13, 59):
        now = (repo.path / f"p{number}.py").read_text().split("(")[0].removeprefix("def ")
        titles = await quay.found(f"berth {number}", project="app", path=f"p{number}.py")
        assert titles == [f"{now} (p{number}.py)"]


async def test_what_a_commit_took_away_is_found_by_nobody_once_it_was_seen(quay: Quay) -> None:
    repo = await quay.project(files={"a.py": "def lantern_keeper():\n    pass\n"})
    await quay.do("knowledge.index", project="app")
    async with indexing(quay.db.dsn) as process:
        for turn in range(5):
            name = f"lantern_{'abcde'[turn]}"
            head = await asyncio.to_thread(_replace, repo, name)
            await seen(process, f"{head} True")
            found = await quay.found("lantern", project="app")
            assert found == [f"{name} (a.py)"]


def _replace(repo: Checkout, name: str) -> str:
    return repo.commit({"a.py": f"def {name}():\n    pass\n"})


async def _settled(quay: Quay) -> None:
    """What a killed process has begun is given up by the server a moment later."""
    async with asyncio.timeout(30):
        while await quay.sql.fetchval(
            "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle'"
        ):
            await asyncio.sleep(0.05)


async def _left_over(quay: Quay) -> dict[str, Any]:
    found = {what: await quay.sql.fetchval(query) for what, query in LEFT_OVER.items()}
    return {what: count for what, count in found.items() if count}
