"""A form on the screen: fields one under the other, told what is wrong while one types, helped by what exists; by keys alone."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.css.query import NoMatches
from textual.widgets import Input, Static, TextArea

from config.errors import QuarterdeckError, UsageError
from tui.forms import Field, Form, arguments_of, completed, offers, wrong
from tui.giving import give_undoably
from tui.ink import plain
from tui.widgets.dialogs import Dialog

Known = Callable[[str], Sequence[tuple[str, str]]]
"""What exists of a kind (project, agent, task): names, and what each is about."""

_KINDS = {"after": "task", "parent": "task"}
"""Field → the kind of thing that it names, where it is called otherwise."""


class FormScreen(Dialog[Any]):
    """Fills in the fields of a command, gives it, and returns its result; None when one leaves."""

    DEFAULT_CSS = """
    FormScreen > .box { width: 96; height: auto; max-height: 96%; }
    FormScreen #fields { height: auto; max-height: 100%; background: $qd-raised; scrollbar-size: 1 1; }
    FormScreen .row { height: 1; background: $qd-raised; }
    FormScreen .row.-long { height: 5; }
    FormScreen .name { width: 15; color: $qd-dim; background: $qd-raised; }
    FormScreen .row.-here .name { color: $qd-focus; text-style: bold; }
    FormScreen .row.-wrong .name { color: $qd-bad; }
    FormScreen Input, FormScreen Input:focus { margin: 0; width: 1fr; height: 1; border: none; padding: 0 1; background: $qd-ground; color: $qd-text; }
    FormScreen .row.-here Input { background: $qd-cursor; }
    FormScreen TextArea, FormScreen TextArea:focus { height: 5; width: 1fr; border: none; padding: 0 1; background: $qd-ground; color: $qd-text; }
    FormScreen .row.-here TextArea { background: $qd-cursor; }
    FormScreen #about { height: 4; margin-top: 1; background: $qd-raised; color: $qd-dim; }
    """
    BINDINGS = [  # noqa: RUF012
        Binding("down,tab", "step(1)", show=False, priority=True),
        Binding("up,shift+tab", "step(-1)", show=False, priority=True),
        Binding("ctrl+n", "offer(1)", show=False, priority=True),
        Binding("ctrl+p", "offer(-1)", show=False, priority=True),
        Binding("ctrl+s", "send", show=False, priority=True),
        Binding("ctrl+e", "editor", show=False, priority=True),
        Binding("escape,ctrl+c", "leave", show=False, priority=True),
    ]

    def __init__(self, form: Form, known: Known) -> None:
        super().__init__()
        self.form = form
        self._known = known
        self._at = 0
        self._offer = -1
        self._typed = ""
        """What was written before offers were gone through."""
        self._ours: str | None = None
        """The text that an offer has put into the field."""
        self._sure = False
        self._said = ""
        self._tried = False
        """Whether it was to be sent once: from then on what is empty and needed is wrong."""
        self._sending = False

    # ── what is there ───────────────────────────────────────────────────────────────────────────────────────────────

    def compose(self) -> ComposeResult:
        """A row for each field, and what is to be said of the one that has the keys."""
        rows = [self._row(n, field) for n, field in enumerate(self.form.fields)]
        box = Vertical(
            VerticalScroll(*rows, id="fields", can_focus=False), Static("", id="about", markup=False), classes="box"
        )
        ink = self.deck.ink
        box.border_title = Text(ink.ascii(self.form.title))
        word = "change it" if self.form.edits else "add it"
        box.border_subtitle = Text(ink.ascii(f"^s {word} · ⇥ next · ^n offers · ^e editor · esc leave"))
        yield box

    def _row(self, n: int, field: Field) -> Horizontal:
        star = "*" if field.required else ""
        name = Static(f"{self.deck.ink.ascii(field.label)}{star}", classes="name", markup=False)
        value = self.form.value(field.name)
        if field.kind == "long":
            area = TextArea(value, id=f"f{n}", tab_behavior="focus", show_line_numbers=False)
            area.cursor_blink = False
            return Horizontal(name, area, classes="row -long", id=f"row{n}")
        entry = Input(
            value, id=f"f{n}", placeholder=self.deck.ink.ascii(field.default or field.help), select_on_focus=False
        )
        entry.cursor_blink = False
        return Horizontal(name, entry, classes="row", id=f"row{n}")

    def on_mount(self) -> None:
        """Begin with the first field, or the first that is empty and needed."""
        room = max(4, self.size.height - 11)
        self.query_one("#fields").styles.max_height = room
        empty = (n for n, field in enumerate(self.form.fields) if field.required and not self.form.value(field.name))
        self._go(next(empty, 0))

    def on_resize(self, event: events.Resize) -> None:
        """The fields have what is left by the edges and the words below."""
        self.query_one("#fields").styles.max_height = max(4, event.size.height - 11)

    def texts(self) -> dict[str, str]:
        """What stands in the fields."""
        return {field.name: self._text(n) for n, field in enumerate(self.form.fields)}

    def _text(self, n: int) -> str:
        widget = self.query_one(f"#f{n}")
        return widget.text if isinstance(widget, TextArea) else widget.value if isinstance(widget, Input) else ""

    def _put(self, n: int, text: str) -> None:
        widget = self.query_one(f"#f{n}")
        if isinstance(widget, TextArea):
            widget.load_text(text)
        elif isinstance(widget, Input):
            widget.value = text
            widget.cursor_position = len(text)

    @property
    def _field(self) -> Field:
        return self.form.fields[self._at]

    # ── moving and typing ───────────────────────────────────────────────────────────────────────────────────────────

    def _go(self, n: int) -> None:
        self._at, self._offer = n, -1
        self._typed = self._text(n)
        self.set_focus(self.query_one(f"#f{n}"))
        for place in range(len(self.form.fields)):
            self.query_one(f"#row{place}").set_class(place == n, "-here")
        self._tell()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """A field that was clicked has the keys."""
        name = event.widget.id or ""
        if event.widget is not self.focused:
            return  # it had them for a moment, and they are elsewhere by now
        if name.startswith("f") and name[1:].isdigit() and int(name[1:]) != self._at:
            self._go(int(name[1:]))

    def action_step(self, by: int) -> None:
        """To the next field; within a long text, to the next line first."""
        area = self.query_one(f"#f{self._at}")
        if isinstance(area, TextArea):
            line, last = area.cursor_location[0], area.document.line_count - 1
            key = self._last_key
            if key == "down" and line < last:
                area.action_cursor_down()
                return
            if key == "up" and line > 0:
                area.action_cursor_up()
                return
        self._go((self._at + by) % len(self.form.fields))

    _last_key = ""

    async def on_event(self, event: events.Event) -> None:
        """Arrows mean the next line in a long text, the next field elsewhere."""
        if isinstance(event, events.Key):
            self._last_key = event.key
        await super().on_event(event)

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        if event.value != self._ours and event.input.id == f"f{self._at}":
            self._typed, self._offer, self._ours = event.value, -1, None
        self._sure, self._said = False, ""
        self._tell()

    @on(TextArea.Changed)
    def _changed_long(self) -> None:
        self._sure, self._said = False, ""
        self._tell()

    @on(Input.Submitted)
    def _entered(self) -> None:
        self.action_step(1)

    def action_offer(self, by: int) -> None:
        """Take the next offer of what the field may become."""
        found = self._offers()
        if not found:
            return
        self._offer = (self._offer + by) % len(found) if self._offer >= 0 else (0 if by > 0 else len(found) - 1)
        text = completed(self._field, self._typed, found[self._offer][0])
        self._ours = text
        self._put(self._at, text)
        self._tell()

    def _offers(self) -> list[tuple[str, str]]:
        field = self._field
        kind = _KINDS.get(field.name, field.name)
        return offers(field, self._known(kind), self._typed)

    # ── what is said ────────────────────────────────────────────────────────────────────────────────────────────────

    def _tell(self) -> None:
        """Help for the field that has the keys, what is wrong with it, what it may become."""
        try:
            about = self.query_one("#about", Static)
        except NoMatches:
            return
        ink, field, width = self.deck.ink, self._field, max(20, min(90, self.size.width - 8))
        lines: list[list[tuple[str, str]]] = []
        problem = self._said or self._wrong(self._at)
        several = (
            {True: "; several are parted by ' ; '", False: "; several are parted by commas"}[field.by_semicolon]
            if field.repeated
            else ""
        )
        lines.append([(ink.fit((field.help or field.label) + several, width), "dim")])
        lines.append([(ink.fit(f"{ink.glyph('bad')} {problem}", width), "bad")] if problem else [])
        found = self._offers()
        if found:
            first = max(0, self._offer - 2)
            parts: list[tuple[str, str]] = [("^n ", "focus bold")]
            for n, (name, note) in enumerate(found[first : first + 6], start=first):
                shown = plain(name) + (f" {plain(note)[:28]}" if note and note != name else "")
                parts.append((f"{shown}   ", "focus bold" if n == self._offer else "text"))
            lines.append(parts)
        text = Text(no_wrap=True, overflow="ellipsis")
        for n, line in enumerate(lines):
            text.append("\n" if n else "")
            for words, tone in line:
                text.append(ink.ascii(words), ink.style(tone, "raised"))
        about.update(text)
        for n in range(len(self.form.fields)):
            self.query_one(f"#row{n}").set_class(
                bool(self._wrong(n)) and bool(self._text(n).strip() or self._tried), "-wrong"
            )

    def _wrong(self, n: int) -> str:
        field = self.form.fields[n]
        text = self._text(n)
        if not text.strip() and not self._tried and not self.form.edits:
            return ""
        return wrong(self.form, field, text) or self._unknown(field, text)

    def _unknown(self, field: Field, text: str) -> str:
        """What names nothing that exists, where all that exists is known."""
        if field.name not in ("project", "agent", "adapter") or not text.strip():
            return ""
        names = [name for name, _ in self._known(field.name)]
        return "" if not names or text.strip() in names else f"there is no {field.label} {plain(text.strip())[:40]}"

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def action_send(self) -> None:
        """Give the command, unless something is wrong or it is being given already."""
        if not self._sending:
            self._sending = True
            self.run_worker(self._send(), group="send")

    async def _send(self) -> None:
        try:
            await self._give()
        finally:
            self._sending = False

    async def _give(self) -> None:
        self._tried = True
        first = next((n for n in range(len(self.form.fields)) if self._wrong(n)), None)
        if first is not None:
            self._go(first)
            return
        try:
            arguments = arguments_of(self.form, self.texts())
            if self.form.edits and arguments == dict(self.form.fixed):
                raise UsageError("nothing was changed", "esc leaves")
            result = await give_undoably(self.deck, self.form.command, arguments)
        except QuarterdeckError as error:
            self._said = error.sentence()
            self._tell()
            return
        self.dismiss(result)

    def action_leave(self) -> None:
        """Leave; when something was written, only the second time; not while it is being sent."""
        if self._sending:
            self._said = "it is being sent"
            self._tell()
            return
        touched = any(text.strip() != self.form.value(name).strip() for name, text in self.texts().items())
        if touched and not self._sure:
            self._tell_once("esc again drops what you have written")
            return
        self.dismiss(None)

    def _tell_once(self, words: str) -> None:
        self._said = words
        self._tell()
        self._sure = True

    def action_editor(self) -> None:
        """Write the field in $EDITOR."""
        from tui.editor import edit_text

        context = self.deck.store.context
        if context is None:
            return
        try:
            text = edit_text(self.deck, context.environ, self._text(self._at))
        except QuarterdeckError as error:
            self._said = error.sentence()
            self._tell()
            return
        self._put(self._at, text.rstrip("\n") if self._field.kind == "long" else " ".join(text.split()))


def known_of(names: Mapping[str, Sequence[tuple[str, str]]]) -> Known:
    """What exists, from a mapping of kinds."""
    return lambda kind: names.get(kind, ())
