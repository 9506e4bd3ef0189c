"""The screen over a real line: a real sshd on loopback, tmux inside, the client killed and another one attached."""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.tui.terminal import QD, ROOT, terminal

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
PROGRAMS = {name: shutil.which(name, path=_PATH) for name in ("sshd", "ssh", "ssh-keygen", "tmux")}
MISSING = [name for name, found in PROGRAMS.items() if found is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


def _program(name: str) -> str:
    found = PROGRAMS[name]
    assert found is not None
    return found


@dataclass
class Line:
    """An sshd, and a tmux of its own behind it."""

    folder: Path
    port: int

    def ssh(self, *words: str) -> list[str]:
        """The words of a client."""
        options = {
            "IdentityFile": self.folder / "key", "IdentitiesOnly": "yes", "UserKnownHostsFile": "/dev/null", "LogLevel": "ERROR",
            "StrictHostKeyChecking": "no", "BatchMode": "yes", "ConnectTimeout": "10",
        }  # fmt: skip
        given = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return [_program("ssh"), "-F", "/dev/null", *given, "-tt", "-p", str(self.port), "127.0.0.1", shlex.join(words)]

    def tmux_words(self, *words: str) -> list[str]:
        """The words of a command to our tmux."""
        return [_program("tmux"), "-S", str(self.folder / "tmux"), "-f", str(self.folder / "tmux.conf"), *words]

    def tmux(self, *words: str) -> str:
        """Run a command of our tmux."""
        done = subprocess.run(self.tmux_words(*words), capture_output=True, text=True, check=True)
        return done.stdout.rstrip("\n")


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    for key in ("host", "key"):
        keygen = [_program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / key)]
        subprocess.run(keygen, check=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # what sshd locks itself into before somebody has logged in
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path / "sshd.conf"
    config.write_text(f"""
Port {port}
ListenAddress 127.0.0.1
HostKey "{tmp_path}/host"
PidFile none
AuthorizedKeysFile "{tmp_path}/key.pub"
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
PrintMotd no
""")
    (tmp_path / "tmux.conf").write_text(
        "set -g status off\nset -g default-terminal tmux-256color\nset -s escape-time 0\n"
    )
    log = tmp_path / "sshd.log"
    with log.open("wb") as said:
        daemon = subprocess.Popen(
            [_program("sshd"), "-D", "-e", "-f", str(config)], stderr=said, stdin=subprocess.DEVNULL
        )
    made = Line(tmp_path, port)
    try:
        _until(lambda: "listening on" in log.read_text() or daemon.poll() is not None)
        if daemon.poll() is not None:
            pytest.skip(f"sshd does not run here: {log.read_text().strip()[-300:]}")
        yield made
    finally:
        subprocess.run(made.tmux_words("kill-server"), capture_output=True, check=False)
        sessions = psutil.Process(daemon.pid).children(recursive=True) if daemon.poll() is None else []
        for process in (daemon, *sessions):
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                process.terminate()
        daemon.wait(10)


def _until(true: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_line_that_is_lost_leaves_the_screen_where_it_was(
    line: Line, seen_day: str, world_environ: dict[str, str], tmp_path: Path
) -> None:
    deck = tmp_path / "deck.sh"
    given = {name: value for name, value in world_environ.items() if name not in ("TERM", "COLORTERM")}
    exports = "".join(
        f"export {name}={shlex.quote(value)}\n" for name, value in {**given, "QD_DATABASE_URL": seen_day}.items()
    )
    deck.write_text(f"{exports}cd {shlex.quote(str(ROOT))}\nexec {shlex.join(QD)} --readonly\n")
    words = line.ssh(
        "env",
        "LC_ALL=C.UTF-8",
        *line.tmux_words("-u", "new-session", "-A", "-s", "deck", f"sh {shlex.quote(str(deck))}"),
    )

    with terminal(world_environ, program=words, size=(80, 24)) as client:
        client.wait("need you", 60)
        client.send("3jj")
        client.wait("▎   #7")
        client.send("y")
        client.wait("in tmux's buffer, and sent to the terminal")
        assert line.tmux("show-buffer") == "7"
        client.send("\r")
        client.wait("task #7")
        screen = psutil.Process(int(line.tmux("list-panes", "-F", "#{pane_pid}")))
        os.kill(client.pid, signal.SIGKILL)
        client.ended()
    _until(lambda: line.tmux("list-sessions", "-F", "#{session_attached}") == "0")
    assert screen.is_running()

    with terminal(world_environ, program=words, size=(120, 40)) as client:
        client.wait("task #7", 60)
        client.wait("Take the accents off slugs")
        client.wait(lambda: "4 checks, context" in client.text(), 30)
        assert int(line.tmux("list-panes", "-F", "#{pane_pid}")) == screen.pid
        client.send("q")
        client.wait("3 queue")
        client.send("Q")
        assert client.ended(20) == 0
    _until(lambda: not screen.is_running())
