"""What the crew knows: the place of the knowledge search, which says so itself as long as there is nothing to search."""

from collections.abc import Iterable

from textual.widget import Widget

from core.commands.table import NOUNS
from tui.ink import Part
from tui.screens.base import BaseScreen
from tui.widgets.dialogs import Reader


class KnowledgeScreen(BaseScreen):
    """What the crew knows."""

    scopes = ("knowledge",)
    trail = "knowledge"

    def body(self) -> Iterable[Widget]:
        """What is here, and what is not."""
        yield Reader(self._lines(), "ground")

    def on_mount(self) -> None:
        """The text has the keys."""
        self.query_one(Reader).focus()

    def _lines(self) -> list[list[Part]]:
        keys = self.deck.registry.keys_of("command.line")
        if "knowledge" in NOUNS:
            there = f"{keys}knowledge search TEXT finds what fits; {keys}help knowledge says what else there is."
        else:
            there = "This version of the program keeps no knowledge base yet, so there is nothing to search."
        return [
            [],
            [("  Knowledge", "text bold")],
            [],
            [("  Code, documents, decisions, lessons and solutions to errors that the crew has met,", "text")],
            [("  searched by meaning while one types, with a preview beside the list.", "text")],
            [],
            [(f"  {there}", "warn" if "knowledge" not in NOUNS else "text")],
            [],
            [("  q ", "focus bold"), ("goes back to the deck", "dim")],
        ]
