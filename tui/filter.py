"""What is typed after ``/``: which rows to show.

``parser`` is a regular expression in any case of letters (``re:`` may stand before it, as in a log), ``^`` and ``$`` are the edges of every cell;
``!parser`` shows what does not match, ``~prsr`` matches letters in their order (fuzzy). ``project:harbour``, ``status:failed,review``, ``agent:claude``
begin with what they name (``project:harbour$`` is just that), ``reason:budget`` holds it; ``!status:failed`` turns one round. They may be combined.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from config.errors import UsageError

FIELDS = ("project", "status", "agent", "reason")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One field of a filter: it begins with (``reason``: holds) one of the values, or with none of them. A value that ends with ``$`` is all of it."""

    name: str
    values: tuple[str, ...]
    inverse: bool = False

    def accepts(self, value: str) -> bool:
        """Whether a row with this value is shown."""
        held, wanted = value.lower(), [one.lower() for one in self.values]
        return any(self._fits(one, held) for one in wanted) is not self.inverse

    def _fits(self, wanted: str, held: str) -> bool:
        if self.name == "reason":
            return wanted in held
        return held == wanted[:-1] if wanted.endswith("$") else held.startswith(wanted)


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter that was understood. ``pattern`` is a regular expression, as Python writes it."""

    text: str = ""
    wanted: tuple[Wanted, ...] = ()
    pattern: str | None = None
    inverse: bool = False

    def __bool__(self) -> bool:
        """Whether it keeps anything back."""
        return bool(self.wanted or self.pattern)

    def accepts(self, words: str, fields: Mapping[str, str | None]) -> bool:
        """Whether a row with these words and fields is shown; each line of the words is a cell."""
        if not all(wanted.accepts(fields.get(wanted.name) or "") for wanted in self.wanted):
            return False
        if self.pattern is None:
            return True
        return bool(re.search(self.pattern, words, re.IGNORECASE | re.MULTILINE)) is not self.inverse


def parse_filter(text: str, known_statuses: tuple[str, ...] = ()) -> Filter:
    """Understand a filter. Raises :class:`UsageError` for a regular expression that is none, or a state that there is not."""
    wanted, rest = [], []
    for word in text.split():
        name, colon, value = word.removeprefix("!").partition(":")
        if not colon or name not in FIELDS:
            rest.append(word)
        elif value:  # a field that is still being typed keeps nothing back
            values = _statuses(value, known_statuses) if name == "status" else (value,)
            wanted.append(Wanted(name, values, word.startswith("!")))
    words = " ".join(rest)
    inverse = words.startswith("!")
    words = words.removeprefix("!")
    pattern: str | None = None
    if words.startswith("~"):
        pattern = ".*".join(re.escape(letter) for letter in words[1:].replace(" ", ""))
    elif words:
        pattern = words.removeprefix("re:")
        try:
            re.compile(pattern)
        except re.error as error:
            raise UsageError(
                f'"{pattern}" is no regular expression: {error}', "put \\ before what is meant as it is"
            ) from None
    return Filter(text.strip(), tuple(wanted), pattern or None, inverse)


def _statuses(text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    wanted = [word.strip().lower().replace("-", "_") for word in text.split(",") if word.strip()]
    if not known:
        return tuple(wanted)
    found: list[str] = []
    for word in wanted:
        matches = [status for status in known if status.startswith(word)]
        if not matches:
            raise UsageError(f'there is no state "{word}"', f"there are {', '.join(known)}")
        found += matches
    return tuple(dict.fromkeys(found))
