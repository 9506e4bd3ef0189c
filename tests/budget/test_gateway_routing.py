"""Services as a gateway knows them: what it has found out itself is not forgotten when it reads them anew."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from core.budget.gateway.books import Books
from core.budget.gateway.circuit import WRONG_KEY, Circuit, Trouble
from core.budget.gateway.routing import Key, Services
from core.budget.prices import PriceBook
from core.secrets import FileStore
from storage.queries import budget
from tests.budget.gate import add_service, connect, open_pool, until

WAITS = "select count(*) > 0 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


SHARED_KEY = Key("sk-shared")


class Known:
    """A gateway's knowledge of one service, and a connection that can get in its way."""

    def __init__(self, services: Services, db: asyncpg.Connection, store: FileStore) -> None:
        self.services, self.db, self.store = services, db, store

    @property
    def circuit(self) -> Circuit:
        (service,) = self.services._services.values()
        return self.services.circuit(service, SHARED_KEY)

    def finds(self, trouble: Trouble | None) -> None:
        (service,) = self.services._services.values()
        if self.circuit.until:
            self.circuit.until = datetime.now(UTC)
        passage = self.circuit.enter(datetime.now(UTC))
        assert passage is not None
        self.services.report(service, SHARED_KEY, passage, trouble)


@pytest.fixture
async def known(migrated_database: str, tmp_path: Path) -> AsyncIterator[Known]:
    db, pool = await connect(migrated_database), await open_pool(migrated_database)
    await add_service(db, "main", "http://127.0.0.1:9")
    await db.execute("insert into circuit (service) values ('main')")
    gateway = await budget.register(db, name="g", pid=1, url="u", version="0", lease=timedelta(hours=1))
    store, books, stop = FileStore(tmp_path), Books(pool, gateway, lease=60), asyncio.Event()
    working = asyncio.create_task(books.run(stop))
    services = Services(pool, store, books, PriceBook({}))
    await services.load()
    await until(lambda: books._group is not None)
    yield Known(services, db, store)
    stop.set()
    await working
    await pool.close()
    await db.close()


async def test_a_circuit_that_opens_while_services_are_read_stays_open(known: Known, migrated_database: str) -> None:
    looker = await connect(migrated_database)
    async with known.db.transaction():
        await known.db.execute("lock table circuit in access exclusive mode")
        loading = asyncio.create_task(known.services.load())
        await until(lambda: looker.fetchval(WAITS))
        known.finds(WRONG_KEY)
    await loading
    assert known.circuit.state == "open"
    await until(lambda: looker.fetchval("select state = 'open' from circuit"))
    await looker.close()


async def test_a_circuit_of_which_the_database_has_not_heard_yet_stays_open(known: Known) -> None:
    async with known.db.transaction():
        await known.db.execute("select from circuit for update")
        known.finds(WRONG_KEY)
        await known.services.load()
        assert known.circuit.state == "open"
    await until(lambda: known.db.fetchval("select state = 'open' from circuit"))
    await known.db.execute("update circuit set state = 'closed', open_until = null")
    await until(lambda: not known.services._books.unsaid())
    await known.services.load()
    assert known.circuit.state == "closed", "a person has closed it"


async def test_a_service_that_stays_down_is_told_once_though_its_first_pauses_are_short(known: Known) -> None:
    down = "select count(*) from alert where kind = 'down'"
    for outage in (1, 2):
        for _ in range(20):
            known.finds(Trouble("server", "the provider answered 503"))
        await until(lambda: not known.services._books.unsaid())
        assert await known.db.fetchval(down) == outage
        known.finds(None)


class SlowStore(FileStore):
    """A store in which a look takes as long as ``go`` is not set."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.looked, self.go = threading.Event(), threading.Event()

    def get(self, name: str, project: str = "") -> str | None:
        found = super().get(name, project)
        self.looked.set()
        self.go.wait(30)
        return found


async def test_a_key_that_is_set_while_it_is_looked_for_is_the_one_that_counts(known: Known, tmp_path: Path) -> None:
    (service,) = known.services._services.values()
    slow = known.services._secrets = SlowStore(tmp_path)
    looking = asyncio.create_task(known.services.key(service, ""))
    await until(slow.looked.is_set)
    known.store.put("service.main", "sk-new")
    await known.services.load()
    slow.go.set()
    assert await looking is None
    assert await known.services.key(service, "") == Key("sk-new")


async def test_a_wrong_key_of_one_project_says_nothing_to_the_others(known: Known) -> None:
    (service,) = known.services._services.values()
    known.store.put("service.main", "sk-wrong", "shop")
    known.store.put("service.main", "sk-shared")
    await known.services.load()
    own, shared = [await known.services.key(service, project) for project in ("shop", "quay")]
    assert own == Key("sk-wrong", "shop")
    assert shared == Key("sk-shared")
    passage = known.services.circuit(service, own).enter(datetime.now(UTC))
    assert known.services.report(service, own, passage, Trouble("key", "401", 600.0))
    assert known.services.circuit(service, own).enter(datetime.now(UTC)) is None
    assert known.services.circuit(service, shared).enter(datetime.now(UTC)) is not None
    assert known.services.circuit(service, Key("sk-right", "shop")).enter(datetime.now(UTC)) is not None
    await known.services.load()
    assert known.services.circuit(service, own).enter(datetime.now(UTC)) is None
    assert await known.db.fetchval("select state from circuit") == "closed"
