"""A claim must not get slower with what waits: p99 at a million ready tasks against a thousand."""

import statistics
from time import perf_counter

import asyncpg

from bench.framework import Environment, Figure, Side, at_most, in_turn, median_ratio, percentile
from bench.queue_world import AGENTS, engine_connection, fill, make_world
from storage.queries import queue

FEW, MANY = 1_000, 1_000_000
ROUNDS = 15
CLAIMS = 300


async def run(env: Environment) -> list[Figure]:
    """One client; a claimed task goes back to where it was, so that the queue keeps its depth."""
    async with env.database() as shallow, env.database() as deep:
        for dsn, count in ((shallow, FEW), (deep, MANY)):
            async with engine_connection(dsn, None) as owner:
                await make_world(owner)
                await fill(owner, count)
        async with engine_connection(shallow) as few, engine_connection(deep) as many:
            medians: dict[str, list[float]] = {"few": [], "many": []}
            thousand, million = await in_turn(ROUNDS, _side(few, medians["few"]), _side(many, medians["many"]), warm=2)
    return [
        Figure("claim p50, a thousand ready tasks", statistics.median(medians["few"]), "ms"),
        Figure("claim p50, a million ready tasks", statistics.median(medians["many"]), "ms"),
        Figure("claim p99, a thousand ready tasks", statistics.median(thousand), "ms"),
        Figure("claim p99, a million ready tasks", statistics.median(million), "ms"),
        at_most("p99 of a million : of a thousand", median_ratio(million, thousand), "×", 1.5),
    ]


def _side(connection: asyncpg.Connection, medians: list[float]) -> Side:
    async def p99() -> float:
        times = []
        for _ in range(CLAIMS):
            begun = perf_counter()
            [task] = await queue.claim(connection, 1, 1, AGENTS)
            times.append((perf_counter() - begun) * 1000)
            await queue.finish(connection, task.number, task.lease_token, "retry")
        medians.append(statistics.median(times))
        return percentile(times, 99)

    return p99
