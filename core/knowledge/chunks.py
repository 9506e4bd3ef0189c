"""Cuts a file into items: functions, classes and their methods, sections of documents; else stretches of lines.

Every line that says something is in some item, none of which is longer than :data:`LONGEST`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from core.knowledge.languages import BODIES, DEFINITIONS, DOCUMENTS, HOLDERS, VALUES, WRAPPERS, parser_for

if TYPE_CHECKING:
    from tree_sitter import Node

LONGEST = 4000
"""Characters of one item at most."""
SHORT = 400
"""Neighbouring pieces are put together as long as they stay below this."""
MOST_CHUNKS = 2000
"""Items of one file at most."""

_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$")
_UNDERLINE = re.compile(r"^([=\-~^\"'`#*+])\1{2,}\s*$")
_NAME = ("name", "declarator", "type", "path")
_FUNCTIONS = ("arrow_function", "function_expression", "function", "class")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a file. Lines count from 1 and include the last."""

    title: str
    text: str
    first_line: int
    last_line: int
    kind: Literal["code", "documentation"]


def chunk_file(path: str, text: str) -> list[Chunk]:
    """The items of a file, in their order."""
    suffix = PurePosixPath(path).suffix.lower()
    name = PurePosixPath(path).name
    lines = text.split("\n")
    if suffix in DOCUMENTS or (not suffix and name.isupper()):
        pieces: Iterator[tuple[str, int, int]] = _sections(lines, name)
        kind: Literal["code", "documentation"] = "documentation"
    else:
        kind = "code"
        parser = parser_for(suffix)
        if parser is not None:
            root = parser.parse(text.encode("utf-8", "replace")).root_node
        pieces = _stretches(lines, name) if parser is None else _definitions(root, lines, name)
    chunks: list[Chunk] = []
    for title, first, last in pieces:
        for chunk in _bounded(title, lines, first, last, kind):
            chunks.append(chunk)
            if len(chunks) == MOST_CHUNKS:
                return chunks
    return chunks


def _bounded(
    title: str, lines: Sequence[str], first: int, last: int, kind: Literal["code", "documentation"]
) -> Iterator[Chunk]:
    """Lines ``first`` up to ``last`` (from 0, exclusive) as one item, or as parts where they are too long."""
    while first < last and not lines[first].strip():
        first += 1
    while last > first and not lines[last - 1].strip():
        last -= 1
    text = "\n".join(lines[first:last])
    if len(text) <= LONGEST:
        if first < last:
            yield Chunk(title, text, first + 1, last, kind)
        return
    part, start, size = 1, first, 0
    for at in range(first, last):
        length = min(len(lines[at]), LONGEST) + 1
        if size and size + length > LONGEST:
            yield _chunk(title, part, lines, start, at, kind)
            part, start, size = part + 1, at, 0
        size += length
    if start < last:
        yield _chunk(title, part, lines, start, last, kind)


def _chunk(
    title: str, part: int, lines: Sequence[str], first: int, last: int, kind: Literal["code", "documentation"]
) -> Chunk:
    text = "\n".join(line[:LONGEST] for line in lines[first:last])
    return Chunk(title if part == 1 else f"{title} (part {part})", text, first + 1, last, kind)


def _sections(lines: Sequence[str], name: str) -> Iterator[tuple[str, int, int]]:
    """Sections of a document, each called by its headings from the top down. Short neighbours are one."""
    starts: list[tuple[int, str]] = [(0, name)]
    above: list[str] = []
    fenced = False
    for at, line in enumerate(lines):
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        if fenced:
            continue
        if found := _HEADING.match(line):
            above = [*above[: len(found[1]) - 1], found[2][:120]]
            starts.append((at, f"{name}: {' › '.join(above)}"))
        elif at and _UNDERLINE.match(line) and _is_heading(lines[at - 1], line):
            starts.append((at - 1, f"{name}: {lines[at - 1].strip()[:120]}"))
    yield from _together([(title, start) for start, title in starts], lines)


def _is_heading(above: str, underline: str) -> bool:
    text = above.strip()
    return bool(text) and not above.startswith((" ", "|", "-")) and len(underline.strip()) >= len(text) - 2


def _together(starts: Sequence[tuple[str, int]], lines: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    ends = [start for _, start in starts[1:]] + [len(lines)]
    held: tuple[str, int] | None = None
    for (title, start), end in zip(starts, ends, strict=True):
        if start >= end:
            continue
        begin = held or (title, start)
        size = sum(len(line) + 1 for line in lines[begin[1] : end])
        if size < SHORT and end < len(lines):
            held = begin
            continue
        yield begin[0], begin[1], end
        held = None
    if held:
        yield held[0], held[1], len(lines)


def _stretches(lines: Sequence[str], name: str) -> Iterator[tuple[str, int, int]]:
    """Stretches of lines, cut at empty lines, or before a line that is not indented, about half the longest each."""
    start, size = 0, 0
    for at, line in enumerate(lines):
        good = not line.strip() or not line[0].isspace()
        if size > LONGEST // 2 and good:
            yield _named(name, lines, start, at), start, at
            start, size = at, 0
        size += min(len(line), LONGEST) + 1
    if start < len(lines):
        yield _named(name, lines, start, len(lines)), start, len(lines)


def _named(name: str, lines: Sequence[str], start: int, end: int) -> str:
    first = next((line.strip() for line in lines[start:end] if line.strip(" \t/*#-{}();")), "")
    return f"{name}: {first[:80]}" if first else name


def _definitions(root: "Node", lines: Sequence[str], name: str) -> Iterator[tuple[str, int, int]]:
    """Top-level definitions with the comments before them; what stands between them is gathered."""
    at = 0
    for title, first, last in _members(root, "", 0):
        begin = max(at, _with_comments(lines, first, at))
        if any(line.strip() for line in lines[at:begin]):
            yield name, at, begin
        yield f"{title} ({name})", begin, last
        at = max(at, last)
    if any(line.strip() for line in lines[at:]):
        yield name, at, len(lines)


def _members(node: "Node", outer: str, depth: int) -> Iterator[tuple[str, int, int]]:
    """(qualified name, first line, line after the last) of the definitions below a node, no line in two of them."""
    at = node.start_point[0] if depth else 0
    for child in node.named_children:
        inner = _unwrapped(child)
        if inner is None:
            if depth and child.type in BODIES:
                yield from _members(child, outer, depth)
            continue
        first, last = max(at, child.start_point[0]), child.end_point[0] + (child.end_point[1] > 0)
        if first >= last:
            continue
        title = f"{outer}.{_name_of(inner)}" if outer else _name_of(inner)
        long = child.end_byte - child.start_byte > LONGEST // 2
        members = list(_members(inner, title, depth + 1)) if inner.type in HOLDERS and long and depth < 6 else []
        if not members:
            yield title, first, last
        else:
            yield title, first, max(first + 1, members[0][1])
            for position, (called, begin, end) in enumerate(members):
                until = members[position + 1][1] if position + 1 < len(members) else last
                yield called, begin, max(end, until)
        at = last


def _unwrapped(node: "Node") -> "Node | None":
    """The definition that a node is or holds; None where it is none."""
    for _ in range(4):
        if node.type in DEFINITIONS:
            return node
        if node.type in WRAPPERS:
            held = node.child_by_field_name("definition") or node.child_by_field_name("declaration")
            if held is None:
                return None
            node = held
            continue
        if node.type in VALUES:
            for declarator in node.named_children:
                value = declarator.child_by_field_name("value")
                if value is not None and value.type in _FUNCTIONS:
                    return declarator
        return None
    return None


def _name_of(node: "Node") -> str:
    for _ in range(5):
        found = next((child for field in _NAME if (child := node.child_by_field_name(field)) is not None), None)
        if found is None:
            break
        node = found
    else:
        return _text(node)
    if node.type in DEFINITIONS:  # Go wraps its types once more
        named = next((child for child in node.named_children if child.child_by_field_name("name")), None)
        return _name_of(named) if named is not None else node.type.replace("_", " ")
    return _text(node)


def _text(node: "Node") -> str:
    return " ".join((node.text or b"").decode("utf-8", "replace").split())[:100] or "unnamed"


def _with_comments(lines: Sequence[str], first: int, floor: int) -> int:
    """Where the comments begin that stand directly above a line."""
    while first > floor and lines[first - 1].lstrip().startswith(("#", "//", "/*", "*", "@", "--", '"""')):
        first -= 1
    return first
