"""Delivers what people tell running agents: messages, answers, stop, pause, resume.

What is to be told lies in the database, numbered per run. It goes to the keeper in order, and the keeper takes each
number once: an engine that dies between the delivery and its record delivers again, and nothing reaches the agent
twice.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from config.errors import QuarterdeckError
from core.agents.adapter import load_adapter
from core.engine.ending import Stop
from core.engine.shipper import OvertakenError
from core.events import Event, EventKind
from core.keeper import client as keeper
from storage.queries import engine as rows
from storage.queries import questions

if TYPE_CHECKING:
    from core.engine.life import Life
    from core.engine.runtime import Runtime


async def deliver_inputs(runtime: "Runtime", lives: Mapping[int, "Life"]) -> None:
    """Deliver all that waits for the runs of this engine. What cannot be delivered yet stays for the next time."""
    async with runtime.db.connection() as connection:
        waiting = await rows.open_inputs(connection, runtime.engine)
    by_run: dict[int, list[rows.Input]] = {}
    for item in waiting:
        by_run.setdefault(item.run, []).append(item)
    async with asyncio.TaskGroup() as group:  # an agent that takes its time keeps no other waiting
        for number, items in by_run.items():
            if (life := lives.get(number)) is not None:
                group.create_task(_deliver_to(runtime, life, items))


async def _deliver_to(runtime: "Runtime", life: "Life", items: Sequence[rows.Input]) -> None:
    """Deliver in order what one run is to be told, as far as that is possible now."""
    for item in items:
        if life.journal is None:
            return
        try:
            events = await _deliver(runtime, life, item)
            await life.journal.write(events, delivered=[item.seq])
        except (QuarterdeckError, OvertakenError):
            return  # its keeper is not there yet, or not any more; or the run is somebody else's


async def _deliver(runtime: "Runtime", life: "Life", item: rows.Input) -> list[Event]:
    by = {"from": item.actor}
    match item.kind:
        case "message":
            text = str(item.data.get("text", ""))
            await keeper.send(life.socket, item.seq, _adapter(runtime, life).message(text))
            return [Event(EventKind.MESSAGE, text, by)]
        case "progress":
            return [
                Event(EventKind.STATUS, str(item.data.get("text", "")), {"progress": item.data.get("percent"), **by})
            ]
        case "question":
            runtime.changed_task(life.work.number, "question")
            return [Event(EventKind.QUESTION, str(item.data.get("text", "")), {**item.data, "kind": "question"})]
        case "answer":
            ref, text, decision = (
                str(item.data.get("ref", "")),
                str(item.data.get("text") or ""),
                item.data.get("decision"),
            )
            question: Mapping[str, Any] = item.data.get("data") or {}
            if question.get("via") == "tool":  # its asker waits for the tool's result, not at its stdin
                return [Event(EventKind.ANSWER, text, by | {"id": ref})]
            await keeper.send(life.socket, item.seq, _adapter(runtime, life).answer(ref, question, text, decision))
            return [Event(EventKind.ANSWER, text or str(decision), by | {"id": ref, "decision": decision})]
        case "stop":
            await life.stop(Stop("person", f"stopped by {item.actor}"))
            return [Event(EventKind.STATUS, f"stopped by {item.actor}", by)]
        case "pause":
            await keeper.pause(life.socket)
            return [Event(EventKind.STATUS, f"paused by {item.actor}", by)]
        case "resume":
            await keeper.resume(life.socket)
            return [Event(EventKind.STATUS, f"resumed by {item.actor}", by)]
        case _:
            await keeper.interrupt(life.socket)
            return [Event(EventKind.STATUS, f"interrupted by {item.actor}", by)]


async def answer_by_rule(runtime: "Runtime", life: "Life", event: Event) -> None:
    """Answer a permission request that a person has allowed for good in this project."""
    await runtime.persist(questions.answer_by_rule, life.run, str(event.data.get("id", "")))


def _adapter(runtime: "Runtime", life: "Life") -> Any:
    return load_adapter(life.work.adapter, runtime.paths, runtime.environ)
