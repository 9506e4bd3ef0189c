"""Actions that work everywhere: leave, help, palette, command line, what was sent, undo, other places, the engine, the queue as a whole."""

from typing import TYPE_CHECKING

from core.commands.table import ABOUT, all_commands
from tui import giving, themes, undoing
from tui.actions import Place, action, command, why_not
from tui.ink import Part, plain
from tui.losing import lost_by
from tui.widgets.dialogs import Option
from tui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from tui.app import QuarterdeckApp


@action("quit", "q", "ctrl+c", footer="", title="quit")
async def quit_(place: Place) -> None:
    """Leave the screen; from another place, go back to the deck first. The crew goes on working."""
    if len(place.app.screen_stack) > 2:
        place.app.pop_screen()
    else:
        place.app.exit(return_code=0)


@action("quit.now", "Q", "ctrl+q")
def quit_now(place: Place) -> None:
    """Leave the screen from wherever one is. The crew goes on working."""
    place.app.exit(return_code=0)


def _takes_back(place: Place) -> str:
    panel = place.panel
    marks = getattr(panel, "marks", None)
    if marks:
        return f"unmark {len(marks):,}"
    if getattr(panel, "filter", None):
        return "show all"
    return "unzoom" if getattr(getattr(place.screen, "chosen", None), "zoomed", False) else ""


@action("back", "escape", footer="back", order=5, label=_takes_back)
def back(place: Place) -> None:
    """Take back the filter, the marks or the zoom, else go back to the place before."""
    panel = place.panel
    if getattr(panel, "marks", None):
        panel.clear_marks()  # type: ignore[union-attr]
    elif getattr(panel, "filter", None):
        panel.look_for("")  # type: ignore[union-attr]
    elif getattr(getattr(place.screen, "chosen", None), "zoomed", False):
        from dataclasses import replace

        place.screen.rearrange(replace(place.screen.chosen, zoomed=False))  # type: ignore[attr-defined]
    elif len(place.app.screen_stack) > 2:
        place.app.pop_screen()
    place.app.repaint_bars()


@action("help.show", "?", footer="help", order=90)
def help_(place: Place) -> None:
    """Show every key that works here, and why some do not."""
    place.app.read("keys here", help_lines(place), KEYS_WIDTH + 2)


@action("palette.show", "ctrl+p", footer="all", order=91)
async def palette(place: Place) -> None:
    """Find anything that can be done, by its name; what does not work here says why."""
    app = place.app
    chosen = await app.choose("what is to be done?", palette_options(place), "type a few letters: tc cancels a task")
    if chosen is None:
        return
    kind, value = chosen.value
    if kind == "action":
        app.perform(app.registry.actions[value], place)
    else:
        await _give_command(app, value)


@action("command.line", ":", footer="command", order=80)
async def command_line(place: Place) -> None:
    """Write a command as on the command line: task add "…" --project ID."""
    app = place.app
    app.run_worker(app.learn_names(), name="names", group="names", exclusive=True)
    history: list[str] = app.memory.get("history", [])
    line = await app.push_screen_wait(Prompt(":", history=history, complete=lambda text: giving.complete(app, text)))
    if line is None or not line.strip():
        return
    app.memory.set("history", [*[old for old in history if old != line.strip()][-199:], line.strip()])
    await giving.run_line(app, line)


@action("sent.show", "@")
def sent(place: Place) -> None:
    """Show every command that this screen has sent, and what came of it."""
    app = place.app
    lines: list[list[Part]] = []
    for entry in reversed(app.store.sent):
        sign = {"done": ("ok", "ok"), "refused": ("bad", "bad"), "sent": ("more", "dim")}[entry.outcome]
        lines.append([
            (f"{entry.at.astimezone():%H:%M:%S}  ", "dim"), (f"{app.ink.glyph(sign[0])} ", sign[1]), (f"qd {plain(entry.words)}", "text"),
            (f"  {plain(entry.said)}" if entry.said else "", "bad"),
        ])  # fmt: skip
    nothing: list[list[Part]] = [[("Nothing yet: so far the screen has only looked.", "dim")]]
    app.read("what this screen has sent", lines or nothing, 12 if lines else 0)


@action("undo", "u", title="undo")
async def undo(place: Place) -> None:
    """Take the last change back, where it has an inverse: edits, priority, settings, pause and resume, cancel, put aside."""
    await undoing.undo(place.app)


@action("undo.drop")
def drop_undo(place: Place) -> None:
    """Forget the last change that could be taken back: the one before it is the next."""
    undoing.drop(place.app)


@action("screen.redraw", "ctrl+l", title="redraw")
def redraw(place: Place) -> None:
    """Paint everything anew, after something else has written on the terminal."""
    place.app.redraw()


@action("theme.choose", "g c")
async def theme(place: Place) -> None:
    """Choose the colours."""
    app = place.app
    options = [Option(p.name, p.title) for p in themes.PALETTES.values()]
    chosen = await app.choose("colours", options)
    if chosen is not None:
        app.use_theme(chosen.name)


for _palette in themes.PALETTES:

    def _use(place: Place, name: str = _palette) -> None:
        place.app.use_theme(name)

    _use.__doc__ = f"Use the colours {themes.PALETTES[_palette].title}."
    action(f"theme.{_palette}")(_use)


@action("density.change", "g v")
def density(place: Place) -> None:
    """Change between dense and roomy rows."""
    place.app.change_density()


@action("suspend", "ctrl+z")
def suspend(place: Place) -> None:
    """Give the terminal back to the shell; fg comes back."""
    place.app.action_suspend_process()


@action("open.deck", "g g", "g d")
def go_deck(place: Place) -> None:
    """Go to the deck."""
    while len(place.app.screen_stack) > 2:
        place.app.pop_screen()


def _goes(id_: str, keys: str, what: str) -> None:
    def go(place: Place) -> None:
        place.app.open(what)

    go.__doc__ = f"Go to {what}."
    action(id_, keys)(go)


_goes("open.agents", "g a", "agents")
_goes("open.settings", "g s", "settings")
_goes("open.audit", "g u", "audit")
_goes("open.doctor", "g h", "doctor")
_goes("open.knowledge", "g k", "knowledge")


def _engine_runs(place: Place) -> bool:
    pulse = place.app.pulse
    return pulse is not None and any(e.state in ("running", "draining") for e in pulse.status.engines)


command(
    "engine.start", "U", scopes=("app",), name="up", help="Start the engine of this host.",
    enabled=lambda place: "an engine is running already" if _engine_runs(place) else None,
)  # fmt: skip
command(
    "engine.stop", scopes=("app",), name="down", help="Stop the engine of this host; its runs go on.",
    enabled=lambda place: None if _engine_runs(place) else "no engine is running",
    loses=lambda _: "No task is started until an engine runs again. Runs that are at work go on, and the next engine takes them up.",
)  # fmt: skip
command(
    "queue.pause", "P", scopes=("app",), help="Start no more tasks, in any project; what runs goes on.",
    enabled=lambda place: "the queue is paused already" if place.app.pulse and place.app.pulse.paused else None,
)  # fmt: skip
command(
    "queue.resume", "R", scopes=("app",), help="Start tasks again.",
    enabled=lambda place: None if place.app.pulse and place.app.pulse.paused else "the queue is not paused",
)  # fmt: skip


async def _give_command(app: "QuarterdeckApp", name: str) -> None:
    """A command of the table that has no action: what it needs is asked for, the rest stays as it is by itself."""
    from core.commands.table import find

    row = find(name)
    asked = await giving.ask_missing(app, row, {})
    if asked is None:
        return
    if row.destructive and not await app.confirm(f"{name.replace('.', ' ')}?", await lost_by(app, row, asked)):
        app.say("nothing was done", "note")
        return
    if row.streams:
        await giving.show_stream(app, row, asked)
    else:
        held = len(app.undos)
        result = await giving.give_undoably(app, row, asked)
        await giving.show_result(app, row, result, undoable=len(app.undos) > held)


def palette_options(place: Place) -> list[Option]:
    """Everything that can be done: what belongs here first, then the rest, then the commands of the table that no action gives."""
    registry = place.app.registry
    here = registry.here(place)
    options, given = [], set()
    for entry in (*here, *(other for other in registry.actions.values() if other not in here)):
        given.add(entry.command)
        reason = why_not(entry, place) if entry in here else f"works with {', '.join(entry.scopes)}"
        options.append(Option(entry.title, entry.help, reason, ("action", entry.id), registry.keys_of(entry.id)))
    for row in all_commands():
        if row.name in given or row.name in giving.APART:
            continue
        title = f"{row.noun}: {row.verb.replace('-', ' ')}" if row.noun else row.verb
        options.append(Option(title, " ".join(row.help.split("\n\n")[0].split()), None, ("command", row.name)))
    return sorted(options, key=lambda option: option.why_not is not None)


KEYS_WIDTH = 12
_LAST = ("rows", "motion", "app")
"""What is the same in many places comes after what belongs to this one."""
_PLACES = {
    "app": "everywhere", "motion": "moving", "rows": "in a table", "deck": "on the deck", "inbox": "in the inbox", "queue": "in the queue",
    "live": "in the live log", "panes": "between the panes", "page": "on the page", "replay": "the replay",
}  # fmt: skip


def help_lines(place: Place) -> list[list[Part]]:
    """The keys of this place: first those of what is under the cursor, last those that are the same everywhere; in each part first what works now."""
    registry, ink = place.app.registry, place.app.ink
    subject = tuple(place.subject.names) if place.subject else ()
    groups: dict[str, list[tuple[bool, list[Part]]]] = {}
    for entry in registry.here(place):
        keys = registry.keys_of(entry.id)
        reason = why_not(entry, place)
        if not keys or (reason and entry.label):  # one of several that are there or not
            continue
        scope = next((scope for scope in place.scopes if scope in entry.scopes), "app")
        line: list[Part] = [
            (ink.fit(ink.ascii(keys), KEYS_WIDTH, right=True), "focus bold" if reason is None else "dim"), ("  ", ""),
            (entry.help, "text" if reason is None else "dim"), (f"  ({reason})" if reason else "", "warn"),
        ]  # fmt: skip
        groups.setdefault(scope, []).append((reason is not None, line))

    def rank(scope: str) -> tuple[bool, int, bool]:
        return scope in _LAST, _LAST.index(scope) if scope in _LAST else 0, scope not in subject

    lines: list[list[Part]] = []
    for scope in sorted(groups, key=rank):
        about = f"{scope}: {ABOUT[scope]}" if scope in ABOUT else scope.replace("-", " ")
        found = [line for _, line in sorted(groups[scope], key=lambda item: item[0])]
        lines += [[(_PLACES.get(scope, about), "text bold")], *found, []]
    lines.append([("Everything else: ", "dim"), (registry.keys_of("palette.show"), "focus bold"), (" finds it by name, ", "dim"),
                  (registry.keys_of("command.line"), "focus bold"), (" takes any command of qd.", "dim")])  # fmt: skip
    return lines
