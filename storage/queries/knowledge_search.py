"""Reads of search: words by BM25, meaning by vectors. Which way vectors are compared is decided by how many there
are.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

import asyncpg

EXACT_ROWS = 20_000
"""Up to so many vectors of a corpus comparing them all is quick enough, and misses nothing."""
MOST_READ = 30_000
"""Postings that a search reads; :data:`ALL_OF_THEM` where it would come back short otherwise."""
ALL_OF_THEM = 2_000_000_000
EF_SEARCH = 100
"""Breadth of a search in the HNSW index: recall 0.98 at 100,000 vectors of 384 dimensions."""
_LOCK = 0x656D6265  # "embe": the class of our advisory locks; the second number is the work
_WORKS = {"change": 0, "new": 1}
_LONGEST_BUILD = 4 * 3600.0
"""Seconds that an index may take; 100,000 vectors took 23."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What a search is limited to. Empty and None: not limited."""

    kinds: Sequence[str] = ()
    tags: Sequence[str] = ()
    path: str | None = None
    """A pattern of LIKE."""
    since: datetime | None = None
    until: datetime | None = None

    @property
    def beyond_kinds(self) -> bool:
        """Whether the items themselves must be looked at."""
        return bool(self.tags or self.path or self.since or self.until)


@dataclass(frozen=True, slots=True)
class Match:
    """A hit of the words: BM25 score, and the share of the query's weight that it holds."""

    memory: int
    score: float
    coverage: float


@dataclass(frozen=True, slots=True)
class Embedder:
    """A model that turns text into vectors of ``dims`` numbers."""

    id: int
    name: str
    dims: int


async def match_words(
    connection: asyncpg.Connection,
    query: str,
    corpora: Sequence[int],
    limit: int,
    filters: Filters,
    most: int = MOST_READ,
) -> list[Match]:
    """The best by BM25, as far as ``most`` postings tell: the most frequent words are left out beyond. Served by the primary key of posting."""
    rows = await connection.fetch(
        "select memory, score, coverage from knowledge_match($1, $2, $3, $4::text[]::memory_kind[], $5, $6, $7, $8, $9)",
        query,
        list(corpora),
        limit,
        list(filters.kinds) or None,
        list(filters.tags) or None,
        filters.path,
        filters.since,
        filters.until,
        most,
    )
    return [Match(**row) for row in rows]


@dataclass(frozen=True, slots=True)
class Standing:
    """What weighs on the place of a hit."""

    origin: str
    worth: float
    hash: UUID
    created_at: datetime
    last_used_at: datetime | None


async def standings(
    connection: asyncpg.Connection, numbers: Sequence[int], project: str | None = None
) -> dict[int, Standing]:
    """What weighs on the place of items, by number; of a project those alone that apply to it. Served by the primary key of memory."""
    rows = await connection.fetch(
        """select m.number, m.origin, knowledge_worth(m.uses, m.wins) as worth, m.hash, m.created_at, m.last_used_at
             from memory m left join pattern p on p.memory = m.number left join project w on w.id = $2
            where m.number = any($1::int[]) and m.state = 'active'
              and ($2::text is null or (p.memory is null and m.kind <> 'standard')
                   or knowledge_applies(m.kind, m.tags, p.projects, p.stacks, $2, w.stack))""",
        list(numbers),
        project,
    )
    return {row["number"]: Standing(*list(row.values())[1:]) for row in rows}


@dataclass(frozen=True, slots=True)
class Ground:
    """What a search stands on: where it looks, the model that search uses (None: words alone), and the stems that its query is looked for by."""

    corpora: list[int]
    embedder: Embedder | None
    terms: list[str]


async def ground(connection: asyncpg.Connection, query: str, project: str | None) -> Ground:
    """Of a project: its own corpus and the one of all; without a project, everywhere. In one question, since every search asks it."""
    row = await connection.fetchrow(
        """select array(select id from corpus where $2::text is null or project = $2 or project is null order by id) as corpora,
                  array(select term from knowledge_words(left($1, 20000)) order by term) as terms, e.id, e.name, e.dims
             from (values (1)) one left join embedder e on e.active""",
        query,
        project,
    )
    embedder = Embedder(row["id"], row["name"], row["dims"]) if row["id"] is not None else None
    return Ground(row["corpora"], embedder, row["terms"])


async def match_vectors(
    connection: asyncpg.Connection,
    embedder: Embedder,
    vector: Sequence[float],
    corpora: Sequence[int],
    limit: int,
    filters: Filters,
) -> list[tuple[int, float]]:
    """The nearest by cosine: (memory, similarity). Must run in a transaction, whose search settings it sets.

    In bodies of up to :data:`EXACT_ROWS` items the vectors are compared one by one, served by embedding_corpus; beyond, the HNSW index is read
    on until enough
    rows pass the filter (iterative scan), so that a filtered search is never short.
    """
    many = await connection.fetchval("select coalesce(sum(docs), 0) from corpus where id = any($1)", list(corpora))
    arguments = [
        embedder.id, list(corpora), _literal(vector), limit, list(filters.kinds) or None, list(filters.tags) or None,
        filters.path, filters.since, filters.until,
    ]  # fmt: skip
    if many <= EXACT_ROWS or not await has_index(connection, embedder):
        side = "e.vector"
    else:
        await connection.execute(
            f"set local hnsw.ef_search = {min(1000, max(EF_SEARCH, 2 * limit))}; set local hnsw.iterative_scan = relaxed_order; set local hnsw.max_scan_tuples = 200000"
        )
        side = f"e.vector::halfvec({embedder.dims})"
    join = "join memory m on m.number = e.memory" if filters.beyond_kinds else ""
    beyond = (
        """and ($6::text[] is null or m.tags @> $6) and ($7::text is null or m.path like $7)
           and ($8::timestamptz is null or m.created_at >= $8) and ($9::timestamptz is null or m.created_at < $9)"""
        if filters.beyond_kinds
        else "and ($6::text[] is null and $7::text is null and $8::timestamptz is null and $9::timestamptz is null)"
    )
    model = f"e.model = {embedder.id} and $1::int is not null" if side != "e.vector" else "e.model = $1"
    rows = await connection.fetch(
        f"""select memory, 1 - distance as similarity from (
              select e.memory, {side} <=> $3::text::halfvec({embedder.dims}) as distance from embedding e {join}
               where {model} and e.corpus = any($2::smallint[]) and ($5::text[] is null or e.kind::text = any($5))
               {beyond}
               order by distance limit $4) near""",  # noqa: S608 - numbers of ours
        *arguments,
    )
    # An index that is read on brings what it finds later behind what it has found, however near that is.
    return sorted(((row["memory"], row["similarity"]) for row in rows), key=lambda near: -near[1])


async def active_embedder(connection: asyncpg.Connection) -> Embedder | None:
    """The model whose vectors search uses; None: words alone."""
    row = await connection.fetchrow("select id, name, dims from embedder where active")
    return Embedder(**row) if row else None


async def ensure_embedder(connection: asyncpg.Connection, name: str, dims: int) -> Embedder:
    """A model by name, entered where it is new."""
    await connection.execute(
        "insert into embedder (name, dims) values ($1, $2) on conflict (name) do nothing", name, dims
    )
    row = await connection.fetchrow("select id, name, dims from embedder where name = $1", name)
    return Embedder(**row)


@asynccontextmanager
async def alone(connection: asyncpg.Connection, at: Literal["change", "new"]) -> AsyncIterator[bool]:
    """Hold the lock of who changes the model, or makes vectors of what is new, for the block; False: somebody else has it. It goes
    with the connection, so a killed process leaves none.
    """
    held = bool(await connection.fetchval("select pg_try_advisory_lock($1, $2)", _LOCK, _WORKS[at]))
    try:
        yield held
    finally:
        if held and not connection.is_closed():
            await connection.execute("select pg_advisory_unlock($1, $2)", _LOCK, _WORKS[at])


async def is_changing_model(connection: asyncpg.Connection) -> bool:
    """Whether somebody changes the model."""
    return bool(
        await connection.fetchval(
            """select exists (select 1 from pg_locks where locktype = 'advisory' and classid = $1 and objid = 0 and granted
                               and database = (select oid from pg_database where datname = current_database()))""",
            _LOCK,
        )
    )


async def want(connection: asyncpg.Connection, embedder: int) -> None:
    """Write down that search is to use this model: whoever comes after goes on with it when its change breaks off."""
    await connection.execute("update embedder set wanted = id = $1 where wanted <> (id = $1)", embedder)


async def wanted_embedder(connection: asyncpg.Connection) -> Embedder | None:
    """The model that search is to use and does not use yet."""
    row = await connection.fetchrow("select id, name, dims from embedder where wanted and not active")
    return Embedder(**row) if row else None


async def is_wanted(connection: asyncpg.Connection, embedder: Embedder) -> bool:
    """Whether search is to use this model still; in a transaction nobody says otherwise before its end."""
    return bool(await connection.fetchval("select wanted from embedder where id = $1 for update", embedder.id))


async def activate(connection: asyncpg.Connection, embedder: int | None) -> None:
    """Make search use this model and drop the vectors of others; None: use none, and keep them for the next time."""
    await connection.execute("update embedder set active = false where active and id is distinct from $1", embedder)
    await connection.execute("update embedder set wanted = false where wanted")
    if embedder is not None:
        await connection.execute("update embedder set active = true where id = $1", embedder)
        await connection.execute("delete from embedder where id <> $1", embedder)


async def has_index(connection: asyncpg.Connection, embedder: Embedder) -> bool:
    """Whether there is a finished HNSW index of its vectors."""
    return bool(
        await connection.fetchval(
            "select exists (select 1 from pg_index where indexrelid = to_regclass($1) and indisvalid)", _index(embedder)
        )
    )


async def wants_index(connection: asyncpg.Connection, embedder: Embedder) -> bool:
    """Whether its vectors are so many that comparing them all is slow, and there is no index of them."""
    if await has_index(connection, embedder):
        return False
    done, _ = await embedded_share(connection, embedder.id)
    return done > EXACT_ROWS


async def drop_other_indexes(connection: asyncpg.Connection, embedder: Embedder) -> None:
    """Drop the indexes of models that are no more. Outside a transaction, as the owner of the schema."""
    names = await connection.fetch(
        "select indexname from pg_indexes where tablename = 'embedding' and indexname ~ '^embedding_hnsw_[0-9]+$' and indexname <> $1",
        _index(embedder),
    )
    for row in names:
        await connection.execute(f"drop index concurrently if exists {row['indexname']}", timeout=_LONGEST_BUILD)


async def build_index(connection: asyncpg.Connection, embedder: Embedder) -> None:
    """Make the HNSW index (16 links, breadth 64). Outside a transaction, as the owner of the schema."""
    await connection.execute(f"drop index if exists {_index(embedder)}")
    await connection.execute(
        f"""create index concurrently {_index(embedder)} on embedding
              using hnsw ((vector::halfvec({embedder.dims})) halfvec_cosine_ops) with (m = 16, ef_construction = 64)
              where model = {embedder.id}""",
        timeout=_LONGEST_BUILD,
    )


@dataclass(frozen=True, slots=True)
class Unembedded:
    """An item without a vector; of its text what a model could see."""

    number: int
    title: str
    content: str
    path: str | None
    project: str | None


async def unembedded(connection: asyncpg.Connection, embedder: int, after: int, limit: int) -> list[Unembedded]:
    """Active items without a vector of this model, beyond a number."""
    rows = await connection.fetch(
        """select m.number, m.title, left(m.content, 8000) as content, m.path, c.project from memory m join corpus c on c.id = m.corpus
            where m.number > $2 and m.state = 'active' and not exists (select 1 from embedding e where e.model = $1 and
            e.memory = m.number)
            order by m.number limit $3""",
        embedder,
        after,
        limit,
    )
    return [Unembedded(**row) for row in rows]


async def store_vectors(
    connection: asyncpg.Connection, embedder: int, vectors: Sequence[tuple[int, Sequence[float]]]
) -> None:
    """Store vectors of items that are active still."""
    await connection.execute(
        """insert into embedding (model, memory, corpus, kind, vector)
           select $1, m.number, m.corpus, m.kind, v.vector::halfvec from unnest($2::int[], $3::text[]) v (memory,
           vector)
             join memory m on m.number = v.memory where m.state = 'active' for share of m
           on conflict (model, memory) do update set vector = excluded.vector""",
        embedder,
        [number for number, _ in vectors],
        [_literal(vector) for _, vector in vectors],
    )


async def embedded_share(connection: asyncpg.Connection, embedder: int) -> tuple[int, int]:
    """How many active items have a vector of this model, and how many there are."""
    row = await connection.fetchrow(
        "select (select count(*) from embedding where model = $1) as done, (select sum(docs) from corpus) as docs",
        embedder,
    )
    return int(row["done"]), int(row["docs"] or 0)


async def cached_query(connection: asyncpg.Connection, embedder: int, digest: UUID) -> list[float] | None:
    """The vector of a query that was asked before; it is among the last to be forgotten then, by the hour."""
    text = await connection.fetchval(
        """with used as (update query_vector set used_at = clock_timestamp() where model = $1 and hash = $2
                           and used_at < clock_timestamp() - interval '1 hour')
           select vector::text from query_vector where model = $1 and hash = $2""",
        embedder,
        digest,
    )
    return [float(part) for part in text.strip("[]").split(",")] if text else None


async def cache_query(connection: asyncpg.Connection, embedder: int, digest: UUID, vector: Sequence[float]) -> None:
    """Remember the vector of a query; the oldest of more than 10,000 are forgotten."""
    await connection.execute(
        """insert into query_vector (model, hash, vector) values ($1, $2, $3::text::halfvec)
           on conflict (model, hash) do update set used_at = clock_timestamp()""",
        embedder,
        digest,
        _literal(vector),
    )
    await connection.execute(
        """delete from query_vector where model = $1 and hash in
             (select hash from query_vector where model = $1 order by used_at desc offset 10000)""",
        embedder,
    )


def _index(embedder: Embedder) -> str:
    return f"embedding_hnsw_{embedder.id}"


def _literal(vector: Sequence[float]) -> str:
    return "[" + ",".join(f"{value:.6g}" for value in vector) + "]"
