"""A process that shows events: it listens for the bell and reads what is new. Prints one JSON object at its end.

``python -P -m bench.listener DSN EVENTS``: until so many events have been seen. Lines that hold a time (monotonic, in
nanoseconds) are asked how long they were on their way.
"""

import asyncio
import json
import sys
import time

import asyncpg

NEW = """
select e.run, e.seq, e.text from run r join event e on e.run = r.number and e.seq > coalesce(($1::jsonb ->> r.number::text)::int, 0)
 where r.number = any($2::bigint[]) and e.kind = 'output' order by e.run, e.seq
"""


async def listen(dsn: str, wanted: int) -> dict[str, object]:
    """Read until ``wanted`` lines have been seen."""
    connection = await asyncpg.connect(dsn, server_settings={"jit": "off"})
    rung: set[int] = set()
    bell = asyncio.Event()

    def hear(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        rung.update(int(topic[4:]) for topic in str(payload).split() if topic.startswith("run:"))
        bell.set()

    await connection.add_listener("qd", hear)
    print("ready", flush=True)
    last: dict[int, int] = {}
    seen, first, lags = 0, 0.0, []
    while seen < wanted:
        await bell.wait()
        bell.clear()
        runs = list(rung)
        rung.clear()
        rows = await connection.fetch(NEW, json.dumps({str(run): last.get(run, 0) for run in runs}), runs)
        now = time.monotonic_ns()
        for run, seq, text in rows:
            last[run] = seq
            if text.isdigit():
                lags.append((now - int(text)) / 1e6)
        seen += len(rows)
        if rows and not first:
            first = now / 1e9
    await connection.close()
    return {"seen": seen, "first": first, "last": now / 1e9, "lags": lags}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(listen(sys.argv[1], int(sys.argv[2])))))
