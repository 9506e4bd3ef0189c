"""Engines, keepers and connections die at the worst moment; nothing is lost, nothing happens twice."""

import os
import signal

import pytest

from core.keeper import client as keeper
from storage.queries.leavings import PIECE
from tests.engine.engine_kit import Site, git, site


async def test_a_killed_engine_comes_back_and_adopts_its_run_with_no_line_lost(crew: Site) -> None:
    await crew.project()
    task = await crew.add("count 150 0.02; write made.txt yes")
    host = crew.hosts[0]
    for line in ("line 10", "line 60"):
        await crew.said(task, line)
        await host.kill()
        await host.start()
    await crew.reaches(task, "completed")
    lines = [row["text"] for row in await crew.events(task, "output")]
    assert lines == [f"line {number}" for number in range(150)]
    assert await crew.sql.fetchval("select count(*) from run") == 1, "it was the same run all along"
    await crew.balanced()
    await crew.tidy()


async def test_what_ended_while_no_engine_was_there_is_read_and_judged(crew: Site) -> None:
    repo = await crew.project(verify=["test -f made.txt"])
    task = await crew.add("say up; until go.txt; count 500 0; write made.txt yes")
    await crew.said(task, "up")
    await crew.hosts[0].kill()
    run = await crew.sql.fetchrow("select * from run")
    (await crew.tree(task) / "go.txt").write_text("go")
    await crew.until(lambda: crew.ended(run["folder"]))
    await crew.hosts[0].start()
    await crew.reaches(task, "completed")
    assert len(await crew.events(task, "output")) == 500
    assert git(repo, "show", "main:made.txt") == "yes"


async def test_an_answer_given_while_no_engine_was_there_reaches_the_agent(crew: Site) -> None:
    repo = await crew.project()
    task = await crew.add("ask which way?")
    await crew.until(lambda: crew.sql.fetchval("select exists (select 1 from question where status = 'open')"))
    await crew.hosts[0].kill()
    number = await crew.sql.fetchval("select number from question")
    await crew.do("question.answer", id=str(number), text="yes")
    await crew.hosts[0].start()
    await crew.reaches(task, "completed")
    assert git(repo, "show", "main:answer.txt") == "yes"


async def test_a_killed_keeper_costs_a_run_but_not_the_task(crew: Site) -> None:
    await crew.project()
    task = await crew.add("attempt 1 stray; attempt 1 say up; attempt 1 sleep 600; write made.txt yes")
    await crew.said(task, "up")
    os.kill(await crew.sql.fetchval("select pid from run"), signal.SIGKILL)
    await crew.reaches(task, "completed")
    runs = await crew.sql.fetch("select status::text from run order by number")
    assert [row["status"] for row in runs] == ["lost", "succeeded"]
    assert await crew.sql.fetchval("select failures from task where number = $1", task) == 0
    await crew.tidy()


async def test_a_keeper_that_is_killed_again_and_again_sets_its_task_aside(crew: Site) -> None:
    await crew.project()
    task = await crew.add("say up; sleep 600")
    for attempt in (1, 2, 3):
        query = "select pid from run where attempt = $1 and status = 'running'"
        await crew.until(lambda attempt=attempt, query=query: crew.sql.fetchval(query, attempt))
        os.kill(await crew.sql.fetchval(query, attempt), signal.SIGKILL)
    await crew.reaches(task, "failed")
    assert "set aside" in await crew.reason(task)


async def test_a_task_that_kills_its_engine_is_set_aside(crew: Site) -> None:
    await crew.set(engine__max_rescues=2)
    await crew.project()
    task = await crew.add("say up; sleep 600")
    await crew.said(task, "up")
    for _ in range(3):
        before = await crew.sql.fetchval("select adoptions from run")
        await crew.hosts[0].kill()
        await crew.hosts[0].start()
        query = "select exists (select 1 from run where adoptions > $1 or status = 'failed')"
        await crew.until(lambda before=before, query=query: crew.sql.fetchval(query, before))
    await crew.reaches(task, "failed")
    assert "set aside: the engine died" in await crew.reason(task)
    await crew.tidy()


async def test_another_engine_rescues_what_a_dead_one_held(crew: Site) -> None:
    await crew.set(engine__lease_seconds=2)
    await crew.hosts[0].stop()
    await crew.hosts[0].start()
    await crew.project()
    task = await crew.add("attempt 1 say up; attempt 1 sleep 600; write made.txt yes")
    await crew.said(task, "up")
    await crew.hosts[0].kill()
    await crew.host().start()
    await crew.reaches(task, "completed")
    runs = await crew.sql.fetch("select status::text, engine from run order by number")
    assert [row["status"] for row in runs] == ["lost", "succeeded"]
    assert runs[0]["engine"] != runs[1]["engine"]
    assert await crew.sql.fetchval("select rescues from task where number = $1", task) == 1
    await crew.hosts[0].start()
    await crew.tidy()
    await crew.balanced()


async def test_an_engine_that_was_silent_for_too_long_lets_go_of_what_was_rescued(crew: Site) -> None:
    await crew.set(engine__lease_seconds=2)
    first = crew.hosts[0]
    await first.stop()
    await first.start()
    repo = await crew.project()
    task = await crew.add("attempt 1 say up; attempt 1 until go.txt; append made.txt yes")
    await crew.said(task, "up")
    assert first.process
    first.process.send_signal(signal.SIGSTOP)
    await crew.host().start()
    await crew.reaches(task, "completed")
    (await crew.tree(task) / "go.txt").parent.mkdir(exist_ok=True)
    first.process.send_signal(signal.SIGCONT)
    await crew.tidy()
    await crew.balanced()
    assert git(repo, "show", "main:made.txt") == "yes", "the late one has written nothing"


async def test_lost_connections_are_made_anew_and_nothing_is_lost(crew: Site) -> None:
    await crew.project()
    task = await crew.add("count 100 0.02; write made.txt yes")
    for line in ("line 5", "line 40"):
        await crew.said(task, line)
        await crew.sql.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        )
    await crew.reaches(task, "completed")
    lines = [row["text"] for row in await crew.events(task, "output")]
    assert lines == [f"line {number}" for number in range(100)]
    await crew.balanced()


async def test_an_engine_killed_while_the_gates_run_verifies_again(crew: Site) -> None:
    repo = await crew.project(verify=["touch gate-began; while ! test -f ../../../open; do sleep 0.05; done"])
    task = await crew.add("write made.txt yes")
    tree = None

    async def at_the_gate() -> bool:
        nonlocal tree
        tree = await crew.tree(task)
        return tree is not None and (tree / "gate-began").exists()

    await crew.until(at_the_gate)
    await crew.hosts[0].kill()
    assert tree is not None
    (tree / "../../../open").touch()
    await crew.hosts[0].start()
    await crew.reaches(task, "completed")
    assert git(repo, "show", "main:made.txt") == "yes"
    await crew.tidy()


@pytest.mark.parametrize("moment", ["starting", "verifying"])
async def test_an_engine_that_stops_cleanly_at_any_moment_goes_on_later(migrated_database: str, moment: str) -> None:
    async with site(migrated_database) as crew:
        await crew.agent()
        host = crew.host()
        await crew.set(engine__retry_seconds=0.05)
        await host.start()
        setup = 'setup = "sleep 1"\n' if moment == "starting" else ""
        await crew.project(verify=["sleep 1"], files={".quarterdeck.toml": setup, "README": "x"})
        task = await crew.add("write made.txt yes")
        query = "select exists (select 1 from run where status::text = $1)"
        await crew.until(lambda: crew.sql.fetchval(query, moment))
        assert await host.stop() == 0
        await host.start()
        await crew.reaches(task, "completed")
        assert keeper.marks() is not None
        await crew.tidy()


async def test_the_events_of_a_deleted_task_go_and_those_of_others_stay(crew: Site) -> None:
    await crew.project()
    tasks = [await crew.add(f"say hello; write made-{n}.txt yes") for n in "ab"]
    for task in tasks:
        await crew.reaches(task, "completed")
    gone, stays = [await crew.sql.fetchval("select number from run where task = $1", task) for task in tasks]
    await crew.sql.execute(
        "insert into event (run, seq, kind) select $1, 1000 + n, 'output' from generate_series(1, $2::int) n",
        gone,
        3 * PIECE,
    )
    await crew.do("task.delete", task=tasks[0])
    assert await crew.sql.fetchval("select count(*) from event where run = $1", gone) > 3 * PIECE, "nobody waited"
    await crew.hosts[0].stop()
    await crew.hosts[0].start()
    await crew.until(lambda: crew.sql.fetchval("select not exists (select 1 from event where run = $1)", gone))
    assert await crew.events(tasks[1], "message")
    assert await crew.sql.fetchval("select events from run where number = $1", stays) > 0


async def test_a_run_whose_events_the_database_never_takes_ends_alone(crew: Site) -> None:
    await crew.project()
    await crew.sql.execute("alter table event add constraint no_poison check (text <> 'poison') not valid")
    other = await crew.add("count 100 0.02; write other.txt yes")
    await crew.said(other, "line 1")
    poisoned = await crew.add("say poison; write made.txt yes", max_attempts=1)
    await crew.reaches(poisoned, "failed")
    await crew.reaches(other, "completed")
    assert await crew.reason(poisoned) == "an internal error; see the engine's log"
    process = crew.hosts[0].process
    assert process is not None
    assert process.returncode is None
    await crew.balanced()


async def test_a_full_disk_of_the_database_holds_runs_up_and_ends_none(crew: Site) -> None:
    await crew.project()
    await crew.sql.execute(
        """create table disk_is_full (); create function no_room() returns trigger language plpgsql as $$
           begin if to_regclass('disk_is_full') is null then return new; end if;
             raise exception 'No space left on device' using errcode = 'disk_full'; end $$;
           create trigger no_room before insert on event for each row execute function no_room()"""
    )
    task = await crew.add("say hello; write made.txt yes")
    begun = "select folder from run where task = $1 and status = 'running'"
    await crew.until(lambda: crew.sql.fetchval(begun, task))
    folder = await crew.sql.fetchval(begun, task)
    await crew.until(lambda: crew.ended(folder))
    await crew.sql.execute("drop table disk_is_full")
    await crew.reaches(task, "completed")
    assert [row["text"] for row in await crew.events(task, "message")] == ["hello"]
    await crew.balanced()


async def test_an_agent_that_says_it_cost_a_fortune_harms_nobody(crew: Site) -> None:
    await crew.project()
    task = await crew.add("spend 1000000 150; spend 1000000; write made.txt yes")
    await crew.reaches(task, "completed")
    assert await crew.sql.fetchval("select cost_usd from run where task = $1", task) == 99_999_999
