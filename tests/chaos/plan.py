"""What the crew is to do in a fault test, and what must come of it whatever is killed meanwhile."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

GATE = 'case "$QD_TASK_TITLE/$QD_ATTEMPT" in *gate*/1) exit 1;; esac'
"""The check of every project: it does not pass the first attempt of a task whose title says so."""

ATTEMPTS = 100
"""More than the killing can use up: a killed agent counts as a failed attempt."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One task; ``after`` are positions in the plan."""

    project: str
    title: str
    after: tuple[int, ...]
    priority: int
    lines: int
    """Numbered lines that each of its runs prints."""
    hopeless: bool
    on_failure: str

    def row(self, numbers: Sequence[int]) -> Mapping[str, object]:
        """As ``task_add`` takes it; ``numbers`` of the tasks before it."""
        return {
            "project": self.project, "title": self.title, "after": [numbers[position] for position in self.after],
            "priority": self.priority, "max_attempts": 2 if self.hopeless else ATTEMPTS, "on_failure": self.on_failure,
        }  # fmt: skip


def make_plan(random: Random, tasks: int, projects: Sequence[str]) -> list[Planned]:
    """A DAG over several projects: each task waits for up to two of the dozen before it."""
    plan = []
    for position in range(tasks):
        before = range(max(0, position - 12), position)
        parents = random.sample(before, min(len(before), random.choice((0, 0, 1, 1, 2))))
        hopeless = position > tasks * 0.6 and random.random() < 0.04
        lines = random.choice((3, 10, 30))
        steps = [f"count {lines} {random.choice(('0', '0', '0.005', '0.02'))}"]
        if random.random() < 0.1:
            steps.append("stray")
        if random.random() < 0.1:
            steps.append("say gate")
        if random.random() < 0.08:
            steps.insert(0, "attempt 1 exit 3")
        steps += ["exit 4"] if hopeless else [f"write done/{position}.txt yes", f"write last/{position % 7}.txt yes"]
        on_failure = random.choice(("fail", "cancel"))
        after, priority = tuple(sorted(parents)), random.randint(1, 5)
        title, project = "; ".join(steps), random.choice(projects)
        plan.append(Planned(project, title, after, priority, lines, hopeless, on_failure))
    return plan


def ends(plan: Sequence[Planned]) -> list[str]:
    """The state in which each task of the plan must end."""
    states: list[str] = []
    for planned in plan:
        if any(states[parent] != "completed" for parent in planned.after):
            states.append("cancelled" if planned.on_failure == "cancel" else "failed")
        else:
            states.append("failed" if planned.hopeless else "completed")
    return states
