"""Search: words and meaning, fused into one ranking by their scores, weighted by what proved good.

Without an embedder the words alone decide, and the answer says so. Neither leg gates the other: what only one of them
finds is found.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg

from core.knowledge.snippets import Snippet, snippet
from storage.queries import knowledge as items
from storage.queries import knowledge_context as context_rows
from storage.queries import knowledge_search as rows
from storage.queries.knowledge import Memory
from storage.queries.knowledge_search import Embedder, Filters, Standing

MEANING = 0.35
"""Share of the meaning in a score, the rest is the words'. Set on the half of the benchmark's questions that its figures are not taken
from. Scores are fused, not reciprocal ranks, which came out below them on each of the three tasks of the benchmark.
"""
POOL = 100
"""Candidates that each leg brings, at least."""
DEEPEST = 20_000
"""Candidates beyond which no more are looked for where twins, or what does not apply, leave too few."""
SHORTLIST = 60
"""Candidates whose outcome and age are looked at, at least: a weight can make up for a third of a score."""
HALF_LIFE_DAYS = 365.0
"""Age at which what was said counts a twentieth less; what is read from a repository is as old as its commit and does
not fade.
"""


@dataclass(frozen=True, slots=True)
class QueryVector:
    """A query as the model has it that search uses. It is made before the transaction of a search begins: making it may take a
    call to a service, which is written into the ledger by a connection of its own.
    """

    embedder: Embedder
    vector: Sequence[float]


@dataclass(frozen=True, slots=True)
class Hit:
    """An item that was found. ``similarity`` (cosine) and ``coverage`` (share of the query's weight) are 0 to 1; None:
    not found by that leg.
    """

    memory: Memory
    score: float
    coverage: float | None
    similarity: float | None
    snippet: Snippet


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a search; ``mode`` says what decided."""

    hits: tuple[Hit, ...]
    mode: str


async def search(
    connection: asyncpg.Connection,
    text: str,
    *,
    project: str | None = None,
    filters: Filters | None = None,
    limit: int = 10,
    vector: QueryVector | None = None,
    now: datetime | None = None,
    harmless: bool = False,
    least: int = 1000,
) -> Found:
    """The best items for ``text``, in a project and what holds for all, or everywhere. Must run in a transaction.

    There are ``limit`` of them, or ``least`` where that is fewer, wherever there are so many: for them more is read than for the best alone.
    ``vector``: that of ``text``; without it, and when the model was changed since it was made, the words decide alone. What applies
    elsewhere alone is left out of a project's; ``harmless``: so is what runs of the project failed with.
    """
    filters = filters or Filters()
    ground = await rows.ground(connection, text, project)
    corpora = ground.corpora
    if not corpora or not text.strip():
        return Found((), "words")
    meant = vector if vector and vector.embedder == ground.embedder else None
    pool, most = max(POOL, 3 * limit), rows.MOST_READ
    while True:
        by_words = await rows.match_words(connection, text, corpora, pool, filters, most)
        by_meaning: list[tuple[int, float]] = []
        if meant:
            by_meaning = await rows.match_vectors(connection, meant.embedder, meant.vector, corpora, pool, filters)
        fused = fuse([(match.memory, match.score) for match in by_words], by_meaning)
        if harmless and project:
            harmful = await context_rows.poor(connection, project, list(fused))
            fused = {number: score for number, score in fused.items() if number not in harmful}
        best = await _weighed(connection, fused, now or datetime.now(UTC), limit, project)
        read_all = most == rows.ALL_OF_THEM and pool > max(len(by_words), len(by_meaning))
        if len(best) >= min(limit, least) or read_all or pool > DEEPEST:
            break
        pool, most = 8 * pool, rows.ALL_OF_THEM
    found = await items.by_number(connection, [number for _, number in best])
    coverage = {match.memory: match.coverage for match in by_words}
    similarity = dict(by_meaning)
    hits = tuple(
        Hit(
            found[number],
            round(score, 6),
            coverage.get(number),
            similarity.get(number),
            snippet(found[number].content, ground.terms),
        )
        for score, number in best
        if number in found
    )
    return Found(hits, "words and meaning" if meant else "words")


async def _weighed(
    connection: asyncpg.Connection, fused: Mapping[int, float], at: datetime, limit: int, project: str | None
) -> list[tuple[float, int]]:
    """The best by score and weight. A few times as many as are wanted are looked at; all of them where twins fill the first places."""
    order = sorted(fused, key=lambda number: (-fused[number], number))
    best: list[tuple[float, int]] = []
    for count in (max(SHORTLIST, 4 * limit), len(order)):
        standings = await rows.standings(connection, order[:count], project)
        scored = [(fused[number] * weight(known, at), number) for number, known in standings.items()]
        best = _without_twins(sorted(scored, key=lambda one: (-one[0], one[1])), standings)[:limit]
        if len(best) == limit or count >= len(order):
            break
    return best


def fuse(words: Sequence[tuple[int, float]], meaning: Sequence[tuple[int, float]]) -> Mapping[int, float]:
    """Both rankings, (item, score) with the best first, as one: 1 is the best of every leg that found anything.

    A score of BM25 counts relative to the best one; of the similarities, which all lie close together, what is above the least one.
    """
    scores: dict[int, float] = {}
    share = MEANING if words and meaning else float(bool(meaning))
    for item, score in words:
        scores[item] = (1 - share) * score / max(words[0][1], 1e-9)
    if meaning:
        most, least = meaning[0][1], meaning[-1][1]
        for item, similarity in meaning:
            relative = (similarity - least) / (most - least) if most > least else 1.0
            scores[item] = scores.get(item, 0.0) + share * relative
    return scores


def weight(memory: Standing, now: datetime) -> float:
    """What outcome and age make of a score: 0.75 to 1.25 for its worth, a mild decay for what people and runs have
    said.
    """
    outcome = 0.75 + 0.5 * memory.worth
    if memory.origin == "file":
        return outcome
    age = max(0.0, (now - (memory.last_used_at or memory.created_at)).total_seconds() / 86400)
    return outcome * (0.9 + 0.1 * math.exp2(-age / HALF_LIFE_DAYS))


def _without_twins(scored: Sequence[tuple[float, int]], found: Mapping[int, Standing]) -> list[tuple[float, int]]:
    """The same text in several places is one answer: the first."""
    seen = set()
    kept = []
    for score, number in scored:
        if found[number].hash not in seen:
            seen.add(found[number].hash)
            kept.append((score, number))
    return kept
