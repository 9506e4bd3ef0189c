"""The functions of the queue, driven at random, keep the books and never leave the table of states."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from config.errors import ConflictError, QuarterdeckError
from core.tasks.edit import Edit, edit_task
from core.tasks.states import BEGINNINGS, ENDED, By, TaskStatus, may_become
from storage.database import _prepare_connection
from storage.queries import tasks
from storage.queries.guard import refusals

S = TaskStatus
AGENTS = ["", "any", "one"]
HOUR = timedelta(hours=1)
index = st.integers(0, 30)


class Queue(RuleBasedStateMachine):
    """Each rule is one thing that a person, an engine or a timer may do."""

    dsn: str
    runner: asyncio.Runner
    connection: asyncpg.Connection

    def __init__(self) -> None:
        super().__init__()
        self.transaction = self.connection.transaction()
        self.do(self.transaction.start())
        self.before: dict[int, TaskStatus] = {}
        self.by = By.PERSON
        self.deleted: set[int] = set()

    def teardown(self) -> None:
        self.do(self.transaction.rollback())

    def do(self, work: Any) -> Any:
        return self.runner.run(_await(work))

    def sql(self, statement: str, *values: Any) -> Any:
        return self.do(self.connection.fetch(statement, *values))

    def value(self, statement: str, *values: Any) -> Any:
        return self.do(self.connection.fetchval(statement, *values))

    def attempt(self, work: Any) -> bool:
        """Do it in a transaction within; False when it was refused."""

        async def within() -> bool:
            try:
                async with self.connection.transaction():
                    with refusals():
                        await work
            except QuarterdeckError:
                return False
            return True

        return bool(self.runner.run(within()))

    def pick(self, at: int, *states: TaskStatus) -> int | None:
        """One of the tasks, in one of these states where some are given."""
        numbers = [number for number in sorted(self.before) if not states or self.before[number] in states]
        return numbers[at % len(numbers)] if numbers else None

    def held(self, at: int) -> asyncpg.Record | None:
        rows = self.sql("select number, lease_token from task where status = 'in_progress' order by number")
        return rows[at % len(rows)] if rows else None

    @initialize(
        graph=st.lists(
            st.tuples(st.sampled_from(AGENTS), st.sets(st.integers(1, 4), max_size=3)), min_size=5, max_size=9
        )
    )
    def world(self, graph: list[tuple[str, set[int]]]) -> None:
        """Two projects, two agents, an engine, and tasks of which each waits for some of the four before it."""
        for project, most in (("p", 3), ("q", 1)):
            self.sql("insert into project (id, name, repo, path) values ($1, $1, '/r', '/r')", project)
            self.sql("insert into load (project, max_parallel) values ($1, $2)", project, most)
        self.sql(
            "insert into agent (name, adapter, max_parallel) values ('any', 'command', null), ('one', 'command', 1)"
        )
        self.engine = self.register()
        for agent, back in graph:
            numbers = sorted(self.states(), reverse=True)
            after = [numbers[steps - 1] for steps in back if steps <= len(numbers)]
            item = {"project": "p", "title": "t", "agent": agent, "after": after, "max_attempts": 2}
            self.do(tasks.add_many(self.connection, [item]))
        self.before = self.states()

    def register(self) -> int:
        return int(self.value("select engine_register('e', 'h', 1, '1', 9, '1 hour')"))

    @rule(
        project=st.sampled_from(["p", "p", "q"]),
        agent=st.sampled_from(AGENTS),
        priority=st.integers(1, 5),
        parents=st.lists(index, max_size=3),
        starts=st.sampled_from([None, None, -HOUR, HOUR]),
        on_failure=st.sampled_from(["fail", "cancel"]),
        most=st.integers(1, 2),
    )
    def add(
        self, project: str, agent: str, priority: int, parents: list[int], starts: Any, on_failure: str, most: int
    ) -> None:
        self.by = By.PERSON
        known = sorted(self.before)
        item = {
            "project": project, "title": "t", "agent": agent, "priority": priority, "on_failure": on_failure, "max_attempts": most,
            "after": [known[at % len(known)] for at in parents] if known else [],
            "not_before": starts and (datetime.now(UTC) + starts).isoformat(),
        }  # fmt: skip
        self.attempt(tasks.add_many(self.connection, [item]))

    @rule(most=st.integers(1, 4), agents=st.permutations(["any", "one"]))
    def claim(self, most: int, agents: list[str]) -> None:
        self.by = By.ENGINE
        self.sql("select * from task_claim($1, $2, $3)", self.engine, most, agents)

    @rule(at=index, outcome=st.sampled_from(["completed"] * 4 + ["review", "review", "retry", "failed", "cancelled"]),
          pause=st.sampled_from([None, HOUR]))  # fmt: skip
    def finish(self, at: int, outcome: str, pause: Any) -> None:
        self.by = By.ENGINE
        if held := self.held(at):
            self.value(
                "select task_finish($1, $2, $3, 'because', $4)", held["number"], held["lease_token"], outcome, pause
            )

    @rule(outcomes=st.lists(st.sampled_from(["completed"] * 6 + ["review", "failed", "retry"]), min_size=1, max_size=5))
    def work(self, outcomes: list[str]) -> None:
        """Claim and end one task after the other."""
        for outcome in outcomes:
            self.claim(1, ["any", "one"])
            self.every_promise_is_kept()
            self.finish(0, outcome, None)
            self.every_promise_is_kept()

    @rule(at=index, wait=st.sampled_from(["time", "person", "budget"]), pause=st.sampled_from([None, HOUR]))
    def set_aside(self, at: int, wait: str, pause: Any) -> None:
        self.by = By.ENGINE
        if held := self.held(at):
            self.value(
                "select task_finish($1, $2, 'wait', 'because', $3, $4::text::task_wait)",
                held["number"],
                held["lease_token"],
                pause,
                wait,
            )

    @rule(at=index)
    def report_late(self, at: int) -> None:
        if held := self.held(at):
            assert (
                self.value("select task_finish($1, $2, 'completed')", held["number"], held["lease_token"] - 1) is None
            )

    @rule(at=index)
    def cancel(self, at: int) -> None:
        self.by = By.PERSON
        if number := self.pick(at):
            self.value("select task_cancel($1, 'no')", number)

    @rule(at=index, starts=st.sampled_from([None, None, HOUR]))
    def retry(self, at: int, starts: Any) -> None:
        self.by = By.PERSON
        if number := self.pick(at, S.FAILED, S.CANCELLED):
            date = starts and datetime.now(UTC) + starts
            self.attempt(
                tasks.move(self.connection, number, ["failed", "cancelled"], "pending", not_before=date, fresh=True)
            )

    @rule(at=index, to=st.sampled_from(["completed", "completed", "pending", "cancelled"]))
    def judge(self, at: int, to: str) -> None:
        self.by = By.ENGINE if to == "completed" else By.PERSON
        if number := self.pick(at, S.REVIEW):
            assert self.attempt(tasks.move(self.connection, number, ["review"], to))

    @rule(at=index, parents=st.lists(index, max_size=3))
    def rewire(self, at: int, parents: list[int]) -> None:
        self.by = By.PERSON
        if number := self.pick(at):
            chosen = sorted({found for parent in parents if (found := self.pick(parent))})
            self.attempt(edit_task(self.connection, number, Edit({"after": chosen}, datetime.now(UTC))))

    @rule(at=index, starts=st.sampled_from([None, -HOUR, HOUR]))
    def edit_start(self, at: int, starts: Any) -> None:
        self.by = By.PERSON
        if number := self.pick(at):
            date = starts and datetime.now(UTC) + starts
            self.attempt(edit_task(self.connection, number, Edit({"not_before": date}, datetime.now(UTC))))

    @rule(at=index, priority=st.integers(1, 5), agent=st.sampled_from(AGENTS))
    def edit_lane(self, at: int, priority: int, agent: str) -> None:
        self.by = By.PERSON
        if number := self.pick(at):
            self.attempt(
                edit_task(self.connection, number, Edit({"priority": priority, "agent": agent}, datetime.now(UTC)))
            )

    @rule()
    def time_passes(self) -> None:
        self.by = By.TIMER
        self.sql("update task set not_before = clock_timestamp() where not_before is not null and status = 'waiting'")
        self.value("select task_promote()")

    @rule(at=st.integers(0, 60))
    def deadline_comes(self, at: int) -> None:
        self.by = By.TIMER
        if number := self.pick(at):
            self.sql("update task set deadline = clock_timestamp() where number = $1", number)
            while self.value("select task_expire()"):
                pass
            self.sql("update task set deadline = null where number = $1", number)

    @rule(most=st.integers(1, 3))
    def engine_dies(self, most: int) -> None:
        self.by = By.ENGINE
        self.sql("update engine set lease_until = clock_timestamp() - interval '1 s'")
        while self.value("select engine_rescue($1)", most):
            pass
        self.engine = self.register()

    @rule()
    def reply_of_a_claim_is_lost(self) -> None:
        self.by = By.ENGINE
        self.sql("update task set claimed_at = claimed_at - interval '10 s' where status = 'in_progress' and not exists "
                 "(select 1 from task_after d where d.child = task.number)")  # fmt: skip
        self.value("select engine_heartbeat($1, '1 hour', '{}')", self.engine)

    @rule(at=index)
    def delete(self, at: int) -> None:
        number = self.pick(at, *(set(S) - {S.IN_PROGRESS}))
        if number and "blocked" not in self.do(tasks.children(self.connection, number)).values():
            self.do(tasks.remove(self.connection, number))
            self.deleted.add(number)

    @rule(project=st.sampled_from(["p", "q"]))
    def pause_or_resume(self, project: str) -> None:
        self.sql("update load set paused = not paused where project = $1", project)

    @rule()
    def sweep_finds_nothing(self) -> None:
        assert self.value("select task_sweep()") == 0

    @invariant()
    def every_promise_is_kept(self) -> None:
        self.check_changes(self.states())
        now = {row["number"]: row for row in self.sql("select *, status::text as state from task")}
        self.check_dependencies()
        for row in now.values():
            check_row(row)
        wrong = {row["what"]: row["n"] for row in self.sql("select what, n from queue_reconcile()") if row["n"]}
        assert not wrong
        assert not self.sql("select 1 from load where running > max_parallel"), "a project is beyond its limit"
        busy = sum(row["agent"] == "one" and row["state"] == S.IN_PROGRESS for row in now.values())
        assert busy <= 1, "an agent is beyond its limit"

    def states(self) -> dict[int, TaskStatus]:
        return {row["number"]: S(row["status"]) for row in self.sql("select number, status::text from task")}

    def check_changes(self, now: dict[int, TaskStatus]) -> None:
        for number, status in now.items():
            before = self.before.get(number)
            if before is None:
                assert status in BEGINNINGS, f"#{number} began as {status}"
            elif before != status:
                assert may_become(before, status, self.by), f"#{number}: {before} → {status} by {self.by}"
        assert self.before.keys() - now.keys() <= self.deleted
        self.before = now

    def check_dependencies(self) -> None:
        above: dict[int, set[int]] = {}
        for row in self.sql("select child, parent from task_after"):
            above.setdefault(row["child"], set()).add(row["parent"])
        for number, parents in above.items():
            if self.before[number] in (S.PENDING, S.WAITING, S.IN_PROGRESS, S.REVIEW):
                open_parents = {parent for parent in parents if self.before[parent] is not S.COMPLETED}
                assert not open_parents, f"#{number} is {self.before[number]} before {open_parents}"
        while free := [number for number, parents in above.items() if not parents & above.keys()]:
            for number in free:
                del above[number]
        assert not above, "the dependencies have a cycle"


def check_row(row: asyncpg.Record) -> None:
    """The columns of a task agree with its status."""
    state, number = S(row["state"]), row["number"]
    assert (row["engine"] is not None) == (state is S.IN_PROGRESS), number
    assert (row["wait"] is not None) == (state is S.WAITING), number
    assert (row["finished_at"] is not None) == (state in ENDED), number
    assert row["failures"] <= row["max_attempts"], number
    assert row["wait"] != "time" or row["not_before"] is not None, number


async def _await(work: Any) -> Any:
    return await work


def _drive(dsn: str) -> None:
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(dsn))
        runner.run(_prepare_connection(connection))
        try:
            machine = type("Machine", (Queue,), {"dsn": dsn, "runner": runner, "connection": connection})
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=100,
                    stateful_step_count=50,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                    database=None,
                ),
            )
        finally:
            runner.run(connection.close())


async def test_whatever_happens_the_queue_keeps_its_promises(migrated_database: str) -> None:
    await asyncio.to_thread(_drive, migrated_database)


async def test_a_refused_edit_names_the_circle(migrated_database: str) -> None:
    connection = await asyncpg.connect(migrated_database)
    try:
        await connection.execute("insert into project (id, name, repo, path) values ('p', 'p', '/r', '/r')")
        await connection.execute("insert into load (project) values ('p')")
        for after in ([], [1], [2]):
            await connection.fetch(
                "select * from task_add($1)", json.dumps([{"project": "p", "title": "t", "after": after}])
            )
        with pytest.raises(ConflictError, match="#1 → #3 → #2 → #1"):
            async with connection.transaction():
                await edit_task(connection, 1, Edit({"after": [3]}, datetime.now(UTC)))
    finally:
        await connection.close()
