"""The race: many claimers, projects and agents with limits, dependencies, every outcome, and zombies that report late.

What is watched: a constraint refuses a project above its limit at once; a sampler compares limits with rows in one
snapshot; the replies to the claimers show double claims; and the audit trail is replayed afterwards.
"""

import asyncio
import random
from collections import Counter, defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import asyncpg
from queue_kit import World, add, connected

from storage.queries import queue
from storage.queries.queue import Claimed, Outcome

ENDS = ("completed", "failed", "cancelled", "review")
LIMITED = {"one": 1, "three": 3, "seven": 7}
FREE = ("free", "other")
AGENTS = (*FREE, *LIMITED)


@dataclass(slots=True)
class Race:
    """A race to run, and what was seen in it."""

    tasks: int
    claimers: int = 16
    projects: int = 50
    seed: int = 1
    constraint: bool = True
    """Whether the database itself refuses a project above its limit; else it is left to the sampler and the trail."""
    violations: list[str] = field(default_factory=list)
    claims: Counter[tuple[int, int]] = field(default_factory=Counter)
    batches: dict[tuple[int, int], int] = field(default_factory=dict)
    """Which tasks (number, token) were claimed together: they are one moment of the trail."""
    ends: Counter[int] = field(default_factory=Counter)
    plain: set[int] = field(default_factory=set)
    """Tasks that could start from the beginning."""
    samples: int = 0
    late: list[tuple[int, int]] = field(default_factory=list)
    """Claims that are over, to be reported once more."""
    over: bool = False

    def wrong(self, what: str) -> None:
        """Note a violation; the race is lost and need not go on."""
        self.violations.append(what)
        self.over = True


async def run(world: World, race: Race) -> Race:
    """Prepare, race, check the books, and replay the audit trail."""
    await _prepare(world, race)
    engine = await world.register()
    async with AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(connected(world.dsn)) for _ in range(race.claimers + 1)]
        async with asyncio.TaskGroup() as group:
            group.create_task(_sample(lines[0], race))
            claimers = [
                group.create_task(_claimer(line, race, engine, random.Random(race.seed * 1000 + n)))
                for n, line in enumerate(lines[1:])
            ]
            await asyncio.gather(*claimers)
            race.over = True
    race.violations += [f"{what}: {n}" for what, n in (await world.wrong()).items()]
    await _replay(world.owner, race)
    return race


async def _prepare(world: World, race: Race) -> None:
    """Projects with limits of 1 to 5, agents with and without one, and all tasks; a tenth of them wait for others."""
    for name in FREE:
        await world.agent(name)
    for name, limit in LIMITED.items():
        await world.agent(name, limit)
    for n in range(race.projects):
        await world.project(f"p{n}", limit=1 + n % 5)
    if race.constraint:
        await world.owner.execute("alter table load add constraint within_limit check (running <= max_parallel)")
    chance = random.Random(race.seed)
    numbers: list[int] = []
    while len(numbers) < race.tasks:
        batch = [
            {
                "project": f"p{chance.randrange(race.projects)}",
                "title": "work",
                "priority": chance.randint(1, 5),
                "agent": chance.choice(AGENTS) if chance.random() < 0.3 else "",
                "max_attempts": 50,
                "after": chance.sample(numbers, 2) if numbers and chance.random() < 0.1 else [],
            }
            for _ in range(min(500, race.tasks - len(numbers)))
        ]
        added = await add(world.engine, batch)
        race.plain.update(number for number, task in zip(added, batch, strict=True) if not task["after"])
        numbers += added
    await world.owner.execute("analyze")


async def _claimer(connection: asyncpg.Connection, race: Race, engine: int, chance: random.Random) -> None:
    idle = 0
    while not race.over and idle < 100:
        claimed: list[Claimed] = []
        try:
            claimed = await _claim(connection, race, engine, chance)
            for task in claimed:
                await _finish(connection, race, task, chance)
            if race.late and chance.random() < 0.3:
                await _report_late(connection, race, chance)
        except asyncpg.CheckViolationError as error:
            race.wrong(str(error))
        if claimed:
            idle = 0
            continue
        if not await connection.fetchval(
            "select exists (select 1 from task where status in ('pending', 'in_progress'))"
        ):
            return
        idle += 1
        await asyncio.sleep(0.02)


async def _claim(connection: asyncpg.Connection, race: Race, engine: int, chance: random.Random) -> list[Claimed]:
    most = chance.choice((1, 1, 2, 4))
    claimed = await queue.claim(connection, engine, most, chance.sample(AGENTS, len(AGENTS)))
    batch = len(race.claims)
    for task in claimed:
        race.batches[task.number, task.lease_token] = batch
        race.claims[task.number, task.lease_token] += 1
        if race.claims[task.number, task.lease_token] > 1:
            race.wrong(f"#{task.number} was given out twice with token {task.lease_token}")
    if len(claimed) > most:
        race.wrong(f"{len(claimed)} tasks were given where {most} were asked for")
    return claimed


async def _finish(connection: asyncpg.Connection, race: Race, task: Claimed, chance: random.Random) -> None:
    outcomes: tuple[Outcome, ...] = ("completed", "retry", "failed", "cancelled", "review")
    [outcome] = chance.choices(outcomes, (88, 8, 1, 1, 2))
    status = await queue.finish(connection, task.number, task.lease_token, outcome, reason="the race")
    if status is None:
        race.wrong(f"the rightful end of #{task.number} was refused")
    elif status in ENDS:
        race.ends[task.number] += 1
    if outcome == "retry":
        race.late.append((task.number, task.lease_token))


async def _report_late(connection: asyncpg.Connection, race: Race, chance: random.Random) -> None:
    """A zombie says that a task of his is done, which is somebody else's by now or waits for one."""
    number, token = chance.choice(race.late[-20:])
    if await queue.finish(connection, number, token, "completed") is not None:
        race.wrong(f"a late report about #{number} was believed")


async def _sample(connection: asyncpg.Connection, race: Race) -> None:
    while not race.over:
        rows = await connection.fetch(
            """
            select 'project ' || p.project as what, p.max_parallel as most, t.n from load p
              join (select project, count(*) as n from task where status = 'in_progress' group by 1) t using (project)
             where t.n > p.max_parallel
            union all
            select 'agent ' || a.name, a.max_parallel, s.n from agent a
              join (select agent, count(*) as n from agent_slot where task is not null group by 1) s on s.agent = a.name
             where s.n > a.max_parallel
            """
        )
        race.samples += 1
        for row in rows:
            race.wrong(f"{row['what']} runs {row['n']}, its limit is {row['most']}")
        await asyncio.sleep(0.005)


async def _replay(owner: asyncpg.Connection, race: Race) -> None:
    """Read the audit trail from the beginning.

    A claim is written after its project's row was locked, and an end before that row is let go: at no moment of the
    trail may more be held than the limit. Claims of one lane stand in it in the order in which they were made: those of
    tasks that were ready from the beginning, taken for the first time, must be sorted by priority and number.
    """
    limits = dict(await owner.fetch("select project, max_parallel from load"))
    tasks = {r["number"]: r for r in await owner.fetch("select number, project, agent, priority from task")}
    held: Counter[str] = Counter()
    tokens: Counter[tuple[int, str]] = Counter()
    ends: Counter[int] = Counter()
    lanes: defaultdict[tuple[str, str], dict[int, list[tuple[int, int]]]] = defaultdict(dict)
    seen: set[int] = set()
    for row in await owner.fetch(
        """
        select key::bigint as number, before ->> 'status' as before, after ->> 'status' as after,
               after ->> 'token' as token
          from audit where kind = 'task' and action = 'update' and after ? 'status' order by at, id
        """
    ):
        number, task = row["number"], tasks[row["number"]]
        if row["after"] == "in_progress":
            tokens[number, row["token"]] += 1
            held[task["project"]] += 1
            if held[task["project"]] > limits[task["project"]]:
                race.violations.append(f"{task['project']} held {held[task['project']]} in the trail")
            if number in race.plain and number not in seen:
                lane = lanes[task["project"], task["agent"]]
                lane.setdefault(race.batches[number, int(row["token"])], []).append((-task["priority"], number))
            seen.add(number)
        elif row["before"] == "in_progress":
            held[task["project"]] -= 1
        if row["after"] in ENDS:
            ends[number] += 1
    if any(n > 1 for n in tokens.values()):
        race.violations.append("a token was given out twice in the trail")
    if any(n > 1 for n in ends.values()):
        race.violations.append("a task ended twice in the trail")
    for name, batches in lanes.items():
        taken = [place for batch in batches.values() for place in sorted(batch)]
        if taken != sorted(taken):
            race.violations.append(f"lane {name} was worked on out of order")
