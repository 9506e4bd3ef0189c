"""A map of the repository around a task: the files that those which it is about lean on, or are leaned on by, and what they define.

Tags are the definitions of the index and the names that their code mentions; files are ranked by PageRank that begins at the files of
the task (personalised, damping 0.85, as Brin and Page have it), and lines are told in that order as long as there is room.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import asyncpg

from storage.queries import knowledge_map as rows
from storage.queries.knowledge_map import Definition

MOST_SEEDS = 12
"""Files that a map begins with."""
MOST_FOUND = 4
"""Of those, the ones that are merely alike."""
MOST_FILES = 12
"""Files that it shows beside those."""
DAMPING = 0.85
ROUNDS = 20
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{3,60}")
_LINE = 110

Edges = Mapping[str, Mapping[str, float]]
"""From a file to the files that it leans on, and how much."""


async def map_around(
    connection: asyncpg.Connection, corpora: Sequence[int], seeds: Mapping[str, float], room: int
) -> str:
    """The map around ``seeds`` (path → weight) in at most ``room`` characters; empty where it would show nothing new."""
    seeds = dict(sorted(seeds.items(), key=lambda seed: -seed[1])[:MOST_SEEDS])
    own = await rows.defined_in(connection, corpora, list(seeds))
    if not own:
        return ""
    named = {one.name for one in own}
    mentioned = Counter(name for one in own for name in set(_NAME.findall(one.content)) if name not in named)
    asked = sorted(mentioned, key=lambda name: (-_tells(name), -mentioned[name], name))
    outward = await rows.definers(connection, corpora, asked)
    telling = sorted((name for name in named if _tells(name)), key=lambda name: -len(name))[:6]
    inward = await rows.mentions(connection, corpora, telling)
    edges: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    wanted: dict[str, Counter[str]] = defaultdict(Counter)
    where = {name: [one.path for one in outward if one.name == name] for name in {one.name for one in outward}}
    for one in own:
        for name in set(_NAME.findall(one.content)):
            for path in where.get(name, ()):
                if path != one.path:
                    edges[one.path][path] += 1 / len(where[name])
                    wanted[path][name] += 1
    at = {one.name: one.path for one in own}
    for name, path in inward:
        if path != at[name]:
            edges[path][at[name]] += 1.0
            edges[at[name]][path] += 0.5  # whoever uses what is changed is near too
    ranks = pagerank(edges, seeds)
    near = [path for path in sorted(ranks, key=lambda path: (-ranks[path], path)) if path not in seeds][:MOST_FILES]
    if not near:
        return ""
    there = await rows.defined_in(connection, corpora, near)
    return _drawn([*seeds, *near], [*own, *there], named | {name for names in wanted.values() for name in names}, room)


def pagerank(edges: Edges, start: Mapping[str, float]) -> dict[str, float]:
    """The ranks of all files, together 1; a walk begins, and after each step with chance 1 - 0.85 begins again, at ``start``."""
    files = set(start) | set(edges) | {path for leads in edges.values() for path in leads}
    whole = sum(start.values()) or 1.0
    begin = {path: start.get(path, 0.0) / whole for path in files}
    ranks = dict(begin)
    for _ in range(ROUNDS):
        lost = sum(rank for path, rank in ranks.items() if not edges.get(path))
        following = {path: (1 - DAMPING + DAMPING * lost) * begin[path] for path in files}
        for path, leads in edges.items():
            out = sum(leads.values())
            for target, weight in leads.items():
                following[target] += DAMPING * ranks[path] * weight / out
        ranks = following
    return ranks


def seeds_of(paths: Sequence[str], found: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Where a map begins: the files that the task itself names; where it names none, the best few that a search found."""
    scores: dict[str, float] = {}
    for path, score in found:
        scores[path] = max(scores.get(path, 0.0), score)
    named = {path: 1.0 for path in paths if not re.search(r"[*?\[]", path)}
    named |= {path: score for path, score in scores.items() if any(fnmatchcase(path, glob) for glob in paths)}
    return named or dict(sorted(scores.items(), key=lambda one: -one[1])[:MOST_FOUND])


def _tells(name: str) -> bool:
    """Whether a name is one that few other things have."""
    return len(name) > 5 and ("_" in name.strip("_") or name != name.lower())


def _drawn(order: Sequence[str], definitions: Sequence[Definition], wanted: set[str], room: int) -> str:
    """Files in their order with what they define, what is used first; cut where there is no more room."""
    of: dict[str, list[Definition]] = defaultdict(list)
    for one in definitions:
        of[one.path].append(one)
    lines: list[str] = []
    for path in order:
        known = sorted(of[path], key=lambda one: (one.name not in wanted, one.line))[:6]
        drawn = [path, *(f"  {one.line}: {_signature(one)}" for one in sorted(known, key=lambda one: one.line))]
        if len(drawn) == 1:
            continue
        if sum(map(len, lines)) + len(lines) + sum(map(len, drawn)) + len(drawn) > room:
            break
        lines += drawn
    return "\n".join(lines)


def _signature(one: Definition) -> str:
    """The line that defines it."""
    found = next(
        (line for line in one.content.split("\n") if re.search(rf"\b{re.escape(one.name)}\b", line)), one.title
    )
    return found.strip()[:_LINE]
