"""Actions of a review: reading a change, writing notes on its lines, judging it."""

from typing import TYPE_CHECKING, Any

from config.errors import QuarterdeckError, UsageError
from tui.actions import Place, action, checked, command
from tui.ink import counted, plain
from tui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from tui.screens.review_screen import ReviewScreen
    from tui.widgets.diff_view import DiffView, Spot


def _screen(place: Place) -> "ReviewScreen":
    return place.screen  # type: ignore[return-value]


def _view(place: Place) -> "DiffView":
    return place.screen.query_one("DiffView")  # type: ignore[return-value]


def _keep(place: Place, spot: "Spot", text: str) -> None:
    from tui.notes import Note

    _screen(place).keep(Note(spot.path, spot.side, spot.number, spot.text[:500], text.strip()))


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _stepper(
    id_: str, keys: tuple[str, ...], method: str, by: int, words: str, footer: str = "", order: int = 50
) -> None:
    def step(place: Place) -> None:
        for _ in range(min(place.count or 1, 10_000)):
            if not getattr(_view(place), method)(by):
                place.app.say(
                    f"there is no other {words.rsplit(maxsplit=1)[-1]} {'below' if by > 0 else 'above'}", "note"
                )
                return

    step.__doc__ = f"To the {'next' if by > 0 else 'previous'} {words}."
    action(id_, *keys, scopes=("diff",), footer=footer, order=order)(step)


_stepper("diff.next-change", ("J",), "step_change", 1, "change", "next change", 21)
_stepper("diff.previous-change", ("K",), "step_change", -1, "change")
_stepper("diff.next-file", ("}",), "step_file", 1, "file", "next file", 22)
_stepper("diff.previous-file", ("{",), "step_file", -1, "file")
_stepper("diff.next-note", (",",), "step_note", 1, "line with a note")


@action("diff.fold", "enter", scopes=("diff",))
def fold(place: Place) -> None:
    """Open the fold under the cursor; on the heading of a file, fold all of it."""
    if not _view(place).toggle_fold():
        place.app.say("there is nothing folded here", "note")


@action("diff.fold-file", "f", scopes=("diff",))
def fold_file(place: Place) -> None:
    """Fold the file, or open it."""
    _view(place).close_file()


@action("diff.fold-all", "F", scopes=("diff",))
def fold_all(place: Place) -> None:
    """Show all unchanged lines, or fold them."""
    place.app.say(
        "all unchanged lines are shown" if _view(place).toggle_folds() else "unchanged lines are folded", "note"
    )


@action("diff.layout", "v", scopes=("diff",), footer="layout", order=71)
def layout(place: Place) -> None:
    """Side by side, one above the other, or as the width allows."""
    place.app.say(f"layout: {_view(place).next_mode()}", "note")


@action("diff.right", "l", "right", scopes=("diff",))
def right(place: Place) -> None:
    """Scroll to the right."""
    _view(place).shift(8 * (place.count or 1))


@action("diff.left", "h", "left", scopes=("diff",))
def left(place: Place) -> None:
    """Scroll to the left."""
    _view(place).shift(-8 * (place.count or 1))


@action("diff.search", "/", scopes=("diff",), footer="search", order=70)
async def search(place: Place) -> None:
    """Search for a text; re: before it makes it a regular expression."""
    view = _view(place)
    history: list[str] = place.app.memory.get("searches", [])
    text = await place.app.push_screen_wait(Prompt("/", history=history, hint="a text · re: a regular expression"))
    if text is not None:
        view.look_for(text)
        place.app.memory.set(
            "searches", [*[old for old in history if old != text][-49:], text] if text.strip() else history
        )


@action("diff.next-match", "n", scopes=("diff",))
async def next_match(place: Place) -> None:
    """The next line that holds what was searched for."""
    if not await _view(place).next_match(1):
        place.app.say("no match; / searches for something", "note")


@action("diff.previous-match", "N", scopes=("diff",))
async def previous_match(place: Place) -> None:
    """The line before that holds what was searched for."""
    if not await _view(place).next_match(-1):
        place.app.say("no match; / searches for something", "note")


@action("files.open", "enter", "l", "right", scopes=("files",), footer="read", order=20)
def open_file_here(place: Place) -> None:
    """Read the file under the cursor."""
    place.panel.open()  # type: ignore[union-attr]


@action("text.copy", "y", scopes=("diff", "files", "page"))
async def copy(place: Place) -> None:
    """Copy the line, the path, or the text."""
    await place.app.copy(place.panel.selected_text())  # type: ignore[union-attr]


@action("diff.copy-place", "Y", scopes=("diff",))
async def copy_place(place: Place) -> None:
    """Copy file and number of the line: src/x.py:12."""
    spot = _view(place).spot()
    await place.app.copy(f"{spot.path}:{spot.number}" if spot else _view(place).selected_text())


@action("diff.editor", "E", scopes=("judge",))
def editor(place: Place) -> None:
    """Open the file in $EDITOR as the run left it; where that is gone, or nothing may be changed, the change as text."""
    from tui.editor import edit_text, open_file

    context = place.app.store.context
    if context is None:
        raise QuarterdeckError("the database is not there yet")
    path, line = _screen(place).file_path()
    if path is not None and not place.app.readonly:
        open_file(place.app, context.environ, path, line)
    else:
        edit_text(place.app, context.environ, _view(place).whole_text(), suffix=".diff")
        why = "the screen is read-only" if path is not None else "the worktree of this run is gone"
        place.app.say(f"{why}: that was the change as text", "note")


# ── notes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _on_line(place: Place) -> str | None:
    if _undecided(place) is not None:
        return _undecided(place)
    return None if _view(place).spot() else "a note stands on a line; this is none"


def _undecided(place: Place) -> str | None:
    review = _screen(place).review
    if review is None:
        return "there is no review yet"
    return None if review.status == "open" else f"it is {review.status.replace('_', ' ')} already"


def _unread(place: Place) -> str | None:
    return None if _screen(place).change_read else "its change is still being read"


@action("review.note", "e", scopes=("diff",), footer="note", order=14, enabled=_on_line)
async def note(place: Place) -> None:
    """Write a note on the line, or change it; no words take it away. Notes are sent with c, changes."""
    screen, spot = _screen(place), _view(place).spot()
    assert spot is not None
    old = next((found.text for found in screen.notes if found.key == spot.key), "")
    about = plain(spot.text).strip()[:200]
    text = await place.app.ask_text(f"note on {plain(spot.path)}:{spot.number}", about, old.replace("\n", " "))
    if text is not None:
        _keep(place, spot, text)


@action("review.note-editor", "g e", scopes=("diff",), enabled=_on_line)
def note_editor(place: Place) -> None:
    """Write a note on the line in $EDITOR."""
    from tui.editor import edit_text

    screen, spot, context = _screen(place), _view(place).spot(), place.app.store.context
    assert spot is not None
    if context is None:
        raise QuarterdeckError("the database is not there yet")
    old = next((found.text for found in screen.notes if found.key == spot.key), "")
    text = edit_text(place.app, context.environ, old)
    _keep(place, spot, text)


# ── judging ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@action("review.next", ")", scopes=("judge",), footer="next review", order=13)
def next_review(place: Place) -> None:
    """The next change that waits for a review."""
    if not _screen(place).step(place.count or 1):
        place.app.say("no other change waits for a review", "note")


@action("review.previous", "(", scopes=("judge",))
def previous_review(place: Place) -> None:
    """The change before."""
    if not _screen(place).step(-(place.count or 1)):
        place.app.say("no other change waits for a review", "note")


@action(
    "judge.merge",
    "m",
    scopes=("judge",),
    footer="merge",
    order=10,
    enabled=checked(_undecided, _unread),
    title="review: merge this",
    command="review.approve",
)
async def merge(place: Place) -> None:
    """Approve the change and have it merged; the engine checks it again where the base has moved."""
    app, screen = place.app, _screen(place)
    review = screen.review
    assert review is not None
    if screen.notes and not await app.confirm(
        "merge with notes that were not sent?",
        f"{counted(len(screen.notes), 'note')} on lines of #{review.task} {'is' if len(screen.notes) == 1 else 'are'} dropped. "
        "c sends the agent what you wrote instead.",
    ):
        return
    if screen.review is None or screen.review.number != review.number:
        raise QuarterdeckError("another change has come meanwhile", "nothing was merged; read it first")
    app.say(f"approved: the engine merges #{review.task}" + app.ink.glyph("more"), "note")
    result: Any = await app.do("review.approve", {"task": str(review.task)})
    commit = f" as {result.merge_commit[:10]}" if result.merge_commit else ""
    app.say(f"#{review.task} is merged{commit}", "ok", f"{app.registry.keys_of('review.next')} next review")
    if screen.review is not None and screen.review.number == review.number:
        screen.sent()


@action(
    "judge.changes",
    "c",
    scopes=("judge",),
    footer="changes",
    order=11,
    enabled=_undecided,
    title="review: request changes",
    command="review.request-changes",
)
async def changes(place: Place) -> None:
    """Send the change back with the notes on its lines; a word for the whole is asked for."""
    app, screen = place.app, _screen(place)
    review = screen.review
    assert review is not None
    count = len(screen.notes)
    about = (
        f"{count} notes on lines go with it; more to say?"
        if count > 1
        else "the note on a line goes with it; more to say?"
        if count
        else "what is to be different? e writes notes on lines"
    )

    def check(text: str) -> str | None:
        return None if text.strip() or count else "say what is to be different"

    title, name = f"request changes of #{review.task} {plain(review.title)}", f"judge.changes {review.number}"
    text = await app.ask_text(title, about, app.drafts.take(name), check)
    if text is not None:
        with app.drafts.keeping(name, text, app.registry.keys_of("judge.changes")):
            await _send_back(place, screen.told(text))


@action(
    "judge.changes-editor",
    "C",
    scopes=("judge",),
    enabled=_undecided,
    title="review: request changes in $EDITOR",
    command="review.request-changes",
)
async def changes_editor(place: Place) -> None:
    """Write what is to be different in $EDITOR, beginning with the notes on lines."""
    from tui.editor import edit_text

    app, screen = place.app, _screen(place)
    review, context = screen.review, app.store.context
    if review is None or context is None:
        raise QuarterdeckError("the review is not there yet")
    name, keys = f"judge.changes-editor {review.number}", app.registry.keys_of("judge.changes-editor")
    text = edit_text(app, context.environ, app.drafts.take(name) or screen.told("") + "\n")
    if not text.strip():
        raise UsageError("the text is empty", "nothing was sent")
    with app.drafts.keeping(name, text, keys):
        if not await app.confirm("send it?", text.strip()[:1500]):
            raise QuarterdeckError("nothing was sent")
        await _send_back(place, text.strip())


async def _send_back(place: Place, text: str) -> None:
    screen = _screen(place)
    review = screen.review
    assert review is not None
    await place.app.do("review.request-changes", {"task": str(review.task), "text": text})
    screen.sent()
    place.app.say(
        f"#{review.task} goes back to the crew with what you said",
        "ok",
        f"{place.app.registry.keys_of('review.next')} next review",
    )


def _rejects(place: Place) -> str:
    review = _screen(place).review
    if review is None:
        return ""
    count = len(_screen(place).notes)
    dropped = f" What you noted on {counted(count, 'line')} was not sent and is dropped." if count else ""
    return (
        f"#{review.task} {plain(review.title)}: +{review.insertions} −{review.deletions} in {counted(review.files_changed, 'file')} is not merged, and the "
        f"task is cancelled; tasks that wait for it fail. The branch {plain(review.branch or '')} stays in the repository.{dropped}"
    )


command(
    "judge.reject", "X", scopes=("judge",), name="review.reject", arguments={"task": "task"}, footer="reject", order=12, enabled=_undecided,
    help="Reject the change and cancel its task; the reason is asked for.", loses=_rejects, title="review: reject this",
)  # fmt: skip
