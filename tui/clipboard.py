"""The clipboard, told honestly: what was handed to whom, and that nobody can know whether a terminal took it.

``raw`` asks the terminal (OSC 52), which works over SSH where the terminal allows it; ``tmux`` gives it to tmux, which
asks the terminal in turn; ``native`` runs the program of this machine's desktop; ``auto`` chooses. What is too large,
or nobody takes, is saved to a file.
"""

import asyncio
import base64
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from config.errors import QuarterdeckError

if TYPE_CHECKING:
    from tui.app import QuarterdeckApp

Mode = Literal["auto", "raw", "tmux", "native", "off"]
LIMIT = 74_000
"""Bytes that are offered to a terminal: the most that xterm and those like it take."""
_SECONDS = 3.0
_NATIVE: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("WAYLAND_DISPLAY", "wl-copy", ()),
    ("DISPLAY", "xclip", ("-selection", "clipboard", "-in")),
    ("DISPLAY", "xsel", ("--clipboard", "--input")),
)
"""Which variable says that a program may work, and how it is called."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What became of a copy, in words; ``tone`` as :meth:`tui.app.QuarterdeckApp.say` takes it."""

    words: str
    tone: Literal["ok", "note", "warn"] = "ok"


@dataclass(frozen=True)
class Clipboard:
    """Where copies go. ``write`` sends a control sequence to the terminal; ``folder`` holds what goes to a file."""

    environ: Mapping[str, str]
    write: Callable[[str], None]
    folder: Path
    now: Callable[[], datetime]
    mode: Mode = "auto"
    limit: int = LIMIT
    """Bytes of text that are offered to a terminal or to tmux."""

    async def copy(self, text: str) -> Copied:
        """Hand a text on. Raises :class:`QuarterdeckError` when it can neither be handed on nor saved."""
        if not text:
            return Copied("nothing to copy", "note")
        data = text.encode("utf-8", "replace")
        mode = self._chosen()
        if mode == "off":
            return Copied(f"the clipboard is off: {self._save(data)}", "note")
        if mode == "native":
            return await self._native(data)
        if len(data) > self.limit:
            limit = size(self.limit)
            return Copied(f"{size(len(data))} is more than a terminal takes ({limit}): {self._save(data)}", "warn")
        if mode == "tmux" and await self._tmux(data):
            return Copied(f"in tmux's buffer, and sent to the terminal, {size(len(data))}; it may refuse")
        self.write(_osc52(data, in_tmux=mode == "tmux"))
        return Copied(f"sent to the terminal, {size(len(data))}; it may refuse")

    def _chosen(self) -> Mode:
        if self.mode != "auto":
            return self.mode
        remote = any(self.environ.get(name) for name in ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT"))
        if not remote and self._program() is not None:
            return "native"
        return "tmux" if self.environ.get("TMUX") else "raw"

    def _program(self) -> tuple[str, Sequence[str]] | None:
        path = self.environ.get("PATH")
        if sys.platform == "darwin" and (found := shutil.which("pbcopy", path=path)):
            return found, ()
        for variable, name, arguments in _NATIVE:
            if self.environ.get(variable) and (found := shutil.which(name, path=path)):
                return found, arguments
        return None

    async def _native(self, data: bytes) -> Copied:
        program = self._program()
        if program is None:
            words = "no clipboard program is here (wl-copy, xclip, xsel or pbcopy, and a desktop)"
            return Copied(f"{words}: {self._save(data)}", "warn")
        name = Path(program[0]).name
        if await _fed([program[0], *program[1]], data, self.environ):
            return Copied(f"copied {size(len(data))} with {name}")
        return Copied(f"{name} does not take it: {self._save(data)}", "warn")

    async def _tmux(self, data: bytes) -> bool:
        found = shutil.which("tmux", path=self.environ.get("PATH"))
        return found is not None and await _fed([found, "load-buffer", "-w", "-"], data, self.environ)

    def _save(self, data: bytes) -> str:
        path = self.folder / f"copy-{self.now().astimezone():%Y%m%dT%H%M%S}-{os.getpid()}.txt"
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            save_new(path, data, overwrite=True)
        except OSError as error:
            raise QuarterdeckError(f"the copy could not be saved to {path} ({error.strerror})") from error
        return f"saved to {path}"


def clipboard_of(app: "QuarterdeckApp") -> Clipboard:
    """The clipboard of a screen: as the settings want it, on the terminal that the screen is on."""
    wishes = app.lifeline.wishes

    def write(text: str) -> None:
        if app._driver is not None:  # noqa: SLF001 - Textual has no other way to send what is not painted
            app._driver.write(text)  # noqa: SLF001

    context = app.store.context
    folder = context.paths.state / "copies" if context else Path.cwd()
    environ = context.environ if context else os.environ
    return Clipboard(environ, write, folder, app.store.now, wishes.clipboard, wishes.clipboard_bytes)


def save_new(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write a file that only its owner can read.

    Raises :class:`OSError`; :class:`FileExistsError` unless ``overwrite``.
    """
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if overwrite else os.O_EXCL) | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)


def size(count: int) -> str:
    """Bytes for people: ``830 bytes``, ``1.2 kB``, ``3.4 MB``."""
    if count < 1000:
        return f"{count} byte{'' if count == 1 else 's'}"
    return f"{count / 1000:.1f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"


def _osc52(data: bytes, *, in_tmux: bool) -> str:
    """The request of xterm's OSC 52."""
    request = f"\x1b]52;c;{base64.b64encode(data).decode()}\x07"
    return passed_through(request) if in_tmux else request


def passed_through(sequence: str) -> str:
    """A control sequence wrapped so that tmux passes it through to its terminal (where allow-passthrough is on). Source: tmux's FAQ."""
    return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"


async def _fed(command: Sequence[str], data: bytes, environ: Mapping[str, str]) -> bool:
    """Whether a program took the data. Its output goes nowhere: xclip stays behind and would hold a pipe open."""
    quiet = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=quiet, stderr=quiet, env=dict(environ)
        )
    except OSError:
        return False
    try:
        async with asyncio.timeout(_SECONDS):
            await process.communicate(data)
    except TimeoutError:
        process.kill()
        await process.wait()
        return False
    return process.returncode == 0
