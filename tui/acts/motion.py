"""Moving about, as in vim: in tables, logs and texts alike. A panel that has the scope ``motion`` has ``move``, ``page`` and ``jump``.

With the scope ``rows`` it is a table: it can be filtered, sorted, marked.
"""

from typing import Any

from config.errors import UsageError
from tui.actions import Place, action, nothing_here
from tui.widgets.prompt import Prompt
from tui.widgets.rows import Rows

_HINT = "a regex, ^ and $ for the edges of a cell · !not · ~fuzzy · project: status: agent: reason: · !status:"


def _panel(place: Place) -> Any:
    return place.panel


@action("move.down", "j", "down", scopes=("motion",))
def down(place: Place) -> None:
    """Down; a count moves so many."""
    _panel(place).move(place.count or 1)


@action("move.up", "k", "up", scopes=("motion",))
def up(place: Place) -> None:
    """Up; a count moves so many."""
    _panel(place).move(-(place.count or 1))


@action("move.half-down", "ctrl+d", scopes=("motion",))
def half_down(place: Place) -> None:
    """Half a page down."""
    _panel(place).page(0.5 * (place.count or 1))


@action("move.half-up", "ctrl+u", scopes=("motion",))
def half_up(place: Place) -> None:
    """Half a page up."""
    _panel(place).page(-0.5 * (place.count or 1))


@action("move.page-down", "ctrl+f", "pagedown", scopes=("motion",))
def page_down(place: Place) -> None:
    """A page down."""
    _panel(place).page(place.count or 1)


@action("move.page-up", "ctrl+b", "pageup", scopes=("motion",))
def page_up(place: Place) -> None:
    """A page up."""
    _panel(place).page(-(place.count or 1))


@action("move.first", "home", "g t", scopes=("motion",))
def first(place: Place) -> None:
    """To the first, or to the one that the count says."""
    _panel(place).jump(place.count or 1)


@action("move.last", "G", "end", scopes=("motion",))
def last(place: Place) -> None:
    """To the last, or to the one that the count says."""
    _panel(place).jump(place.count)


@action("filter.set", "/", scopes=("rows",), footer="filter", order=70)
async def filter_(place: Place) -> None:
    """Show only what matches: a regex, !inverse, ~fuzzy, project: status: agent: reason:, !status:."""
    panel = place.panel
    assert isinstance(panel, Rows)
    before = panel.filter.text

    def live(text: str) -> str | None:
        try:
            panel.look_for(text)
        except UsageError as error:
            return error.sentence()
        return None

    history: list[str] = place.app.memory.get("filters", [])
    text: str | None = await place.app.push_screen_wait(Prompt("/", before, history=history, live=live, hint=_HINT))
    if text is None:
        panel.look_for(before)
    elif text.strip():
        place.app.memory.set("filters", [*[old for old in history if old != text.strip()][-49:], text.strip()])


@action("match.next", "n", scopes=("rows",))
async def match_next(place: Place) -> None:
    """The next row that the last filter lets through, also when all are shown again."""
    await _match(place, 1)


@action("match.previous", "N", scopes=("rows",))
async def match_previous(place: Place) -> None:
    """The row before."""
    await _match(place, -1)


async def _match(place: Place, direction: int) -> None:
    panel = place.panel
    assert isinstance(panel, Rows)
    for _ in range(min(place.count or 1, 1000)):
        if not await panel.next_match(direction):
            place.app.say("no match; / looks for something", "note")
            return


@action("mark.toggle", "space", scopes=("rows",))
def mark(place: Place) -> None:
    """Mark the row, or no more; what follows is done with all that are marked."""
    assert isinstance(place.panel, Rows)
    place.panel.toggle_mark()


@action("mark.all", "*", scopes=("rows",))
async def mark_all(place: Place) -> None:
    """Mark all rows that the filter lets through, also those that are not seen; or none."""
    panel = place.panel
    assert isinstance(panel, Rows)
    if panel.marks:
        panel.clear_marks()
    else:
        place.app.say(f"{await panel.mark_all():,} marked", "note")


@action("mark.next", "'", scopes=("rows",))
def next_mark(place: Place) -> None:
    """The next row that is marked."""
    assert isinstance(place.panel, Rows)
    if not place.panel.next_mark(1):
        place.app.say("nothing is marked; space does", "note")


@action("sort.next", "o", scopes=("rows",))
def sort(place: Place) -> None:
    """Sort by the next column."""
    panel = place.panel
    assert isinstance(panel, Rows)
    place.app.say(f"sorted by {panel.sort() or 'what matters'}", "note")


@action("sort.reverse", "O", scopes=("rows",))
def reverse(place: Place) -> None:
    """Turn the order round."""
    assert isinstance(place.panel, Rows)
    place.panel.reverse()


@action("jump.start", ";", "ctrl+o")
def jump(place: Place) -> None:
    """Jump: every row that is seen gets a letter, which goes there."""
    from tui.jumping import start

    start(place.app)


@action("copy.name", "y", scopes=("rows", "detail"))
async def copy(place: Place) -> None:
    """Copy what the thing is called, or all that are marked, one a line."""
    if not place.subjects:
        place.app.say(nothing_here(place), "note")
        return
    await place.app.copy("\n".join(next(iter(subject.names.values()), subject.label) for subject in place.subjects))
