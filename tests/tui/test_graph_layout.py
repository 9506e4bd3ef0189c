"""Graphs in cells: nodes that do not overlap, edges that arrive."""

from hypothesis import given
from hypothesis import strategies as st

from tui.graph_layout import EAST, LINES, NORTH, SOUTH, WEST, Drawing, lay_out


def drawn(edges: list[tuple[int, int]], count: int = 0) -> list[str]:
    nodes = sorted({node for edge in edges for node in edge} | set(range(1, count + 1)))
    drawing = lay_out(nodes, edges, dict.fromkeys(nodes, 2))
    lines = []
    for y in range(drawing.height):
        cells = {x: LINES[sides] for x, sides in drawing.lines.get(y, {}).items()}
        for node, box in drawing.boxes.items():
            if box.y == y:
                cells |= {box.x + n: letter for n, letter in enumerate(f"{node:02}")}
        lines.append("".join(cells.get(x, " ") for x in range(max(cells) + 1)))
    return lines


def test_one_that_two_wait_for() -> None:
    assert drawn([(1, 2), (1, 3)]) == ["01 ─┬─ 02", "    ╰─ 03"]


def test_a_diamond_closes() -> None:
    assert drawn([(1, 2), (1, 3), (2, 4), (3, 4)]) == ["01 ─┬─ 02 ─┬─ 04", "    ╰─ 03 ─╯"]


def test_an_edge_passes_a_layer_beside_what_stands_there() -> None:
    lines = drawn([(1, 2), (2, 3), (1, 3)])
    assert lines[0].startswith("01 ─┬─ 02 ─")
    assert lines[0].endswith(" 03")
    assert "╰────" in lines[1]


def test_a_circle_is_opened_and_unknown_tasks_are_left_out() -> None:
    drawing = lay_out([1, 2], [(1, 2), (2, 1), (2, 2), (2, 9)], {1: 1, 2: 1})
    assert [list(layer) for layer in drawing.layers] == [[1], [2]]


EDGES = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), max_size=24)


@given(EDGES, st.lists(st.integers(1, 20), min_size=12, max_size=12))
def test_no_node_covers_another_or_a_line_and_every_edge_arrives(
    edges: list[tuple[int, int]], sizes: list[int]
) -> None:
    widths = dict(enumerate(sizes, start=1))
    drawing = lay_out(range(1, 13), edges, widths)
    taken: set[tuple[int, int]] = set()
    for box in drawing.boxes.values():
        cells = {(x, box.y) for x in range(box.x, box.x + box.width)}
        assert not cells & taken
        taken |= cells
    assert not taken & {(x, y) for y, row in drawing.lines.items() for x in row}
    assert all(box.x + box.width <= drawing.width and box.y < drawing.height for box in drawing.boxes.values())
    layer = {node: n for n, nodes in enumerate(drawing.layers) for node in nodes}
    for parent, child in edges:
        if layer[parent] < layer[child] and (child, parent) not in edges:
            assert _reaches(drawing, parent, child), (parent, child)


def _reaches(drawing: Drawing, parent: int, child: int) -> bool:
    """Whether the lines lead from the right of one node to the left of another."""
    start, goal = drawing.boxes[parent], drawing.boxes[child]
    todo, seen = [(start.x + start.width + 1, start.y)], set()
    while todo:
        x, y = todo.pop()
        sides = drawing.lines.get(y, {}).get(x, 0)
        if (x, y) in seen or not sides:
            continue
        seen.add((x, y))
        if y == goal.y and x == goal.x - 2:
            return True
        for side, dx, dy, back in (
            (EAST, 1, 0, WEST),
            (WEST, -1, 0, EAST),
            (NORTH, 0, -1, SOUTH),
            (SOUTH, 0, 1, NORTH),
        ):
            if sides & side and drawing.lines.get(y + dy, {}).get(x + dx, 0) & back:
                todo.append((x + dx, y + dy))
    return False
