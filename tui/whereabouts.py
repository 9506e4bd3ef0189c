"""Where the person is: which places are open, which pane has the keys, where the cursor of each table stands and what it shows.

Noted a moment after each key, so that a screen that is left, killed or cut off comes back with the same picture.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from textual.timer import Timer

from tui.screens import PLACES, open_place
from tui.screens.base import BaseScreen
from tui.screens.paned import PanedScreen
from tui.widgets.rows import Rows

if TYPE_CHECKING:
    from tui.app import QuarterdeckApp

NOTED_SECONDS = 0.4
"""So long after a key it is noted: who holds one down moves on."""
_MOST_TABLES = 40


class Whereabouts:
    """Notes where the person is in one app, and goes there again."""

    def __init__(self, app: "QuarterdeckApp") -> None:
        self._app = app
        self._timer: Timer | None = None
        kept = app.memory.get(app.memory.place, {})
        self._tables: dict[str, Any] = dict(_dict(kept.get("tables")))
        self._places: list[Any] = kept["places"] if isinstance(kept.get("places"), list) else []

    def come_back(self) -> None:
        """Open the places that were open, on top of the deck."""
        for place in self._places:
            what, names = _dict(place).get("what"), _dict(_dict(place).get("names"))
            if what not in PLACES or what == "deck" or not all(isinstance(name, str) for name in names.values()):
                continue
            try:
                open_place(self._app, what, **names)
            except TypeError:  # another version's place has other names
                continue
            screen, pane = self._app.screen_stack[-1], _dict(place).get("pane")
            if isinstance(screen, PanedScreen) and pane in screen.panes:
                screen.call_after_refresh(screen.focus_pane, pane)

    def recall(self, table: Rows) -> None:
        """Have a table stand as it stood."""
        table.recall(_dict(self._tables.get(_name(table))))

    def soon(self) -> None:
        """Note it in a moment."""
        if self._timer is None:
            self._timer = self._app.set_timer(NOTED_SECONDS, self.note)

    def note(self) -> None:
        """Note it now."""
        self._timer = None
        if not self._app.screen_stack:
            return
        places = []
        for screen in self._app.screen_stack:
            if isinstance(screen, BaseScreen) and screen.what:
                pane = {"pane": screen.pane} if isinstance(screen, PanedScreen) else {}
                places.append({"what": screen.what, "names": dict(screen.names), **pane})
                for table in screen.query(Rows):
                    if table.id:
                        self._tables.pop(_name(table), None)
                        self._tables[_name(table)] = table.stand()
        self._tables = dict(list(self._tables.items())[-_MOST_TABLES:])
        self._app.memory.set(self._app.memory.place, {"places": places, "tables": dict(self._tables)})


def _name(table: Rows) -> str:
    screen = table.screen
    names = " ".join(screen.names.values()) if isinstance(screen, BaseScreen) else ""
    return f"{getattr(screen, 'what', '')} {names} {table.id}".replace("  ", " ")


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
