"""The part of a text that a search is about, and where the words stand in it that matched."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+|[^\W\d_a-zA-Z]+|\n")
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
    term_of = _finder(tuple(terms))
    pieces = _PIECE.findall(text)
    known = {word: term for word in {*pieces} if (term := term_of(word))}
    found: list[set[str]] = [set()]
    for piece in pieces:
        if piece == "\n":
            found.append(set())
        elif piece in known:
            found[-1].add(known[piece])
    best, most = 0, -1.0
    for start in range(max(1, len(rows) - lines + 1)):
        window = found[start : start + lines]
        score = len(set().union(*window)) + 0.01 * sum(map(len, window)) + (0.005 if rows[start].strip() else 0)
        if score > most:
            best, most = start, score
    shown = "\n".join(row[:width] for row in rows[best : best + lines]).rstrip()
    marks = tuple(piece.span() for piece in _PIECE.finditer(shown) if term_of(piece[0]))
    return Snippet(shown, marks, best)


@lru_cache(maxsize=4)
def _finder(terms: tuple[str, ...]) -> Callable[[str], str | None]:
    """What tells of a word which of the ``terms`` may be its stem, the first of several.

    It begins with the stem, but for a last i or e that stands for another ending. Each word is looked up once, by its beginnings, for all hits of a search.
    """
    whole = {term: place for place, term in reversed([*enumerate(terms)])}
    begun = {_root(term): place for place, term in reversed([*enumerate(terms)]) if len(_root(term)) > 2}

    @lru_cache(maxsize=10_000)
    def term_of(word: str) -> str | None:
        word = word.lower()
        ends = range(max(3, len(word) - _LONGEST_ENDING), len(word) + 1)
        places = [begun[word[:end]] for end in ends if word[:end] in begun]
        if word in whole:
            places.append(whole[word])
        return terms[min(places)] if places else None

    return term_of


def _root(stem: str) -> str:
    return stem[:-1] if len(stem) > 3 and stem[-1] in "ie" else stem
