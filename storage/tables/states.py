"""The states of tasks and runs, as Postgres enumerations."""

from enum import StrEnum

from sqlalchemy import Enum


class TaskStatus(StrEnum):
    """Where a task stands."""

    PENDING = "pending"
    BLOCKED = "blocked"
    WAITING = "waiting"
    IN_PROGRESS = "in_progress"
    REVIEW = "review"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TaskWait(StrEnum):
    """What a waiting task waits for."""

    TIME = "time"
    PERSON = "person"
    BUDGET = "budget"


class RunStatus(StrEnum):
    """Where a run stands."""

    STARTING = "starting"
    RUNNING = "running"
    VERIFYING = "verifying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"


def _postgres(kind: type[StrEnum], name: str) -> Enum:
    return Enum(kind, name=name, values_callable=lambda members: [member.value for member in members])


TASK_STATUS = _postgres(TaskStatus, "task_status")
TASK_WAIT = _postgres(TaskWait, "task_wait")
RUN_STATUS = _postgres(RunStatus, "run_status")
