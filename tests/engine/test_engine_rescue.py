"""Engines take work over from each other, and nothing is done twice."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from core.keeper import client as keeper
from tests.engine.engine_kit import Site, git, site


@pytest.fixture
async def hasty(crew: Site) -> Site:
    """A crew whose engines are declared dead after two seconds."""
    await crew.set(engine__lease_seconds=2)
    await crew.hosts[0].stop()
    await crew.hosts[0].start()
    return crew


async def test_a_task_that_comes_back_to_its_first_host_goes_on_in_the_worktree_there(hasty: Site) -> None:
    repo = await hasty.project()
    steps = "write one.txt yes; say first; sleep 600", "say second; sleep 600", "write two.txt yes"
    task = await hasty.add("; ".join(f"attempt {n} {s}" for n, all_ in enumerate(steps, 1) for s in all_.split("; ")))
    await hasty.said(task, "first")
    await hasty.hosts[0].kill()
    await hasty.host().start()
    await hasty.said(task, "second")
    await hasty.hosts[1].kill()
    await hasty.hosts[0].start()
    await hasty.reaches(task, "completed")
    runs = await hasty.sql.fetch("select status::text from run order by number")
    assert [row["status"] for row in runs] == ["lost", "lost", "succeeded"]
    assert git(repo, "show", "main:one.txt", "main:two.txt") == "yes\nyes"
    await hasty.hosts[1].start()
    await hasty.tidy()


async def test_what_a_dead_engine_has_landed_is_recognised_by_another_one(hasty: Site) -> None:
    repo = await hasty.project(verify=["touch gate-began; while ! test -f ../../../open; do sleep 0.05; done"])
    task = await hasty.add("append made.txt yes")
    await hasty.until(lambda: _at_the_gate(hasty, task))
    tree = await hasty.tree(task)
    assert tree
    other = await asyncpg.connect(hasty.dsn)
    async with other.transaction():  # the engine lands, and cannot say so
        await other.execute("select 1 from task where number = $1 for update", task)
        (tree / "../../../open").touch()
        await hasty.until(lambda: _is_on_main(repo, "made.txt"))
        await hasty.hosts[0].kill()
    await other.close()
    await hasty.host().start()
    await hasty.reaches(task, "completed")
    assert git(repo, "show", "main:made.txt") == "yes", "it was done once"
    await hasty.hosts[0].start()
    await hasty.tidy()
    await hasty.balanced()


async def test_a_run_that_was_given_up_while_its_gates_ran_lands_nothing(crew: Site) -> None:
    wait = "test $QD_ATTEMPT = 2 || { touch gate-began; while ! test -f ../../../open; do sleep 0.05; done; }"
    repo = await crew.project(verify=[wait])
    task = await crew.add("write made.txt yes; attempt 2 write again.txt yes")
    await crew.until(lambda: _at_the_gate(crew, task))
    await crew.sql.execute("select engine_release(engine, '{}', true, 1000) from task where number = $1", task)
    await crew.until(lambda: crew.sql.fetchval("select attempts = 2 from task where number = $1", task))
    tree = await crew.tree(task)
    assert tree
    (tree / "../../../open").touch()
    await crew.reaches(task, "completed")
    assert git(repo, "show", "main:again.txt") == "yes"
    assert len(git(repo, "log", "--merges", "--format=%h", "main").split()) == 1, "the second run landed, not the first"
    await crew.tidy()
    await crew.balanced()


async def test_a_failure_is_not_forgotten_when_the_engine_dies_while_it_judges(crew: Site) -> None:
    repo = await crew.project()
    task = await crew.add(
        "write one.txt yes; attempt 1 say up; attempt 1 until go.txt; attempt 1 exit 3; write two.txt yes"
    )
    await crew.said(task, "up")
    tree = await crew.tree(task)
    assert tree
    other = await asyncpg.connect(crew.dsn)
    async with other.transaction():  # the engine knows that the agent has failed, and cannot say so
        await other.execute("select 1 from task where number = $1 for update", task)
        (tree / "go.txt").touch()
        await crew.until(lambda: crew.sql.fetchval("select status = 'verifying' from run"))
        await crew.hosts[0].kill()
    await other.close()
    await crew.hosts[0].start()
    await crew.reaches(task, "completed")
    runs = await crew.sql.fetch("select status::text, exit_code from run order by number")
    assert [tuple(row) for row in runs] == [("failed", 3), ("succeeded", 0)]
    assert git(repo, "show", "main:two.txt") == "yes"


async def test_a_gate_that_outlived_its_engine_makes_way_for_the_next_one(crew: Site) -> None:
    await crew.project(verify=["touch gate-began; while ! test -f ../../../open; do sleep 0.05; done"])
    task = await crew.add("write made.txt yes")
    await crew.until(lambda: _at_the_gate(crew, task))
    tree = await crew.tree(task)
    assert tree
    gate = Path(await crew.sql.fetchval("select folder from run")) / "gate-1"
    first = keeper.read_started(gate)
    await crew.hosts[0].kill()
    await crew.hosts[0].start()

    async def begun_anew() -> bool:
        return keeper.read_started(gate) not in (None, first) or keeper.read_exit(gate) is not None

    await crew.until(begun_anew)
    (tree / "../../../open").touch()
    await crew.reaches(task, "completed")
    assert await crew.sql.fetchval("select count(*) from run") == 1
    await crew.tidy()


async def test_gates_of_two_rounds_never_run_at_once(crew: Site) -> None:
    alone = "test ! -f ../../../gate.pid || ! kill -0 $(cat ../../../gate.pid)"
    await crew.project(
        verify=[
            alone,
            "echo $$ > ../../../gate.pid; touch gate-began; while ! test -f ../../../open; do sleep 0.05; done",
        ]
    )
    task = await crew.add("write made.txt yes")
    await crew.until(lambda: _at_the_gate(crew, task))
    tree = await crew.tree(task)
    assert tree
    await crew.hosts[0].kill()
    (tree / "gate-began").unlink()
    await crew.hosts[0].start()
    await crew.until(lambda: _at_the_gate(crew, task))
    (tree / "../../../open").touch()
    await crew.reaches(task, "completed")
    assert await crew.sql.fetchval("select count(*) from run") == 1
    await crew.tidy()


async def test_an_outage_of_the_database_longer_than_a_lease_costs_no_run(migrated_database: str) -> None:
    async with (
        _door(migrated_database, "a") as (dsn, shut),
        _door(migrated_database, "b") as (other_dsn, shut_other),
        site(migrated_database) as crew,
    ):
        await crew.agent()
        await crew.set(engine__lease_seconds=3)
        host, other = crew.host(), crew.host()
        host.dsn, other.dsn = dsn, other_dsn
        await host.start()
        await crew.project()
        task = await crew.add("say up; until go.txt; write made.txt yes")
        await crew.said(task, "up")
        await other.start()
        await crew.until(lambda: crew.sql.fetchval("select count(*) = 2 from engine where state = 'running'"))
        await asyncio.gather(shut(6), shut_other(5))  # the one that holds nothing is the first to be back
        (await crew.tree(task) / "go.txt").touch()
        await crew.reaches(task, "completed")
        assert await crew.sql.fetchval("select count(*) from run") == 1


async def test_a_task_that_was_lost_often_starts_again_within_the_hour(migrated_database: str) -> None:
    sql = await asyncpg.connect(migrated_database)
    await sql.execute(
        """insert into project (id, name, repo, path) values ('app', 'app', 'here', 'here'); insert into load (project) values ('app');
           insert into agent (name, adapter) values ('a', 'command');
           select engine_register('e', 'here', 1, '1', 4, '1 minute'); select * from task_add('[{"project": "app", "title": "x"}]')"""
    )
    [claimed] = await sql.fetch("select number, lease_token from task_claim(1, 1, '{a}')")
    await sql.execute("update task set rescues = 200")
    await sql.execute("select task_lost($1, $2, 'its keeper was killed', 1000)", *claimed)
    assert await sql.fetchval("select status = 'waiting' and not_before < now() + interval '1 hour' from task")
    await sql.close()


async def _at_the_gate(crew: Site, task: int) -> bool:
    tree = await crew.tree(task)
    return tree is not None and (tree / "gate-began").exists()


async def _is_on_main(repo: Path, name: str) -> bool:
    return name in git(repo, "ls-tree", "--name-only", "main").split()


@contextlib.asynccontextmanager
async def _door(dsn: str, name: str) -> AsyncIterator[tuple[str, Callable[[float], Awaitable[None]]]]:
    """A way to the database that can be shut: its address, and a function that shuts it for some seconds."""
    real = Path(parse_qs(urlsplit(dsn).query)["host"][0])
    folder = Path(tempfile.mkdtemp(prefix=f"qdd-{name}-"))
    socket = ".s.PGSQL.5432"
    writers: set[asyncio.StreamWriter] = set()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inside, out = await asyncio.open_unix_connection(real / socket)
        writers.update((writer, out))
        await asyncio.gather(pass_on(reader, out), pass_on(inside, writer))
        writers.difference_update((writer, out))

    async def shut(seconds: float) -> None:
        nonlocal server
        server.close()
        (folder / socket).unlink(missing_ok=True)
        for writer in list(writers):
            writer.transport.abort()
        await asyncio.sleep(seconds)
        server = await asyncio.start_unix_server(enter, folder / socket)

    server = await asyncio.start_unix_server(enter, folder / socket)
    try:
        yield dsn.replace(str(real), str(folder)), shut
    finally:
        server.close()
        for writer in list(writers):
            writer.transport.abort()
        (folder / socket).unlink(missing_ok=True)
        folder.rmdir()
