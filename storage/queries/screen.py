"""What the screen asks of the database that no command answers: orders of tasks, what needs a person, the newest events of all runs.

Everything here only reads. Orders are fetched as plain numbers, so that a list of a hundred thousand tasks is one array; details are looked up by
primary key for what is seen.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import asyncpg

from storage.queries.patterns import literal, regular
from storage.queries.permissions import rule_for

Order = Literal["work", "newest", "priority", "project", "status", "cost", "updated", "title"]

_RANK = """(case t.status when 'in_progress' then 0 when 'review' then 1 when 'waiting' then 2 when 'pending' then 3 when 'blocked' then 4
                  when 'failed' then 5 else 6 end::bigint << 56)
              + case when t.finished_at is null then ((9 - t.priority)::bigint << 52) + t.number else -(date_part('epoch', t.finished_at) * 1e5)::bigint end"""
"""The order of work as one whole number, which sorts three times as fast as its parts: the state; then what is unfinished by priority and number, what is finished
the newest first."""

_WORDS = "'#' || t.number || ' ' || b.title || ' ' || t.project || ' ' || t.agent"
_CELLS = f"{_WORDS} || e'\\n' || b.title || e'\\n' || t.project || e'\\n' || t.agent"
"""The words in one line, and each cell in one of its own: its edges are those of a line."""
_AGENT = "coalesce(nullif(t.agent, ''), (select r.agent from run r where r.task = t.number order by attempt desc limit 1), '')"
_FIELDS: Mapping[str, tuple[str, str]] = {
    "project": ("t.project ilike any({}::text[])", "{}%"), "agent": (f"{_AGENT} ilike any({{}}::text[])", "{}%"),
    "reason": ("coalesce(b.reason, '') ilike any({}::text[])", "%{}%"),
}  # fmt: skip
"""Field of a search → its condition, and what stands for a value in it."""

_ORDERS: dict[str, str] = {
    "work": f"{_RANK}, t.number",
    "newest": "t.number desc",
    "priority": "t.priority desc, t.number",
    "project": "t.project, t.number",
    "status": "t.status, t.number",
    "cost": "(select sum(r.cost_usd) from run r where r.task = t.number) desc nulls last, t.number",
    "updated": "t.updated_at desc, t.number",
    "title": "b.title, t.number",
}


@dataclass(frozen=True, slots=True)
class Term:
    """One field of a search: ``project`` and ``agent`` begin with a value, or are it where it ends with ``$``; ``reason`` holds it, ``status`` is it;
    in any case of letters.
    """

    field: Literal["project", "status", "agent", "reason"]
    values: tuple[str, ...]
    inverse: bool = False


@dataclass(frozen=True, slots=True)
class TaskSearch:
    """Which tasks, and in which order. ``pattern``: a regular expression as Python writes it, in any case of letters, on number, title, project and agent;
    ``^`` and ``$`` are the edges of each of them and of all in one line.
    """

    terms: tuple[Term, ...] = ()
    pattern: str | None = None
    inverse: bool = False
    order: Order = "work"
    descending: bool = False


FAILED_MOST = 500
"""Failed tasks that are told as needs."""
BLOCKS_MOST = 500
"""Tasks below a need that are looked at for how many it blocks: beyond it the order of needs gains nothing, and a chain of thousands would be walked for
each."""


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that waits for a person. ``blocks``: tasks that cannot start, or have failed, for want of it; see :data:`BLOCKS_MOST`."""

    kind: str
    """``question, approval, review, conflict, failed, waiting, budget, stalled, paused, engine``."""
    key: str
    task: int | None
    run: str | None
    project: str | None
    priority: int
    title: str
    text: str
    options: tuple[str, ...]
    at: datetime
    blocks: int
    state: str = ""
    """Of the task."""
    agent: str | None = None
    """Who works on it, or did."""
    rule: str | None = None
    """What an approval would allow for good; see :mod:`storage.queries.permissions`."""

    @property
    def weight(self) -> int:
        """What it blocks × priority, itself included."""
        return (self.blocks + 1) * self.priority


@dataclass(frozen=True, slots=True)
class AtStake:
    """What goes with some tasks. Costs in USD."""

    working: tuple[str, ...]
    """The runs that are at work, by name."""
    files: int
    insertions: int
    deletions: int
    """What those have changed so far, as it was counted last."""
    cost: Decimal
    """What those have cost so far."""
    runs: int
    """All runs, ended ones too."""
    events: int
    waiting: int
    """Tasks that wait for one of them, directly or through others."""


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """One event of any run, with whose it is."""

    run: int
    seq: int
    at: datetime
    kind: str
    text: str
    task: int
    attempt: int
    project: str
    agent: str
    state: str
    """Of the task."""
    live: bool
    """Whether the run is at work."""


@dataclass(frozen=True, slots=True)
class Account:
    """The book of one budget in its present period; amounts in the unit of the budget, dollars as USD."""

    scope: str
    key: str
    unit: str
    period: str
    spent: Decimal
    reserved: Decimal
    hard: Decimal | None
    starts: datetime
    ends: datetime


async def task_numbers(connection: asyncpg.Connection, wanted: TaskSearch) -> tuple[int, ...]:
    """The numbers of all tasks that a search lets through, in its order. Raises asyncpg's error for a pattern that is none.

    Reads the whole table ``task`` once, which holds no texts, and sorts it in memory: about 30 ms for 100,000 tasks; with a pattern the titles too,
    about 100 ms. Nothing but numbers comes back, so that what is shown can be anywhere in the order.
    """
    conditions, values = ["true"], []

    def where(condition: str, value: Any) -> None:
        values.append(value)
        conditions.append(condition.format(f"${len(values)}"))

    for term in wanted.terms:
        sense = "not" if term.inverse else ""
        if term.field == "status":
            where(f"{sense} (t.status = any({{}}::text[]::task_status[]))", list(term.values))
        else:
            condition, shape = _FIELDS[term.field]
            where(f"{sense} ({condition})", [_like(shape, value) for value in term.values])
    if wanted.pattern is not None:
        sense = "not" if wanted.inverse else ""
        if re.search(r"[\\.^$*+?{}\[\]|()_%]", wanted.pattern):
            where(f"{sense} ({_CELLS} ~* {{}})", f"(?n){regular(wanted.pattern)}")
        else:  # no sign of a regular expression in it: half the time
            where(f"{sense} (lower({_WORDS}) like lower({{}}))", f"%{wanted.pattern}%")
    texts = (
        wanted.pattern is not None or wanted.order == "title" or any(term.field == "reason" for term in wanted.terms)
    )
    body = "join task_body b on b.task = t.number" if texts else ""
    await connection.execute("set local work_mem = '32MB'")
    numbers: list[int] | None = await connection.fetchval(
        f"select array(select t.number from task t {body} where {' and '.join(conditions)} order by {_ORDERS[wanted.order]})",  # noqa: S608 - all values are bound
        *values,
    )
    found = tuple(numbers or ())
    return found[::-1] if wanted.descending else found


@dataclass(frozen=True, slots=True)
class Worker:
    """Who worked on a task last. ``live``: whether that run is at work; ``paused``: whether a person holds it."""

    agent: str
    live: bool
    paused: bool


_HELD = """(r.status in ('starting', 'running', 'verifying') and coalesce(
        (select i.kind = 'pause' from run_input i where i.run = r.number and i.kind in ('pause', 'resume') order by i.seq desc limit 1), false))"""
"""Whether a person holds the run ``r``: the last word about that was to pause. Served by the primary key of run_input, read backwards."""


async def workers(connection: asyncpg.Connection, numbers: Sequence[int]) -> dict[int, Worker]:
    """Who worked on these tasks last; without those that nobody has begun. Served by the key (task, attempt)."""
    rows = await connection.fetch(
        f"""select distinct on (r.task) r.task, r.agent, r.status in ('starting', 'running', 'verifying') as live, {_HELD} as paused
              from run r where r.task = any($1) order by r.task, r.attempt desc""",  # noqa: S608 - no value is in it
        list(numbers),
    )
    return {row["task"]: Worker(row["agent"], row["live"], row["paused"]) for row in rows}


async def needs(
    connection: asyncpg.Connection, now: datetime, *, stalled_seconds: float, failed_days: float
) -> tuple[Need, ...]:
    """What waits for a person, the most urgent first: by what it blocks × priority, then by age.

    A task that failed because one that it depends on did is no need of its own: it counts among what that one blocks. Of the failed the latest
    :data:`FAILED_MOST` are told. Served by question_open, review_open, review_run, task_status, run_live, task_after_child and the primary keys of
    task_after and run_input. ``stalled_seconds``: a live
    run that was silent for so long is stalled, or paused where a person holds it; ``failed_days``: an older failure is history.
    """
    rows = await connection.fetch(_NEEDS, stalled_seconds, failed_days, now)
    found = [_need(dict(row)) for row in rows]
    return tuple(sorted(found, key=lambda need: (-need.weight, need.at, need.kind, need.key)))


_NEEDS = f"""
with base as (
  select case q.kind when 'permission' then 'approval' else 'question' end as kind, q.number::text as key, q.task, q.run, q.text, q.options, q.data, q.asked_at as at
    from question q where q.status = 'open'
  union all
  select 'review', v.task::text, v.task, v.run, format('%s file%s +%s −%s', r.files_changed, case when r.files_changed = 1 then '' else 's' end, r.insertions, r.deletions), '[]'::jsonb, '{{}}'::jsonb, v.created_at
    from review v join run r on r.number = v.run where v.status = 'open'
  union all
  select case when exists (select 1 from review v where v.task = t.number and v.status = 'conflict'
                               and v.run = (select max(r.number) from run r where r.task = t.number)) then 'conflict'
              when t.status = 'failed' then 'failed' when t.wait = 'budget' then 'budget' else 'waiting' end,
         t.number::text, t.number, (select max(r.number) from run r where r.task = t.number), coalesce(b.reason, ''), '[]'::jsonb, '{{}}'::jsonb,
         coalesce(t.finished_at, t.updated_at)
    from (
      (select * from task f where f.status = 'failed' and f.finished_at > $3::timestamptz - $2::float8 * interval '1 day'
          and not exists (select 1 from task_after d join task p on p.number = d.parent where d.child = f.number and p.status = 'failed')
        order by f.finished_at desc limit {FAILED_MOST})
      union all
      select * from task w where w.status = 'waiting' and w.wait in ('person', 'budget')
         and not exists (select 1 from question q where q.task = w.number and q.status = 'open')) t
    join task_body b on b.task = t.number
  union all
  select case when h.held then 'paused' else 'stalled' end, r.number::text, r.task, r.number,
         case when h.held then 'its processes are held until it is resumed' else 'the agent says nothing' end, '[]'::jsonb, '{{}}'::jsonb, l.at
    from run r cross join lateral (
      select coalesce((select v.at from event v where v.run = r.number order by v.seq desc limit 1), r.started_at) as at) l
    cross join lateral (select {_HELD} as held) h
   where r.status in ('starting', 'running') and l.at < $3::timestamptz - $1::float8 * interval '1 second'
     and not exists (select 1 from question q where q.run = r.number and q.status = 'open')),
blocked as (
  select o.root, n.n from (select distinct b.task as root from base b) o cross join lateral (
    with recursive below (child) as (
      select d.child from task_after d where d.parent = o.root
      union
      select d.child from below w join task_after d on d.parent = w.child)
    select count(*) as n from (select child from below limit {BLOCKS_MOST}) w join task t on t.number = w.child
     where t.status in ('blocked', 'failed')) n)
select b.kind, b.key, b.task, case when r.number is null then null else r.task || '.' || r.attempt end as run, t.project, t.priority, x.title,
       b.text, b.options, b.data, b.at, coalesce(k.n, 0) as blocks, t.status::text as state, coalesce(r.agent, nullif(t.agent, '')) as agent
  from base b join task t on t.number = b.task join task_body x on x.task = b.task
  left join run r on r.number = b.run left join blocked k on k.root = b.task
union all
select 'engine', e.name, null, null, null, 5, e.host, format('engine %s (pid %s) stopped answering', e.host, e.pid), '[]', '{{}}', e.lease_until,
       (select count(*) from task t where t.engine = e.id and t.status = 'in_progress'), '', null
  from engine e where e.state in ('running', 'draining') and e.lease_until < clock_timestamp()
"""  # noqa: S608 - no value is in it


def _need(row: dict[str, Any]) -> Need:
    asked = row.pop("data")
    rule = rule_for(asked) if row["kind"] == "approval" else None
    return Need(**{**row, "options": tuple(_label(option) for option in row["options"] or ()), "rule": rule})


async def at_stake(connection: asyncpg.Connection, numbers: Sequence[int]) -> AtStake:
    """What is lost with these tasks. Served by run's key (task, attempt) and task_after's primary key."""
    row = await connection.fetchrow(
        """
        with recursive below(child) as (
          select d.child from task_after d where d.parent = any($1)
          union select d.child from below w join task_after d on d.parent = w.child),
        mine as (select r.*, r.status in ('starting', 'running', 'verifying') as live from run r where r.task = any($1))
        select array(select task || '.' || attempt from mine where live order by task) as working,
               coalesce(sum(files_changed) filter (where live), 0) as files, coalesce(sum(insertions) filter (where live), 0) as insertions,
               coalesce(sum(deletions) filter (where live), 0) as deletions, coalesce(sum(cost_usd) filter (where live), 0) as cost,
               count(*) as runs, coalesce(sum(events), 0) as events,
               (select count(*) from below w join task t on t.number = w.child
                 where t.status = 'blocked' and t.number <> all($1)) as waiting
          from mine
        """,
        list(numbers),
    )
    assert row is not None
    return AtStake(**{**dict(row), "working": tuple(row["working"])})


async def newest_events(connection: asyncpg.Connection, limit: int) -> tuple[LiveEvent, ...]:
    """The newest events of the live runs, or of the last few when none is live; oldest first. Served by event_run, read backwards."""
    rows = await connection.fetch(
        """
        with shown as (
          (select number, task, attempt, project, agent, status from run where status in ('starting', 'running', 'verifying') order by number desc limit 50)
          union (select number, task, attempt, project, agent, status from run order by number desc limit 4))
        select r.number as run, v.seq, v.at, v.kind, left(v.text, 500) as text, r.task, r.attempt, r.project, r.agent, t.status::text as state,
               r.status in ('starting', 'running', 'verifying') as live
          from shown r cross join lateral (
            select * from event v where v.run = r.number and v.kind <> 'usage' order by v.seq desc limit $1) v
          join task t on t.number = r.task
         order by v.at desc, v.run desc, v.seq desc limit $1
        """,
        limit,
    )
    return tuple(LiveEvent(**row) for row in reversed(rows))


async def accounts(connection: asyncpg.Connection, now: datetime) -> tuple[Account, ...]:
    """The budgets in their present periods, services first."""
    rows = await connection.fetch(
        """
        select b.scope, a.key, a.unit, b.period, a.spent::numeric as spent, a.reserved::numeric as reserved, a.hard::numeric as hard, a.starts, a.ends
          from account a join budget b on b.id = a.budget
         where a.starts <= $1 and a.ends > $1
         order by array_position(array['service', 'day', 'project', 'agent', 'task'], b.scope), a.key limit 500
        """,
        now,
    )
    return tuple(Account(**_in_dollars(dict(row))) for row in rows)


async def charged(
    connection: asyncpg.Connection, day: datetime, month: datetime, without: Sequence[str]
) -> tuple[Decimal, Decimal]:
    """USD in the ledger since ``day``, and since ``month`` for services other than those. Served by the index charge_at."""
    row = await connection.fetchrow(
        """select coalesce(sum(cost_micro) filter (where at >= $1), 0)::numeric / 1000000 as today,
                  coalesce(sum(cost_micro) filter (where service is null or service <> all($3)), 0)::numeric / 1000000 as month
             from charge where status <> 'released' and at >= $2""",
        day,
        month,
        list(without),
    )
    return row["today"], row["month"]


def _like(shape: str, value: str) -> str:
    """What a field is compared with."""
    whole = value.endswith("$") and not shape.startswith("%")
    return literal(value[:-1]) if whole else shape.format(literal(value))


def _in_dollars(row: dict[str, Any]) -> dict[str, Any]:
    if row["unit"] == "usd":
        for name in ("spent", "reserved", "hard"):
            row[name] = None if row[name] is None else row[name] / 1_000_000
    return row


def _label(option: Any) -> str:
    return str(option.get("label", "")) if isinstance(option, dict) else str(option)
