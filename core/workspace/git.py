"""Runs git: the one place of the house that does.

What a repository or an agent wrote may not make git run anything: hooks, file system monitors, external diffs,
editors, pagers and askpass programs are off, and nothing of the caller's ``GIT_*`` environment gets through. Every
call has a time limit and a bound on its output; a cancelled call ends the whole process group, politely first so that
git removes its lock files.
"""

import asyncio
import contextlib
import os
import re
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from config.errors import QuarterdeckError, UnavailableError

QUICK = 60.0
"""Seconds for a command that reads or writes a few objects."""
LONG = 900.0
"""Seconds for a command that reads or writes a whole tree, or talks to a remote."""
MAX_OUTPUT = 64 * 1024 * 1024

_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.splitIndex=false",
    "core.safecrlf=false",
    "core.quotePath=false",
    "core.commentChar=#",
    "gc.auto=0",
    "maintenance.auto=false",
    "commit.gpgsign=false",
    "tag.gpgsign=false",
    "log.showSignature=false",
    "i18n.commitEncoding=UTF-8",
    "i18n.logOutputEncoding=UTF-8",
    "protocol.ext.allow=never",
    "safe.bareRepository=all",
    "submodule.recurse=false",
    "branch.autoSetupMerge=false",
    "rebase.updateRefs=false",
    "rerere.enabled=false",
    "worktree.useRelativePaths=false",
    "advice.detachedHead=false",
    "advice.addEmbeddedRepo=false",
    "color.ui=false",
)
SETTINGS = tuple(part for setting in _SETTINGS for part in ("-c", setting))
"""Options that stand before the verb of every git command."""

_ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "GIT_EDITOR": ":",
    "GIT_SEQUENCE_EDITOR": ":",
    "GIT_PAGER": "cat",
    "GIT_MERGE_AUTOEDIT": "no",
    "GIT_OPTIONAL_LOCKS": "0",
}

_LOCKED = re.compile(r"lock.*File exists", re.IGNORECASE)
_LOCK_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
_USERINFO = re.compile(r"(\bhttps?://)[^/@\s]*@|(\b[a-z][a-z0-9+.-]*://[^/:@\s]*):[^/@\s]*@", re.IGNORECASE)
_TOKEN = re.compile(r"([?&](?:\w*token|password|key)=)[^&\s'\"]+", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_STDERR_KEPT = 16 * 1024
_GRACE = 2.0


class GitError(QuarterdeckError):
    """A git command failed; ``verb`` is its name, ``status`` its exit code (None: out of time), ``detail`` its last
    lines."""

    def __init__(self, verb: str, status: int | None, detail: str) -> None:
        how = "ran out of time" if status is None else f"failed with exit code {status}"
        super().__init__(f"git {verb} {how}" + (f": {detail}" if detail else ""))
        self.verb = verb
        self.status = status
        self.detail = detail


class MissingFolderError(GitError):
    """The folder that git was to work in is gone."""

    def __init__(self, verb: str, folder: Path) -> None:
        self.verb, self.status, self.detail = verb, -1, f"the folder {folder} is gone"
        QuarterdeckError.__init__(self, self.detail, "it was removed while it was in use")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a git command works; every path is named to git, so that it looks for none itself."""

    git_dir: Path
    common_dir: Path | None = None
    work_tree: Path | None = None
    index: Path | None = None
    objects: Path | None = None
    """Where new objects go in place of the repository."""

    def environment(self) -> dict[str, str]:
        """The variables by which git is told."""
        named = {
            "GIT_DIR": self.git_dir,
            "GIT_COMMON_DIR": self.common_dir,
            "GIT_WORK_TREE": self.work_tree,
            "GIT_INDEX_FILE": self.index,
            "GIT_OBJECT_DIRECTORY": self.objects,
        }
        told = {name: str(path) for name, path in named.items() if path is not None}
        if self.objects is not None:
            known = str((self.common_dir or self.git_dir) / "objects").replace("\\", r"\\").replace('"', r"\"")
            told["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = f'"{known}"'  # in quotes: a colon would part two folders
        return told


@dataclass(frozen=True, slots=True)
class Output:
    """What a git command said. ``truncated``: there was more than the bound, and git was stopped."""

    status: int
    stdout: bytes
    stderr: str
    truncated: bool = False

    @property
    def text(self) -> str:
        """The output without its last newline; bytes that are no UTF-8 become U+FFFD."""
        return self.stdout.decode("utf-8", "replace").rstrip("\n")

    @property
    def fields(self) -> list[str]:
        """The NUL-separated fields of the output, as file names of this system."""
        return [os.fsdecode(field) for field in self.stdout.split(b"\0") if field]


async def git(
    *args: str,
    at: Place | Path,
    environment: Mapping[str, str] | None = None,
    settings: Sequence[str] = (),
    stdin: bytes | None = None,
    timeout: float = QUICK,  # noqa: ASYNC109 - the limit and what it ends belong together
    max_bytes: int = MAX_OUTPUT,
    accept: Sequence[int] = (0,),
    holding: Sequence[int] = (),
) -> Output:
    """Run git in a repository that is named exactly (``Place``) or is looked for from a folder (``Path``).

    Waits up to about 3 s for another git to let go of a lock file. ``settings`` are further ``-c`` values,
    ``timeout`` is in seconds, ``holding`` are descriptors of locks that git keeps while it runs. Raises
    :class:`GitError` for an exit code that is not in ``accept``, ``UnavailableError`` where git is not installed.
    """
    options = [part for setting in settings for part in ("-c", setting)]
    argv = ["git", *SETTINGS, *options, *args]
    child_environment = clean_environment(os.environ) | _ENVIRONMENT | dict(environment or {})
    cwd = at
    if isinstance(at, Place):
        child_environment |= at.environment()
        cwd = at.work_tree or at.git_dir
    for pause in (*_LOCK_PAUSES, None):
        output = await _run(argv, str(cwd), child_environment, stdin, timeout, max_bytes, args[0], holding)
        if output.truncated or output.status in accept:
            return output
        if pause is None or not _LOCKED.search(output.stderr):
            break
        await asyncio.sleep(pause)
    raise GitError(args[0], output.status, last_lines(output.stderr or output.text))


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what steers git, but for the choice to ignore the system's configuration."""
    return {k: v for k, v in environ.items() if not k.startswith("GIT_") or k == "GIT_CONFIG_NOSYSTEM"}


def redact(text: str) -> str:
    """The text with passwords and tokens in URLs replaced by ``***``."""
    return _TOKEN.sub(r"\1***", _USERINFO.sub(lambda m: f"{m[1]}***@" if m[1] else f"{m[2]}:***@", text))


def last_lines(text: str, count: int = 5) -> str:
    """The last lines of an output, redacted and free of control characters, joined for one sentence."""
    lines = [line.strip() for line in _CONTROL.sub(" ", redact(text)).splitlines()]
    return " / ".join([line for line in lines if line][-count:])[-2000:]


async def identity(at: Place) -> dict[str, str]:
    """Variables that name who commits: empty where the repository or the person has set a user, else Quarterdeck."""
    known = await git("var", "GIT_COMMITTER_IDENT", at=at, settings=("user.useConfigOnly=true",), accept=(0, 1, 128))
    if known.status == 0:
        return {}
    name, email = "Quarterdeck", "quarterdeck@localhost"
    return {
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": email,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": email,
    }


async def ssh_environment(at: Place | Path) -> dict[str, str]:
    """The ssh command of the person (never of the repository, where an agent may have written it), or plain ssh that
    asks nothing."""
    scoped = await git("config", "--show-scope", "--get-all", "core.sshCommand", at=at, accept=(0, 1, 128))
    command = "ssh -o BatchMode=yes -o ControlMaster=no"
    for line in scoped.text.splitlines():
        scope, _, value = line.partition("\t")
        if scope in ("system", "global") and value:
            command = value
    return {"GIT_SSH_COMMAND": command}


async def _run(
    argv: Sequence[str],
    cwd: str,
    environment: Mapping[str, str],
    stdin: bytes | None,
    seconds: float,
    max_bytes: int,
    verb: str,
    holding: Sequence[int],
) -> Output:
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=cwd,
            env=environment,
            stdin=DEVNULL if stdin is None else PIPE,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,
            pass_fds=holding,
        )
    except (FileNotFoundError, NotADirectoryError) as error:
        if not Path(cwd).is_dir():
            raise MissingFolderError(verb, Path(cwd)) from error
        raise UnavailableError("git was not found", "install git 2.39 or newer") from error
    try:
        async with asyncio.timeout(seconds):
            async with asyncio.TaskGroup() as group:
                out = group.create_task(_read(process, max_bytes))
                err = group.create_task(_read_tail(process))
                if stdin is not None:
                    group.create_task(_write(process, stdin))
            status = await process.wait()
    except TimeoutError as error:
        raise GitError(verb, None, f"it was stopped after {seconds:g} s") from error
    finally:
        if process.returncode is None:
            await _end(process)
    data, truncated = out.result()
    return Output(status, data, err.result(), truncated)


async def _read(process: Process, max_bytes: int) -> tuple[bytes, bool]:
    assert process.stdout is not None
    chunks, size = [], 0
    while chunk := await process.stdout.read(1 << 16):
        chunks.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            await _end(process)
            return b"".join(chunks)[:max_bytes], True
    return b"".join(chunks), False


async def _read_tail(process: Process) -> str:
    assert process.stderr is not None
    tail = b""
    while chunk := await process.stderr.read(1 << 14):
        tail = (tail + chunk)[-_STDERR_KEPT:]
    return tail.decode("utf-8", "replace")


async def _write(process: Process, data: bytes) -> None:
    assert process.stdin is not None
    # A git that ends early has said why on stderr.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(data)
        await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()


async def _end(process: Process) -> None:
    _signal(process, signal.SIGTERM)
    try:
        async with asyncio.timeout(_GRACE):
            await process.wait()
    except TimeoutError:
        pass
    finally:
        _signal(process, signal.SIGKILL)
    await process.wait()


def _signal(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
