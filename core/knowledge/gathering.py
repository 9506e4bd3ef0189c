"""Looks in every place for what a run might be told, and says what each thing is worth for the task."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

import asyncpg

from core.knowledge.kinds import telling_lines
from core.knowledge.maps import map_around, seeds_of
from core.knowledge.recent import MOST_CHANGES, Change, Repo
from core.knowledge.search import Hit, QueryVector, search
from core.knowledge.told import LESSONS, RULES, STANDARDS
from storage.queries import knowledge as items
from storage.queries import knowledge_context as rows
from storage.queries.knowledge import Memory
from storage.queries.knowledge_search import Filters

LONGEST_EXCERPT = 1600
"""Characters of one piece of code or of a document that are told."""
LONGEST_FAILURE = 1000
"""Characters of what went wrong before that lessons are looked for by."""
CLOSE = 0.5
"""Cosine from which a hit of meaning alone is near enough to be told."""
MAP_SHARE = 0.2
"""How much of the budget the map of the repository may take."""
_TRUSTED = ("person",)
"""Who is not quoted. To accept what was made of output and diffs is not to have written it."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done, as far as knowledge is looked for. ``feedback``: what went wrong with the attempt before."""

    project: str
    task: int | None
    title: str
    description: str = ""
    paths: tuple[str, ...] = ()
    feedback: str | None = None

    @property
    def query(self) -> str:
        """What is searched by: the title counts most, of a long description the beginning."""
        return " ".join((self.title, self.description[:600], *self.paths))


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that could be told. ``value``: about 0 to 3; ``trusted``: said by a person, not quoted from
    anywhere.
    """

    section: str
    title: str
    text: str
    source: str
    why: str
    value: float
    trusted: bool
    memory: Memory | None = None


async def gather(
    connection: asyncpg.Connection,
    work: Work,
    repo: Repo | None,
    *,
    room: int,
    vector: QueryVector | None,
    now: datetime,
) -> list[Candidate]:
    """All candidates for a task; ``room``: the tokens that there are for all of them, ``vector``: that of the work's query."""
    corpora = await items.known_corpora(connection, work.project)
    found = [_standard(one) for one in await rows.standards(connection, work.project)]
    if repo:
        found += _rules(repo)
    said = await _search(connection, work, ("pattern", "decision", "lesson", "requirement"), 24, vector, now)
    not_again = await rows.not_again(connection, [hit.memory.number for hit in said])
    found += [
        _said(hit) for hit in said if hit.memory.number not in not_again and not hit.memory.cold and _is_near(hit, work)
    ]
    found += await _lessons_of_failure(connection, work, {one.memory.number for one in found if one.memory}, now)
    found += await _lessons_of_checks(connection, work.project, {one.memory.number for one in found if one.memory})
    near = await _search(connection, work, ("code", "documentation"), 10, vector, now)
    alike = [hit for hit in near if not hit.memory.cold and _is_near(hit, work)]
    found += [_similar(hit) for hit in alike]
    around = seeds_of(work.paths, [(hit.memory.path, hit.score) for hit in alike if hit.memory.path])
    if around and room:
        drawn = await map_around(connection, corpora, around, int(room * MAP_SHARE * 3.6))
        found += [_map(drawn, around)] if drawn else []
    if repo:
        files = {hit.memory.path for hit in alike if hit.memory.path}
        found += _changes(repo.changes, work.paths, files)
    return found


async def _search(
    connection: asyncpg.Connection,
    work: Work,
    kinds: Sequence[str],
    limit: int,
    vector: QueryVector | None,
    now: datetime,
) -> Sequence[Hit]:
    # what holds only frequent words of the task is beside the point: none has to be found at any price
    found = await search(
        connection,
        work.query,
        project=work.project,
        filters=Filters(kinds),
        limit=limit,
        vector=vector,
        now=now,
        least=0,
    )
    return found.hits


def _is_near(hit: Hit, work: Work) -> bool:
    """Whether a hit is about the task: it holds enough of what the task is about, the more the fewer words that is."""
    needed = max(0.22, 0.5 - 0.01 * len(set(work.query.lower().split())))
    return (hit.coverage or 0.0) >= needed or (hit.similarity or 0.0) >= CLOSE


def tokens_of(text: str) -> int:
    """About how many tokens a model makes of a text: one for 3.6 characters, as measured on code and English; one for two letters of other
    alphabets, and for each sign of scripts that write without spaces.
    """
    if text.isascii():
        return math.ceil(len(text) / 3.6)
    signs = sum(sign >= "\u2e80" for sign in text)
    letters = sum("\x80" <= sign < "\u2e80" for sign in text)
    return math.ceil((len(text) - signs - letters) / 3.6 + letters / 2 + signs)


def _standard(memory: Memory) -> Candidate:
    return Candidate(
        STANDARDS,
        memory.title,
        memory.content,
        memory.source,
        f"standard of {memory.project or 'all projects'}",
        3.0 if memory.project else 2.6,
        trusted=memory.origin in _TRUSTED,
        memory=memory,
    )


def _rules(repo: Repo) -> list[Candidate]:
    found = []
    for place, file in enumerate(repo.rules):
        text = (
            file.text if len(file.text) <= 4000 else f"{file.text[:4000].rsplit(chr(10), 1)[0]}\n… (see `{file.path}`)"
        )
        found.append(
            Candidate(
                RULES,
                file.path,
                text,
                f"{file.path}@{repo.commit[:12]}",
                "the repository's own rules",
                3.5 - 0.01 * place,
                trusted=False,
            )
        )
    return found


def _said(hit: Hit, words: str = "the task's words") -> Candidate:
    memory = hit.memory
    section = {
        "lesson": LESSONS,
        "decision": "past decisions",
        "requirement": "requirements",
        "pattern": "patterns of the project" if memory.project else "patterns that hold across projects",
    }[memory.category]
    share = round(100 * (hit.coverage or 0.0))
    why = f"holds {share} % of {words}"
    if memory.uses:
        why += f"; {memory.wins} of {memory.uses} runs with it succeeded"
    value = (1.0 + hit.score) * (0.5 + memory.worth)
    return Candidate(
        section, memory.title, memory.content, memory.source, why, value, memory.origin in _TRUSTED, memory
    )


async def _lessons_of_failure(
    connection: asyncpg.Connection, work: Work, known: set[int], now: datetime
) -> list[Candidate]:
    """Lessons about what went wrong with the attempt before, found by its own words."""
    failure = Work(work.project, work.task, telling_lines(work.feedback or "")[:LONGEST_FAILURE])
    hits = await _search(connection, failure, ("lesson",), 6, None, now) if failure.title else ()
    return [
        _said(hit, "the words of what went wrong before")
        for hit in hits
        if hit.memory.number not in known and not hit.memory.cold and _is_near(hit, failure)
    ]


async def _lessons_of_checks(connection: asyncpg.Connection, project: str, known: set[int]) -> list[Candidate]:
    """Lessons from checks that every change of the project must pass, whatever it is about."""
    numbers = [number for number in await rows.proven_lessons(connection, project, 6) if number not in known]
    found = await items.by_number(connection, numbers)
    return [
        Candidate(
            LESSONS,
            memory.title,
            memory.content,
            memory.source,
            "a check that this work must pass failed so before",
            1.2 * (0.5 + memory.worth),
            trusted=False,
            memory=memory,
        )
        for number in numbers
        if (memory := found.get(number))
    ]


def _similar(hit: Hit) -> Candidate:
    memory = hit.memory
    text = memory.content
    if len(text) > LONGEST_EXCERPT:
        text = text[:LONGEST_EXCERPT].rsplit("\n", 1)[0] + "\n…"
    lines = f":{memory.first_line}" if memory.first_line else ""
    source = f"{memory.path}{lines}" if memory.path else memory.source
    why = f"holds {round(100 * (hit.coverage or 0.0))} % of the task's words"
    if hit.similarity is not None:
        why += f", meaning {hit.similarity:.2f}"
    value = hit.score * (0.5 + memory.worth)
    return Candidate("similar work", memory.title, text, source, why, value, memory.origin in _TRUSTED, memory)


def _map(drawn: str, around: Mapping[str, float]) -> Candidate:
    nearest = sorted(around, key=lambda path: -around[path])[:3]
    why = f"what {', '.join(nearest)} lean on and what leans on them"
    return Candidate("map of the repository", "files around the task", drawn, "the index", why, 1.0, trusted=False)


def _changes(changes: Sequence[Change], paths: Sequence[str], files: set[str]) -> list[Candidate]:
    """Recent commits that touched what the task is about: one candidate."""
    near = [
        change
        for change in changes
        if any(name in files or any(PurePosixPath(name).match(path) for path in paths) for name in change.files)
    ][:MOST_CHANGES]
    if not near:
        return []
    lines = [f"- {change.commit} {change.subject} ({_age(change.days)})" for change in near]
    why = "they touched files that this task is about"
    text = "\n".join(lines)
    return [Candidate("recent changes", f"{len(near)} commits", text, "git log", why, 0.8, trusted=False)]


def _age(days: float) -> str:
    return "today" if days < 1 else f"{days:.0f} d ago"
