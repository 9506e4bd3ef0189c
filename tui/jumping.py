"""The jump mode: each row that is seen gets a letter or two; typing them puts the cursor there and opens nothing."""

from itertools import product
from typing import TYPE_CHECKING

from tui.widgets.rows import Rows

if TYPE_CHECKING:
    from tui.app import QuarterdeckApp

LETTERS = "asdfjkleiowrughvncmxztyqpb"


def labels(count: int) -> list[str]:
    """So many labels, of one letter each where these are enough, of two otherwise: none is the beginning of another."""
    if count <= len(LETTERS):
        return list(LETTERS[:count])
    return ["".join(pair) for pair in product(LETTERS, repeat=2)][:count]


def start(app: "QuarterdeckApp") -> None:
    """Label what is seen, and take the next keys."""
    tables = [
        table
        for table in app.screen.query(Rows)
        if table.display and table.size.height and not table.has_class("-folded")
    ]
    places = [
        (table, line) for table in tables for line in range(table.top, min(table.top + table.room, len(table.keys)))
    ]
    if not places:
        app.say("there is nothing to jump to", "note")
        return
    targets = dict(zip(labels(len(places)), places, strict=False))
    typed = ""

    def show(begun: str) -> None:
        for table in tables:
            table.jumps = {
                line: label[len(begun) :]
                for label, (owner, line) in targets.items()
                if owner is table and label.startswith(begun)
            }
            table.repaint()

    def take(key: str) -> bool:
        nonlocal typed
        typed += key
        if typed in targets:
            table, line = targets[typed]
            show("\0")
            table.focus(scroll_visible=False)
            table.go(line)
            return False
        if any(label.startswith(typed) for label in targets):
            show(typed)
            return True
        show("\0")
        return False

    show("")
    app.grab = take
    app.repaint_bars()
