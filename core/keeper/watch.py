"""The keeper's life with one run: start it, spool what it says, hold its limits, end all of it, write how it ended.

One thread, one ``poll``. A run goes through stages, each with a time at which the next begins by itself:
``running`` → ``interrupting`` (SIGINT to the agent's group) → ``terminating`` (SIGTERM to every process) → ``killing``.
When the agent itself has ended, what it left behind is ``draining``: it may end by itself before it is terminated.
A run is over when no child is left (as subreaper the keeper inherits every orphan) and no process carries the mark.
"""

import binascii
import fcntl
import os
import select
import sys
import time

from core.keeper import record
from core.keeper.control import Server
from core.keeper.pipes import Input, Output
from core.keeper.spawn import Child, SpawnError, adopt_orphans, spawn
from core.keeper.tree import MARK, PROC, descendants, generations, group, is_stopped, marked, memory, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any
else:
    import _signal as signal  # see spawn

_MEMORY_SECONDS = 2.0
_SCAN_SECONDS = 0.1
_KILL_ROUND_SECONDS = 0.02
_KILL_SECONDS = 20.0  # after SIGKILL only a process that hangs in the kernel is still there
_LOOK_SECONDS = 3600.0
_FINAL_READS = 1024


def keep(ready: int) -> int:
    """Run what ``spec.json`` of the working directory says to its end; returns the exit code of the keeper itself."""
    lock = _lock()
    if lock < 0:
        sys.stderr.write("another keeper holds this folder\n")
        return 1
    started = time.time()
    for ignored in (signal.SIGHUP, signal.SIGINT):
        signal.signal(ignored, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    run = None
    try:
        record.reserve_exit()
        run = Run(record.take_spec(), started)
        record.write_started(run.child.pid, started)
    except (SpawnError, OSError, ValueError, KeyError, TypeError) as error:
        if run is not None:
            run.fail(f"the keeper failed: {error!r}")
            run.server.close()
        detail = str(error) if isinstance(error, SpawnError) else f"the run cannot be set up: {error!r}"
        record.write_exit(record.ending("spawn_failed", detail, started))
        _tell(ready)
        return 0
    # Loaded now, when the agent is on its way, and not when they are needed, when an upgrade may have moved them.
    import resource  # noqa: F401  wait4 looks for it

    from core.keeper.verbs import Verbs

    run.server.answer = Verbs(run).answer
    _tell(ready)
    _spare_from_memory_killer()
    try:
        run.watch()
    except Exception as error:  # noqa: BLE001  whatever it is, the processes must not stay and the end must be told
        sys.excepthook(type(error), error, error.__traceback__)
        run.fail(f"the keeper failed: {error!r}")
    try:
        record.write_exit(run.ending())
    finally:
        os.close(lock)
        run.server.close()
    return 0


class Run:
    """One run and all its processes."""

    def __init__(self, spec: "dict[str, Any]", started: float) -> None:
        """Start the process; raises SpawnError, OSError, or KeyError, TypeError, ValueError for a malformed spec."""
        self.mark: str = spec["mark"]
        self.limits: dict[str, float | None] = spec["limits"]
        self.grace: dict[str, float] = spec["grace"]
        self.started = started
        self.stage = "running"
        self.reason = ""
        self.detail = ""
        self.status: int | None = None  # of the agent, as wait4 gives it
        self.max_rss = 0
        self.leftovers: set[int] = set()
        self.paused_at: float | None = None
        self._paused_for = 0.0
        self._stopped: set[int] = set()  # by us; what was stopped before is not ours to continue
        self._childless = self._told_to_end = False
        self._deadline = self._next_memory = self._next_scan = 0.0

        self._wake = self._wake_on_signals()
        self._poll = select.poll()
        opening = binascii.a2b_base64(spec["opening"])
        self.out, self.err = Output(record.STDOUT), Output(record.STDERR)
        adopt_orphans()
        self.server = Server(spec["socket"], self._poll)
        try:
            env = {**spec["env"], MARK: self.mark}
            self.child: Child = spawn(spec["argv"], env, spec["cwd"], stdin=spec["stdin"] == "pipe")
        except BaseException:
            self.server.close()
            raise
        self._begun = self._last_sign = time.monotonic()
        self.input = Input(self.child.stdin, opening, close=bool(spec["close_stdin"]))
        self.out.file, self.err.file = self.child.stdout, self.child.stderr
        for file in (self._wake, self.out.file, self.err.file):
            self._poll.register(file, select.POLLIN)
        if self.input.file >= 0:
            self._poll.register(self.input.file, 0)
            self.pump()

    # -- what clients may ask for; see verbs ---------------------------------------------------------------------------

    def pump(self) -> None:
        """Pass on what waits for the agent."""
        file = self.input.file
        self.input.pump()
        if file >= 0:
            if self.input.file >= 0:
                self._poll.modify(file, self.input.events())
            else:
                self._poll.unregister(file)

    def touch(self) -> None:
        """Begin the idle time anew: an agent that was just spoken to may take its time to answer."""
        self._last_sign = self.active(time.monotonic())

    def interrupt(self) -> None:
        """Send SIGINT to the agent's process group, as a terminal would; nothing when the agent has ended."""
        if self.status is None:
            try:
                os.killpg(self.child.pid, signal.SIGINT)
            except (ProcessLookupError, PermissionError):
                return

    def pause(self) -> None:
        """Stop every process of the run, and the clock; again until none is left that was forked meanwhile."""
        if self.paused_at is None:
            self.paused_at = time.monotonic()
        for _ in range(50):
            fresh = [pid for pid in self.tree() if pid not in self._stopped and not is_stopped(pid)]
            if not fresh:
                return
            send(fresh, signal.SIGSTOP)
            self._stopped.update(fresh)

    def resume(self) -> None:
        """Continue the processes that were stopped by us, and the clock."""
        if self.paused_at is not None:
            self._paused_for += time.monotonic() - self.paused_at
            self.paused_at = None
        send([pid for pid in self.tree() if pid in self._stopped], signal.SIGCONT)
        self._stopped.clear()

    def end(self, reason: str, detail: str, grace: "dict[str, float] | None" = None) -> None:
        """Begin to end the run, or hurry: given again it only shortens what is left of the present stage."""
        self._blame(reason, detail)
        self.grace = grace or self.grace
        now = time.monotonic()
        if self.stage == "running":
            self._enter("interrupting", now)
        elif self.stage == "draining":
            self._enter("terminating", now)
        elif self.stage in ("interrupting", "terminating"):
            name = "interrupt_seconds" if self.stage == "interrupting" else "terminate_seconds"
            self._deadline = min(self._deadline, now + self.grace[name])

    def kill(self, reason: str, detail: str) -> None:
        """End the run without any grace."""
        self._blame(reason, detail)
        if self.stage != "killing":
            self._enter("killing", time.monotonic())

    def tree(self) -> list[int]:
        """Every process of the run, parents before children."""
        found = descendants(os.getpid()) + marked(self.mark) + ([] if PROC else group(self.child.pid))
        return list(dict.fromkeys(found))

    def active(self, now: float) -> float:
        """Seconds of a clock that stands still while the run is paused."""
        return (now if self.paused_at is None else self.paused_at) - self._paused_for

    # -- the loop ------------------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Stay until the run is over."""
        while (seconds := self._step(time.monotonic())) is not None:
            for file, events in self._poll.poll(int(min(seconds, _LOOK_SECONDS) * 1000) + 1):
                if file == self._wake:
                    os.read(self._wake, 4096)
                    self._reap()
                elif file == self.input.file:
                    if events & (select.POLLERR | select.POLLHUP | select.POLLNVAL):
                        self.input.closing = True
                        self.input.buffer.clear()
                    self.pump()
                elif file in (self.out.file, self.err.file):
                    self._spool(self.out if file == self.out.file else self.err)
                else:
                    self.server.handle(file, events)
        self._finish()

    def fail(self, detail: str) -> None:
        """End everything at once, without the loop: it is the loop that failed."""
        self.kill("stopped", detail)
        until = time.monotonic() + _KILL_SECONDS
        while not self._childless and time.monotonic() < until:
            self._kill_round()
            time.sleep(_KILL_ROUND_SECONDS)

    def ending(self) -> "dict[str, Any]":
        """How the run ended, for the record."""
        times = os.times()
        code = None if self.status is None else os.waitstatus_to_exitcode(self.status)
        died = code is not None and code < 0
        reason = self.reason or ("signalled" if died else "exited")
        ending = record.ending(reason, self.detail, self.started)
        return ending | {
            "exit_code": None if died else code,
            "signal": -code if code is not None and died else None,
            "cpu_seconds": round(times.children_user + times.children_system, 3),
            "max_rss_bytes": self.max_rss,
            "out_bytes": self.out.size,
            "err_bytes": self.err.size,
            "leftovers_killed": len(self.leftovers),
        }

    def _step(self, now: float) -> float | None:
        """Do what is due; returns the seconds until something will be due, None when the run is over."""
        if self._told_to_end:
            self._told_to_end = False
            self.end("stopped", "keeper terminated")
        if self.stage == "running":
            return self._hold_limits(now)
        if self.stage == "killing":
            self._kill_round()
        if self._childless and now >= self._next_scan:
            self._next_scan = now + _SCAN_SECONDS
            if not marked(self.mark) and (PROC or not group(self.child.pid)):
                return None
        if now >= self._deadline:
            if self.stage == "killing":
                self.detail = f"{self.detail}; {len(self.tree())} processes cannot be killed".removeprefix("; ")
                return None
            self._enter("killing" if self.stage == "terminating" else "terminating", now)
            return 0.0
        pace = _KILL_ROUND_SECONDS if self.stage == "killing" else _SCAN_SECONDS if self._childless else 60.0
        return min(pace, self._deadline - now)

    def _hold_limits(self, now: float) -> float:
        """End the run when it breaks a limit; returns the seconds until the next look."""
        if self.paused_at is not None:
            return float("inf")
        wait = float("inf")
        active = self.active(now)
        for name, since, sentence in (
            ("wall", self._begun, "it ran for longer than {:g} s"),
            ("idle", self._last_sign, "it said nothing for {:g} s"),
        ):
            seconds = self.limits[f"{name}_seconds"]
            if seconds is not None:
                if active - since >= seconds:
                    self.end("time_limit" if name == "wall" else "idle_limit", sentence.format(seconds))
                    return 0.0
                wait = min(wait, since + seconds - active)
        limit = self.limits["memory_bytes"]
        if limit is not None:
            if now >= self._next_memory:
                self._next_memory = now + _MEMORY_SECONDS
                used = memory(descendants(os.getpid()) if PROC else self.tree(), int(limit))
                self.max_rss = max(self.max_rss, used)
                if used > limit:
                    # No grace: a process that eats memory takes the others down while it is asked to stop.
                    self.kill("memory_limit", f"it used {used} of {int(limit)} bytes of memory")
                    return 0.0
            wait = min(wait, self._next_memory - now)
        return wait

    def _enter(self, stage: str, now: float) -> None:
        self.stage = stage
        if self.paused_at is not None and stage != "killing":
            self.resume()
        if stage == "interrupting":
            self._deadline = now + self.grace["interrupt_seconds"]
            self.interrupt()
        elif stage == "draining":
            self._deadline = now + self.grace["drain_seconds"]
        elif stage == "terminating":
            self._deadline = now + self.grace["terminate_seconds"]
            pids = self.tree()
            if self.status is not None:
                self.leftovers.update(pids)
            send(pids, signal.SIGTERM)
            send(pids, signal.SIGCONT)
        else:
            self._deadline = now + _KILL_SECONDS
            _hurry()

    def _kill_round(self) -> None:
        """Stop all, so that none can fork while the others die, then kill all."""
        stopped: set[int] = set()
        for _ in range(50):
            before = len(stopped)
            # Each generation at once when it is known: who forks and exits all the time is gone a moment later.
            for generation in generations(os.getpid()):
                fresh = [pid for pid in generation if pid not in stopped]
                send(fresh, signal.SIGSTOP)
                stopped.update(fresh)
            if len(stopped) == before:
                break
        outside = [pid for pid in self.tree() if pid not in stopped]
        send(outside, signal.SIGSTOP)
        stopped.update(outside)
        self.leftovers |= stopped - {self.child.pid}
        send(stopped, signal.SIGKILL)
        self._reap()

    def _reap(self) -> None:
        """Take leave of every child that has ended, the agent and adopted orphans alike."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                self._childless = True
                return
            if pid == 0:
                self._childless = False
                return
            self.max_rss = max(self.max_rss, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
            if pid == self.child.pid:
                self.status = status
                if self.stage in ("running", "interrupting"):
                    self._enter("draining", time.monotonic())

    def _spool(self, pipe: Output) -> bool:
        """Append what has come to the spool, up to the limit; returns whether there may be more."""
        data = pipe.read()
        if data is None:
            return False
        if not data:
            self._poll.unregister(pipe.file)
            pipe.close()
            return False
        self.touch()
        if self.reason in ("output_limit", "spool_failed"):
            return True  # read on, so that it is not stuck in a write while it ends
        limit = self.limits["output_bytes"]
        room = len(data) if limit is None else max(0, int(limit) - self.out.size - self.err.size)
        try:
            pipe.append(data[:room])
        except OSError as error:
            self._break_off("spool_failed", f"the output cannot be written to the disk: {error.strerror}")
        else:
            if len(data) > room:
                self._break_off("output_limit", f"it wrote more than {limit} bytes")
        return True

    def _break_off(self, reason: str, detail: str) -> None:
        """End the run because output is being lost, which is the truth about it whatever else has happened."""
        self.reason, self.detail = reason, detail
        self.end(reason, detail)

    def _blame(self, reason: str, detail: str) -> None:
        """The first cause is the reason, and an agent that had ended by itself has ended by itself."""
        if not self.reason and self.status is None:
            self.reason, self.detail = reason, detail

    def _wake_on_signals(self) -> int:
        """Notice the end of children and SIGTERM; returns a file that can be read when one has come."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_terminate)
        return reader

    def _on_terminate(self, *_: object) -> None:
        self._told_to_end = True

    def _finish(self) -> None:
        """Read what is left in the pipes; all who wrote are dead, so that it has an end."""
        for pipe in (self.out, self.err):
            for _ in range(_FINAL_READS):
                if pipe.file < 0 or not self._spool(pipe):
                    break


def _lock() -> int:
    """Take the lock of the folder; returns its file, or -1 when another keeper has it."""
    file = os.open(record.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(100):  # somebody who looks whether we live holds it for a moment
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.01)
        else:
            os.ftruncate(file, 0)
            os.write(file, f"{os.getpid()}\n".encode())
            return file
    return -1


def _tell(ready: int) -> None:
    """Tell the starter that there is something to read."""
    if ready >= 0:
        try:
            os.write(ready, f"{os.getpid()}\n".encode())
        except BrokenPipeError:
            pass  # the starter has died; the run goes on
        os.close(ready)


def _hurry() -> None:
    """Where we may, go before the processes that are to be killed, however many want to run."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    except OSError:
        return


def _spare_from_memory_killer() -> None:
    """Where we may, have the kernel take any other process first: without a keeper nobody ends the tree."""
    try:
        with open("/proc/self/oom_score_adj", "wb") as file:
            file.write(b"-800")
    except OSError:
        return
