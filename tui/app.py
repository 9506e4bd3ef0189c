"""The app: it owns the store, the registry of actions and the theme, turns keys into actions, and says what came of them.

It holds no logic of the product: everything that changes anything is a command of the table, given through the store.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from textual import events
from textual.app import App
from textual.screen import ModalScreen, Screen
from textual.widget import Widget

from config.errors import QuarterdeckError
from config.settings import ScreenSettings
from core.faces.plain import harmless
from storage.queries.screen import Need
from tui import giving, themes
from tui.actions import SUBJECTS, Action, Pending, Place, Registry, Subject, nothing_here, why_not
from tui.clipboard import clipboard_of
from tui.drafts import Drafts
from tui.ink import Ink, plain
from tui.keymap import key_name
from tui.lifeline import Lifeline
from tui.memory import Memory
from tui.panels.inbox import without_aside
from tui.pulse import MONEY, TOPICS, Money, Pulse, load_money, load_pulse
from tui.screens import open_place
from tui.screens.base import BaseScreen
from tui.store import Connection, Fresh, Store, Trouble
from tui.trouble import remedy_of, trouble_of
from tui.type_ahead import TypeAhead
from tui.undoing import Undo
from tui.whereabouts import Whereabouts
from tui.widgets.bars import Bar
from tui.widgets.dialogs import Ask, Choose, Confirm, Option, Read
from tui.widgets.lines import Lines
from tui.widgets.scroll_bar import choose_scroll_bar

PICTURE_SECONDS = 0.3
"""So long an empty screen waits for what is in it, at most."""
MINUTE_SECONDS = 60.0
"""How often what says how long ago something was is written anew."""
TALL = 36
"""From so many lines on the roomy density puts blank lines around what panels show."""


@dataclass(frozen=True, slots=True)
class Choices:
    """How the screen was started."""

    theme: str = "dark"
    unicode: bool = True
    readonly: bool = False
    low_bandwidth: bool = False
    dense: bool = True
    notice: str = ""
    """What the status line says of all that is shown: that it is a demonstration, whose model charges nothing."""


class QuarterdeckApp(App[int]):
    """The screen of Quarterdeck."""

    TITLE = "Quarterdeck"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar = []
    ESCAPE_TO_MINIMIZE = False
    CSS = """
    * { scrollbar-color: $qd-edge; scrollbar-background: $qd-ground; scrollbar-color-active: $qd-focus; scrollbar-color-hover: $qd-dim;
        scrollbar-background-hover: $qd-ground; scrollbar-background-active: $qd-ground; scrollbar-size: 1 1; }
    .-roomy Lines { padding: 0 1; }
    .-roomy.-tall Lines { padding: 1; }
    .-roomy Lines.-folded { padding: 0; }
    .-roomy Dialog > .box { padding: 1 2; }
    .-roomy Dialog Lines { padding: 0; }
    .-roomy.-tall FormScreen .row { margin-bottom: 1; }
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        choices: Choices,
        memory: Memory,
        lifeline: Lifeline,
        beside: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        self.ink = Ink(themes.PALETTES[choices.theme], choices.unicode)
        super().__init__()
        choose_scroll_bar(unicode=choices.unicode)
        self.animation_level = "none"
        self.store, self.registry, self.choices, self.memory, self.lifeline = store, registry, choices, memory, lifeline
        for palette in themes.PALETTES.values():
            self.register_theme(themes.textual_theme(palette))
        self.theme = choices.theme
        self.whereabouts = Whereabouts(self)
        self.pulse: Pulse | None = None
        self.money: Money | None = None
        self.said: tuple[str, str, str] | None = None
        """What was said last: tone, words, hint."""
        self.pending: Pending | None = None
        self.count = ""
        self.undos: list[Undo] = []
        self.drafts = Drafts()
        self.grab: Callable[[str], bool] | None = None
        """Takes the next keys in place of the registry, until it answers False: the jump mode."""
        self.ahead = TypeAhead(self)
        self.pictured = False
        """Whether anything was painted yet."""
        self._beside = beside
        self._colours: dict[str, str | None] = {}

    # ── life ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def on_mount(self) -> None:
        """Listen to the database and show the deck."""
        self.set_class(not self.choices.dense, "-roomy")
        self.set_class(self.ink.palette.mono, "-mono")
        self.lifeline.attach(self)
        self.app_resume_signal.subscribe(self, lambda _: self._resumed())
        self.store.start(self)
        self.store.subscribe(self, TOPICS, self._load_pulse)
        self.store.subscribe(self, MONEY, self._load_money)
        self.store.subscribe(self, ("settings",), self._load_wishes)
        open_place(self, "deck")
        self.whereabouts.come_back()
        self.set_interval(MINUTE_SECONDS, self.tick)
        self.run_worker(self._first_picture(), group="picture")
        if self._beside is not None:
            self.run_worker(self._attend(self._beside), group="beside")

    async def _first_picture(self) -> None:
        """Paint once what is there, in place of an empty frame and then one panel after the other: a slow line has to carry it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PICTURE_SECONDS):
                await self.store.filled()
        self.pictured = True
        self.screen.refresh(layout=True)
        self.screen.refresh()  # all of it: nothing is there yet

    def tick(self) -> None:
        """Time has passed: paint what looks at the clock where it differs, so that an age grows also while nothing happens."""
        for screen in {self.screen, self._base_screen()} if self.screen_stack else ():  # at the end there is none
            if isinstance(screen, BaseScreen):
                screen.tick()
            elif screen is not None:
                for lines in screen.query(Lines):
                    lines.tick()

    async def _attend(self, work: Callable[[], Awaitable[str]]) -> None:
        self.say(await work(), "note")

    async def on_unmount(self) -> None:
        """End what was begun."""
        self.lifeline.give_title_back()
        await self.store.stop()

    def _suspend_signal(self) -> None:
        """The terminal is about to be somebody else's: at once, for what subscribes to the signal is told after it."""
        self.lifeline.give_title_back()
        super()._suspend_signal()

    async def _load_pulse(self) -> Pulse:
        return await load_pulse(self.store)

    async def _load_money(self) -> Money:
        return await load_money(self.store)

    async def _load_wishes(self) -> ScreenSettings:
        """What the settings say of the screen."""
        return (await self.store.settings()).screen

    def on_fresh(self, message: Fresh) -> None:
        """Another state of the whole, or other settings."""
        if isinstance(message.data, Trouble):
            self.say(message.data.words, "bad")
            return
        if isinstance(message.data, ScreenSettings):
            self.lifeline.wishes = message.data
            return
        if isinstance(message.data, Money):
            self.money = message.data
            self.repaint_bars()
            return
        self.pulse = message.data
        self.lifeline.alert(self.pulse.needs)
        self.lifeline.entitle(len(self.needs))
        for screen in self.screen_stack:
            if isinstance(screen, BaseScreen):
                screen.repaint_bars()

    @property
    def needs(self) -> list[Need]:
        """What needs the person, without what was put aside; the most urgent first."""
        return without_aside(self.pulse.needs, self.memory) if self.pulse else []

    def needs_changed(self) -> None:
        """Something was put aside or taken back: every place that counts says so."""
        self.lifeline.entitle(len(self.needs))
        self.repaint_bars()

    def on_connection(self, message: Connection) -> None:
        """The database is gone, or back."""
        self.repaint_bars()
        if message.state == "live":
            self.run_worker(giving.begin(self), group="begin", exclusive=True)

    def more_bars(self) -> "list[Bar]":
        """Lines that every place has above its keys."""
        return []

    @property
    def readonly(self) -> bool:
        """Whether nothing may be changed from here."""
        return self.store.readonly

    @property
    def trouble(self) -> str:
        """What is wrong with the whole, in words; empty when nothing is."""
        return trouble_of(self)

    @property
    def remedy(self) -> str:
        """What is done about the trouble, or which key does it."""
        return remedy_of(self)

    @property
    def _background_screens(self) -> list[Screen[Any]]:
        """What may be seen behind the present screen: nothing behind a full one. Textual always counts the next one below, and paints its changes."""
        return [] if isinstance(self.screen, BaseScreen) else super()._background_screens

    # ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def on_event(self, event: events.Event) -> None:
        """Keys one after the other: see :meth:`take_key`."""
        if isinstance(event, events.Key | events.MouseUp):
            self.whereabouts.soon()
        if isinstance(event, events.Key) and not event.is_forwarded:
            if not self.ahead.takes(event):
                await self.take_key(event)
            return
        if isinstance(event, events.Resize):
            event = self.lifeline.sized(event)
            self.set_class(event.size.height >= TALL, "-tall")
        await super().on_event(event)

    async def take_key(self, key: events.Key) -> None:
        """Give a key to the registry first, unless somebody is being written to or a dialog is open."""
        if (
            key_name(key) in self.registry.keys["screen.redraw"]
        ):  # whatever is open: who else writes on the terminal does not ask
            self.redraw()
            return
        if self._ours():
            if self.press(key_name(key)):
                return
            await super().on_event(key)
            return
        screen = self.screen
        target = self.focused or screen
        await super().on_event(key)
        self.ahead.follow(target, screen)

    def _resumed(self) -> None:
        """Whoever had the terminal meanwhile has written on it, and named it."""
        self.redraw()
        self.lifeline.entitle(len(self.needs))

    def redraw(self) -> None:
        """Draw and paint everything anew."""
        for screen in self.screen_stack:
            for widget in (screen, *screen.query()):
                widget.refresh()

    def _ours(self) -> bool:
        if isinstance(self.screen, ModalScreen):
            return False
        return not getattr(self.focused, "takes_text", False) and type(self.focused).__name__ not in (
            "Input",
            "TextArea",
        )

    def press(self, key: str) -> bool:
        """Take a key; False when it means nothing here."""
        if self.said is not None:
            self.said = None
        if self.grab is not None:
            if not self.grab(key):
                self.grab = None
            self.repaint_bars()
            return True
        place = self.place()
        if key == "escape" and (self.pending or self.count):
            self._forget()
            return True
        if self.pending is None and key.isdigit() and len(key) == 1 and self._counts(key, place):
            self.count += key
            self.repaint_bars()
            return True
        begun = (*self.pending.begun, key) if self.pending else (key,)
        found = self.registry.press(begun, place)
        if isinstance(found, Pending):
            self.pending = found
            self.repaint_bars()
            return True
        wrong = self.pending is not None and found is None
        self._forget()
        if found is not None:
            self.perform(found, place)
        elif wrong:
            self.say(f"{' '.join(begun)} means nothing here", "note")
        elif self._wants_a_thing(begun, place):
            self.say(nothing_here(place), "note")
            return True
        return found is not None or wrong

    def _wants_a_thing(self, begun: tuple[str, ...], place: Place) -> bool:
        """Whether a key would mean something in this table, were there a thing under the cursor."""
        if place.subject is not None or "rows" not in place.scopes:
            return False
        return self.registry.press(begun, replace(place, scopes=(*place.scopes, *SUBJECTS))) is not None

    def _counts(self, key: str, place: Place) -> bool:
        """Whether a digit belongs to a count. Where digits choose panels, a count begins with 0."""
        if self.count:
            return True
        found = self.registry.press((key,), place)
        return found is None or (isinstance(found, Action) and why_not(found, place) is not None)

    def _forget(self) -> None:
        self.pending, self.count = None, ""
        self.repaint_bars()

    def place(self) -> Place:
        """Where the person is now."""
        screen = self._base_screen() or self.screen
        panel: Widget | None = screen.focused
        while panel is not None and not hasattr(panel, "scopes"):
            panel = panel.parent if isinstance(panel.parent, Widget) else None
        if panel is screen:
            panel = None
        subject: Subject | None = (
            getattr(panel, "subject", lambda: None)() or getattr(screen, "subject", lambda: None)()
        )
        marked = tuple(getattr(panel, "marked", tuple)())
        names = dict.fromkeys(name for each in marked or ((subject,) if subject else ()) for name in each.names)
        scopes = (
            *getattr(panel, "scopes", ()), *names, *getattr(screen, "scopes", ()), "app",
        )  # fmt: skip
        count = int(self.count[:6]) if self.count.strip("0") else None
        return Place(self, screen, panel, scopes, subject, marked, count)

    def place_changed(self) -> None:
        """The cursor or the focus moved: other keys may work now."""
        self.repaint_bars()

    def on_descendant_focus(self) -> None:
        """As :meth:`place_changed`."""
        self.place_changed()

    def perform(self, entry: Action, place: Place | None = None) -> None:
        """Do an action, or say why it cannot be done."""
        at = place or self.place()
        reason = why_not(entry, at)
        if reason is not None:
            self.say(f"{entry.title}: {reason}", "note")
            return
        if (
            entry.changes
            and not at.marked
            and not {*SUBJECTS}.isdisjoint(entry.scopes)
            and getattr(at.panel, "just_slid", False)
        ):
            self.say("another row has just come under the cursor: press it again if you mean it", "note")
            return
        try:
            done = entry.run(at)
        except QuarterdeckError as error:
            self._refuse(entry, error)
            return
        if isinstance(done, Awaitable):
            self.ahead.begin()
            self.run_worker(self._finish(entry, done), name=entry.id, group="actions")

    async def _finish(self, entry: Action, work: Awaitable[None]) -> None:
        try:
            await work
        except QuarterdeckError as error:
            self._refuse(entry, error)
        finally:
            self.ahead.release()

    def push_screen(self, screen: Any, *args: Any, **more: Any) -> Any:
        """Put a screen on top; what was typed for it already goes to it once it is there."""
        result = super().push_screen(screen, *args, **more)
        if isinstance(screen, Screen):
            screen.call_after_refresh(self.ahead.release)
        return result

    def pop_screen(self) -> Any:
        """Take the screen on top away. Where a dialog was that an action has asked, the action may open something else."""
        answered = isinstance(self.screen, ModalScreen)
        result = super().pop_screen()
        if answered and any(worker.group == "actions" and worker.is_running for worker in self.workers):
            self.ahead.begin()
        return result

    def _refuse(self, entry: Action, error: QuarterdeckError) -> None:
        self.say(f"{entry.title}: {error.message}", "bad", error.hint)

    # ── saying and asking ───────────────────────────────────────────────────────────────────────────────────────────

    def say(self, words: str, tone: str = "ok", hint: str = "") -> None:
        """Say one line at the bottom, until the next key. ``tone``: ok, note, warn or bad."""
        self.said = (tone, plain(words), plain(hint))
        self.repaint_bars()

    async def confirm(self, title: str, loses: str) -> bool:
        """Ask before something is lost."""
        return bool(await self.push_screen_wait(Confirm(title, loses)))  # type: ignore[arg-type]

    async def ask_text(
        self, title: str, about: str = "", value: str = "", check: Callable[[str], str | None] | None = None
    ) -> str | None:
        """Ask for a line of text."""
        return await self.push_screen_wait(Ask(title, about, value, check))

    async def choose(self, title: str, options: "list[Option]", hint: str = "type to narrow down") -> Option | None:
        """Have one of many chosen."""
        return await self.push_screen_wait(Choose(title, options, hint))

    def read(self, title: str, lines: "list[list[tuple[str, str]]]", hang: int = 0) -> None:
        """Show a text to read; what is too long for a line goes on ``hang`` cells in."""
        self.push_screen(Read(title, lines, hang))

    async def give(self, entry: Action, place: Place) -> None:
        """Give the command of an action: ask what is missing and whether it is meant, do it, say what came of it."""
        await giving.give(self, entry, place)

    async def do(self, name: str, arguments: Mapping[str, Any], *, words: str = "") -> Any:
        """Give one command of the table; its result. Raises the errors of :mod:`config.errors`."""
        return await self.store.do(name, arguments, words=words)

    def open(self, what: str, **names: str) -> None:
        """Open a screen: ``open("task", task="42")``."""
        open_place(self, what, **names)

    def repaint_bars(self) -> None:
        """Paint the lines around that differ."""
        if self.is_running and self.screen_stack and isinstance(screen := self._base_screen(), BaseScreen):
            screen.repaint_bars()

    def _base_screen(self) -> Any:
        return next((screen for screen in reversed(self.screen_stack) if not isinstance(screen, ModalScreen)), None)

    # ── what is known of names ──────────────────────────────────────────────────────────────────────────────────────

    def tone_of(self, project: str | None) -> str:
        """The colour of a project."""
        return self.ink.project(self._colours.get(project or ""))

    @property
    def knows_projects(self) -> bool:
        """Whether there is any project."""
        return bool(self._colours)

    def learn_projects(self, projects: "list[Any]") -> None:
        """Know the colours and names of the projects."""
        before, self._colours = self._colours, {project.id: project.colors.primary for project in projects}
        if before != self._colours and self.screen_stack:
            for lines in self.screen.query(Lines):
                lines.repaint()  # others name projects too, and may have been painted before
        self.lifeline.names["project"] = list(self._colours)

    async def learn_names(self) -> None:
        """Know what exists, for the completion of command lines."""
        for kind in ("project", "agent", "settings", "adapter"):
            try:
                self.lifeline.names[kind] = [name for name, _ in await giving.names_of(self, kind)]
            except QuarterdeckError:
                return

    async def copy(self, text: str) -> None:
        """Hand a text to the clipboard, and say honestly what became of it. Raises :class:`QuarterdeckError`.

        What a terminal would obey is made visible first: the text may be an agent's, and is pasted into a shell next.
        """
        done = await clipboard_of(self).copy(harmless(text))
        self.say(done.words, done.tone)

    def change_density(self) -> None:
        """Dense or roomy, now and for the next time."""
        dense = self.has_class("-roomy")
        self.set_class(not dense, "-roomy")
        self.memory.set("dense", dense)
        self.refresh(layout=True)

    def use_theme(self, name: str) -> None:
        """Change the theme, now and for the next time."""
        self.ink = Ink(themes.PALETTES[name], self.ink.unicode)
        self.theme = name
        self.set_class(self.ink.palette.mono, "-mono")
        self.memory.set("theme", name)
        self.refresh(layout=True)

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def exit(self, *args: Any, **more: Any) -> None:
        """Leave; where one was is noted first."""
        self.whereabouts.note()
        super().exit(*args, **more)

    def _fatal_error(self) -> None:
        """A bug: restore the terminal, write the report without the values of variables, say one sentence."""
        self.lifeline.crashed()
        self._close_messages_no_wait()

    def panic(self, *renderables: Any) -> None:
        """As :meth:`_fatal_error`; what Textual would print may hold secrets."""
        del renderables
        self._fatal_error()
