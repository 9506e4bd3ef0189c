"""The control socket of the keeper: one JSON object per line in, one per line out.

Whoever may open the socket may steer the run, and the agent itself runs as the same user. So nothing that comes in
may hurt the keeper: lines, buffers and clients are bounded, nobody is waited for, and a client that breaks a bound
or does not read its answers is dropped.
"""

import _socket  # `socket` itself adds enumerations and selectors, which take 4 ms to load
import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Answer = Callable[[bytes], bytes]

LINE_LIMIT = 16 << 20
"""Bytes that one request may have."""
CLIENT_LIMIT = 64
"""Clients at a time; one more, and the one that has been silent for longest is dropped."""
TOTAL_LIMIT = 48 << 20
"""Bytes of unfinished requests of all clients; beyond it the largest is dropped."""
REPLY_LIMIT = 256 << 10
"""Bytes of answers that wait for a client to read them."""
_BACKLOG = 1024


class Client:
    """One connection: what has come of an unfinished request, and what it has yet to read."""

    __slots__ = ("file", "inbox", "outbox", "searched")

    def __init__(self, file: int) -> None:
        self.file = file
        self.inbox = bytearray()
        self.outbox = bytearray()
        self.searched = 0


class Server:
    """Listens at ``path`` as part of a poll loop, and gives each line to ``answer``, which returns a line."""

    def __init__(self, path: str, poll: select.poll) -> None:
        self.answer: Answer = _not_yet
        self._path = path
        self._poll = poll
        self._clients: dict[int, Client] = {}  # the one that spoke last stands last
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._socket.setblocking(False)
        before = os.umask(0o177)
        try:
            self._socket.bind(path)
        finally:
            os.umask(before)
        self._socket.listen(_BACKLOG)
        poll.register(self._socket.fileno(), select.POLLIN)

    def handle(self, file: int, events: int) -> None:
        """Deal with what ``poll`` found at one of our files."""
        if file == self._socket.fileno():
            self._accept()
            return
        client = self._clients.get(file)
        if client is None:
            return
        try:
            if events & select.POLLOUT:
                self._flush(client)
            if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                self._receive(client)
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)

    def close(self) -> None:
        """Drop all clients and take the socket away."""
        try:
            os.unlink(self._path)
        except OSError:
            pass  # somebody has tidied up before us
        self._socket.close()
        for client in list(self._clients.values()):
            self._drop(client)

    def _accept(self) -> None:
        for _ in range(CLIENT_LIMIT):
            try:
                file, _ = self._socket._accept()  # type: ignore[attr-defined]  # noqa: SLF001  `accept` is in `socket`
            except OSError:
                return  # nobody is left, or there are no files left: then the next turn tries again
            if len(self._clients) >= CLIENT_LIMIT:
                self._drop(next(iter(self._clients.values())))
            os.set_blocking(file, False)
            self._clients[file] = Client(file)
            self._poll.register(file, select.POLLIN)

    def _receive(self, client: Client) -> None:
        data = os.read(client.file, 65536)
        if not data:
            self._drop(client)
            return
        self._clients[client.file] = self._clients.pop(client.file)
        client.inbox += data
        while (end := client.inbox.find(b"\n", client.searched)) >= 0:
            line = bytes(client.inbox[:end])
            del client.inbox[: end + 1]
            client.searched = 0
            if line.strip():
                client.outbox += self.answer(line)
        client.searched = len(client.inbox)
        self._flush(client)
        if len(client.inbox) > LINE_LIMIT or len(client.outbox) > REPLY_LIMIT:
            self._drop(client)
        elif sum(len(other.inbox) for other in self._clients.values()) > TOTAL_LIMIT:
            self._drop(max(self._clients.values(), key=lambda other: len(other.inbox)))

    def _flush(self, client: Client) -> None:
        while client.outbox:
            try:
                written = os.write(client.file, client.outbox[:65536])
            except BlockingIOError:
                break
            del client.outbox[:written]
        self._poll.modify(client.file, select.POLLIN | (select.POLLOUT if client.outbox else 0))

    def _drop(self, client: Client) -> None:
        self._poll.unregister(client.file)
        os.close(client.file)
        del self._clients[client.file]


def _not_yet(_: bytes) -> bytes:
    return b'{"ok": false, "error": "the run is being started"}\n'
