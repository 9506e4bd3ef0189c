"""Memories: what the crew knows, item by item, with the columns of the structured kinds.

An item is never changed behind the back of search: triggers keep postings and vectors in step. Deleting is a state that
can be taken
back; only removing a project erases.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import asyncpg

from storage.queries.records import from_record

Kind = Literal["code", "documentation", "requirement", "pattern", "decision", "lesson", "standard"]
State = Literal["proposed", "active", "deprecated", "superseded", "removed", "refused", "deleted"]
Origin = Literal["person", "agent", "file", "gate", "run", "review", "pull_request", "import", "consolidation"]
STRUCTURED = ("pattern", "decision", "lesson")

_SELECT = """
select m.number, m.id, m.title, m.content, m.kind::text as category, c.project, m.source, m.tags, m.created_at,
m.updated_at, m.state,
       m.origin, m.path, m.first_line, m.last_line, m.hash, m.valid_from, m.invalid_at,
       (select s.id from memory s where s.number = m.superseded_by) as superseded_by, m.note, m.cold, m.uses, m.wins,
       knowledge_worth(m.uses, m.wins) as worth, m.last_used_at, m.replaces, m.doubt
  from memory m join corpus c on c.id = m.corpus
"""


@dataclass(frozen=True, slots=True)
class Memory:
    """One item. ``worth``: 0 to 1, 0.5 before anything is known; ``uses`` and ``wins``: runs that were told of it, and
    those that succeeded.
    """

    number: int
    id: UUID
    title: str
    content: str
    category: Kind
    project: str | None
    source: str
    tags: tuple[str, ...]
    created_at: datetime
    updated_at: datetime
    state: State
    origin: Origin
    path: str | None
    first_line: int | None
    last_line: int | None
    hash: UUID
    valid_from: datetime
    invalid_at: datetime | None
    superseded_by: UUID | None
    note: str | None
    cold: bool
    uses: int
    wins: int
    worth: float
    last_used_at: datetime | None
    replaces: int | None
    """Of a proposal: what it takes the place of, once it is accepted."""
    doubt: str | None
    """Why it should be taken out, for a person to decide; empty: that was asked once, and it stands."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An item before it is stored; ``project`` None: it holds for all. ``replaces``: what a proposal takes the place of."""

    kind: Kind
    title: str
    content: str
    project: str | None = None
    source: str = ""
    origin: Origin = "person"
    state: State = "active"
    tags: Sequence[str] = ()
    path: str | None = None
    note: str | None = None
    replaces: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of an item's history."""

    at: datetime
    actor: str
    role: str
    kind: str
    action: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


async def corpus_of(connection: asyncpg.Connection, project: str | None) -> int:
    """The number of a project's body of knowledge, made where there is none; None is that of all projects."""
    number: int = await connection.fetchval("select knowledge_corpus($1)", project)
    return number


async def known_corpora(connection: asyncpg.Connection, project: str | None) -> list[int]:
    """Where to look for a project: its own corpus and the one of all; without a project, everywhere."""
    rows = await connection.fetch(
        "select id from corpus where $1::text is null or project = $1 or project is null order by id", project
    )
    return [row["id"] for row in rows]


async def project_exists(connection: asyncpg.Connection, project: str) -> bool:
    """Whether there is such a project."""
    return bool(await connection.fetchval("select exists (select 1 from project where id = $1)", project))


async def insert(connection: asyncpg.Connection, draft: Draft) -> int:
    """Store an item; its number."""
    number: int = await connection.fetchval(
        """insert into memory (corpus, kind, state, title, content, origin, source, path, tags, note, replaces)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) returning number""",
        await corpus_of(connection, draft.project),
        draft.kind,
        draft.state,
        draft.title,
        draft.content,
        draft.origin,
        draft.source,
        draft.path,
        list(draft.tags),
        draft.note,
        draft.replaces,
    )
    return number


async def insert_details(connection: asyncpg.Connection, kind: str, memory: int, columns: Mapping[str, Any]) -> bool:
    """The columns of a structured kind for an item just stored; False when a unique name of theirs is taken."""
    names = ["memory", *columns]
    places = ", ".join(f"${position}" for position in range(1, len(names) + 1))
    status = await connection.execute(
        f"insert into {_table(kind)} ({', '.join(names)}) values ({places}) on conflict do nothing",  # noqa: S608 - names are ours
        memory,
        *columns.values(),
    )
    return bool(status == "INSERT 0 1")


async def insert_structured(connection: asyncpg.Connection, draft: Draft, columns: Mapping[str, Any]) -> int | None:
    """Store an item of a structured kind with its columns; None, and nothing is stored, when a unique name of theirs is taken."""
    savepoint = connection.transaction()
    await savepoint.start()
    number = await insert(connection, draft)
    if draft.kind == "lesson":
        columns = {**columns, "corpus": await corpus_of(connection, draft.project)}
    if await insert_details(connection, draft.kind, number, columns):
        await savepoint.commit()
        return number
    await savepoint.rollback()
    return None


async def twin(connection: asyncpg.Connection, draft: Draft) -> int | None:
    """The number of a valid item that says the same in the same place. Served by the index memory_hash."""
    number: int | None = await connection.fetchval(
        """select m.number from memory m join corpus c on c.id = m.corpus
            where c.project is not distinct from $1 and m.kind = $2 and m.hash = md5($3 || e'\\n' || $4)::uuid
              and m.state in ('active', 'proposed') limit 1""",
        draft.project,
        draft.kind,
        draft.title,
        draft.content,
    )
    return number


async def find(connection: asyncpg.Connection, ref: int | UUID, *, lock: bool = False) -> Memory | None:
    """One item by number or id; ``lock`` holds it until the end of the transaction."""
    column = "number" if isinstance(ref, int) else "id"
    if lock:
        await connection.execute(f"select 1 from memory where {column} = $1 for no key update", ref)  # noqa: S608
    return from_record(Memory, await connection.fetchrow(f"{_SELECT} where m.{column} = $1", ref))


async def by_number(connection: asyncpg.Connection, numbers: Sequence[int]) -> dict[int, Memory]:
    """Items by number; those that are gone are left out."""
    rows = await connection.fetch(f"{_SELECT} where m.number = any($1::int[])", list(numbers))
    return {row["number"]: found for row in rows if (found := from_record(Memory, row))}


async def list_items(
    connection: asyncpg.Connection,
    *,
    project: str | None = None,
    kinds: Sequence[str] = (),
    tags: Sequence[str] = (),
    states: Sequence[str] = ("active", "proposed"),
    files: bool = False,
    limit: int = 100,
) -> list[Memory]:
    """Items, the newest first; ``files``: those read from repositories too. With the proposed ones come those that are
    proposed to be taken out. Served by the index memory_list.
    """
    rows = await connection.fetch(
        f"""{_SELECT}
            where ($1::text is null or c.project = $1 or c.project is null) and (cardinality($2::text[]) = 0 or
            m.kind::text = any($2))
              and (cardinality($3::text[]) = 0 or m.tags @> $3) and (m.state = any($4) or ('proposed' = any($4) and m.doubt <> '')) and ($5 or m.origin <> 'file')
            order by m.number desc limit $6""",
        project,
        list(kinds),
        list(tags),
        list(states),
        files,
        limit,
    )
    return [found for row in rows if (found := from_record(Memory, row))]


async def update(connection: asyncpg.Connection, number: int, columns: Mapping[str, Any]) -> None:
    """Set columns of an item."""
    if columns:
        assignments = ", ".join(f"{column} = ${position}" for position, column in enumerate(columns, start=2))
        await connection.execute(
            f"update memory set {assignments}, updated_at = clock_timestamp() where number = $1",  # noqa: S608 - names are ours
            number,
            *columns.values(),
        )


async def set_state(
    connection: asyncpg.Connection, number: int, state: State, *, note: str | None = None, by: int | None = None
) -> None:
    """Move an item into a state; ``by``: what it is superseded by. What ends stops being found with this transaction; what
    holds again is warm.
    """
    await connection.execute(
        """update memory set state = $2, note = $3, superseded_by = $4, doubt = null, updated_at = clock_timestamp(),
                  invalid_at = case when $2 in ('active', 'proposed') then null else coalesce(invalid_at, clock_timestamp()) end,
                  cold = cold and $2 <> 'active', last_used_at = case when $2 = 'active' then clock_timestamp() else last_used_at end
            where number = $1""",
        number,
        state,
        note,
        by,
    )


async def details(connection: asyncpg.Connection, kind: str, memory: int) -> dict[str, Any]:
    """The columns of a structured kind."""
    row = await connection.fetchrow(f"select * from {_table(kind)} where memory = $1", memory)  # noqa: S608
    return {name: value for name, value in dict(row or {}).items() if name not in ("memory", "corpus", "signature")}


async def signature_of(connection: asyncpg.Connection, memory: int) -> UUID:
    """By what the trouble of a lesson is recognised."""
    digest: UUID = await connection.fetchval("select signature from lesson where memory = $1", memory)
    return digest


async def update_details(connection: asyncpg.Connection, kind: str, memory: int, columns: Mapping[str, Any]) -> None:
    """Set columns of a structured kind."""
    if columns:
        assignments = ", ".join(f"{column} = ${position}" for position, column in enumerate(columns, start=2))
        await connection.execute(
            f"update {_table(kind)} set {assignments} where memory = $1",  # noqa: S608 - names are ours
            memory,
            *columns.values(),
        )


async def pattern_by_slug(connection: asyncpg.Connection, slug: str) -> int | None:
    """The number of the pattern with this name, whatever its state."""
    number: int | None = await connection.fetchval("select memory from pattern where slug = $1", slug)
    return number


async def history(connection: asyncpg.Connection, memory: Memory) -> list[Change]:
    """All that was changed of an item, the oldest first: by the trail's own entries. Served by the index audit_key."""
    rows = await connection.fetch(
        """select at, actor, role, kind, action, before, after from audit
            where (kind, key) in (('memory', $1), ('decision', $2), ('lesson', $2), ('pattern', $2)) order by id""",
        str(memory.id),
        str(memory.number),
    )
    return [Change(**row) for row in rows]


async def uses_of(
    connection: asyncpg.Connection, memory: int, limit: int = 100
) -> list[tuple[int, int, str, str | None]]:
    """Which runs were told of an item, the newest first: (task, attempt, status, credit). Served by
    injection_memory.
    """
    rows = await connection.fetch(
        """select r.task, r.attempt, r.status::text, i.credit from injection i join run r on r.number = i.run
            where i.memory = $1 order by i.run desc limit $2""",
        memory,
        limit,
    )
    return [(row["task"], row["attempt"], row["status"], row["credit"]) for row in rows]


async def vote(connection: asyncpg.Connection, number: int, *, up: bool) -> None:
    """A person's word on an item counts as much as the outcome of a run, and takes it out of cold storage."""
    await connection.execute("select knowledge_vote($1, $2)", number, up)


async def chill(connection: asyncpg.Connection, days: int) -> int:
    """Put into cold storage what nobody was told of for so many days; how many. Standards and code never go cold."""
    status = await connection.execute(
        """update memory set cold = true where state = 'active' and not cold and origin <> 'file' and kind <> 'standard'
             and greatest(created_at, coalesce(last_used_at, created_at)) < clock_timestamp() - make_interval(days => $1)""",
        days,
    )
    return int(status.rpartition(" ")[2])


def _table(kind: str) -> str:
    if kind not in STRUCTURED:
        raise ValueError(f"{kind} has no table of its own")
    return kind


MEMORY_FIELDS = tuple(field.name for field in fields(Memory))
