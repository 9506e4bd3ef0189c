"""Dialogs: a question that must be answered before anything is lost, a value that is asked for, a choice, a text to read.

Each is a modal screen that returns what the person said, or None for escape. Texts are shown as they are, never as markup.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.strip import Strip
from textual.widgets import Input, Static

from config.errors import QuarterdeckError
from tui.ink import Part, plain, wrapped
from tui.widgets.lines import Lines

if TYPE_CHECKING:
    from tui.app import QuarterdeckApp

R = TypeVar("R")


class Dialog(ModalScreen[R]):
    """A box in the middle of the screen."""

    DEFAULT_CSS = """
    Dialog { align: center middle; background: $qd-ground 60%; }
    Dialog:ansi { background: transparent; }
    Dialog > .box { width: 72; max-width: 96%; height: auto; max-height: 90%; background: $qd-raised; border: round $qd-focus; padding: 0 1;
                    border-title-color: $qd-focus; border-title-style: bold; border-subtitle-color: $qd-dim; }
    Dialog > .box.-danger { border: round $qd-bad; border-title-color: $qd-bad; }
    Dialog .words { height: auto; color: $qd-text; background: $qd-raised; }
    Dialog .hint { height: auto; color: $qd-dim; background: $qd-raised; }
    Dialog .wrong { height: auto; color: $qd-bad; background: $qd-raised; }
    Dialog Input { border: none; height: 1; padding: 0; background: $qd-ground; color: $qd-text; margin: 1 0; }
    Dialog Input:focus { border: none; }
    Dialog Lines { background: $qd-raised; }
    Dialog > .box.-ascii { border: ascii $qd-focus; }
    Dialog > .box.-ascii Lines { scrollbar-size: 0 0; }
    """
    BINDINGS = [Binding("escape", "leave", show=False), Binding("ctrl+c", "leave", show=False)]  # noqa: RUF012

    @property
    def deck(self) -> "QuarterdeckApp":
        """The app."""
        return self.app  # type: ignore[return-value]

    def on_mount(self) -> None:
        """A frame that the terminal can show."""
        self.query(".box").set_class(not self.deck.ink.unicode, "-ascii")

    def action_leave(self) -> None:
        """Say nothing."""
        self.dismiss(None)


def box(*children: Any, title: str, hint: str = "", danger: bool = False) -> Vertical:
    """The frame of a dialog."""
    made = Vertical(*children, classes="box -danger" if danger else "box")
    made.border_title = Text(title)
    if hint:
        made.border_subtitle = Text(hint)
    return made


def words(text: str, classes: str = "words") -> Static:
    """A text as it is."""
    return Static(Text(text), markup=False, classes=classes)


class Confirm(Dialog[bool]):
    """Asks before something is lost. Only ``y`` does it; enter alone does not."""

    def __init__(self, title: str, loses: str) -> None:
        super().__init__()
        self._title, self._loses = title, loses

    def compose(self) -> ComposeResult:
        """What would be lost, and the two keys."""
        yield box(
            words(self._loses), title=self.deck.ink.ascii(self._title), danger=True,
            hint=self.deck.ink.ascii("y do it · n leave it"),
        )  # fmt: skip

    def on_key(self, event: events.Key) -> None:
        """``y`` or anything else."""
        event.stop()
        if event.character in ("y", "Y"):
            self.dismiss(result=True)
        elif event.character in ("n", "N", "q") or event.key in ("escape", "enter"):
            self.dismiss(result=False)


class Ask(Dialog[str]):
    """Asks for a value; ``check`` says what is wrong with it while one types."""

    def __init__(
        self, title: str, about: str = "", value: str = "", check: Callable[[str], str | None] | None = None
    ) -> None:
        super().__init__()
        self._title, self._about, self._value, self._check = title, about, value, check

    def compose(self) -> ComposeResult:
        """What is asked, the line to write on, what is wrong."""
        field = Input(self._value, select_on_focus=False)
        field.cursor_blink = False
        parts = [words(self._about)] if self._about else []
        yield box(
            *parts, field, words("", "wrong"), title=self.deck.ink.ascii(self._title),
            hint=self.deck.ink.ascii("enter say it · esc leave it"),
        )  # fmt: skip

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        wrong = self._check(event.value) if self._check and event.value else None
        self.query_one(".wrong", Static).update(Text(wrong or ""))

    @on(Input.Submitted)
    def _done(self, event: Input.Submitted) -> None:
        wrong = self._check(event.value) if self._check else None
        if wrong:
            self.query_one(".wrong", Static).update(Text(wrong))
        else:
            self.dismiss(event.value)


class Once(Dialog[None]):
    """Shows something that is shown this once. Only ``q``, enter or escape closes it, ``y`` copies it; no other key takes it away."""

    BINDINGS = [  # noqa: RUF012
        Binding("q", "leave", show=False),
        Binding("enter", "leave", show=False),
        Binding("y", "copy", show=False),
    ]

    def __init__(self, title: str, value: str, about: str) -> None:
        super().__init__()
        self._title, self._value, self._about = title, value, about

    def compose(self) -> ComposeResult:
        """The value, and what it is for."""
        yield box(
            words(self._value), words(f"\n{self._about}", "hint"), words("", "wrong"), title=self.deck.ink.ascii(self._title),
            hint=self.deck.ink.ascii("y copy it · q close"),
        )  # fmt: skip

    async def action_copy(self) -> None:
        """Hand it to the clipboard, and say what became of it."""
        try:
            await self.deck.copy(self._value)
        except QuarterdeckError as error:
            said = error.sentence()
        else:
            said = self.deck.said[1] if self.deck.said else ""
        self.query_one(".wrong", Static).update(Text(said))


@dataclass(frozen=True, slots=True)
class Option:
    """One thing that can be chosen: its name, what stands beside it, why it cannot be chosen (if so), and what it stands for."""

    name: str
    note: str = ""
    why_not: str | None = None
    value: Any = None
    keys: str = ""


class Options(Lines, can_focus=False):
    """A list of options under a cursor."""

    DEFAULT_CSS = "Options { height: auto; max-height: 20; min-height: 1; }"

    def __init__(self) -> None:
        super().__init__()
        self.options: Sequence[Option] = ()
        self.at = 0

    def show(self, options: Sequence[Option]) -> None:
        """Show other options, the cursor on the first."""
        self.options, self.at = options, 0
        self.set_length(len(options))
        self.styles.height = max(1, min(20, len(options)))
        self.scroll_to(y=0, animate=False, immediate=True)
        self._painted.clear()
        self.refresh()

    def move(self, by: int) -> None:
        """Move the cursor."""
        if self.options:
            self.at = (self.at + by) % len(self.options)
            self.bring_into_view(self.at)
            self.repaint()

    def draw(self, line: int, width: int) -> Strip:
        """One option."""
        ink = self.ink
        if line >= len(self.options):
            return ink.strip([("nothing matches", "dim")] if not self.options and line == 0 else (), width, "raised")
        option = self.options[line]
        ground = "cursor" if line == self.at else "raised"
        keys = ink.fit(option.keys, 8, right=True) if width > 50 else ""
        room = width - len(keys) - 2
        name = ink.fit(option.name, min(30, max(12, room // 2)))
        tone = "dim" if option.why_not else "text"
        note = f"{ink.glyph('bad')} {option.why_not}" if option.why_not else option.note
        parts: list[Part] = [(" ", ""), (name, tone if line != self.at else f"{tone} bold"), (" ", "")]
        parts += [(ink.fit(note, max(0, room - len(name) - 1)), "dim"), (keys, "focus"), (" ", "")]
        return ink.strip(parts, width, ground)

    def on_click(self, event: events.Click) -> None:
        """Choose with the mouse."""
        line = self.top + event.y
        if 0 <= line < len(self.options):
            self.at = line
            self.repaint()
            self.screen.action_choose()  # type: ignore[attr-defined]


class Choose(Dialog[Option]):
    """Chooses one of many, narrowed down as one types; ``find`` ranks them."""

    DEFAULT_CSS = "Choose { align: center top; } Choose > .box { margin-top: 3; width: 92; }"
    BINDINGS = [  # noqa: RUF012
        Binding("up,ctrl+p", "move(-1)", show=False, priority=True),
        Binding("down,ctrl+n", "move(1)", show=False, priority=True),
        Binding("pageup", "move(-10)", show=False, priority=True),
        Binding("pagedown", "move(10)", show=False, priority=True),
        Binding("enter", "choose", show=False, priority=True),
    ]

    def __init__(self, title: str, options: Sequence[Option], hint: str = "type to narrow down") -> None:
        super().__init__()
        self._title, self._options, self._hint = title, options, hint

    def compose(self) -> ComposeResult:
        """The line to type on, and the options."""
        field = Input(placeholder=self._hint)
        field.cursor_blink = False
        yield box(
            field, Options(), title=self.deck.ink.ascii(self._title),
            hint=self.deck.ink.ascii("enter choose · ↑↓ move · esc leave"),
        )  # fmt: skip

    def on_mount(self) -> None:
        """Show all."""
        self.query_one(Options).show(self._options)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self.query_one(Options).show(narrowed(self._options, event.value))

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        self.query_one(Options).move(by)

    def action_choose(self) -> None:
        """Take what is under the cursor, unless it cannot be taken."""
        shown = self.query_one(Options)
        if not shown.options:
            return
        option = shown.options[shown.at]
        if option.why_not is None:
            self.dismiss(option)


class Pick(Choose):
    """Chooses one of a few, also by its digit alone."""

    @on(Input.Changed)
    def _pressed(self, event: Input.Changed) -> None:
        chosen = next((option for option in self._options if option.keys and option.keys == event.value), None)
        if chosen is not None and chosen.why_not is None:
            self.dismiss(chosen)


def narrowed(options: Sequence[Option], text: str) -> list[Option]:
    """The options whose name or note hold the letters of ``text`` in their order, the best first.

    Names count more than notes, runs of letters more than strays.
    """
    wanted = text.lower().split()
    ranked = []
    for n, option in enumerate(options):
        score = 0.0
        for word in wanted:
            best = max(_score(word, option.name.lower()) * 3, _score(word, option.note.lower()))
            if best <= 0:
                break
            score += best
        else:
            ranked.append((-score + (0.5 if option.why_not else 0), n, option))
    return [option for *_, option in sorted(ranked, key=lambda item: item[:2])]


def _score(word: str, text: str) -> float:
    """How well the letters of a word fit a text: 0 not at all, 2 as a whole at the start of a word or as the first letters of words."""
    initials = "".join(part[0] for part in re.findall(r"\w+", text))
    if len(word) > 1 and initials.startswith(word):
        return 2.0
    at = text.find(word)
    if at >= 0:
        return 2.0 if at == 0 or not text[at - 1].isalnum() else 1.5
    place, gaps = -1, 0
    for letter in word:
        found = text.find(letter, place + 1)
        if found < 0:
            return 0.0
        gaps += found - place - 1
        place = found
    return 1.0 / (1 + gaps)


class Reader(Lines):
    """Lines of text to read."""

    scopes = ("motion",)

    def __init__(
        self, lines: Sequence[Sequence[Part]], ground: str = "raised", *, hang: int = 0, fits: bool = False
    ) -> None:
        """``hang``: how far in a line goes on that is too long. ``fits``: it is as high as its lines."""
        super().__init__()
        self._source = lines
        self._lines: Sequence[Sequence[Part]] = lines
        self._ground, self._hang, self._fits = ground, hang, fits

    def on_mount(self) -> None:
        """Know the length."""
        self._fold()

    def on_resize(self) -> None:
        """Another width, other lines."""
        self._fold()

    def show(self, lines: Sequence[Sequence[Part]]) -> None:
        """Show another text at the same place."""
        self._source = lines
        self._fold()

    def _fold(self) -> None:
        width = self.size.width - 1  # with room for the scroll bar, whether it is there or not
        if width > self._hang + 8:
            self._lines = [
                row for line in self._source for row in wrapped(line, width, hang=self._hang or _indent(line))
            ]
        self.set_length(len(self._lines))
        if self._fits:
            self.styles.height = max(1, len(self._lines))
        self.repaint()

    def draw(self, line: int, width: int) -> Strip:
        """One line."""
        return self.ink.strip(self._lines[line] if line < len(self._lines) else (), width, self._ground)

    def move(self, by: int) -> None:
        """Scroll by lines."""
        self.scroll_to(y=max(0, self.top + by), animate=False, immediate=True)

    def page(self, pages: float) -> None:
        """Scroll by pages."""
        self.move(round(pages * self.room))

    def jump(self, to: int | None) -> None:
        """Go to a line counted from 1, or to the end."""
        self.scroll_to(y=len(self._lines) if to is None else to - 1, animate=False, immediate=True)


def _indent(line: Sequence[Part]) -> int:
    text = "".join(part for part, _ in line)
    return min(len(text) - len(text.lstrip()), 40)


class Read(Dialog[bool]):
    """A text to read: help, the result of a command, the log of what was sent."""

    DEFAULT_CSS = (
        "Read > .box { width: 110; height: auto; max-height: 92%; } Read Reader { height: auto; max-height: 100%; }"
    )
    BINDINGS = [  # noqa: RUF012
        Binding("q", "leave", show=False),
        Binding("question_mark", "leave", show=False),
        Binding("enter", "leave", show=False),
        Binding("j,down", "move(1)", show=False),
        Binding("k,up", "move(-1)", show=False),
        Binding("space,pagedown,ctrl+f", "page(1)", show=False),
        Binding("b,pageup,ctrl+b", "page(-1)", show=False),
        Binding("ctrl+d", "page(0.5)", show=False),
        Binding("ctrl+u", "page(-0.5)", show=False),
        Binding("g,home", "top", show=False),
        Binding("G,end", "bottom", show=False),
    ]

    keys = "j k move · q close"

    def __init__(self, title: str, lines: Sequence[Sequence[Part]], hang: int = 0) -> None:
        super().__init__()
        self._title, self._lines, self._hang = title, lines, hang

    def compose(self) -> ComposeResult:
        """The text in its frame."""
        reader = Reader(self._lines, hang=self._hang, fits=True)
        reader.styles.height = max(1, len(self._lines))
        yield box(reader, title=self.deck.ink.ascii(plain(self._title)), hint=self.deck.ink.ascii(self.keys))

    def _reader(self) -> Reader:
        return self.query_one(Reader)

    def action_move(self, by: int) -> None:
        """Scroll by lines."""
        self._reader().move(by)

    def action_page(self, pages: float) -> None:
        """Scroll by pages."""
        self._reader().page(pages)

    def action_top(self) -> None:
        """To the first line."""
        self._reader().jump(1)

    def action_bottom(self) -> None:
        """To the last line."""
        self._reader().jump(None)


class Consent(Read):
    """A text that is read before leave is given to what it says. Only ``y`` gives it; enter alone does not."""

    BINDINGS = [Binding("y,Y", "consent", show=False), Binding("n", "leave", show=False)]  # noqa: RUF012
    keys = "y allow it · j k move · n leave it"

    def action_consent(self) -> None:
        """Give leave."""
        self.dismiss(result=True)
