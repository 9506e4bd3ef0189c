"""What is found out about a repository when it becomes a project: where it lies, its id, its stack, how its work is
verified.
"""

import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from config.errors import ConflictError, NotFoundError, UsageError
from config.paths import Paths, written_out
from core.workspace import repository
from core.workspace.project_file import NAME, read_project_file
from core.workspace.repository import Repository, clone, open_repository, resolve_repo_argument

_SECRET_IN_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^/@\s]*:[^/@\s]+@|https?://[^/@\s]+@", re.IGNORECASE)
_MOST_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Located:
    """A repository that a project is to work on: as the person named it, and where it lies here."""

    repo: str
    path: Path
    opened: Repository


@dataclass(frozen=True, slots=True)
class Detected:
    """What a work tree says of itself.

    ``words`` tells a person what was found; ``verify`` is empty where the repository's own file rules.
    """

    stack: str | None
    verify: tuple[str, ...]
    words: str


async def locate(text: str, project: str, paths: Paths, cwd: Path) -> Located:
    """Open the repository of a path, or clone that of a URL into our own folder (a clone that is there already is
    used).

    Raises UsageError where there is no repository, ConflictError where another one is in the way, UnavailableError
    for the remote.
    """
    if _SECRET_IN_URL.match(text):
        raise UsageError(
            "the address of the repository holds a password or token, which would be stored in clear",
            "leave it out and give it to git's credential helper",
        )
    found = resolve_repo_argument(text)
    if isinstance(found, str):
        into = paths.repositories / project
        if not into.exists():
            return Located(text.strip(), into, await clone(found, into))
        opened = await open_repository(into)
        if found not in (await repository.remote_urls(opened)).values():
            raise ConflictError(
                f"{into} holds a clone of another repository", "choose another id, or remove that folder"
            )
        return Located(text.strip(), into, opened)
    path = written_out(text.strip())
    path = path if path.is_absolute() else cwd / path
    opened = await open_repository(path.resolve())
    return Located(str(opened.path), opened.path, opened)


async def check_base(located: Located, base: str) -> None:
    """Raise UsageError for a base branch that the repository does not have."""
    try:
        await repository.base_commit(located.opened, base)
    except NotFoundError as error:
        raise UsageError(error.message, error.hint) from None


def id_from(text: str) -> str:
    """A project's id from the name of its folder or repository. Raises UsageError where nothing is left of it."""
    name = re.split(r"[/:\\]", text.strip().rstrip("/").removesuffix(".git").rstrip("/"))[-1]
    slug = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")[:63].rstrip("-._")
    if not slug:
        raise UsageError(f"no id can be made from {text!r}", "give one with --id")
    return slug


def detect(root: Path) -> Detected:
    """The stack of a work tree and its checks, as far as files at its root say so plainly.

    Raises UsageError for a wrong project file.
    """
    stack, verify, words = _stack(root)
    named = read_project_file(root).verify
    if named is not None:
        return Detected(stack, (), f"verified as {NAME} says: {_listed(named)}")
    return Detected(stack, verify, words)


def _stack(root: Path) -> tuple[str | None, tuple[str, ...], str]:
    for find in (_python, _node, _rust, _go):
        if found := find(root):
            stack, verify = found
            if verify:
                return stack, verify, f"{stack} found, verified by: {_listed(verify)}"
            return stack, (), f"{stack} found but no tests of it; name a check with --verify CMD"
    return None, (), "no stack was recognised; name a check with --verify CMD"


def _python(root: Path) -> tuple[str, tuple[str, ...]] | None:
    manifests = [root / name for name in ("pyproject.toml", "setup.cfg", "tox.ini", "setup.py", "requirements.txt")]
    if not any(path.is_file() for path in manifests):
        return None
    texts = "\n".join(_read(path) for path in (*manifests, root / "requirements-dev.txt"))
    marks = [root / "pytest.ini", root / "conftest.py", root / "tests" / "conftest.py"]
    if "pytest" in texts or any(path.is_file() for path in marks):
        return "python", ("python3 -m pytest",)
    tests = root / "tests"
    if tests.is_dir() and any(tests.glob("test*.py")):
        return "python", (
            f"python3 -m unittest discover -s tests{' -t .' if (tests / '__init__.py').is_file() else ''}",
        )
    return "python", ("python3 -m unittest",) if any(root.glob("test*.py")) else ()


def _node(root: Path) -> tuple[str, tuple[str, ...]] | None:
    if not (root / "package.json").is_file():
        return None
    try:
        scripts = json.loads(_read(root / "package.json")).get("scripts")
    except (ValueError, AttributeError, RecursionError):
        scripts = None
    test = scripts.get("test") if isinstance(scripts, dict) else None
    return "node", ("npm test",) if isinstance(test, str) and "no test specified" not in test else ()


def _rust(root: Path) -> tuple[str, tuple[str, ...]] | None:
    if not (root / "Cargo.toml").is_file():
        return None
    try:
        table = tomllib.loads(_read(root / "Cargo.toml"))
    except tomllib.TOMLDecodeError:
        return "rust", ()
    return "rust", ("cargo test --workspace",) if "workspace" in table else ("cargo test",)


def _go(root: Path) -> tuple[str, tuple[str, ...]] | None:
    return ("go", ("go test ./...",)) if (root / "go.mod").is_file() else None


def _read(path: Path) -> str:
    """The beginning of a file of the repository; empty where it is none, since it may be anything (a link, a fifo, a
    folder).
    """
    if not path.is_file() or path.is_symlink():
        return ""
    with path.open("rb") as file:
        return file.read(_MOST_BYTES).decode("utf-8", "replace")


def _listed(commands: tuple[str, ...]) -> str:
    return ", ".join(f"`{command}`" for command in commands) or "nothing"
