"""The audit trail: who changed what, and when, the newest first."""

from collections.abc import Hashable, Sequence
from typing import Any

from core.commands.audit import AuditEntry
from core.commands.shown import Column as Shown
from tui.actions import Subject
from tui.ink import Part, plain
from tui.screens.listing import ListPanel, ListScreen, column

SHOWN = 2000
"""Entries on the screen; `audit list --before` pages on."""


class AuditPanel(ListPanel):
    """The trail."""

    name_shown = "audit trail"
    kind = "entry"
    scopes = ("audit", "rows", "motion")
    topics = ("*",)
    columns = (
        column(Shown("when", "at", "time"), 4, rank=9),
        column(Shown("who", "actor"), 18, rank=8),
        column(Shown("did", "action", "state"), 9, rank=7),
        column(Shown("on", "kind"), 10, rank=8),
        column(Shown("which", "key", "key"), 22, rank=9),
        column(Shown("change", "change"), 0, rank=6),
    )

    async def load_all(self) -> Sequence[AuditEntry]:
        """The newest entries."""
        found: list[AuditEntry] = await self.deck.store.ask("audit.list", limit=SHOWN)
        return found

    def key_of(self, row: AuditEntry) -> Hashable:
        """Its number."""
        return row.id

    def subject_of(self, row: Any) -> Subject:
        """The entry, and the thing it is about."""
        names = {row.kind: row.key} if row.kind in ("task", "project", "agent", "setting") else {}
        return Subject(row.kind, names, plain(f"{row.kind} {row.key}"), row)

    def about(self, row: AuditEntry) -> Sequence[Part]:
        """Who did what to which thing, exactly when, and what it was before."""
        when = row.at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        what = row.change or ", ".join(
            f"{name} {value}"
            for name, value in (row.after or row.before or {}).items()
            if value not in (None, "", [], {})
        )
        return [
            (f"{row.kind} {plain(row.key)}", "text bold"), (f"  {plain(row.actor)} as {plain(row.role)}, {when}", "dim"), (f"  {row.action} ", "focus"),
            (plain(what), "text"),
        ]  # fmt: skip

    def nothing(self) -> Sequence[str]:
        """What would be here."""
        return ("Nothing was changed yet", "every change by anybody is written down here")


class AuditScreen(ListScreen):
    """Who changed what."""

    scopes = ("audit",)
    trail = "audit"
    panel = AuditPanel
