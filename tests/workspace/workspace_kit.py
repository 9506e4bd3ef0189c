"""Builders of real repositories, and the fingerprint by which a test sees whether a person's repository was
touched."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


def run_git(where: Path, *args: str, check: bool = True) -> str:
    """Run git as the person would, in a folder; returns what it printed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment |= {
        "GIT_AUTHOR_NAME": "Pat", "GIT_AUTHOR_EMAIL": "pat@example.org", "GIT_COMMITTER_NAME": "Pat",
        "GIT_COMMITTER_EMAIL": "pat@example.org", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", "GIT_EDITOR": ":",
    }  # fmt: skip
    done = subprocess.run(
        ["git", "-c", "init.defaultBranch=main", "-c", "advice.detachedHead=false", *args],
        cwd=where, env=environment, capture_output=True, text=True, errors="surrogateescape", check=False,
    )  # fmt: skip
    if check and done.returncode:
        raise AssertionError(f"git {args} in {where}: {done.stdout}{done.stderr}")
    return done.stdout.strip()


def write(root: Path, **files: str) -> None:
    """Write files; ``__`` in a name stands for ``/`` and ``_dot_`` for a dot."""
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def commit(root: Path, message: str, **files: str) -> str:
    """Write files and commit everything; returns the commit."""
    write(root, **files)
    run_git(root, "add", "--all")
    run_git(root, "commit", "--quiet", "--allow-empty", "-m", message)
    return run_git(root, "rev-parse", "HEAD")


def make_repository(path: Path, **files: str) -> Path:
    """A repository with one commit on main."""
    path.mkdir(parents=True)
    run_git(path, "init", "--quiet")
    commit(
        path,
        "First",
        **(files or {"a_dot_txt": "one\ntwo\nthree\n", "b_dot_txt": "b\n", "_dot_gitignore": "*.log\n.env\n"}),
    )
    return path


def make_remote(path: Path) -> tuple[Path, Path]:
    """A bare repository and a clone of it, the person's."""
    seed = make_repository(path / "seed")
    run_git(path, "clone", "--quiet", "--bare", str(seed), "origin.git")
    run_git(path, "clone", "--quiet", "origin.git", "mine")
    return path / "origin.git", path / "mine"


@dataclass(frozen=True)
class Fingerprint:
    """All that is a person's: where HEAD is, index, stash, refs, configuration, files with their times."""

    head: str
    state: str
    index: bytes
    stash: str
    refs: str
    config: bytes
    files: dict[str, tuple[int, bytes]]


def fingerprint(checkout: Path) -> Fingerprint:
    """Take the fingerprint of a checkout, or of a bare repository."""
    git_dir = Path(run_git(checkout, "rev-parse", "--absolute-git-dir"))
    common = Path(run_git(checkout, "rev-parse", "--path-format=absolute", "--git-common-dir"))
    bare = run_git(checkout, "rev-parse", "--is-inside-work-tree") != "true"
    root = git_dir if bare else Path(run_git(checkout, "rev-parse", "--show-toplevel"))
    state = "\n".join(
        f"{name}: {(git_dir / name).exists()}"
        for name in ("MERGE_HEAD", "rebase-merge", "rebase-apply", "BISECT_LOG", "FETCH_HEAD")
    )
    refs = run_git(checkout, "for-each-ref", "--format=%(refname) %(objectname)")
    files = {}
    for path in sorted(root.rglob("*")) if not bare else []:
        if path.is_file() and not path.is_relative_to(root / ".git"):
            files[str(path.relative_to(root))] = (path.stat().st_mtime_ns, path.read_bytes())
    return Fingerprint(
        head=(git_dir / "HEAD").read_text(),
        state=state if bare else state + run_git(checkout, "status", "--porcelain", "--ignore-submodules=none"),
        index=(git_dir / "index").read_bytes() if (git_dir / "index").exists() else b"",
        stash=run_git(checkout, "stash", "list") if not bare else "",
        refs="\n".join(line for line in refs.splitlines() if not line.startswith(("refs/qd/", "refs/heads/qd/"))),
        config=(common / "config").read_bytes(),
        files=files,
    )
