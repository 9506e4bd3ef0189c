"""Sixteen claimers at once: no double claim, no limit exceeded at any moment, priorities respected, every end once."""

import pytest
from queue_kit import World, break_function
from race import ENDS, Race, run


@pytest.mark.slow
async def test_sixteen_claimers_do_twenty_thousand_tasks_without_a_fault(queue_world: World) -> None:
    race = await run(queue_world, Race(tasks=20_000))
    assert race.violations == []
    assert race.samples > 20
    statuses = dict(await queue_world.owner.fetch("select status::text, count(*) from task group by 1"))
    assert sum(statuses.values()) == 20_000
    assert set(statuses) <= {*ENDS, "blocked"}, "only what waits for a review is left"
    assert statuses["completed"] > 15_000
    assert set(race.ends.values()) == {1}


MUTANTS = {
    "a claim that does not lock the project": [
        ("task_claim", "limit 1 for no key update of p skip locked", "limit 1"),
        ("task_claim", "where p.project = v_project for no key update", "where p.project = v_project"),
    ],
    "a claim that does not look at the limit": [
        ("task_claim", "p.max_parallel - p.running", "p.max_parallel"),
        ("task_claim", "p.running < p.max_parallel", "p.running < p.max_parallel + 3"),
    ],
    "a claim that takes what others hold": [
        (
            "task_claim",
            "t.status = 'pending'\n       order by t.priority desc, t.number limit v_room",
            "t.status in ('pending', 'in_progress')\n       order by t.priority desc, t.number limit v_room",
        )
    ],
    "a claim that takes the worst first": [
        ("task_claim", "t.priority desc, t.number limit v_room", "t.priority, t.number limit v_room")
    ],
    "an end without the token": [("task_finish", "t.lease_token = p_token", "p_token is not null")],
    "an end that frees its project twice": [
        ("task_finish", "running = running - 1", "running = greatest(running - 2, 0)")
    ],
    "an end that forgets its slot": [
        ("task_finish", "set task = null where task = p_number", "set task = null where task = -1")
    ],
}


async def test_a_short_race_finds_nothing(queue_world: World) -> None:
    assert (await run(queue_world, Race(tasks=600, projects=3, seed=5, constraint=False))).violations == []


@pytest.mark.parametrize("mutant", MUTANTS)
async def test_the_race_catches(queue_world: World, mutant: str) -> None:
    for function, old, new in MUTANTS[mutant]:
        await break_function(queue_world.owner, function, old, new)
    race = await run(queue_world, Race(tasks=600, projects=3, seed=5, constraint=False))
    assert race.violations
