"""What is typed after ``/``: which rows to show.

``parser`` is a regular expression in any case of letters, ``!parser`` shows what does not match, ``~prsr`` matches letters in their order (fuzzy).
``project:harbour``, ``status:failed,review`` and ``agent:claude`` narrow a list down; they may be combined, and begin with what they name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from config.errors import UsageError

FIELDS = ("project", "status", "agent")


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter that was understood. ``pattern`` is a regular expression that Python and Postgres both know."""

    text: str = ""
    project: str | None = None
    statuses: tuple[str, ...] = ()
    agent: str | None = None
    pattern: str | None = None
    inverse: bool = False

    def __bool__(self) -> bool:
        """Whether it keeps anything back."""
        return bool(self.project or self.statuses or self.agent or self.pattern)

    def accepts(self, words: str, fields: Mapping[str, str | None]) -> bool:
        """Whether a row with these words and fields is shown."""
        for wanted, name in ((self.project, "project"), (self.agent, "agent")):
            if wanted and not (fields.get(name) or "").lower().startswith(wanted.lower()):
                return False
        if self.statuses and not any((fields.get("status") or "").startswith(wanted) for wanted in self.statuses):
            return False
        if self.pattern is None:
            return True
        return bool(re.search(self.pattern, words, re.IGNORECASE)) is not self.inverse


def parse_filter(text: str, known_statuses: tuple[str, ...] = ()) -> Filter:
    """Understand a filter. Raises :class:`UsageError` for a regular expression that is none, or a state that there is not."""
    fields: dict[str, str] = {}
    rest = []
    for word in text.split():
        name, colon, value = word.partition(":")
        if colon and name in FIELDS and value:
            fields[name] = value
        else:
            rest.append(word)
    statuses = _statuses(fields.get("status", ""), known_statuses)
    words = " ".join(rest)
    inverse = words.startswith("!")
    words = words.removeprefix("!")
    pattern: str | None = None
    if words.startswith("~"):
        pattern = ".*".join(re.escape(letter) for letter in words[1:].replace(" ", ""))
    elif words:
        pattern = words
        try:
            re.compile(pattern)
        except re.error as error:
            raise UsageError(
                f"{pattern!r} is no regular expression: {error}", "put \\ before what is meant as it is"
            ) from None
    return Filter(text.strip(), fields.get("project"), statuses, fields.get("agent"), pattern or None, inverse)


def _statuses(text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    wanted = [word.strip().lower().replace("-", "_") for word in text.split(",") if word.strip()]
    if not known:
        return tuple(wanted)
    found: list[str] = []
    for word in wanted:
        matches = [status for status in known if status.startswith(word)]
        if not matches:
            raise UsageError(f"there is no state {word!r}", f"there are {', '.join(known)}")
        found += matches
    return tuple(dict.fromkeys(found))
