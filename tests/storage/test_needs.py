"""What waits for a person, as the inbox asks the database for it."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from storage.queries import screen

LONG = 1_200
"""Tasks of a chain that is longer than what is walked."""


async def _needs(connection: asyncpg.Connection) -> list[screen.Need]:
    now = datetime.now(UTC) + timedelta(seconds=1)
    return list(await screen.needs(connection, now, stalled_seconds=300, failed_days=7))


async def _tasks(connection: asyncpg.Connection, statuses: list[str]) -> None:
    """A project with tasks 1, 2, 3 … in these states."""
    await connection.execute("insert into project (id, name, repo, path) values ('p', 'p', 'here', '/p')")
    await connection.execute(
        """insert into task (number, project, status, finished_at)
           overriding system value select n, 'p', s::task_status, case s when 'failed' then now() end
             from unnest($1::text[]) with ordinality as given (s, n)""",
        statuses,
    )
    await connection.execute("insert into task_body (task, title) select number, 'task ' || number from task")


async def _after(connection: asyncpg.Connection, *edges: tuple[int, int]) -> None:
    await connection.executemany("insert into task_after (parent, child) values ($1, $2)", edges)


async def test_one_failed_root_is_one_need_that_counts_what_failed_with_it(migrated_database: str) -> None:
    connection = await asyncpg.connect(migrated_database)
    try:
        await _tasks(connection, ["failed", "failed", "failed", "failed", "cancelled", "failed"])
        await _after(connection, (1, 2), (2, 3), (1, 3), (5, 6))
        found = {need.task: need.blocks for need in await _needs(connection)}
        assert found == {1: 2, 4: 0, 6: 0}, "what failed by a task that is no need of its own is one"
        await connection.execute("update task set status = 'pending', finished_at = null where number = 1")
        assert {need.task for need in await _needs(connection)} == {2, 4, 6}
    finally:
        await connection.close()


@pytest.mark.parametrize("failed", [LONG, 1])
async def test_a_chain_of_any_length_is_walked_as_far_as_it_tells_something(
    migrated_database: str, failed: int
) -> None:
    connection = await asyncpg.connect(migrated_database)
    try:
        await _tasks(connection, ["failed"] * failed + ["blocked"] * (LONG - failed))
        await _after(connection, *((n, n + 1) for n in range(1, LONG)))
        [need] = await _needs(connection)
        assert (need.task, need.blocks) == (1, screen.BLOCKS_MOST)
    finally:
        await connection.close()


async def test_of_very_many_failures_the_latest_are_told(migrated_database: str) -> None:
    connection = await asyncpg.connect(migrated_database)
    try:
        await _tasks(connection, ["failed"] * LONG)
        await connection.execute("update task set finished_at = now() - number * interval '1 second'")
        assert {need.task for need in await _needs(connection)} == set(range(1, screen.FAILED_MOST + 1))
    finally:
        await connection.close()
