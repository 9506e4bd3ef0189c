"""Answering where it stands: questions by the number of their option or in words, approvals, reviews."""

from collections.abc import Sequence
from typing import Any

from core.commands.table import find
from tui.actions import Place, action, command, nothing_here, several
from tui.answers import MOST, Asked, lasting
from tui.ink import plain
from tui.requests import seen
from tui.screens import DETAILS, PLACES
from tui.undoing import Undo
from tui.widgets.dialogs import Option, Pick
from tui.widgets.rows import Rows


def _asked(place: Place) -> list[Asked]:
    """What is asked here: by all that are marked, else by what is under the cursor."""
    return [subject.asks for subject in place.subjects if subject.asks is not None]


def _asks_leave(place: Place) -> str | None:
    return None if any(asked.permission for asked in _asked(place)) else "it does not ask for permission"


def _names_tool(place: Place) -> str | None:
    named = any(asked.rule is not None for asked in _asked(place))
    return _asks_leave(place) or (None if named else "it names no tool that could always be allowed")


def _rules(asked: Sequence[Asked]) -> str:
    return " ".join(dict.fromkeys(lasting(each.rule, each.project) for each in asked if each.rule is not None))


def _answerable(place: Place) -> str | None:
    """Why there is no answer that fits all that is asked here; None when there is."""
    asked = _asked(place)
    if not asked:
        return "nothing is asked here"
    alike = len({tuple(answer.name for answer in each.answers) for each in asked}) == 1
    return None if alike else f"the {len(asked)} marked have different answers"


def no_answer(place: Place, n: int) -> str | None:
    """Why answer ``n`` cannot be given here; None when it can."""
    reason = _answerable(place)
    return reason or (None if n <= len(_asked(place)[0].answers) else f"there is no answer {n}")


@action(
    "question.answer",
    "a a",
    scopes=("question",),
    footer="answer",
    order=10,
    command="question.answer",
    enabled=_answerable,
)
async def answer(place: Place) -> None:
    """Answer the question, or all that are marked: choose one of its answers, or say it in words."""
    app, asked = place.app, _asked(place)
    first = asked[0]
    text = plain(first.text) if len(asked) == 1 else f"{len(asked)} marked"
    if first.answers:
        options = [
            Option(plain(found.name), plain(found.note) if len(asked) == 1 else "", None, n, str(n))
            for n, found in enumerate(first.answers, start=1)
        ]
        own = [] if first.permission else [Option("in my own words")]
        title = f"allow? {text}" if first.permission else text
        chosen: Option | None = await app.push_screen_wait(
            Pick(title, [*options, *own], "type to narrow down, or press its digit")
        )
        if chosen is None:
            return
        if chosen.value is not None:
            await answer_with(place, chosen.value, why=True)
            return
    name = f"question.answer {' '.join(each.number for each in asked)}"
    if words := await app.ask_text(text, "your answer goes to the agent as it is", app.drafts.take(name)):
        with app.drafts.keeping(name, words, app.registry.keys_of("question.answer")):
            await _settle(
                place, [(each, {"text": words, **({"free": True} if each.options else {})}) for each in asked]
            )


async def answer_with(place: Place, n: int, *, why: bool = False) -> None:
    """Give answer ``n`` from 1; what holds for good is confirmed first. ``why``: the reason of a denial is asked for."""
    app, asked = place.app, _asked(place)
    given = [(each, dict(each.answers[n - 1].given)) for each in asked]
    leave = [each for each, answer_ in given if answer_.get("allow") or answer_.get("always")]
    if not await seen(app, leave):
        app.say("nothing was answered", "note")
        return
    lasts = [each for each in asked if each.answers[n - 1].rule is not None]
    if lasts and not await app.confirm("always allow?", _rules(lasts)):
        app.say("nothing was answered", "note")
        return
    if why and "deny" in given[0][1]:
        reason = await app.ask_text("deny", "why not? the agent is told")
        if reason is None:
            return
        if reason.strip():
            given = [(each, {**answer_, "text": reason}) for each, answer_ in given]
    await _settle(place, given)


def _answer_key(n: int) -> None:
    async def choose(place: Place) -> None:
        await answer_with(place, n)

    choose.__doc__ = f"Answer with answer {n}."

    def offered(place: Place) -> str | None:
        return no_answer(place, n)

    def shown(place: Place) -> str:
        return plain(_asked(place)[0].answers[n - 1].name) if offered(place) is None else "-"

    action(
        f"question.option-{n}", f"a {n}", scopes=("question",), enabled=offered, label=shown, command="question.answer"
    )(choose)


for _n in range(1, MOST + 1):
    _answer_key(_n)


async def _settle(place: Place, given: Sequence[tuple[Asked, dict[str, Any]]]) -> None:
    from tui.giving import outcome

    result: Any = None
    for asked, answer_ in given:
        result = await place.app.do("question.answer", {"id": asked.number, **answer_})
    if isinstance(place.panel, Rows):
        place.panel.clear_marks()
    said = outcome(find("question.answer"), result) if len(given) == 1 else f"{len(given)} are answered"
    place.app.say(said, "ok")


async def _seen(place: Place) -> bool:
    return await seen(place.app, _asked(place))


def _allowed(place: Place) -> str:
    return f"Allowed, this once: {several([plain(asked.text) for asked in _asked(place)], 5)}."


command(
    "question.allow", "A", scopes=("question",), name="question.answer", arguments={"id": "question"}, fixed={"allow": True},
    help="Allow what is asked for, this once.", enabled=_asks_leave, footer="allow", order=11,
    many=_allowed, seen=_seen,
)  # fmt: skip
command(
    "question.always", scopes=("question",), name="question.answer", arguments={"id": "question"}, fixed={"always": True},
    help="Allow it now and from now on in this project; the rule that is added is shown first.", enabled=_names_tool,
    loses=lambda place: _rules(_asked(place)), seen=_seen,
)  # fmt: skip
command(
    "question.deny", "D", scopes=("question",), name="question.answer", arguments={"id": "question"}, fixed={"deny": True},
    help="Deny what is asked for.", enabled=_asks_leave, footer="deny", order=12,
)  # fmt: skip
command(
    "review.approve", "m", scopes=("review",), arguments={"task": "review"}, footer="merge", order=12,
    help="Approve the change and have it merged.", many=lambda place: f"Merged unread, where their checks pass: {_labels(place)}.",
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
    return several((subject.label for subject in place.subjects), 5)


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
    keys, back = [aside_key(row) for row in rows], panel.shows_aside

    def move(aside: bool) -> None:
        rest = [key for key in app.memory.get("aside", []) if key not in keys]
        app.memory.set("aside", [*rest, *keys][-500:] if aside else rest)
        panel.reload()
        app.needs_changed()

    move(not back)
    panel.clear_marks()
    done = "taken back" if back else "put aside"
    said = f"{done}: {plain(rows[0].title or rows[0].text)}" if len(rows) == 1 else f"{len(rows)} {done}"
    app.undos.append(Undo(said, here=lambda: move(back)))
    app.say(said, "note", f"{app.registry.keys_of('undo')} takes it back")


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


def _something(place: Place) -> str | None:
    return None if place.subject else nothing_here(place)


@action("subject.open", "enter", scopes=("rows",), footer="open", order=20, enabled=_something)
def open_(place: Place) -> None:
    """Open what is under the cursor; what has no page of its own is shown in full."""
    from tui.giving import drawn

    app, subject = place.app, place.subject
    assert subject is not None
    kind = "task" if subject.kind == "question" else subject.kind
    if "engine" in subject.names:
        app.open("doctor")
    elif kind in subject.names and (kind in PLACES or kind in DETAILS):
        app.open(kind, **{("task" if kind == "review" else kind): subject[kind]})
    else:
        app.read(subject.label, drawn(app, subject.row))
