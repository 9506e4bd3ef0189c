"""Learning from a merged pull request: what reviewers wanted, how new files are made, whose memory proved good.

What people on GitHub wrote is anybody's text: it becomes a proposal, which a person accepts before a run is told of it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from config.errors import NotFoundError
from core.integrations.github import File, GitHub, Pull, Remark
from core.knowledge.hidden import visible
from core.knowledge.kinds import decision_text, lesson_text, signature
from core.knowledge.merges import proposals_of, propose_pattern
from core.knowledge.noise import readable, says_something
from core.knowledge.patterns import Proposal
from core.knowledge.secrets import redact, redact_patch
from core.workspace.repository import Repository
from storage.queries import knowledge as items
from storage.queries import knowledge_learning as rows
from storage.queries import knowledge_pulls as pulls
from storage.queries.knowledge import Draft

MOST_REMARKS = 50
MOST_PATCH = 1500
_BRANCH = re.compile(r"qd/(\d{1,18})-")


@dataclass(frozen=True, slots=True)
class Material:
    """All that was read of a pull request before the database is written."""

    project: str
    repo: str
    pull: Pull
    task: int | None
    remarks: Sequence[Remark]
    files: Sequence[File]
    edits: Sequence[File] = ()
    """What somebody changed of a run's result before it was merged."""
    proposals: Sequence[Proposal] = ()

    @property
    def source(self) -> str:
        """Where it is, in words that lead there."""
        return f"{self.repo}#{self.pull.number}"


@dataclass(slots=True)
class FromPull:
    """What one pull request taught."""

    number: int
    title: str
    known: bool = False
    """It was learned from before."""
    task: int | None = None
    lessons: list[int] = field(default_factory=list)
    patterns: list[int] = field(default_factory=list)
    decisions: int = 0
    credited: int = 0


async def read_pull(github: GitHub, repo: str, number: int) -> Pull:
    """A merged pull request. Raises NotFoundError for one that is not merged."""
    pull = await github.pull(repo, number)
    if pull.merged_at is None:
        raise NotFoundError(f"pull request #{number} of {repo} is not merged", "learn from it when it is")
    return pull


async def read_material(
    github: GitHub, project: str, repo: str, pull: Pull, clone: Repository | None, head: str | None
) -> Material:
    """Everything else that is needed; ``head``: the commit that our run had left, ``clone``: the repository here."""
    found = _BRANCH.match(pull.branch)
    files = await github.files(repo, pull.number)
    edits: Sequence[File] = ()
    if head and pull.head and head != pull.head:
        try:
            edits = await github.changes(repo, head, pull.head)
        except NotFoundError:  # a branch that was rewritten no longer knows the commit
            edits = ()
    proposed = await _proposals(clone, pull, files) if clone else []
    remarks = await github.remarks(repo, pull.number)
    return Material(project, repo, pull, int(found[1]) if found else None, remarks, files, edits, proposed)


def task_of(pull: Pull) -> int | None:
    """The task whose branch a pull request merges."""
    found = _BRANCH.match(pull.branch)
    return int(found[1]) if found else None


async def learn_from_pull(connection: asyncpg.Connection, material: Material) -> FromPull:
    """Write down what a pull request taught, once. Must run in a transaction."""
    pull, project = material.pull, material.project
    corpus = await items.corpus_of(connection, project)
    await rows.lock_corpus(connection, corpus)
    assert pull.merged_at is not None
    task = await pulls.own_task(connection, project, material.task) if material.task else None
    learned = FromPull(pull.number, pull.title, task=task)
    if not await pulls.mark(
        connection, project, pull.number, pull.title[:500], task, pull.merge_commit, pull.merged_at
    ):
        learned.known = True
        return learned
    run = await pulls.merged_run(connection, task) if task else None
    for columns, path in _lessons(material):
        number = await _propose_lesson(connection, corpus, project, columns, path, material.source)
        if number is not None:
            learned.lessons.append(number)
            if run and task:
                await rows.saw(connection, number, run, task, pull.head or None, worked=True)
    for proposal in material.proposals:
        number = await propose_pattern(connection, project, proposal, material.source, "pull_request")
        if number is not None:
            learned.patterns.append(number)
    said = "\n\n".join(redact(remark.body)[:500] for remark in material.remarks[:10])
    for memory in await pulls.close_decisions(connection, project, task, pull.number, said or None):
        details = await items.details(connection, "decision", memory)
        await items.update(connection, memory, {"content": decision_text(details)})
        learned.decisions += 1
    if run and task and not await pulls.is_taken_back(connection, project, task):
        learned.credited = await pulls.credit(connection, run, "won")
    return learned


def _lessons(material: Material) -> list[tuple[dict[str, Any], str | None]]:
    """What reviewers wanted different, and what was changed of a run's result."""
    found: list[tuple[dict[str, Any], str | None]] = []
    fixes = {file.path: redact_patch(visible(file.patch), file.path)[:MOST_PATCH] for file in material.edits}
    title = material.pull.title
    for remark in material.remarks[:MOST_REMARKS]:
        said = redact(visible(readable(remark.body))).strip()
        if not remark.wants or not says_something(said):
            continue
        where = f" at `{remark.path}`" if remark.path else ""
        fix = fixes.get(remark.path or "", "")
        columns = {
            "type": "review",
            "error": said[:4000],
            "context": f"{remark.author or 'a reviewer'}{where} in the review of “{title}” ({material.source})",
            "rule": said.split("\n\n")[0][:1000],
            "fix": f"```diff\n{fix}\n```" if fix else None,
            "worked": True,
        }
        found.append((columns, remark.path))
    remarked = {remark.path for remark in material.remarks if remark.path}
    for file in material.edits[:20]:
        if file.path in remarked or not fixes[file.path]:
            continue
        columns = {
            "type": "review",
            "error": f"A person changed what the crew had made of {file.path} before it was merged",
            "context": f"“{title}” ({material.source})",
            "rule": None,
            "fix": f"```diff\n{fixes[file.path]}\n```",
            "worked": True,
        }
        found.append((columns, file.path))
    return found


async def _propose_lesson(
    connection: asyncpg.Connection, corpus: int, project: str, columns: dict[str, Any], path: str | None, source: str
) -> int | None:
    """The lesson's number; None where it is known already, in whatever state."""
    told_by = f"{columns['error']}\n{columns['fix'] or ''}" if columns["rule"] is None else columns["error"]
    digest = signature(str(columns["type"]), told_by)
    if await rows.lesson_by_signature(connection, corpus, digest) is not None:
        return None
    title = " ".join(str(columns["rule"] or columns["error"]).split())[:120]
    draft = Draft(
        "lesson", title, lesson_text(columns), project, source, "pull_request", state="proposed", path=path,
        note="from a review; a person has to accept it",
    )  # fmt: skip
    return await items.insert_structured(connection, draft, {**columns, "signature": digest})


async def _proposals(clone: Repository, pull: Pull, files: Sequence[File]) -> list[Proposal]:
    """Patterns in what a pull request added, read from the repository here, where its merge is known."""
    if pull.merge_commit is None:
        return []
    added = [file.path for file in files if file.status == "added"]
    return await proposals_of(clone, pull.merge_commit, added, f"#{pull.number}")
