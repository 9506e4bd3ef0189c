"""Notices when something changes in the folders of runs, and wakes whoever follows that run.

On Linux the kernel tells us (inotify), for the folders of the runs that somebody follows and no others. Elsewhere, and
where the kernel refuses, ``watchfiles`` watches all of them; where that is refused too, everybody looks ten times a
second.
"""

import asyncio
import ctypes
import logging
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger("qd.engine")

_MODIFY, _MOVED_TO, _CREATE, _DELETE_SELF = 0x2, 0x80, 0x100, 0x400
_OVERFLOW, _IGNORED, _ONLY_FOLDERS, _IS_FOLDER = 0x4000, 0x8000, 0x1000000, 0x40000000
_EVENT = struct.Struct("iIII")
"""inotify(7): which watch, what happened, a cookie, the length of the name that follows."""


class Pokes:
    """Who is woken when something changes below a run's folder."""

    def __init__(self) -> None:
        self._events: dict[str, asyncio.Event] = {}
        self.began: Callable[[Path], None] = _nothing
        """Told of each run folder that somebody follows from now on."""
        self.ended: Callable[[Path], None] = _nothing

    def of(self, folder: Path) -> asyncio.Event:
        """The event that is set whenever a file in this run's folder changes."""
        if folder.name not in self._events:
            self._events[folder.name] = asyncio.Event()
            self.began(folder)
        return self._events[folder.name]

    def poke(self, name: str) -> None:
        """Wake whoever follows the run whose folder has this name."""
        if event := self._events.get(name):
            event.set()

    def poke_all(self) -> None:
        """Wake everybody: when it is unknown what changed."""
        for event in self._events.values():
            event.set()

    def forget(self, folder: Path) -> None:
        """The run has ended."""
        if self._events.pop(folder.name, None):
            self.ended(folder)

    def names(self) -> list[str]:
        """The names of the folders that are followed."""
        return list(self._events)


async def watch_runs(runs: Path, pokes: Pokes) -> None:
    """Poke until cancelled."""
    runs.mkdir(parents=True, exist_ok=True, mode=0o700)
    while True:
        try:
            if sys.platform == "linux":
                await _watch_by_inotify(runs, pokes)
            else:
                await _watch_by_watchfiles(runs, pokes)
        except (OSError, RuntimeError) as error:
            log.warning("files below %s cannot be watched (%s); looking at them instead", runs, error)
            for _ in range(600):
                pokes.poke_all()
                await asyncio.sleep(0.1)


async def _watch_by_inotify(runs: Path, pokes: Pokes) -> None:
    loop = asyncio.get_running_loop()
    watch = _Inotify(runs, pokes)
    try:
        loop.add_reader(watch.file, watch.read)
        pokes.began, pokes.ended = watch.follow, watch.leave
        for name in pokes.names():
            watch.follow(runs / name)
        pokes.poke_all()
        await watch.refused.wait()
        raise OSError("the kernel watches no more folders; raise fs.inotify.max_user_watches")
    finally:
        pokes.began = pokes.ended = _nothing
        loop.remove_reader(watch.file)
        os.close(watch.file)


async def _watch_by_watchfiles(runs: Path, pokes: Pokes) -> None:
    from watchfiles import awatch

    start = len(str(runs)) + 1
    async for changes in awatch(runs, debounce=50, step=20):
        for _, path in changes:
            pokes.poke(path[start:].split("/", 1)[0])


class _Inotify:
    """The kernel's watch on run folders and the folders in them, where gates have theirs."""

    def __init__(self, runs: Path, pokes: Pokes) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._pokes = pokes
        self._folders: dict[int, tuple[Path, str]] = {}
        """By the number of the watch: the folder, and the name of the run ('' for the folder of all runs)."""
        self.refused = asyncio.Event()
        self.file: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.file < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._add(runs, "")

    def follow(self, folder: Path) -> None:
        """Watch a run folder; one that is not there yet is noticed when it is made."""
        self._add(folder, folder.name)
        for entry in _folders_in(folder):
            self._add(entry, folder.name)

    def leave(self, folder: Path) -> None:
        """Watch a run folder no more."""
        for watch in [watch for watch, (_, name) in self._folders.items() if name == folder.name]:
            self._libc.inotify_rm_watch(self.file, watch)
            del self._folders[watch]

    def read(self) -> None:
        """Take what the kernel tells and poke."""
        try:
            data = os.read(self.file, 1 << 16)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size
            self._heed(watch, mask, data[at : at + length].rstrip(b"\0"))
            at += length

    def _heed(self, watch: int, mask: int, entry: bytes) -> None:
        if mask & _OVERFLOW:
            self._pokes.poke_all()
            return
        known = self._folders.get(watch)
        if known is None:
            return
        if mask & _IGNORED:
            del self._folders[watch]
            return
        folder, name = known
        if mask & _IS_FOLDER and mask & (_CREATE | _MOVED_TO):
            made = folder / os.fsdecode(entry)
            if name:
                self._add(made, name)
            elif made.name in self._pokes.names():
                self.follow(made)
        # What was written into a folder before it was watched is found by looking.
        self._pokes.poke(name or os.fsdecode(entry))

    def _add(self, folder: Path, name: str) -> None:
        wanted = _MODIFY | _MOVED_TO | _CREATE | _DELETE_SELF | _ONLY_FOLDERS
        watch = self._libc.inotify_add_watch(self.file, os.fsencode(folder), wanted)
        if watch >= 0:
            self._folders[watch] = (folder, name)
        elif ctypes.get_errno() == 28:  # ENOSPC: the limit of the user
            self.refused.set()


def _folders_in(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if entry.is_dir()]
    except OSError:
        return []


def _nothing(_: Path) -> None:
    return
