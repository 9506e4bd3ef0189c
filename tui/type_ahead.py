"""Keys that were typed before what they are meant for was there: a line that is slow delivers many at once, and fingers do not wait for a dialog.

Keys are taken one after the other. While an action that has begun may still open something, or a key that went to a dialog or a field has not had its whole
effect (it may close the dialog), those that follow are held. They go on, in their order, to what is there then; and after :data:`PATIENCE_SECONDS` in any case,
for what is waited for may take long.
"""

from collections import deque
from typing import TYPE_CHECKING, Literal

from textual.events import Key
from textual.message_pump import MessagePump
from textual.timer import Timer

if TYPE_CHECKING:
    from tui.app import QuarterdeckApp

PATIENCE_SECONDS = 1.0
MOST = 10_000
"""Keys that are held; what is pasted comes as one event, not as keys."""

Reason = Literal["action", "key"]


class TypeAhead:
    """Holds keys for one app."""

    def __init__(self, app: "QuarterdeckApp") -> None:
        self._app = app
        self._keys: deque[Key] = deque()
        self._reasons: set[Reason] = set()
        self._timer: Timer | None = None
        self._draining = False

    def begin(self) -> None:
        """An action may open something: hold what is typed from now on."""
        self._hold("action")

    def release(self) -> None:
        """It is there, or will not come: let the keys go on."""
        self._let_go("action")

    def follow(self, target: MessagePump, screen: MessagePump) -> None:
        """A key went to ``target``, which may say something to ``screen``, which may close: hold what is typed until all of that has been heard."""
        self._hold("key")
        self._pass_on([target, target, screen, screen, self._app])

    def takes(self, key: Key) -> bool:
        """Whether a key is held."""
        if not (self._reasons or self._keys or self._draining) or len(self._keys) >= MOST:
            return False
        self._keys.append(key)
        return True

    def _pass_on(self, way: list[MessagePump]) -> None:
        """Wait at the end of one queue after the other; a queue that is closed has nothing more to say."""
        while way:
            if way.pop(0).call_later(self._pass_on, way):
                return
        self._let_go("key")

    def _hold(self, reason: Reason) -> None:
        self._reasons.add(reason)
        if self._timer is None:
            self._timer = self._app.set_timer(PATIENCE_SECONDS, self._lose_patience, name="type ahead")

    def _lose_patience(self) -> None:
        self._reasons.clear()
        self._flow()

    def _let_go(self, reason: Reason) -> None:
        self._reasons.discard(reason)
        if not self._reasons:
            self._flow()

    def _flow(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        if self._keys and not self._draining:
            self._app.call_later(self._drain)

    async def _drain(self) -> None:
        if self._draining:
            return
        self._draining = True
        try:
            while self._keys and not self._reasons:
                await self._app.take_key(self._keys.popleft())
        finally:
            self._draining = False
