"""The person's own editor: for long texts, and for looking at a file. The screen gives the terminal away and takes it back."""

import contextlib
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import SuspendNotSupported

from config.errors import QuarterdeckError

if TYPE_CHECKING:
    from textual.app import App

_LINED = ("vi", "vim", "nvim", "nano", "emacs", "emacsclient", "kak", "micro", "joe", "mg", "pico", "ne")
"""Editors that take ``+LINE`` before the file."""


def editor_of(environ: Mapping[str, str]) -> list[str]:
    """The editor that the person has named, else one that is here. Raises :class:`QuarterdeckError` where there is none."""
    for name in ("VISUAL", "EDITOR"):
        if environ.get(name, "").strip():
            try:
                return shlex.split(environ[name])
            except ValueError as error:
                raise QuarterdeckError(f"{name} cannot be split into words: {error}", "balance its quotes") from None
    for name in ("sensible-editor", "nano", "vi"):
        if found := shutil.which(name, path=environ.get("PATH")):
            return [found]
    raise QuarterdeckError("there is no editor", "set EDITOR")


def edit_text(app: "App[int]", environ: Mapping[str, str], text: str, *, suffix: str = ".md") -> str:
    """A text as it was left in the editor. Raises :class:`QuarterdeckError` when the editor cannot be run or fails."""
    command = editor_of(environ)
    with tempfile.TemporaryDirectory(prefix="qd-") as folder:
        path = Path(folder) / f"text{suffix}"
        path.write_text(text, "utf-8")
        _run(app, [*command, str(path)], environ)
        try:
            return path.read_text("utf-8", "replace")
        except OSError as error:
            raise QuarterdeckError(f"the editor left no text ({error.strerror})") from None


def open_file(app: "App[int]", environ: Mapping[str, str], path: Path, line: int) -> None:
    """Show a file in the editor, at a line where the editor takes one. Raises :class:`QuarterdeckError`."""
    command = editor_of(environ)
    at = [f"+{line}"] if line > 0 and Path(command[0]).name in _LINED else []
    _run(app, [*command, *at, str(path)], environ)


def _run(app: "App[int]", command: Sequence[str], environ: Mapping[str, str]) -> None:
    """Run a program with the terminal; nothing else happens on the screen meanwhile."""
    if app.is_web:
        raise QuarterdeckError("an editor needs a terminal, and this screen is in a browser", "write in the field")
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(SuspendNotSupported):  # there is no terminal to give away
            stack.enter_context(app.suspend())
        try:
            code = subprocess.run(command, env=dict(environ), check=False).returncode
        except OSError as error:
            raise QuarterdeckError(f"{command[0]} cannot be run ({error.strerror})", "set EDITOR") from None
    if code != 0:
        raise QuarterdeckError(f"{Path(command[0]).name} ended with {code}; nothing was taken from it")
