"""Actions of screens with panes, of the page of a task, and of the figures."""

from typing import TYPE_CHECKING

from tui.actions import Place, action

if TYPE_CHECKING:
    from tui.screens.paned import PanedScreen
    from tui.screens.task_screen import TaskScreen


def _panes(place: Place) -> "PanedScreen":
    return place.screen  # type: ignore[return-value]


@action("pane.next", "tab", scopes=("panes",), footer="pane", order=74)
def next_pane(place: Place) -> None:
    """Give the keys to the next pane."""
    _panes(place).next_pane(place.count or 1)


@action("pane.previous", "shift+tab", scopes=("panes",))
def previous_pane(place: Place) -> None:
    """Give the keys to the pane before."""
    _panes(place).next_pane(-(place.count or 1))


def _pane_keys() -> None:
    for number in range(1, 5):

        def go(place: Place, at: int = number - 1) -> None:
            panes = _panes(place).panes
            if at < len(panes):
                _panes(place).focus_pane(panes[at])

        go.__doc__ = f"Give the keys to pane {number}."
        action(f"pane.{number}", str(number), scopes=("panes",))(go)


_pane_keys()


# ── a task ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _task(place: Place) -> "TaskScreen":
    return place.screen  # type: ignore[return-value]


@action("graph.right", "l", "right", scopes=("graph",))
def right(place: Place) -> None:
    """To a task that waits for this one."""
    place.panel.across(place.count or 1)  # type: ignore[union-attr]


@action("graph.left", "h", "left", scopes=("graph",))
def left(place: Place) -> None:
    """To a task that this one waits for."""
    place.panel.across(-(place.count or 1))  # type: ignore[union-attr]


def _elsewhere(place: Place) -> str | None:
    return None if str(place.panel.here) != _task(place).task_number else "it is open already"  # type: ignore[union-attr]


@action("graph.open", "enter", scopes=("graph",), footer="open", order=20, enabled=_elsewhere)
def open_task(place: Place) -> None:
    """Open the task under the cursor."""
    place.app.open("task", task=str(place.panel.here))  # type: ignore[union-attr]


def _has_run(place: Place) -> str | None:
    return None if place.subject is not None and "run" in place.subject.names else "there is no run of it yet"


@action("task.log", "L", scopes=("task-page",), footer="log", order=22, enabled=_has_run)
def open_run(place: Place) -> None:
    """Open the log of the latest attempt; a count opens that attempt."""
    subject = place.subject
    assert subject is not None
    run = f"{subject['task']}.{place.count}" if place.count else subject["run"]
    place.app.open("run", run=run)


def _has_review(place: Place) -> str | None:
    return _task(place).no_review()


@action("task.review", "w", scopes=("task-page",), footer="review", order=21, enabled=_has_review)
def open_review(place: Place) -> None:
    """Open the review of the change."""
    place.app.open("review", task=_task(place).task_number)


@action("open.analytics", "g y")
def analytics(place: Place) -> None:
    """Go to the figures: rates, durations, costs."""
    place.app.open("analytics")


@action("analytics.span", "d", scopes=("analytics",), footer="days", order=20)
def span(place: Place) -> None:
    """Look at 30, 7, 90 or 365 days."""
    place.app.say(f"the last {place.screen.next_span()} days", "note")  # type: ignore[attr-defined]
