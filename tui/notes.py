"""Notes on the lines of a change, kept on this machine until they are sent with a judgement."""

from collections.abc import Mapping
from dataclasses import dataclass

from tui.ink import plain
from tui.memory import Memory
from tui.patch import Side
from tui.widgets.diff_rows import NoteKey

_MOST = 200
"""Reviews whose notes are kept."""


@dataclass(frozen=True, slots=True)
class Note:
    """A note on one line; ``line`` is what stood there."""

    path: str
    side: Side
    number: int
    line: str
    text: str

    @property
    def key(self) -> NoteKey:
        """What it is about."""
        return self.path, self.side, self.number

    @property
    def place(self) -> str:
        """As people write it: ``src/x.py:12``."""
        return f"{self.path}:{self.number}"


def read_notes(memory: Memory, review: int) -> list[Note]:
    """The notes on a review, in the order of files and lines."""
    found = memory.get("notes", {}).get(str(review), [])
    notes = []
    for item in found if isinstance(found, list) else ():
        match item:
            case [str(path), "new" | "old" as side, int(number), str(line), str(text)]:
                notes.append(Note(path, side, number, line, text))
    return sorted(notes, key=lambda note: (note.path, note.number, note.side))


def keep_note(memory: Memory, review: int, note: Note) -> None:
    """Keep a note in place of the one on its line; one without words takes that away."""
    others = [other for other in read_notes(memory, review) if other.key != note.key]
    _keep(memory, review, [*others, note] if note.text.strip() else others)


def drop_notes(memory: Memory, review: int) -> None:
    """Forget the notes on a review: they were sent."""
    _keep(memory, review, [])


def _keep(memory: Memory, review: int, notes: list[Note]) -> None:
    kept = {name: value for name, value in memory.get("notes", {}).items() if name != str(review)}
    if notes:
        kept[str(review)] = [[note.path, note.side, note.number, note.line, note.text] for note in notes]
    memory.set("notes", dict(list(kept.items())[-_MOST:]))


def as_text(notes: list[Note], words: str = "") -> str:
    """Words and notes as they are told to an agent: each with its file, line, and what stands there."""
    parts = [words.strip()] if words.strip() else []
    for note in notes:
        where = f"{note.place}{' (as it was before)' if note.side == 'old' else ''}"
        quoted = plain(note.line).strip()[:200]
        parts.append(f"{where}\n" + (f"> {quoted}\n" if quoted else "") + note.text.strip())
    return "\n\n".join(parts)


def by_file(notes: list[Note]) -> Mapping[str, int]:
    """How many notes there are on each file."""
    counts: dict[str, int] = {}
    for note in notes:
        counts[note.path] = counts.get(note.path, 0) + 1
    return counts
