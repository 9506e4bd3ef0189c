"""Retrieval on real public code: full text, BM25, dense, both by reciprocal ranks and as search fuses them.

As MRR@10 and Recall@5 with standard errors, on held-out questions.
"""

import math
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from bench import knowledge_world as world
from bench.framework import Environment, Figure, at_least
from bench.knowledge_world import WHO
from bench.retrieval_world import Function, Question, load
from core.knowledge import models
from core.knowledge.embedding import Queries, Reach, local
from core.knowledge.packages import index_of
from core.knowledge.search import search
from core.knowledge.vectors import embed_all
from storage.database import Database
from storage.queries import knowledge as items
from storage.queries import knowledge_search as rows
from storage.queries.knowledge_search import Filters

MODEL = "all-minilm-l6-v2"
DEEP = 100
RANK = 10
"""The constant k of reciprocal rank fusion."""
METHODS = ("full text", "BM25", "dense", "reciprocal ranks", "fused")

_FULL_TEXT = """
select f.number from full_text f, (
    select string_agg(quote_literal(term), ' | ')::tsquery as asked from knowledge_words($1)) q
 where f.corpus = any($2) and f.words @@ q.asked order by ts_rank(f.words, q.asked) desc, f.number limit 10"""
"""Any of the words, identifiers taken apart, as the server itself ranks them."""


@dataclass(frozen=True, slots=True)
class Answers:
    """The items that each method puts first, the best first, and the one that was right."""

    question: Question
    right: int
    found: Mapping[str, Sequence[int]]

    def reciprocal(self, method: str) -> float:
        """1 / rank of the right item among the first ten, else 0."""
        first = list(self.found[method][:10])
        return 1 / (first.index(self.right) + 1) if self.right in first else 0.0


async def run(env: Environment) -> list[Figure]:
    """Offline, and with nothing kept from before, it raises UnavailableError, saying so."""
    functions, tasks = load()
    model = models.install_published(env.paths, MODEL, index_of(os.environ))
    figures = []
    async with env.database() as dsn:
        owner = await asyncpg.connect(dsn)
        db = await Database.open(dsn)
        try:
            numbers = {name: await _fill(owner, name, functions) for name in ("plain", "masked")}
            await owner.execute(
                """create table full_text as select number, corpus,
                     to_tsvector('english', knowledge_split(knowledge_text(title, path, content))) as words from memory;
                   create index on full_text using gin (words); grant select on full_text to qd_supervisor; analyze"""
            )
            async for _ in embed_all(db, WHO, local(model)):
                pass
            embedder = Queries(Reach(db, env.paths, os.environ, WHO.actor))
            for task, questions in tasks.items():
                place = "masked" if task == "masked" else "plain"
                held = [question for question in questions if question.held_out]
                answers = [await _ask(db, place, one, numbers[place][one.answer], embedder) for one in held]
                figures += _figures(task, answers)
        finally:
            await db.close()
            await owner.close()
    return figures


async def _fill(owner: asyncpg.Connection, project: str, functions: Sequence[Function]) -> list[int]:
    """A project that knows the functions; their numbers."""
    await world.add_project(owner, project)
    corpus = await items.corpus_of(owner, project)
    texts = [one.masked if project == "masked" else (one.title, one.code) for one in functions]
    found = await owner.fetch(
        """insert into memory (corpus, kind, title, content, origin, source, path)
           select $1, 'code', title, content, 'file', path, path from unnest($2::text[], $3::text[], $4::text[])
             with ordinality u (title, content, path, at) order by at returning number""",
        corpus,
        [title for title, _ in texts],
        [code or "pass" for _, code in texts],
        [one.path for one in functions],
    )
    return [row["number"] for row in found]


async def _ask(db: Database, project: str, question: Question, right: int, embedder: Queries) -> Answers:
    vector = await embedder.vector(question.text)
    assert vector is not None
    async with db.transaction(WHO) as connection:
        corpora = await items.known_corpora(connection, project)
        words = await rows.match_words(connection, question.text, corpora, DEEP, Filters())
        near = await rows.match_vectors(connection, vector.embedder, vector.vector, corpora, DEEP, Filters())
        full = await connection.fetch(_FULL_TEXT, question.text, corpora)
        fused = await search(connection, question.text, project=project, vector=vector)
    by_words, by_meaning = [match.memory for match in words], [memory for memory, _ in near]
    return Answers(
        question,
        right,
        {
            "full text": [row["number"] for row in full],
            "BM25": by_words,
            "dense": by_meaning,
            "reciprocal ranks": _by_ranks(by_words, by_meaning),
            "fused": [hit.memory.number for hit in fused.hits],
        },
    )


def _by_ranks(*rankings: Sequence[int]) -> list[int]:
    """Reciprocal rank fusion of rankings, all of the same weight (Cormack, Clarke, Büttcher 2009)."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking, start=1):
            scores[item] = scores.get(item, 0.0) + 1 / (RANK + rank)
    return sorted(scores, key=lambda item: (-scores[item], item))


def _figures(task: str, answers: Sequence[Answers]) -> list[Figure]:
    figures = [Figure(f"{task}: questions held out", len(answers), "")]
    mean = {}
    for method in METHODS:
        ranks = [one.reciprocal(method) for one in answers]
        hits = [float(one.right in one.found[method][:5]) for one in answers]
        mean[method] = statistics.fmean(ranks)
        figures.append(Figure(f"{task}: {method}, MRR@10 (± {_error(ranks):.3f})", mean[method], ""))
        figures.append(Figure(f"{task}: {method}, Recall@5 (± {_error(hits):.3f})", statistics.fmean(hits), ""))
    better = max(mean["BM25"], mean["dense"])
    return [*figures, at_least(f"{task}: fused : the better of both, MRR", mean["fused"] / better, "×", 1.05)]


def _error(values: Sequence[float]) -> float:
    """The standard error of the mean."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.inf
