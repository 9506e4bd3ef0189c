"""Who defines what, and who mentions it: the edges of a map of a repository around some files."""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

MOST_ITEMS = 120
"""Items of the files that a map begins with, at most."""
MOST_NAMES = 60
MOST_DEFINERS = 4
"""A name that more files define says little about where it leads."""


@dataclass(frozen=True, slots=True)
class Definition:
    """Something that a file defines: its name without what it is part of, and where it stands."""

    path: str
    name: str
    title: str
    line: int
    content: str


async def defined_in(connection: asyncpg.Connection, corpora: Sequence[int], paths: Sequence[str]) -> list[Definition]:
    """What these files define. Served by memory_path."""
    rows = await connection.fetch(
        """select path, knowledge_name(title) as name, title, coalesce(first_line, 1) as line, left(content, 2000) as content from memory
            where corpus = any($1::smallint[]) and path = any($2) and origin = 'file' and state = 'active' and kind = 'code'
              and title like '% (%'
            order by path, first_line limit $3""",
        list(corpora),
        list(paths),
        MOST_ITEMS,
    )
    return [Definition(**row) for row in rows]


async def definers(connection: asyncpg.Connection, corpora: Sequence[int], names: Sequence[str]) -> list[Definition]:
    """Where these names are defined, but for names that many files define. Served by memory_name."""
    rows = await connection.fetch(
        """select d.path, n.name, d.title, d.line, d.content from unnest($2::text[]) n (name)
             cross join lateral (
               select m.path, m.title, coalesce(m.first_line, 1) as line, left(m.content, 400) as content from memory m
                where m.corpus = any($1::smallint[]) and knowledge_name(m.title) = n.name and m.origin = 'file' and m.state = 'active'
                  and m.kind = 'code' limit $3) d""",
        list(corpora),
        list(names)[:MOST_NAMES],
        MOST_DEFINERS + 1,
    )
    found: dict[str, list[Definition]] = {}
    for row in rows:
        found.setdefault(row["name"], []).append(Definition(**row))
    return [one for same in found.values() if len(same) <= MOST_DEFINERS for one in same]


async def mentions(
    connection: asyncpg.Connection, corpora: Sequence[int], names: Sequence[str], limit: int = 6
) -> list[tuple[str, str]]:
    """(name, path) of files that mention a name: by its words, then by the name itself. Served by the primary key of posting."""
    rows = await connection.fetch(
        """select n.name, h.path from unnest($2::text[]) n (name)
             cross join lateral (select array_agg(w.term) as terms from knowledge_words(n.name) w) t
             cross join lateral (
               select distinct m.path from (
                 select p.memory from posting p where p.term = any(t.terms) and p.corpus = any($1::smallint[]) and p.kind = 'code'
                  group by p.memory having count(*) >= cardinality(t.terms) order by max(p.tf::real / p.len) desc limit 25) held
                 join memory m on m.number = held.memory
                where position(n.name in m.content) > 0 limit $3) h""",
        list(corpora),
        list(names),
        limit,
    )
    return [(row["name"], row["path"]) for row in rows if row["path"]]
