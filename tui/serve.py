"""The screen in a browser: textual-serve's terminal page and protocol, on loopback, for whoever has the token.

Every session is a process of its own, as on a terminal: `qd` with Textual's web driver. The token is in the address that is printed; it is changed
for a cookie at once, so that it stays in no history. Every request must name our own host (or a foreign name could be pointed at this machine), and
a websocket our own origin (or any page that is open in the same browser could be the one that types).
"""

import asyncio
import contextlib
import hmac
import json
import secrets
import shlex
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import textual_serve
from aiohttp import WSMsgType, web
from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

from config.errors import UnavailableError, UsageError

HOST = "127.0.0.1"
MOST_SESSIONS = 16
_LARGEST = 1000
"""Columns or lines of a browser's terminal."""
_LONGEST = 1_000_000
"""Characters of one message."""
_STOP_SECONDS = 3.0
_STATIC = Path(textual_serve.__file__).parent / "static"
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Quarterdeck</title>
<link rel="stylesheet" href="{base}/static/css/xterm.css">
<link rel="stylesheet" href="{base}/page.css">
<script src="{base}/static/js/textual.js"></script>
</head>
<body>
<div class="words begins">Quarterdeck</div>
<div class="words ended">This screen is closed. The crew goes on working. <a href="{base}/">Open it again</a></div>
<div id="terminal" class="textual-terminal" data-session-websocket-url="{socket}" data-font-size="{size}"></div>
</body>
</html>
"""
_STYLE = """
html, body { margin: 0; height: 100%; background: #0f1622; overflow: hidden; }
.words { position: absolute; inset: 0; display: none; align-items: center; justify-content: center; gap: 1ch; z-index: 10;
         font-family: ui-monospace, Menlo, Consolas, monospace; color: #dce4ef; background: #0f1622; }
.words a { color: #6ad4c6; }
body:not(.-first-byte) .begins, body.-closed .ended { display: flex; }
"""


@dataclass(frozen=True, slots=True)
class Door:
    """Who may come in: the address that is ours, and the token."""

    address: str
    """``http://127.0.0.1:8741``, as the browser has it."""
    token: str

    @property
    def host(self) -> str:
        """What the ``Host`` header must be."""
        return urlsplit(self.address).netloc

    @property
    def cookie(self) -> str:
        """The name of our cookie; ports of one host share their cookies."""
        return f"qd_{urlsplit(self.address).port or 0}"

    @property
    def link(self) -> str:
        """What the person opens."""
        return f"{self.address}/?token={self.token}"

    def refused(self, request: web.Request) -> web.Response | None:
        """Why a request is not let in; None when it is."""
        if request.headers.get("Host", "").lower() != self.host:
            return web.Response(status=403, text="this is not the address of this screen\n")
        origin = request.headers.get("Origin")
        if origin is not None and origin != self.address:
            return web.Response(status=403, text="other pages may not reach this screen\n")
        if not self.knows(self._shown(request)):
            return web.Response(
                status=401, text="open the address that `qd serve` has printed, with its token\n", headers={"WWW-Authenticate": "Bearer"}
            )  # fmt: skip
        return None

    def knows(self, token: str) -> bool:
        """Whether it is our token, in a time that says nothing of it."""
        return hmac.compare_digest(token.encode("utf-8", "replace"), self.token.encode())

    def _shown(self, request: web.Request) -> str:
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return bearer.strip()
        return request.cookies.get(self.cookie, "") or (request.query.get("token", "") if request.path == "/" else "")


class Session(AppService):
    """One screen of a browser: a process of `qd`, spoken to as textual-serve does."""

    def __init__(self, command: str, environ: Mapping[str, str], socket: web.WebSocketResponse) -> None:
        async def close() -> None:
            await socket.close()

        super().__init__(
            command, write_bytes=socket.send_bytes, write_str=socket.send_str, close=close, download_manager=DownloadManager()
        )  # fmt: skip
        self._environ = environ

    async def _open_app_process(self, width: int = 80, height: int = 24) -> asyncio.subprocess.Process:
        """Start `qd`, without a shell, and with nothing of the terminal that the server runs in."""
        ours = {
            name: value for name, value in self._build_environment(width, height).items() if name.startswith("TEXTUAL")
        }
        environ = {
            **{name: value for name, value in self._environ.items() if name not in ("TMUX", "STY", "LINES")},
            **ours, "COLUMNS": str(width), "ROWS": str(height), "TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8",
        }  # fmt: skip
        pipe = asyncio.subprocess.PIPE
        self._process = process = await asyncio.create_subprocess_exec(
            *shlex.split(self.command), stdin=pipe, stdout=pipe, stderr=pipe, env=environ, start_new_session=True
        )
        assert process.stdin is not None
        self._stdin = process.stdin
        return process

    async def stop(self) -> None:
        """End the process: asked first, then told."""
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(_STOP_SECONDS):
                await super().stop()
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


class Server:
    """Answers browsers."""

    def __init__(self, door: Door, command: str, environ: Mapping[str, str]) -> None:
        self.door, self.command, self.environ = door, command, environ
        self.sessions: set[Session] = set()

    def app(self) -> web.Application:
        """The routes, all of them behind the door."""
        made = web.Application(middlewares=[self._guard], client_max_size=64 * 1024)
        made.add_routes([
            web.get("/", self._index), web.get("/page.css", self._style), web.get("/ws", self._socket),
            web.static("/static", _STATIC, show_index=False, follow_symlinks=False),
        ])  # fmt: skip
        return made

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        refused = self.door.refused(request)
        try:
            response = refused if refused is not None else await handler(request)
        except web.HTTPException as error:
            response = error
        if not response.prepared:
            response.headers.update(self._armour())
        if isinstance(response, web.HTTPException):
            raise response
        return response

    def _armour(self) -> dict[str, str]:
        socket = self.door.address.replace("http", "ws", 1)
        policy = (
            f"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
            f"connect-src 'self' {socket}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
        )
        return {
            "Content-Security-Policy": policy, "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
            "Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
        }  # fmt: skip

    async def _index(self, request: web.Request) -> web.StreamResponse:
        door = self.door
        if "token" in request.query:
            answer = web.Response(status=303, headers={"Location": f"{door.address}/"})
            secure = door.address.startswith("https")
            answer.set_cookie(door.cookie, door.token, httponly=True, samesite="Strict", path="/", secure=secure)
            return answer
        size = _number(request.query.get("fontsize"), 16, 6, 72)
        page = _PAGE.format(base=door.address, socket=door.address.replace("http", "ws", 1) + "/ws", size=size)
        return web.Response(text=page, content_type="text/html")

    async def _style(self, request: web.Request) -> web.StreamResponse:
        del request
        return web.Response(text=_STYLE, content_type="text/css")

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if len(self.sessions) >= MOST_SESSIONS:
            return web.Response(status=503, text=f"{MOST_SESSIONS} screens are open already; close one\n")
        socket = web.WebSocketResponse(heartbeat=15, max_msg_size=_LONGEST)
        await socket.prepare(request)
        session = Session(self.command, self.environ, socket)
        self.sessions.add(session)
        try:
            await session.start(
                _number(request.query.get("width"), 80, 1, _LARGEST), _number(request.query.get("height"), 24, 1, _LARGEST)
            )  # fmt: skip
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    await _pass_on(session, socket, message.data)
        finally:
            await session.stop()
            self.sessions.discard(session)
        return socket


async def _pass_on(session: Session, socket: web.WebSocketResponse, text: str) -> None:
    """One message of the browser; what is none goes unheard."""
    try:
        kind, *rest = json.loads(text)
    except (ValueError, TypeError):
        return
    match kind, rest:
        case "stdin", [str(keys), *_]:
            await session.send_bytes(keys.encode("utf-8", "replace"))
        case "resize", [{"width": int(width), "height": int(height)}, *_]:
            await session.set_terminal_size(max(1, min(width, _LARGEST)), max(1, min(height, _LARGEST)))
        case "ping", [sent, *_]:
            await socket.send_json(["pong", sent])
        case "blur", _:
            await session.blur()
        case "focus", _:
            await session.focus()


@asynccontextmanager
async def serving(
    environ: Mapping[str, str], *, port: int, public_url: str = "", readonly: bool = False, theme: str = ""
) -> AsyncIterator[Door]:
    """The screen in browsers for as long as the block runs. ``port`` 0: any that is free; ``public_url``: the address that the browser has, where
    something stands between.

    Raises :class:`UsageError` for an address that is none, :class:`UnavailableError` for a port that is taken.
    """
    there = urlsplit(public_url)
    if public_url and (there.scheme not in ("http", "https") or not there.netloc or there.path not in ("", "/")):
        raise UsageError(f"{public_url!r} is no address", "it is such as http://localhost:9000")
    command = [sys.executable, "-P", "-m", "core.faces.start"]
    command += ["--readonly"] if readonly else []
    command += ["--theme", theme] if theme else []
    token = secrets.token_urlsafe(32)
    server = Server(Door("", token), shlex.join(command), environ)
    runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=_STOP_SECONDS)
    await runner.setup()
    try:
        try:
            site = web.TCPSite(runner, HOST, port)
            await site.start()
        except OSError as error:
            raise UnavailableError(
                f"port {port} cannot be had ({error.strerror})", "choose another with --port"
            ) from None
        bound: Any = site._server  # noqa: SLF001 - aiohttp has no other way to tell which port was free
        address = (
            f"{there.scheme}://{there.netloc}" if public_url else f"http://{HOST}:{bound.sockets[0].getsockname()[1]}"
        )
        server.door = Door(address, token)
        yield server.door
    finally:
        for session in list(server.sessions):
            await session.stop()
        await runner.cleanup()


def _number(text: str | None, default: int, least: int, most: int) -> int:
    try:
        return max(least, min(int(text or default), most))
    except ValueError:
        return default
