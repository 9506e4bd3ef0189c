"""How the screen lives and dies with its terminal: hang-up, end of input, signals, crashes; and how it calls the person.

It is a viewer: whatever becomes of it, the work goes on. So it ends within a second whenever its terminal does, gives the terminal back as it
was, and never spins on an input that has ended.
"""

import contextlib
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from textual.drivers.linux_driver import LinuxDriver
from textual.events import Resize
from textual.geometry import Size

from config.settings import ScreenSettings
from storage.queries.screen import Need

if TYPE_CHECKING:
    from tui.app import QuarterdeckApp

_PUSH_TITLE, _POP_TITLE = "\x1b[22;2t", "\x1b[23;2t"
"""Source: xterm's control sequences, window manipulation; a terminal that does not know them lets them be."""
GRACE_SECONDS = 0.8
"""After so long a screen that was told to end is ended."""


@dataclass
class Lifeline:
    """What ties one screen to its terminal and its person."""

    logs: Path | None = None
    """Where reports of crashes are written."""
    starts_engine: bool = True
    """Whether the engine is started once there is a database and none runs."""
    wishes: ScreenSettings = field(default_factory=ScreenSettings)
    """Whether and when it may ring."""
    bell: bool = True
    """Whether it rings at all, whatever is wished."""
    on_terminal: bool = False
    """Whether there is a real terminal to watch."""
    in_tmux: bool = False
    """Whether the terminal is tmux, which keeps what it does not know from the terminal of the person."""
    hung_up: bool = False
    """Whether the terminal is gone."""
    report: str = ""
    """The sentence about a crash."""
    names: dict[str, list[str]] = field(default_factory=dict)
    """What exists, for completion: kind → names."""
    _app: "QuarterdeckApp | None" = None
    _told: set[tuple[str, str]] | None = None
    _counted: int | None = None

    def attach(self, app: "QuarterdeckApp") -> None:
        """Watch over the app, in its event loop."""
        self._app = app
        if self.on_terminal:
            for number in (signal.SIGHUP, signal.SIGTERM):
                signal.signal(number, self._signalled)
            threading.Thread(target=self._watch_input, name="end of input", daemon=True).start()

    def sized(self, event: Resize) -> Resize:
        """What is told of the terminal's size, with the size that it has now.

        Signals may interrupt each other's handlers: what was read first may be told last, and nothing comes after it to put that right.
        """
        driver = self._app._driver if self._app is not None else None  # noqa: SLF001 - the driver knows how the terminal is asked
        if not self.on_terminal or not isinstance(driver, LinuxDriver) or driver._in_band_window_resize:  # noqa: SLF001
            return event
        now = Size(*driver._get_terminal_size())  # noqa: SLF001
        return event if now == event.size else Resize(now, now)

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        self.hung_up = number == signal.SIGHUP
        self.leave(128 + number)

    def leave(self, code: int) -> None:
        """End the screen from wherever; the process is ended when that takes too long, for nothing here is worth waiting for."""
        timer = threading.Timer(GRACE_SECONDS, os._exit, (code,))
        timer.daemon = True
        timer.start()
        app = self._app
        if app is not None and app._loop is not None:  # noqa: SLF001 - the only way from a thread that may be no app's
            with contextlib.suppress(RuntimeError):
                app._loop.call_soon_threadsafe(lambda: app.exit(return_code=code))  # noqa: SLF001

    def _watch_input(self) -> None:
        """Notice that the terminal has hung up: its reading end then is ready for ever and holds nothing."""
        poll = select.poll()
        poll.register(sys.__stdin__.fileno() if sys.__stdin__ else 0, 0)  # hang-up and errors are always told
        while self._app is not None:
            for _, event in poll.poll(1000):
                if event & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
                    self.hung_up = True
                    self.leave(128 + signal.SIGHUP)
                    return

    def crashed(self) -> None:
        """Write down the error that is being handled, without the values of variables, and keep the sentence for the end."""
        kind, error, _ = sys.exc_info()
        name = kind.__name__ if kind else "unknown"
        self.report = f"qd: the screen ended by an internal error ({name})"
        if self.logs is None or error is None:
            return
        try:
            self.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
            where = self.logs / f"crash-{datetime.now():%Y%m%dT%H%M%S}-{os.getpid()}.txt"  # noqa: DTZ005 - the name of a file, for people
            where.write_text("".join(traceback.format_exception(error)), "utf-8", "backslashreplace")
            self.report += f"; the report is in {where}"
        except OSError as trouble:
            self.report += f"; no report could be written ({trouble.strerror})"
        self.report += ". The crew goes on working; start `qd` again."

    # ── calling the person ──────────────────────────────────────────────────────────────────────────────────────────

    def entitle(self, count: int) -> None:
        """Have the title of the terminal say how many things need the person."""
        if count != self._counted:
            if self._counted is None:
                self._write(_PUSH_TITLE)
            self._counted = count
            self._write(f"\x1b]2;{f'({count}) ' if count else ''}Quarterdeck\x07")

    def give_title_back(self) -> None:
        """Let the terminal have the title that it had before."""
        if self._counted is not None:
            self._counted = None
            self._write(_POP_TITLE)

    def alert(self, needs: Sequence[Need]) -> None:
        """Ring once for each thing that needs the person and did not before: bell and notification (OSC 9)."""
        app = self._app
        if app is None:
            return
        fresh = [need for need in needs if self._told is not None and (need.kind, need.key) not in self._told]
        self._told = {(need.kind, need.key) for need in needs}
        if fresh and self.bell and self.wishes.bell and not self.silent(app.store.now().astimezone().time()):
            from tui.clipboard import passed_through
            from tui.ink import plain

            words = plain(f"{fresh[0].kind}: {fresh[0].title}")[:120]
            more = f" (and {len(fresh) - 1} more)" if len(fresh) > 1 else ""
            notice = f"\x1b]9;Quarterdeck: {words}{more}\x07"
            self._write("\x07" + (passed_through(notice) if self.in_tmux else notice))

    def _write(self, sequence: str) -> None:
        """Tell the terminal something that is not painted."""
        app = self._app
        if app is not None and not app.is_headless and app._driver is not None:  # noqa: SLF001
            app._driver.write(sequence)  # noqa: SLF001

    def silent(self, at: time) -> bool:
        """Whether nothing is to ring at this time; quiet hours may go over midnight."""
        if self.wishes.quiet_hours is None:
            return False
        begin, end = map(time.fromisoformat, self.wishes.quiet_hours.split("-"))
        return begin <= at < end if begin <= end else at >= begin or at < end

    def known(self, kind: str) -> list[str]:
        """Names for completion."""
        return self.names.get(kind, [])
