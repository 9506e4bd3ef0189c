"""How a run comes to its end: what its process said, and what the engine makes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from storage.queries.budget_runs import Refused
from storage.queries.queue import Outcome, Wait

StopKind = Literal["cancel", "person", "cost", "budget", "unpriced", "deadline", "idle", "shutdown"]
"""Why a run is ended before its time: its task was cancelled, a person stopped it, it cost more than its task may, a
budget of others too is used up, nobody knows what its calls cost, its deadline passed, it was silent for too long, or
the engine was told to stop its runs."""


@dataclass(frozen=True, slots=True)
class Stop:
    """An early end, and in words for whom or why."""

    kind: StopKind
    words: str

    @classmethod
    def parse(cls, text: str) -> "Stop | None":
        """Read back what the keeper recorded; None for an end that was not ours."""
        name, _, words = text.partition(": ")
        return next((cls(kind, words) for kind in get_args(StopKind) if kind == name), None)


@dataclass(frozen=True, slots=True)
class Ended:
    """How the agent's process ended; ``reason`` as the keeper names it."""

    reason: str
    detail: str
    exit_code: int | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The last word on a run, and what becomes of its task."""

    run_status: Literal["succeeded", "failed", "cancelled"]
    outcome: Outcome
    reason: str | None = None
    feedback: str | None = None
    wait: Wait | None = None
    review_note: str | None = None
    pause: bool = False
    """Whether the next attempt waits a while: for what may be better later, such as a provider's outage."""
    retry_seconds: float | None = None
    """How long the task waits, where that is known."""
    hand_to: str | None = None
    """The agent that goes on in place of this one."""
    refused: Refused | None = None
    """The budget or the service that the task waits for."""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """What to write on the run besides."""


def attempt_failed(reason: str, feedback: str | None = None, *, pause: bool = False) -> Judgement:
    """This attempt did not do it; the next one is told why."""
    return Judgement("failed", "retry", reason, feedback or reason, pause=pause, columns={"verdict": "failed"})


def stopped(stop: Stop) -> Judgement:
    """What an early end means for the task."""
    match stop.kind:
        case "cancel":
            return Judgement("cancelled", "cancelled", stop.words)
        case "person":
            return Judgement("cancelled", "wait", f"{stop.words}; retry it or cancel it", wait="person")
        case "budget":
            return Judgement("failed", "wait", stop.words, wait="budget")
        case "unpriced":
            return Judgement("failed", "wait", stop.words, wait="person")
        case "shutdown":
            return Judgement(
                "cancelled", "wait", "its run was ended with the engine; it starts again", wait="time", pause=False
            )
        case "cost" | "deadline":
            return Judgement("failed", "failed", stop.words, columns={"verdict": "failed"})
        case "idle":
            return attempt_failed(stop.words, pause=True)
