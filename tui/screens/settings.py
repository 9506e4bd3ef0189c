"""The settings: every one with its value and where that comes from; changed live, checked while one types."""

from collections.abc import Sequence

from core.commands.setting import Setting
from core.commands.shown import Column as Shown
from tui.ink import Part, plain
from tui.screens.listing import ListPanel, ListScreen, column


class SettingsPanel(ListPanel):
    """Settings."""

    name_shown = "settings"
    kind = "setting"
    scopes = ("settings", "rows", "motion")
    topics = ("settings",)
    columns = (
        column(Shown("key", "key", "key"), 24, rank=10),
        column(Shown("value", "value"), 16, rank=9),
        column(Shown("from", "source"), 9, rank=6),
        column(Shown("what it is", "help"), 0, rank=5),
    )

    async def load_all(self) -> Sequence[Setting]:
        """All settings."""
        found: list[Setting] = await self.deck.store.ask("settings.list")
        return found

    def about(self, row: Setting) -> Sequence[Part]:
        """What it is for, what it is by itself, and where its value comes from."""
        default = (
            "nothing"
            if row.default is None
            else str(row.default).lower()
            if isinstance(row.default, bool)
            else str(row.default)
        )
        return [
            (plain(row.key), "text bold"),
            (f"  {plain(row.help)}", "text"),
            (f"  By itself: {plain(default)}.", "dim"),
        ]


class SettingsScreen(ListScreen):
    """What can be set."""

    scopes = ("settings",)
    trail = "settings"
    panel = SettingsPanel
