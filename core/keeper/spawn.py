"""How the keeper starts the process that it keeps.

What the keeper loads is chosen for its weight: no ``pathlib``, ``typing``, ``signal``, ``socket``, ``subprocess``
before the agent runs, since each takes longer to load than all that is done here.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    # The same functions; the module `signal` only adds enumerations, which take 4 ms to load.
    import _signal as signal

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


class SpawnError(Exception):
    """The process could not be started; the message is a sentence for people."""


class Child:
    """A process that was started: its pid and our ends of its pipes (``stdin`` is -1 where it has none)."""

    __slots__ = ("pid", "stderr", "stdin", "stdout")

    def __init__(self, pid: int, stdin: int, stdout: int, stderr: int) -> None:
        self.pid, self.stdin, self.stdout, self.stderr = pid, stdin, stdout, stderr


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends (Linux; elsewhere nothing happens)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def spawn(argv: list[str], env: dict[str, str], cwd: str, *, stdin: bool) -> Child:
    """Start a program in a session of its own, with pipes for its output and, if asked for, its input.

    Where the kernel can, it is killed when the keeper dies. It finds the default signal dispositions and no file but
    the three. Raises SpawnError when the folder cannot be entered or the program cannot be executed.
    """
    if not argv or not argv[0]:
        raise SpawnError("no program is named")
    told, tell = os.pipe()
    theirs_in, ours_in = os.pipe() if stdin else (os.open(os.devnull, os.O_RDONLY), -1)
    ours_out, theirs_out = os.pipe()
    ours_err, theirs_err = os.pipe()
    keeper = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(argv, env, cwd, keeper, (theirs_in, theirs_out, theirs_err), tell)
    for file in (tell, theirs_in, theirs_out, theirs_err):
        os.close(file)
    failure = os.read(told, 4096)
    os.close(told)
    if failure:
        os.waitpid(pid, 0)
        raise SpawnError(failure.decode(errors="replace"))
    for file in (ours_in, ours_out, ours_err):
        if file >= 0:
            os.set_blocking(file, False)
    return Child(pid, ours_in, ours_out, ours_err)


def _become(
    argv: list[str], env: dict[str, str], cwd: str, keeper: int, files: tuple[int, int, int], tell: int
) -> None:
    """Turn the forked process into the program; never returns. The pipe ``tell`` closes by itself on success."""
    sentence = "the process cannot be prepared"
    try:
        os.setsid()
        for number, file in enumerate(files):
            os.dup2(file, number)
        for number in range(1, signal.NSIG):
            if signal.getsignal(number) not in (signal.SIG_DFL, None):
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(127)
        sentence = f"the working folder {cwd!r} cannot be entered"
        os.chdir(cwd)
        sentence = f"the program {argv[0]!r} cannot be started"
        _execute(argv, env)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        os.write(tell, f"{sentence}: {why}".encode(errors="replace")[:4096])
    finally:
        os._exit(127)


def _execute(argv: list[str], env: dict[str, str]) -> None:
    """Replace this process by the program, looked up in the PATH of ``env``; raises OSError when it cannot."""
    if "/" in argv[0]:
        os.execve(argv[0], argv, env)
    denied: OSError | None = None
    for folder in env.get("PATH", os.defpath).split(os.pathsep):
        try:
            os.execve(os.path.join(folder, argv[0]), argv, env)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            denied = error
    raise denied or OSError(2, "it is in no folder of PATH")


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        try:
            from ctypes import CDLL
        except ImportError:
            return  # a Python built without it: the mark alone has to find escaped processes
        CDLL(None).prctl(option, value, 0, 0, 0)
