"""What an agent is told before it begins: standards, rules of the repository, what was learned, what is alike.

Within a budget of tokens, by value per token, each item with its source and why it was chosen. What says nothing for
the task at hand is not told: repeated and beside the point, it would teach agents to skip all of it. So for many tasks there is nothing
but the standards and the rules of the repository, which come first and are held back by nothing but the budget as a whole.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime

import asyncpg

from core.knowledge.gathering import Candidate, Work, gather, tokens_of
from core.knowledge.hidden import Finding, look, visible
from core.knowledge.recent import Repo
from core.knowledge.search import QueryVector
from core.knowledge.told import RULES, SECTIONS, STANDARDS, Item, LeftOut, Told, frame_of, shown_item
from storage.queries import knowledge_context as rows

BUDGET = 3000
"""Tokens that a run is told at most, unless the settings say otherwise."""
_HELD = (STANDARDS, RULES)
"""What holds for all work of a project, whatever became of runs that were told of it."""
_SHARES = {"similar work": 0.4, "map of the repository": 0.25, "recent changes": 0.1}
"""How much of the budget a section may take at most; the others a third, what is held all of it."""
_MARK = "0" * 12
"""As long as the marks of prompts: what an item takes is reckoned as it will stand there."""


async def context_for(
    connection: asyncpg.Connection,
    work: Work,
    repo: Repo | None = None,
    *,
    budget: int = BUDGET,
    vector: QueryVector | None = None,
    now: datetime | None = None,
) -> Told:
    """Choose what a run on ``work`` is told. Must run in a transaction; what is read from ``repo`` was read before, and the
    ``vector`` of the work's query made.
    """
    gathered = await gather(connection, work, repo, room=budget, vector=vector, now=now or datetime.now(UTC))
    harmful = await rows.poor(connection, work.project, [one.memory.number for one in gathered if one.memory])
    unread = repo.unread if repo else ()
    warnings = [Finding(f"{one.path}@{repo.commit[:12]}", "rule file not read", one.reason) for one in unread if repo]
    fit = []
    for candidate in gathered:
        if candidate.memory and candidate.memory.number in harmful:
            continue
        found = [] if candidate.trusted else _looked_at(candidate)
        warnings += found
        if any(one.what == "instruction" for one in found):
            continue
        fit.append(candidate)
    chosen, left_out = choose(fit, budget)
    return Told(work.project, work.task, budget, len(gathered), tuple(chosen), tuple(warnings), tuple(left_out))


async def record(connection: asyncpg.Connection, run: int, told: Told) -> None:
    """Write down what a run is told."""
    await rows.record(
        connection,
        run,
        budget=told.budget,
        tokens=told.tokens,
        considered=told.considered,
        items=[asdict(item) for item in told.items],
        warnings=[asdict(warning) for warning in told.warnings],
        left_out=[asdict(one) for one in told.left_out],
        memories=[item.memory for item in told.items if item.memory is not None],
    )


def choose(candidates: Sequence[Candidate], budget: int) -> tuple[list[Item], list[LeftOut]]:
    """The best for the budget, and what there was no room for.

    Standards first, then the rules of the repository by their precedence: where one has no room, none of a lower one is told in its
    place. Then the others by value per token, without near-duplicates, no section beyond its share. An item takes what it does in the
    prompt, with its place, reason and marks; so do, once, the words that introduce it.
    """
    left = budget
    standing: set[str] = set()
    spent: dict[str, int] = {}
    full: set[str] = set()
    chosen: list[Item] = []
    left_out: list[LeftOut] = []
    shingles: list[frozenset[str]] = []
    for one in sorted(candidates, key=_turn):
        text = one.text.strip() if one.trusted else visible(one.text).strip()
        number, name = (one.memory.number, str(one.memory.id)) if one.memory else (None, None)
        item = Item(one.section, one.title, text, one.source, one.why, 0, one.trusted, number, name)
        frame = set(frame_of(item, _MARK)) - standing
        size = tokens_of(shown_item(item, _MARK)) + 1
        needed = size + sum(tokens_of(text) + 1 for text in frame)
        words = _shingles(text)
        if not text or any(_alike(words, other, 1.0 if one.section in _HELD else 0.8) for other in shingles):
            continue
        share = budget if one.section in _HELD else int(budget * _SHARES.get(one.section, 1 / 3))
        if needed > left or spent.get(one.section, 0) + size > share or one.section in full:
            left_out.append(LeftOut(one.section, one.title, one.source, size))
            if one.section == RULES:
                full.add(one.section)
            continue
        left -= needed
        standing |= frame
        spent[one.section] = spent.get(one.section, 0) + size
        shingles.append(words)
        chosen.append(replace(item, tokens=size))
    return sorted(chosen, key=lambda item: SECTIONS.index(item.section)), left_out


def _turn(one: Candidate) -> tuple[int, float, str, str]:
    """When a candidate is looked at: what is held as it was found, the others by their value for what they take."""
    if one.section in _HELD:
        return _HELD.index(one.section), -one.value, "", ""
    return len(_HELD), -one.value / math.sqrt(max(40, tokens_of(one.text))), one.title, one.source


def _looked_at(candidate: Candidate) -> list[Finding]:
    """What a person should see of a candidate: whatever of it would stand in the prompt."""
    return look(candidate.text, candidate.source, candidate.title, candidate.source, candidate.why)


def _shingles(text: str) -> frozenset[str]:
    words = text.lower().split()
    return frozenset(" ".join(words[at : at + 3]) for at in range(max(1, len(words) - 2)))


def _alike(one: frozenset[str], other: frozenset[str], share: float) -> bool:
    """Whether so much of the shorter one stands in the other."""
    return len(one & other) >= share * min(len(one), len(other)) if one and other else False
