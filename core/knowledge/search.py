"""Search: words and meaning, fused by rank, weighted by what proved good.

Without an embedder the words alone decide, and the answer says so. Neither leg gates the other: what only one of them
finds is found.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import asyncpg

from core.knowledge.snippets import Snippet, snippet
from storage.queries import knowledge as items
from storage.queries import knowledge_search as rows
from storage.queries.knowledge import Memory
from storage.queries.knowledge_search import Embedder, Filters, Standing

RRF_K = 10
"""Constant of reciprocal rank fusion: 1 / (k + rank), summed over the legs. 10 was best of 5 to 60 on the benchmark."""
POOL = 100
"""Candidates that each leg brings, at least."""
HALF_LIFE_DAYS = 365.0
"""Age at which what was said counts a twentieth less; what is read from a repository is as old as its commit and does
not fade.
"""


class QueryEmbedder(Protocol):
    """Turns a query into a vector of the model that search uses."""

    async def query(self, connection: asyncpg.Connection, embedder: Embedder, text: str) -> Sequence[float] | None:
        """The vector; None when the model cannot be reached now."""


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
    embedder: QueryEmbedder | None = None,
    now: datetime | None = None,
) -> Found:
    """The best items for ``text``, in a project and what holds for all, or everywhere. Must run in a transaction."""
    filters = filters or Filters()
    corpora = await items.known_corpora(connection, project)
    if not corpora or not text.strip():
        return Found((), "words")
    pool = max(POOL, 3 * limit)
    by_words = await rows.match_words(connection, text, corpora, pool, filters)
    by_meaning: list[tuple[int, float]] = []
    mode = "words"
    model = await rows.active_embedder(connection)
    if model and embedder:
        vector = await embedder.query(connection, model, text)
        if vector is not None:
            mode = "words and meaning"
            by_meaning = await rows.match_vectors(connection, model, vector, corpora, pool, filters)
    fused = fuse([[match.memory for match in by_words], [memory for memory, _ in by_meaning]])
    standings = await rows.standings(connection, list(fused))
    at = now or datetime.now(UTC)
    scored = [(score * weight(standings[number], at), number) for number, score in fused.items() if number in standings]
    best = _without_twins(sorted(scored, reverse=True), standings)[:limit]
    found = await items.by_number(connection, [number for _, number in best])
    coverage = {match.memory: match.coverage for match in by_words}
    similarity = dict(by_meaning)
    terms = await rows.query_terms(connection, text)
    hits = tuple(
        Hit(
            found[number],
            round(score, 6),
            coverage.get(number),
            similarity.get(number),
            snippet(found[number].content, terms),
        )
        for score, number in best
        if number in found
    )
    return Found(hits, mode)


def fuse(legs: Sequence[Sequence[int]], k: int = RRF_K) -> Mapping[int, float]:
    """Reciprocal rank fusion of rankings, scaled so that first place in every leg that found anything is 1."""
    used = [leg for leg in legs if leg]
    scores: dict[int, float] = {}
    for leg in used:
        for rank, item in enumerate(leg):
            scores[item] = scores.get(item, 0.0) + (k + 1) / (k + rank + 1) / len(used)
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
