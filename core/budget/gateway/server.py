"""The gateway's doors: which paths there are, and who may come in."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import aiohttp
from aiohttp import web

from config.errors import UnavailableError
from core.budget.gateway import headers
from core.budget.gateway.address import proxy_for, upstream
from core.budget.gateway.books import Books
from core.budget.gateway.call import Calls
from core.budget.gateway.exchange import Call
from core.budget.gateway.refusing import no_service, refuse
from core.budget.gateway.routing import Services
from core.budget.wire import AnthropicWire, ChatWire, GeminiWire, Refusal, ResponsesWire, Wire
from core.budget.wire.base import checked, dump, is_name
from storage.queries.budget import Bearer

BODY_LIMIT = 64_000_000
"""Bytes of a request."""

ANTHROPIC, CHAT, RESPONSES, GEMINI = AnthropicWire(), ChatWire(), ResponsesWire(), GeminiWire()

GEMINI_VERBS = {"generateContent": False, "streamGenerateContent": True}


class Doors:
    """The routes of the gateway."""

    def __init__(self, services: Services, books: Books, calls: Calls, http: aiohttp.ClientSession) -> None:
        self._services = services
        self._books = books
        self._calls = calls
        self._http = http

    def application(self) -> web.Application:
        """The application with its routes. A path that is not here is refused, so that nothing passes unmetered."""
        app = web.Application(client_max_size=BODY_LIMIT)
        app.router.add_post("/anthropic/v1/messages", self._metered(ANTHROPIC))
        app.router.add_post("/anthropic/v1/messages/count_tokens", self._free(ANTHROPIC))
        app.router.add_get("/anthropic/v1/models", self._free(ANTHROPIC))
        app.router.add_post("/openai/v1/chat/completions", self._metered(CHAT))
        app.router.add_post("/openai/v1/responses", self._metered(RESPONSES))
        app.router.add_get("/openai/v1/models", self._free(CHAT))
        app.router.add_get("/openai/v1/models/{model}", self._free(CHAT))
        app.router.add_post("/gemini/v1beta/models/{model}:{verb}", self._gemini)
        app.router.add_get("/gemini/v1beta/models", self._free(GEMINI))
        app.router.add_get("/healthz", _healthy)
        app.router.add_route("*", "/{path:.*}", self._unknown)
        return app

    def _metered(self, wire: Wire) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._meter(request, wire, {})

        return handle

    async def _gemini(self, request: web.Request) -> web.StreamResponse:
        verb = request.match_info["verb"]
        if verb == "countTokens":
            return await self._free(GEMINI)(request)
        if verb not in GEMINI_VERBS:
            return refuse(GEMINI, Refusal.NOT_FOUND, f"the gateway has no {verb[:60]!r}")
        sse = request.query.get("alt") == "sse"
        return await self._meter(
            request, GEMINI, {"model": request.match_info["model"], "stream": GEMINI_VERBS[verb], "sse": sse}
        )

    async def _meter(self, request: web.Request, wire: Wire, extra: dict[str, Any]) -> web.StreamResponse:
        try:
            who = await self._who(request)
        except UnavailableError as error:
            return refuse(wire, Refusal.UNAVAILABLE, f"the ledger cannot be reached ({error.message})", 2)
        if who is None:
            return refuse(wire, Refusal.TOKEN, "this is not the token of a run that is alive")
        token, bearer = who
        try:
            asked = json.loads(await request.read())
            if not isinstance(asked, dict):
                raise ValueError("a JSON object is wanted")
            body = {**asked, **extra} if extra else asked
            demand = replace(checked(wire.demand(body)), long="context-1m" in request.headers.get("anthropic-beta", ""))
        except web.HTTPRequestEntityTooLarge:
            return refuse(wire, Refusal.TOO_LARGE, f"a request has at most {BODY_LIMIT} bytes")
        except (ValueError, RecursionError, KeyError) as error:
            return refuse(wire, Refusal.REQUEST, str(error)[:300])
        except (TypeError, AttributeError):
            return refuse(wire, Refusal.REQUEST, "a field of the request is not of the kind that it should be")
        try:
            return await self._calls.answer(Call(request, wire, asked, dump(asked), body, demand, token, bearer))
        except UnavailableError as error:
            return refuse(wire, Refusal.UNAVAILABLE, error.sentence(), 5)

    def _free(self, wire: Wire) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                who = await self._who(request, fresh=True)
                if who is None:
                    return refuse(wire, Refusal.TOKEN, "this is not the token of a run that is alive")
                return await self._pass_free(request, wire, who[1])
            except web.HTTPRequestEntityTooLarge:
                return refuse(wire, Refusal.TOO_LARGE, f"a request has at most {BODY_LIMIT} bytes")
            except UnavailableError as error:
                return refuse(wire, Refusal.UNAVAILABLE, error.sentence(), 2)

        return handle

    async def _pass_free(self, request: web.Request, wire: Wire, bearer: Bearer) -> web.StreamResponse:
        """A call that providers do not charge for: the key is put in, nothing is metered."""
        content = await request.read() if request.method == "POST" else None
        model = str(request.match_info.get("model", ""))
        if content and not model:
            try:
                model = str(json.loads(content).get("model", ""))
            except (ValueError, RecursionError, AttributeError):
                return refuse(wire, Refusal.REQUEST, "a JSON object is wanted")
        if model and (not is_name(model) or model.strip(".") == ""):
            return refuse(wire, Refusal.NOT_FOUND, no_service(wire, model))
        chain = self._services.chain(wire, model)
        links = chain.links or self._services.chain(wire, "").links
        for service in links:
            key = await self._services.key(service, bearer.project)
            if key is None or service.suspended:
                continue
            carried = {**headers.onward(request.headers), **wire.auth(key.value)}
            if content is not None:
                carried["content-type"] = "application/json"
            address = upstream(service, wire, request, model)
            timeout = aiohttp.ClientTimeout(total=60, sock_connect=10)
            try:
                async with self._http.request(
                    request.method,
                    address,
                    data=content,
                    headers=carried,
                    timeout=timeout,
                    allow_redirects=False,
                    proxy=proxy_for(address),
                ) as answer:
                    body = await answer.read()
                    kept = headers.back(answer.headers, service.name, model)
                    return web.Response(status=answer.status, body=body, headers=kept)
            except (aiohttp.ClientError, TimeoutError):
                return refuse(wire, Refusal.UNAVAILABLE, f"service {service.name} cannot be reached", 5)
        return refuse(wire, Refusal.NOT_FOUND, no_service(wire, model))

    async def _unknown(self, request: web.Request) -> web.StreamResponse:
        wires: dict[str, Wire] = {"openai": CHAT, "gemini": GEMINI}
        wire = wires.get(request.path.split("/")[1], ANTHROPIC)
        return refuse(wire, Refusal.NOT_FOUND, f"the gateway has no {request.method} {request.path[:200]}")

    async def _who(self, request: web.Request, *, fresh: bool = False) -> tuple[str, Bearer] | None:
        token = headers.token_of(request.headers, request.query)
        if not token or not token.startswith("qdr_") or len(token) > 200:
            return None
        bearer = await self._books.bearer(token, fresh=fresh)
        return (token, bearer) if bearer else None


async def _healthy(_request: web.Request) -> web.Response:
    return web.json_response({"ok": True})
