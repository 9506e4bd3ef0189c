"""What the gateway adds to a call, how many streams it carries, how many calls it meters, and in how much memory.

Latencies are against the same client talking to the stand-in provider directly, in the same run. All four (client,
gateway, provider, Postgres with durable commits) share the machine.
"""

import asyncio
import contextlib
import time

from bench.framework import Environment, Figure, at_least, at_most, in_turn, percentile
from bench.gateway_world import Client, Seen, World, world

LITELLM = 58.0
"""Calls per second of the LiteLLM proxy without a database (57–60), measured on such a machine."""

ROUNDS = 3

SPREAD = 1.0
"""Seconds within which a hundred streams begin."""

STREAMS, PARTS = 100, 500

LATE = 1000.0
"""Milliseconds on its way after which a part is not in time."""


async def run(env: Environment) -> list[Figure]:
    """Latency with one stream and a hundred, the load that it carries, calls per second."""
    async with env.database() as dsn, world(env, dsn) as place:
        figures = await _latency(place, 1) + await _latency(place, 100)
        figures += await _carry(place)
        figures += await _calls(place)
        figures.append(at_most("memory after all of it", place.process.memory_info().rss / 2**20, "MB", 120))
    return figures


async def _streams(clients: list[Client], each: int, parts: int, spread: float) -> Seen:
    """``each`` streams of each client, which begin one after the other within ``spread`` seconds."""
    seen = Seen()

    async def one(client: Client, number: int) -> None:
        await asyncio.sleep(number * spread / len(clients))
        for _ in range(each):
            await client.stream(seen, parts, 0.02)

    await asyncio.gather(*(one(client, number) for number, client in enumerate(clients)))
    return seen


async def _latency(place: World, count: int) -> list[Figure]:
    """``count`` streams at a time, of parts every 20 ms; the sides by turns."""
    direct = [await place.direct().open() for _ in range(count)]
    through = [await place.through().open() for _ in range(count)]
    near, far = Seen(), Seen()

    def side(clients: list[Client], into: Seen) -> "asyncio.Task[float]":
        async def measure() -> float:
            got = await _streams(clients, 30 if count == 1 else 2, 10 if count == 1 else 25, 0.5)
            into.first += got.first
            into.parts += got.parts
            return 0.0

        return asyncio.create_task(measure())

    await _streams(through, 2, 5, 0.5)
    await in_turn(ROUNDS, lambda: side(direct, near), lambda: side(through, far), warm=0)
    for client in direct + through:
        client.close()
    middle, tail = (3, 10) if count == 1 else (8, 40)
    figures = []
    for name, ours, theirs in (("first byte", far.first, near.first), ("each part", far.parts, near.parts)):
        for percent, bound in ((50, middle), (99, tail)):
            added = percentile(ours, percent) - percentile(theirs, percent)
            figures.append(at_most(f"added to {name}, p{percent}, {count} at a time", added, "ms", bound))
    return figures


async def _carry(place: World) -> list[Figure]:
    """A hundred streams of 50 parts a second for ten seconds, all under way at once. A stream is carried when every part
    of it has arrived, and none later than its provider's pace by more than a second.
    """
    clients = [await place.through().open() for _ in range(STREAMS)]
    before, began = place.process.cpu_times(), time.monotonic()
    seen = await asyncio.gather(*(_carried(client, n) for n, client in enumerate(clients)))
    seconds, after = time.monotonic() - began, place.process.cpu_times()
    for client in clients:
        client.close()
    core = (after.user + after.system - before.user - before.system) / seconds
    arrived = sum(len(stream.parts) for stream in seen)
    whole = sum(len(stream.parts) == PARTS and max(stream.parts) < LATE for stream in seen)
    return [
        at_least("streams of 50 parts a second, every part in time", whole, "", STREAMS),
        at_most("parts lost of them", STREAMS * PARTS - arrived, "", 0),
        at_most("of a core, for these hundred", core, "", 1.0),
        at_least("so many streams would fill a core", whole / core, "", 100),
    ]


async def _carried(client: Client, number: int) -> Seen:
    """One of the streams; what it has seen, also where it broke off."""
    seen = Seen()
    await asyncio.sleep(number * SPREAD / STREAMS)
    with contextlib.suppress(RuntimeError, ConnectionError):
        await client.stream(seen, PARTS, 0.02)
    return seen


async def _calls(place: World, seconds: float = 6.0, count: int = 16) -> list[Figure]:
    """Calls one after the other on 16 connections, each reserved and settled."""
    clients = [await place.through().open() for _ in range(count)]
    done = 0

    async def one(client: Client) -> None:
        nonlocal done
        while time.monotonic() < until:
            await client.whole()
            done += 1

    until = time.monotonic() + 1.0
    await asyncio.gather(*(one(client) for client in clients))
    done, until = 0, time.monotonic() + seconds
    await asyncio.gather(*(one(client) for client in clients))
    rate = done / seconds
    for client in clients:
        client.close()
    return [
        Figure("calls per second, reserved and settled, 16 clients", rate, "/s"),
        at_least("times the LiteLLM proxy without a database", rate / LITELLM, "×", 5),
    ]
