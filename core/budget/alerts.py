"""Alerts: what a person should be told outside the screen, once each, until it has arrived.

Thresholds and exhausted budgets are noted by the ledger itself; bad forecasts and tasks that are out of line by
:func:`look`. The destinations (``apprise`` URLs, one per line: Telegram, Slack, e-mail, webhooks and a hundred more)
are the secret ``alerts.url``.
"""

import asyncio
import hashlib
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import asyncpg

from core.budget.outliers import line_of, why_out
from core.budget.outlook import foresee
from core.budget.rules import said
from core.secrets.store import SecretStore
from storage.database import Database, Principal
from storage.queries import budget, limits, spending

DESTINATIONS = "alerts.url"

SECONDS = 60.0
"""Longest time that a delivery may take."""

RECENT = 50
"""So many of the last tasks are looked at; each is told once."""


async def deliver(db: Database, who: Principal, store: SecretStore) -> int:
    """Tell every alert that is due to every destination; how many have arrived everywhere.

    A failure is shown with the alert and tried again, ever more slowly, at those destinations alone that have not taken
    it: each hears of it once.
    """
    async with db.transaction(who) as connection:
        due = await spending.take_alerts(connection)
    if not due:
        return 0
    urls = dict.fromkeys((await asyncio.to_thread(store.get, DESTINATIONS) or "").split())
    arrived = 0
    for alert in due:
        left = [url for url in urls if _mark(url) not in alert.told]
        took = await _send(left, f"Quarterdeck: {alert.kind}", alert.text) if left else []
        told = [*alert.told, *map(_mark, took)]
        missing = len(left) - len(took)
        async with db.transaction(who) as connection:
            if not urls:
                hint = f"no destination is set; `qd secret set {DESTINATIONS}`"
                await spending.undelivered(connection, alert.id, hint, 3600, told)
            elif missing:
                pause = min(30.0 * 2.0 ** min(alert.attempts, 8), 3600.0)
                failure = f"{missing} of {len(urls)} destinations did not take it"
                await spending.undelivered(connection, alert.id, failure, pause, told)
            else:
                await spending.delivered(connection, alert.id)
                arrived += 1
    return arrived


def _mark(url: str) -> str:
    """What is remembered of a destination: its address holds a password."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


async def look(connection: asyncpg.Connection, now: datetime | None = None) -> int:
    """Note budgets whose month or week will end beyond their limit, and tasks that are out of line; how many are new."""
    return await _forecasts(connection, now or datetime.now(UTC)) + await _outliers(connection)


async def _forecasts(connection: asyncpg.Connection, now: datetime) -> int:
    new = 0
    for row in await limits.list_budgets(connection):
        if row.key == "*" or row.period not in ("month", "week") or row.hard is None or row.spent >= row.hard:
            continue
        end = (await foresee(connection, row, now)).end
        if end and end.low > row.hard:
            low, high, limit = (said(row.unit, amount) for amount in (end.low, end.high, row.hard))
            whose = f"{row.scope} {row.key}".strip()
            text = f"{whose} will end its {row.period} between {low} and {high}; its budget is {limit}"
            new += await budget.add_alert(
                connection, "forecast", row.scope, row.key, text, period=row.starts, rule=row.id
            )
    return new


async def _outliers(connection: asyncpg.Connection) -> int:
    costs = await spending.task_costs(connection)
    new = 0
    for position in range(max(len(costs) - RECENT, 0), len(costs)):
        task = costs[position]
        reason = out_of_line(task, costs[:position])
        if reason:
            text = f"task #{task.task} is out of line: {reason}"
            new += await budget.add_alert(connection, "outlier", "task", str(task.task), text)
    return new


def out_of_line(task: spending.TaskCost, before: Sequence[spending.TaskCost]) -> str | None:
    """Why a task's cost is out of line among those before it: of its project and agent, else its project, else all."""
    for group in groups(task.project, task.agent, before):
        line = line_of(group[-200:])
        if line:
            return why_out(task.micro, line)
    return None


def groups(project: str, agent: str, before: Sequence[spending.TaskCost]) -> list[list[int]]:
    """The costs of tasks that are like it, the closest kind first."""
    own = [cost for cost in before if cost.project == project]
    return [
        [cost.micro for cost in own if cost.agent == agent],
        [cost.micro for cost in own],
        [cost.micro for cost in before],
    ]


async def _send(urls: Sequence[str], title: str, body: str) -> list[str]:
    """Who took it within the time that there is."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "core.budget.telling",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    took: list[str] = []
    try:
        async with asyncio.timeout(SECONDS):
            process.stdin.write(json.dumps({"urls": list(urls), "title": title, "body": body}).encode())
            process.stdin.close()
            async for place in process.stdout:
                took.append(urls[int(place)])  # noqa: PERF401 - what has come by then counts when the time is up
            await process.wait()
    except TimeoutError:
        pass
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return took
