"""Keys that were typed before what they are meant for was there: a line that is slow delivers many at once, and fingers do not wait for a dialog.

While an action that has begun may still open something, keys are held. They go on, in their order, to what it has opened, or to the screen once it has
ended; and after :data:`PATIENCE_SECONDS` in any case, for what it does may take long.
"""

from typing import TYPE_CHECKING

from textual.events import Key
from textual.timer import Timer

if TYPE_CHECKING:
    from tui.app import QuarterdeckApp

PATIENCE_SECONDS = 1.0
MOST = 10_000
"""Keys that are held; what is pasted comes as one event, not as keys."""


class TypeAhead:
    """Holds keys for one app."""

    def __init__(self, app: "QuarterdeckApp") -> None:
        self._app = app
        self._keys: list[Key] = []
        self._timer: Timer | None = None

    def begin(self) -> None:
        """Something may open: hold what is typed from now on."""
        if self._timer is None:
            self._timer = self._app.set_timer(PATIENCE_SECONDS, self.release, name="type ahead")

    def takes(self, key: Key) -> bool:
        """Whether a key is held."""
        if self._timer is None or len(self._keys) >= MOST:
            return False
        self._keys.append(key)
        return True

    def release(self) -> None:
        """It is there, or will not come: let the keys go on."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
            held, self._keys = self._keys, []
            for key in held:
                self._app.post_message(key)
