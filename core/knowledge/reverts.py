"""Reverts in the history of the base: work that was taken back debits what its run was told.

git writes ``This reverts commit <hash>.`` into the message, GitHub ``Reverts owner/name#12``. A revert of a revert gives
the work its credit back.
"""

import re
from dataclasses import dataclass

import asyncpg

from core.knowledge.kinds import decision_text
from core.workspace.git import git
from core.workspace.repository import Repository
from storage.queries import knowledge as items
from storage.queries import knowledge_pulls as rows

DAYS = 180
MOST = 500
_HASH = re.compile(r"This (?:partially )?reverts commit ([0-9a-f]{7,64})", re.IGNORECASE)
_PULL = re.compile(r"^Reverts (?:[\w.-]+/[\w.-]+)?#(\d{1,9})\s*$", re.MULTILINE)
_TASK = re.compile(r"\bqd task #(\d{1,18})\b")


@dataclass(frozen=True, slots=True)
class Revert:
    """A commit that takes back another. ``subject``: the words of the one that is taken back, as far as known here."""

    commit: str
    undoes: str
    pull: int | None
    said: str


async def read_reverts(repo: Repository, commit: str) -> list[Revert]:
    """The reverts on a branch of the last half year, the earliest first."""
    output = await git(
        "log", "-z", "--reverse", f"--max-count={MOST}", f"--since={DAYS}.days", "--extended-regexp", "--regexp-ignore-case",
        "--grep=This (partially )?reverts commit", "--grep=^Reverts .*#[0-9]+", "--format=%H%x01%B", commit, "--",
        at=repo.place, max_bytes=4_000_000,
    )  # fmt: skip
    found = []
    for entry in output.stdout.decode("utf-8", "replace").split("\0"):
        own, _, message = entry.partition("\x01")
        by_hash, by_pull = _HASH.search(message), _PULL.search(message)
        if not own or not (by_hash or by_pull):
            continue
        undoes = await _whole(repo, by_hash[1]) if by_hash else ""
        said = await _message(repo, undoes) if undoes else ""
        found.append(Revert(own, undoes, int(by_pull[1]) if by_pull else None, said))
    return found


async def learn_from_reverts(connection: asyncpg.Connection, project: str, reverts: list[Revert]) -> tuple[int, int]:
    """Debit what the runs were told whose work was taken back: (reverts of our work, items). Done again it changes nothing."""
    taken_back = debited = 0
    for revert in reverts:
        back = await rows.reverted_by(connection, project, revert.undoes) if revert.undoes else None
        task = back[0] if back else await _task(connection, project, revert)
        if task is None:
            continue  # not ours, or not known to be yet: its pull request may still be learned from
        if not await rows.note_revert(connection, project, revert.commit, revert.undoes, task):
            continue
        run = await rows.merged_run(connection, task)
        if run is None:
            continue
        taken_back += 1
        gone = await rows.is_taken_back(connection, project, task)
        debited += await rows.credit(connection, run, "lost" if gone else "won")
        words = f"reverted by {revert.commit[:12]}" if gone else f"its change is back since {revert.commit[:12]}"
        for memory in await rows.turn_decisions(connection, task, "reverted" if gone else "success", words):
            details = await items.details(connection, "decision", memory)
            await items.update(connection, memory, {"content": decision_text(details)})
    return taken_back, debited


async def _task(connection: asyncpg.Connection, project: str, revert: Revert) -> int | None:
    task = await rows.task_of_commit(connection, project, revert.undoes, revert.pull)
    named = _TASK.search(revert.said)
    if task is None and named:
        task = await rows.own_task(connection, project, int(named[1]))
    return task


async def _whole(repo: Repository, name: str) -> str:
    """The whole name of a commit; empty when it is not here."""
    found = await git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", at=repo.place, accept=(0, 1, 128))
    return found.text.strip() if found.status == 0 else ""


async def _message(repo: Repository, commit: str) -> str:
    shown = await git("log", "-1", "--format=%B", commit, "--", at=repo.place, accept=(0, 128), max_bytes=100_000)
    return shown.text if shown.status == 0 else ""
