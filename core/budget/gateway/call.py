"""The life of one call: choose a service, reserve, send, pass the answer through as it comes, settle.

Whatever happens in between, a charge that was reserved is settled exactly once: at what the provider counted; at what
was streamed, where it broke off; at the reserve, where nothing is known; at nothing, where the provider did nothing.
"""

import asyncio
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote as escaped
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp import web

from config.errors import UnavailableError
from config.settings import GatewaySettings
from core.budget.gateway import headers
from core.budget.gateway.books import Books
from core.budget.gateway.circuit import Trouble, trouble_in_stream, trouble_of
from core.budget.gateway.journal import Journal
from core.budget.gateway.routing import Quote, Services, UnpricedError, keyless, serves
from core.budget.wire import Demand, Reader, Refusal, Wire
from core.budget.wire.base import dump
from storage.queries.budget import Basis, Bearer, Grant, Service, Settlement, Tokens

UNDER_WAY = 256
"""Tokens that a provider may generate before it notices that nobody listens any more: a second of a fast model."""

STAND_IN_PATIENCE = 2.0
"""Seconds that a call waits for room when another service could answer it instead."""

ERROR_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Call:
    """A request that has passed the door."""

    request: web.Request
    wire: Wire
    body: dict[str, Any]
    raw: bytes
    """The body as it is sent on when nothing in it is changed."""
    demand: Demand
    token: str
    bearer: Bearer


@dataclass(frozen=True, slots=True)
class No:
    """Why a service did not answer: the first of a chain is what the client is told."""

    kind: Refusal
    message: str
    retry: float | None = None
    grant: Grant | None = None
    service: str | None = None
    keyless: bool = False
    """Whether it lacks its key: only a person can change that."""


class Calls:
    """Handles calls with the means of one gateway process."""

    def __init__(
        self,
        services: Services,
        books: Books,
        http: aiohttp.ClientSession,
        settings: GatewaySettings,
        journal: Journal,
    ) -> None:
        self._services = services
        self._books = books
        self._http = http
        self._settings = settings
        self._journal = journal
        self._told: set[tuple[int, str, str]] = set()

    async def answer(self, call: Call) -> web.StreamResponse:
        """Answer a metered call."""
        chain = self._services.chain(call.wire, call.demand.model)
        if not chain.links:
            return refuse(call.wire, Refusal.NOT_FOUND, no_service(call.wire, call.demand.model))
        first: No | None = None
        for position, service in enumerate(chain.links):
            instead = chain.links[0] if position else None
            last = position == len(chain.links) - 1
            result = await self._try(call, service, instead, last=last)
            if not isinstance(result, No):
                return result
            first = _graver(first, result)
        assert first is not None
        self._tell_refusal(call, first, chain.foreign)
        return refuse(call.wire, first.kind, first.message, first.retry)

    async def _try(
        self, call: Call, service: Service, instead: Service | None, *, last: bool
    ) -> web.StreamResponse | No:
        """Let one service answer; why not, where another may."""
        key = await self._services.key(service, call.bearer.project)
        if key is None:
            return No(Refusal.UNAVAILABLE, keyless(service), 30, service=service.name, keyless=True)
        try:
            quoted = self._services.quote(service, call.wire, call.demand, len(call.raw), uuid7(), instead)
        except UnpricedError as error:
            return No(Refusal.REQUEST, str(error), service=service.name)
        if instead is not None and not serves(service, quoted.model):
            hint = f"declare with `qd service edit {service.name} --map GLOB=MODEL` what it speaks instead"
            text = f"service {service.name} does not take the model {quoted.model[:100]!r}; {hint}"
            return No(Refusal.UNAVAILABLE, text, service=service.name)
        closed = await self._pass_circuit(service, last=last)
        if closed is not None:
            return closed
        try:
            patience = self._settings.wait_seconds if last else min(STAND_IN_PATIENCE, self._settings.wait_seconds)
            grant = await self._books.reserve(quoted.ask, call.token, patience)
        except UnavailableError as error:
            self._services.circuit(service).let_go()
            return No(Refusal.UNAVAILABLE, f"the ledger cannot be reached ({error.message})", 2, service=service.name)
        except asyncio.CancelledError:
            self._services.circuit(service).let_go()
            raise
        if grant.outcome != "granted":
            self._services.circuit(service).let_go()
            return _refused(grant, service)
        if instead is not None:
            self._tell(call, "fallback", service, f"{service.name} ({quoted.model}) answers in place of {instead.name}")
        return await _Exchange(self, call, service, quoted, grant, key, last=last).run()

    async def _pass_circuit(self, service: Service, *, last: bool) -> No | None:
        """Wait for the service to come back if that is near and nobody else can answer."""
        deadline = asyncio.get_running_loop().time() + (self._settings.wait_seconds if last else 0)
        circuit = self._services.circuit(service)
        while not circuit.admits(datetime.now(UTC)):
            wait = circuit.opens_in(datetime.now(UTC))
            if asyncio.get_running_loop().time() + wait > deadline:
                return No(
                    Refusal.UNAVAILABLE,
                    f"service {service.name} is out of order: {circuit.reason}",
                    max(wait, 1.0),
                    service=service.name,
                )
            await asyncio.sleep(min(wait, 1.0) + 0.01)
            circuit = self._services.circuit(service)
        return None

    def _tell_refusal(self, call: Call, no: No, foreign: Service | None) -> None:
        if no.kind not in (Refusal.BUDGET, Refusal.UNAVAILABLE):
            return
        grant = no.grant
        data = {
            "service": no.service,
            "model": call.demand.model,
            "budget": grant.budget if grant else None,
            "key": grant.key if grant else None,
            "need": grant.need if grant else None,
            "until": grant.until.isoformat() if grant and grant.until and grant.until.year < 9999 else None,
            "retry_seconds": no.retry,
            "keyless": no.keyless,
            "other_protocol": {"service": foreign.name, "provider": foreign.provider} if foreign else None,
        }
        kind = "budget" if no.kind is Refusal.BUDGET else "service"
        self._books.notice(call.bearer.run, kind, no.message, data)

    def _tell(self, call: Call, kind: str, service: Service, text: str) -> None:
        """Once per run and service."""
        what = (call.bearer.run, kind, service.name)
        if what not in self._told:
            if len(self._told) > 10_000:
                self._told.clear()
            self._told.add(what)
            self._books.notice(call.bearer.run, kind, text, {"service": service.name, "model": call.demand.model})


class _Exchange:
    """One reserved request to one service, until its charge is settled."""

    def __init__(
        self, calls: Calls, call: Call, service: Service, quoted: Quote, grant: Grant, key: str, *, last: bool
    ) -> None:
        self._calls = calls
        self._call = call
        self._service = service
        self._quoted = quoted
        self._grant = grant
        self._key = key
        self._last = last
        self._output = grant.output or 0
        self._terms = quoted.terms(service, self._output)
        self._reader: Reader = call.wire.reader(call.demand, call.body)
        self._sent = False
        self._passed = 0
        self._settled = False

    async def run(self) -> web.StreamResponse | No:
        note: str | None = None
        try:
            return await self._send()
        except asyncio.CancelledError:
            note = "the client hung up"
            raise
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            note = f"the provider could not be reached ({type(error).__name__})" if not self._sent else "broken off"
            return await self._failed(note)
        finally:
            self._calls._services.circuit(self._service).let_go()  # noqa: SLF001 - the same module
            if not self._settled:
                self._settle(note)

    async def _send(self) -> web.StreamResponse | No:
        call, settings = self._call, self._calls._settings  # noqa: SLF001 - the same module
        adapted = call.wire.adapt(call.body, self._terms)
        sent = call.raw if adapted == call.body else dump(adapted)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=settings.first_byte_seconds)
        address = upstream(self._service, call.wire, call.request, self._quoted.model)
        carried = {**headers.onward(call.request.headers), **call.wire.auth(self._key)}
        self._calls._journal.sent(call.bearer.run, self._service.name, self._quoted.model, sent)  # noqa: SLF001
        async with self._calls._http.post(  # noqa: SLF001
            address,
            data=_Told(sent, self),
            headers=carried,
            timeout=timeout,
            allow_redirects=False,
            proxy=proxy_for(address),
        ) as answer:
            if answer.status >= 300:
                return await self._pass_error(answer)
            return await self._pass(answer)

    async def _pass_error(self, answer: aiohttp.ClientResponse) -> web.StreamResponse | No:
        """The provider did nothing, so nothing is charged; another service may answer, if this one is in trouble."""
        body = await _start_of(answer.content, ERROR_BYTES)
        self._settle(f"the provider answered {answer.status}", released=True)
        trouble = trouble_of(answer.status, answer.headers, body, datetime.now(UTC))
        is_open = await self._calls._services.report(self._service, trouble) if trouble else False  # noqa: SLF001
        if is_open and trouble and not self._last:
            return No(
                Refusal.UNAVAILABLE, f"service {self._service.name}: {trouble.reason}", service=self._service.name
            )
        if trouble and trouble.kind == "key":
            message = f"the provider of service {self._service.name} does not accept its key; set another with"
            return refuse(
                self._call.wire, Refusal.UNAVAILABLE, f"{message} `qd secret set service.{self._service.name}`", 600
            )
        kept = headers.back(answer.headers, self._service.name, self._quoted.model)
        return web.Response(status=answer.status, body=body, headers=kept)

    async def _pass(self, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        """Pass the answer on, part by part, as it comes."""
        reader = self._reader
        response = web.StreamResponse(
            status=answer.status, headers=headers.back(answer.headers, self._service.name, self._quoted.model)
        )
        if not self._call.demand.stream and answer.content_length and "content-encoding" not in answer.headers:
            response.content_length = answer.content_length
        await response.prepare(self._call.request)
        journal = self._calls._journal  # noqa: SLF001 - the same module
        broken: str | None = None
        try:
            async with asyncio.timeout(None) as silence:
                longest = self._calls._settings.silence_seconds  # noqa: SLF001
                loop = asyncio.get_running_loop()
                silence.reschedule(loop.time() + longest)
                async for chunk in answer.content.iter_any():
                    silence.reschedule(loop.time() + longest)
                    passed = reader.feed(chunk)
                    self._passed += len(chunk)
                    if passed:
                        await response.write(passed)
                    journal.passed(self._quoted.ask.id, chunk)
        except (
            aiohttp.ClientPayloadError,
            aiohttp.ClientOSError,
            aiohttp.ServerDisconnectedError,
            TimeoutError,
        ) as error:
            broken = f"the provider broke off ({type(error).__name__})"
        tail = reader.close()
        await self._finish(broken)
        if broken is not None:
            # The client must see that the answer is not whole, as it would have seen it without us.
            if self._call.request.transport is not None:
                self._call.request.transport.close()
            return response
        if tail:
            await response.write(tail)
        await response.write_eof()
        return response

    async def _finish(self, broken: str | None) -> None:
        """The answer is over: settle before the client can see it, so that its next call finds the room."""
        trouble = trouble_in_stream(self._reader.fault)
        fault = self._reader.fault
        self._settle(broken or (f"error in the stream: {storable(fault.kind)}" if fault else None))
        if broken:
            trouble = Trouble("server", broken)
        await self._calls._services.report(self._service, trouble)  # noqa: SLF001 - the same module

    async def _failed(self, note: str) -> No:
        self._settle(note)
        await self._calls._services.report(self._service, Trouble("server", note))  # noqa: SLF001 - the same module
        return No(Refusal.UNAVAILABLE, f"service {self._service.name}: {note}", 5, service=self._service.name)

    def _settle(self, note: str | None, *, released: bool = False) -> None:
        self._settled = True
        settlement = self._settlement(note, released=released)
        self._calls._journal.settled(self._call.bearer.run, settlement)  # noqa: SLF001 - the same module
        self._calls._books.settle(settlement)  # noqa: SLF001

    def _settlement(self, note: str | None, *, released: bool) -> Settlement:
        charge, reader, quoted = self._quoted.ask.id, self._reader, self._quoted
        if released or not self._sent:
            return Settlement(charge, "released", note=note)
        if not reader.complete:
            reader.close()
        used, model = reader.used, reader.model and storable(reader.model)
        if used is not None:  # what the answer does not say of its price is as it was asked for
            used = replace(used, choices={**self._call.demand.options, **used.choices})
        if reader.complete and used is not None:
            basis: Basis = "measured" if quoted.card.knows(used) and not quoted.free else "imputed"
            return Settlement(charge, "settled", quoted.cost(used), used.tokens, basis, note, model)
        note = note or "the provider gave no count"
        reserved, most = self._grant.reserved or 0, (self._terms.output or self._output) * quoted.ask.choices
        demand = self._call.demand
        rounds = demand.rounds or demand.opaque  # tools of the provider's own: the prompt may be read once more
        if not demand.stream or demand.unseen or rounds or (used is None and not reader.text):
            # Nothing bounds what the provider has done but the bound that was reserved.
            bound = Tokens(input=quoted.ask.input_tokens, output=most)
            return Settlement(charge, "settled", reserved, bound, "imputed", note, model)
        # At most a token for each byte that was seen since the provider's last count.
        counted = used.tokens.output if used else 0
        output = min(counted + reader.text + UNDER_WAY, most)
        if used is None:
            cost = quoted.ask.input_micro + -(-output * quoted.ask.output_rate // 1_000_000)
            tokens = Tokens(input=quoted.ask.input_tokens, output=output)
        else:
            tokens = replace(used.tokens, output=output)
            cost = quoted.cost(replace(used, tokens=tokens, shares=()))
        return Settlement(charge, "settled", min(cost, reserved), tokens, "estimated", note, model)


class _Told(aiohttp.BytesPayload):
    """The body of a request, which remembers that it began to leave: from then on the provider may have worked."""

    def __init__(self, body: bytes, exchange: _Exchange) -> None:
        super().__init__(body, content_type="application/json")
        self._exchange = exchange

    async def write_with_length(self, writer: Any, content_length: int | None) -> None:
        self._exchange._sent = True  # noqa: SLF001 - the same module
        await super().write_with_length(writer, content_length)


async def _start_of(content: aiohttp.StreamReader, most: int) -> bytes:
    """All of a body, or its first ``most`` bytes."""
    body = b""
    async for chunk in content.iter_any():
        body += chunk
        if len(body) >= most:
            break
    return body[:most]


@lru_cache(maxsize=64)
def proxy_for(address: str) -> str | None:
    """The proxy of the environment for an address. Not left to the HTTP client, which would look into ``.netrc``."""
    parts = urlsplit(address)
    if parts.hostname is None or proxy_bypass(parts.hostname):
        return None
    return getproxies().get(parts.scheme)


def refuse(wire: Wire, kind: Refusal, message: str, retry: float | None = None) -> web.Response:
    """The provider's own error for this; told once, clients of a budget at its end stop."""
    status, body = wire.refusal(kind, message)
    told = {"x-should-retry": "true" if kind is Refusal.UNAVAILABLE else "false"}
    if retry is not None and kind is Refusal.UNAVAILABLE:
        told["retry-after"] = str(max(round(retry), 1))
    return web.json_response(body, status=status, headers=told)


def no_service(wire: Wire, model: str) -> str:
    """The sentence for a model that no service takes."""
    return (
        f"no service speaks the protocol of {wire.provider} for the model {model[:100]!r};"
        f" add one with `qd service add NAME --provider {wire.provider}`"
    )


def upstream(service: Service, wire: Wire, request: web.Request, model: str) -> str:
    """Where a request goes: the service's address with the path of the protocol, and the client's query without
    keys.
    """
    base = (service.base_url or wire.base_url).rstrip("/")
    path = request.path.split("/", 2)[2]
    if wire.name == "gemini":
        verb = path.rpartition(":")[2]
        path = f"v1beta/models/{escaped(model, safe='')}:{verb}"
    elif path.startswith("v1/models/"):
        path = f"models/{escaped(model, safe='')}"  # as one name: it must not lead to another path with our key
    elif wire.provider == "openai":
        path = path.removeprefix("v1/")
    query = "&".join(
        f"{escaped(name)}={escaped(value)}"
        for name, value in request.query.items()
        if name not in ("key", "access_token")
    )
    return f"{base}/{path}" + (f"?{query}" if query else "")


def storable(text: str) -> str:
    """A provider's word, as a database takes it."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text[:200])


def uuid7() -> uuid.UUID:
    """Version 7 of RFC 9562: in the order of their time."""
    milliseconds = int(datetime.now(UTC).timestamp() * 1000)
    value = (milliseconds << 80) | (uuid.uuid4().int & ((1 << 80) - 1))
    value = value & ~(0xF000 << 64) | (0x7000 << 64)
    return uuid.UUID(int=value & ~(0xC000 << 48) | (0x8000 << 48))


def _refused(grant: Grant, service: Service) -> No:
    match grant.outcome:
        case "dead":
            return No(Refusal.TOKEN, "the run of this token has ended", service=service.name)
        case "suspended":
            why = f": {grant.reason}" if grant.reason else ""
            return No(Refusal.BUDGET, f"service {service.name} is suspended{why}", grant=grant, service=service.name)
        case "limit" | "busy":
            until = f"; it is renewed at {grant.until:%Y-%m-%d %H:%M:%S} UTC" if _ends(grant) else ""
            told = "is used up" if grant.outcome == "limit" else "is all reserved by calls under way"
            message = f"the budget {budget_words(grant, service)} {told}{until}"
            return No(Refusal.BUDGET, message, grant=grant, service=service.name)
        case _:
            return No(Refusal.UNAVAILABLE, f"service {service.name} is gone", 5, service=service.name)


def budget_words(grant: Grant, service: Service) -> str:
    """Whose budget refused."""
    if grant.key in ("", None):
        return "of the day"
    if grant.key == service.name:
        return f"of service {service.name}"
    if grant.task is not None and grant.key == str(grant.task):
        return f"of task #{grant.key}"
    return f"of {grant.key}"


def _ends(grant: Grant) -> bool:
    return grant.until is not None and grant.until.year < 9999


def _graver(first: No | None, second: No) -> No:
    """What the client is told of a chain: a dead token before all, a budget before what is out of order, else the
    first.
    """
    if first is None or second.kind is Refusal.TOKEN:
        return second
    return second if second.kind is Refusal.BUDGET and first.kind is Refusal.UNAVAILABLE else first
