"""What decides where an item stands: its twins, who else has its name, a doubt about it, cold storage."""

from uuid import UUID

import asyncpg

from storage.queries.knowledge import Memory, State


async def warm(connection: asyncpg.Connection, number: int) -> None:
    """Somebody has to do with an item: it is out of cold storage, and not soon put there again."""
    await connection.execute(
        "update memory set cold = false, last_used_at = clock_timestamp() where number = $1", number
    )


async def begin_anew(connection: asyncpg.Connection, number: int) -> None:
    """Forget how runs ended that were told of an item: it is tried once more."""
    await connection.execute("update memory set uses = 0, wins = 0 where number = $1", number)


async def set_doubt(connection: asyncpg.Connection, number: int, doubt: str) -> None:
    """Propose that an item is taken out; empty: it was proposed, and the item stands."""
    await connection.execute("update memory set doubt = $2 where number = $1", number, doubt)


async def twin_of(
    connection: asyncpg.Connection,
    memory: Memory,
    *,
    title: str | None = None,
    content: str | None = None,
    kind: str | None = None,
    corpus: int | None = None,
) -> int | None:
    """Another item that holds, or is proposed, and says what this one says, or would say with these. Served by memory_hash.

    The same text in two places of files is two items.
    """
    number: int | None = await connection.fetchval(
        """select o.number from memory m join memory o on o.corpus = coalesce($5, m.corpus) and o.kind = coalesce($4::memory_kind, m.kind)
            where m.number = $1 and o.number <> m.number and o.state in ('active', 'proposed')
              and o.hash = md5(coalesce($2, m.title) || e'\n' || coalesce($3, m.content))::uuid
              and (m.origin <> 'file' or (o.origin = 'file' and o.path = m.path and o.first_line is not distinct from m.first_line))
            order by o.number limit 1""",
        memory.number,
        title,
        content,
        kind,
        corpus,
    )
    return number


async def copy_sightings(connection: asyncpg.Connection, lesson: int, heir: int) -> None:
    """Where the trouble of a lesson was met is where that of the lesson in its place was; nothing where that is no lesson."""
    await connection.execute(
        """insert into sighting (lesson, run, task, head, mended_head, fix, worked, at)
           select l.memory, s.run, s.task, s.head, s.mended_head, s.fix, s.worked, s.at from sighting s join lesson l on l.memory = $2
            where s.lesson = $1 on conflict (lesson, run) do nothing""",
        lesson,
        heir,
    )


async def lesson_in(connection: asyncpg.Connection, corpus: int, digest: UUID) -> tuple[int, State] | None:
    """The lesson about an error in one place, and its state. Served by the key of lesson."""
    row = await connection.fetchrow(
        "select m.number, m.state from lesson l join memory m on m.number = l.memory where l.corpus = $1 and l.signature = $2",
        corpus,
        digest,
    )
    return (row["number"], row["state"]) if row else None


async def pattern_called(connection: asyncpg.Connection, slug: str) -> tuple[int, State] | None:
    """The pattern of a name, and its state."""
    row = await connection.fetchrow(
        "select m.number, m.state from pattern p join memory m on m.number = p.memory where p.slug = $1", slug
    )
    return (row["number"], row["state"]) if row else None
