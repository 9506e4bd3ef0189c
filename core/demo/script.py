"""The dozen tasks of the demonstration, and how the scripted model works on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from core.demo import work_harbour, work_lantern
from core.demo.hands import play
from core.demo.model_server import Brain
from core.demo.work import DECISION, TITLES

Agent = Literal["builtin", "claude-code"]


@dataclass(frozen=True, slots=True)
class DemoTask:
    """A task as `qd task add` is told of it."""

    key: str
    project: str
    title: str
    description: str
    priority: int
    after: tuple[str, ...] = ()
    """Keys of the tasks that come first."""
    agent: Agent = "builtin"
    """The adapter that works on it where its program is installed; the built-in agent can do each of them."""
    paths: tuple[str, ...] = ()


def _mend(key: str, project: str, priority: int, description: str, agent: Agent = "builtin") -> DemoTask:
    """A bug that a test module shows."""
    paths = (f"{project}/{key}.py", f"known-failures/test_{key}.txt")
    told = f"{description} See tests/test_{key}.py."
    return DemoTask(key, project, TITLES[key], told, priority, agent=agent, paths=paths)


def _add(
    key: str, project: str, priority: int, description: str, after: tuple[str, ...], agent: Agent = "builtin"
) -> DemoTask:
    """A module that others are needed for."""
    paths = (f"{project}/{key}.py", f"tests/test_{key}.py")
    return DemoTask(key, project, TITLES[key], description, priority, after, agent, paths)


TASKS: tuple[DemoTask, ...] = (
    _mend("durations", "harbour", 5, "parse('1h30m') is 3600: only the first unit counts."),
    _mend("records", "harbour", 4, "A field in quotes is torn apart at its commas."),
    _mend("amounts", "harbour", 4, "1234.5 should be 1,234.50."),
    _mend("table", "harbour", 3, "Long cells push their row apart, and numbers belong to the right.", "claude-code"),
    _add("voyages", "harbour", 3, "A voyage is a ship and its legs, each a duration.", ("durations",)),
    _add(
        *("schedule", "harbour", 3, "When a ship arrives in each port, from its departure and its legs."),
        after=("durations",),
        agent="claude-code",
    ),
    _add("report", "harbour", 2, "One line per voyage: ship, length, arrival.", ("voyages", "schedule")),
    _mend("markdown", "lantern", 5, "Strong text comes out wrong, and HTML is not escaped.", "claude-code"),
    _mend("slugs", "lantern", 4, "Café becomes caf-."),
    DemoTask(
        *("template", "lantern", TITLES["template"]),
        "A name without a value shows as None. Ask what it should be, then do that, with a test.",
        priority=3,
        paths=("lantern/template.py", "tests/test_template.py"),
    ),
    _add(
        *("contents", "lantern", 2, "A table of contents out of the headings of a text, with links made by slug()."),
        after=("slugs", "markdown"),
        agent="claude-code",
    ),
    _add("page", "lantern", 1, "A whole page: template, contents and text.", ("template", "contents")),
)
"""Two of them are the sides of a diamond: voyages and schedule, between durations and report."""


def demo_brain() -> Brain:
    """The model of the demonstration."""
    return play([*work_harbour.SCENES, *work_lantern.SCENES])


def answer_for(question: Mapping[str, Any]) -> str:
    """What the supervisor of the demonstration answers to a question (its event's data, or its row).

    For a permission it is the decision, ``allow``; for a question the text.
    """
    return "allow" if question.get("kind") == "permission" else DECISION
