"""Patterns of models' names, and which of several holds."""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TypeVar

Value = TypeVar("Value")

_WILD = re.compile(r"\*|\?|\[!?[^]]+\]")


def closest(table: Mapping[str, Value], model: str) -> Value | None:
    """What the closest pattern says of a model: its very name, else the pattern with the most letters of its own; None where
    none fits. In what order they were declared does not count, for the database does not keep it.
    """
    if model in table:
        return table[model]
    fitting = [glob for glob in table if fnmatchcase(model, glob)]
    return table[max(fitting, key=lambda glob: (len(_WILD.sub("", glob)), glob))] if fitting else None
