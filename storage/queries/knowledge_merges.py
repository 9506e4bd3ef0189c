"""Merges of the crew's own work, as knowledge sees them: each is looked at once."""

from dataclasses import dataclass

import asyncpg

from storage.queries.records import from_record


@dataclass(frozen=True, slots=True)
class Merge:
    """Work that has landed. ``base_commit`` to ``head_commit`` is what the run changed; in ``commit`` it stands on the base."""

    run: int
    task: int
    project: str
    repository: str
    base_commit: str
    head_commit: str
    commit: str


async def unlearned(
    connection: asyncpg.Connection, *, project: str | None = None, task: int | None = None, days: int = 30
) -> list[Merge]:
    """Merges of the last days that were not looked at yet, the oldest first: of each task the last run that passed its checks."""
    rows = await connection.fetch(
        """
        select r.number as run, t.number as task, t.project, p.path as repository, r.base_commit, r.head_commit,
               coalesce(v.merge_commit, r.head_commit) as commit
          from task t join project p on p.id = t.project
          join lateral (select * from run r where r.task = t.number and r.head_commit is not null and r.base_commit is not null
                         order by r.number desc limit 1) r on true
          left join lateral (select merge_commit from review where task = t.number and status = 'merged' order by number desc limit 1) v on true
         where t.status = 'completed' and t.finished_at > clock_timestamp() - make_interval(days => $3)
           and ($1::text is null or t.project = $1) and ($2::bigint is null or t.number = $2)
           and not exists (select 1 from learned_merge l where l.run = r.number)
         order by r.number limit 200
        """,
        project,
        task,
        days,
    )
    return [found for row in rows if (found := from_record(Merge, row))]


async def mark(connection: asyncpg.Connection, run: int) -> bool:
    """Write down that a run's merge was looked at; False when it was before."""
    status = await connection.execute("insert into learned_merge (run) values ($1) on conflict do nothing", run)
    return bool(status == "INSERT 0 1")
