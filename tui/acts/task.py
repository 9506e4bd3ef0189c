"""Actions on tasks: one under the cursor, or all that are marked."""

from collections.abc import Callable
from typing import Any

from storage.queries.screen import AtStake, at_stake
from tui.actions import Place, Subject, command, several
from tui.giving import ask_missing
from tui.ink import counted, money

_ENDED = ("completed", "failed", "cancelled")


def _states(place: Place) -> set[str]:
    """The states of the tasks here, as far as they are known."""
    return {subject.state for subject in place.subjects if subject.state and "task" in subject.names}


def _live(place: Place) -> str | None:
    states = _states(place)
    return f"it is {states.pop()} already" if len(states) == 1 and states <= set(_ENDED) else None


def _again(place: Place) -> str | None:
    states = _states(place)
    if states and not states & {"failed", "cancelled", "waiting"}:
        return f"it is {states.pop().replace('_', ' ')}; only one that failed, was cancelled or waits starts again"
    return None


def _beside_the_review(word: str) -> Callable[[Place], str]:
    """A word of the footer everywhere but where a change is judged: there the task goes the way of its change."""
    return lambda place: "" if "judge" in place.scopes else word


async def _at_stake(place: Place) -> AtStake:
    numbers = [int(subject["task"]) for subject in place.subjects if "task" in subject.names]
    return await place.app.store.read(lambda connection: at_stake(connection, numbers))


async def _cancels(place: Place) -> str:
    stake = await _at_stake(place)
    words = [f"{_labels(place)} will not be worked on."]
    if stake.working:
        who = f"Run {stake.working[0]} is" if len(stake.working) == 1 else f"{len(stake.working)} runs at work are"
        words.append(f"{who} stopped, after {money(stake.cost)}; what was changed so far stays on the branch.")
    if stake.waiting:
        words.append(
            "1 task that waits for it fails or is cancelled too."
            if stake.waiting == 1
            else f"{stake.waiting:,} tasks that wait for it fail or are cancelled too."
        )
    return " ".join([*words, "`retry` starts it again, from its beginning."])


async def _deletes(place: Place) -> str:
    stake = await _at_stake(place)
    return (
        f"{_labels(place)}: {'the task' if len(place.subjects) == 1 else 'the tasks'}, {counted(stake.runs, 'run')} with "
        f"{counted(stake.events, 'line')} of log, {'its' if len(place.subjects) == 1 else 'their'} questions and reviews are deleted. This cannot be undone. "
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


command(
    "task.cancel", "x", scopes=("task",), arguments={"task": "task"}, footer="cancel", label=_beside_the_review("cancel"), order=32, enabled=_live,
    loses=_cancels,
    help="Cancel the task; a run that works on it is stopped.",
)  # fmt: skip
command(
    "task.retry", "r", scopes=("task",), arguments={"task": "task"}, footer="retry", label=_beside_the_review("retry"), order=31, enabled=_again,
    help="Start the task again; its failures so far are forgotten.",
)  # fmt: skip
command(
    "task.delete", "delete", scopes=("task",), arguments={"task": "task"}, loses=_deletes, help="Delete the task with its runs and their logs.",
)  # fmt: skip
command(
    "task.priority", "p", scopes=("task",), arguments={"task": "task"}, footer="priority", label=_beside_the_review("priority"), order=33,
    undo=_priority_before,
    help="Change the priority, 1 to 5.",
)  # fmt: skip
for _n in range(1, 6):
    command(
        f"task.priority-{_n}", f"g {_n}", scopes=("task",), name="task.priority", arguments={"task": "task"}, fixed={"priority": _n},
        undo=_priority_before, help=f"Set the priority to {_n}.",
    )  # fmt: skip

__all__ = ["ask_missing"]
