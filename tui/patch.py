"""A patch as git writes it, read into files, hunks and lines.

Format: `git help diff-tree`, "Generating patch text with -p"; unified hunks as in POSIX diff. Whatever is no patch is kept as words, never an error:
the text comes from repositories and agents.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Kind = Literal["modified", "added", "deleted", "renamed", "copied"]
Sign = Literal[" ", "+", "-"]
Side = Literal["new", "old"]

_HUNK = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@ ?(.*)", re.DOTALL)
_ESCAPE = re.compile(r'\\([0-7]{3}|[abtnvfr"\\])')
_NAMED = {"a": "\a", "b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


class PatchLine(NamedTuple):
    """One line of a hunk; ``old`` and ``new`` are its numbers in either file, 0 where it is not in it."""

    sign: str
    text: str
    old: int
    new: int
    open_end: bool = False
    """No newline follows it: the file ends there."""


@dataclass(slots=True)
class Hunk:
    """Lines that stand together; ``title`` is what git says they lie in."""

    old: int
    new: int
    title: str = ""
    lines: list[PatchLine] = field(default_factory=list)


@dataclass(slots=True)
class FileChange:
    """What became of one file."""

    path: str
    old_path: str = ""
    kind: Kind = "modified"
    binary: bool = False
    old_mode: str = ""
    new_mode: str = ""
    similarity: int | None = None
    """Percent, of what was renamed or copied."""
    hunks: list[Hunk] = field(default_factory=list)
    insertions: int = 0
    deletions: int = 0

    @property
    def words(self) -> list[str]:
        """What is to be said besides its lines: where it came from, its mode, that it is binary."""
        said = []
        if self.kind in ("renamed", "copied"):
            alike = "" if self.similarity is None else f", {self.similarity} % alike"
            said.append(f"{self.kind} from {self.old_path}{alike}")
        if self.kind == "added" and self.new_mode == "120000":
            said.append("new symbolic link")
        elif self.kind == "added" and self.new_mode == "160000":
            said.append("new submodule")
        elif self.kind in ("added", "deleted"):
            said.append(
                f"{'new' if self.kind == 'added' else 'deleted'} file"
                + (", executable" if "100755" in (self.old_mode, self.new_mode) else "")
            )
        elif self.old_mode != self.new_mode and self.new_mode:
            said.append(f"mode {self.old_mode} became {self.new_mode}{_executable(self.old_mode, self.new_mode)}")
        if self.binary:
            said.append("binary: its content cannot be shown")
        elif not self.hunks and self.kind in ("added", "deleted"):
            said.append("empty")
        return said


@dataclass(slots=True)
class Patch:
    """A change of files."""

    files: list[FileChange]
    rest: str = ""
    """What was said that is no patch: that it was cut off, for example."""

    @property
    def insertions(self) -> int:
        """Lines that were added."""
        return sum(file.insertions for file in self.files)

    @property
    def deletions(self) -> int:
        """Lines that were taken away."""
        return sum(file.deletions for file in self.files)


def read_patch(text: str) -> Patch:
    """A patch of any size, in one pass."""
    return _Reader(text.split("\n")).read()


class _Reader:
    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines
        self._files: list[FileChange] = []
        self._file: FileChange | None = None
        self._headed = False
        """The file's `diff --git` was read and its first hunk was not."""
        self._rest: list[str] = []

    def read(self) -> Patch:
        lines, at, end = self._lines, 0, len(self._lines)
        if end and not lines[-1]:
            end -= 1
        while at < end:
            line = lines[at]
            if self._file is not None and (found := _HUNK.match(line)):
                at = self._hunk(found, at + 1, end)
                continue
            if line.startswith("diff --git "):
                self._begin(_git_names(line[11:]), headed=True)
            elif line.startswith("--- ") and at + 1 < end and lines[at + 1].startswith("+++ "):
                self._names(_name(line[4:]), _name(lines[at + 1][4:]))
                at += 1
            elif self._file is None or not self._headed or not self._header(self._file, line):
                self._rest.append(line)
            at += 1
        return Patch(self._files, "\n".join(line for line in self._rest if line.strip())[:2000])

    def _begin(self, names: tuple[str, str], *, headed: bool) -> FileChange:
        self._file = FileChange(names[1], names[0])
        self._headed = headed
        self._files.append(self._file)
        return self._file

    def _names(self, old: str, new: str) -> None:
        file = self._file if self._headed and self._file is not None else self._begin((old, new), headed=False)
        if old == "/dev/null":
            file.kind = "added"
        elif new == "/dev/null":
            file.kind = "deleted"
        file.old_path = old if old != "/dev/null" else file.old_path
        file.path = new if new != "/dev/null" else file.old_path

    def _header(self, file: FileChange, line: str) -> bool:
        """Read a line of the extended header; False where it is none."""
        for prefix, kind in (("new file mode ", "added"), ("deleted file mode ", "deleted")):
            if line.startswith(prefix):
                file.kind = kind  # type: ignore[assignment]
                mode = line[len(prefix) :]
                file.new_mode, file.old_mode = (mode, "") if kind == "added" else ("", mode)
                return True
        if line.startswith("old mode "):
            file.old_mode = line[9:]
        elif line.startswith("new mode "):
            file.new_mode = line[9:]
        elif line.startswith(("rename from ", "copy from ")):
            file.kind = "renamed" if line[0] == "r" else "copied"
            file.old_path = _unquoted(line.split(" ", 2)[2])
        elif line.startswith(("rename to ", "copy to ")):
            file.path = _unquoted(line.split(" ", 2)[2])
        elif line.startswith(("similarity index ", "dissimilarity index ")):
            number = line.rpartition(" ")[2].removesuffix("%")
            file.similarity = int(number) if number.isdecimal() and len(number) < 4 else None
        elif line.startswith(("Binary files ", "GIT binary patch")):
            file.binary = True
        elif not line.startswith("index "):
            return file.binary
        return True

    def _hunk(self, found: re.Match[str], at: int, end: int) -> int:
        """Read the lines that a hunk announces; the place after them."""
        file, lines = self._file, self._lines
        assert file is not None
        old, new = int(found[1]), int(found[3])
        left_old, left_new = int(found[2] or "1"), int(found[4] or "1")
        hunk = Hunk(old, new, found[5])
        add = hunk.lines.append
        while at < end and (left_old > 0 or left_new > 0):
            line = lines[at]
            sign = line[:1]
            if sign == "+" and left_new > 0:
                add(PatchLine("+", line[1:], 0, new))
                new += 1
                left_new -= 1
                file.insertions += 1
            elif sign == "-" and left_old > 0:
                add(PatchLine("-", line[1:], old, 0))
                old += 1
                left_old -= 1
                file.deletions += 1
            elif sign in (" ", "") and left_old > 0 and left_new > 0:
                add(PatchLine(" ", line[1:], old, new))
                old, new = old + 1, new + 1
                left_old, left_new = left_old - 1, left_new - 1
            elif sign == "\\":
                _open_end(hunk)
            else:
                break
            at += 1
        if at < end and lines[at].startswith("\\"):
            _open_end(hunk)
            at += 1
        file.hunks.append(hunk)
        self._headed = False
        return at


def _open_end(hunk: Hunk) -> None:
    if hunk.lines:
        hunk.lines[-1] = hunk.lines[-1]._replace(open_end=True)


def _name(text: str) -> str:
    """A name behind `---` or `+++`: git ends it with a tab where it holds a blank, others with a tab and a time."""
    name = _unquoted(text.partition("\t")[0] if not text.startswith('"') else text)
    return name[2:] if name.startswith(("a/", "b/")) else name


def _git_names(text: str) -> tuple[str, str]:
    """The two names of `diff --git`. Where they are not quoted nothing parts them but that they are the same, as a rule."""
    if text.startswith('"') and (found := re.fullmatch(r'("(?:[^"\\]|\\.)*") (.*)', text, re.DOTALL)):
        return _name(found[1]), _name(found[2])
    if text.endswith('"') and ' "' in text:
        first, _, second = text.partition(' "')
        return _name(first), _name(f'"{second}')
    half = len(text) // 2
    if text[half : half + 1] == " " and text[2:half] == text[half + 3 :]:
        return text[2:half], text[half + 3 :]
    first, _, second = text.partition(" b/")
    return _name(first), second or _name(first)


def _unquoted(text: str) -> str:
    """A name as git quotes it when it holds what is not printable: C's escapes, bytes in octal."""
    if not (len(text) > 1 and text.startswith('"') and text.rstrip().endswith('"')):
        return text
    raw = bytearray()
    place = 0
    body = text.rstrip()[1:-1]
    for found in _ESCAPE.finditer(body):
        raw += body[place : found.start()].encode("utf-8", "replace")
        raw += bytes([int(found[1], 8) & 255]) if found[1].isdecimal() else _NAMED[found[1]].encode()
        place = found.end()
    raw += body[place:].encode("utf-8", "replace")
    return raw.decode("utf-8", "replace")


def _executable(old: str, new: str) -> str:
    if (old, new) == ("100644", "100755"):
        return ": executable now"
    return ": no longer executable" if (old, new) == ("100755", "100644") else ""
