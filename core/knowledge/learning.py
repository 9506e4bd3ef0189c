"""Learning from what happened: checks that failed and what mended them, what people asked to be different, decisions that turned out.

Everything is read from the database and written once, so it may be done after each run, by hand, or twice. Texts come
from the output of
programs: secrets are taken out before they are stored, and what they say is quoted, never obeyed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg

from config.errors import QuarterdeckError
from core.knowledge.hidden import visible
from core.knowledge.kinds import decision_text, error_type, lesson_text, signature, telling_lines
from core.knowledge.noise import readable, says_something
from core.knowledge.secrets import is_secret_file, redact, redact_patch
from core.workspace import repository
from core.workspace.diff import diff, diff_stat
from core.workspace.repository import Repository
from storage.queries import knowledge as items
from storage.queries import knowledge_learning as rows
from storage.queries.knowledge import Draft

LONGEST_FIX = 1500
"""Characters of a change that mended something."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What was learned: new lessons, troubles met again, troubles whose mend is known now, wishes of people,
    decisions closed.
    """

    lessons: int = 0
    met_again: int = 0
    mended: int = 0
    reviews: int = 0
    decisions: int = 0

    def __add__(self, other: "Learned") -> "Learned":
        return Learned(
            self.lessons + other.lessons,
            self.met_again + other.met_again,
            self.mended + other.mended,
            self.reviews + other.reviews,
            self.decisions + other.decisions,
        )

    def __bool__(self) -> bool:
        return self != Learned()


async def learn(
    connection: asyncpg.Connection,
    *,
    task: int | None = None,
    project: str | None = None,
    since: datetime | None = None,
    heads: Mapping[int, str] | None = None,
) -> Learned:
    """Learn from all that was not learned from yet, of one task or project or everywhere.

    ``heads``: the commit that a run left behind, where that is known. Must run in a transaction.
    """
    learned = Learned()
    for failure in await rows.failures(connection, task=task, project=project, since=since):
        head = (heads or {}).get(failure.run) or failure.head
        learned += await _from_failure(connection, replace(failure, head=head))
    for mend in await rows.mends(connection, task=task, project=project):
        await _from_mend(connection, mend)
        learned += Learned(mended=1)
    for request in await rows.requests(connection, task=task, project=project, since=since):
        learned += await _from_request(connection, request)
    for memory in await rows.close_decisions(connection, project, task):
        details = await items.details(connection, "decision", memory)
        await items.update(connection, memory, {"content": decision_text(details)})
        learned += Learned(decisions=1)
    return learned


async def learn_from_edit(
    connection: asyncpg.Connection, *, project: str, task: int, run: int, title: str, patch: str, head: str
) -> bool:
    """A person changed what a run had made before it was merged: that is a lesson, once. Must run in a transaction."""
    columns: dict[str, Any] = {
        "type": "review",
        "error": "A person changed what the crew had made before it was merged:\n" + _changed_names(patch),
        "context": f"the work on “{title}”",
        "fix": f"```diff\n{redact(patch)}\n```",
        "worked": True,
    }
    number, new = await _lesson(connection, project, columns, "review", f"task #{task}", active=True, told_by=patch)
    await rows.saw(connection, number, run, task, head, worked=True)
    return new


async def _from_failure(connection: asyncpg.Connection, failure: rows.Failure) -> Learned:
    output = redact(failure.output)
    kind = error_type(failure.command, output)
    await rows.lock_corpus(
        connection, await items.corpus_of(connection, failure.project)
    )  # before any row: two may learn
    await rows.mark_learned(connection, failure)
    error = telling_lines(output)
    if not error:
        return Learned()  # what says nothing would be told to everybody, and help nobody
    columns: dict[str, Any] = {
        "type": kind,
        "error": error,
        "context": f"`{failure.command}` after the work on “{failure.title}”",
        "command": failure.command,
    }
    number, new = await _lesson(connection, failure.project, columns, "gate", f"task #{failure.task}", active=True)
    met = await rows.saw(connection, number, failure.run, failure.task, failure.head)
    return Learned(lessons=int(new), met_again=int(met and not new))


async def _from_mend(connection: asyncpg.Connection, mend: rows.Mend) -> None:
    fix = redact(await _fix(mend))
    await rows.mended(connection, mend.lesson, mend.failed_run, fix or None, mend.mended_head)
    details = await items.details(connection, "lesson", mend.lesson)
    changed: dict[str, Any] = {"worked": True}
    if not details.get("fix") and fix:
        changed["fix"] = fix
    if not details.get("rule"):
        first = mend.error.split("\n", 1)[0][:160]
        check = f"`{mend.command}` passes" if mend.command else "this is right"
        changed["rule"] = f"Before you finish, see that {check}; it failed with “{first}”."
    await items.update_details(connection, "lesson", mend.lesson, changed)
    await items.update(connection, mend.lesson, {"content": lesson_text(details | changed)})


async def _from_request(connection: asyncpg.Connection, request: rows.Request) -> Learned:
    note = redact(visible(readable(request.note))).strip()
    await rows.lock_corpus(connection, await items.corpus_of(connection, request.project))
    await rows.mark_read(connection, request.review)
    if not says_something(note):
        return Learned()
    columns: dict[str, Any] = {
        "type": "review",
        "error": note[:4000],
        "context": f"asked by {request.actor or 'a person'} in the review of “{request.title}”",
        "rule": note[:1000],
        "worked": True,
    }
    number, new = await _lesson(connection, request.project, columns, "review", f"task #{request.task}", active=True)
    met = await rows.saw(connection, number, request.run, request.task, None, worked=True)
    return Learned(reviews=int(met), lessons=int(new))


async def _lesson(
    connection: asyncpg.Connection,
    project: str,
    columns: Mapping[str, Any],
    origin: Any,
    source: str,
    *,
    active: bool,
    told_by: str | None = None,
) -> tuple[int, bool]:
    """The lesson about this trouble, made where there is none. One that a person deleted stays deleted. ``told_by``:
    what it is known by, where that is not its error.
    """
    corpus = await items.corpus_of(connection, project)
    digest = signature(columns["type"], told_by or columns["error"])
    await rows.lock_corpus(connection, corpus)
    known = await rows.lesson_by_signature(connection, corpus, digest)
    if known is None:
        known = await rows.lesson_for_all(connection, digest)
    if known is not None:
        return known, False
    title = " ".join((columns.get("rule") or columns["error"]).split())[:120]
    state: Any = "active" if active else "proposed"
    draft = Draft("lesson", title, lesson_text(columns), project, source, origin, state=state)
    number = await items.insert_structured(connection, draft, {**columns, "signature": digest})
    assert number is not None, "nobody else learns for this corpus meanwhile"
    return number, True


async def _fix(mend: rows.Mend) -> str:
    """What mended a trouble: the change between the two attempts where both are known, else the agent's own words."""
    said = " ".join((mend.said or "").split())[:400]
    if mend.mended_head and (mend.head or mend.base_commit):
        try:
            repo = await repository.open_repository(Path(mend.repository))
            patch = await _patch(repo, mend.head or str(mend.base_commit), mend.mended_head, mend.base_commit)
        except QuarterdeckError:
            return said
        if patch:
            return f"{said}\n```diff\n{patch}\n```" if said and not mend.head else f"```diff\n{patch}\n```"
    return said


def _changed_names(patch: str) -> str:
    return "\n".join(line for line in patch.split("\n") if line.startswith("# "))[:1000]


async def patch_between(repo: Repository, before: str, after: str) -> str:
    """What a person changed between two commits, as far as it fits into a lesson."""
    return await _patch(repo, before, after, None)


async def _patch(repo: Repository, before: str, after: str, base: str | None) -> str:
    """The lines that differ, of the files that the whole change touches; without the heads of git, and without secrets."""
    touched = None
    if base and base != before:
        touched = {file.path for file in (await diff_stat(repo, base, after)).files}
    shown = []
    for part in (await diff(repo, before, after, max_bytes=40_000)).split("diff --git ")[1:]:
        head, _, body = part.partition("\n@@")
        old, _, name = head.split("\n", 1)[0].replace('"', "").partition(" b/")
        if is_secret_file(old) or is_secret_file(name):
            continue
        if touched is None or name in touched:
            lines = redact_patch(f"@@{body}", name).split("\n")
            shown.append("\n".join([f"# {name}", *(line for line in lines if line.startswith(("+", "-")))]))
    text = "\n".join(shown)
    return text if len(text) <= LONGEST_FIX else text[:LONGEST_FIX].rsplit("\n", 1)[0] + "\n…"
