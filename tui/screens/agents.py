"""The agents: who can work, with what, and what each is at."""

from collections.abc import Sequence
from typing import Any

from core.commands.agent import Agent
from core.commands.shown import Column as Shown
from tui.ink import Part, plain
from tui.screens.listing import ListPanel, ListScreen, column


class AgentsPanel(ListPanel):
    """Agents."""

    name_shown = "agents"
    kind = "agent"
    scopes = ("agents", "rows", "motion")
    topics = ("agent", "task", "run")
    columns = (
        column(Shown("name", "name", "key"), 16, rank=10),
        column(Shown("status", "status", "state"), 11, rank=9),
        column(Shown("running", "running", "count"), 8, rank=8),
        column(Shown("at most", "max_parallel", "count"), 8, rank=6),
        column(Shown("adapter", "adapter"), 14, rank=7),
        column(Shown("model", "model"), 20, rank=5),
        column(Shown("role", "role"), 12, rank=3),
        column(Shown("can", "capabilities"), 0, rank=4),
    )

    async def load_all(self) -> Sequence[Agent]:
        """All agents."""
        found: list[Agent] = await self.deck.store.ask("agent.list")
        return found

    def fields_of(self, row: Any) -> dict[str, str | None]:
        """``agent:`` looks at the name."""
        return {"project": None, "status": row.status, "agent": row.name}

    def about(self, row: Agent) -> Sequence[Part]:
        """What it is run with, and what it can do."""
        parts: list[Part] = [(plain(row.name), "text bold"), (f"  {plain(row.adapter)}", "text")]
        for label, value in (
            ("model", row.model),
            ("command", row.command),
            ("role", row.role),
        ):
            if value:
                parts += [(f"  {label} ", "dim"), (plain(str(value)), "text")]
        if row.capabilities:
            parts += [("  can ", "dim"), (plain(", ".join(row.capabilities)), "text")]
        return parts

    def nothing(self) -> Sequence[str]:
        """The way to the first agent."""
        keys = self.deck.registry.keys_of("agent.add")
        return ("No agents yet", f"{keys} adds one")


class AgentsScreen(ListScreen):
    """Who can work."""

    scopes = ("agents",)
    trail = "agents"
    panel = AgentsPanel
