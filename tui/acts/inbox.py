"""Answering where it stands: questions by the number of their option or in words, approvals, reviews."""

from typing import Any

from core.commands.table import find
from tui.actions import Place, Subject, action, command
from tui.ink import plain
from tui.screens import DETAILS, PLACES


def _permission(place: Place) -> bool:
    row = place.subject.row if place.subject else None
    return getattr(row, "kind", "") in ("approval", "permission")


def _asks_leave(place: Place) -> str | None:
    return None if _permission(place) else "it does not ask for permission"


@action("question.answer", "a a", scopes=("question",), footer="answer", order=10, command="question.answer")
async def answer(place: Place) -> None:
    """Answer the question: choose one of its options, or say it in words."""
    app, subject = place.app, place.subject
    assert subject is not None
    from tui.widgets.dialogs import Option

    options: tuple[str, ...] = getattr(subject.row, "options", ())
    text = plain(getattr(subject.row, "text", ""))
    if _permission(place):
        chosen = await app.choose(f"allow? {text}", [
            Option("allow", "this once"), Option("deny", "and say why"), Option("always", "from now on in this project"),
        ])  # fmt: skip
        if chosen is None:
            return
        more: dict[str, Any] = {chosen.name: True}
        if chosen.name == "deny":
            why = await app.ask_text("deny", "why not? the agent is told")
            if why is None:
                return
            more["text"] = why or None
        await _settle(place, subject, more)
    elif options:
        names = [Option(plain(option), "", None, option, str(n)) for n, option in enumerate(options, start=1)]
        chosen = await app.choose(text, [*names, Option("in my own words", "", None, None)])
        if chosen is None:
            return
        if chosen.value is not None:
            await _settle(place, subject, {"text": chosen.value})
        elif words := await app.ask_text(text, "your answer goes to the agent as it is"):
            await _settle(place, subject, {"text": words, "free": True})
    elif words := await app.ask_text(text, "your answer goes to the agent as it is"):
        await _settle(place, subject, {"text": words})


def _option_key(n: int) -> None:
    async def choose(place: Place) -> None:
        subject = place.subject
        assert subject is not None
        await _settle(place, subject, {"text": getattr(subject.row, "options", ())[n - 1]})

    choose.__doc__ = f"Answer with option {n}."

    def offered(place: Place) -> str | None:
        options = getattr(place.subject.row, "options", ()) if place.subject else ()
        return None if len(options) >= n else f"it has no option {n}"

    def shown(place: Place) -> str:
        options = getattr(place.subject.row, "options", ()) if place.subject else ()
        return plain(options[n - 1]) if len(options) >= n else "-"

    action(
        f"question.option-{n}", f"a {n}", scopes=("question",), enabled=offered, label=shown, command="question.answer"
    )(choose)


for _n in range(1, 10):
    _option_key(_n)


async def _settle(place: Place, subject: Subject, more: dict[str, Any]) -> None:
    from tui.giving import outcome

    given = {name: value for name, value in more.items() if value is not None}
    result = await place.app.do("question.answer", {"id": subject["question"], **given})
    place.app.say(outcome(find("question.answer"), result), "ok")


command(
    "question.allow", "A", scopes=("question",), name="question.answer", arguments={"id": "question"}, fixed={"allow": True},
    help="Allow what is asked for, this once.", enabled=_asks_leave, footer="allow", order=11,
)  # fmt: skip
command(
    "question.always", scopes=("question",), name="question.answer", arguments={"id": "question"}, fixed={"always": True},
    help="Allow it now and from now on in this project.", enabled=_asks_leave,
)  # fmt: skip
command(
    "question.deny", "D", scopes=("question",), name="question.answer", arguments={"id": "question"}, fixed={"deny": True},
    help="Deny what is asked for.", enabled=_asks_leave, footer="deny", order=12,
)  # fmt: skip
command(
    "review.approve", "m", scopes=("review",), arguments={"task": "review"}, footer="merge", order=12,
    help="Approve the change and have it merged.",
)  # fmt: skip
command(
    "review.request-changes", "c", scopes=("review",), arguments={"task": "review"}, footer="changes", order=13,
    help="Send the change back: the agent is told what is to be different.",
)  # fmt: skip
command(
    "review.reject", "X", scopes=("review",), arguments={"task": "review"},
    help="Reject the change and cancel its task.",
    loses=lambda place: f"{_labels(place)}: the change is not merged and the task is cancelled. The branch of the run stays in the repository.",
)  # fmt: skip


def _labels(place: Place) -> str:
    return ", ".join(subject.label for subject in place.subjects[:5]) + (" …" if len(place.subjects) > 5 else "")


def _anything(place: Place) -> str | None:
    return None if place.subject else "the inbox is empty"


@action("inbox.put-aside", "i", scopes=("inbox",), footer="put aside", order=40, enabled=_anything)
def put_aside(place: Place) -> None:
    """Put it aside: it is not shown here until something new happens to it. In the list of those, take it back."""
    from tui.panels.inbox import InboxPanel, aside_key

    panel, app = place.panel, place.app
    assert isinstance(panel, InboxPanel)
    rows = [subject.row for subject in place.subjects]
    if not rows:
        return
    keys, before = [aside_key(row) for row in rows], app.memory.get("aside", [])
    back = panel.shows_aside
    app.memory.set("aside", [key for key in before if key not in keys] if back else [*before, *keys][-500:])
    panel.clear_marks()
    panel.reload()
    app.needs_changed()
    what, done = (
        plain(rows[0].title or rows[0].text) if len(rows) == 1 else str(len(rows)),
        "taken back" if back else "put aside",
    )
    app.say(f"{done}: {what}", "note")


def _any_aside(place: Place) -> str | None:
    return None if getattr(place.panel, "aside", 0) else "nothing is put aside"


@action("inbox.aside", "I", scopes=("inbox",), enabled=_any_aside, title="inbox: list put aside")
def list_aside(place: Place) -> None:
    """List what was put aside, or what waits again."""
    from tui.panels.inbox import InboxPanel

    panel = place.panel
    assert isinstance(panel, InboxPanel)
    panel.shows_aside = not panel.shows_aside
    panel.clear_marks()
    panel.reload()


def _page_of(subject: Subject) -> tuple[str, str] | None:
    """The place that shows a thing in full, and its name there; None where there is none."""
    kind = {"question": "task"}.get(subject.kind, subject.kind)
    return (kind, subject[kind]) if kind in subject.names and (kind in PLACES or kind in DETAILS) else None


def _opens(place: Place) -> str | None:
    if place.subject is None:
        return "nothing is selected"
    return None if _page_of(place.subject) else "it has no page of its own"


@action("subject.open", "enter", scopes=("rows",), footer="open", order=20, enabled=_opens)
def open_(place: Place) -> None:
    """Open what is under the cursor."""
    page = _page_of(place.subject) if place.subject else None
    if page is not None:
        kind, name = page
        place.app.open(kind, **{("task" if kind == "review" else kind): name})
