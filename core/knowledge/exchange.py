"""Knowledge as JSON Lines: one item per line, in a stable order, so that exports differ only where knowledge does.

What is read from repositories is left out: each installation reads its own. Taking in a file twice, or files of two
installations in any
order, ends in the same: of the same item the later change stays.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args
from uuid import UUID

import asyncpg

from config.errors import UsageError
from core.knowledge.kinds import signature
from core.knowledge.secrets import redact
from storage.queries import knowledge as rows
from storage.queries.knowledge import Kind, Memory, Origin, State

FORMAT = 1
_TIMES = ("valid_from", "invalid_at", "last_used_at", "created_at", "updated_at")
_DETAILS = {
    "pattern": ("slug", "category", "projects", "stacks", "description", "template", "example"),
    "decision": ("type", "question", "chosen", "alternatives", "reasoning", "outcome", "outcome_note", "lesson",
                 "repeat", "pull_request", "feedback", "resolved_at"),
    "lesson": ("type", "error", "context", "command", "fix", "worked", "rule", "signature"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One line."""

    id: UUID
    kind: str
    project: str | None
    columns: Mapping[str, Any]
    updated_at: datetime
    superseded_by: UUID | None
    details: Mapping[str, Any] | None


async def export_lines(connection: asyncpg.Connection) -> list[str]:
    """Every item that is not read from a repository, whatever its state, by id."""
    lines = []
    states = get_args(State)
    found = await rows.list_items(connection, states=states, limit=10_000_000)
    for memory in sorted(found, key=lambda one: one.id):
        structured = memory.category in _DETAILS
        details = await rows.details(connection, memory.category, memory.number) if structured else None
        if details is not None and memory.category == "lesson":
            details["signature"] = await rows.signature_of(connection, memory.number)
        lines.append(json.dumps(_line(memory, details), ensure_ascii=False, sort_keys=True, default=str))
    return lines


def parse_lines(text: str, name: str) -> Iterator[Entry]:
    """Read lines of an export. Raises UsageError naming the line and what is wrong with it."""
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            yield _entry(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise UsageError(
                f"{name}: line {number} is no item of knowledge ({error})", "give an export of qd"
            ) from None


async def take_in(connection: asyncpg.Connection, entry: Entry) -> str:
    """Store one item: ``added``, ``updated``, ``known`` (nothing to do) or ``skipped`` (its project is not here, or
    a name is taken).
    """
    if entry.project is not None and not await rows.project_exists(connection, entry.project):
        return "skipped"
    columns = dict(entry.columns) | {"corpus": await rows.corpus_of(connection, entry.project)}
    known = await rows.find(connection, entry.id, lock=True)
    if known:
        if known.updated_at >= entry.updated_at:
            return "known"
        await rows.update(connection, known.number, columns)
        await connection.execute("update memory set updated_at = $2 where number = $1", known.number, entry.updated_at)
        if entry.details is not None and known.category == entry.kind:
            await rows.update_details(connection, entry.kind, known.number, entry.details)
        return "updated"
    columns |= {"id": entry.id, "kind": entry.kind, "updated_at": entry.updated_at}
    savepoint = connection.transaction()
    await savepoint.start()
    number = await _insert(connection, columns)
    details = None if entry.details is None else dict(entry.details)
    if details is not None and entry.kind == "lesson":
        details = {"signature": signature(details["type"], details["error"]), **details, "corpus": columns["corpus"]}
    if details is not None and not await rows.insert_details(connection, entry.kind, number, details):
        await savepoint.rollback()
        return "skipped"
    await savepoint.commit()
    return "added"


async def link(connection: asyncpg.Connection, entry: Entry) -> None:
    """Say what an item is superseded by, once all are there."""
    if entry.superseded_by is not None:
        await connection.execute(
            """update memory m set superseded_by = s.number from memory s
                where m.id = $1 and s.id = $2 and m.superseded_by is distinct from s.number""",
            entry.id,
            entry.superseded_by,
        )


async def _insert(connection: asyncpg.Connection, columns: Mapping[str, Any]) -> int:
    places = ", ".join(f"${position}" for position in range(1, len(columns) + 1))
    number: int = await connection.fetchval(
        f"insert into memory ({', '.join(columns)}) values ({places}) returning number",  # noqa: S608 - names are ours
        *columns.values(),
    )
    return number


def _line(memory: Memory, details: Mapping[str, Any] | None) -> dict[str, Any]:
    line: dict[str, Any] = {
        "format": FORMAT,
        "id": str(memory.id),
        "category": memory.category,
        "project": memory.project,
        "superseded_by": str(memory.superseded_by) if memory.superseded_by else None,
    }
    line |= {name: getattr(memory, name) for name in _PLAIN}
    line |= {name: value.isoformat() if (value := getattr(memory, name)) else None for name in _TIMES}
    line["tags"] = list(memory.tags)
    if details is not None:
        line["details"] = {name: details[name] for name in _DETAILS[memory.category]}
        if (at := line["details"].get("resolved_at")) is not None:
            line["details"]["resolved_at"] = at.isoformat()
        if "signature" in line["details"]:
            line["details"]["signature"] = str(line["details"]["signature"])
    return line


_PLAIN = ("title", "content", "source", "origin", "state", "path", "note", "cold", "uses", "wins")


def _entry(line: Mapping[str, Any]) -> Entry:
    if int(line.get("format", FORMAT)) > FORMAT:
        raise ValueError(f"it has format {line['format']}, this program knows {FORMAT}")
    kind = str(line["category"])
    _one_of(kind, get_args(Kind), "category")
    columns: dict[str, Any] = {
        "title": redact(str(line["title"])),
        "content": redact(str(line["content"])),
        "source": str(line.get("source", "")),
        "origin": _one_of(str(line.get("origin", "import")), get_args(Origin), "origin"),
        "state": _one_of(str(line.get("state", "active")), get_args(State), "state"),
        "path": None if line.get("path") is None else str(line["path"]),
        "note": None if line.get("note") is None else str(line["note"]),
        "cold": bool(line.get("cold", False)),
        "uses": int(line.get("uses", 0)),
        "wins": int(line.get("wins", 0)),
        "tags": [str(tag) for tag in line.get("tags", [])],
    }
    if columns["origin"] == "file" or not columns["title"]:
        raise ValueError("it is read from a repository, or has no title")
    for name in _TIMES:
        if line.get(name):
            columns[name] = datetime.fromisoformat(str(line[name]))
    if columns["state"] in ("active", "proposed"):
        columns["invalid_at"] = None
    updated = columns.pop("updated_at", None) or columns.get("created_at")
    if updated is None or updated.tzinfo is None:
        raise ValueError("it does not say when it was changed last")
    details = None
    if kind in _DETAILS:
        given = dict(line.get("details") or {})
        details = {name: given[name] for name in _DETAILS[kind] if name in given}
        if details.get("resolved_at"):
            details["resolved_at"] = datetime.fromisoformat(details["resolved_at"])
        if "signature" in details:
            details["signature"] = UUID(str(details["signature"]))
    superseded = line.get("superseded_by")
    return Entry(
        UUID(str(line["id"])),
        kind,
        None if line.get("project") is None else str(line["project"]),
        columns,
        updated,
        UUID(str(superseded)) if superseded else None,
        details,
    )


def _one_of(value: str, known: tuple[str, ...], name: str) -> str:
    if value not in known:
        raise ValueError(f"{name} {value!r} is none of {', '.join(known)}")
    return value
