"""What every full screen has: the status line, the banner of trouble, its body, the footer; and what it tells the registry of actions."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, Self

from textual.app import ComposeResult
from textual.geometry import Region
from textual.screen import Screen
from textual.timer import Timer
from textual.widget import Widget

from tui.actions import Subject
from tui.widgets.bars import Banner, Bar, Footer, StatusLine
from tui.widgets.lines import Lines

if TYPE_CHECKING:
    from tui.app import QuarterdeckApp


_FRAME_SECONDS = 1 / 60


class BaseScreen(Screen[None]):
    """A full screen. A subclass yields its widgets in :meth:`body` and says its ``scopes`` and its ``trail``."""

    scopes: ClassVar[tuple[str, ...]] = ()
    """Scopes of actions that the screen adds."""
    _later: Timer | None = None
    """Until what is due in the middle of a batch is looked at again."""
    BINDINGS = []  # noqa: RUF012 - the keys of the screen are those of the registry
    DEFAULT_CSS = "BaseScreen { background: $qd-ground; color: $qd-text; layers: base over; }"
    ESCAPE_TO_MINIMIZE = False
    what: str = ""
    """Which place it is, as :data:`tui.screens.PLACES` calls it; empty: it is not come back to."""
    names: Mapping[str, str] = {}
    """Of what it shows."""
    trail: str = ""
    """Where one is, for the status line: ``task #42``."""

    @property
    def deck(self) -> "QuarterdeckApp":
        """The app."""
        return self.app  # type: ignore[return-value]

    def compose(self) -> ComposeResult:
        """The lines around, and the body."""
        yield StatusLine(id="status")
        yield Banner(id="banner")
        yield from self.body()
        yield from self.deck.more_bars()
        yield Footer(id="footer")

    def body(self) -> Iterable[Widget]:
        """The widgets of the screen, from top to bottom."""
        return ()

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        """As Textual has it, but a screen that is laid out anew is painted only where something has moved: it shows nothing of its own."""
        return super().refresh(*regions, repaint=repaint and not layout, layout=layout, recompose=recompose)

    def _compositor_refresh(self) -> None:
        """As Textual has it, from the first picture on (see the app's ``_first_picture``), and not in the middle of a batch: it would forget what is due."""
        if not self.deck.pictured:
            return
        if self.app._batch_count:  # noqa: SLF001 - nothing is written then
            self._later = self._later or self.set_timer(_FRAME_SECONDS, self._batch_is_over)
        else:
            super()._compositor_refresh()

    def _batch_is_over(self) -> None:
        self._later = None
        self._compositor_refresh()

    def on_screen_suspend(self) -> None:
        """Another place is on top: what is not seen loads and paints nothing. Behind a dialog it goes on."""
        if self.app.screen is not self and isinstance(self.app.screen, BaseScreen):
            self.deck.store.rest(self)

    def on_screen_resume(self) -> None:
        """It is seen again, and the keys are its own."""
        self.deck.store.rouse(self)
        self.tick()

    def tick(self) -> None:
        """Time has passed: whatever says how long ago something was may differ."""
        self.repaint_bars()
        for lines in self.query(Lines):
            lines.tick()

    @property
    def loading_yet(self) -> bool:
        """Whether what the screen is about has not been loaded yet."""
        return False

    def subject(self) -> Subject | None:
        """What the whole screen is about, where no panel has anything under its cursor."""
        return None

    def repaint_bars(self) -> None:
        """Paint the lines around that differ."""
        for bar in self.query(Bar):
            bar.repaint()
