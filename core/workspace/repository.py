"""A project's repository: found, cloned, fetched, and its base named.

The checkout of the person is read here, never written. Fetched branches go to ``refs/qd/remotes``: the person's own
remote-tracking branches stay where their last fetch left them, because ``git push --force-with-lease`` trusts them.
"""

import hashlib
import os
import re
import shutil
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from config.errors import ConflictError, NotFoundError, UnavailableError, UsageError
from config.paths import written_out
from core.workspace.git import LONG, GitError, Place, git, redact, ssh_environment
from core.workspace.locks import REMOTE, locked

FETCHED = "refs/qd/remotes"
_FETCH_SECONDS = 180.0
_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")
_URL = re.compile(r"(https?|ssh|git|file|git\+ssh)://\S+", re.IGNORECASE)
_SCP = re.compile(r"[A-Za-z0-9_.-]+@[A-Za-z0-9.-]+:(?!//)\S+")


@dataclass(frozen=True, slots=True)
class Repository:
    """A git repository as it was registered.

    ``path`` is a work tree (the main one or a linked one) or a bare repository; ``git_dir`` is what all its worktrees
    share.
    """

    path: Path
    git_dir: Path

    @property
    def place(self) -> Place:
        """Where commands run that look at no work tree."""
        return Place(self.git_dir)

    @property
    def outward(self) -> Place:
        """Where commands run that talk to a remote: its address may be relative to the registered path."""
        return Place(self.git_dir, None, self.path)


@dataclass(frozen=True, slots=True)
class RepositoryStatus:
    """How a repository stands. Counts are of files; ``ahead`` and ``behind`` are None without an upstream branch."""

    branch: str | None
    """The branch that is checked out; None where HEAD is detached."""
    staged: int
    modified: int
    untracked: int
    conflicted: int
    ahead: int | None
    behind: int | None
    remotes: dict[str, str]
    """URLs by name, without passwords."""
    last_commit: str
    last_subject: str
    last_author: str
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Target:
    """Where a base branch lives: on ``remote``, or in the repository itself where that is None; ``commit`` is its tip
    as known here."""

    branch: str
    remote: str | None
    commit: str


async def open_repository(path: Path) -> Repository:
    """Find the repository at a path. Raises ``UsageError`` where there is none, or one without a commit."""
    path = written_out(path).absolute()
    if not path.is_dir():
        raise UsageError(f"there is no folder {path}", "give the path of a git repository")
    try:
        found = await git(
            "rev-parse", "--path-format=absolute", "--git-common-dir", "--show-cdup", at=path, accept=(0, 128)
        )
    except PermissionError as error:
        raise UsageError(f"{path} may not be entered", "give yourself access to it") from error
    if found.status:
        if "dubious ownership" in found.stderr:
            raise UsageError(
                f"{path} belongs to another user, so git does not trust it",
                f"run: git config --global --add safe.directory '{path}'",
            )
        raise UsageError(
            f"{path} is no git repository", "run `git init` there and make a first commit, or give another path"
        )
    git_dir, *up = os.fsdecode(found.stdout).split("\n")
    if up and up[0]:
        root = (path / up[0]).resolve()
        raise UsageError(f"{path} is a folder inside the repository {root}", f"register {root}")
    if path.name == ".git" and path.samefile(git_dir):
        path = path.parent
    repo = Repository(path, Path(git_dir))
    if not (await git("for-each-ref", "--count=1", "refs/heads", "refs/remotes", at=repo.place)).stdout:
        raise UsageError(
            f"{path} has no commit yet", "make one: git add --all && git commit --allow-empty -m 'First commit'"
        )
    return repo


def resolve_repo_argument(text: str) -> Path | str:
    """What a person means by a repository: a path, a URL, or ``owner/name`` on GitHub. Raises ``UsageError``."""
    text = text.strip()
    if not text or text.startswith("-") or not text.isprintable():
        raise UsageError(f"{text!r} names no repository", "give a path, a URL or owner/name")
    if _URL.fullmatch(text) or _SCP.fullmatch(text):
        return text
    if "://" in text or "::" in text:
        raise UsageError(f"{redact(text)} is an address that git may not use here", "use https, ssh or a path")
    path = written_out(text)
    if _SLUG.fullmatch(text) and not path.exists():
        return f"https://github.com/{text.removesuffix('.git')}.git"
    return path.absolute()


async def clone(url: str, into: Path) -> Repository:
    """Clone a repository into a folder that is not there yet; an interrupted clone leaves nothing behind.

    Raises ``ConflictError`` where the folder exists, ``UnavailableError`` where the remote cannot be cloned.
    """
    if into.exists():
        raise ConflictError(f"{into} exists already", "remove it or choose another id for the project")
    into.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".clone-", dir=into.parent))
    try:
        environment = await ssh_environment(into.parent)
        await git(
            "clone", "--quiet", "--no-recurse-submodules", "--template=", "--", url, str(scratch / "clone"),
            at=into.parent, environment=environment, timeout=4 * LONG,
        )  # fmt: skip
        (scratch / "clone").rename(into)
    except GitError as error:
        raise UnavailableError(
            f"{redact(url)} could not be cloned: {error.detail}", "check the address and your access to it"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return await open_repository(into)


async def default_base(repo: Repository) -> str:
    """The branch that work starts from when nobody says: the remote's, else the usual names, else the current
    branch."""
    initial = (await git("config", "--get", "init.defaultBranch", at=repo.place, accept=(0, 1))).text
    usual = [name for name in (initial, "main", "master") if name and _is_plain(name)]
    listed = await git(
        "for-each-ref", "--format=%(refname)%00%(symref)", "refs/remotes/*/HEAD",
        *(f"refs/heads/{name}" for name in usual), at=repo.place,
    )  # fmt: skip
    refs = dict(line.split("\0", 1) for line in listed.text.splitlines())
    heads = {ref: symref for ref, symref in refs.items() if ref.endswith("/HEAD") and symref}
    head = "refs/remotes/origin/HEAD" if "refs/remotes/origin/HEAD" in heads else next(iter(heads), None)
    if head is not None:
        return heads[head].removeprefix(head.removesuffix("HEAD"))
    for name in usual:
        if f"refs/heads/{name}" in refs:
            return name
    return await _current_branch(repo)


async def fetch(repo: Repository, *, if_older_than: float, base: str | None = None) -> None:
    """Fetch ``base`` (all branches where it is None) from the remote, if there is one and the last time is
    ``if_older_than`` s ago.

    Raises ``UnavailableError`` when the remote cannot be reached; the branch fetched last stays usable.
    """
    stamp = _stamp(repo, base)
    if _age(stamp) < if_older_than:
        return
    remotes = await remote_urls(repo)
    if remotes:
        async with locked(repo.git_dir, REMOTE):
            if _age(stamp) < if_older_than:  # another engine has fetched while this one waited
                return
            await _fetch(repo, await _remote_for(repo, base, list(remotes)), base)
    stamp.touch()


def forget_fetch(repo: Repository) -> None:
    """Make the next :func:`fetch` ask the remote, however recent the last one is."""
    for stamp in repo.git_dir.glob("qd-fetched*"):
        stamp.unlink(missing_ok=True)


async def base_commit(repo: Repository, base: str) -> str:
    """The commit that work on ``base`` starts from: the fetched one where a remote has that branch, else the local
    one.

    Raises ``NotFoundError`` for a branch that neither has.
    """
    return (await base_target(repo, base)).commit


async def contains(repo: Repository, tip: str, commit: str) -> bool:
    """Whether ``commit`` is in the history of ``tip``."""
    asked = await git("merge-base", "--is-ancestor", commit, tip, at=repo.place, accept=(0, 1))
    return asked.status == 0


async def base_target(repo: Repository, base: str) -> Target:
    """Where ``base`` lives and its tip as known here; see :func:`base_commit`."""
    if not _is_plain(base):
        raise UsageError(f"{base!r} is no name of a branch", "give the name of a branch, such as main")
    local = f"refs/heads/{base}"
    listed = await git(
        "for-each-ref", "--format=%(refname)%00%(objectname)%00%(upstream)",
        local, f"refs/remotes/*/{base}", f"{FETCHED}/*/{base}", at=repo.place,
    )  # fmt: skip
    refs: dict[str, str] = {}
    candidates: list[str] = []
    named = None
    for line in listed.text.splitlines():
        ref, commit, upstream = line.split("\0")
        refs[ref] = commit
        if ref == local:
            named = _remote_in(upstream, base)
        elif (remote := _remote_in(ref, base)) is not None:
            candidates.append(remote)
    remote = _preferred(named, candidates)
    fetched, tracked = refs.get(f"{FETCHED}/{remote}/{base}"), refs.get(f"refs/remotes/{remote}/{base}")
    if fetched and not tracked and remote not in await remote_urls(repo):  # taken out since it was fetched
        remote = None
    if remote is not None:
        return Target(base, remote, await _newer(repo, fetched, tracked))
    if local not in refs:
        raise NotFoundError(f"{repo.path} has no branch {base}", "name the base branch of the project")
    return Target(base, None, refs[local])


async def remote_urls(repo: Repository) -> dict[str, str]:
    """The remotes by name with their URLs, credentials included: not to be shown."""
    listed = await git("config", "-z", "--get-regexp", r"^remote\..*\.url$", at=repo.place, accept=(0, 1))
    entries = [entry.partition("\n") for entry in listed.fields]
    return {key[len("remote.") : -len(".url")]: url for key, _, url in entries}


async def status(repo: Repository) -> RepositoryStatus:
    """How the checkout and the remotes of the repository stand; writes nothing, not even a refreshed index."""
    branch: str | None = None
    counts = dict.fromkeys(("staged", "modified", "untracked", "conflicted"), 0)
    ahead: int | None = None
    behind: int | None = None
    if await _has_work_tree(repo):
        shown = await git("status", "--porcelain=v2", "--branch", "-z", at=repo.path, timeout=LONG)
        for field in shown.fields:
            if field.startswith("# branch.head ") and not field.endswith(" (detached)"):
                branch = field.removeprefix("# branch.head ")
            elif field.startswith("# branch.ab "):
                ahead, behind = (abs(int(part)) for part in field.split()[2:4])
            elif re.match(r"[12] [A-Z.]{2} ", field):
                counts["staged"] += field[2] != "."
                counts["modified"] += field[3] != "."
            elif field.startswith("? "):
                counts["untracked"] += 1
            elif re.match(r"u [A-Z]{2} ", field):
                counts["conflicted"] += 1
    else:
        branch = (await git("symbolic-ref", "-q", "--short", "HEAD", at=repo.place, accept=(0, 1))).text or None
    format_ = "--format=%H%x00%s%x00%an%x00%ct"
    last = await git("log", "-1", format_, "HEAD", "--", at=repo.path, accept=(0, 128))
    if last.status:  # HEAD names a branch that is not born yet
        last = await git("log", "-1", format_, "--branches", "--remotes", at=repo.place)
    commit, subject, author, at = last.text.split("\0")
    remotes = {name: redact(url) for name, url in (await remote_urls(repo)).items()}
    when = datetime.fromtimestamp(int(at), UTC)
    return RepositoryStatus(
        branch, **counts, ahead=ahead, behind=behind, remotes=remotes,
        last_commit=commit, last_subject=subject, last_author=author, last_at=when,
    )  # fmt: skip


async def _has_work_tree(repo: Repository) -> bool:
    shown = await git("rev-parse", "--is-inside-work-tree", at=repo.path)
    return shown.text == "true"


async def _fetch(repo: Repository, remote: str, base: str | None) -> None:
    if base is None:
        refspecs = await _mapped_refspecs(repo, remote)
    else:
        refspecs = [f"+refs/heads/{base}:{FETCHED}/{remote}/{base}"]
    try:
        await git(
            "fetch", "--quiet", "--refmap=", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules",
            "--no-auto-maintenance", "--prune" if base is None else "--no-prune", "--no-prune-tags",
            "--upload-pack=git-upload-pack", remote, *refspecs,
            at=repo.outward, environment=await ssh_environment(repo.place), timeout=_FETCH_SECONDS,
        )  # fmt: skip
    except GitError as error:
        if base is not None and "couldn't find remote ref" in error.detail:
            await git("update-ref", "-d", f"{FETCHED}/{remote}/{base}", at=repo.place)
            return
        raise UnavailableError(
            f"{repo.path}: remote {remote} could not be fetched: {error.detail}",
            "check the network and your access to it",
        ) from error


async def _mapped_refspecs(repo: Repository, remote: str) -> list[str]:
    configured = await git("config", "-z", "--get-all", f"remote.{remote}.fetch", at=repo.place, accept=(0, 1))
    own, mapped = f"refs/remotes/{remote}/", f"{FETCHED}/{remote}/"
    specs = [spec.removeprefix("+") for spec in configured.fields]
    heads = [spec for spec in specs if spec.startswith("refs/heads/") and f":{own}" in spec]
    return [f"+{spec.replace(f':{own}', f':{mapped}', 1)}" for spec in heads] or [f"+refs/heads/*:{mapped}*"]


async def _remote_for(repo: Repository, base: str | None, remotes: list[str]) -> str:
    branch = base or await default_base(repo)
    tracked = (await git("config", "--get", f"branch.{branch}.remote", at=repo.place, accept=(0, 1))).text
    return _preferred(tracked, remotes) or remotes[0]


def _remote_in(ref: str, base: str) -> str | None:
    for prefix in ("refs/remotes/", f"{FETCHED}/"):
        if ref.startswith(prefix) and ref.endswith(f"/{base}"):
            return ref[len(prefix) : -len(base) - 1]
    return None


def _preferred(named: str | None, candidates: list[str]) -> str | None:
    """The remote that the branch itself names, else origin, else the first there is."""
    for remote in (named, "origin", *candidates):
        if remote in candidates:
            return remote
    return None


async def _newer(repo: Repository, fetched: str | None, tracked: str | None) -> str:
    """The fetched tip, unless the person has fetched or pushed since."""
    if fetched is None or tracked is None or fetched == tracked:
        chosen = fetched or tracked
        assert chosen is not None
        return chosen
    ahead = await git("merge-base", "--is-ancestor", fetched, tracked, at=repo.place, accept=(0, 1))
    return tracked if ahead.status == 0 else fetched


async def _current_branch(repo: Repository) -> str:
    shown = await git("symbolic-ref", "--quiet", "--short", "HEAD", at=repo.path, accept=(0, 1))
    if shown.text:
        return shown.text
    git_dir = Path((await git("rev-parse", "--absolute-git-dir", at=repo.path)).text)
    for name in ("rebase-merge/head-name", "rebase-apply/head-name", "BISECT_START"):
        try:
            branch = (git_dir / name).read_text("utf-8").strip().removeprefix("refs/heads/")
        except OSError:
            continue
        if branch:
            return branch
    raise UsageError(f"{repo.path} is on no branch", "name the base branch of the project, for example --base main")


def _is_plain(branch: str) -> bool:
    return bool(branch) and not branch.startswith("-") and not re.search(r"[\x00-\x20~^:?*\[\\\x7f]|\.\.|@\{", branch)


def _stamp(repo: Repository, base: str | None) -> Path:
    suffix = "" if base is None else "-" + hashlib.sha256(os.fsencode(base)).hexdigest()[:12]
    return repo.git_dir / f"qd-fetched{suffix}"


def _age(stamp: Path) -> float:
    try:
        return abs(time.time() - stamp.stat().st_mtime)
    except FileNotFoundError:
        return float("inf")
