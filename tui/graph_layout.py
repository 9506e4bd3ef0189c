"""A graph of dependencies laid out in layers from left to right, its edges as lines of cells: pure, for any size of graph.

Sugiyama's method: layers by the longest way from a root, dummies where an edge passes a layer, the order within layers by barycentres.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

NORTH, EAST, SOUTH, WEST = 1, 2, 4, 8
LINES = {
    NORTH | SOUTH: "│", EAST | WEST: "─", SOUTH | EAST: "╭", SOUTH | WEST: "╮", NORTH | EAST: "╰", NORTH | WEST: "╯",
    NORTH | SOUTH | EAST: "├", NORTH | SOUTH | WEST: "┤", EAST | WEST | SOUTH: "┬", EAST | WEST | NORTH: "┴", 15: "┼",
    NORTH: "│", SOUTH: "│", EAST: "─", WEST: "─",
}  # fmt: skip
"""Which sides of a cell are joined → its sign."""
ASCII = {NORTH | SOUTH: "|", NORTH: "|", SOUTH: "|", EAST | WEST: "-", EAST: "-", WEST: "-"}
"""The same without Unicode; all that is not here is a ``+``."""


@dataclass(frozen=True, slots=True)
class Box:
    """Where the label of a node stands: column, line, cells."""

    x: int
    y: int
    width: int


@dataclass(frozen=True, slots=True)
class Drawing:
    """A graph as it is drawn."""

    boxes: Mapping[int, Box]
    lines: Mapping[int, Mapping[int, int]]
    """Line → column → joined sides of the cell."""
    width: int
    height: int
    layers: Sequence[Sequence[int]]
    """Nodes from left to right, in each layer from top to bottom."""


@dataclass
class _Layered:
    layers: list[list[int]]
    up: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    down: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))


def lay_out(
    nodes: Sequence[int], edges: Iterable[tuple[int, int]], widths: Mapping[int, int], *, gap: int = 0
) -> Drawing:
    """Draw ``nodes`` (numbers above zero) and their ``edges`` (from, to); ``widths`` of labels in cells.

    Edges to nodes that are not there, and those that would close a circle, are left out.
    """
    known = set(nodes)
    kept = _without_circles(nodes, [(a, b) for a, b in dict.fromkeys(edges) if a in known and b in known and a != b])
    layered = _layers(nodes, kept)
    _order(layered)
    rows = _rows(layered, gap)
    return _draw(layered, rows, widths)


def _without_circles(nodes: Sequence[int], edges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    down: dict[int, list[int]] = defaultdict(list)
    for a, b in edges:
        down[a].append(b)
    state: dict[int, int] = {}
    bad: set[tuple[int, int]] = set()
    for root in nodes:
        stack = [(root, iter(down[root]))] if root not in state else []
        state.setdefault(root, 1)
        while stack:
            node, rest = stack[-1]
            child = next(rest, None)
            if child is None:
                state[node] = 2
                stack.pop()
            elif child not in state:
                state[child] = 1
                stack.append((child, iter(down[child])))
            elif state[child] == 1:
                bad.add((node, child))
    return [edge for edge in edges if edge not in bad]


def _layers(nodes: Sequence[int], edges: list[tuple[int, int]]) -> _Layered:
    """Each node as far right as its longest way from a root; edges that pass a layer have a dummy (below zero) in it."""
    parents: dict[int, list[int]] = defaultdict(list)
    children: dict[int, list[int]] = defaultdict(list)
    for a, b in edges:
        parents[b].append(a)
        children[a].append(b)
    depth: dict[int, int] = {}
    missing = {node: len(parents[node]) for node in nodes}
    ready = [node for node in nodes if not missing[node]]
    while ready:
        node = ready.pop()
        depth[node] = max((depth[parent] + 1 for parent in parents[node]), default=0)
        for child in children[node]:
            missing[child] -= 1
            if not missing[child]:
                ready.append(child)
    made = _Layered([[] for _ in range(max(depth.values(), default=-1) + 1)])
    for node in nodes:
        made.layers[depth[node]].append(node)
    dummy = 0
    for a, b in edges:
        last = a
        for layer in range(depth[a] + 1, depth[b]):
            dummy -= 1
            made.layers[layer].append(dummy)
            made.down[last].append(dummy)
            made.up[dummy].append(last)
            last = dummy
        made.down[last].append(b)
        made.up[b].append(last)
    return made


def _order(layered: _Layered) -> None:
    for sweep in range(6):
        towards = layered.up if sweep % 2 == 0 else layered.down
        layers = layered.layers if sweep % 2 == 0 else layered.layers[::-1]
        for before, layer in pairwise(layers):
            place = {node: n for n, node in enumerate(before)}
            here = {node: n for n, node in enumerate(layer)}
            layer.sort(
                key=lambda node: (
                    _mean([place[other] for other in towards[node] if other in place], here[node]),
                    here[node],
                )
            )


def _mean(values: Sequence[int], default: float) -> float:
    return sum(values) / len(values) if values else default


def _rows(layered: _Layered, gap: int) -> dict[int, int]:
    """A line for each node: near the middle of what it comes from, none on another."""
    rows: dict[int, int] = {}
    for layer in layered.layers:
        free = 0
        for node in layer:
            above = [rows[other] for other in layered.up[node]]
            rows[node] = max(free, min(above) if above else free)
            free = rows[node] + 1 + gap
    return rows


def _draw(layered: _Layered, rows: Mapping[int, int], widths: Mapping[int, int]) -> Drawing:
    boxes: dict[int, Box] = {}
    cells: dict[int, dict[int, int]] = defaultdict(dict)

    def join(x: int, y: int, sides: int) -> None:
        cells[y][x] = cells[y].get(x, 0) | sides

    left = 0
    for n, layer in enumerate(layered.layers):
        column = max((widths.get(node, 1) for node in layer if node > 0), default=1)
        for node in layer:
            if node > 0:
                boxes[node] = Box(left, rows[node], widths.get(node, 1))
            else:
                for x in range(left, left + column):
                    join(x, rows[node], EAST | WEST)
        if n + 1 == len(layered.layers):
            left += column
            break
        sources = [node for node in layer if layered.down[node]]
        tracks = _tracks(sources, layered, rows)
        width = max(tracks.values(), default=-1) + 1
        right = left + column + 2 + width * 2 + 1
        for node in sources:
            _edges(
                join,
                node,
                layered.down[node],
                rows,
                boxes.get(node),
                left + column,
                left + column + 2 + tracks[node] * 2,
                right,
            )
        left = right
    height = max((y for y in rows.values()), default=-1) + 1
    return Drawing(boxes, cells, left, height, [[node for node in layer if node > 0] for layer in layered.layers])


def _tracks(sources: Sequence[int], layered: _Layered, rows: Mapping[int, int]) -> dict[int, int]:
    """A track between two layers for each source whose edges turn; tracks are shared by those that do not meet, or that lead to the same."""
    taken: list[list[tuple[int, int, Sequence[int]]]] = []
    tracks: dict[int, int] = {}
    for node in sorted(sources, key=lambda node: -rows[node]):
        ends = [rows[node], *(rows[child] for child in layered.down[node])]
        first, last = min(ends), max(ends)
        for n, spans in enumerate(taken):
            if all(last < one or first > other or children == layered.down[node] for one, other, children in spans):
                spans.append((first, last, layered.down[node]))
                tracks[node] = n
                break
        else:
            tracks[node] = len(taken)
            taken.append([(first, last, layered.down[node])])
    return tracks


def _edges(
    join: "object",
    node: int,
    children: Sequence[int],
    rows: Mapping[int, int],
    box: Box | None,
    edge: int,
    track: int,
    right: int,
) -> None:
    assert callable(join)
    start = box.x + box.width + 1 if box is not None else edge
    y = rows[node]
    for x in range(start, track):
        join(x, y, EAST | WEST)
    for child in children:
        goal = rows[child]
        if goal == y:
            join(track, y, EAST | WEST)
        else:
            down = goal > y
            join(track, y, WEST | (SOUTH if down else NORTH))
            for line in range(min(y, goal) + 1, max(y, goal)):
                join(track, line, NORTH | SOUTH)
            join(track, goal, EAST | (NORTH if down else SOUTH))
        for x in range(track + 1, right - 1 if child > 0 else right):
            join(x, goal, EAST | WEST)
