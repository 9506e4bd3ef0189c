"""The files of a change as a tree, with how much has changed in each."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from rich.cells import cell_len
from textual import events
from textual.message import Message
from textual.strip import Strip

from tui.ink import Part, plain, width_of
from tui.patch import FileChange
from tui.widgets.diff_paint import KINDS
from tui.widgets.lines import Lines
from tui.widgets.panel import _FRAME as FRAME
from tui.widgets.panel import Framed


@dataclass
class Picked(Message):
    """The cursor stands on a file; ``opened``: it is to be read."""

    file: int
    opened: bool


class Node(NamedTuple):
    """One line of the tree: a folder, or a file by its place in the patch."""

    depth: int
    name: str
    file: int = -1


@dataclass
class _Folder:
    folders: "dict[str, _Folder]" = field(default_factory=dict)
    files: list[tuple[str, int]] = field(default_factory=list)


def tree_of(paths: Sequence[str]) -> list[Node]:
    """Paths as a tree; folders that hold one folder alone stand on one line."""
    root = _Folder()
    for n, path in enumerate(paths):
        *folders, name = path.split("/")
        at = root
        for folder in folders[:64]:
            at = at.folders.setdefault(folder, _Folder())
        at.files.append(("/".join([*folders[64:], name]), n))
    return _flat(root, 0)


def _flat(folder: _Folder, depth: int) -> list[Node]:
    nodes = []
    for name, inner in folder.folders.items():
        label, at = name, inner
        while len(at.folders) == 1 and not at.files:
            [(more, at)] = at.folders.items()
            label += "/" + more
        nodes += [Node(depth, label + "/"), *_flat(at, depth + 1)]
    return nodes + [Node(depth, name, file) for name, file in folder.files]


class FileTree(Framed, Lines, can_focus=True):
    """The tree; its cursor leads the diff."""

    DEFAULT_CSS = FRAME.replace("NAME", "FileTree")
    scopes: ClassVar[tuple[str, ...]] = ("files", "motion")
    number = 2
    name_shown = "files"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.files: Sequence[FileChange] = ()
        self.noted: dict[str, int] = {}
        self._entries: list[Node] = []
        self._at = 0

    def summary(self) -> list[Part]:
        """How many."""
        return [(str(len(self.files)), "dim")] if self.files else []

    def show(self, files: Sequence[FileChange]) -> None:
        """Show other files."""
        self.files, self._at = files, 0
        self._entries = tree_of([plain(file.path) for file in files])
        self.set_length(len(self._entries))
        self.title_now()
        self.repaint()

    def set_notes(self, noted: dict[str, int]) -> None:
        """How many notes there are on each file."""
        self.noted = noted
        self.repaint()

    def go_to_file(self, file: int) -> None:
        """Put the cursor on a file, without saying so."""
        self._at = next((n for n, node in enumerate(self._entries) if node.file == file), self._at)
        self.bring_into_view(self._at)
        self.repaint()

    def file_here(self) -> int:
        """The file under the cursor, the first one below it on a folder; -1 where there is none."""
        return next((node.file for node in self._entries[self._at :] if node.file >= 0), -1)

    def move(self, by: int) -> None:
        """Move the cursor."""
        self._go(self._at + by)

    def page(self, pages: float) -> None:
        """Move the cursor by pages."""
        self._go(self._at + round(pages * self.room))

    def jump(self, to: int | None) -> None:
        """To a line counted from 1, or to the last."""
        self._go(len(self._entries) - 1 if to is None else to - 1)

    def _go(self, to: int, *, opened: bool = False) -> None:
        self._at = max(0, min(to, len(self._entries) - 1))
        self.bring_into_view(self._at)
        self.repaint()
        if self._entries:
            self.post_message(Picked(self.file_here(), opened))

    def open(self) -> None:
        """Read the file under the cursor."""
        if self._entries:
            self.post_message(Picked(self.file_here(), opened=True))

    def selected_text(self) -> str:
        """The path of the file under the cursor."""
        file = self.file_here()
        return self.files[file].path if file >= 0 else ""

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on a file; a second click reads it."""
        at = self.top + event.y - self.content_offset.y
        if 0 <= at < len(self._entries):
            self._go(at, opened=event.chain > 1)

    def draw(self, line: int, width: int) -> Strip:
        """One line of the tree."""
        ink = self.ink
        if not self._entries:
            return ink.strip([(" no files", "dim")] if line == 0 else (), width)
        if line >= len(self._entries):
            return ink.strip((), width)
        node, here = self._entries[line], line == self._at
        ground = ("cursor" if self.has_focus else "resting") if here else "ground"
        lead: Part = (ink.glyph("cursor"), "focus" if self.has_focus else "edge") if here else (" ", "")
        indent: Part = ("  " * min(node.depth, 8), "")
        if node.file < 0:
            return ink.strip([lead, indent, (node.name, "dim")], width, ground)
        file: Any = self.files[node.file]
        letter, tone = KINDS[file.kind]
        notes = self.noted.get(file.path, 0)
        right: list[Part] = [(f"{ink.glyph('mark')}{notes} ", "ask bold")] if notes else []
        counts = f"+{file.insertions:,}", f"{ink.glyph('minus')}{file.deletions:,}"
        right += [("bin ", "dim")] if file.binary else [(f" {counts[0]}", "ok"), (f" {counts[1]:>4} ", "bad")]
        room = max(4, width - 1 - len(indent[0]) - 2 - width_of(right))
        name = node.name if cell_len(node.name) <= room else ink.fit(node.name, room)
        return ink.strip(
            [lead, indent, (f"{letter} ", tone), (name, "text"), (" " * max(0, room - cell_len(name)), ""), *right],
            width,
            ground,
        )
