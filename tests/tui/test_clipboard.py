"""The clipboard: where copies go, and what is said about it."""

import base64
import shutil
import stat
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tui.clipboard import Clipboard, save_new, size

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


class Terminal:
    """Takes what is sent to the terminal."""

    def __init__(self) -> None:
        self.sent = ""

    def write(self, text: str) -> None:
        self.sent += text


def clipboard(tmp_path: Path, terminal: Terminal, environ: dict[str, str] | None = None, **more: object) -> Clipboard:
    return Clipboard(environ or {}, terminal.write, tmp_path / "saved", lambda: NOW, **more)


def program(folder: Path, name: str, script: str) -> None:
    """A program of this name in a folder."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


async def test_over_ssh_the_terminal_is_asked_and_nothing_more_is_claimed(tmp_path):
    terminal = Terminal()
    said = await clipboard(tmp_path, terminal, {"SSH_CONNECTION": "x", "DISPLAY": ":0"}).copy("héllo\n")
    assert base64.b64decode(terminal.sent.removeprefix("\x1b]52;c;").removesuffix("\x07")) == "héllo\n".encode()
    assert said.words == "sent to the terminal, 7 bytes; it may refuse"


async def test_what_a_terminal_would_not_take_is_saved_to_a_file_that_only_its_owner_reads(tmp_path):
    terminal = Terminal()
    said = await clipboard(tmp_path, terminal, limit=100).copy("x" * 101)
    assert terminal.sent == ""
    [saved] = (tmp_path / "saved").iterdir()
    assert saved.read_text() == "x" * 101
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    assert str(saved) in said.words
    assert said.tone == "warn"


async def test_the_program_of_the_desktop_is_used_where_there_is_one(tmp_path):
    program(tmp_path, "xclip", f'cat > "{tmp_path}/got"; test "$*" = "-selection clipboard -in"')
    environ = {"DISPLAY": ":0", "PATH": f"{tmp_path}:/bin:/usr/bin"}
    said = await clipboard(tmp_path, Terminal(), environ).copy("text")
    assert (tmp_path / "got").read_text() == "text"
    assert said.words == "copied 4 bytes with xclip"


async def test_a_program_that_fails_is_no_success(tmp_path):
    program(tmp_path, "wl-copy", "exit 1")
    environ = {"WAYLAND_DISPLAY": "w", "PATH": f"{tmp_path}:/bin:/usr/bin"}
    said = await clipboard(tmp_path, Terminal(), environ).copy("text")
    assert "wl-copy does not take it: saved to" in said.words
    assert said.tone == "warn"


async def test_without_a_program_native_says_so_and_saves(tmp_path):
    said = await clipboard(tmp_path, Terminal(), {"PATH": str(tmp_path)}, mode="native").copy("text")
    assert "no clipboard program" in said.words
    assert next((tmp_path / "saved").iterdir()).read_text() == "text"


async def test_an_old_tmux_passes_the_request_through(tmp_path):
    program(tmp_path, "tmux", "exit 1")
    terminal = Terminal()
    said = await clipboard(tmp_path, terminal, {"TMUX": "x", "PATH": str(tmp_path)}).copy("text")
    assert terminal.sent == "\x1bPtmux;\x1b\x1b]52;c;dGV4dA==\x07\x1b\\"
    assert "it may refuse" in said.words


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
async def test_a_real_tmux_has_it_in_its_buffer(tmp_path):
    socket = str(tmp_path / "tmux")

    def tmux(*words: str) -> str:
        return subprocess.run(["tmux", "-S", socket, *words], check=True, capture_output=True, text=True).stdout

    tmux("-f", "/dev/null", "new-session", "-d", "sleep 60")
    try:
        environ = {"TMUX": f"{socket},1,0", "PATH": "/usr/local/bin:/usr/bin:/bin", "SSH_TTY": "x"}
        said = await clipboard(tmp_path, Terminal(), environ).copy("from the log\nof a run")
        assert tmux("show-buffer") == "from the log\nof a run"
        assert said.words.startswith("in tmux's buffer")
    finally:
        tmux("kill-server")


async def test_off_is_off(tmp_path):
    terminal = Terminal()
    said = await clipboard(tmp_path, terminal, {"TMUX": "x"}, mode="off").copy("text")
    assert terminal.sent == ""
    assert said.words.startswith("the clipboard is off: saved to")


def test_saving_does_not_replace_a_file_nor_follow_a_link(tmp_path):
    there = tmp_path / "there"
    there.write_text("mine")
    with pytest.raises(FileExistsError):
        save_new(there, b"x")
    link = tmp_path / "link"
    link.symlink_to(there)
    with pytest.raises(OSError):
        save_new(link, b"x", overwrite=True)
    assert there.read_text() == "mine"


def test_sizes_for_people():
    assert [size(n) for n in (1, 999, 1200, 3_400_000)] == ["1 byte", "999 bytes", "1.2 kB", "3.4 MB"]
