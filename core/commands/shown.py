"""How the results of commands look to people: declared beside the dataclass, drawn by a face.

A result type may carry ``columns: ClassVar[tuple[Column, ...]]`` (what a table of it shows; without it all fields),
and ``empty: ClassVar[str]`` (what is said in place of an empty table, with the way to the first one). ``prints:
ClassVar[str]`` names the field that is the whole of what a person wants to see, such as a diff. The last item of a
stream may name one of its fields as ``table``, which is drawn as one, and a line ``closing`` to stand below it. A
property ``exit_status`` is the exit code of a command that did its job and has bad news. ``unset: ClassVar[Mapping[str, str]]``
says in words what it means that a field is None.
"""

from dataclasses import dataclass
from typing import Literal

Style = Literal["text", "key", "state", "count", "usd", "time", "seconds", "bytes", "yes", "colour"]
"""``key``: what the row is called; ``state``: glyph, word and colour; ``yes``: a tick for true; ``time``: relative to
now.
"""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its title, the field (dots lead into what it holds), and how the value is written."""

    title: str
    field: str
    style: Style = "text"
    spare: int = 0
    """Where it is narrow, the column with the highest number is left out first; 0 stays as long as can be."""
    folds: bool = False
    """Goes on in the next line where there is no room, in place of being cut: for the last column."""
