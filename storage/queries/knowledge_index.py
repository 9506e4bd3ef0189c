"""What of a repository is known, and how far the index is. One process at a time indexes a project: it holds an
advisory lock.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from storage.queries.records import from_record

_LOCK = 0x6B6E6F77  # "know": the class of our advisory locks; the second number is the corpus


@dataclass(frozen=True, slots=True)
class CorpusRow:
    """How fresh a project's index is. ``head``: the commit that is indexed whole; ``target``: the one that is being
    indexed.
    """

    id: int
    project: str | None
    docs: int
    branch: str | None
    head: str | None
    target: str | None
    files: int
    done: int
    started_at: datetime | None
    indexed_at: datetime | None
    items: int
    skipped: int
    path: str | None
    base: str | None


@dataclass(frozen=True, slots=True)
class Piece:
    """An item read from a file."""

    path: str
    title: str
    text: str
    kind: str
    first_line: int
    last_line: int
    hash: UUID


@asynccontextmanager
async def indexing(connection: asyncpg.Connection, corpus: int) -> AsyncIterator[bool]:
    """Hold the lock of a corpus for the block; False: another process has it. It goes with the connection, so a
    killed one leaves none.
    """
    held = bool(await connection.fetchval("select pg_try_advisory_lock($1, $2)", _LOCK, corpus))
    try:
        yield held
    finally:
        if held and not connection.is_closed():
            await connection.execute("select pg_advisory_unlock($1, $2)", _LOCK, corpus)


async def corpora(connection: asyncpg.Connection, project: str | None = None) -> list[CorpusRow]:
    """Every body of knowledge and how far its index is; those of projects without any too."""
    rows = await connection.fetch(
        """
        select coalesce(c.id, 0) as id, coalesce(c.project, p.id) as project, coalesce(c.docs, 0) as docs, c.branch,
        c.head, c.target,
               coalesce(c.files, 0) as files, coalesce(c.done, 0) as done, c.started_at, c.indexed_at, p.path, p.base,
               coalesce(f.items, 0) as items, coalesce(f.skipped, 0) as skipped
          from corpus c full join project p on p.id = c.project
          left join lateral (select sum(items) as items, count(skipped) as skipped from indexed_file where corpus =
          c.id) f on true
         where $1::text is null or c.project = $1 or p.id = $1 order by 2 nulls first
        """,
        project,
    )
    return [found for row in rows if (found := from_record(CorpusRow, row))]


async def freshness(connection: asyncpg.Connection) -> list[CorpusRow]:
    """As :func:`corpora`, of projects alone and without the counts: cheap enough to ask often."""
    rows = await connection.fetch(
        """select coalesce(c.id, 0) as id, p.id as project, coalesce(c.docs, 0) as docs, c.branch, c.head, c.target,
                  coalesce(c.files, 0) as files, coalesce(c.done, 0) as done, c.started_at, c.indexed_at, p.path, p.base, 0 as items, 0 as skipped
             from project p left join corpus c on c.project = p.id order by c.head is null, p.id"""
    )
    return [found for row in rows if (found := from_record(CorpusRow, row))]


async def indexed_blobs(connection: asyncpg.Connection, corpus: int) -> dict[str, str]:
    """The blob of every file that was looked at, by path."""
    rows = await connection.fetch("select path, blob from indexed_file where corpus = $1", corpus)
    return {row["path"]: row["blob"] for row in rows}


async def begin(connection: asyncpg.Connection, corpus: int, branch: str, target: str, files: int) -> None:
    """Indexing of a commit begins."""
    await connection.execute(
        """update corpus set branch = $2, target = $3, files = $4, done = 0, started_at = clock_timestamp() where id = $1""",
        corpus,
        branch,
        target,
        files,
    )


async def forget_files(connection: asyncpg.Connection, corpus: int, paths: Sequence[str]) -> int:
    """Files are gone: what was known of them ends. Returns how many items. Served by memory_path and memory_hidden."""
    status = await connection.execute(
        """update memory set state = 'removed', invalid_at = clock_timestamp(), updated_at = clock_timestamp(), note =
        'its file is gone'
            where corpus = $1 and origin = 'file' and state = 'active' and path = any($2)""",
        corpus,
        list(paths),
    )
    await connection.execute(
        """update memory set state = 'removed', note = 'its file is gone'
            where corpus = $1 and origin = 'file' and state in ('deleted', 'refused', 'deprecated', 'superseded') and path = any($2)""",
        corpus,
        list(paths),
    )
    await connection.execute("delete from indexed_file where corpus = $1 and path = any($2)", corpus, list(paths))
    return int(status.rpartition(" ")[2])


async def put_files(
    connection: asyncpg.Connection,
    corpus: int,
    commit: str,
    files: Mapping[str, tuple[str, str | None]],
    pieces: Sequence[Piece],
) -> tuple[int, int]:
    """Make what is known of some files what they hold now; returns (new, ended) items.

    ``files``: (blob, why it is left out) by path. A piece that says what it said keeps its row, its vector and its
    record; one that was put away stays so. Served by memory_path and memory_hidden. The commit does not wait for the disk: what a crash of
    the server takes back is indexed again, and :func:`finish`, which does wait, comes after it.
    """
    await connection.execute("set local synchronous_commit = off")
    old = await connection.fetch(
        """select number, path, title, hash, first_line, last_line, state from memory
            where corpus = $1 and origin = 'file' and state = 'active' and path = any($2)
           union all
           select number, path, title, hash, first_line, last_line, state from memory
            where corpus = $1 and origin = 'file' and state in ('deleted', 'refused', 'deprecated', 'superseded') and path = any($2)
            order by number""",
        corpus,
        list(files),
    )
    known: dict[tuple[str, str, UUID], list[asyncpg.Record]] = {}
    for row in sorted(old, key=lambda row: (row["state"] == "active", -row["number"])):  # the last is taken first
        known.setdefault((row["path"], row["title"], row["hash"]), []).append(row)
    fresh, moved = [], []
    for piece in pieces:
        same = known.get((piece.path, piece.title, piece.hash))
        if same:
            row = same.pop()
            if (row["first_line"], row["last_line"]) != (piece.first_line, piece.last_line):
                moved.append((row["number"], piece.first_line, piece.last_line))
        else:
            fresh.append(piece)
    # First what takes long: what ends and what moves holds the row of the corpus until the commit.
    if fresh:
        await connection.execute(
            """insert into memory (corpus, kind, title, content, origin, source, path, first_line, last_line)
               select $1, kind::memory_kind, title, content, 'file', path || '@' || left($2, 12), path, first, last
                 from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::int[], $8::int[]) u (kind, title, content, path, first, last)""",
            corpus,
            commit,
            [piece.kind for piece in fresh],
            [piece.title for piece in fresh],
            [piece.text for piece in fresh],
            [piece.path for piece in fresh],
            [piece.first_line for piece in fresh],
            [piece.last_line for piece in fresh],
        )
    ended = [row["number"] for left in known.values() for row in left]
    shown = sum(row["state"] == "active" for left in known.values() for row in left)
    if ended:
        await connection.execute(
            """update memory set state = 'removed', invalid_at = clock_timestamp(), updated_at = clock_timestamp(), note
            = 'its file has changed'
                where number = any($1)""",
            ended,
        )
    if moved:
        await connection.execute(
            """update memory m set first_line = u.first, last_line = u.last from unnest($1::int[], $2::int[], $3::int[])
            u (number, first, last)
                where m.number = u.number""",
            *map(list, zip(*moved, strict=True)),
        )
    counts: dict[str, int] = {}
    for piece in pieces:
        counts[piece.path] = counts.get(piece.path, 0) + 1
    await connection.execute(
        """insert into indexed_file (corpus, path, blob, items, skipped)
           select $1, * from unnest($2::text[], $3::text[], $4::int[], $5::text[])
           on conflict (corpus, path) do update set blob = excluded.blob, items = excluded.items, skipped = excluded.skipped""",
        corpus,
        list(files),
        [blob for blob, _ in files.values()],
        [counts.get(path, 0) for path in files],
        [skipped for _, skipped in files.values()],
    )
    await connection.execute("update corpus set done = least(files, done + $2) where id = $1", corpus, len(files))
    return len(fresh), shown


async def finish(connection: asyncpg.Connection, corpus: int, head: str) -> None:
    """All of a commit is indexed."""
    await connection.execute(
        "update corpus set head = $2, target = null, done = files, indexed_at = clock_timestamp() where id = $1",
        corpus,
        head,
    )
    await connection.execute("select knowledge_weigh($1)", corpus)


async def prune(connection: asyncpg.Connection, corpus: int, days: int = 30) -> int:
    """Erase what ended with its file longer ago, unless a run was told of it. Served by memory_ended."""
    status = await connection.execute(
        """delete from memory m where m.corpus = $1 and m.origin = 'file' and m.state = 'removed'
             and m.invalid_at < clock_timestamp() - make_interval(days => $2)
             and not exists (select 1 from injection i where i.memory = m.number)""",
        corpus,
        days,
    )
    return int(status.rpartition(" ")[2])
