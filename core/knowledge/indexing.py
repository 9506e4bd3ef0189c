"""Makes what is known of a repository what it holds: by structure, by what has changed, one commit at a time.

Each batch of files is one transaction, so an interrupted index goes on where it stopped, and no search ever sees half a
file.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from hashlib import md5
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from config.errors import ConflictError, NotFoundError
from core.knowledge.chunks import chunk_file
from core.knowledge.reading import Entry, changed_paths, list_files, read_blobs, text_of, why_not
from core.knowledge.secrets import redact
from core.workspace import repository
from core.workspace.repository import Repository
from storage.database import Database, Principal
from storage.queries import knowledge as items
from storage.queries import knowledge_index as rows
from storage.queries.knowledge_index import CorpusRow, Piece

FEW = 400
"""Up to so many changed files are asked for by name; for more the whole tree is listed."""


AT_ONCE = 3
"""Batches at a time: while one is cut here, others are stored by the server."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an index is. ``added`` and ``ended`` count items; ``seconds`` since it began."""

    project: str
    commit: str
    files: int
    done: int
    skipped: int
    added: int
    ended: int
    seconds: float
    finished: bool = False

    @property
    def files_per_second(self) -> float:
        """The rate so far."""
        return self.done / self.seconds if self.seconds > 0 else 0.0


async def index_project(
    db: Database, who: Principal, project: str, *, fetch_older_than: float | None = None
) -> AsyncIterator[Progress]:
    """Index a project's base branch as it is known here; ``fetch_older_than`` seconds: ask its remote first.

    Raises NotFoundError without such a project, ConflictError while another process indexes it.
    """
    async with db.transaction(who) as connection:
        row = await _corpus(connection, project)
        corpus = await items.corpus_of(connection, project)
    assert row.path is not None
    repo = await repository.open_repository(Path(row.path))
    base = row.base or await repository.default_base(repo)
    if fetch_older_than is not None:
        await repository.fetch(repo, if_older_than=fetch_older_than, base=base)
    async with db.connection() as held, rows.indexing(held, corpus) as ours:
        if not ours:
            raise ConflictError(f"project {project} is being indexed already", "see `qd knowledge status`")
        async with db.transaction(
            who
        ) as connection:  # how far it is, and the commit, as they are while nobody else is at it
            row = await _corpus(connection, project)
        commit = await repository.base_commit(repo, base)
        async for progress in _index(db, who, Indexed(project, corpus, repo, base, commit, row.head, row.target)):
            yield progress


async def _corpus(connection: asyncpg.Connection, project: str) -> CorpusRow:
    found = [row for row in await rows.corpora(connection, project) if row.path is not None]
    if not found:
        raise NotFoundError(f"there is no project {project}", "see `qd project list`")
    return found[0]


@dataclass(frozen=True, slots=True)
class Indexed:
    """One commit that is to be indexed, and what was before it."""

    project: str
    corpus: int
    repo: Repository
    base: str
    commit: str
    head: str | None
    target: str | None


async def _index(db: Database, who: Principal, what: Indexed) -> AsyncIterator[Progress]:
    started = time.monotonic()
    todo, gone = await _plan(db, who, what)
    progress = Progress(what.project, what.commit, len(todo), 0, 0, 0, 0, 0.0)
    async with db.transaction(who) as connection:
        await rows.begin(connection, what.corpus, what.base, what.commit, len(todo))
        if gone:
            progress = replace(progress, ended=await rows.forget_files(connection, what.corpus, gone))
    left_out = {entry.path: (entry.blob, reason) for entry in todo if (reason := why_not(entry))}
    batches = read_blobs(what.repo, [entry for entry in todo if entry.path not in left_out])
    names = list(left_out)
    for at in range(0, len(names), 5000):
        async with db.transaction(who) as connection:
            part = {name: left_out[name] for name in names[at : at + 5000]}
            _, ended = await rows.put_files(connection, what.corpus, what.commit, part, ())
        progress = replace(
            progress,
            done=progress.done + len(part),
            skipped=progress.skipped + len(part),
            ended=progress.ended + ended,
            seconds=time.monotonic() - started,
        )
        yield progress
    async with aclosing(at_once(AT_ONCE, (_store(db, who, what, batch) async for batch in batches))) as stored:
        async for files, skipped, added, ended in stored:
            progress = replace(
                progress,
                done=progress.done + files,
                skipped=progress.skipped + skipped,
                added=progress.added + added,
                ended=progress.ended + ended,
                seconds=time.monotonic() - started,
            )
            yield progress
    async with db.transaction(who) as connection:
        await rows.finish(connection, what.corpus, what.commit)
        await rows.prune(connection, what.corpus)
    await db.ring("knowledge")
    yield replace(progress, seconds=time.monotonic() - started, finished=True)


async def _store(
    db: Database, who: Principal, what: Indexed, batch: Sequence[tuple[Entry, bytes]]
) -> tuple[int, int, int, int]:
    """Cut a batch of files and store it: (files, left out, new items, ended items)."""
    files, pieces = await asyncio.to_thread(_pieces, batch)
    async with db.transaction(who) as connection:
        added, ended = await rows.put_files(connection, what.corpus, what.commit, files, pieces)
    return len(batch), sum(reason is not None for _, reason in files.values()), added, ended


async def at_once(width: int, works: AsyncIterator[Coroutine[Any, Any, T]]) -> AsyncGenerator[T, None]:
    """The results of ``works`` as they come, at most ``width`` at a time; those that go on when it is closed are cancelled."""
    pending: set[asyncio.Task[T]] = set()
    try:
        async for work in works:
            pending.add(asyncio.create_task(work))
            if len(pending) == width:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield task.result()
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield task.result()
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


async def _plan(db: Database, who: Principal, what: Indexed) -> tuple[list[Entry], list[str]]:
    """Which files are to be looked at, and which are gone.

    After a whole index, what git says has changed since; after an interrupted one, what differs from what is stored.
    """
    if what.head and what.target is None:
        if what.head == what.commit:
            return [], []
        changed = await changed_paths(what.repo, what.head, what.commit)
        if changed is not None and len(changed[0]) <= FEW:
            listed = await list_files(what.repo, what.commit, changed[0]) if changed[0] else []
            return listed, changed[1]
    entries = await list_files(what.repo, what.commit)
    async with db.transaction(who) as connection:
        known = await rows.indexed_blobs(connection, what.corpus)
    there = {entry.path for entry in entries}
    return [entry for entry in entries if known.get(entry.path) != entry.blob], [
        path for path in known if path not in there
    ]


def _pieces(batch: Sequence[tuple[Entry, bytes]]) -> tuple[dict[str, tuple[str, str | None]], list[Piece]]:
    files: dict[str, tuple[str, str | None]] = {}
    pieces = []
    for entry, data in batch:
        text, reason = text_of(data)
        files[entry.path] = (entry.blob, reason)
        if reason:
            continue
        for chunk in chunk_file(entry.path, redact(text, entry.path)):
            digest = md5(f"{chunk.title}\n{chunk.text}".encode(), usedforsecurity=False)
            pieces.append(
                Piece(
                    entry.path,
                    chunk.title,
                    chunk.text,
                    chunk.kind,
                    chunk.first_line,
                    chunk.last_line,
                    UUID(digest.hexdigest()),
                )
            )
    return files, pieces
