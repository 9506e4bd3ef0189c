"""Files of the worktree and of nothing else.

A path is walked one component at a time from a descriptor of the worktree's folder, never following a link:
a link's target is walked the same way, so that one which stays inside works and one which leads outside is
refused, also when it is swapped in while we look (the file that was checked is the file that is opened).
``.git`` is refused wherever it stands in a path.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

READ_LIMIT = 4_000_000
"""Bytes of the largest file that is read."""

WRITE_LIMIT = 4_000_000
"""Bytes of the largest file that is written."""

LINK_LIMIT = 40
"""Links that are followed for one path, as in the kernel."""

SKIPPED = frozenset({".git", "__pycache__", "node_modules", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache"})
"""Folders that no listing goes into."""


class RefusedError(Exception):
    """The path is not one that the agent may touch, or not of the right kind; the text tells the model why."""


@dataclass(frozen=True, slots=True)
class Place:
    """A path that was walked: an open descriptor of its folder, and the name in it, which is no link."""

    folder: int
    name: str
    shown: str


class Worktree:
    """The folder that the agent works in."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, path: str) -> str:
        """The text of a file. Raises RefusedError."""
        with self._place(path) as place:
            handle = os.open(
                place.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place.folder
            )
            with os.fdopen(handle, "rb") as file:
                found = os.fstat(file.fileno())
                if not stat.S_ISREG(found.st_mode):
                    raise RefusedError(f"{place.shown} is not a file")
                if found.st_size > READ_LIMIT:
                    raise RefusedError(f"{place.shown} has {found.st_size} bytes; at most {READ_LIMIT} are read")
                raw = file.read(READ_LIMIT)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise RefusedError(f"{path} is not text in UTF-8") from None

    def write(self, path: str, text: str) -> str:
        """Put the text into a file, made with its folders where it is new; returns the path inside the
        worktree. Raises RefusedError.
        """
        raw = text.encode("utf-8", "replace")
        if len(raw) > WRITE_LIMIT:
            raise RefusedError(f"the text has {len(raw)} bytes; at most {WRITE_LIMIT} are written")
        with self._place(path, make=True) as place:
            mode = self._mode(place)
            # a new file in the old one's place: a reader sees one or the other, and a hard link to elsewhere is
            # not written through
            temporary = f".qd-{secrets.token_hex(6)}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            handle = os.open(temporary, flags, 0o666, dir_fd=place.folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    if mode is not None:
                        os.fchmod(file.fileno(), mode)
                    file.write(raw)
                os.replace(temporary, place.name, src_dir_fd=place.folder, dst_dir_fd=place.folder)
            except BaseException:
                os.unlink(temporary, dir_fd=place.folder)
                raise
            return place.shown

    def files(self, path: str = "") -> Iterator[tuple[str, os.stat_result]]:
        """Every file below a folder, in order, links not followed and :data:`SKIPPED` left out.

        Raises RefusedError.
        """
        with self._folder(path) as (handle, shown):
            for where, folders, names, folder in os.fwalk(".", dir_fd=handle, follow_symlinks=False):
                folders[:] = sorted(name for name in folders if name not in SKIPPED)
                for name in sorted(names):
                    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                    if name != ".git":
                        yield os.path.normpath(f"{shown or '.'}/{where}/{name}"), found

    def _mode(self, place: Place) -> int | None:
        """The permissions of the file that is to be replaced, None when there is none.

        Raises RefusedError when it is no file.
        """
        try:
            found = os.stat(place.name, dir_fd=place.folder, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(found.st_mode):
            raise RefusedError(f"{place.shown} is not a file")
        return stat.S_IMODE(found.st_mode)

    @contextmanager
    def _place(self, path: str, *, make: bool = False) -> Iterator[Place]:
        """Walk to a file's folder; with ``make`` folders on the way are made."""
        with _Walk(self.root, path, make=make) as walk:
            name = walk.to_file()
            yield Place(walk.folder, name, walk.shown(name))

    @contextmanager
    def _folder(self, path: str) -> Iterator[tuple[int, str]]:
        """Walk to a folder; yields a descriptor of it and its path inside the worktree."""
        with _Walk(self.root, path, make=False) as walk:
            walk.to_folder()
            yield walk.folder, walk.shown("")


class _Walk:
    """A path in the course of being walked: the folders entered so far, and the components still to come."""

    def __init__(self, root: Path, path: str, *, make: bool) -> None:
        self._root = root
        self._path = path
        self._make = make
        self._names: list[str] = []
        self._folders: list[int] = []
        self._ahead = self._components(path)
        self._links = 0

    def __enter__(self) -> "_Walk":
        self._folders.append(os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        return self

    def __exit__(self, *_: object) -> None:
        for folder in self._folders:
            os.close(folder)

    @property
    def folder(self) -> int:
        """The descriptor of the folder that the walk has come to."""
        return self._folders[-1]

    def shown(self, name: str) -> str:
        """The path inside the worktree of a name in the present folder."""
        return "/".join([*self._names, name]) if name else "/".join(self._names)

    def to_file(self) -> str:
        """Walk until one component is left that is no link, and return it."""
        while True:
            self._through_folders(leave=1)
            if not self._ahead:
                raise RefusedError(f"{self._path or 'the worktree itself'} is a folder")
            name = self._ahead.pop()
            if name == "..":
                raise RefusedError(f"{self._path} is a folder")
            target = self._link(self._allowed(name))
            if target is None:
                return name
            self._ahead = target

    def to_folder(self) -> None:
        """Walk every component."""
        self._through_folders(leave=0)

    def _through_folders(self, leave: int) -> None:
        while len(self._ahead) > leave:
            self._step(self._ahead.pop(0))

    def _step(self, name: str) -> None:
        """Enter one folder, or leave one for its parent."""
        if name == "..":
            if not self._names:
                raise RefusedError(f"{self._path} leads outside the worktree")
            self._names.pop()
            os.close(self._folders.pop())
            return
        self._allowed(name)
        try:
            entered = self._enter(name)
        except FileNotFoundError:
            if not self._make:
                raise RefusedError(f"{self.shown(name)} does not exist") from None
            os.mkdir(name, dir_fd=self.folder)
            entered = self._enter(name)
        except OSError as error:
            # a link says ELOOP on macOS and ENOTDIR on Linux
            target = self._link(name) if error.errno in (errno.ELOOP, errno.ENOTDIR) else None
            if target is None:
                raise RefusedError(f"{self.shown(name)} is not a folder") from None
            self._ahead[:0] = target
            return
        self._folders.append(entered)
        self._names.append(name)

    def _enter(self, name: str) -> int:
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.folder)

    def _link(self, name: str) -> list[str] | None:
        """The components that a link in the present folder leads to, None when the name is no link."""
        try:
            target = os.readlink(name, dir_fd=self.folder)
        except OSError:
            return None
        self._links += 1
        if self._links > LINK_LIMIT or target.startswith("/"):
            raise RefusedError(f"{self.shown(name)} is a link that leads outside the worktree")
        return self._components(target)

    def _components(self, path: str) -> list[str]:
        """The components of a path; an absolute one must begin with the worktree's own."""
        if "\0" in path:
            raise RefusedError("the path has a NUL in it")
        if path.startswith("/"):
            root = f"{self._root}/"
            if not f"{path}/".startswith(root):
                raise RefusedError(f"{path} is outside the worktree")
            path = path[len(root) :]
        return [part for part in path.split("/") if part not in ("", ".")]

    def _allowed(self, name: str) -> str:
        # file systems of macOS do not tell .GIT from .git
        if name.lower() == ".git":
            raise RefusedError(f"{self.shown(name)} belongs to git and is not touched")
        return name
