"""One thing in full, as its command shows it: for whatever has no screen of its own."""

from collections.abc import Iterable

from textual.widget import Widget

from config.errors import QuarterdeckError
from tui.actions import Subject
from tui.giving import drawn
from tui.screens.base import BaseScreen
from tui.store import Fresh, Trouble
from tui.widgets.dialogs import Reader


class DetailScreen(BaseScreen):
    """What ``NOUN show NAME`` answers, kept up to date."""

    scopes = ("detail",)

    def __init__(self, kind: str, name: str) -> None:
        super().__init__()
        self._kind: str = kind
        self._called: str = name
        self.trail = f"{kind} {name}"

    def body(self) -> Iterable[Widget]:
        """The text."""
        yield Reader([], "ground")

    def on_mount(self) -> None:
        """Begin to load."""
        self._subscription = self.deck.store.subscribe(self, (self._kind, f"{self._kind}:{self._called}"), self._load)
        self.query_one(Reader).focus()

    def on_unmount(self) -> None:
        """Load no more."""
        self._subscription.close()

    async def _load(self) -> object:
        if self._kind == "question":
            found = [
                q
                for q in await self.deck.store.ask("question.list", status="all", limit=1000)
                if str(q.number) == self._called
            ]
            if not found:
                raise QuarterdeckError(f"question {self._called} is not there")
            return found[0]
        return await self.deck.store.ask(f"{self._kind}.show", **{_PARAMETER.get(self._kind, self._kind): self._called})

    def on_fresh(self, message: Fresh) -> None:
        """Show what was loaded."""
        reader = self.query_one(Reader)
        data = message.data
        reader.show([[(data.words, "bad")]] if isinstance(data, Trouble) else drawn(self.deck, data))

    def subject(self) -> Subject:
        """The thing."""
        row = getattr(self, "_subscription", None) and self._subscription.data
        names: dict[str, str] = {self._kind: self._called}
        for kind in ("task", "project", "agent"):
            if (owner := getattr(row, kind, None)) is not None and kind not in names:
                names[kind] = str(owner)
        return Subject(self._kind, names, self.trail, row)


_PARAMETER = {"project": "id", "agent": "name", "review": "task"}
