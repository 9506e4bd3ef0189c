"""Consolidation: what holds in several projects is promoted, what fails is deprecated, what nobody used for long goes cold;
what is learned again and again is proposed as a standard, and what contradicts itself is shown.

Promotions are proposals, which a person accepts or refuses; only what does harm is taken out at once, and said so.
"""

from dataclasses import dataclass, replace

import asyncpg

from core.knowledge.contradictions import contradictions
from core.knowledge.standards import changed_standards
from storage.queries import knowledge as items
from storage.queries import knowledge_learning as rows
from storage.queries.knowledge import Draft

FAILING = 0.25
"""Share of success, smoothed, below which an item with enough uses is deprecated."""
ENOUGH = 5
PROJECTS = 2
"""In so many projects an item must have proved good to be proposed for all."""
COLD_DAYS = 180
STEADY = 3
"""Tasks in which a lesson's trouble was met, from which on its rule is proposed as a standard."""


@dataclass(frozen=True, slots=True)
class Consolidated:
    """Items proposed for all projects, deprecated, and put into cold storage; pairs that contradict each other, and
    rules that are proposed as standards.
    """

    promoted: tuple[int, ...]
    deprecated: tuple[int, ...]
    cold: int
    contradictions: tuple[tuple[int, int], ...] = ()
    standards: tuple[int, ...] = ()


async def consolidate(connection: asyncpg.Connection) -> Consolidated:
    """Do it once. Must run in a transaction; done again it changes nothing more."""
    known = await rows.patterns(connection)
    deprecated = []
    for row in known:
        if row.uses >= ENOUGH and (row.wins + 1) / (row.uses + 2) < FAILING:
            note = f"{row.uses - row.wins} of {row.uses} runs that were told of it failed"
            await items.set_state(connection, row.memory, "deprecated", note=note)
            deprecated.append(row.memory)
    promoted = []
    alike: dict[object, list[rows.PatternRow]] = {}
    for row in known:
        if row.memory not in deprecated:
            alike.setdefault(row.hash, []).append(row)
    for same in alike.values():
        projects = {row.project for row in same}
        if None in projects or len(projects) < PROJECTS:
            continue
        if all((row.wins + 1) / (row.uses + 2) >= 0.5 for row in same):
            number = await _promote(connection, same[0].memory, sorted(str(project) for project in projects))
            if number is not None:
                promoted.append(number)
    standards = [
        number
        for row in await rows.steady_rules(connection, STEADY)
        if (number := await _propose_standard(connection, row))
    ]
    opposed = tuple((one.left.number, one.right.number) for one in await contradictions(connection))
    cold = await items.chill(connection, COLD_DAYS)
    return Consolidated(tuple(promoted), tuple(deprecated), cold, opposed, tuple(standards))


async def _propose_standard(connection: asyncpg.Connection, row: rows.SteadyRule) -> int | None:
    """Propose a rule as a standard of its project, with the change of the standards file as its note; None where that was
    done before, whatever became of it.
    """
    title = " ".join(row.rule.split())[:120]
    source = f"lesson {row.memory}, met in {row.tasks} tasks"
    draft = Draft("standard", title, row.rule, row.project, source, "consolidation", "proposed")
    if await rows.standard_before(connection, row.project, title, row.rule):
        return None
    return await items.insert(connection, replace(draft, note=await changed_standards(connection, draft)))


async def _promote(connection: asyncpg.Connection, memory: int, projects: list[str]) -> int | None:
    """Propose an item for all projects, unless it was proposed before."""
    found = await items.find(connection, memory)
    assert found is not None
    before = await connection.fetchval(
        """select 1 from memory m join corpus c on c.id = m.corpus
            where c.project is null and m.kind = $1::memory_kind and m.hash = $2 limit 1""",
        found.category,
        found.hash,
    )
    if before:
        return None
    note = f"holds in {', '.join(projects)}"
    draft = Draft(
        found.category, found.title, found.content, None, note, "consolidation", "proposed", found.tags, note=note
    )
    number = await items.insert(connection, draft)
    details = await items.details(connection, found.category, memory)
    if found.category == "pattern":
        details["slug"] = f"{details['slug'][:50]}-all"
    else:
        row = await connection.fetchrow("select signature from lesson where memory = $1", memory)
        details |= {"corpus": await items.corpus_of(connection, None), "signature": row["signature"]}
    return number if await items.insert_details(connection, found.category, number, details) else None
