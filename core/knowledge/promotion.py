"""What has proved good in several projects is proposed for all; once it is accepted, it takes the place of what each had.

Two lessons are the same by the signature of their error, two patterns by their template, whatever their placeholders are called: what
else they say (of which task, from which file) differs from project to project.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain

import asyncpg

from core.knowledge.kinds import lesson_text, mould, pattern_text
from storage.queries import knowledge as items
from storage.queries import knowledge_learning as rows
from storage.queries import knowledge_states as states
from storage.queries.knowledge import Draft, Memory
from storage.queries.knowledge_context import ENOUGH_USES
from storage.queries.knowledge_learning import Promotable

PROJECTS = 2
"""In so many projects an item must have proved good to be proposed for all."""
GOOD = 0.5
"""Share of success, smoothed, from which on an item has proved good."""


async def promote(connection: asyncpg.Connection) -> list[int]:
    """Propose for all what has proved good in several projects, and was never proposed before; the proposals."""
    proposed = []
    for same in _groups(await rows.promotable(connection)).values():
        if any(row.project is None for row in same):
            continue  # it holds for all, or was proposed to, whatever became of it
        proved = {row.project: row for row in sorted(same, key=_worth) if row.state == "active" and _has_proved(row)}
        if len(proved) >= PROJECTS:
            proposed.append(await _propose(connection, sorted(proved.values(), key=_worth, reverse=True)))
    return proposed


async def take_over(connection: asyncpg.Connection, memory: Memory) -> None:
    """What single projects had of an item that holds for all now is superseded by it."""
    for same in _groups(await rows.promotable(connection)).values():
        if memory.number in [row.memory for row in same]:
            for row in same:
                if row.project is not None and row.state == "active":
                    note = f"superseded by item {memory.number}, which holds for all projects"
                    await items.set_state(connection, row.memory, "superseded", note=note, by=memory.number)
                    await states.copy_sightings(connection, row.memory, memory.number)


def _groups(known: Sequence[Promotable]) -> dict[object, list[Promotable]]:
    groups: dict[object, list[Promotable]] = defaultdict(list)
    for row in known:
        groups[row.signature if row.template is None else mould(row.template)].append(row)
    return groups


def _has_proved(row: Promotable) -> bool:
    return row.uses >= ENOUGH_USES and (row.wins + 1) / (row.uses + 2) >= GOOD


def _worth(row: Promotable) -> tuple[float, int]:
    return (row.wins + 1) / (row.uses + 2), -row.memory


async def _propose(connection: asyncpg.Connection, proved: Sequence[Promotable]) -> int:
    """Propose the best of several for all, with the record of them all, and without what only one project knows."""
    best = await items.find(connection, proved[0].memory)
    assert best is not None
    columns = await items.details(connection, best.category, best.number)
    projects = ", ".join(sorted(str(row.project) for row in proved))
    if best.category == "lesson":
        columns["signature"] = await items.signature_of(connection, best.number)
        if columns["command"]:
            columns["context"] = f"`{columns['command']}`, in {projects}"
        text = lesson_text(columns)
    else:
        stacks = [(await items.details(connection, "pattern", row.memory))["stacks"] for row in proved]
        columns["stacks"] = list(dict.fromkeys(chain.from_iterable(stacks))) if all(stacks) else []
        columns["projects"] = []
        columns["slug"] = await rows.free_slug(connection, f"{columns['slug'][:50]}-all")
        if columns["description"].startswith(rows.TEMPLATED_USE.rstrip("%")):
            columns["description"] = f"How such a file is made, in {projects}."
        text = pattern_text(columns["description"], columns["template"], columns["example"])
    note = f"holds in {projects}"
    draft = Draft(best.category, best.title, text, None, note, "consolidation", "proposed", best.tags, note=note)
    number = await items.insert_structured(connection, draft, columns)
    assert number is not None, "no lesson about it holds for all, and the name is free"
    record = {"uses": sum(row.uses for row in proved), "wins": sum(row.wins for row in proved)}
    await items.update(connection, number, record)
    return number
