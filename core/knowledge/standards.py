"""The standards file: all standards in force, of a project or of all, as one Markdown text; and what proposals change of it.

The text is made when it is asked for, and so is the change, as a unified diff of what holds at that moment: a rule is added, takes the place
of another, or is taken out.
"""

import difflib
from collections.abc import Mapping, Sequence

import asyncpg

from storage.queries import knowledge as items
from storage.queries import knowledge_learning as rows
from storage.queries import knowledge_states as states
from storage.queries.knowledge import Draft, Memory

MOST = 200
STEADY = 3
"""Tasks in which a lesson's trouble was met, from which on its rule is proposed as a standard."""


async def standards_of(connection: asyncpg.Connection, project: str | None) -> list[Memory]:
    """The standards in force of a project itself, or with None of all projects, the oldest first."""
    return await _standards(connection, project, "active")


async def proposals_of(connection: asyncpg.Connection, project: str | None) -> list[Memory]:
    """What is proposed for that file: standards that are new or take another's place, and such as are to be taken out."""
    doubted = [one for one in await standards_of(connection, project) if one.doubt]
    return [*await _standards(connection, project, "proposed"), *doubted]


def standards_text(project: str | None, contents: Sequence[str]) -> str:
    """The file: one point per standard."""
    points = ["- " + content.strip().replace("\n", "\n  ") for content in contents]
    return "\n".join([f"# Standards of {project or 'all projects'}", "", *points]) + "\n"


async def change_of(connection: asyncpg.Connection, project: str | None, proposals: Sequence[Memory]) -> str:
    """What accepting these proposals would change of the file now, as a unified diff; empty where nothing."""
    now = {memory.number: memory.content for memory in await standards_of(connection, project)}
    then = dict(now)
    for one in proposals:
        if one.state == "active":
            then.pop(one.number, None)
        elif one.replaces in then:
            then[one.replaces] = one.content
        else:
            then[one.number] = one.content
    name = f"standards/{project or 'all'}.md"
    before, after = standards_text(project, [*now.values()]), standards_text(project, [*then.values()])
    return "".join(difflib.unified_diff(before.splitlines(True), after.splitlines(True), name, name))  # noqa: FBT003


async def propose_changes(connection: asyncpg.Connection, failing: Mapping[int, str]) -> tuple[list[int], list[int]]:
    """Propose what the standards should say: rules that were needed again and again, in other words where they were reworded since;
    and doubt those that fail (item → how) or whose lesson is gone. Numbers of the proposed and of the doubted. Each is said once.
    """
    proposed = []
    for rule in await rows.steady_rules(connection, STEADY):
        if not await rows.standard_before(connection, rule.project, _title(rule.rule), rule.rule):
            number = await _propose(connection, rule)
            proposed += [number] if number is not None else []
    doubts = dict(failing)
    for number, lesson, state in await rows.orphaned_standards(connection):
        doubts.setdefault(number, f"lesson {lesson}, of which it was made, is {state}")
    doubted = []
    for number, why in doubts.items():
        memory = await items.find(connection, number, lock=True)
        if memory is not None and memory.doubt is None:
            await states.set_doubt(connection, number, why)
            doubted.append(number)
    return proposed, doubted


async def _propose(connection: asyncpg.Connection, rule: rows.SteadyRule) -> int | None:
    """Propose a rule as a standard of its project; None where what it was made a standard as needs no change."""
    before = await rows.standard_of_lesson(connection, rule.project, rule.memory)
    if before is not None:
        ended = before.state not in ("active", "proposed")  # a person has refused it, or put it away
        if ended or not await rows.reworded_since(connection, rule.memory, before.since):
            return None
    replaced = None if before is None else before.number if before.state == "active" else before.replaces
    source = f"lesson {rule.memory}, met in {rule.tasks} tasks"
    note = f"needed in {rule.tasks} tasks; a person has to accept it"
    draft = Draft(
        "standard", _title(rule.rule), rule.rule, rule.project, source, "consolidation", "proposed", note=note,
        replaces=replaced,
    )  # fmt: skip
    number = await items.insert(connection, draft)
    if before is not None and before.state == "proposed":
        await items.set_state(connection, before.number, "superseded", note=f"superseded by item {number}", by=number)
    return number


async def _standards(connection: asyncpg.Connection, project: str | None, state: str) -> list[Memory]:
    corpus = await items.corpus_of(connection, project)
    found = await connection.fetch(
        """select number from memory where corpus = $1 and kind = 'standard' and state = $2 and origin <> 'file'
            order by number limit $3""",
        corpus,
        state,
        MOST,
    )
    known = await items.by_number(connection, [row["number"] for row in found])
    return [known[row["number"]] for row in found]


def _title(rule: str) -> str:
    return " ".join(rule.split())[:120]
