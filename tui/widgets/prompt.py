"""The line at the bottom that one writes on: ``:`` for commands, ``/`` for filters; with history and completion."""

from collections.abc import Callable, Sequence

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.screen import ModalScreen
from textual.widgets import Input, Static

Complete = Callable[[str], Sequence[str]]
"""What the line may become, the likeliest first, each as the whole line."""


class Prompt(ModalScreen[str]):
    """One line of input. Returns what was written, None for escape. ``live`` hears every change and says what is wrong with it."""

    DEFAULT_CSS = """
    Prompt { align: left bottom; background: transparent; }
    Prompt #offers { height: auto; max-height: 8; background: $qd-raised; color: $qd-dim; padding: 0 1; }
    Prompt #line { height: 1; background: $qd-raised; }
    Prompt #sign { width: 2; color: $qd-focus; text-style: bold; padding-left: 1; background: $qd-raised; }
    Prompt Input { border: none; height: 1; padding: 0; background: $qd-raised; color: $qd-text; }
    Prompt Input:focus { border: none; }
    """
    BINDINGS = [  # noqa: RUF012
        Binding("escape,ctrl+c", "leave", show=False, priority=True),
        Binding("up,ctrl+p", "recall(1)", show=False, priority=True),
        Binding("down,ctrl+n", "recall(-1)", show=False, priority=True),
        Binding("tab", "complete(1)", show=False, priority=True),
        Binding("shift+tab", "complete(-1)", show=False, priority=True),
    ]

    def __init__(
        self,
        sign: str,
        value: str = "",
        *,
        history: Sequence[str] = (),
        complete: Complete | None = None,
        live: Callable[[str], str | None] | None = None,
        hint: str = "",
    ) -> None:
        """``hint``: what can be written, while nothing is."""
        super().__init__()
        self._hint = hint
        self._sign, self._value = sign, value
        self._history, self._complete, self._live = list(history), complete, live
        self._place = 0
        self._written = value
        self._offers: Sequence[str] = ()
        self._offer = -1
        self._ours = False

    def compose(self) -> ComposeResult:
        """What is offered, and the line under it."""
        yield Static("", id="offers", markup=False)
        field = Input(self._value, select_on_focus=False)
        field.cursor_blink = False
        yield Horizontal(Static(self._sign, id="sign", markup=False), field, id="line")

    def on_mount(self) -> None:
        """Nothing is offered yet."""
        self.query_one("#offers").display = False
        field = self.query_one(Input)
        self.set_focus(field)
        field.cursor_position = len(self._value)
        self._offer_for(self._value)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        if self._ours:
            self._ours = False
            return
        self._written, self._offer = event.value, -1
        self._offer_for(event.value)

    @on(Input.Submitted)
    def _done(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)

    def action_leave(self) -> None:
        """Leave it."""
        self.dismiss(None)

    def action_recall(self, by: int) -> None:
        """Take up what was written before."""
        if not self._history:
            return
        self._place = max(0, min(len(self._history), self._place + by))
        text = self._history[-self._place] if self._place else self._written
        self._set(text)
        if self._live:
            self._offer_for(text)

    def action_complete(self, by: int) -> None:
        """Take the next offer."""
        if self._offers:
            self._offer = (
                (self._offer + by) % len(self._offers) if self._offer >= 0 else (0 if by > 0 else len(self._offers) - 1)
            )
            self._set(self._offers[self._offer])
            self._show(self._offers)
            if len(self._offers) == 1:
                self._written = self._offers[0]
                self._offer = -1
                self._offer_for(self._written)

    def _set(self, value: str) -> None:
        field = self.query_one(Input)
        self._ours = field.value != value
        field.value = value
        field.cursor_position = len(value)

    def _offer_for(self, value: str) -> None:
        wrong = self._live(value) if self._live else None
        if wrong:
            self._tell(Text(wrong, style=self.app.ink.style("bad", "raised")))  # type: ignore[attr-defined]
            return
        if not value and self._hint:
            self._tell(Text(self.app.ink.ascii(self._hint), style=self.app.ink.style("dim", "raised")))  # type: ignore[attr-defined]
            return
        self._offers = self._complete(value)[:40] if self._complete else ()
        self._show(self._offers)

    def _show(self, offers: Sequence[str]) -> None:
        text = Text()
        ink = self.app.ink  # type: ignore[attr-defined]
        for n, offer in enumerate(offers):
            word = offer.rstrip().rpartition(" ")[2]
            text.append(f"{word}", ink.style("focus bold" if n == self._offer else "text", "raised"))
            text.append("  ")
        self._tell(text)

    def _tell(self, text: Text) -> None:
        shown = self.query_one("#offers", Static)
        shown.display = bool(text.plain.strip())
        shown.update(text)
