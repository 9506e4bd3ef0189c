"""Events of runs on their way into the database, with what they tell of: questions, answers that arrived, calls of models."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import asyncpg

from storage.queries.budget import Basis, Tokens


@dataclass(frozen=True, slots=True)
class Told:
    """A call that an agent tells of, with its price in micro-dollars. ``note``: what a person should know of that price."""

    model: str | None
    tokens: Tokens
    micro: int
    basis: Basis
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Shipment:
    """Events of one run, and how far they bring it in its spools. ``calls``: those that the events tell of."""

    run: int
    before: int
    """The number of the run's last event so far: what the database must agree with."""
    out: int
    err: int
    events: Sequence[tuple[datetime, str, str, Mapping[str, Any]]]
    """(at, kind, text, data)"""
    calls: Sequence[Told] = ()
    session: str | None = None
    questions: Sequence[tuple[str, str, str, Any, Mapping[str, Any]]] = ()
    """(ref, kind, text, options, data)"""
    withdrawn: Sequence[str] = ()
    """Refs of questions that the agent no longer asks."""
    delivered: Sequence[int] = ()
    """Numbers of the inputs that have reached the agent."""


async def ship(connection: asyncpg.Connection, shipments: Sequence[Shipment], *, again: bool = False) -> set[int]:
    """Store events of many runs in one transaction; returns the runs that moved on.

    A run whose last event is not the one that a shipment follows is left out whole: somebody else has shipped it. That is
    what makes events exactly once: numbers, positions and events change together or not at all. ``again``: an earlier try
    ended with no reply, so a run that is where the shipment leads counts as moved.
    """
    async with connection.transaction():
        rows = await connection.fetch(
            """
            update run r set shipped_out = u.out, shipped_err = u.err, events = r.events + u.n, adoptions = 0,
                   cost_usd = least(r.cost_usd + u.cost, 99999999), cost_basis = budget_weakest(array[r.cost_basis, u.basis]),
                   tokens_input = least(r.tokens_input + u.t0, 1e18::bigint), tokens_output = least(r.tokens_output + u.t1, 1e18::bigint),
                   tokens_cache_read = least(r.tokens_cache_read + u.t2, 1e18::bigint),
                   tokens_cache_write = least(r.tokens_cache_write + u.t3, 1e18::bigint)
              from unnest($1::bigint[], $2::int[], $3::bigint[], $4::bigint[], $5::int[], $6::numeric[],
                          $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::text[])
                   as u (run, before, out, err, n, cost, t0, t1, t2, t3, basis)
             where r.number = u.run and r.events = u.before
            returning r.number, r.task, r.project
            """,
            [s.run for s in shipments],
            [s.before for s in shipments],
            [s.out for s in shipments],
            [s.err for s in shipments],
            [len(s.events) for s in shipments],
            [Decimal(sum(call.micro for call in s.calls)) / 1_000_000 for s in shipments],
            [sum(call.tokens.input for call in s.calls) for s in shipments],
            [sum(call.tokens.output for call in s.calls) for s in shipments],
            [sum(call.tokens.cache_read for call in s.calls) for s in shipments],
            [sum(call.tokens.cache_write_5m for call in s.calls) for s in shipments],
            [_weakest(s.calls) for s in shipments],
        )
        moved = {row["number"]: row for row in rows}
        records = [
            (s.run, s.before + n, at, kind, text, data)
            for s in shipments
            if s.run in moved
            for n, (at, kind, text, data) in enumerate(s.events, start=1)
        ]
        if records:
            await connection.copy_records_to_table(
                "event", records=records, columns=["run", "seq", "at", "kind", "text", "data"]
            )
        calls = [_reported(s.run, call) for s in shipments if s.run in moved for call in s.calls]
        if calls:
            await connection.execute("select budget_report($1::text::jsonb)", json.dumps(calls))
        for s in shipments:
            if s.run not in moved:
                continue
            if s.session:
                await connection.execute(
                    "update run set session = $2 where number = $1 and session is distinct from $2", s.run, s.session
                )
            for ref, kind, text, options, data in s.questions:
                await connection.execute(
                    """insert into question (run, task, project, ref, kind, text, options, data) values ($1, $2, $3, $4, $5, $6, $7, $8)
                       on conflict (run, ref) do nothing""",
                    s.run,
                    moved[s.run]["task"],
                    moved[s.run]["project"],
                    ref,
                    kind,
                    text,
                    options,
                    data,
                )
            if s.withdrawn:
                await connection.execute(
                    """update question set status = 'expired', answered_at = clock_timestamp()
                        where run = $1 and ref = any($2) and status = 'open'""",
                    s.run,
                    list(s.withdrawn),
                )
            if s.delivered:
                await connection.execute(
                    "update run_input set delivered_at = clock_timestamp() where run = $1 and seq = any($2)",
                    s.run,
                    list(s.delivered),
                )
    stored = set(moved)
    if again and len(stored) < len(shipments):
        rows = await connection.fetch(
            "select number, events from run where number = any($1)", [s.run for s in shipments if s.run not in stored]
        )
        events = {row["number"]: row["events"] for row in rows}
        stored |= {s.run for s in shipments if s.events and events.get(s.run) == s.before + len(s.events)}
    return stored


def _weakest(calls: Sequence[Told]) -> Basis | None:
    """Agents' own words are estimates at best."""
    if any(call.basis == "imputed" for call in calls):
        return "imputed"
    return "estimated" if calls else None


def _reported(run: int, call: Told) -> dict[str, object]:
    used = call.tokens
    return {
        "run": run,
        "model": call.model,
        "cost": call.micro,
        "basis": call.basis,
        "note": call.note,
        "input": used.input,
        "cache_read": used.cache_read,
        "cache_write": used.cache_write_5m,
        "output": used.output,
    }
