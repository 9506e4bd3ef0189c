"""Patterns in what was merged here: new files that are made like their neighbours, of every change of the crew that has landed.

A change is looked at once, after its merge or, where an engine died in between, later. What is found is proposed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

import asyncpg

from config.errors import QuarterdeckError
from core.knowledge.kinds import pattern_text
from core.knowledge.patterns import Proposal, proposals
from core.knowledge.secrets import redact
from core.workspace import repository
from core.workspace.git import git
from core.workspace.repository import Repository
from storage.database import Database, Principal
from storage.queries import knowledge as items
from storage.queries import knowledge_merges as rows
from storage.queries.guard import transact
from storage.queries.knowledge import Draft
from storage.queries.knowledge_merges import Merge

MOST_FILES = 40
"""New files of one change that are looked at."""
LONGEST_SLUG = 62
"""Characters of a pattern's name."""


@dataclass(frozen=True, slots=True)
class FromMerges:
    """Numbers of the patterns that were proposed; ``missed``: what could not be read now, and is looked at the next time."""

    patterns: tuple[int, ...]
    missed: tuple[str, ...]


async def learn_from_merges(
    db: Database, who: Principal, *, project: str | None = None, task: int | None = None
) -> FromMerges:
    """Propose patterns from the merges that were not looked at yet."""
    async with db.transaction(who) as connection:
        merges = await rows.unlearned(connection, project=project, task=task)
    proposed: list[int] = []
    away: dict[str, str] = {}
    for merge in merges:
        if merge.repository in away:
            continue
        try:
            repo = await repository.open_repository(Path(merge.repository))
            found = await proposals_of(repo, merge.commit, await _added(repo, merge), f"task #{merge.task}")
        except QuarterdeckError as error:
            away[merge.repository] = error.sentence()
            continue
        proposed += await transact(db, who, lambda connection, m=merge, f=found: _propose_all(connection, m, f))  # type: ignore[misc]
    return FromMerges(tuple(proposed), tuple(away.values()))


async def proposals_of(repo: Repository, commit: str, added: Sequence[str], source: str) -> list[Proposal]:
    """Patterns in the files that a change has added, as they stand in a commit; none where that is not here."""
    listed = await git(
        "ls-tree", "-r", "-z", "--name-only", commit, at=repo.place, accept=(0, 128), max_bytes=20_000_000
    )
    if listed.status != 0:
        return []
    tree = listed.stdout.decode("utf-8", "replace").split("\0")
    known = set(tree)
    texts: dict[str, str] = {}
    for path in [path for path in added if path in known][:MOST_FILES]:
        shown = await git("show", f"{commit}:{path}", at=repo.place, accept=(0, 128), max_bytes=50_000)
        if shown.status == 0:
            texts[path] = shown.stdout.decode("utf-8", "replace")
    return proposals(texts, tree, source)


async def propose_pattern(
    connection: asyncpg.Connection,
    project: str,
    proposal: Proposal,
    source: str,
    origin: Literal["run", "pull_request"],
) -> int | None:
    """Propose a pattern to the person; None where it was before. Must run in a transaction."""
    slug = _short(f"{project}-{proposal.slug}")
    if await items.pattern_by_slug(connection, slug) is not None:
        return None
    template = redact(proposal.template).replace("\0", "\ufffd")
    draft = Draft(
        "pattern", proposal.title[:300], pattern_text(proposal.description, template, None), project, source, origin,
        state="proposed", path=proposal.example, note="seen in a merged change; a person has to accept it",
    )  # fmt: skip
    columns = {
        "slug": slug,
        "category": proposal.category,
        "description": proposal.description,
        "template": template,
    }
    return await items.insert_structured(connection, draft, columns)


def _short(name: str) -> str:
    """A name of a pattern; of a longer one the beginning and a digest, since deep folders often differ in their end alone."""
    if len(name) <= LONGEST_SLUG:
        return name
    return f"{name[: LONGEST_SLUG - 8].strip('-.')}-{sha256(name.encode()).hexdigest()[:7]}"


async def _propose_all(connection: asyncpg.Connection, merge: Merge, found: Sequence[Proposal]) -> list[int]:
    if not await rows.mark(connection, merge.run):
        return []
    source = f"task #{merge.task}"
    made = [await propose_pattern(connection, merge.project, one, source, "run") for one in found]
    return [number for number in made if number is not None]


async def _added(repo: Repository, merge: Merge) -> list[str]:
    """Names of the files that the run has added."""
    listed = await git(
        "diff", "--name-only", "--diff-filter=A", "--no-renames", "-z", merge.base_commit, merge.head_commit, "--",
        at=repo.place, accept=(0, 128), max_bytes=2_000_000,
    )  # fmt: skip
    return listed.stdout.decode("utf-8", "replace").split("\0")[:-1] if listed.status == 0 else []
