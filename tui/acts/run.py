"""Actions on runs: talk to the agent, hold it, let it go on, stop it."""

from collections.abc import Callable

from tui.actions import Place, checked, command, several

_OVER = frozenset({"completed", "failed", "cancelled", "succeeded", "lost", "pending", "blocked"})
"""States of a task or a run in which nothing is at work."""


def _stops(place: Place) -> str:
    names = several(f"run {subject['run']}" for subject in place.subjects if "run" in subject.names)
    return (
        f"{names}: the agent is interrupted and its processes are ended. What it has changed stays on its branch; "
        "the task then waits for you to retry or cancel it."
    )


def _ended(place: Place) -> str | None:
    """Why nothing can be said to a run here: none is known to be at work."""
    over = [subject.live is False or str(getattr(subject.row, "status", "")) in _OVER for subject in place.subjects]
    return "no run of it is at work" if over and all(over) else None


def _paused(place: Place) -> bool:
    return bool(getattr(getattr(place.screen, "picture", None), "paused", False))


def _not_held(place: Place) -> str | None:
    """Only the page of a run knows whether it is held."""
    return "it is not held" if "run-screen" in place.scopes and not _paused(place) else None


def _on_its_page(word: str) -> Callable[[Place], str]:
    """A word of the footer on the page of a run alone: elsewhere there is no room for it."""
    return lambda place: word if "run-screen" in place.scopes else ""


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
    enabled=checked(_ended, lambda place: "it is held already" if _paused(place) else None),
    footer="hold",
    label=_on_its_page("hold"),
    order=36,
    help="Hold the processes of the run; its limits of time stand still.",
)
command(
    "run.resume",
    "]",
    scopes=("run",),
    arguments={"run": "run"},
    enabled=checked(_ended, _not_held),
    footer="go on",
    label=_on_its_page("go on"),
    order=36,
    help="Let a paused run go on.",
)
command(
    "run.stop",
    "S",
    scopes=("run",),
    arguments={"run": "run"},
    enabled=_ended,
    loses=_stops,
    footer="stop",
    label=_on_its_page("stop"),
    order=37,
    help="Stop the run; its task then waits for you.",
)
