"""Actions on tasks: one under the cursor, or all that are marked."""

from typing import Any

from tui.actions import Place, Subject, command, several
from tui.giving import ask_missing

_ENDED = ("completed", "failed", "cancelled")


def _status(subject: Subject) -> str:
    return str(getattr(subject.row, "status", ""))


def _live(place: Place) -> str | None:
    states = {_status(subject) for subject in place.subjects if subject.kind == "task" and _status(subject)}
    return f"it is {states.pop()} already" if len(states) == 1 and states <= set(_ENDED) else None


def _again(place: Place) -> str | None:
    states = {_status(subject) for subject in place.subjects if subject.kind == "task" and _status(subject)}
    if states and not states & {"failed", "cancelled", "waiting"}:
        return f"it is {states.pop().replace('_', ' ')}; only one that failed, was cancelled or waits starts again"
    return None


def _cancels(place: Place) -> str:
    running = [s for s in place.subjects if _status(s) == "in_progress"]
    words = f"{_labels(place)} will not be worked on."
    if running:
        at_work = "The run at work is" if len(running) == 1 else f"{len(running)} runs at work are"
        words += f" {at_work} stopped; what the agent has changed stays on its branch."
    return words + " Tasks that wait for it fail or are cancelled too. `retry` starts it again, from its beginning."


def _deletes(place: Place) -> str:
    return (
        f"{_labels(place)}: the task, all its runs and their logs, questions and reviews are deleted. This cannot be undone. "
        "Branches in the repository stay."
    )


def _labels(place: Place) -> str:
    return several(subject.label for subject in place.subjects)


def _priority_before(subject: Subject) -> tuple[str, dict[str, Any]] | None:
    before = getattr(subject.row, "priority", None)
    return (
        None
        if before is None or "task" not in subject.names
        else ("task.priority", {"task": subject["task"], "priority": before})
    )


def _retry(subject: Subject) -> tuple[str, dict[str, Any]]:
    return "task.retry", {"task": subject["task"]}


command(
    "task.cancel", "x", scopes=("task",), arguments={"task": "task"}, footer="cancel", order=32, enabled=_live, loses=_cancels, undo=_retry,
    help="Cancel the task; a run that works on it is stopped.",
)  # fmt: skip
command(
    "task.retry", "r", scopes=("task",), arguments={"task": "task"}, footer="retry", order=31, enabled=_again,
    help="Start the task again; its failures so far are forgotten.",
)  # fmt: skip
command(
    "task.delete", "delete", scopes=("task",), arguments={"task": "task"}, loses=_deletes, help="Delete the task with its runs and their logs.",
)  # fmt: skip
command(
    "task.priority", "p", scopes=("task",), arguments={"task": "task"}, footer="priority", order=33, undo=_priority_before,
    help="Change the priority, 1 to 5.",
)  # fmt: skip
for _n in range(1, 6):
    command(
        f"task.priority-{_n}", f"g {_n}", scopes=("task",), name="task.priority", arguments={"task": "task"}, fixed={"priority": _n},
        undo=_priority_before, help=f"Set the priority to {_n}.",
    )  # fmt: skip

__all__ = ["ask_missing"]
