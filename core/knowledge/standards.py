"""The standards file: all standards in force, of a project or of all, as one Markdown text; and what a proposal changes of it."""

import difflib
from collections.abc import Sequence

import asyncpg

from storage.queries import knowledge as items
from storage.queries.knowledge import Draft, Memory

MOST = 200


async def standards_of(connection: asyncpg.Connection, project: str | None) -> list[Memory]:
    """The standards in force of a project itself, or with None of all projects, the oldest first."""
    corpus = await items.corpus_of(connection, project)
    rows = await connection.fetch(
        """select number from memory where corpus = $1 and kind = 'standard' and state = 'active' and origin <> 'file'
            order by number limit $2""",
        corpus,
        MOST,
    )
    found = await items.by_number(connection, [row["number"] for row in rows])
    return [found[row["number"]] for row in rows]


def standards_text(project: str | None, contents: Sequence[str]) -> str:
    """The file: one point per standard."""
    points = ["- " + content.strip().replace("\n", "\n  ") for content in contents]
    return "\n".join([f"# Standards of {project or 'all projects'}", "", *points]) + "\n"


async def changed_standards(connection: asyncpg.Connection, draft: Draft) -> str:
    """What accepting a standard would change of the file, as a unified diff."""
    now = [memory.content for memory in await standards_of(connection, draft.project)]
    name = f"standards/{draft.project or 'all'}.md"
    before, after = standards_text(draft.project, now), standards_text(draft.project, [*now, draft.content])
    return "".join(difflib.unified_diff(before.splitlines(True), after.splitlines(True), name, name))  # noqa: FBT003
