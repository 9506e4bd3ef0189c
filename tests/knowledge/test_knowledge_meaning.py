"""Meaning: vectors from services within their budgets, and search that never pauses while they are made anew."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from config.errors import ConflictError, NotFoundError, UnavailableError
from core.knowledge import embedding, vectors
from core.knowledge.embedding import Chosen
from core.knowledge.vectors import Vectors, embed_all, embed_new
from storage.database import Database, Principal, Role
from storage.queries import knowledge_search as rows
from tests.knowledge.knowledge_kit import WHO, Quay, engine_of
from tests.knowledge.vector_service import DIMS, VectorService, vector_of, vector_service


@pytest.fixture
async def service() -> AsyncIterator[VectorService]:
    """A service that makes vectors."""
    async with vector_service() as made:
        yield made


async def enter(quay: Quay, url: str, **given: Any) -> None:
    """A service of the crew at this address, whose model costs a dollar per million tokens."""
    await quay.do("service.add", name="vectors", provider="other", base_url=url, **given)
    await quay.do("service.price", name="vectors", model="m*", input=1.0, output=0.0)


async def use(quay: Quay) -> Any:
    """Search with its model."""
    return await quay.do("knowledge.model", action="remote", source="vectors", model="m1", role=Role.ADMIN)


@pytest.mark.parametrize("path", ["/v1", "/voyage/v1", "/api"])
async def test_a_service_s_vectors_are_used_and_paid_for(quay: Quay, service: VectorService, path: str) -> None:
    await enter(quay, service.url + path)
    for number in range(3):
        await quay.do("knowledge.add", text=(f"harbour pilot {number}",))
    made = await use(quay)
    assert (made.model, made.dims, made.embedded, made.items) == ("vectors/m1", DIMS, 3, 3)
    [first, *_] = await quay.do("knowledge.search", text="pilot")
    assert first.mode == "words and meaning"
    count = len(service.asked)
    await quay.do("knowledge.search", text="pilot")
    assert len(service.asked) == count, "the vector of a query is asked for once"
    if path == "/voyage/v1":
        assert {body["input_type"] for body in service.asked} == {"document", "query"}
    charges = await quay.sql.fetch("select status, cost_micro, reserved_micro, model from charge")
    assert len(charges) == len(service.asked)
    assert {row["status"] for row in charges} == {"settled"}
    assert all(row["cost_micro"] > 0 for row in charges)
    assert await quay.sql.fetchval("select sum(n) from budget_reconcile()") == 0


async def test_a_budget_without_room_is_never_overspent(quay: Quay, service: VectorService) -> None:
    await enter(quay, f"{service.url}/v1", budget=0.0005)
    for number in range(40):
        await quay.do("knowledge.add", text=("long " * 40 + str(number),))
    with pytest.raises(ConflictError, match="may not be called"):
        await use(quay)
    assert service.texts == 1, "what the budget has no room for is not asked"
    spent = await quay.sql.fetchval("select sum(cost_micro) from charge")
    assert spent <= 500
    assert (await quay.do("knowledge.search", text="long"))[0].mode == "words"


async def test_a_service_that_fails_costs_nothing_and_search_goes_by_words(quay: Quay, service: VectorService) -> None:
    await enter(quay, f"{service.url}/v1")
    await quay.do("knowledge.add", text=("harbour pilot",))
    await use(quay)
    spent = await quay.sql.fetchval("select sum(cost_micro) from charge")
    service.fails = 503
    [hit] = await quay.do("knowledge.search", text="pilot boat")
    assert hit.mode == "words"
    with pytest.raises(UnavailableError, match="answers 503"):
        await use(quay)
    assert await quay.sql.fetchval("select sum(cost_micro) from charge") == spent
    assert await quay.sql.fetchval("select count(*) from charge where status = 'reserved'") == 0


async def test_a_service_that_is_slow_holds_no_search_up(
    quay: Quay, service: VectorService, monkeypatch: pytest.MonkeyPatch
) -> None:
    await enter(quay, f"{service.url}/v1")
    await quay.do("knowledge.add", text=("harbour pilot",))
    await use(quay)
    monkeypatch.setattr(embedding, "PATIENCE", 0.2)
    service.holds = asyncio.Event()
    [hit] = await quay.do("knowledge.search", text="pilot boat")
    service.holds.set()
    assert hit.mode == "words"
    assert await quay.sql.fetchval("select count(*) from charge where status = 'reserved'") == 0


async def test_a_project_pays_for_its_vectors_and_one_without_room_keeps_no_other_from_its_own(
    quay: Quay, service: VectorService
) -> None:
    await enter(quay, f"{service.url}/v1")
    for name in ("app", "other"):
        await quay.project(name, {"a": "x\n"})
    await use(quay)
    for number in range(3):
        for name in ("app", "other", None):
            await quay.do("knowledge.add", text=(f"harbour pilot {number} {name}",), project=name)
    await quay.do("budget.set", role=Role.ADMIN, scope="project", key="app", usd=0.000001)
    reach = embedding.Reach(quay.db, quay.context.paths, {}, WHO.actor)
    with pytest.raises(ConflictError, match=r"limit \(app\)"):
        await embed_new(reach, WHO)
    rows_ = await quay.sql.fetch(
        "select coalesce(c.project, '') as project, count(*) as n from embedding e join corpus c on c.id = e.corpus group by 1 order by 1"
    )
    assert [tuple(row) for row in rows_] == [("", 3), ("other", 3)]
    assert [hit.mode for hit in await quay.do("knowledge.search", text="pilot", project="app", limit=1)] == ["words"]
    assert [hit.mode for hit in await quay.do("knowledge.search", text="pilot", project="other", limit=1)] == [
        "words and meaning"
    ]
    paid = await quay.sql.fetch("select distinct project from charge where status = 'settled' order by 1 nulls first")
    assert [row["project"] for row in paid] == [None, "other"]


async def test_without_such_a_service_it_says_so(quay: Quay) -> None:
    with pytest.raises(NotFoundError, match="there is no service vectors"):
        await use(quay)


class Words:
    """A model of the test; ``before`` is done before each batch."""

    def __init__(self, before: Any = None) -> None:
        self.before = before
        self.made = 0

    async def embed(self, texts: Any, *, asked: bool = False) -> list[list[float]]:  # noqa: ARG002
        if self.before:
            await self.before()
        self.made += len(texts)
        return [vector_of(text) for text in texts]


async def test_search_goes_on_by_the_old_vectors_until_all_the_new_ones_are_there(
    quay: Quay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "AT_ONCE", 4)
    for number in range(12):
        await quay.do("knowledge.add", text=(f"pilot number {number}",))

    async def ask() -> None:
        async with quay.db.transaction(WHO) as connection:
            active = await rows.active_embedder(connection)
            assert active is not None
            assert active.name == "old"
            near = await rows.match_vectors(connection, active, vector_of("pilot"), [1], 20, rows.Filters())
        assert len(near) >= 12, "nothing is missing at any moment"

    async for _ in embed_all(quay.db, WHO, Chosen("old", "old", DIMS, Words())):
        pass
    asked = 0

    async def between() -> None:
        nonlocal asked
        asked += 1
        await ask()
        if asked == 2:  # what comes while the vectors are made gets one too
            await quay.do("knowledge.add", text=("a late pilot",))

    new = Words(between)
    async for _ in embed_all(quay.db, WHO, Chosen("new", "new", DIMS, new)):
        pass
    assert asked >= 3
    assert new.made == 13
    names = await quay.sql.fetch("select name, active from embedder")
    assert [(row["name"], row["active"]) for row in names] == [("new", True)]
    assert await quay.sql.fetchval("select count(*) from embedding") == 13


async def test_vectors_that_were_made_are_not_made_again_after_an_interruption(
    quay: Quay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "AT_ONCE", 4)
    for number in range(12):
        await quay.do("knowledge.add", text=(f"pilot number {number}",))
    first = Words()
    steps = embed_all(quay.db, WHO, Chosen("m", "m", DIMS, first))
    await anext(steps)
    await steps.aclose()  # type: ignore[attr-defined]
    again = Words()
    async for _ in embed_all(quay.db, WHO, Chosen("m", "m", DIMS, again)):
        pass
    assert first.made + again.made == 12
    assert await quay.sql.fetchval("select count(*) from embedder where active") == 1


async def test_what_is_new_gets_its_vector(quay: Quay, service: VectorService) -> None:
    await enter(quay, f"{service.url}/v1")
    await use(quay)
    await quay.do("knowledge.add", text=("a new buoy",))
    reach = embedding.Reach(quay.db, quay.context.paths, {}, "user:test")
    assert await embed_new(reach, WHO) > 0
    assert await quay.sql.fetchval("select count(*) from embedding") == 1
    assert await embed_new(reach, WHO) == 0


async def test_beyond_a_size_an_index_is_read_and_a_filtered_search_is_never_short(
    quay: Quay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "EXACT_ROWS", 50)
    for project in ("app", "other"):
        await quay.project(project, {"README": "x\n"})
    await quay.sql.execute(
        """insert into memory (corpus, kind, title, content, path)
           select knowledge_corpus(case when n % 30 = 0 then 'other' else 'app' end), 'code', 'item ' || n, 'pilot ' || n, 'd' || n % 20 || '/f.py'
             from generate_series(1, 600) n"""
    )
    async for _ in embed_all(quay.db, WHO, Chosen("old", "old", DIMS, Words())):
        pass
    async for _ in embed_all(quay.db, WHO, Chosen("m", "m", DIMS, Words())):
        pass
    [name] = await quay.sql.fetch("select indexname from pg_indexes where indexname like 'embedding_hnsw%'")
    async with quay.db.transaction(WHO) as connection:
        model = await rows.active_embedder(connection)
        assert model is not None
        assert await rows.has_index(connection, model)
        assert name["indexname"].endswith(f"_{model.id}"), "that of the model of before is gone"
        corpora = [row["id"] for row in await connection.fetch("select id from corpus")]
        near = await rows.match_vectors(connection, model, vector_of("pilot 7"), corpora, 10, rows.Filters())
        assert len(near) == 10
        few = rows.Filters(path="d3/%")
        assert len(await rows.match_vectors(connection, model, vector_of("pilot 7"), corpora, 30, few)) == 30
        [small] = await connection.fetch("select id from corpus where project = 'other'")
        own = await rows.match_vectors(connection, model, vector_of("pilot 7"), [small["id"]], 20, rows.Filters())
        assert len(own) == 20, "a small body of knowledge is compared exactly"
        await connection.execute("set local enable_seqscan = off; set local enable_sort = off")
        plan = await connection.fetch(
            f"""explain select memory from embedding e where e.model = {model.id}
                 order by vector::halfvec({DIMS}) <=> '{[0.1] * DIMS}'::halfvec({DIMS}) limit 10"""
        )
        assert any("embedding_hnsw" in row[0] for row in plan)


def engine_s(quay: Quay, db: Database) -> Vectors:
    """What an engine on this database takes care of vectors with."""
    who = Principal("engine:quay", Role.ENGINE)
    return Vectors(embedding.Reach(db, quay.context.paths, {}, who.actor), who)


async def test_an_engine_gives_what_is_new_its_vector_and_many_an_index(
    quay: Quay, service: VectorService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "EXACT_ROWS", 1)
    await enter(quay, f"{service.url}/v1")
    await use(quay)
    await quay.do("lesson.add", error="the berth is too short", fix="measure the ship")
    await quay.do("decision.add", question="Which berth?", chosen="the longest")
    async with engine_of(quay) as runtime:
        await engine_s(quay, runtime.db).keep()
    assert await quay.sql.fetchval("select count(*) from embedding") == 2
    assert await quay.sql.fetchval("select count(*) from pg_indexes where indexname like 'embedding_hnsw%'") == 1


async def test_an_engine_finishes_a_change_of_model_that_broke_off(
    quay: Quay, service: VectorService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "AT_ONCE", 2)
    await enter(quay, f"{service.url}/v1")
    for number in range(6):
        await quay.do("knowledge.add", text=(f"pilot number {number}",))
    reach = embedding.Reach(quay.db, quay.context.paths, {}, WHO.actor)
    chosen = await embedding.remote(reach, "vectors", "m1")
    steps = embed_all(quay.db, WHO, chosen)
    await anext(steps)
    async with engine_of(quay) as runtime:
        await engine_s(quay, runtime.db).keep()
        assert await quay.sql.fetchval("select count(*) from embedder where active") == 0, "somebody is at it"
        await steps.aclose()  # type: ignore[attr-defined]
        await engine_s(quay, runtime.db).keep()
    assert await quay.sql.fetchval("select name from embedder where active and not wanted") == chosen.identity
    assert await quay.sql.fetchval("select count(*) from embedding") == 6


async def test_of_two_changes_of_model_at_once_the_second_is_refused_and_the_first_is_not_lost(quay: Quay) -> None:
    await quay.do("knowledge.add", text=("harbour pilot",))
    steps = embed_all(quay.db, WHO, Chosen("a", "a", DIMS, Words()))
    await anext(steps)
    with pytest.raises(ConflictError, match="being changed already"):
        async for _ in embed_all(quay.db, WHO, Chosen("b", "b", DIMS, Words())):
            pass
    async for _ in steps:
        pass
    assert await quay.sql.fetch("select name, active from embedder") == [("a", True)]
    async for _ in embed_all(quay.db, WHO, Chosen("b", "b", DIMS, Words())):
        pass
    assert await quay.sql.fetchval("select name from embedder") == "b"


async def test_who_says_that_search_is_to_use_no_model_ends_a_change_of_it(
    quay: Quay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "AT_ONCE", 1)
    for number in range(3):
        await quay.do("knowledge.add", text=(f"harbour pilot {number}",))
    steps = embed_all(quay.db, WHO, Chosen("a", "a", DIMS, Words()))
    await anext(steps)
    await quay.do("knowledge.model", action="off", role=Role.ADMIN)
    with pytest.raises(ConflictError, match="a is not wanted any more"):
        async for _ in steps:
            pass
    assert await quay.sql.fetchval("select count(*) from embedder where active or wanted") == 0
    assert await quay.sql.fetchval("select count(*) from embedding") < 3, "and no more is paid for"


async def test_a_query_that_is_asked_again_is_remembered_longer(quay: Quay, service: VectorService) -> None:
    await enter(quay, f"{service.url}/v1")
    await quay.do("knowledge.add", text=("harbour pilot",))
    await use(quay)
    await quay.do("knowledge.search", text="pilot")
    await quay.sql.execute("update query_vector set used_at = now() - interval '9 days'")
    await quay.do("knowledge.search", text="pilot")
    assert await quay.sql.fetchval("select used_at > now() - interval '1 minute' from query_vector")


async def test_the_status_says_that_the_files_of_a_model_are_missing(quay: Quay) -> None:
    await quay.do("knowledge.add", text=("harbour pilot",))
    async for _ in embed_all(quay.db, WHO, Chosen("small", "small:0123456789abcdef", DIMS, Words())):
        pass
    [row] = await quay.do("knowledge.status")
    assert row.embedder == "small:0123456789abcdef (its files are not here)"


async def test_code_that_is_gone_is_forgotten_while_a_service_takes_its_time(
    quay: Quay, service: VectorService
) -> None:
    await enter(quay, f"{service.url}/v1")
    await quay.do("knowledge.add", text=("harbour pilot",))
    await use(quay)
    repo = await quay.project(files={"a.py": "def lantern(): ...\n", "b.py": "def buoy(): ...\n"})
    service.holds = asyncio.Event()
    async with engine_of(quay) as runtime, asyncio.timeout(30):
        making = asyncio.create_task(runtime.knowing.vectors.keep())
        await runtime.knowing.refresh(None)
        repo.commit({}, remove=("a.py",))
        await runtime.knowing.refresh(None)
        known = await quay.sql.fetch("select path from memory where origin = 'file' and state = 'active'")
        service.holds.set()
        await making
    assert [row["path"] for row in known] == ["b.py"]
