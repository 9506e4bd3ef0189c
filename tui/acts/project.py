"""Actions on projects."""

from typing import Any

from tui.actions import Place, action, command, several


def _is(status: str) -> "Any":
    def check(place: Place) -> str | None:
        states = {getattr(subject.row, "status", "") for subject in place.subjects if subject.kind == "project"}
        return f"it is {status} already" if states == {status} else None

    return check


def _removes(place: Place) -> str:
    names = several((subject["project"] for subject in place.subjects), 10)
    tasks = sum(getattr(subject.row, "open_tasks", 0) for subject in place.subjects)
    whose = "it" if len(place.subjects) == 1 else "them"
    return (
        f"{names}: all tasks of {whose} ({tasks:,} open), their runs and logs are deleted. This cannot be undone. "
        "The repository stays as it is, with the branches of the tasks; so does the audit trail."
    )


command(
    "project.pause",
    "v",
    scopes=("projects",),
    arguments={"id": "project"},
    enabled=_is("paused"),
    footer="pause",
    order=30,
    help="Start no more tasks of the project; what runs goes on.",
)
command(
    "project.resume",
    "V",
    scopes=("projects",),
    arguments={"id": "project"},
    enabled=_is("active"),
    footer="resume",
    order=31,
    help="Start tasks of the project again.",
)
command(
    "project.remove",
    "delete",
    scopes=("projects",),
    arguments={"id": "project"},
    loses=_removes,
    help="Take the project out of supervision, and delete its tasks.",
)


@action("project.only", "f", scopes=("project",), footer="its tasks", order=38)
def only(place: Place) -> None:
    """Show only the tasks of this project in the queue."""
    subject = place.subject
    from tui.screens.deck import DeckScreen

    if subject is None:
        return
    while len(place.app.screen_stack) > 2:
        place.app.pop_screen()
    deck = place.app.screen
    if isinstance(deck, DeckScreen):
        deck.focus_panel("queue")
        deck.query_one("#queue").look_for(f"project:{subject['project']}$")  # type: ignore[attr-defined]
