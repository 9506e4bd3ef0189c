"""The audit trail: who changed what, and when, the newest first."""

import re
from collections.abc import Hashable, Sequence
from decimal import Decimal
from typing import Any

from core.commands.audit import AuditEntry
from core.commands.shown import Column as Shown
from core.faces.plain import in_local_time
from tui.actions import Subject
from tui.ink import Part, money, plain
from tui.screens.listing import ListPanel, ListScreen, column
from tui.widgets.rows import Column, Rows

_WORD = re.compile(r"[a-z]+(_[a-z]+)+")
_MONEY = "_usd"
"""How the columns end that hold money."""
SHOWN = 2000
"""Entries on the screen; `audit list --before` pages on."""


def spoken(value: object, name: str = "") -> str:
    """A value of a row as people say it. ``name``: of its column, which may say that it is money."""
    if name.endswith(_MONEY) and isinstance(value, int | float):
        return money(Decimal(str(value)))
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(spoken, value)) or "nothing"
    text = in_local_time(str(value))
    return text.replace("_", " ") if _WORD.fullmatch(text) else text


def who(actor: str) -> str:
    """An actor as people say it: ``user:ann`` is ann."""
    return actor.removeprefix("user:").replace(":", " ", 1)


def _called(name: str) -> str:
    return name.removesuffix(_MONEY).replace("_", " ")


def changed(row: AuditEntry) -> str:
    """What a change made of what; of what was added or taken away, what it was."""
    after, before = row.after or {}, row.before or {}
    if row.action == "update":
        said = [
            f"{_called(name)} {spoken(before.get(name), name)} → {spoken(value, name)}" for name, value in after.items()
        ]
    else:
        said = [
            f"{_called(name)} {spoken(value, name)}"
            for name, value in (after or before).items()
            if value not in (None, "", [], {})
        ]
    return ", ".join(said)


def _who(row: AuditEntry, at: Rows) -> Sequence[Part]:  # noqa: ARG001 - as every column
    return [(plain(who(row.actor)), "text")]


def _change(row: AuditEntry, at: Rows) -> Sequence[Part]:
    text = changed(row) if row.action == "update" else ""
    return [(plain(text).replace("→", at.ink.glyph("arrow")), "text")]


class AuditPanel(ListPanel):
    """The trail."""

    name_shown = "audit trail"
    kind = "entry"
    scopes = ("audit", "rows", "motion")
    topics = (
        *("task", "run", "run-input", "question", "review", "engine", "queue", "settings", "project", "agent"),
        *("budget", "service", "secret", "knowledge"),
    )
    columns = (
        column(Shown("when", "at", "time"), 4, rank=9),
        Column("who", 18, _who, rank=8),
        column(Shown("did", "action", "state"), 9, rank=7),
        column(Shown("on", "kind"), 10, rank=8),
        column(Shown("which", "key", "key"), 22, rank=9),
        Column("change", 0, _change, rank=6),
    )

    @property
    def pace(self) -> float:
        """A trail is read back, not watched: at most once a second."""
        return 1.0

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
        return [
            (f"{row.kind} {plain(row.key)}", "text bold"), (f"  {plain(who(row.actor))} as {plain(row.role)}, {when}", "dim"), (f"  {row.action} ", "focus"),
            (plain(changed(row)), "text"),
        ]  # fmt: skip

    def nothing(self) -> Sequence[str]:
        """What would be here."""
        return ("Nothing was changed yet", "every change by anybody is written down here")


class AuditScreen(ListScreen):
    """Who changed what."""

    scopes = ("audit",)
    trail = "audit"
    panel = AuditPanel
