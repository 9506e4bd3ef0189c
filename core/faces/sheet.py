"""Writes results as CSV (RFC 4180, lines that end with a newline): the same fields and values as ``--json`` has.

A table of counts within a result (``tokens``) becomes a column each (``tokens.input``), whatever else is nested is JSON
in its cell. Nothing is an empty cell. A text that a spreadsheet would take for a formula gets an apostrophe before it
(https://owasp.org/www-community/attacks/CSV_Injection): text comes from agents and repositories, and is not trusted.
"""

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from core.faces.plain import harmless, jsonable

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def sheet(results: Sequence[Any], held: Any = None) -> str:
    """The results with a line of titles before them. ``held``: the type of what the list would hold, where it is
    empty.
    """
    rows = [row_of(result) for result in results]
    titles = list(dict.fromkeys(title for row in rows for title in row))
    if not rows and dataclasses.is_dataclass(held):
        titles = [field.name for field in dataclasses.fields(held)]
    return lines([titles, *([row.get(title) for title in titles] for row in rows)])


def row_of(result: Any) -> dict[str, Any]:
    """One result as titles and values."""
    plain = jsonable(result)
    row: dict[str, Any] = {}
    for name, value in (plain if isinstance(plain, dict) else {"value": plain}).items():
        if isinstance(value, dict) and value and all(_is_number(count) for count in value.values()):
            row |= {f"{name}.{kind}": count for kind, count in value.items()}
        else:
            row[name] = value
    return row


def lines(rows: Sequence[Sequence[Any]]) -> str:
    """Rows of values as text."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([[_cell(value) for value in row] for row in rows])
    return out.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or _is_number(value):
        return json.dumps(value)
    text = harmless(value if isinstance(value, str) else _packed(value))
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA) else text


def _packed(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if value or not isinstance(value, Mapping | list) else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
