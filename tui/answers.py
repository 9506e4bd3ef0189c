"""What can be answered to what a run asks: the same answers in the same order with the same digits, wherever it is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tui.ink import plain

MOST = 9
"""Answers that have a digit."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer that is given with one key."""

    name: str
    """As people read it."""
    given: Mapping[str, Any]
    """What ``question answer`` is given."""
    note: str = ""
    rule: str | None = None
    """The rule that it adds to the project for good; it is confirmed first."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run asks for: an answer, or leave to do something (``permission``)."""

    number: str
    text: str
    options: Sequence[str]
    permission: bool = False
    rule: str | None = None
    """What would be allowed for good; None where it names no tool."""
    project: str = ""

    @property
    def answers(self) -> tuple[Answer, ...]:
        """The answers in their order; the first has the digit 1."""
        if not self.permission:
            return tuple(Answer(option, {"text": option}) for option in self.options[:MOST])
        once = Answer("allow once", {"allow": True})
        deny = Answer("deny", {"deny": True}, "and say why")
        if self.rule is None:
            return once, deny
        return once, deny, Answer("always", {"always": True}, f"adds the rule {self.rule}", self.rule)


def lasting(rule: str, project: str) -> str:
    """What a rule allows from now on, exactly: said before it is added. ``rule`` as :mod:`storage.queries.permissions` writes it."""
    tool, equals, text = rule.partition(" = ")
    if equals and ": " not in tool:
        reach = f"this very text, and no other, with the tool {tool}: {text}"
    elif ": " in rule:
        tool, _, beginning = rule.partition(": ")
        reach = f"every command of the tool {tool} that begins with `{beginning}`, whatever arguments follow"
    else:
        reach = f"every use of the tool {rule}, with whatever it is given"
    return plain(
        f"The rule `{rule}` is added to the project {project}. From now on each of its runs may, without asking: {reach}."
    )
