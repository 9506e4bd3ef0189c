"""Actions on knowledge: kinds, votes, proposals, changing, the source of an item, and what a task was told."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from config.errors import QuarterdeckError
from core.commands.table import find
from tui.actions import Place, action, checked, command, nothing_here, only_one, several
from tui.editor import edit_text, open_file
from tui.giving import names_of, outcome
from tui.ink import plain
from tui.undoing import Undo
from tui.widgets.dialogs import Option

if TYPE_CHECKING:
    from tui.screens.knowledge import KnowledgeScreen
    from tui.screens.knowledge_entries import Entry

HERE = ("knowledge", "memory-page")
"""Scopes: the list of items, and all of its screen."""


def _screen(place: Place) -> "KnowledgeScreen":
    return place.screen  # type: ignore[return-value]


def _entry(place: Place) -> "Entry | None":
    row = place.subject.row if place.subject is not None else None
    return row if hasattr(row, "category") else None


@action("kind.next", "l", "right", scopes=HERE, footer="kinds", order=12)
def next_kind(place: Place) -> None:
    """The next kind of knowledge; the last are proposals and what was put away."""
    _screen(place).choose_tab(place.count or 1)


@action("kind.previous", "h", "left", scopes=HERE)
def previous_kind(place: Place) -> None:
    """The kind before."""
    _screen(place).choose_tab(-(place.count or 1))


@action("knowledge.whose", "p", scopes=HERE, footer="whose", order=40)
async def whose(place: Place) -> None:
    """Show the knowledge of one project and what holds for all, or everything."""
    known = [Option(name, title) for name, title in await names_of(place.app, "project")]
    chosen = await place.app.choose("whose knowledge", [Option("all projects", ""), *known])
    if chosen is not None:
        _screen(place).choose_project("" if chosen.name == "all projects" else chosen.name)


@action("knowledge.read", "enter", scopes=("knowledge",), footer="read", order=15)
def read(place: Place) -> None:
    """Read the item in full."""
    _screen(place).focus_pane("preview")


def _proposed(place: Place) -> str | None:
    states = {getattr(subject.row, "state", "") for subject in place.subjects}
    return None if states == {"proposed"} else "it is no proposal"


def _active(place: Place) -> str | None:
    states = {getattr(subject.row, "state", "") for subject in place.subjects}
    return None if states == {"active"} else f"it is {', '.join(sorted(states)) or 'not there'}"


def _past(place: Place) -> str | None:
    if place.subjects and all(getattr(subject.row, "cold", False) for subject in place.subjects):
        return None
    states = {getattr(subject.row, "state", "") for subject in place.subjects}
    return None if states and not states & {"active", "proposed", "opposed", ""} else "it was not put away"


def _opposed(place: Place) -> str | None:
    states = {getattr(subject.row, "state", "") for subject in place.subjects}
    return None if states == {"opposed"} else "it is no contradiction"


command("knowledge.accept", "a", scopes=("knowledge",), arguments={"id": "memory"}, enabled=_proposed, footer="accept", order=10,
        help="Accept the proposal: from now on it is found, and told to runs.")  # fmt: skip
command("knowledge.refuse", "x", scopes=("knowledge",), arguments={"id": "memory"}, enabled=_proposed, footer="refuse", order=11,
        help="Refuse the proposal; it is not proposed again.")  # fmt: skip
command("knowledge.up", "+", scopes=("knowledge",), name="knowledge.vote", arguments={"id": "memory"}, fixed={"word": "up"}, enabled=_active,
        footer="helps", order=20, title="knowledge: vote up", help="It helps: as much as a run that went well.")  # fmt: skip
command("knowledge.down", "-", scopes=("knowledge",), name="knowledge.vote", arguments={"id": "memory"}, fixed={"word": "down"}, enabled=_active,
        footer="does not", order=21, title="knowledge: vote down", help="It does not help: as much as a run that went badly.")  # fmt: skip
command("knowledge.restore", "r", scopes=("knowledge",), arguments={"id": "memory"}, enabled=_past, footer="bring back", order=22,
        help="Bring back what was deleted, refused, deprecated or superseded, or what lies in cold storage.")  # fmt: skip
command("knowledge.delete", "delete", scopes=("knowledge",), arguments={"id": "memory"}, enabled=_active,
        loses=lambda place: f"{several(s.label for s in place.subjects)}: no run is told of it any more. Its history stays.",
        help="Delete the item: nobody finds it any more.")  # fmt: skip


@action(
    "knowledge.settle", "w", scopes=("knowledge",), footer="which stands", order=12, enabled=checked(_opposed, only_one),
    command="knowledge.supersede",
)  # fmt: skip
async def settle(place: Place) -> None:
    """Say which of two items stands that contradict each other, and takes the other's place; or that both do."""
    app, subject = place.app, place.subject
    assert subject is not None
    pair = subject.row.item
    options = [Option(f"#{one.number}", plain(one.title), value=one.number) for one in (pair.left, pair.right)]
    chosen = await app.choose("which stands", [*options, Option("both", "they do not contradict each other")])
    if chosen is None:
        return
    if chosen.value is None:
        await app.do("knowledge.keep-both", {"first": str(pair.first), "second": str(pair.second)})
        app.say(f"{subject.label}: both stand", "ok")
        return
    other = pair.second if chosen.value == pair.first else pair.first
    await app.do("knowledge.supersede", {"id": str(other), "by": str(chosen.value)})
    app.undos.append(Undo(f"#{other} superseded by #{chosen.value}", (("knowledge.restore", {"id": str(other)}),)))
    app.say(f"#{other} is superseded by #{chosen.value}", "ok", f"{app.registry.keys_of('undo')} takes it back")


@action("knowledge.index", "i", scopes=HERE, footer="index", order=50, command="knowledge.index")
async def index(place: Place) -> None:
    """Read a project's repository into what is known: what has changed since the last time."""
    app = place.app
    projects = await names_of(app, "project")
    if not projects:
        raise QuarterdeckError("there is no project yet", f"{app.registry.keys_of('project.add')} adds the first")
    name = _screen(place).project or (projects[0][0] if len(projects) == 1 else "")
    if not name:
        chosen = await app.choose("index which project", [Option(id_, title) for id_, title in projects])
        if chosen is None:
            return
        name = chosen.name
    app.say(f"reading the repository of {name}{app.ink.glyph('more')}", "note")
    done = await app.do("knowledge.index", {"project": name})
    app.say(outcome(find("knowledge.index"), done), "ok")


@action("knowledge.add", "c", scopes=HERE, footer="write", order=45, command="knowledge.add")
async def add(place: Place) -> None:
    """Write something down for all runs to come, in your editor; its first line is what it is called."""
    app, screen = place.app, _screen(place)
    assert app.store.context is not None
    text = edit_text(app, app.store.context.environ, screen.drafts.pop("", "")).strip()
    if not text:
        app.say("nothing was written", "note")
        return
    from tui.screens.knowledge import TABS

    kind = TABS[screen.tab][1]
    category = kind if kind in ("documentation", "requirement", "standard") else "documentation"
    arguments: dict[str, Any] = {"text": (text,), "category": category}
    if screen.project:
        arguments["project"] = screen.project
    with _kept(place, "", text):
        made = await app.do("knowledge.add", arguments, words=f"knowledge add … --category {category}")
    app.say(f"#{made.number} {plain(made.title)} is remembered", "ok")


def _changeable(place: Place) -> str | None:
    row = _entry(place)
    if row is None:
        return nothing_here(place)
    if row.category == "opposed":
        return "these are two; w says which stands"
    return "it is read from a file; s opens that" if row.origin == "file" else None


@contextmanager
def _kept(place: Place, number: str, text: str) -> Iterator[None]:
    """Keep what a person has written where it is not taken: the next edit goes on with it."""
    try:
        yield
    except QuarterdeckError as error:
        _screen(place).drafts[number] = text
        keys = place.app.registry.keys_of("knowledge.edit" if number else "knowledge.add")
        error.hint = f"{error.hint + '; ' if error.hint else ''}what you wrote is kept, {keys} goes on with it"
        raise


@action(
    "knowledge.edit",
    "e",
    scopes=("knowledge",),
    footer="edit",
    order=30,
    enabled=checked(_changeable, only_one),
    command="knowledge.edit",
)
async def edit(place: Place) -> None:
    """Change the item: its text in your editor, a lesson or a decision in a form. What it said before stays in its history."""
    app, subject = place.app, place.subject
    assert subject is not None
    assert app.store.context is not None
    item = await app.store.ask("knowledge.show", id=subject["memory"])
    if item.category in ("lesson", "decision"):
        from tui.forms import form_of
        from tui.screens.forms import FormScreen, known_of

        entry = find(f"{item.category}.edit")
        before = SimpleNamespace(title=item.title, tag=item.tags, **dict(item.details or {}))
        form = form_of(entry, subject.label, fixed={"id": str(item.number)}, row=before)
        if await app.push_screen_wait(FormScreen(form, known_of({}))) is not None:
            app.say(f"#{item.number} is changed", "ok")
        return
    pattern = item.category == "pattern"
    was = str((item.details or {}).get("template", "")) if pattern else item.content
    draft = _screen(place).drafts.pop(str(item.number), was)
    text = edit_text(app, app.store.context.environ, draft)
    if text.strip() == was.strip():
        app.say("nothing was changed", "note")
        return
    name, field = ("pattern.edit", "template") if pattern else ("knowledge.edit", "text")
    words = f"{name.replace('.', ' ')} {item.number} --{field} …"
    with _kept(place, str(item.number), text):
        await app.do(name, {"id": str(item.number), field: text}, words=words)
    app.undos.append(Undo(f"the text of #{item.number}", ((name, {"id": str(item.number), field: was}),)))
    app.say(f"#{item.number} is changed", "ok", f"{app.registry.keys_of('undo')} takes it back")


@action("knowledge.source", "s", scopes=("knowledge",), footer="source", order=25)
async def source(place: Place) -> None:
    """Go to where the item comes from: the file in your editor, the run or the task."""
    app, row = place.app, _entry(place)
    if row is None:
        app.say(nothing_here(place), "note")
        return
    if found := re.search(r"\brun (\d+\.\d+)\b", row.source):
        app.open("run", run=found[1])
    elif found := re.search(r"\btask #?(\d+)\b", row.source):
        app.open("task", task=found[1])
    elif row.path and row.project:
        project = await app.store.ask("project.show", id=row.project)
        root = Path(project.path).resolve()
        file = (root / row.path).resolve()
        if not file.is_relative_to(root) or not file.is_file():
            raise QuarterdeckError(f"{row.path} is not there any more in {root}", "index the project again")
        assert app.store.context is not None
        open_file(app, app.store.context.environ, file, row.line or 1)
    else:
        app.say(f"it comes from {plain(row.source) or 'nowhere that is known'}", "note")


@action("task.knew", "K", scopes=("task",), title="task: what did it know")
def knew(place: Place) -> None:
    """Show what the latest run of the task was told, or would be told now: item by item, with source and reason."""
    assert place.subject is not None
    place.app.open("knew", task=place.subject["task"])


@action("knew.open", "enter", scopes=("knew",), footer="item", order=10)
def open_item(place: Place) -> None:
    """Open the item of knowledge: who else was told of it, and how that ended."""
    number = place.subject.names.get("memory") if place.subject else None
    if number is None:
        place.app.say("it is no item of knowledge: it was read from the repository", "note")
    else:
        place.app.open("knowledge", item=number)


@action("knew.now", "w", scopes=("knew",), footer="now or then", order=12)
def now_or_then(place: Place) -> None:
    """What a run would be told that begins now, or what the latest was told."""
    place.app.say(place.screen.turn(), "note")  # type: ignore[attr-defined]
