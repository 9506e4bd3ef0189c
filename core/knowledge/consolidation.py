"""Consolidation: what holds in several projects is promoted, what fails is deprecated, what nobody used for long goes cold;
what is learned again and again is proposed as a standard, and what contradicts itself is shown.

Promotions and changes of the standards are proposals, which a person accepts or refuses; only what does harm is taken out at once,
and said so.
"""

from dataclasses import dataclass

import asyncpg

from core.knowledge.contradictions import keep
from core.knowledge.promotion import promote
from core.knowledge.standards import propose_changes
from storage.queries import knowledge as items
from storage.queries import knowledge_context as context
from storage.queries import knowledge_learning as rows
from storage.queries.knowledge_learning import Record

COLD_DAYS = 180


@dataclass(frozen=True, slots=True)
class Consolidated:
    """Items proposed for all projects, deprecated, and put into cold storage; pairs that contradict each other; rules that are
    proposed as standards, and standards that are proposed to be taken out.
    """

    promoted: tuple[int, ...]
    deprecated: tuple[int, ...]
    cold: int
    contradictions: tuple[tuple[int, int], ...] = ()
    standards: tuple[int, ...] = ()
    doubted: tuple[int, ...] = ()


async def consolidate(connection: asyncpg.Connection) -> Consolidated:
    """Do it once. Must run in a transaction; done again it changes nothing more."""
    deprecated = await _deprecate(connection)
    promoted = await promote(connection)
    failing = [
        one
        for one in await rows.records(connection, ("standard",), context.ENOUGH_USES)
        if await _harms(connection, one)
    ]
    standards, doubted = await propose_changes(connection, {one.memory: _words(one) for one in failing})
    opposed = tuple((one.left.number, one.right.number) for one in await keep(connection))
    cold = await items.chill(connection, COLD_DAYS)
    return Consolidated(tuple(promoted), tuple(deprecated), cold, opposed, tuple(standards), tuple(doubted))


async def _deprecate(connection: asyncpg.Connection) -> list[int]:
    """Take out the lessons and patterns that do harm: those that runs are told of no more already; which."""
    deprecated = []
    for one in await rows.records(connection, ("lesson", "pattern"), context.ENOUGH_USES):
        if await _harms(connection, one):
            await items.set_state(connection, one.memory, "deprecated", note=_words(one))
            deprecated.append(one.memory)
    return deprecated


async def _harms(connection: asyncpg.Connection, one: Record) -> bool:
    """Whether no project tells its runs of an item any more; one that holds for all may still help in one of them."""
    for project in one.projects:
        if not await context.poor(connection, project, [one.memory]):
            return False
    return bool(one.projects)


def _words(one: Record) -> str:
    return f"{one.uses - one.wins} of {one.uses} runs that were told of it failed"
