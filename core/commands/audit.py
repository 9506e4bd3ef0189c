"""The audit trail: who changed what, and when."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar

from config.errors import UsageError
from core.commands.checks import Within
from core.commands.shown import Column
from core.commands.table import Context, Metavar, command
from core.commands.values import Line, Time
from storage.database import Role
from storage.queries import audit as rows


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change; on an update ``before`` and ``after`` hold only what changed."""

    id: int
    at: datetime
    actor: str
    role: str
    kind: str
    key: str
    action: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    columns: ClassVar[tuple[Column, ...]] = (
        Column("id", "id"),
        Column("when", "at", "time"),
        Column("who", "actor"),
        Column("did", "action"),
        Column("on", "kind"),
        Column("which", "key", "key"),
        Column("change", "change"),
    )
    empty: ClassVar[str] = "nothing was changed, as far as this asks"

    @property
    def change(self) -> str:
        """An update in short: ``status pending → in_progress``."""
        if self.action != "update":
            return ""
        before, after = self.before or {}, self.after or {}
        names = dict.fromkeys([*after, *before])
        return ", ".join(f"{name} {_short(before.get(name))} → {_short(after.get(name))}" for name in names)


@command("audit.list", role=Role.VIEWER)
async def list_audit(
    ctx: Context,
    *,
    actor: Annotated[Line | None, "only changes by this one, such as user:anna; without a colon, that user"] = None,
    since: Annotated[Time | None, "only changes since then"] = None,
    on: Annotated[Line | None, "only changes of this kind: task, project, run, …", Metavar("KIND")] = None,
    key: Annotated[Line | None, "only changes of the thing of this number, id or name"] = None,
    before: Annotated[int | None, "only entries with a lower id: the next page"] = None,
    limit: Annotated[int, Within(ge=1, le=10_000), "at most so many"] = 100,
) -> list[AuditEntry]:
    """List what was changed, the newest first: who, what, when, before and after."""
    who = f"user:{actor}" if actor and ":" not in actor else actor
    async with ctx.db.transaction(ctx.who) as connection:
        if on is not None and on not in (kinds := await rows.audit_kinds(connection)):
            near = difflib.get_close_matches(on, kinds, 1)
            hint = f"did you mean {near[0]}?" if near else f"the kinds are {', '.join(kinds)}"
            raise UsageError(f"nothing is audited under {on!r}", hint)
        found = await rows.list_audit(connection, actor=who, since=since, kind=on, key=key, before=before, limit=limit)
    return [
        AuditEntry(row.id, row.at, row.actor, row.role, row.kind, row.key, row.action, row.before, row.after)
        for row in found
    ]


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
