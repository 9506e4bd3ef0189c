"""Actions of the log of a run, and of the screen around it."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from config.errors import QuarterdeckError, UsageError
from config.paths import written_out
from tui.actions import Place, action
from tui.acts.inbox import answer_with, no_answer
from tui.clipboard import size
from tui.ink import counted
from tui.widgets.dialogs import Option
from tui.widgets.log_view import LogView, needle_of
from tui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from tui.screens.run_screen import RunScreen

_WINDOWS: tuple[tuple[str, timedelta | None], ...] = (
    ("all of it", None),
    ("the last minute", timedelta(minutes=1)),
    ("the last 5 minutes", timedelta(minutes=5)),
    ("the last 15 minutes", timedelta(minutes=15)),
    ("the last hour", timedelta(hours=1)),
)


def _log(place: Place) -> LogView:
    assert isinstance(place.panel, LogView)
    return place.panel


def _screen(place: Place) -> "RunScreen":
    return place.screen  # type: ignore[return-value]


@action("log.search", "/", scopes=("log",), footer="search", order=20)
async def search(place: Place) -> None:
    """Search the whole log for a text; re: before it makes it a regular expression. n and N go on."""
    log, app = _log(place), place.app

    def live(text: str) -> str | None:
        try:
            needle_of(text)
        except UsageError as error:
            return error.sentence()
        return None

    history: list[str] = app.memory.get("searches", [])
    text: str | None = await app.push_screen_wait(
        Prompt("/", history=history, live=live, hint="a text · re: a regular expression")
    )
    if text is None:
        return
    log.look_for(text)
    if text.strip():
        app.memory.set("searches", [*[old for old in history if old != text][-49:], text])


@action("log.next-match", "n", scopes=("log",))
async def next_match(place: Place) -> None:
    """The next row that holds what was searched for."""
    await _match(place, 1)


@action("log.previous-match", "N", scopes=("log",))
async def previous_match(place: Place) -> None:
    """The row before."""
    await _match(place, -1)


async def _match(place: Place, direction: int) -> None:
    log = _log(place)
    if log.needle is None:
        place.app.say("nothing was searched for yet; / does", "note")
        return
    for _ in range(min(place.count or 1, 1000)):
        if not await log.next_match(direction):
            return


@action("log.fold", "enter", "o", scopes=("log",), footer="unfold", order=25)
def fold(place: Place) -> None:
    """Show long output in full, or fold it again."""
    _log(place).toggle_fold()


@action("log.fold-all", "O", scopes=("log",))
def fold_all(place: Place) -> None:
    """Show all long output in full, or fold all of it."""
    place.app.say("long output is folded" if _log(place).toggle_folds() else "long output is shown in full", "note")


@action("log.wrap", "w", scopes=("log",), footer="wrap", order=60)
def wrap(place: Place) -> None:
    """Break long lines, or cut them at the edge."""
    place.app.say(
        "long lines are broken" if _log(place).toggle_wrap() else "long lines are cut; < and > move them", "note"
    )


@action("log.stamps", "T", scopes=("log",))
def stamps(place: Place) -> None:
    """Times of the day, since the start of the run, or none."""
    words = {"clock": "times of the day", "since": "times since the start of the run", "off": "no times"}
    place.app.say(words[_log(place).next_stamps()], "note")


@action("log.kinds", "e", scopes=("log",), footer="kinds", order=30)
def kinds(place: Place) -> None:
    """Only talk, tools, edits and checks, or errors; then everything again."""
    _next_kinds(place, 1)


@action("log.kinds-back", "E", scopes=("log",))
def kinds_back(place: Place) -> None:
    """As log kinds, the other way round."""
    _next_kinds(place, -1)


def _next_kinds(place: Place, by: int) -> None:
    from tui.screens.run_parts import PRESETS

    log = _log(place)
    shown = log.window.range.kinds if log.window else ()
    at = next((n for n, (_, kinds_) in enumerate(PRESETS) if kinds_ == shown), 0)
    name, chosen = PRESETS[(at + by) % len(PRESETS)]
    log.set_kinds(chosen)
    place.app.say(f"shown: {name}", "note")


@action("log.window", ",", scopes=("log",))
async def window(place: Place) -> None:
    """Only the last minute, 5 or 15 minutes, or hour; then all of it again."""
    log, app = _log(place), place.app
    now = app.store.now()
    chosen = await app.choose("how much of the log?", _options())
    if chosen is None or log.window is None:
        return
    span: timedelta | None = chosen.value
    if span is None:
        log.set_since(None, 0)
    else:
        log.set_since(now - span, await log.window.source.number_at(now - span) - 1)


def _options() -> list[Option]:
    return [Option(name, "", None, span) for name, span in _WINDOWS]


@action("log.follow", ".", scopes=("log",), footer="follow", order=21)
def follow(place: Place) -> None:
    """Follow what comes, or stay where one is."""
    log = _log(place)
    if log.following:
        log.pause()
    else:
        log.follow()


@action("log.event-next", "}", scopes=("log",))
def event_next(place: Place) -> None:
    """The next event."""
    _log(place).step(place.count or 1)


@action("log.event-previous", "{", scopes=("log",))
def event_previous(place: Place) -> None:
    """The event before."""
    _log(place).step(-(place.count or 1))


@action("log.left", "<", "left", scopes=("log",))
def left(place: Place) -> None:
    """To the left, where lines are cut."""
    _log(place).shift(-20)


@action("log.right", ">", "right", scopes=("log",))
def right(place: Place) -> None:
    """To the right, where lines are cut."""
    _log(place).shift(20)


@action("log.mark", "space", scopes=("log",))
def mark(place: Place) -> None:
    """Mark the event, or no more."""
    _log(place).toggle_mark()


@action("log.next-mark", "'", scopes=("log",))
def next_mark(place: Place) -> None:
    """The next event that is marked."""
    if not _log(place).next_mark(1):
        place.app.say("nothing is marked; space does", "note")


@action("log.select", "v", scopes=("log",))
def select(place: Place) -> None:
    """Begin to select rows here, or select none."""
    _log(place).toggle_selection()


@action("log.copy", "y", scopes=("log",), footer="copy", order=40)
async def copy(place: Place) -> None:
    """Copy the rows that are selected, else the event under the cursor."""
    await place.app.copy(_log(place).selected_text())


@action("log.copy-screen", "Y", scopes=("log",))
async def copy_screen(place: Place) -> None:
    """Copy what is seen of the log."""
    await place.app.copy(_log(place).visible_text())


@action("log.save", "W", scopes=("log",))
async def save(place: Place) -> None:
    """Save the log to a file, as it is narrowed down, every line in full."""
    from tui.log_file import save_log

    log, app = _log(place), place.app
    if log.window is None:
        return
    name = f"run-{place.subject['run']}.log" if place.subject else "run.log"
    folder = app.store.context.cwd if app.store.context else Path()
    chosen = await app.ask_text("save the log to", "an existing file is not replaced", str(folder / name))
    if not chosen:
        return
    path = written_out(chosen)
    try:
        lines, written = await save_log(log.window.source, log.window.range, path)
    except FileExistsError:
        raise QuarterdeckError(f"{path} is there already", "choose another name") from None
    except OSError as error:
        raise QuarterdeckError(f"{path} cannot be written ({error.strerror})") from None
    app.say(f"{counted(lines, 'event')} saved to {path}, {size(written)}", "ok")


@action("tab.next", "tab", scopes=("run-screen",))
def tab_next(place: Place) -> None:
    """The next tab: log, diff so far, usage, gates, what it was told."""
    _screen(place).next_tab(1)


@action("tab.previous", "shift+tab", scopes=("run-screen",))
def tab_previous(place: Place) -> None:
    """The tab before."""
    _screen(place).next_tab(-1)


@action("run.say", "s", scopes=("log", "run-tab"), footer="say", order=15)
def say(place: Place) -> None:
    """Write to the agent; enter sends, escape leaves."""
    from tui.actions import why_not

    reason = why_not(place.app.registry.actions["run.send"], place)
    if reason is not None:
        place.app.say(f"run: say: {reason}", "note")
        return
    _screen(place).say()


def _answer(n: int) -> None:
    async def give(place: Place) -> None:
        if _screen(place).just_asked:
            place.app.say("the question has just appeared: press it again if you mean it", "note")
            return
        await answer_with(place, n)

    def offered(place: Place) -> str | None:
        return no_answer(place, n)

    give.__doc__ = f"Answer what the run asks with answer {n}."
    action(f"run.answer-{n}", str(n), scopes=("run-screen",), enabled=offered, command="question.answer")(give)


for _n in range(1, 10):
    _answer(_n)
