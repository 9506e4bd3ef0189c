"""What a run wants leave for, to the letter: a row of the inbox shows one line of it, and leave is given to all of it."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import asyncpg

from storage.queries.questions import Question, find_question
from tui.answers import Asked
from tui.ink import Part, counted, plain, plain_lines
from tui.widgets.dialogs import Consent

if TYPE_CHECKING:
    from tui.app import QuarterdeckApp

FITS = 40
"""Signs of a request that a row shows on the narrowest screen; one that is longer is cut there."""


def request_of(data: Mapping[str, Any]) -> dict[str, str]:
    """What the tool would be given, field by field, as text; empty where the agent tells no more than its question."""
    given = data.get("input")
    if not isinstance(given, Mapping):
        return {} if given is None else {"input": _text(given)}
    return {str(name): _text(value) for name, value in given.items()}


def fits(text: str, data: Mapping[str, Any]) -> bool:
    """Whether one line with the question's ``text`` shows all that leave is asked for."""
    shown, request = plain(text), request_of(data)
    if "command" in request:
        request.pop("description", None)  # the agent's own words about the command: they do nothing
    return len(shown) <= FITS and all(value in shown for value in (request.values() if request else [text.strip()]))


def request_lines(text: str, data: Mapping[str, Any]) -> list[list[Part]]:
    """The question and every line of what the tool would be given, uncut and harmless."""
    lines: list[list[Part]] = [[(line, "text bold")] for line in plain_lines(text)]
    for name, value in request_of(data).items():
        rows = plain_lines(value)
        size = f"  {counted(len(rows), 'line')}" if len(rows) > 1 else ""
        lines += [[], [(plain(name), "focus"), (size, "dim")], *([("  ", ""), (row, "text")] for row in rows)]
    return lines


async def seen(app: "QuarterdeckApp", asked: Sequence[Asked]) -> bool:
    """Show each request that a row cannot show whole, and have it confirmed; False as soon as one is not."""
    wanted = [int(each.number) for each in asked if each.permission]
    if not wanted:
        return True

    async def load(db: asyncpg.Connection) -> list[Question]:
        return [await find_question(db, number) for number in wanted]

    for question in await app.store.read(load):
        if fits(question.text, question.data):
            continue
        title = f"allow #{question.task} this?"
        if not await app.push_screen_wait(Consent(title, request_lines(question.text, question.data))):
            return False
    return True


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
