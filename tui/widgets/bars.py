"""The lines around every screen: the status line above, the banner of trouble under it, the keys and what was said below."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.strip import Strip
from textual.widget import Widget

from tui.actions import why_not
from tui.ink import Ink, Part, money, plain, width_of
from tui.keymap import show_keys
from tui.pulse import Pulse

if TYPE_CHECKING:
    from tui.app import QuarterdeckApp


class Bar(Widget):
    """One line of parts on the left and on the right; repainted when asked."""

    DEFAULT_CSS = "Bar { height: 1; background: $qd-raised; }"
    ground = "raised"

    @property
    def deck(self) -> "QuarterdeckApp":
        """The app."""
        return self.app  # type: ignore[return-value]

    @property
    def ink(self) -> Ink:
        """What to write with."""
        return self.deck.ink

    def parts(self, width: int) -> tuple[list[Part], list[Part]]:
        """What stands on the left and on the right."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Remember nothing painted yet."""
        self._painted: Strip | None = None

    def _draw(self) -> Strip:
        width = self.size.width
        left, right = self.parts(width)
        room = width - width_of(right)
        strips = [
            self.ink.strip(left, max(room, 0), self.ground),
            self.ink.strip(right, min(width, width - max(room, 0)), self.ground),
        ]
        return Strip.join(strips)

    def render_line(self, y: int) -> Strip:
        """The line."""
        del y
        self._painted = self._draw()
        return self._painted

    def repaint(self) -> None:
        """Paint the line when it differs."""
        if self.is_mounted and self.size.width and self._draw() != self._painted:
            self.refresh()


Group = Sequence[tuple[int, Sequence[Part]]]
"""What belongs together in a line: its forms with their ranks, the longest first. It is shown in one of them, never cut."""


def fitted(groups: Sequence[Group], width: int, gap: int) -> list[Part]:
    """The groups side by side in at most ``width`` cells, where that can be: those of the lowest rank take their next shorter form first."""
    forms = [0] * len(groups)

    def parts() -> list[Part]:
        shown: list[Part] = []
        for group, form in zip(groups, forms, strict=True):
            if group[form][1]:
                shown += [(" " * gap if shown else " ", ""), *group[form][1]]
        return shown

    while width_of(parts()) > width:
        shorter = [
            (group[form][0], n)
            for n, (group, form) in enumerate(zip(groups, forms, strict=True))
            if form + 1 < len(group)
        ]
        if not shorter:
            break
        forms[min(shorter)[1]] += 1
    return parts()


class StatusLine(Bar):
    """Where one is, and how everything stands."""

    def parts(self, width: int) -> tuple[list[Part], list[Part]]:
        """Place on the left; engine, queue and money after it; what needs the person on the right. What has no room is left out whole."""
        ink, app = self.ink, self.deck
        needs, pulse = self._needs(), app.pulse
        trail = getattr(self.screen, "trail", "")
        place: list[Part] = [(f" {ink.glyph('arrow')} ", "dim"), (trail, "text bold")] if trail else []
        groups: list[Group] = [[(2, [(name, "focus bold"), *place]) for name in ("quarterdeck", "qd")]]
        if notice := app.choices.notice:
            groups.append([(90, [(notice, "warn bold")])])
        if app.readonly:
            groups.append([(90, [("read-only", "warn bold")])])
        if pulse is None:
            words = "connecting" + ink.glyph("more") if app.store.state != "gone" else "no database"
            groups.append([(90, [(words, "dim")])])
            return fitted(groups, width, 2), []
        groups += [self._engine(pulse), self._queue(pulse)]
        if pulse.paused:
            groups.append([(80, [(ink.state("paused")[0], "warn bold")])])
        groups += self._money()
        return fitted(groups, width - width_of(needs) - 1, 3 if width >= 100 else 2), needs

    def _needs(self) -> list[Part]:
        ink, app = self.ink, self.deck
        if app.pulse is None:
            return []
        count = len(app.needs)
        if not count:
            return [(f"{ink.glyph('ok')} all clear ", "ok")]
        return [(f"{ink.glyph('ask')} {count} need{'s' if count == 1 else ''} you ", "ask bold")]

    def _engine(self, pulse: Pulse) -> Group:
        running = pulse.status.tasks.get("in_progress", 0)
        alive = [engine for engine in pulse.status.engines if engine.state in ("running", "draining")]
        if not alive:
            return [(80, [("no engine", "bad bold")])]
        sign, tone = self.ink.sign("running")
        figures: list[Part] = [(sign, tone), (f" {running}/{pulse.limit * len(alive)}", "text")]
        name = "engine " if len(alive) == 1 else f"{len(alive)} engines "
        words = [*figures, (" running", "text")]
        return [(3, [(name, "dim"), *words]), (12, words), (60, figures), (60, [])]

    def _queue(self, pulse: Pulse) -> Group:
        tasks = pulse.status.tasks
        ready, held = tasks.get("pending", 0), tasks.get("waiting", 0) + tasks.get("blocked", 0)
        short: list[Part] = [("queue ", "dim"), (f"{ready:,}", "text")]
        return [(4, [*short, (f" ready {self.ink.glyph('dot')} {held:,} held", "dim")]), (50, short), (50, [])]

    def _money(self) -> list[Group]:
        """What was charged in the periods that run, against their limits."""
        money_ = self.deck.money
        if money_ is None:
            return []
        limited = money_.day.limit is not None or money_.month.limit is not None
        if self.deck.choices.notice or not (money_.day.spent or money_.month.spent or limited):
            return [[(20, [("nothing was charged", "dim")]), (20, [])]]
        groups: list[Group] = []
        for name, spent, rank in (("today", money_.day, 40), ("month", money_.month, 30)):
            short: list[Part] = [(f"{name} ", "dim"), (money(spent.spent), spent.tone)]
            limit: list[Part] = [(f" of {money(spent.limit).removesuffix('.00')}", "dim")] if spent.limit else []
            groups.append([(rank // 4, [*short, *limit]), (rank, short), (rank, [])])
        return groups


class Banner(Bar):
    """Trouble that concerns the whole screen: the database or the engine is gone. Not there while all is well."""

    DEFAULT_CSS = "Banner { height: 1; background: $qd-raised; display: none; } Banner.-trouble { display: block; }"

    def repaint(self) -> None:
        """Come and go with the trouble."""
        self.set_class(bool(self.deck.trouble), "-trouble")
        super().repaint()

    def parts(self, width: int) -> tuple[list[Part], list[Part]]:
        """What is wrong, and what to do."""
        del width
        ink = self.ink
        return [(f" {ink.glyph('bad')} ", "bad bold"), (plain(self.deck.trouble), "bad")], [
            (f" {self.deck.remedy} ", "text")
        ]


class Footer(Bar):
    """The keys that work here, or what was said last, until the next key."""

    def parts(self, width: int) -> tuple[list[Part], list[Part]]:
        """Keys from the registry; a sequence that has begun shows how it may go on."""
        app = self.deck
        if app.grab is not None:
            return [(" jump ", "focus bold"), ("the letter of a row goes there, any other key stays here", "text")], []
        if app.pending is not None or app.count:
            return self._begun(width), []
        if app.said is not None:
            tone, words, hint = app.said
            sign = {"ok": "ok", "bad": "bad"}.get(tone, "note")
            right: list[Part] = [(f"{hint} ", "dim")] if hint else []
            return [
                (f" {self.ink.glyph(sign)} ", tone if tone != "note" else "dim"),
                (words, tone if tone != "note" else "text"),
            ], right
        return self._keys(width), []

    def _begun(self, width: int) -> list[Part]:
        app = self.deck
        parts: list[Part] = [(f" {app.count or ''}", "focus bold")]
        if app.pending is not None:
            parts += [(" ".join(app.pending.begun) + " ", "focus bold"), (self.ink.glyph("more") + " ", "dim")]
            place = app.place()
            for keys, entry in sorted(app.pending.next.items(), key=lambda item: (item[0].isdigit(), item[0].lower())):
                if why_not(entry, place) is not None:
                    continue
                parts += [
                    (f" {keys} ", "focus bold"),
                    (entry.label(place) if entry.label else entry.footer or _short(entry.title), "text"),
                    (" ", ""),
                ]
        return parts if width else []

    def _keys(self, width: int) -> list[Part]:
        app = self.deck
        place = app.place()
        parts: list[Part] = [(" ", "")]
        room = width - 2
        tail = [
            (f"{app.registry.keys_of(id_)}", name) for id_, name in (("help.show", "help"), ("palette.show", "all"))
        ]
        tail_width = sum(cell_len(keys) + cell_len(name) + 3 for keys, name in tail)
        here = app.registry.here(place)
        nearest: dict[str, str] = {}
        for entry in here:
            for sequence in app.registry.keys.get(entry.id, ()):
                nearest.setdefault(sequence, entry.id)
        for entry in sorted(here, key=lambda entry: entry.order):
            keys = app.registry.keys.get(entry.id, ())
            word = entry.label(place) if entry.footer and entry.label else entry.footer
            if not word or not keys or entry.id in ("help.show", "palette.show") or nearest[keys[0]] != entry.id:
                continue
            shown = show_keys(keys[:1])
            size = cell_len(shown) + cell_len(word) + 3
            if size > room - tail_width:
                continue
            if why_not(entry, place) is not None:
                continue
            room -= size
            parts += [(shown, "focus bold"), (f" {word}", "dim"), ("  ", "")]
        for keys_, name in tail:
            parts += [(keys_, "focus bold"), (f" {name}", "dim"), ("  ", "")]
        return parts


def _short(title: str) -> str:
    """What an action does, without saying that it opens or moves."""
    for noun in ("open: ", "move: ", "task: "):
        title = title.removeprefix(noun)
    return title
