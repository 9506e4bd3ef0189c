"""Items that say opposite things: the same question decided differently, a rule and its reverse.

Told by words alone, so it errs to the side of saying nothing; a person looks at both and keeps the one that is right.
"""

import re
from collections import defaultdict
from dataclasses import dataclass

import asyncpg

from core.knowledge.kinds import normalise
from storage.queries import knowledge as items
from storage.queries.knowledge import Memory

ALIKE = 0.6
"""Share of their words that two rules have in common, from which on they are about the same."""
MOST = 2000
_NOT = re.compile(r"\b(never|not|don't|dont|doesn't|avoid|no|without|stop|cannot|can't|forbidden|instead)\b")
_WORD = re.compile(r"[a-z_][a-z0-9_]+")
_EMPTY = frozenset(
    re.findall(
        r"\w+",
        "a an the and or of to in on for with is are be it this that as at by from always must should shall use do you your"
        " we never not dont doesn avoid no without stop cannot can instead every all",
    )
)


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two items, and why they cannot both hold."""

    left: Memory
    right: Memory
    why: str


async def contradictions(connection: asyncpg.Connection) -> list[Contradiction]:
    """All pairs, the latest first. An item of a project is held against the project's own and those of all."""
    rows = await connection.fetch(
        """select m.number, m.kind::text as kind, c.project, coalesce(l.rule, d.chosen, m.content) as said, d.question
             from memory m join corpus c on c.id = m.corpus left join lesson l on l.memory = m.number left join decision d on d.memory = m.number
            where m.state = 'active' and m.origin <> 'file' and m.kind in ('standard', 'lesson', 'decision') and not m.cold
              and coalesce(d.repeat, true) order by m.number desc limit $1""",
        MOST,
    )
    pairs: list[tuple[int, int, str]] = []
    by_question: dict[str, list[asyncpg.Record]] = defaultdict(list)
    by_word: dict[str, list[tuple[asyncpg.Record, frozenset[str], bool]]] = defaultdict(list)
    for row in rows:
        if row["kind"] == "decision":
            key = normalise(row["question"])
            pairs += [
                (row["number"], other["number"], "the same question was decided differently")
                for other in by_question[key]
                if _near(row, other) and normalise(row["said"]) != normalise(other["said"])
            ]
            by_question[key].append(row)
            continue
        words, negative = _rule(row["said"])
        if len(words) < 2:
            continue
        met = {
            other["number"]
            for word in words
            for other, others, is_negative in by_word[word]
            if is_negative != negative and _near(row, other) and len(words & others) >= ALIKE * len(words | others)
        }
        pairs += [(row["number"], number, "one says to, the other not to") for number in sorted(met, reverse=True)]
        for word in words:
            by_word[word].append((row, words, negative))
    found = await items.by_number(connection, [number for pair in pairs for number in pair[:2]])
    return [Contradiction(found[left], found[right], why) for left, right, why in pairs]


def _near(one: asyncpg.Record, other: asyncpg.Record) -> bool:
    return None in (one["project"], other["project"]) or one["project"] == other["project"]


def _rule(text: str) -> tuple[frozenset[str], bool]:
    """The words that a rule is about, and whether it says not to. Only its first sentence counts."""
    first = re.split(r"(?<=[.!?])\s|\n", text.strip().lower(), maxsplit=1)[0]
    return frozenset(_WORD.findall(first)) - _EMPTY, bool(_NOT.search(first))
