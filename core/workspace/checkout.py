"""A worktree of ours and the record of it.

An agent can write whatever it likes into its worktree, ``.git`` included. So git is never pointed at the folder: it
is told the administrative folder in the repository, the shared folder and the work tree, each by name. What a
worktree was made as is recorded beside it, where a sandboxed agent cannot write.
"""

import contextlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from core.workspace.git import MissingFolderError, Place
from core.workspace.repository import Repository

_HEAD = re.compile(r"(ref: refs/\S+|[0-9a-f]{40}|[0-9a-f]{64})\n?")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Worktree:
    """A worktree of ours: ``git_dir`` is its administrative folder, ``base_commit`` what its branch starts from."""

    repo: Repository
    path: Path
    branch: str
    base_commit: str
    git_dir: Path

    @property
    def ref(self) -> str:
        """The full name of its branch."""
        return f"refs/heads/{self.branch}"

    @property
    def present(self) -> bool:
        """Whether the folder is there (a link in its place is none of ours)."""
        return self.path.is_dir() and not self.path.is_symlink()


def place(worktree: Worktree, *, index: Path | None = None, objects: Path | None = None) -> Place:
    """Where git works for this worktree. Raises :class:`GitError` when the folder is gone or was replaced by a
    link."""
    if not worktree.present:
        raise MissingFolderError("worktree", worktree.path)
    return Place(admin_place(worktree).git_dir, worktree.repo.git_dir, worktree.path, index, objects)


def admin_place(worktree: Worktree) -> Place:
    """Where git works on commits and refs of this worktree without looking at its files."""
    if not worktree.git_dir.is_dir():
        return worktree.repo.place
    _mend_head(worktree)
    return Place(worktree.git_dir, worktree.repo.git_dir)


@dataclass(frozen=True, slots=True)
class Record:
    """What a worktree was made as; kept in a file beside it."""

    repository: str
    git_dir: str
    branch: str
    base_commit: str


def record_path(path: Path) -> Path:
    """The file that holds the record of the worktree at ``path``."""
    return path.parent / f".{path.name}.worktree.json"


def write_record(worktree: Worktree) -> None:
    """Record a worktree, replacing what was recorded in one step."""
    repo = worktree.repo
    record = Record(str(repo.path), str(repo.git_dir), worktree.branch, worktree.base_commit)
    target = record_path(worktree.path)
    scratch = target.with_suffix(f".{os.getpid()}.new")
    scratch.write_text(json.dumps(asdict(record)), "utf-8")
    scratch.replace(target)


def read_record(path: Path) -> Record | None:
    """The record of the worktree at ``path``; None where there is no valid one."""
    try:
        record = Record(**json.loads(record_path(path).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    whole = all(isinstance(value, str) for value in asdict(record).values())
    return record if whole and _COMMIT.fullmatch(record.base_commit) else None


def administrative(git_dir: Path) -> Iterator[tuple[Path, Path]]:
    """Every linked worktree that the repository knows of: its administrative folder and its work tree, there or
    not."""
    with contextlib.suppress(FileNotFoundError):
        for admin in sorted((git_dir / "worktrees").iterdir()):
            with contextlib.suppress(OSError, ValueError):
                pointer = os.fsdecode((admin / "gitdir").read_bytes()).removesuffix("\n")
                yield admin, Path(os.path.normpath(admin / pointer)).parent


def find_administrative(git_dir: Path, path: Path) -> Path | None:
    """The administrative folder of the worktree at ``path``, as the repository tells it."""
    wanted = path.resolve()
    return next((admin for admin, work_tree in administrative(git_dir) if work_tree.resolve() == wanted), None)


def recorded(path: Path) -> Worktree | None:
    """The worktree at ``path`` by its record; where the repository has forgotten it, its ``git_dir`` is not there."""
    record = read_record(path)
    if record is None or not Path(record.git_dir).is_dir():
        return None
    repo = Repository(Path(record.repository), Path(record.git_dir))
    admin = find_administrative(repo.git_dir, path) or repo.git_dir / "worktrees" / ".gone" / path.name
    return Worktree(repo, path, record.branch, record.base_commit, admin)


def is_commit_name(text: str) -> bool:
    """Whether the text is the full name of an object."""
    return _COMMIT.fullmatch(text) is not None


def _mend_head(worktree: Worktree) -> None:
    head = worktree.git_dir / "HEAD"
    try:
        sound = _HEAD.fullmatch(head.read_text("utf-8", "replace")) is not None
    except OSError:
        sound = False
    if not sound:  # git takes a folder without a sound HEAD for no repository at all
        head.unlink(missing_ok=True)
        head.write_text(f"ref: {worktree.ref}\n", "utf-8")
