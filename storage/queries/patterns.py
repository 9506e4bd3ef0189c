"""Regular expressions and texts as a person writes them, as Postgres takes them."""

import re

_ESCAPES = {r"\b": r"\y", r"\B": r"\Y"}


def regular(pattern: str) -> str:
    """A regular expression of Python as one of Postgres, where ``\\b`` is a backspace and ``\\y`` the edge of a word."""
    return re.sub(r"\\.", lambda found: _ESCAPES.get(found[0], found[0]), pattern, flags=re.DOTALL)


def literal(text: str) -> str:
    """A text in a pattern of ``like``, where it stands for itself."""
    return re.sub(r"([\\%_])", r"\\\1", text)
