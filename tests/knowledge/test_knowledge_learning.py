"""Learning: from checks that fail and what mends them, from what people ask, with a real engine and a real
repository.
"""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from core.knowledge.engine_side import keep_knowledge
from core.knowledge.kinds import telling_lines
from storage.queries import engine as engine_rows
from storage.queries import reviews
from tests.engine.engine_kit import Site, git, site
from tests.knowledge.knowledge_kit import Quay, engine_of
from tests.mcp.mcp_kit import crew_on

APPRENTICE = Path(__file__).with_name("apprentice.py")


@pytest.fixture
async def crew(migrated_database: str) -> AsyncIterator[Site]:
    """A site with an engine and an agent that does by itself what everybody does wrong, and right what it is told."""
    async with site(migrated_database) as made:
        await made.sql.execute(
            "insert into agent (name, adapter, command) values ('apprentice', 'command', $1)",
            f"{sys.executable} {APPRENTICE}",
        )
        await made.set(engine__retry_seconds=0.05)
        await made.host().start()
        yield made


async def test_what_one_task_failed_at_the_next_ones_do_right_at_once(crew: Site) -> None:
    repo = await crew.project(verify=["sh check.sh"], files={"check.sh": CHECK})
    attempts = []
    for name in ("harbour", "pilot", "tide"):
        task = await crew.add(f"Write the notice {name}")
        await crew.reaches(task, "completed")
        await crew.until(lambda: crew.sql.fetchval("select not exists (select 1 from sighting where worked is null)"))
        attempts.append(await crew.sql.fetchval("select count(*) from run where task = $1", task))
    assert attempts == [2, 1, 1], crew.logs()
    assert git(repo, "show", "main:tide.txt").startswith("SPDX: MIT")
    [lesson] = await crew.do("lesson.list", project="app")
    assert lesson.details["worked"]
    assert lesson.details["rule"]
    assert "SPDX: MIT" in lesson.details["fix"]
    assert (lesson.uses, lesson.wins) == (3, 3), "the mending attempt was told of it too"
    shown = await crew.do("context", task=3)
    assert [item.section for item in shown.items] == ["errors to avoid"]
    prompt = (await crew.sql.fetchval("select folder from run where task = 3")) + "/prompt.md"
    assert "### Errors to avoid" in Path(prompt).read_text()


async def test_what_a_person_changes_of_a_result_before_it_is_merged_is_a_lesson(crew: Site) -> None:
    repo = await crew.project(auto_merge=False)
    task = await crew.add("Write the notice harbour")
    await crew.do("decision.add", question="Which words?", chosen="few", task=task)
    await crew.reaches(task, "review")
    tree = await crew.tree(task)
    assert tree is not None
    (tree / "harbour.txt").write_text("The notice of the harbour master.\n")
    (tree / "app.yaml").write_text("password: hunter2long\n")
    (tree / ".netrc").write_text("machine harbour login me password hunter2long\n")
    git(tree, "add", ".")
    git(tree, "-c", "user.name=mate", "-c", "user.email=m@x", "commit", "-qam", "Say whose it is")
    await crew.do("review.approve", task=str(task))
    await crew.reaches(task, "completed")
    assert git(repo, "show", "main:harbour.txt") == "The notice of the harbour master."
    await crew.until(lambda: crew.sql.fetchval("select exists (select 1 from lesson)"))
    [lesson] = await crew.do("lesson.list", project="app")
    assert "+The notice of the harbour master." in lesson.details["fix"]
    assert "harbour.txt" in lesson.details["error"]
    assert "# app.yaml" in lesson.details["fix"]
    assert "hunter2" not in lesson.details["fix"]
    assert ".netrc" not in str(lesson.details)
    [decision] = await crew.do("decision.list", project="app")
    assert decision.details["outcome"] == "success", "a decision is closed with its task, by itself"


async def test_the_same_failure_in_several_tasks_is_one_lesson_and_a_common_error(quay: Quay) -> None:
    await quay.project()
    for number in range(4):
        task = await quay.task(f"work {number}")
        run = await quay.run(task, "failed")
        await fail(quay, run, f"E   TypeError: f() takes {number} arguments at /tmp/x{number}/a.py\n")
    learned = await quay.do("learn")
    assert (learned.lessons, learned.met_again) == (1, 3)
    again = await quay.do("learn")
    assert (again.lessons, again.met_again) == (0, 0)
    [error] = await quay.sql.fetch("select * from common_errors")
    assert (error["occurrence_count"], error["times_fixed"], error["error_type"]) == (4, 0, "test")
    passed = await quay.run(1, "succeeded")
    await quay.sql.execute(
        "insert into event (run, seq, kind, text) values ($1, 1, 'message', 'I passed one more argument')", passed
    )
    assert (await quay.do("learn", project="app")).mended == 1
    [lesson] = await quay.do("lesson.list")
    assert lesson.details["fix"] == "I passed one more argument"


async def test_a_lesson_that_a_person_deleted_is_not_learned_again(quay: Quay) -> None:
    await quay.project()
    run = await quay.run(await quay.task("work"), "failed")
    await fail(quay, run, "Error: no\n")
    await quay.do("learn")
    await quay.do("lesson.delete", id=1)
    run = await quay.run(1, "failed")
    await fail(quay, run, "Error: no\n")
    assert (await quay.do("learn")).lessons == 0
    assert await quay.do("lesson.list") == []


async def test_what_a_person_asked_to_be_different_is_a_lesson(quay: Quay) -> None:
    await quay.project()
    task = await quay.task("Write the tariff")
    run = await quay.run(task, "succeeded")
    await quay.sql.execute(
        """insert into review (task, run, status, note, actor) values
           ($1, $2, 'changes_requested', 'Amounts are always whole cents, never floats', 'user:mate')""",
        task,
        run,
    )
    learned = await quay.do("learn")
    assert (learned.reviews, learned.lessons) == (1, 1)
    [lesson] = await quay.do("lesson.list")
    assert lesson.details["rule"] == "Amounts are always whole cents, never floats"
    assert (await quay.do("learn")).reviews == 0


async def test_decisions_get_the_outcome_of_their_task(quay: Quay) -> None:
    await quay.project()
    task = await quay.task("Choose")
    made = await quay.do("decision.add", question="Which way?", chosen="left", task=task)
    await quay.sql.execute("update task set status = 'completed' where number = $1", task)
    assert (await quay.do("learn", project="app")).decisions == 1
    assert (await quay.do("decision.show", id=made.number)).details["outcome"] == "success"


async def test_a_decision_of_a_task_that_failed_at_first_is_a_success_when_it_is_completed_after_all(
    quay: Quay,
) -> None:
    await quay.project()
    task = await quay.task("Choose")
    made = [await quay.do("decision.add", question=f"Which way {n}?", chosen="left", task=task) for n in range(2)]
    await quay.sql.execute("update task set status = 'failed' where number = $1", task)
    assert (await quay.do("learn")).decisions == 2
    await quay.do("decision.edit", id=made[1].number, outcome="failed", note="It was the wrong way.")
    await quay.sql.execute("update task set status = 'completed' where number = $1", task)
    assert (await quay.do("learn")).decisions == 1
    first, second = [(await quay.do("decision.show", id=one.number)) for one in made]
    assert (first.details["outcome"], second.details["outcome"]) == ("success", "failed"), "a person's word stands"
    assert "Outcome: success" in first.content
    assert (await quay.do("learn")).decisions == 0


async def test_others_may_ask_the_database_itself(quay: Quay) -> None:
    await quay.project()
    await quay.do("knowledge.add", text=("Write tests first.",), category="standard")
    await quay.do("lesson.add", error="berth overflow in the allocator", fix="check the length", project="app")
    rows = await quay.sql.fetch("select * from get_task_context($1, $2)", "app", "mend the berth overflow")
    assert {(row["section"], row["title"]) for row in rows} == {
        ("standards", "Write tests first."),
        ("errors to avoid", "berth overflow in the allocator"),
    }
    await quay.run(await quay.task("x"), "succeeded")
    [week] = await quay.sql.fetch("select * from agent_performance")
    assert (week["project_id"], week["success_rate"]) == ("app", 100)
    await quay.do("pattern.add", title="A route", template="{{x}}")
    assert [row["name"] for row in await quay.sql.fetch("select * from valuable_patterns")] == ["A route"]
    [shown] = await quay.do("metrics", view="agent_performance")
    assert (shown.project_id, shown.agent, shown.tasks_succeeded, shown.success_rate) == ("app", "coder", 1, 100)
    assert await quay.do("metrics", view="agent_performance", project="other") == []
    assert [one.slug for one in await quay.do("metrics", view="valuable_patterns", project="app")] == ["a-route"]
    assert await quay.do("metrics", view="common_errors") == []
    for _ in range(3):
        await fail(quay, await quay.run(await quay.task("y"), "failed"), "Error: no berth\n")
    await quay.do("learn")
    [error] = await quay.do("metrics", view="common_errors", project="app")
    assert (error.occurrence_count, error.error_message) == (3, "Error: no berth")


async def test_what_applies_elsewhere_is_told_to_nobody_who_asks_for_a_project(quay: Quay) -> None:
    async with crew_on(quay) as crew:
        await quay.sql.execute("update project set stack = 'python' where id = 'app'")
        await quay.do("pattern.add", title="Harbour endpoint of another", template="{{x}}", for_project=("other",))
        await quay.do("pattern.add", title="Harbour endpoint in rust", template="{{x}} {{y}}", stack=("rust",))
        await quay.do("pattern.add", title="Harbour endpoint in python", template="{{x}} {{z}}", stack=("python",))
        rust = await quay.do(
            "knowledge.add", text=("Harbour endpoint: use cargo fmt",), category="standard", tag=("stack.rust",)
        )
        python = await quay.do(
            "knowledge.add", text=("Harbour endpoint: use ruff",), category="standard", tag=("stack.python",)
        )
        rows = await quay.sql.fetch("select section, title from get_task_context('app', 'harbour endpoint')")
        here = [("patterns", "Harbour endpoint in python"), ("standards", "Harbour endpoint: use ruff")]
        assert sorted(map(tuple, rows)) == here
        assert set(await quay.found("harbour endpoint", project="app")) >= {title for _, title in here}
        ok, text = await crew.use("search_knowledge", text="harbour endpoint")
        assert ok
        for said in (text, " ".join(await quay.found("harbour endpoint", project="app"))):
            assert "in python" in said
            assert "of another" not in said
            assert "in rust" not in said
            assert "cargo" not in said
        everywhere = await quay.do("knowledge.search", text="harbour endpoint")
        assert {rust.number, python.number} <= {hit.number for hit in everywhere}, "who asks for no project finds all"


async def test_an_unknown_project_is_an_error_and_not_everything(quay: Quay) -> None:
    await quay.project()
    await quay.do("knowledge.add", text=("Write tests first.",), category="standard")
    for name in ("nosuch", None):
        with pytest.raises(asyncpg.PostgresError, match="no project") as refused:
            await quay.sql.fetch("select * from get_task_context($1, 'tests')", name)
        assert refused.value.sqlstate == "QD404"


async def fail(quay: Quay, run: int, output: str) -> None:
    """A check of a run failed."""
    await quay.sql.execute(
        """insert into gate (run, round, position, command, status, exit_code, seconds, output)
           values ($1, 1, 1, 'pytest -q', 'failed', 1, 0.1, $2)""",
        run,
        output,
    )


CHECK = """\
for file in *.txt; do
  head -n 1 "$file" | grep -q "^SPDX: MIT" || { echo "ERROR: $file has no licence line"; exit 1; }
done
"""


@pytest.mark.parametrize(
    "output",
    [
        "\x1b[31m\x01\x02 \x07\x07 JFIF \x9c\x8d" * 20,
        "PK\x03\x04" + "".join(map(chr, range(1, 32))) * 30,
        "." * 5000,
        "[=====>   ] 12%\r[======>  ] 13%\r",
        " 45%|####5     | 45/100 [00:01<00:01]\n",
        "12:01:02 INFO started\n[DEBUG] loading\n",
        "error " * 4000,
        "",
    ],
)
async def test_output_that_says_nothing_is_no_lesson_and_is_not_looked_at_again(quay: Quay, output: str) -> None:
    await quay.project()
    await fail(quay, await quay.run(await quay.task("work"), "failed"), output)
    assert (await quay.do("learn")).lessons == 0
    assert await quay.do("lesson.list") == []
    assert await quay.sql.fetchval("select learned from gate")


def test_of_an_output_the_lines_are_taken_that_a_person_would_read() -> None:
    noisy = "12:01:02 INFO started\n[====>  ] 50%\nwarn\x07ing: \x1b]0;title\x07tabs\nt.py::test_a FAILED      [ 50%]\n12:01:03 ERROR gone\n"
    assert telling_lines(noisy) == "t.py::test_a FAILED      [ 50%]\n12:01:03 ERROR gone"
    assert telling_lines("loading\r\x1b[2Kwarn\x07ing: tabs\n") == "loading\nwarning: tabs"


@pytest.mark.parametrize(
    ("status", "note", "lesson"),
    [
        ("changes_requested", "Use tabs.", True),
        ("rejected", "金額は整数で", True),
        ("approved", "Use tabs.", True),
        ("merged", "Looks good, but use cents", True),
        ("changes_requested", "ok", False),
        ("approved", "LGTM, thank you!", False),
        ("merged", "Nice work", False),
    ],
)
async def test_what_a_person_says_of_a_change_is_a_lesson_whichever_way_they_judged(
    quay: Quay, status: str, note: str, lesson: bool
) -> None:
    await quay.project()
    task = await quay.task("Write the tariff")
    run = await quay.run(task, "succeeded")
    await quay.sql.execute(
        "insert into review (task, run, status, note, actor) values ($1, $2, $3, $4, 'user:mate')",
        task, run, status, f"{note}\x07",
    )  # fmt: skip
    assert (await quay.do("learn")).reviews == int(lesson)
    assert [one.title for one in await quay.do("lesson.list")] == ([note] if lesson else [])
    assert (await quay.do("learn")).reviews == 0, "once"
    assert await quay.sql.fetchval("select learned from review"), "and it is not looked at again"


async def test_what_the_engine_writes_into_a_review_is_no_lesson(quay: Quay) -> None:
    await quay.project()
    task = await quay.task("Write the tariff")
    run = await quay.run(task, "succeeded")
    await engine_rows.open_review(quay.sql, task, run, "main moved too often to merge by itself")
    review = await quay.sql.fetchval("select number from review")
    await reviews.decide(quay.sql, review, "approved", note=None, actor="user:mate")
    assert (await quay.do("learn")).reviews == 0
    await engine_rows.settle_review(quay.sql, review, "open", "the checkout is not clean", None)
    await reviews.decide(quay.sql, review, "approved", note="Keep the tariff in cents", actor="user:mate")
    await engine_rows.settle_review(quay.sql, review, "merged", None, "c" * 40)
    assert (await quay.do("learn")).reviews == 1
    assert [one.title for one in await quay.do("lesson.list")] == ["Keep the tariff in cents"]


@pytest.mark.parametrize("auto_merge", [True, False])
async def test_a_new_file_made_like_its_neighbours_is_proposed_as_a_pattern_when_it_has_landed(
    migrated_database: str, tmp_path: Path, auto_merge: bool
) -> None:
    files = {f"api/{name}.py": ROUTE.format(name=name, Name=name.title()) for name in ("harbour", "pilot", "tide")}
    writer = tmp_path / "writer.sh"
    writer.write_text(f"cat > api/buoy.py <<'X'\n{ROUTE.format(name='buoy', Name='Buoy')}X\n")
    async with site(migrated_database) as made:
        await made.project(auto_merge=auto_merge, files=files)
        await made.sql.execute("insert into agent (name, adapter, command) values ('w', 'command', $1)", f"sh {writer}")
        await made.host().start()
        task = await made.add("Write the buoy route")
        if not auto_merge:
            await made.reaches(task, "review")
            await made.do("review.approve", task=str(task))
        await made.reaches(task, "completed")
        await made.until(lambda: made.sql.fetchval("select exists (select 1 from learned_merge)"))
        [pattern] = await made.do("pattern.list", project="app")
    assert (pattern.state, pattern.source, pattern.path) == ("proposed", f"task #{task}", "api/buoy.py")
    assert "class {{Name}}Route" in pattern.details["template"]


async def test_what_an_engine_that_died_did_not_learn_from_is_learned_within_the_hour(quay: Quay) -> None:
    siblings = {f"api/{name}.py": ROUTE.format(name=name, Name=name.title()) for name in ("harbour", "pilot")}
    repo = await quay.project(files=siblings)
    failed, landed = await quay.task("work"), await quay.task("Write the tide route")
    await fail(quay, await quay.run(failed, "failed"), "E   AssertionError: no licence\n")
    run = await quay.run(landed, "succeeded")
    base = repo.git("rev-parse", "HEAD")
    head = repo.commit({"api/tide.py": ROUTE.format(name="tide", Name="Tide")})
    await quay.sql.execute("update run set base_commit = $2, head_commit = $3 where number = $1", run, base, head)
    await quay.sql.execute("update task set status = 'completed', finished_at = now() where number = $1", landed)
    async with engine_of(quay) as runtime:
        await keep_knowledge(runtime)
        assert [one.title for one in await quay.do("lesson.list")] == ["E AssertionError: no licence"]
        [pattern] = await quay.do("pattern.list")
        assert pattern.details["slug"] == "app-api-py"
        await quay.do("knowledge.refuse", id=pattern.number)
        await keep_knowledge(runtime)
    assert len(await quay.sql.fetch("select 1 from memory where origin <> 'file'")) == 2, "once"


async def test_a_repository_that_is_away_is_looked_at_the_next_time(quay: Quay) -> None:
    repo = await quay.project(files={"api/harbour.py": "x\n", "api/pilot.py": "x\n"})
    task = await quay.task("Write the tide route")
    run = await quay.run(task, "succeeded")
    base = repo.git("rev-parse", "HEAD")
    head = repo.commit({"api/tide.py": ROUTE.format(name="tide", Name="Tide")})
    await quay.sql.execute("update run set base_commit = $2, head_commit = $3 where number = $1", run, base, head)
    await quay.sql.execute("update task set status = 'completed', finished_at = now() where number = $1", task)
    repo.path.rename(quay.folder / "away")
    away = await quay.do("learn", project="app")
    assert away.patterns == ()
    assert away.missed
    (quay.folder / "away").rename(repo.path)
    assert len((await quay.do("learn", project="app")).patterns) == 1
    assert (await quay.do("learn", project="app")).patterns == ()


ROUTE = (
    "class {Name}Route:\n    name = '{name}'\n\n    def handle_{name}(self, request):\n"
    "        return {Name}Route.render(request, '{name}')\n"
)
