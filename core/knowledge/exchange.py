"""Knowledge as JSON Lines: one item per line, in a stable order, so that exports differ only where knowledge does.

What is read from repositories is left out: each installation reads its own. Taking in a file twice, or files of two
installations in any order, ends in the same: of the same item the later change stays, and the longer record.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args
from uuid import UUID

import asyncpg

from config.errors import UsageError
from core.knowledge.exchange_lines import FORMAT, PARTS, read
from core.knowledge.kinds import signature
from storage.queries import knowledge as rows
from storage.queries.knowledge import Memory, State

MOST_TOLD = 5
"""Bad lines that are told one by one."""
_TIMES = ("valid_from", "invalid_at", "last_used_at", "created_at", "updated_at")
_PLAIN = ("title", "content", "source", "origin", "state", "path", "note", "cold", "uses", "wins", "doubt")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line, and its number in the file."""

    line: int
    id: UUID
    kind: str
    project: str | None
    columns: Mapping[str, Any]
    updated_at: datetime
    superseded_by: UUID | None
    replaces: UUID | None
    details: Mapping[str, Any] | None


async def export_lines(connection: asyncpg.Connection) -> list[str]:
    """Every item that is not read from a repository, whatever its state, by id."""
    lines = []
    states = get_args(State)
    found = await rows.list_items(connection, states=states, limit=10_000_000)
    ids = {memory.number: memory.id for memory in found}
    for memory in sorted(found, key=lambda one: one.id):
        structured = memory.category in PARTS
        details = await rows.details(connection, memory.category, memory.number) if structured else None
        if details is not None and memory.category == "lesson":
            details["signature"] = await rows.signature_of(connection, memory.number)
        line = _line(memory, ids.get(memory.replaces or 0), details)
        lines.append(json.dumps(line, ensure_ascii=False, sort_keys=True, default=str))
    return lines


def parse_lines(text: str, name: str) -> list[Entry]:
    """Read lines of an export. Raises UsageError saying of each bad line what is wrong with it."""
    entries, wrong = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            entries.append(_entry(number, json.loads(line)))
        except (ValueError, RecursionError) as error:
            wrong.append(f"line {number} is no item of knowledge ({str(error)[:300]})")
    if wrong:
        more = f"; and {len(wrong) - MOST_TOLD} lines more" if len(wrong) > MOST_TOLD else ""
        raise UsageError(f"{name}: {'; '.join(wrong[:MOST_TOLD])}{more}", "give an export of qd; nothing was taken in")
    return entries


async def take_in(connection: asyncpg.Connection, entry: Entry) -> str:
    """Store one item: ``added``, ``updated``, ``known`` (nothing to do) or ``skipped`` (its project is not here, a name is taken,
    or what has its id is something else). Raises UsageError for a line that the database does not take.
    """
    if entry.project is not None and not await rows.project_exists(connection, entry.project):
        return "skipped"
    known = await rows.find(connection, entry.id, lock=True)
    if known and (known.category != entry.kind or known.origin == "file"):
        return "skipped"
    columns = dict(entry.columns) | {"corpus": await rows.corpus_of(connection, entry.project)}
    savepoint = connection.transaction()
    await savepoint.start()
    try:
        outcome = await (_change(connection, known, entry, columns) if known else _add(connection, entry, columns))
    except asyncpg.UniqueViolationError:
        outcome = "skipped"
    except asyncpg.PostgresError as error:
        raise UsageError(f"line {entry.line} cannot be stored ({error.message})", "nothing was taken in") from error
    await (savepoint.rollback() if outcome == "skipped" else savepoint.commit())
    return outcome


async def link(connection: asyncpg.Connection, entry: Entry) -> None:
    """Say what an item is superseded by and what it replaces, once all are there; nothing where it was changed since."""
    for column, other in (("superseded_by", entry.superseded_by), ("replaces", entry.replaces)):
        if other is not None:
            await connection.execute(
                f"""update memory m set {column} = s.number from memory s
                     where m.id = $1 and s.id = $2 and m.updated_at <= $3 and m.{column} is distinct from s.number""",  # noqa: S608
                entry.id,
                other,
                entry.updated_at,
            )


async def _add(connection: asyncpg.Connection, entry: Entry, columns: Mapping[str, Any]) -> str:
    number = await _insert(connection, {**columns, "id": entry.id, "kind": entry.kind, "updated_at": entry.updated_at})
    if entry.details is None:
        return "added"
    details = _placed(entry, columns["corpus"])
    return "added" if await rows.insert_details(connection, entry.kind, number, details) else "skipped"


async def _change(connection: asyncpg.Connection, known: Memory, entry: Entry, columns: Mapping[str, Any]) -> str:
    """The later change, and the longer record."""
    longer = (entry.columns["uses"], entry.columns["wins"]) > (known.uses, known.wins)
    used = max((at for at in (known.last_used_at, entry.columns.get("last_used_at")) if at), default=None)
    kept = {"uses": known.uses, "wins": known.wins} if not longer else {}
    if known.updated_at >= entry.updated_at:
        if not longer:
            return "known"
        changed = {"uses": entry.columns["uses"], "wins": entry.columns["wins"], "last_used_at": used}
        await rows.update(connection, known.number, changed)
        await _date(connection, known.number, known.updated_at)
        return "updated"
    unlinked = {"superseded_by": None, "replaces": None}  # what it names instead is linked once all are there
    await rows.update(connection, known.number, {**columns, **kept, **unlinked, "last_used_at": used})
    await _date(connection, known.number, entry.updated_at)
    if entry.details is not None:
        await rows.update_details(connection, entry.kind, known.number, _placed(entry, columns["corpus"]))
    return "updated"


def _placed(entry: Entry, corpus: int) -> dict[str, Any]:
    """The columns of a kind, those of a lesson with its place and signature."""
    details = dict(entry.details or {})
    if entry.kind == "lesson":
        details["corpus"] = corpus
        details["signature"] = details.get("signature") or signature(details.get("type", "other"), details["error"])
    return details


async def _date(connection: asyncpg.Connection, number: int, at: datetime) -> None:
    await connection.execute("update memory set updated_at = $2 where number = $1", number, at)


async def _insert(connection: asyncpg.Connection, columns: Mapping[str, Any]) -> int:
    places = ", ".join(f"${position}" for position in range(1, len(columns) + 1))
    number: int = await connection.fetchval(
        f"insert into memory ({', '.join(columns)}) values ({places}) returning number",  # noqa: S608 - names are ours
        *columns.values(),
    )
    return number


def _line(memory: Memory, replaces: UUID | None, details: Mapping[str, Any] | None) -> dict[str, Any]:
    line: dict[str, Any] = {
        "format": FORMAT,
        "id": str(memory.id),
        "category": memory.category,
        "project": memory.project,
        "superseded_by": str(memory.superseded_by) if memory.superseded_by else None,
        "replaces": str(replaces) if replaces else None,
    }
    line |= {name: getattr(memory, name) for name in _PLAIN}
    line |= {name: value.isoformat() if (value := getattr(memory, name)) else None for name in _TIMES}
    line["tags"] = list(memory.tags)
    if details is not None:
        line["details"] = {name: details[name] for name in PARTS[memory.category].model_fields}
        if (at := line["details"].get("resolved_at")) is not None:
            line["details"]["resolved_at"] = at.isoformat()
        if "signature" in line["details"]:
            line["details"]["signature"] = str(line["details"]["signature"])
    return line


def _entry(number: int, line: Any) -> Entry:
    item = read(line)
    columns: dict[str, Any] = {name: getattr(item, name) for name in (*_PLAIN, "tags", "invalid_at")}
    columns |= {name: at for name in ("valid_from", "last_used_at", "created_at") if (at := getattr(item, name))}
    assert item.updated_at is not None
    return Entry(
        number,
        item.id,
        item.category,
        item.project,
        columns,
        item.updated_at,
        item.superseded_by,
        item.replaces,
        item.details,
    )
