"""Colours of programming languages, for a few lines at a time, in the tones of the palette: legible on every theme, nothing in mono but weight.

Lexers are those of Pygments, which Rich brings along. Lines are read in chunks of :data:`CHUNK`, when one of them is seen; what is very long stays plain.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from tui.patch import FileChange

CHUNK = 150
"""Lines that are read at a time."""
LONGEST = 400
"""Characters of a line that is read for its colours."""

Span = tuple[int, int, str]
"""From, to, tone."""

_TONES = (
    ("Token.Comment.Preproc", "ask"), ("Token.Comment", "dim italic"), ("Token.Literal.String.Doc", "dim italic"),
    ("Token.Literal.String", "ok"), ("Token.Literal.Number", "warn"), ("Token.Keyword.Constant", "warn"), ("Token.Keyword", "run"),
    ("Token.Operator.Word", "run"), ("Token.Name.Function", "focus"), ("Token.Name.Class", "focus"), ("Token.Name.Tag", "run"),
    ("Token.Name.Decorator", "ask"), ("Token.Name.Attribute", "focus"), ("Token.Name.Builtin", "ask"), ("Token.Name.Exception", "ask"),
    ("Token.Generic.Heading", "focus bold"), ("Token.Generic.Subheading", "focus bold"), ("Token.Generic.Strong", "text bold"),
    ("Token.Generic.Emph", "text italic"),
)  # fmt: skip


class Syntax:
    """The colours of one patch's files, found when they are needed."""

    def __init__(self) -> None:
        self._lexers: dict[str, Any] = {}
        self._chunks: dict[tuple[int, int, bool, int], dict[int, list[Span]]] = {}

    def spans(self, change: FileChange, file: int, hunk: int, place: int, *, old: bool) -> Sequence[Span]:
        """The colours of a line, by its place in the hunk, as part of the old or the new text of the file."""
        lexer = self._lexer(change.old_path if old and change.old_path else change.path)
        if lexer is None:
            return ()
        chunk = place // CHUNK
        key = (file, hunk, old, chunk)
        if key not in self._chunks:
            if len(self._chunks) > 200:
                self._chunks.clear()
            lines = change.hunks[hunk].lines
            skip = "+" if old else "-"
            wanted = [n for n in range(chunk * CHUNK, min(len(lines), (chunk + 1) * CHUNK)) if lines[n].sign != skip]
            found = _read(lexer, [_shown(lines[n].text) for n in wanted])
            self._chunks[key] = dict(zip(wanted, found, strict=True))
        return self._chunks[key].get(place, ())

    def _lexer(self, path: str) -> Any:
        name = path.rpartition("/")[2]
        if name not in self._lexers:
            from pygments.lexers import get_lexer_for_filename  # type: ignore[import-untyped]
            from pygments.util import ClassNotFound  # type: ignore[import-untyped]

            try:
                self._lexers[name] = get_lexer_for_filename(name, stripnl=False, ensurenl=False)
            except (ClassNotFound, ValueError):
                self._lexers[name] = None
        return self._lexers[name]


def _shown(text: str) -> str:
    line = text.expandtabs(4) if len(text) <= LONGEST else ""
    return (
        "".join(" " if letter in "\r\v\f\x1c\x1d\x1e\x85\u2028\u2029" else letter for letter in line)
        if not line.isprintable()
        else line
    )


def _read(lexer: Any, lines: Sequence[str]) -> list[list[Span]]:
    found: list[list[Span]] = [[] for _ in lines]
    if not lines:
        return found
    number = column = 0
    for kind, value in lexer.get_tokens("\n".join(lines)):
        tone = _tone(str(kind))
        for n, part in enumerate(value.split("\n")):
            if n:
                number, column = number + 1, 0
            if part and number < len(found):
                if tone:
                    found[number].append((column, column + len(part), tone))
                column += len(part)
    return found


@lru_cache(maxsize=512)
def _tone(kind: str) -> str:
    return next((tone for prefix, tone in _TONES if kind.startswith(prefix)), "")


def colours(path: str, lines: Sequence[str]) -> list[list[Span]]:
    """The colours of the lines of one file's text, by its name; none where nobody knows the language."""
    lexer = Syntax()._lexer(path)  # noqa: SLF001 - of this module
    return [[] for _ in lines] if lexer is None else _read(lexer, [_shown(line) for line in lines])
