"""Answering where it stands: questions by the number of their option or in words, approvals, reviews."""

from typing import Any

from core.commands.table import find
from tui.actions import Place, action, command
from tui.answers import MOST, Answer, Asked, lasting
from tui.ink import plain
from tui.widgets.dialogs import Option, Pick


def _asked(place: Place) -> Asked | None:
    return place.subject.asks if place.subject else None


def _asks_leave(place: Place) -> str | None:
    asked = _asked(place)
    return None if asked is not None and asked.permission else "it does not ask for permission"


def _names_tool(place: Place) -> str | None:
    asked = _asked(place)
    named = asked is not None and asked.rule is not None
    return _asks_leave(place) or (None if named else "it names no tool that could always be allowed")


def _lasting(place: Place) -> str:
    asked = [subject.asks for subject in place.subjects if subject.asks is not None and subject.asks.rule is not None]
    return " ".join(dict.fromkeys(lasting(each.rule or "", each.project) for each in asked))


@action("question.answer", "a a", scopes=("question",), footer="answer", order=10, command="question.answer")
async def answer(place: Place) -> None:
    """Answer the question: choose one of its answers, or say it in words."""
    app, asked = place.app, _asked(place)
    if asked is None:
        return
    text = plain(asked.text)
    if asked.answers:
        options = [
            Option(plain(found.name), plain(found.note), None, found, str(n))
            for n, found in enumerate(asked.answers, start=1)
        ]
        own = [] if asked.permission else [Option("in my own words")]
        title = f"allow? {text}" if asked.permission else text
        chosen: Option | None = await app.push_screen_wait(
            Pick(title, [*options, *own], "type to narrow down, or press its digit")
        )
        if chosen is None:
            return
        if chosen.value is not None:
            await _give(place, asked, chosen.value, why=chosen.value.given == {"deny": True})
            return
    if words := await app.ask_text(text, "your answer goes to the agent as it is"):
        await _settle(place, asked, {"text": words, **({"free": True} if asked.options else {})})


def no_answer(place: Place, n: int) -> str | None:
    """Why answer ``n`` cannot be given here; None when it can."""
    asked = _asked(place)
    if asked is None:
        return "nothing is asked here"
    return None if n <= len(asked.answers) else f"there is no answer {n}"


async def answer_with(place: Place, n: int) -> None:
    """Give answer ``n`` of what is asked here, from 1."""
    asked = _asked(place)
    if asked is not None:
        await _give(place, asked, asked.answers[n - 1])


async def _give(place: Place, asked: Asked, answer: Answer, *, why: bool = False) -> None:
    """Give an answer; what holds for good is confirmed first. ``why``: the reason of a denial is asked for."""
    given = dict(answer.given)
    if answer.rule is not None and not await place.app.confirm("always allow?", lasting(answer.rule, asked.project)):
        place.app.say("nothing was answered", "note")
        return
    if why:
        reason = await place.app.ask_text("deny", "why not? the agent is told")
        if reason is None:
            return
        given |= {"text": reason} if reason.strip() else {}
    await _settle(place, asked, given)


def _answer_key(n: int) -> None:
    async def choose(place: Place) -> None:
        await answer_with(place, n)

    choose.__doc__ = f"Answer with answer {n}."

    def offered(place: Place) -> str | None:
        return no_answer(place, n)

    def shown(place: Place) -> str:
        asked = _asked(place)
        return plain(asked.answers[n - 1].name) if asked and n <= len(asked.answers) else "-"

    action(
        f"question.option-{n}", f"a {n}", scopes=("question",), enabled=offered, label=shown, command="question.answer"
    )(choose)


for _n in range(1, MOST + 1):
    _answer_key(_n)


async def _settle(place: Place, asked: Asked, given: dict[str, Any]) -> None:
    from tui.giving import outcome

    result = await place.app.do("question.answer", {"id": asked.number, **given})
    place.app.say(outcome(find("question.answer"), result), "ok")


command(
    "question.allow", "A", scopes=("question",), name="question.answer", arguments={"id": "question"}, fixed={"allow": True},
    help="Allow what is asked for, this once.", enabled=_asks_leave, footer="allow", order=11,
)  # fmt: skip
command(
    "question.always", scopes=("question",), name="question.answer", arguments={"id": "question"}, fixed={"always": True},
    help="Allow it now and from now on in this project; the rule that is added is shown first.", enabled=_names_tool, loses=_lasting,
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


def _something(place: Place) -> str | None:
    return None if place.subject else "nothing is selected"


@action("subject.open", "enter", scopes=("rows",), footer="open", order=20, enabled=_something)
def open_(place: Place) -> None:
    """Open what is under the cursor."""
    subject = place.subject
    if subject is None:
        return
    kind = {"question": "task", "engine": "engine"}.get(subject.kind, subject.kind)
    if kind in subject.names and kind != "engine":
        place.app.open(kind, **{("task" if kind == "review" else kind): subject[kind]})
