"""What deleted runs leave behind: their events, which no foreign key takes along, so that a delete never waits for a log.

They go in pieces, each a statement of its own, so that nobody waits for a long log either.
"""

import asyncpg

PIECE = 5_000
"""Numbers of events that one statement deletes."""


async def runs_left_behind(connection: asyncpg.Connection) -> list[int]:
    """The numbers of runs that have events and no row any more.

    Steps from run to run along the index event_run: a run costs one look, however many events it has.
    """
    rows = await connection.fetch(
        """
        with recursive seen (run) as (
          select min(run) from event
          union all
          select (select e.run from event e where e.run > s.run order by e.run limit 1) from seen s where s.run is not null)
        select s.run from seen s where s.run is not null and not exists (select 1 from run r where r.number = s.run)
        """
    )
    return [row["run"] for row in rows]


async def delete_events(connection: asyncpg.Connection, run: int) -> None:
    """Delete all events of a run, the first ones first. Served by the index event_run."""
    first = "select seq from event where run = $1 order by seq limit 1"
    while (start := await connection.fetchval(first, run)) is not None:
        await connection.execute("delete from event where run = $1 and seq < $2", run, start + PIECE)
