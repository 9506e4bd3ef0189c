"""Actions of the deck: which panel has the keys, and how the panels stand."""

from dataclasses import replace
from typing import TYPE_CHECKING

from tui.actions import Place, action
from tui.arrangement import PANELS

if TYPE_CHECKING:
    from tui.screens.deck import DeckScreen


def _deck(place: Place) -> "DeckScreen":
    return place.screen  # type: ignore[return-value]


def _not_zoomed(place: Place) -> str | None:
    """While one panel has the whole screen there is nothing to choose: digits are counts."""
    return "one panel has the whole screen" if _deck(place).chosen.zoomed else None


for _n, _panel in enumerate(PANELS, start=1):

    def _focus(place: Place, name: str = _panel) -> None:
        _deck(place).focus_panel(name)

    _focus.__doc__ = f"Give the keys to the panel {_panel.replace('log', 'live log')}."
    action(f"panel.{_panel}", str(_n), scopes=("deck",), enabled=_not_zoomed)(_focus)


@action("panel.knowledge", "6", scopes=("deck",), enabled=_not_zoomed)
def knowledge(place: Place) -> None:
    """Go to what the crew knows."""
    place.app.open("knowledge")


@action("panel.next", "tab", "l", "right", scopes=("deck",))
def next_panel(place: Place) -> None:
    """The next panel."""
    _deck(place).next_panel(place.count or 1)


@action("panel.previous", "shift+tab", "h", "left", scopes=("deck",))
def previous_panel(place: Place) -> None:
    """The panel before."""
    _deck(place).next_panel(-(place.count or 1))


@action("panel.zoom", "z", scopes=("deck",), footer="zoom", order=75)
def zoom(place: Place) -> None:
    """Give the whole screen to the panel, or all of them their place again."""
    deck = _deck(place)
    deck.rearrange(replace(deck.chosen, zoomed=not deck.chosen.zoomed))


@action("panel.grow", "+", scopes=("deck",))
def grow(place: Place) -> None:
    """Make the panel larger."""
    deck = _deck(place)
    deck.rearrange(deck.chosen.resized(15 * (place.count or 1)))


@action("panel.shrink", "-", scopes=("deck",))
def shrink(place: Place) -> None:
    """Make the panel smaller."""
    deck = _deck(place)
    deck.rearrange(deck.chosen.resized(-15 * (place.count or 1)))


@action("panel.hide", "H", scopes=("deck",))
def hide(place: Place) -> None:
    """Hide the panel; its number shows it again."""
    deck = _deck(place)
    chosen = deck.chosen.toggled(deck.chosen.focus)
    if chosen == deck.chosen:
        place.app.say("the last panel stays", "note")
        return
    shown = [panel for panel in PANELS if panel not in chosen.hidden]
    number = PANELS.index(deck.chosen.focus) + 1
    deck.rearrange(replace(chosen, focus=shown[0], zoomed=False))
    place.app.say(f"hidden; {number} shows it again", "note")


@action("panel.reset", "=", scopes=("deck",))
def reset(place: Place) -> None:
    """All panels, as they stand by themselves."""
    from tui.arrangement import Arrangement

    deck = _deck(place)
    deck.rearrange(Arrangement(focus=deck.chosen.focus))
