"""Dependencies stay without cycles, and a cycle is named."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from core.tasks.dag import Edge, cycle_words, find_cycle


def reaches(edges: set[Edge], start: int, goal: int) -> bool:
    """Whether ``goal`` lies above ``start``: the plain way to say it."""
    seen: set[int] = set()
    stack = [start]
    while stack:
        number = stack.pop()
        if number == goal:
            return True
        if number not in seen:
            seen.add(number)
            stack.extend(upper for lower, upper in edges if lower == number)
    return False


@st.composite
def graphs(draw: st.DrawFn) -> tuple[set[Edge], int, list[int]]:
    """A graph without cycles, and a task with the parents that it is to have from now on."""
    size = draw(st.integers(1, 9))
    order = draw(st.permutations(range(1, size + 1)))
    place = {number: position for position, number in enumerate(order)}
    pairs = draw(st.sets(st.tuples(st.integers(1, size), st.integers(1, size)), max_size=20))
    edges = {(a, b) for a, b in pairs if place[a] > place[b]}
    child = draw(st.integers(1, size))
    parents = draw(st.lists(st.integers(1, size), max_size=4))
    return edges, child, parents


@given(graphs())
def test_a_cycle_is_found_exactly_when_a_parent_waits_for_the_child(graph: tuple[set[Edge], int, list[int]]) -> None:
    edges, child, parents = graph
    others = {edge for edge in edges if edge[0] != child}
    expected = any(reaches(others, parent, child) for parent in parents)
    assert (find_cycle(edges, child, parents) is not None) == expected


@given(graphs())
def test_what_is_named_is_a_cycle_of_the_new_graph_and_the_shortest_one(
    graph: tuple[set[Edge], int, list[int]],
) -> None:
    edges, child, parents = graph
    cycle = find_cycle(edges, child, parents)
    if cycle is None:
        return
    new = {edge for edge in edges if edge[0] != child} | {(child, parent) for parent in parents}
    assert cycle[0] == cycle[-1] == child
    assert len(set(cycle)) == len(cycle) - 1
    assert all(step in new for step in pairwise(cycle))
    assert len(cycle) - 1 == distance(new, child)


def distance(edges: set[Edge], child: int) -> int:
    """Steps from ``child`` back to itself."""
    level, steps = {child}, 0
    while True:
        level, steps = {upper for lower, upper in edges if lower in level}, steps + 1
        if child in level:
            return steps


def test_a_task_that_waits_for_itself_is_a_cycle() -> None:
    assert find_cycle([], 3, [3]) == [3, 3]


def test_a_cycle_reads_from_the_edited_task_to_what_it_waits_for() -> None:
    cycle = find_cycle([(5, 3)], 3, [5])
    assert cycle is not None
    assert cycle_words(cycle) == "#3 → #5 → #3"


def test_a_ladder_of_diamonds_is_searched_once_and_not_path_by_path() -> None:
    edges = [(2 * n + side, 2 * n - other) for n in range(1, 5000) for side in (0, 1) for other in (1, 2)]
    assert find_cycle(edges, 20_000, [9998, 9999]) is None
