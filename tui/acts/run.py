"""Actions on runs: talk to the agent, hold it, let it go on, stop it."""

from typing import Any

from tui.actions import Place, Subject, command, several

_OVER = frozenset({"completed", "failed", "cancelled", "succeeded", "lost", "pending", "blocked"})
"""States of a task or a run in which nothing is at work."""


def _stops(place: Place) -> str:
    names = several(f"run {subject['run']}" for subject in place.subjects if "run" in subject.names)
    return (
        f"{names}: the agent is interrupted and its processes are ended. What it has changed stays on its branch; "
        "the task then waits for you to retry or cancel it."
    )


def _resume(subject: Subject) -> tuple[str, dict[str, Any]]:
    return "run.resume", {"run": subject["run"]}


def _pause(subject: Subject) -> tuple[str, dict[str, Any]]:
    return "run.pause", {"run": subject["run"]}


def _ended(place: Place) -> str | None:
    states = {str(getattr(subject.row, "status", "")) for subject in place.subjects}
    return "no run of it is at work" if states and states <= _OVER else None


command(
    "run.send",
    "s",
    scopes=("run",),
    arguments={"run": "run"},
    footer="say",
    order=35,
    enabled=_ended,
    help="Send the agent a message.",
)
command(
    "run.pause",
    "[",
    scopes=("run",),
    arguments={"run": "run"},
    enabled=_ended,
    undo=_resume,
    help="Hold the processes of the run; its limits of time stand still.",
)
command(
    "run.resume",
    "]",
    scopes=("run",),
    arguments={"run": "run"},
    enabled=_ended,
    undo=_pause,
    help="Let a paused run go on.",
)
command(
    "run.stop",
    "S",
    scopes=("run",),
    arguments={"run": "run"},
    enabled=_ended,
    loses=_stops,
    help="Stop the run; its task then waits for you.",
)
