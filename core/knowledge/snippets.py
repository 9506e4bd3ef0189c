"""The part of a text that a search is about, and where the words stand in it that matched."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_PIECE = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_a-zA-Z]+")
_LONGEST_ENDING = 5


@dataclass(frozen=True, slots=True)
class Snippet:
    """Lines of a text; ``marks`` are (start, end) of the matching words within ``text``; ``line`` is the first one's
    number, from 0.
    """

    text: str
    marks: tuple[tuple[int, int], ...]
    line: int


def snippet(text: str, terms: Sequence[str], *, lines: int = 6, width: int = 400) -> Snippet:
    """The stretch of ``lines`` lines that holds most different ``terms`` (stems as the database makes them)."""
    rows = text.split("\n")
    known: dict[str, str | None] = {}
    found = [{term for _, _, term in _hits(row, terms, known)} for row in rows]
    best, most = 0, -1.0
    for start in range(max(1, len(rows) - lines + 1)):
        window = found[start : start + lines]
        score = len(set().union(*window)) + 0.01 * sum(map(len, window)) + (0.005 if rows[start].strip() else 0)
        if score > most:
            best, most = start, score
    shown = "\n".join(row[:width] for row in rows[best : best + lines]).rstrip()
    marks = tuple((start, end) for start, end, _ in _hits(shown, terms, known))
    return Snippet(shown, marks, best)


def _hits(text: str, terms: Sequence[str], known: dict[str, str | None]) -> list[tuple[int, int, str]]:
    """Where terms stand; ``known`` remembers of each word whether it has one of these stems."""
    hits = []
    for piece in _PIECE.finditer(text):
        word = piece[0]
        if word not in known:
            known[word] = next((term for term in terms if _is_of(word.lower(), term)), None)
        if (term := known[word]) is not None:
            hits.append((piece.start(), piece.end(), term))
    return hits


def _is_of(word: str, stem: str) -> bool:
    """Whether a word may have this stem: it begins with it, but for a last i or e that stands for another ending."""
    root = stem[:-1] if len(stem) > 3 and stem[-1] in "ie" else stem
    return word == stem or (len(root) > 2 and word.startswith(root) and len(word) - len(root) <= _LONGEST_ENDING)
