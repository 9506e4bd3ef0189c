"""The states of a task and who may change which into which: the contract that the database is held against."""

from enum import StrEnum


class TaskStatus(StrEnum):
    """The words that scripts and screens rely on."""

    PENDING = "pending"
    BLOCKED = "blocked"
    WAITING = "waiting"
    IN_PROGRESS = "in_progress"
    REVIEW = "review"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class By(StrEnum):
    """Whose doing a change of state is."""

    PERSON = "person"
    """By a command, an agent's tools included."""
    ENGINE = "engine"
    """By a claim, the end of a run, a merge or a rescue, and what follows from it for dependent tasks."""
    TIMER = "timer"
    """Because a date has come."""


_S = TaskStatus

BEGINNINGS = frozenset({_S.PENDING, _S.BLOCKED, _S.WAITING})
"""The states in which a task comes into being."""

ENDED = frozenset({_S.COMPLETED, _S.FAILED, _S.CANCELLED})
"""Nothing happens by itself any more."""

OUT_OF_HANDS = ENDED | {_S.REVIEW}
"""The crew has done its part."""

_EVERYBODY = frozenset(By)
_CREW = frozenset({By.ENGINE})
_PEOPLE = frozenset({By.PERSON})

TRANSITIONS: dict[tuple[TaskStatus, TaskStatus], frozenset[By]] = {
    # not begun: dependencies and dates are edited, parents end, dates come
    (_S.PENDING, _S.BLOCKED): _PEOPLE,
    (_S.PENDING, _S.WAITING): _PEOPLE,
    (_S.BLOCKED, _S.PENDING): _PEOPLE | _CREW,
    (_S.BLOCKED, _S.WAITING): _PEOPLE | _CREW,
    (_S.WAITING, _S.BLOCKED): _PEOPLE,
    (_S.WAITING, _S.PENDING): _PEOPLE | {By.TIMER},
    # given up: by a person, because a parent did not succeed, because the deadline has passed
    (_S.PENDING, _S.CANCELLED): _PEOPLE,
    (_S.BLOCKED, _S.CANCELLED): _EVERYBODY,
    (_S.WAITING, _S.CANCELLED): _PEOPLE,
    (_S.PENDING, _S.FAILED): frozenset({By.TIMER}),
    (_S.BLOCKED, _S.FAILED): _EVERYBODY,
    (_S.WAITING, _S.FAILED): frozenset({By.TIMER}),
    # worked on: only the engine that holds it
    (_S.PENDING, _S.IN_PROGRESS): _CREW,
    (_S.IN_PROGRESS, _S.PENDING): _CREW,
    (_S.IN_PROGRESS, _S.WAITING): _CREW,
    (_S.IN_PROGRESS, _S.REVIEW): _CREW,
    (_S.IN_PROGRESS, _S.COMPLETED): _CREW,
    (_S.IN_PROGRESS, _S.FAILED): _CREW,
    (_S.IN_PROGRESS, _S.CANCELLED): _CREW,
    # judged
    (_S.REVIEW, _S.COMPLETED): _CREW,
    (_S.REVIEW, _S.PENDING): _PEOPLE | _CREW,
    (_S.REVIEW, _S.CANCELLED): _PEOPLE,
    # begun anew
    **{(ended, anew): _PEOPLE for ended in (_S.FAILED, _S.CANCELLED) for anew in BEGINNINGS},
}
"""Each change that may happen, and by whom. What is completed stays so: others have built on it."""


def may_become(before: TaskStatus, after: TaskStatus, by: By | None = None) -> bool:
    """Whether a task may change so, by anybody or by ``by``."""
    allowed = TRANSITIONS.get((before, after))
    return allowed is not None and (by is None or by in allowed)
