"""What runs and reviews have taught: reads what has not been learned from yet, writes lessons and sightings of
their trouble.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from storage.queries.records import from_record


@dataclass(frozen=True, slots=True)
class Failure:
    """A check that failed in a run, and of which nothing is written down yet."""

    run: int
    round: int
    position: int
    task: int
    title: str
    project: str
    command: str
    output: str
    head: str | None


@dataclass(frozen=True, slots=True)
class Mend:
    """A trouble of a task whose later run passed all checks. ``said``: the agent's own last words of that run."""

    lesson: int
    failed_run: int
    head: str | None
    mended_head: str | None
    base_commit: str | None
    said: str | None
    repository: str
    command: str | None
    error: str
    fix: str | None
    rule: str | None


@dataclass(frozen=True, slots=True)
class Request:
    """What a person said when they judged a change, whichever way, and of which nothing is written down yet."""

    review: int
    run: int
    task: int
    title: str
    project: str
    status: str
    note: str
    actor: str | None


async def failures(
    connection: asyncpg.Connection,
    *,
    task: int | None = None,
    project: str | None = None,
    since: datetime | None = None,
) -> list[Failure]:
    """Failed checks of runs that have ended, the oldest first. Served by gate_unlearned."""
    rows = await connection.fetch(
        """
        select r.number as run, g.round, g.position, r.task, b.title, r.project, g.command, g.output, r.head_commit as head
          from gate g join run r on r.number = g.run join task_body b on b.task = r.task
         where g.status = 'failed' and not g.learned and r.status not in ('starting', 'running', 'verifying')
           and ($1::bigint is null or r.task = $1) and ($2::text is null or r.project = $2)
           and ($3::timestamptz is null or g.at >= $3)
         order by r.number, g.round, g.position limit 1000
        """,
        task,
        project,
        since,
    )
    return [found for row in rows if (found := from_record(Failure, row))]


async def mark_learned(connection: asyncpg.Connection, failure: Failure) -> None:
    """Something was made of a failed check, or nothing can be: it is not looked at again."""
    await connection.execute(
        "update gate set learned = true where run = $1 and round = $2 and position = $3",
        failure.run,
        failure.round,
        failure.position,
    )


async def mark_read(connection: asyncpg.Connection, review: int) -> None:
    """Something was made of a person's words in a review, or nothing can be: they are not looked at again."""
    await connection.execute("update review set learned = true where number = $1", review)


async def mends(connection: asyncpg.Connection, *, task: int | None = None, project: str | None = None) -> list[Mend]:
    """Troubles whose task has passed all checks since. Served by sighting_open."""
    rows = await connection.fetch(
        """
        select s.lesson, s.run as failed_run, s.head, r.head_commit as mended_head, r.base_commit, p.path as repository,
               (select e.text from event e where e.run = r.number and e.kind = 'message' order by e.seq desc limit 1) as said,
               l.command, l.error, l.fix, l.rule
          from sighting s join lesson l on l.memory = s.lesson
          join lateral (select * from run r where r.task = s.task and r.number >= s.run and r.status = 'succeeded' and r.verdict = 'passed'
                         order by r.number limit 1) r on true
          join project p on p.id = r.project
         where s.worked is null and ($1::bigint is null or s.task = $1) and ($2::text is null or r.project = $2)
         order by s.run, s.lesson limit 1000
        """,
        task,
        project,
    )
    return [found for row in rows if (found := from_record(Mend, row))]


async def requests(
    connection: asyncpg.Connection,
    *,
    task: int | None = None,
    project: str | None = None,
    since: datetime | None = None,
) -> list[Request]:
    """Judgements of people with words of their own, the oldest first."""
    rows = await connection.fetch(
        """
        select v.number as review, v.run, v.task, b.title, t.project, v.status, v.note, v.actor
          from review v join task t on t.number = v.task join task_body b on b.task = v.task
         where v.status in ('changes_requested', 'rejected', 'approved', 'merged') and v.note <> '' and not v.engine_note and not v.learned
           and ($1::bigint is null or v.task = $1) and ($2::text is null or t.project = $2)
           and ($3::timestamptz is null or v.decided_at >= $3)
         order by v.number limit 1000
        """,
        task,
        project,
        since,
    )
    return [found for row in rows if (found := from_record(Request, row))]


async def lesson_by_signature(connection: asyncpg.Connection, corpus: int, digest: UUID) -> int | None:
    """The lesson about the same trouble, whatever its state; where another lesson has taken its place, that one."""
    number: int | None = await connection.fetchval(
        """
        with recursive chain as (
          select l.memory, 0 as depth from lesson l where l.corpus = $1 and l.signature = $2
          union all
          select l.memory, c.depth + 1 from chain c join memory m on m.number = c.memory and m.state = 'superseded'
            join lesson l on l.memory = m.superseded_by where c.depth < 20)
        select memory from chain order by depth desc limit 1
        """,
        corpus,
        digest,
    )
    return number


async def lesson_for_all(connection: asyncpg.Connection, digest: UUID) -> int | None:
    """The lesson about the same trouble that holds for all projects."""
    number: int | None = await connection.fetchval(
        """select l.memory from lesson l join memory m on m.number = l.memory join corpus c on c.id = l.corpus
            where c.project is null and l.signature = $1 and m.state = 'active'""",
        digest,
    )
    return number


async def lock_corpus(connection: asyncpg.Connection, corpus: int) -> None:
    """Let nobody else learn for this corpus until the end of the transaction, so that the same trouble is one
    lesson.
    """
    await connection.execute("select pg_advisory_xact_lock(1818324846, $1)", corpus)


async def saw(
    connection: asyncpg.Connection, lesson: int, run: int, task: int, head: str | None, *, worked: bool | None = None
) -> bool:
    """A run met the trouble of a lesson; False when that is written down already."""
    status = await connection.execute(
        """insert into sighting (lesson, run, task, head, worked) values ($1, $2, $3, $4, $5) on conflict (lesson, run) do nothing""",
        lesson,
        run,
        task,
        head,
        worked,
    )
    return bool(status == "INSERT 0 1")


async def mended(connection: asyncpg.Connection, lesson: int, run: int, fix: str | None, head: str | None) -> None:
    """What became of a trouble."""
    await connection.execute(
        "update sighting set worked = true, fix = $3, mended_head = $4 where lesson = $1 and run = $2",
        lesson,
        run,
        fix,
        head,
    )


async def close_decisions(
    connection: asyncpg.Connection, project: str | None = None, task: int | None = None
) -> list[int]:
    """Decisions made in tasks that are over get their outcome: success where the work was completed, failed where
    it was not; which. What was said so of a task that was tried again since is said anew.
    """
    rows = await connection.fetch(
        """update decision d set outcome = case when t.status = 'completed' then 'success' else 'failed' end, resolved_at = clock_timestamp(),
                  outcome_note = 'task #' || t.number || ' is ' || t.status
             from task t where t.number = d.task and t.status in ('completed', 'failed')
              and (d.outcome is null or d.outcome_note in ('task #' || t.number || ' is completed', 'task #' || t.number || ' is failed')
                                        and d.outcome_note <> 'task #' || t.number || ' is ' || t.status)
              and ($1::text is null or t.project = $1) and ($2::bigint is null or d.task = $2) returning d.memory""",
        project,
        task,
    )
    return [row["memory"] for row in rows]


@dataclass(frozen=True, slots=True)
class Promotable:
    """A lesson or a pattern with its record, and by what it is known: the signature of its error, or its template."""

    memory: int
    project: str | None
    state: str
    uses: int
    wins: int
    signature: UUID | None
    template: str | None


async def promotable(connection: asyncpg.Connection) -> list[Promotable]:
    """Lessons and patterns that hold in a project, and all that hold for all or were ever proposed to."""
    rows = await connection.fetch(
        """select m.number as memory, c.project, m.state, m.uses, m.wins, l.signature, p.template
             from memory m join corpus c on c.id = m.corpus left join lesson l on l.memory = m.number left join pattern p on p.memory = m.number
            where m.kind in ('pattern', 'lesson') and (m.state = 'active' or c.project is null) and coalesce(l.memory, p.memory) is not null
            order by m.number"""
    )
    return [found for row in rows if (found := from_record(Promotable, row))]


@dataclass(frozen=True, slots=True)
class Record:
    """How runs ended that were told of an item; ``projects``: its own, or those whose runs were told."""

    memory: int
    kind: str
    origin: str
    projects: tuple[str, ...]
    uses: int
    wins: int


async def records(connection: asyncpg.Connection, kinds: Sequence[str], uses: int) -> list[Record]:
    """Items that hold, of which so many runs were told at least."""
    rows = await connection.fetch(
        """select m.number as memory, m.kind::text as kind, m.origin, m.uses, m.wins,
                  case when c.project is not null then array[c.project]
                       else array(select distinct r.project from injection i join run r on r.number = i.run where i.memory = m.number) end as projects
             from memory m join corpus c on c.id = m.corpus
            where m.kind::text = any($1) and m.state = 'active' and m.origin <> 'file' and m.uses >= $2 order by m.number""",
        list(kinds),
        uses,
    )
    return [Record(**{**dict(row), "projects": tuple(row["projects"])}) for row in rows]


async def free_slug(connection: asyncpg.Connection, slug: str) -> str:
    """A name of a pattern that is not taken: this one, or this one with a number."""
    taken = {
        row["slug"] for row in await connection.fetch("select slug from pattern where starts_with(slug, $1)", slug)
    }
    names = (slug, *(f"{slug}-{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)


@dataclass(frozen=True, slots=True)
class SteadyRule:
    """A lesson's rule, of which trouble was met in so many tasks."""

    memory: int
    project: str | None
    rule: str
    tasks: int


async def steady_rules(connection: asyncpg.Connection, tasks: int) -> list[SteadyRule]:
    """Rules of lessons that worked, whose trouble was met in so many tasks at least and that have proved no harm."""
    rows = await connection.fetch(
        """select m.number as memory, c.project, l.rule, count(distinct s.task) as tasks
             from lesson l join memory m on m.number = l.memory join corpus c on c.id = m.corpus join sighting s on s.lesson = l.memory
            where m.state = 'active' and l.worked and length(l.rule) > 0 and knowledge_worth(m.uses, m.wins) >= 0.5
            group by m.number, c.project, l.rule having count(distinct s.task) >= $1 order by m.number""",
        tasks,
    )
    return [found for row in rows if (found := from_record(SteadyRule, row))]


TEMPLATED_RULE = "Before you finish, see that %"
TEMPLATED_USE = "How a file in `%"
"""How the words of the templates begin, which a model may replace."""


@dataclass(frozen=True, slots=True)
class Templated:
    """An item that a template has worded, with all that it says."""

    memory: int
    project: str | None
    text: str


async def templated_rules(connection: asyncpg.Connection, limit: int) -> list[Templated]:
    """Lessons whose rule a template has worded, the latest first."""
    rows = await connection.fetch(
        """select m.number as memory, c.project, m.content as text from lesson l join memory m on m.number = l.memory
             join corpus c on c.id = m.corpus
            where m.state in ('active', 'proposed') and l.worked and l.rule like $1 order by m.number desc limit $2""",
        TEMPLATED_RULE,
        limit,
    )
    return [Templated(**row) for row in rows]


async def still_templated(connection: asyncpg.Connection, memory: int) -> bool:
    """Whether a lesson's rule is a template's still."""
    found = await connection.fetchval("select 1 from lesson where memory = $1 and rule like $2", memory, TEMPLATED_RULE)
    return found is not None


async def templated_patterns(connection: asyncpg.Connection, limit: int) -> list[Templated]:
    """Proposed patterns that only a template describes, the latest first."""
    rows = await connection.fetch(
        """select m.number as memory, c.project, m.content as text from pattern p join memory m on m.number = p.memory
             join corpus c on c.id = m.corpus
            where m.state = 'proposed' and p.description like $1 order by m.number desc limit $2""",
        TEMPLATED_USE,
        limit,
    )
    return [Templated(**row) for row in rows]


async def standard_before(connection: asyncpg.Connection, project: str | None, title: str, content: str) -> bool:
    """Whether there is or was such a standard, in whatever state."""
    found = await connection.fetchval(
        """select 1 from memory m join corpus c on c.id = m.corpus where c.project is not distinct from $1 and m.kind = 'standard'
            and m.hash = md5($2 || e'\n' || $3)::uuid limit 1""",
        project,
        title,
        content,
    )
    return found is not None


@dataclass(frozen=True, slots=True)
class Made:
    """What a lesson was made a standard as. ``since``: when it came to say what it says."""

    number: int
    state: str
    replaces: int | None
    since: datetime


async def standard_of_lesson(connection: asyncpg.Connection, project: str | None, lesson: int) -> Made | None:
    """The standard that consolidation has made of a lesson, the latest, whatever became of it."""
    row = await connection.fetchrow(
        """select m.number, m.state, m.replaces, m.updated_at as since from memory m join corpus c on c.id = m.corpus
            where c.project is not distinct from $1 and m.kind = 'standard' and m.origin = 'consolidation'
              and m.source like 'lesson ' || $2::int || ', %' order by m.number desc limit 1""",
        project,
        lesson,
    )
    return from_record(Made, row)


async def reworded_since(connection: asyncpg.Connection, lesson: int, since: datetime) -> bool:
    """Whether the rule of a lesson was changed since. Served by the index audit_key."""
    found = await connection.fetchval(
        "select 1 from audit where kind = 'lesson' and key = $1::int::text and action = 'update' and after ? 'rule' and at > $2 limit 1",
        lesson,
        since,
    )
    return found is not None


async def orphaned_standards(connection: asyncpg.Connection) -> list[tuple[int, int, str]]:
    """Standards made of a lesson that holds no more, for its record or by a person's word: (standard, lesson, its state)."""
    rows = await connection.fetch(
        r"""select m.number, l.number as lesson, l.state from memory m
             join memory l on l.number = substring(m.source from '^lesson (\d{1,9}),')::int and l.kind = 'lesson' and l.corpus = m.corpus
            where m.kind = 'standard' and m.origin = 'consolidation' and m.state = 'active' and l.state in ('deprecated', 'deleted')
            order by m.number"""
    )
    return [(row["number"], row["lesson"], row["state"]) for row in rows]


async def common_errors(connection: asyncpg.Connection, project: str | None = None) -> Sequence[Mapping[str, Any]]:
    """The errors that are met most."""
    return [
        dict(row)
        for row in await connection.fetch(
            "select * from common_errors where $1::text is null or project_id = $1 limit 100", project
        )
    ]
