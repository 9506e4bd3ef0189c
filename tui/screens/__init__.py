"""The places of the screen: which class shows what. A screen is loaded when it is first opened."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui.app import QuarterdeckApp

PLACES: dict[str, str] = {
    "deck": "tui.screens.deck:DeckScreen",
    "run": "tui.screens.run_screen:RunScreen",
    "task": "tui.screens.task_screen:TaskScreen",
    "review": "tui.screens.review_screen:ReviewScreen",
    "analytics": "tui.screens.analytics_screen:AnalyticsScreen",
    "budgets": "tui.screens.budgets:BudgetsScreen",
    "agents": "tui.screens.agents:AgentsScreen",
    "project": "tui.screens.owners:ProjectScreen",
    "agent": "tui.screens.owners:AgentScreen",
    "settings": "tui.screens.settings:SettingsScreen",
    "audit": "tui.screens.audit:AuditScreen",
    "doctor": "tui.screens.doctor:DoctorScreen",
    "knowledge": "tui.screens.knowledge:KnowledgeScreen",
    "knew": "tui.screens.knew:KnewScreen",
}
"""Place → ``module:class``. The class takes the names of what it shows: ``TaskScreen(task="42")``."""

DETAILS = ("task", "run", "review", "project", "agent", "question")
"""Kinds of things that are shown by the answer of ``NOUN show`` where no screen of their own is in :data:`PLACES`."""


def open_place(app: "QuarterdeckApp", what: str, **names: str) -> None:
    """Open a place, on top of the one that is there; a place that is open is come back to."""
    if what in PLACES:
        module, _, name = PLACES[what].partition(":")
        made = getattr(import_module(module), name)
        for n, screen in enumerate(app.screen_stack[1:], start=1):
            if type(screen) is made and getattr(screen, "names", {}) == names:
                for _ in range(len(app.screen_stack) - 1 - n):
                    app.pop_screen()
                return
        screen = made(**names)
        screen.what, screen.names = what, names
        app.push_screen(screen)
    elif what in DETAILS:
        from tui.screens.detail import DetailScreen

        app.push_screen(DetailScreen(what, names[what]))
