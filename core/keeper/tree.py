"""The processes of a run: which they are, what memory they use, and how a signal reaches them.

A process belongs to a run when it descends from the keeper, or when its environment carries the mark of the run
(``QD_RUN_MARK``), which children inherit whatever sessions and groups they make. On Linux both are read from ``/proc``.
Elsewhere ``ps`` is asked: there nobody adopts orphans for the keeper, so that a process which left the group of the
agent *and* hides its environment is not found.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MARK = "QD_RUN_MARK"
PROC = os.path.exists("/proc/self/environ")
_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def descendants(root: int) -> list[int]:
    """All processes below ``root``, parents before their children; ``root`` itself is not among them."""
    return [pid for generation in generations(root) for pid in generation]


def generations(root: int) -> "Iterator[list[int]]":
    """The children of ``root``, then all grandchildren, and so on: each looked up when it is asked for."""
    table = {} if _CHILDREN else _by_parent()
    seen = {root}
    generation = [root]
    while generation:
        children = [pid for one in generation for pid in (_children_of(one) if _CHILDREN else table.get(one, ()))]
        generation = [pid for pid in children if pid not in seen]
        seen.update(generation)
        if generation:
            yield generation


def marked(mark: str) -> list[int]:
    """The living processes whose environment carries this mark, never the caller itself."""
    return marks().get(mark, [])


def marks() -> dict[str, list[int]]:
    """Every mark that a living process carries, with the processes that carry it."""
    found: dict[str, list[int]] = {}
    prefix = b"\0" + MARK.encode() + b"="
    for pid, environment in _environments():
        at = (b"\0" + environment).find(prefix)
        if at >= 0 and pid != os.getpid():
            mark = environment[at + len(prefix) - 1 :].split(b"\0", 1)[0]
            found.setdefault(mark.decode(errors="replace"), []).append(pid)
    return found


def group(leader: int) -> list[int]:
    """The processes in the process group of ``leader``, for systems that cannot tell descendants of the dead."""
    return [pid for pid, rest in _ps("-axo", "pid=,pgid=") if int(rest) == leader]


def is_stopped(pid: int) -> bool:
    """Whether the process is stopped by a signal already."""
    if not PROC:
        return any(rest.startswith(b"T") for _, rest in _ps("-o", "pid=,stat=", "-p", str(pid)))
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[:1] == [b"T"]


def memory(pids: "Iterable[int]", limit: int | None = None) -> int:
    """Resident memory of these processes, bytes.

    The sum of their resident sets counts shared pages many times; where it exceeds ``limit`` the proportional sizes,
    which take longer to find out, are summed in its place.
    """
    pids = list(pids)
    if not PROC:
        rows = _ps("-o", "pid=,rss=", "-p", ",".join(map(str, pids))) if pids else []
        return sum(int(size) for _, size in rows) * 1024
    page = os.sysconf("SC_PAGE_SIZE")
    sizes = {pid: int((_read(f"/proc/{pid}/statm").split() or [b"0", b"0"])[1]) * page for pid in pids}
    if limit is not None and sum(sizes.values()) > limit:
        for pid in pids:
            for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
                if line.startswith(b"Pss:"):
                    sizes[pid] = int(line.split()[1]) * 1024
    return sum(sizes.values())


def send(pids: "Iterable[int]", number: int) -> None:
    """Send a signal to each process; one that has ended or belongs to somebody else is passed over."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def _children_of(parent: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{parent}/task")
    except OSError:
        return []
    return [int(pid) for thread in threads for pid in _read(f"/proc/{parent}/task/{thread}/children").split()]


def _by_parent() -> dict[int, list[int]]:
    """Find children from one look at all processes, where the kernel does not list them per process."""
    table: dict[int, list[int]] = {}
    if PROC:
        for pid in _pids():
            fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
            if len(fields) > 1:
                table.setdefault(int(fields[1]), []).append(pid)
    else:
        for own, rest in _ps("-axo", "pid=,ppid="):
            table.setdefault(int(rest), []).append(own)
    return table


def _environments() -> "Iterable[tuple[int, bytes]]":
    if PROC:
        for pid in _pids():
            yield pid, _read(f"/proc/{pid}/environ")
    else:
        for own, rest in _ps("axeww", "-o", "pid=,command="):
            yield own, rest.replace(b" ", b"\0")


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _read(path: str) -> bytes:
    """What a file of ``/proc`` says, empty when the process is gone or hidden."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return _read_all(file)
    except OSError:
        return b""
    finally:
        os.close(file)


def _read_all(file: int) -> bytes:
    chunks = []
    while chunk := os.read(file, 65536):
        chunks.append(chunk)
    return b"".join(chunks)


def _ps(*arguments: str) -> list[tuple[int, bytes]]:
    """What ``ps`` prints: each pid with the rest of its line, without ``ps`` itself.

    The module ``subprocess`` would double what the keeper weighs.
    """
    reader, writer = os.pipe()
    try:
        actions = [(os.POSIX_SPAWN_DUP2, writer, 1)]
        own = os.posix_spawnp("ps", ["ps", *arguments], {"PATH": os.defpath}, file_actions=actions)
    finally:
        os.close(writer)
    try:
        output = _read_all(reader)
    finally:
        os.close(reader)
        os.waitpid(own, 0)
    rows = (line.strip().partition(b" ") for line in output.splitlines())
    return [(int(pid), rest.strip()) for pid, _, rest in rows if pid.isdigit() and int(pid) != own]
