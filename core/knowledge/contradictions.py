"""Items that say opposite things: the same question decided differently, a rule and its reverse.

Told by words alone, so it errs to the side of saying nothing; a person looks at both and keeps the one that is right, or says that
both stand.
"""

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from uuid import UUID

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
    """Two items, and why they cannot both hold. ``seen_at``: when that was first written down; None: not yet."""

    left: Memory
    right: Memory
    why: str
    seen_at: datetime | None = None


async def contradictions(connection: asyncpg.Connection) -> list[Contradiction]:
    """All pairs of which no person has said that both stand, the latest first."""
    known = {(row["first"], row["second"]): row for row in await connection.fetch("select * from contradiction")}
    found = []
    for one in await _pairs(connection):
        row = known.get(_key(one))
        same = row is not None and row["hashes"] == _hashes(one)
        if row is None or not same:
            found.append(one)
        elif row["stands_by"] is None:
            found.append(replace(one, seen_at=row["seen_at"]))
    return found


async def keep(connection: asyncpg.Connection) -> list[Contradiction]:
    """Write down which pairs there are now, with when they were first seen; which. Must run in a transaction."""
    found = await contradictions(connection)
    for one in found:
        await connection.execute(
            """insert into contradiction (first, second, why, hashes) values ($1, $2, $3, $4)
               on conflict (first, second) do update set why = $3, hashes = $4, stands_by = null
                where contradiction.hashes <> $4""",
            *_key(one),
            one.why,
            _hashes(one),
        )
    open_now = [_key(one) for one in found]
    await connection.execute(
        """delete from contradiction c where c.stands_by is null
              and not exists (select 1 from unnest($1::int[], $2::int[]) u (first, second) where (u.first, u.second) = (c.first, c.second))""",
        [first for first, _ in open_now],
        [second for _, second in open_now],
    )
    return found


async def let_stand(connection: asyncpg.Connection, one: int, other: int, actor: str) -> bool:
    """A person says that both of a pair stand; False where they do not contradict each other. It is said again when one of them
    says something else.
    """
    for pair in await contradictions(connection):
        if set(_key(pair)) == {one, other}:
            await connection.execute(
                """insert into contradiction (first, second, why, hashes, stands_by) values ($1, $2, $3, $4, $5)
                   on conflict (first, second) do update set why = $3, hashes = $4, stands_by = $5""",
                *_key(pair),
                pair.why,
                _hashes(pair),
                actor,
            )
            return True
    return False


def _key(pair: Contradiction) -> tuple[int, int]:
    first, second = sorted((pair.left.number, pair.right.number))
    return first, second


def _hashes(pair: Contradiction) -> list[UUID]:
    return [one.hash for one in sorted((pair.left, pair.right), key=lambda one: one.number)]


async def _pairs(connection: asyncpg.Connection) -> list[Contradiction]:
    """All pairs, the latest first. An item of a project is held against the project's own and those of all."""
    rows = await connection.fetch(
        """select m.number, m.kind::text as kind, c.project, coalesce(l.rule, d.chosen, m.content) as said, d.question
             from memory m join corpus c on c.id = m.corpus left join lesson l on l.memory = m.number left join decision d on d.memory = m.number
            where m.state = 'active' and m.origin <> 'file' and m.kind in ('standard', 'lesson', 'decision') and not m.cold
              and coalesce(d.repeat, true) order by m.number desc limit $1""",
        MOST,
    )
    pairs = await asyncio.to_thread(_opposed, rows)
    found = await items.by_number(connection, [number for pair in pairs for number in pair[:2]])
    return [
        Contradiction(found[left], found[right], why) for left, right, why in pairs if {left, right} <= found.keys()
    ]


def _opposed(rows: Sequence[asyncpg.Record]) -> list[tuple[int, int, str]]:
    """Which of these say opposite things, and why: (item, one that came later, why)."""
    pairs: list[tuple[int, int, str]] = []
    by_question: dict[str, list[asyncpg.Record]] = defaultdict(list)
    rules: list[tuple[asyncpg.Record, int]] = []
    by_word: dict[tuple[str, bool], list[int]] = defaultdict(list)
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
        shared = Counter(chain.from_iterable(by_word[word, not negative] for word in words))
        met = {
            rules[place][0]["number"]
            for place, count in shared.items()
            if count >= ALIKE * (len(words) + rules[place][1] - count) and _near(row, rules[place][0])
        }
        pairs += [(row["number"], number, "one says to, the other not to") for number in sorted(met, reverse=True)]
        for word in words:
            by_word[word, negative].append(len(rules))
        rules.append((row, len(words)))
    return pairs


def _near(one: asyncpg.Record, other: asyncpg.Record) -> bool:
    return None in (one["project"], other["project"]) or one["project"] == other["project"]


def _rule(text: str) -> tuple[frozenset[str], bool]:
    """The words that a rule is about, and whether it says not to. Only its first sentence counts."""
    first = re.split(r"(?<=[.!?])\s|\n", text.strip().lower(), maxsplit=1)[0]
    return frozenset(_WORD.findall(first)) - _EMPTY, bool(_NOT.search(first))
