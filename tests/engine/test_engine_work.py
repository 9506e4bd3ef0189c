"""What becomes of a task in the hands of an engine."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from tests.engine.engine_kit import Site, git


async def test_a_task_becomes_a_verified_commit_on_the_base(crew: Site) -> None:
    repo = await crew.project(verify=["test -f made.txt"])
    task = await crew.add("say hello; write made.txt yes")
    await crew.reaches(task, "completed")
    assert git(repo, "show", "main:made.txt") == "yes"
    assert (repo / "made.txt").read_text() == "yes\n", "a clean checkout of the base is brought forward"
    assert [row["text"] for row in await crew.events(task, "message")] == ["hello"]
    run = await crew.sql.fetchrow("select * from run where task = $1", task)
    assert (run["status"], run["verdict"], run["files_changed"], run["insertions"]) == ("succeeded", "passed", 1, 1)
    await crew.tidy()
    await crew.balanced()


async def test_what_fails_its_gate_is_told_so_and_mended(crew: Site) -> None:
    repo = await crew.project(verify=["cat made.txt; grep -q right made.txt"])
    task = await crew.add(
        "attempt 1 write made.txt wrong-word; attempt 2 prompt told.txt; attempt 2 write made.txt right"
    )
    await crew.reaches(task, "completed")
    assert "wrong-word" in git(repo, "show", "main:told.txt"), "the second attempt is told the output of the gate"
    gates = await crew.sql.fetch(
        "select g.status from gate g join run r on r.number = g.run where r.task = $1 order by r.number", task
    )
    assert [row["status"] for row in gates] == ["failed", "passed"]


async def test_a_task_that_never_passes_fails_after_its_attempts_and_its_work_is_kept(crew: Site) -> None:
    repo = await crew.project(verify=["false"])
    task = await crew.add("append made.txt more", max_attempts=2)
    await crew.reaches(task, "failed")
    assert "check 'false' failed" in await crew.reason(task)
    run = await crew.sql.fetchval("select id from run where task = $1 order by number desc limit 1", task)
    await crew.tidy()
    assert git(repo, "show", f"refs/qd/salvage/{run}:made.txt") == "more\nmore"


async def test_an_agent_that_changes_nothing_has_not_succeeded(crew: Site) -> None:
    await crew.project()
    task = await crew.add("say done", max_attempts=1)
    await crew.reaches(task, "failed")
    assert "changed nothing" in await crew.reason(task)


async def test_an_agent_that_ends_with_an_error_is_tried_again(crew: Site) -> None:
    await crew.project()
    task = await crew.add("attempt 1 exit 3; write made.txt yes")
    await crew.reaches(task, "completed")
    runs = await crew.sql.fetch("select status::text, exit_code from run where task = $1 order by number", task)
    assert [tuple(row) for row in runs] == [("failed", 3), ("succeeded", 0)]


async def test_the_environment_of_an_agent_holds_no_key_of_the_person(migrated_database: str) -> None:
    from tests.engine.engine_kit import site

    async with site(migrated_database) as crew:
        await crew.agent()
        host = crew.host()
        await host.start(
            AWS_SECRET_ACCESS_KEY="s3cret", GITHUB_TOKEN="ghp_x", DATABASE_URL="postgres://x", MY_API_KEY="k"
        )
        repo = await crew.project()
        task = await crew.add("env names.txt")
        await crew.reaches(task, "completed")
        names = set(git(repo, "show", "main:names.txt").split())
    assert not names & {
        "AWS_SECRET_ACCESS_KEY",
        "GITHUB_TOKEN",
        "DATABASE_URL",
        "MY_API_KEY",
        "QD_DATABASE_URL",
        "QD_HOME",
    }
    assert {"QD_RUN_ID", "QD_TASK_NUMBER", "QD_PROMPT_FILE", "QD_CONTEXT_FILE", "QD_WORKTREE", "QD_RUN_TOKEN"} <= names


async def test_a_question_waits_for_its_answer_and_the_answer_reaches_the_agent(crew: Site) -> None:
    repo = await crew.project()
    task = await crew.add("ask which way?")
    await crew.until(lambda: crew.sql.fetchval("select exists (select 1 from question where status = 'open')"))
    number = await crew.sql.fetchval("select number from question")
    await crew.do("question.answer", id=str(number), text="yes")
    await crew.reaches(task, "completed")
    assert git(repo, "show", "main:answer.txt") == "yes"
    assert [row["text"] for row in await crew.events(task, "answer")] == ["yes"]


async def test_a_message_reaches_a_running_agent(crew: Site) -> None:
    repo = await crew.project()
    task = await crew.add("say up; listen")
    await crew.said(task, "up")
    await crew.do("run.send", run=f"{task}.1", text="mind the gap")
    await crew.reaches(task, "completed")
    assert git(repo, "show", "main:heard.txt") == "message: mind the gap"


async def test_a_cancelled_task_ends_its_run_with_all_that_it_started(crew: Site) -> None:
    await crew.project()
    task = await crew.add("stray; say up; sleep 600")
    await crew.said(task, "up")
    await crew.do("task.cancel", task=str(task))
    await crew.reaches(task, "cancelled")
    await crew.tidy()
    assert await crew.sql.fetchval("select status::text from run where task = $1", task) == "cancelled"


async def test_a_run_that_a_person_stops_waits_for_that_person(crew: Site) -> None:
    await crew.project()
    task = await crew.add("attempt 1 say up; attempt 1 sleep 600; write made.txt yes")
    await crew.said(task, "up")
    await crew.do("run.stop", run=f"{task}.1")
    await crew.reaches(task, "waiting")
    assert "stopped by user:test" in await crew.reason(task)
    await crew.do("task.retry", task=str(task))
    await crew.reaches(task, "completed")


async def test_a_paused_run_stands_still_and_goes_on(crew: Site) -> None:
    await crew.project()
    task = await crew.add("say up; until go.txt; say went; write made.txt yes")
    await crew.said(task, "up")
    await crew.do("run.pause", run=f"{task}.1")
    await crew.said(task, "paused by")
    tree = await crew.sql.fetchval("select worktree from run where task = $1", task)
    (Path(tree) / "go.txt").write_text("go")
    await crew.do("run.resume", run=f"{task}.1")
    await crew.reaches(task, "completed")
    kinds = [row["text"] for row in await crew.events(task) if row["text"] == "went" or "by user" in row["text"]]
    assert kinds == ["paused by user:test", "resumed by user:test", "went"]


async def test_a_task_may_cost_no_more_than_it_may(crew: Site) -> None:
    await crew.project()
    task = await crew.add("spend 0.4; spend 0.7; sleep 600", max_cost=1.0)
    await crew.reaches(task, "failed")
    assert "it cost $1.1000, its limit is $1.0000" in await crew.reason(task)


async def test_a_deadline_and_a_limit_of_cost_hold_also_when_they_are_set_while_a_run_goes_on(crew: Site) -> None:
    await crew.project()
    late, dear = (
        await crew.add("say up; sleep 600"),
        await crew.add("spend 0.4; say up; until go.txt; spend 0.4; sleep 600"),
    )
    await crew.said(late, "up")
    await crew.do("task.edit", task=str(late), deadline="+1s")
    await crew.reaches(late, "failed")
    assert "its deadline passed" in await crew.reason(late)
    await crew.said(dear, "up")
    await crew.do("task.edit", task=str(dear), max_cost=0.5)
    tree = await crew.tree(dear)
    assert tree
    (tree / "go.txt").write_text("go")
    await crew.reaches(dear, "failed")
    assert "its limit is $0.5000" in await crew.reason(dear)


async def test_an_engine_says_how_many_runs_it_takes_when_that_changes(crew: Site) -> None:
    await crew.do("settings.set", key="engine.max_parallel", value="9")
    await crew.until(lambda: crew.sql.fetchval("select max_parallel = 9 from engine"))


async def test_a_configuration_that_is_being_written_is_a_sentence_in_the_log(crew: Site) -> None:
    config = crew.hosts[0].paths.config_file
    config.parent.mkdir(parents=True)
    config.write_text("x = [")

    async def told() -> bool:
        await crew.db.ring("settings")
        return "is no valid TOML" in crew.hosts[0].log()

    await crew.until(told)
    assert "Traceback" not in crew.hosts[0].log()


async def test_the_keepers_limits_end_a_run(crew: Site) -> None:
    await crew.set(run__output_bytes=200_000)
    await crew.project()
    await crew.until(lambda: _has_setting(crew))
    task = await crew.add("flood 5000000; sleep 600", max_attempts=1)
    await crew.reaches(task, "failed")
    assert "printed more than it may" in await crew.reason(task)


async def test_what_an_agent_says_after_a_very_long_line_is_in_its_log(crew: Site) -> None:
    await crew.project()
    task = await crew.add("write made.txt yes; flood 3000000; say ends the line; say last words")
    await crew.reaches(task, "completed")
    said = await crew.events(task)
    assert [row["kind"] for row in said[:2]] == ["output", "message"]
    assert said[1]["text"] == "last words"


async def _has_setting(crew: Site) -> bool:
    await crew.db.ring("settings")
    return bool(await crew.sql.fetchval("select count(*) from setting where key = 'run.output_bytes'"))


async def test_dependents_start_when_their_parents_are_merged(crew: Site) -> None:
    repo = await crew.project()
    top = await crew.add("write top.txt 1")
    left = await crew.add("append top.txt left; write left.txt 1", after=[top])
    right = await crew.add("write right.txt 1", after=[top])
    last = await crew.add("append left.txt last; append right.txt last", after=[left, right])
    await crew.reaches(last, "completed")
    assert git(repo, "show", "main:left.txt") == "1\nlast"
    await crew.balanced()


async def test_a_failure_fails_what_depends_on_it(crew: Site) -> None:
    await crew.project(verify=["false"])
    top = await crew.add("write top.txt 1", max_attempts=1)
    child = await crew.add("write child.txt 1", after=[top])
    soft = await crew.add("write soft.txt 1", after=[child], on_failure="cancel")
    await crew.reaches(top, "failed")
    assert await crew.status(child) == "failed"
    assert await crew.status(soft) == "cancelled"
    assert f"#{top}" in await crew.reason(child)


async def test_setup_include_and_teardown_of_the_repository_are_honoured(crew: Site) -> None:
    text = 'setup = ["echo made > set-up.txt"]\nteardown = "echo gone > $(git rev-parse --git-common-dir)/torn-down"\ninclude = [".env"]\n'
    repo = await crew.project(
        verify=["test -f set-up.txt", "grep -q HERE .env"],
        files={".quarterdeck.toml": text, ".gitignore": ".env\nset-up.txt\n", "README": "x\n"},
    )
    (repo / ".env").write_text("HERE=1\n")
    task = await crew.add("write made.txt yes")
    await crew.reaches(task, "completed")
    await crew.tidy()
    assert (repo / ".git" / "torn-down").read_text() == "gone\n"


async def test_sigterm_is_a_clean_stop_that_leaves_runs_alone(crew: Site) -> None:
    await crew.project()
    task = await crew.add("say up; until go.txt; write made.txt yes")
    await crew.said(task, "up")
    host = crew.hosts[0]
    assert await host.stop() == 0
    row = await crew.sql.fetchrow("select state, lease_until > now() + interval '1 hour' as long from engine")
    assert (row["state"], row["long"]) == ("stopped", True)
    assert await crew.status(task) == "in_progress"
    tree = await crew.sql.fetchval("select worktree from run where task = $1", task)
    (Path(tree) / "go.txt").write_text("go")
    await host.start()
    await crew.reaches(task, "completed")
    assert await crew.sql.fetchval("select count(*) from run where task = $1", task) == 1


async def test_down_with_stop_runs_ends_them_and_they_start_again(crew: Site) -> None:
    await crew.project()
    task = await crew.add("attempt 1 stray; attempt 1 say up; attempt 1 sleep 600; write made.txt yes")
    await crew.said(task, "up")
    await crew.sql.execute("update engine set wanted = 'stop_runs'")
    await crew.db.ring("engine")
    host = crew.hosts[0]
    assert host.process
    assert await host.process.wait() == 0
    assert await crew.status(task) == "waiting"
    assert await crew.sql.fetchval("select failures from task where number = $1", task) == 0
    await host.start()
    await crew.reaches(task, "completed")


async def test_a_second_engine_on_the_same_folder_is_refused(crew: Site) -> None:
    from tests.engine.engine_kit import Host

    await crew.until(lambda: crew.sql.fetchval("select count(*) from engine"))
    second = Host(crew.hosts[0].home, crew.dsn)
    await second.start()
    assert second.process
    assert await second.process.wait() == 5
    assert "an engine is running already" in second.log()


async def test_a_signal_that_hits_the_agent_is_an_attempt_that_failed(crew: Site) -> None:
    await crew.project()
    task = await crew.add("attempt 1 say up; attempt 1 sleep 600; write made.txt yes")
    await crew.said(task, "up")
    from core.keeper import client as keeper

    folder = crew.hosts[0].paths.runs / str(await crew.sql.fetchval("select id from run"))
    started = keeper.read_started(folder)
    assert started
    os.kill(started.pid, signal.SIGKILL)
    await crew.reaches(task, "completed")
    assert await crew.sql.fetchval("select count(*) from run") == 2


async def test_a_change_with_slow_gates_is_overtaken_once_and_not_for_ever(crew: Site) -> None:
    slow = (
        'test "$QD_TASK_NUMBER" != 1 || { echo x >> ../../../rounds; '
        'while ! test -f "../../../open$(wc -l < ../../../rounds | tr -d " ")"; do sleep 0.05; done; }'
    )
    repo = await crew.project(verify=[slow])
    outside = crew.hosts[0].paths.state
    first = await crew.add("write slow.txt yes")
    assert first == 1

    async def rounds(count: int) -> bool:
        file = outside / "rounds"
        return file.exists() and len(file.read_text().split()) == count

    await crew.until(lambda: rounds(1))
    quick = await crew.add("write quick.txt yes")
    await crew.reaches(quick, "completed")
    (outside / "open1").touch()
    await crew.until(lambda: rounds(2))
    late = await crew.add("write late.txt yes")
    await crew.until(
        lambda: crew.sql.fetchval(
            "select exists (select 1 from gate g join run r on r.number = g.run where r.task = $1)", late
        )
    )
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):  # time to land, for one that does not wait
            await crew.reaches(late, "completed")
    (outside / "open2").touch()
    for task in (first, late):
        await crew.reaches(task, "completed")
    merges = git(repo, "log", "--first-parent", "--format=%s", "main").splitlines()
    assert [line.split()[3] for line in merges if line.startswith("Merge")] == [f"#{late}:", f"#{first}:", f"#{quick}:"]
    await crew.tidy()
