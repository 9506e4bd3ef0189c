"""What works here and what does not, with the remedy for each."""

from collections.abc import Hashable, Sequence
from typing import Any

from core.commands.doctor import Finding
from core.commands.shown import Column as Shown
from tui.actions import Subject
from tui.ink import Part, plain
from tui.screens.listing import ListPanel, ListScreen, column


class DoctorPanel(ListPanel):
    """Findings. Looked at when it is opened, and again when asked."""

    name_shown = "doctor"
    kind = "finding"
    scopes = ("doctor", "rows", "motion")
    swept = False
    columns = (
        column(Shown("part", "part", "key"), 20, rank=10),
        column(Shown("status", "status", "state"), 10, rank=9),
        column(Shown("what was found", "words"), 0, rank=8),
    )

    async def load_all(self) -> Sequence[Finding]:
        """Look at everything that can be looked at quickly."""
        found: list[Finding] = await self.deck.store.ask("doctor", quick=True)
        return found

    def key_of(self, row: Finding) -> Hashable:
        """Which part."""
        return row.part

    def subject_of(self, row: Any) -> Subject:
        """A finding is nothing that a command takes."""
        return Subject("finding", {}, plain(row.part), row)

    def about(self, row: Finding) -> Sequence[Part]:
        """What was found, and the remedy."""
        parts: list[Part] = [(plain(row.part), "text bold"), (f"  {plain(row.detail)}", "text")]
        if row.hint:
            parts.append((f"  {self.ink.glyph('arrow')} {plain(row.hint)}", "focus"))
        return parts if row.needed else [*parts, ("  It works without.", "dim")]

    def summary(self) -> list[Part]:
        """How many are missing that are needed."""
        if not self.loaded:
            return []
        wrong = sum(1 for row in self.rows.values() if row.exit_status)
        return [(f"{wrong} to mend", "bad")] if wrong else [(f"{self.ink.glyph('ok')} what is needed is here", "ok")]


class DoctorScreen(ListScreen):
    """What works here."""

    scopes = ("doctor",)
    trail = "doctor"
    panel = DoctorPanel
