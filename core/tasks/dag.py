"""Dependencies as a directed graph without cycles: a task waits for its parents."""

from collections.abc import Collection, Iterable, Sequence

Edge = tuple[int, int]
"""(child, parent): the child waits for the parent."""


def find_cycle(edges: Iterable[Edge], child: int, parents: Collection[int]) -> list[int] | None:
    """The cycle that would come about if ``child`` waited for ``parents`` from now on, or None.

    ``edges`` hold at least everything on the way up from the parents; what they say of ``child`` is ignored, since
    it is to be replaced. The cycle begins and ends with ``child``; each task waits for the next; none is shorter.
    """
    above: dict[int, list[int]] = {}
    for lower, upper in edges:
        if lower != child:
            above.setdefault(lower, []).append(upper)
    came_from: dict[int, int] = {}
    level = sorted(set(parents))
    for parent in level:
        came_from[parent] = child
    while level:
        if child in came_from:
            return _trace(came_from, child)
        following: list[int] = []
        for number in level:
            for upper in sorted(above.get(number, ())):
                if upper not in came_from:
                    came_from[upper] = number
                    following.append(upper)
        level = following
    return None


def cycle_words(cycle: Sequence[int]) -> str:
    """A cycle for people: ``#3 → #5 → #3``."""
    return " → ".join(f"#{number}" for number in cycle)


def _trace(came_from: dict[int, int], child: int) -> list[int]:
    path = [child]
    number = came_from[child]
    while number != child:
        path.append(number)
        number = came_from[number]
    path.append(child)
    path.reverse()
    return path
