"""Forms made from the table of commands: which fields a command has, what is wrong with what stands in them, and what is sent.

Pure: nothing here draws. A field holds text, as a person writes it; several values of one field are parted by commas, commands by `` ; ``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from config.errors import UsageError
from core.commands.table import Command, Parameter, validated

Kind = Literal["line", "long", "choice", "yes"]

_LONG = frozenset({"description"})
_ATTRIBUTES: Mapping[str, str] = {
    "path": "paths", "max_cost": "max_cost_usd", "primary": "colors.primary", "accent": "colors.accent", "capability": "capabilities",
}  # fmt: skip
"""Parameter → where its value stands in what is edited, where it is called otherwise there."""


@dataclass(frozen=True, slots=True)
class Field:
    """One line of a form."""

    name: str
    label: str
    help: str
    kind: Kind
    required: bool
    repeated: bool
    by_semicolon: bool
    choices: tuple[str, ...]
    default: str
    """What happens when nothing is written, in words; shown where nothing stands."""


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of one command; ``fixed`` is sent as it is, ``before`` is what stood in the fields of what is edited."""

    command: Command
    title: str
    fields: tuple[Field, ...]
    fixed: Mapping[str, Any]
    before: Mapping[str, str]
    edits: bool

    def value(self, name: str) -> str:
        """What stands in a field at first."""
        return self.before.get(name, "")


def form_of(
    command: Command,
    title: str,
    *,
    fixed: Mapping[str, Any] | None = None,
    before: Mapping[str, str] | None = None,
    row: Any = None,
) -> Form:
    """A form of a command. ``row`` is what is edited: its values stand in the fields."""
    given = dict(fixed or {})
    shown = [parameter for parameter in command.parameters if parameter.name not in given and parameter.name != "clear"]
    fields = tuple(_field(parameter) for parameter in sorted(shown, key=lambda p: not p.required))
    values = dict(before or {})
    if row is not None:
        values |= {
            field.name: text
            for field in fields
            if (text := _text_of(field, _look_up(row, _ATTRIBUTES.get(field.name, field.name))))
        }
    return Form(command, title, fields, given, values, row is not None)


def arguments_of(form: Form, texts: Mapping[str, str]) -> dict[str, Any]:
    """What is sent: what was written, of an edit only what is different; fields that were emptied are cleared.

    Raises :class:`UsageError` for a field that cannot be emptied.
    """
    sent: dict[str, Any] = dict(form.fixed)
    cleared = []
    for field in form.fields:
        text, was = texts.get(field.name, ""), form.value(field.name) if form.edits else ""
        if text.strip() == was.strip():
            continue
        if text.strip():
            sent[field.name] = _shaped(field, text)
        elif form.edits:
            cleared.append(field.name.replace("_", "-"))
    if cleared:
        clearable = next((parameter.choices for parameter in form.command.parameters if parameter.name == "clear"), ())
        for name in cleared:
            if name not in clearable:
                raise UsageError(f"{name} cannot be empty", "write something")
        sent["clear"] = cleared
    return sent


def wrong(form: Form, field: Field, text: str) -> str:
    """What is wrong with what stands in a field, in words; empty when nothing is."""
    if not text.strip():
        if field.required and not form.edits:
            return "is needed"
        return (
            "cannot be empty" if form.edits and form.value(field.name).strip() and not _clearable(form, field) else ""
        )
    try:
        validated(form.command, {**_stand_ins(form, field), field.name: _shaped(field, text)})
    except UsageError as error:
        words = error.message.removeprefix(field.name.replace("_", "-")).strip()
        return words or error.message
    return ""


def _stand_ins(form: Form, field: Field) -> dict[str, Any]:
    """Something for each other required parameter, so that only the one field is looked at."""
    stand_ins: dict[str, Any] = {}
    for parameter in form.command.parameters:
        if parameter.required and parameter.name != field.name:
            stand_ins[parameter.name] = form.fixed.get(
                parameter.name, parameter.choices[0] if parameter.choices else "1"
            )
    return stand_ins


def _clearable(form: Form, field: Field) -> bool:
    return any(
        field.name.replace("_", "-") in parameter.choices
        for parameter in form.command.parameters
        if parameter.name == "clear"
    )


def _field(parameter: Parameter) -> Field:
    yes = parameter.kind in ("flag", "switch")
    kind: Kind = (
        "yes"
        if yes
        else "long"
        if parameter.name in _LONG
        else "choice"
        if parameter.choices and not parameter.repeated
        else "line"
    )
    return Field(
        parameter.name,
        parameter.name.rstrip("_").replace("_", " "),
        parameter.help,
        kind,
        parameter.required,
        parameter.repeated,
        parameter.metavar == "CMD",
        ("yes", "no") if yes else parameter.choices,
        _default(parameter),
    )


def _default(parameter: Parameter) -> str:
    value = parameter.default
    if parameter.kind in ("flag", "switch"):
        return "" if value is None else "yes" if value else "no"
    return "" if value in (None, (), "") else str(value)


def _shaped(field: Field, text: str) -> Any:
    if field.kind == "yes":
        return {"yes": True, "no": False}.get(text.strip().lower(), text.strip())
    if field.repeated:
        parts = text.split(" ; ") if field.by_semicolon else re.split(r"[,\s]+", text)
        return [part.strip() for part in parts if part.strip()]
    return text if field.kind == "long" else text.strip()


def _look_up(row: Any, path: str) -> Any:
    for name in path.split("."):
        row = getattr(row, name, None)
    return row


def _text_of(field: Field, value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            return value.isoformat(timespec="minutes").replace("+00:00", "Z")
        case Decimal():
            return f"{value.normalize():f}"
        case Mapping():
            return ", ".join(f"{name}={item}" for name, item in value.items())
        case list() | tuple():
            return (" ; " if field.by_semicolon else ", ").join(str(item) for item in value)
    return str(value)


def offers(field: Field, known: Sequence[tuple[str, str]], text: str) -> list[tuple[str, str]]:
    """What a field may become, best first, each with what it is about: its choices, or ``known`` names; narrowed by the last word of the text."""
    found = [(choice, "") for choice in field.choices] or list(known)
    last = re.split(r"[,\s]+", text)[-1].lower() if field.repeated else text.strip().lower()
    if any(last == name.lower() for name, _ in found) and not field.repeated:
        return found
    begin = [item for item in found if item[0].lower().startswith(last)]
    return begin + [item for item in found if item not in begin and last and last in f"{item[0]} {item[1]}".lower()]


def completed(field: Field, text: str, offer: str) -> str:
    """The text with its last word, or all of it, replaced by an offer."""
    if not field.repeated:
        return offer
    head = re.match(r"(.*[,\s])?", text, re.DOTALL)
    return (head[0] if head else "") + offer
