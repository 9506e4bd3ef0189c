"""The door by which agents reach the crew's tools: MCP over streamable HTTP on loopback, with the token of a run.

An engine opens it for its runs. It stays at its port over restarts, so that agents that outlive their engine find the
next one. Every request shows the token of a run that is alive, which decides what it is shown; requests of web pages
(a foreign Origin or Host) are refused, bodies and times are bounded.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from config.errors import UnavailableError
from config.paths import Paths
from config.settings import Settings
from core.budget.gateway.books import digest_of
from core.commands.table import Context
from core.mcp import protocol
from storage.database import Database, Principal, Role
from storage.queries import budget

PATH = "/mcp"
BODY_LIMIT = 1_000_000
"""Bytes of a request."""
BODY_SECONDS = 15.0
"""How long a request may take to come in."""
AT_ONCE = 8
"""Requests of one run that are answered at the same time."""
CONNECTIONS = 4
"""To the database: apart from the engine's own, which agents must not use up."""


class Door:
    """The HTTP side of the tools, for one engine."""

    def __init__(self, dsn: str, paths: Paths, settings: Settings, environ: Mapping[str, str]) -> None:
        self._dsn = dsn
        self._paths = paths
        self._settings = settings
        self._environ = environ
        self._db: Database | None = None
        self._runner: web.AppRunner | None = None
        self._hosts: frozenset[str] = frozenset()
        self._busy: Counter[int] = Counter()
        self.url = ""

    async def open(self) -> None:
        """Listen. Raises UnavailableError."""
        listener = _bind(self._paths)
        port = listener.getsockname()[1]
        self._hosts = frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost"))
        # a program that holds the token of no run sees nothing, whatever it finds out about the tools
        self._db = await Database.open(self._dsn, bound=Principal("tools", Role.VIEWER), most=CONNECTIONS, least=0)
        app = web.Application(client_max_size=BODY_LIMIT)
        app.router.add_post(PATH, self._post)
        app.router.add_route("*", PATH, _not_offered)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        self._runner = runner
        self.url = f"http://127.0.0.1:{port}{PATH}"
        draft = _record(self._paths).with_suffix(".new")
        draft.write_text(json.dumps({"port": port}))
        draft.replace(_record(self._paths))

    async def close(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._db is not None:
            await self._db.close()

    async def _post(self, request: web.Request) -> web.StreamResponse:
        if refusal := self._stranger(request):
            return refusal
        try:
            who = await self._who(request)
        except UnavailableError as error:
            return _refuse(503, error.sentence())
        if who is None:
            return _refuse(401, "this is not the token of a run that is alive", {"WWW-Authenticate": "Bearer"})
        assert who.run is not None
        if self._busy[who.run] >= AT_ONCE:
            return _refuse(429, f"at most {AT_ONCE} requests of a run are answered at once", {"Retry-After": "1"})
        self._busy[who.run] += 1
        try:
            return await self._answer(request, who)
        finally:
            self._busy[who.run] -= 1
            if not self._busy[who.run]:
                del self._busy[who.run]

    async def _answer(self, request: web.Request, who: Principal) -> web.StreamResponse:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                raw = await request.read()
            message = protocol.parse(raw)
        except TimeoutError:
            return _refuse(408, "the request did not come in")
        except ValueError as error:
            return web.json_response(protocol.failure(None, protocol.PARSE, f"no JSON: {error}"[:200]), status=400)
        assert self._db is not None
        context = Context(self._db, who, self._paths, self._settings, self._environ, self._paths.state)
        response = await protocol.respond(context, message)
        if response is None:
            return web.Response(status=202)
        return web.json_response(response, status=400 if response.get("id", 0) is None else 200)

    def _stranger(self, request: web.Request) -> web.Response | None:
        """Refuse a web page that a browser on this machine shows, by whatever name it calls us."""
        if request.headers.get("Host", "").lower() not in self._hosts:
            return _refuse(403, "this address is not served")
        origin = request.headers.get("Origin")
        if origin is not None and origin.lower().removeprefix("http://") not in self._hosts:
            return _refuse(403, "requests of web pages are not served")
        if request.content_type != "application/json":
            return _refuse(415, "application/json is wanted")
        return None

    async def _who(self, request: web.Request) -> Principal | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token.startswith("qdr_") or len(token) > 200:
            return None
        assert self._db is not None
        async with self._db.transaction(Principal("tools", Role.ENGINE)) as connection:
            bearer = await budget.bearer(connection, digest_of(token))
        if bearer is None:
            return None
        actor = f"agent {bearer.agent} (task #{bearer.task})"
        return Principal(actor, Role.AGENT, bearer.project, bearer.run, bearer.task)


def _bind(paths: Paths) -> socket.socket:
    """Listen where the last engine of this state folder did, else at a free port."""
    kept = 0
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = int(json.loads(_record(paths).read_text())["port"])
    for port in dict.fromkeys((kept, 0)):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            listener.close()
            continue
        listener.listen(256)
        listener.setblocking(False)  # noqa: FBT003
        os.set_inheritable(listener.fileno(), False)  # noqa: FBT003
        return listener
    raise UnavailableError("no port on 127.0.0.1 is free for the tools of agents")


def _record(paths: Paths) -> Path:
    return paths.state / "mcp.json"


async def _not_offered(_request: web.Request) -> web.Response:
    """Streams that the server begins, and sessions to end: there are none."""
    return _refuse(405, "POST is wanted", {"Allow": "POST"})


def _refuse(status: int, words: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"error": words}, status=status, headers=headers)
