"""Knowledge: search and context over 100,000 items, indexing against git and the parser alone, and a commit of one file."""

import asyncio
import shutil
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import asyncpg

from bench import knowledge_world as world
from bench.framework import Environment, Figure, at_least, at_most, in_turn, median_ratio, percentile
from bench.knowledge_world import WHO
from core.knowledge.context import context_for
from core.knowledge.gathering import Work
from core.knowledge.indexing import index_project
from core.knowledge.languages import parser_for
from core.knowledge.search import POOL, QueryVector, search
from storage.database import Database
from storage.queries import knowledge as items
from storage.queries import knowledge_search as rows
from storage.queries.knowledge_search import Embedder, Filters

QUESTIONS = 300
MANY_FILES = 10_000
ROUNDS = 5

Ready = Mapping[str, QueryVector]
"""Vectors of questions, made before."""


async def run(env: Environment) -> list[Figure]:
    """The query's vector is made before the clock starts: what a model takes is its own figure."""
    return [*await _asking(env), *await _indexing(env), *await _following(env)]


async def _asking(env: Environment) -> list[Figure]:
    async with env.database() as dsn:
        owner = await asyncpg.connect(dsn)
        await world.fill(owner)
        questions = world.questions(QUESTIONS)
        model = await rows.active_embedder(owner)
        assert model is not None
        ready = {question: QueryVector(model, world.vector_of(question)) for question in questions}
        db = await Database.open(dsn)
        try:
            one = await _times(db, questions, "p3", ready)
            words = await _times(db, questions, "p3", {})
            recall = await _recall(db, questions, "p3", ready)
            told = await _context_times(db, questions, model)
            begun = perf_counter()
            await rows.build_index(owner, model)
            built = perf_counter() - begun
            everywhere = await _times(db, questions, None, ready)
            recall_all = await _recall(db, questions, None, ready)
            short = await _short(db, questions, ready)
        finally:
            await db.close()
            await owner.close()
    return [
        at_most("search, 1 project of 20, 100,000 items, p50", percentile(one, 50), "ms", 10),
        at_most("search, 1 project of 20, 100,000 items, p99", percentile(one, 99), "ms", 30),
        at_least("its recall@10 against exact BM25 and exact cosine", min(recall), "", 0.97),
        Figure("by words alone, p50", percentile(words, 50), "ms"),
        Figure("by words alone, p99", percentile(words, 99), "ms"),
        Figure("HNSW index of 100,000 vectors made in", built, "s"),
        Figure("search in all projects (HNSW), p50", percentile(everywhere, 50), "ms"),
        Figure("search in all projects (HNSW), p99", percentile(everywhere, 99), "ms"),
        at_least("its recall@10 of vectors against exact cosine", recall_all[1], "", 0.97),
        Figure("its words, scored as exact BM25 without the most frequent terms", recall_all[0], ""),
        at_most("filtered HNSW searches that came back short", short, "", 0),
        Figure("context for a task, p50", percentile(told, 50), "ms"),
        at_most("context for a task, p99", percentile(told, 99), "ms", 150),
    ]


async def _times(db: Database, questions: Sequence[str], project: str | None, ready: Ready) -> list[float]:
    times = []
    for question in (*questions[:20], *questions):
        begun = perf_counter()
        async with db.transaction(WHO) as connection:
            await search(connection, question, project=project, vector=ready.get(question))
        times.append((perf_counter() - begun) * 1000)
    return times[20:]


async def _context_times(db: Database, questions: Sequence[str], model: Embedder) -> list[float]:
    times = []
    for number, question in enumerate((*questions[:10], *questions[:200])):
        work = Work("p3", number, question, " ".join(questions[number + 1 : number + 4]), ("json/*.py",))
        vector = QueryVector(model, world.vector_of(work.query))
        begun = perf_counter()
        async with db.transaction(WHO) as connection:
            await context_for(connection, work, None, vector=vector, now=datetime.now(UTC))
        times.append((perf_counter() - begun) * 1000)
    return times[10:]


async def _recall(db: Database, questions: Sequence[str], project: str | None, ready: Ready) -> tuple[float, float]:
    """Of words and of vectors, the share of the ten best that is as good as the ten best of exact BM25 and of exact cosine.

    The same function stands in several projects: what is as good as the tenth counts, not which copy it is.
    """
    by_words, by_vectors = [], []
    for question in questions[:100]:
        async with db.transaction(WHO) as connection:
            corpora = await items.known_corpora(connection, project)
            model, vector = ready[question].embedder, ready[question].vector
            words = await rows.match_words(connection, question, corpora, POOL, Filters())
            near = await rows.match_vectors(connection, model, vector, corpora, POOL, Filters())
            exact_words = await connection.fetch(
                """select sum(t.idf * p.tf * 2.2 / (p.tf + 0.3 + 0.9 * p.len / c.len))::real as score from posting p
                     join (select term, idf from knowledge_terms($1, $2, 2000000000) where docs > 0) t using (term)
                    cross join (select sum(words)::real / sum(docs) as len from corpus where id = any($2)) c
                    where p.corpus = any($2) group by p.memory order by score desc limit 10""",
                question,
                corpora,
            )
            exact_near = await connection.fetch(
                """select 1 - (vector <=> $3::text::halfvec) as score from embedding where model = $1 and corpus = any($2)
                    order by vector <=> $3::text::halfvec limit 10""",
                model.id,
                corpora,
                world.literal(vector),
            )
        by_words.append(_as_good([match.score for match in words], [row["score"] for row in exact_words]))
        by_vectors.append(_as_good([similarity for _, similarity in near], [row["score"] for row in exact_near]))
    return statistics.fmean(by_words), statistics.fmean(by_vectors)


def _as_good(ours: Sequence[float], exact: Sequence[float]) -> float:
    if not exact:
        return 1.0
    return sum(score >= exact[-1] - 1e-3 * abs(exact[-1]) for score in sorted(ours)[-10:]) / len(exact)


async def _short(db: Database, questions: Sequence[str], ready: Ready) -> float:
    """How many searches that are limited to a few hundred items among 100,000 came back with fewer than ten."""
    short = 0
    for question in questions[:50]:
        async with db.transaction(WHO) as connection:
            corpora = await items.known_corpora(connection, None)
            asked = ready[question]
            found = await rows.match_vectors(
                connection, asked.embedder, asked.vector, corpora, 10, Filters(path="json/%")
            )
        short += len(found) < 10
    return float(short)


async def _indexing(env: Environment) -> list[Figure]:
    """Files a second of a first index, against `git grep -c ''` and the parser over the same files."""
    path = env.paths.state / "library"
    path.mkdir()
    files = world.library()
    count = world.make_repository(path, files)
    rates: list[float] = []

    async def ours() -> float:
        async with env.database() as dsn:
            owner = await asyncpg.connect(dsn)
            await world.add_project(owner, "library", path)
            db = await Database.open(dsn)
            begun = perf_counter()
            async for _ in index_project(db, WHO, "library"):
                pass
            took = perf_counter() - begun
            await db.close()
            await owner.close()
        rates.append(count / took)
        return took

    async def bare() -> float:
        begun = perf_counter()
        await asyncio.to_thread(_read_and_parse, path, files)
        return perf_counter() - begun

    mine, plain = await in_turn(ROUNDS, ours, bare)
    shutil.rmtree(path)
    return [
        Figure(f"indexing {count} files without embeddings", statistics.median(rates), "/s"),
        at_least("its rate : git grep and parsing alone", median_ratio(plain, mine), "×", 0.3),
    ]


def _read_and_parse(path: Path, files: Sequence[tuple[str, bytes]]) -> None:
    subprocess.run(["git", "grep", "-c", ""], cwd=path, check=True, capture_output=True)
    for name, data in files:
        parser = parser_for(Path(name).suffix)
        assert parser is not None
        parser.parse(data)


async def _following(env: Environment) -> list[Figure]:
    """From a commit of one file to the end of its index, in a repository of many."""
    path = env.paths.state / "many"
    path.mkdir()
    small = [(name, data[:2000]) for name, data in world.library()]
    world.make_repository(path, [(f"d{n // 500}/f{n}.py", small[n % len(small)][1]) for n in range(MANY_FILES)])
    times = []
    async with env.database() as dsn:
        owner = await asyncpg.connect(dsn)
        await world.add_project(owner, "many", path)
        db = await Database.open(dsn)
        async for _ in index_project(db, WHO, "many"):
            pass
        await owner.execute("vacuum analyze")
        for turn in range(20):
            (path / f"d3/f{1500 + turn}.py").write_text(f"def turned_{turn}(x):\n    return x\n")
            world.commit(path)
            begun = perf_counter()
            async for _ in index_project(db, WHO, "many"):
                pass
            times.append((perf_counter() - begun) * 1000)
        await db.close()
        await owner.close()
    shutil.rmtree(path)
    return [
        at_most("re-index after a commit of one file among 10,000, p50", percentile(times, 50), "ms", 300),
        Figure("re-index after a commit of one file among 10,000, p95", percentile(times, 95), "ms"),
    ]
