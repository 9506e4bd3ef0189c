"""Actions of a replay. Only the screen over a recording has the scope ``replay``."""

from typing import TYPE_CHECKING

from tui.actions import Place, action

if TYPE_CHECKING:
    from tui.replay import Replay

_SEEK_SECONDS = 5.0


def _replay(place: Place) -> "Replay":
    return place.app.replay  # type: ignore[attr-defined, no-any-return]


@action("replay.pause", "space", scopes=("replay",))
def pause(place: Place) -> None:
    """Stop the recording, or let it go on."""
    _replay(place).toggle()
    place.app.repaint_bars()


@action("replay.forward", "right", scopes=("replay",))
async def forward(place: Place) -> None:
    """Five seconds on; a count goes so many times as far."""
    replay = _replay(place)
    await replay.seek(replay.at + _SEEK_SECONDS * (place.count or 1))
    place.app.repaint_bars()


@action("replay.back", "left", scopes=("replay",))
async def back(place: Place) -> None:
    """Five seconds back; a count goes so many times as far."""
    replay = _replay(place)
    await replay.seek(replay.at - _SEEK_SECONDS * (place.count or 1))
    place.app.repaint_bars()


@action("replay.step", ".", scopes=("replay",))
async def step(place: Place) -> None:
    """Stop, and go to the next change."""
    await _replay(place).step(1)
    place.app.repaint_bars()


@action("replay.step-back", ",", scopes=("replay",))
async def step_back(place: Place) -> None:
    """Stop, and go to the change before."""
    await _replay(place).step(-1)
    place.app.repaint_bars()


@action("replay.faster", "+", scopes=("replay",))
def faster(place: Place) -> None:
    """Faster."""
    _replay(place).faster(1)
    place.app.repaint_bars()


@action("replay.slower", "-", scopes=("replay",))
def slower(place: Place) -> None:
    """Slower."""
    _replay(place).faster(-1)
    place.app.repaint_bars()


@action("replay.restart", "backspace", scopes=("replay",))
async def restart(place: Place) -> None:
    """From the beginning."""
    await _replay(place).seek(0.0)
    place.app.repaint_bars()
