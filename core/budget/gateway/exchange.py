"""One reserved request to one service: sent, passed through as it comes, settled.

Whatever happens in between, the charge is settled exactly once: at what the provider counted; at what was streamed,
where it broke off; at the reserve, where nothing is known; at nothing, where the provider did nothing.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
from aiohttp import web

from config.settings import GatewaySettings
from core.budget.gateway import headers
from core.budget.gateway.address import proxy_for, upstream
from core.budget.gateway.books import Books
from core.budget.gateway.circuit import Passage, Trouble, trouble_in_stream, trouble_of
from core.budget.gateway.journal import Journal
from core.budget.gateway.refusing import No, refuse
from core.budget.gateway.routing import Key, Quote, Services
from core.budget.wire import Demand, Reader, Refusal, Wire
from core.budget.wire.base import dump
from storage.queries.budget import Basis, Bearer, Grant, Service, Settlement, Tokens

UNDER_WAY = 256
"""Tokens that a provider may generate before it notices that nobody listens any more: a second of a fast model."""

ERROR_BYTES = 1_000_000

UNREADABLE = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError)
"""What a count that has not the form of its protocol may raise when it is read."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a gateway process handles calls with."""

    services: Services
    books: Books
    http: aiohttp.ClientSession
    settings: GatewaySettings
    journal: Journal


@dataclass(frozen=True, slots=True)
class Call:
    """A request that has passed the door."""

    request: web.Request
    wire: Wire
    asked: dict[str, Any]
    """The body as it came."""
    raw: bytes
    """The same as bytes, as it is sent on when nothing in it is changed."""
    body: dict[str, Any]
    """The body with what the address says."""
    demand: Demand
    token: str
    bearer: Bearer


class HungUpError(Exception):
    """The client was gone when a part of the answer was written, which says nothing about the provider."""

    def __init__(self, response: web.StreamResponse) -> None:
        super().__init__("the client hung up")
        self.response = response


class Exchange:
    """One reserved request to one service, until its charge is settled."""

    def __init__(
        self,
        means: Means,
        call: Call,
        service: Service,
        passage: Passage,
        quoted: Quote,
        grant: Grant,
        key: Key,
        *,
        last: bool,
    ) -> None:
        self._means = means
        self._call = call
        self._service = service
        self._passage = passage
        self._quoted = quoted
        self._grant = grant
        self._key = key
        self._last = last
        self._output = grant.output or 0
        self._terms = quoted.terms(service, self._output)
        self._reader: Reader = call.wire.reader(call.demand, call.body)
        self.sent = False
        self._settled = False
        self._unreadable = False
        """Whether the answer has a form that its protocol does not have: it is passed on, and what it counts is not known."""

    async def run(self) -> web.StreamResponse | No:
        note: str | None = None
        try:
            return await self._send()
        except asyncio.CancelledError:
            note = "the client hung up"
            raise
        except HungUpError as gone:
            note = "the client hung up"
            return gone.response
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            note = f"the provider could not be reached ({type(error).__name__})" if not self.sent else "broken off"
            return self._failed(note)
        finally:
            if not self._settled:
                self._settle(note)

    async def _send(self) -> web.StreamResponse | No:
        call, settings = self._call, self._means.settings
        adapted = call.wire.adapt(call.body, self._terms)
        sent = written(call.asked, call.raw, adapted)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=settings.first_byte_seconds)
        address = upstream(self._service, call.wire, call.request, self._quoted.model)
        carried = {**headers.onward(call.request.headers), **call.wire.auth(self._key.value)}
        self._means.journal.sent(call.bearer.run, self._service.name, self._quoted.model, sent)
        async with self._means.http.post(
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
        self._settle(f"the provider answered {answer.status}", released=True)
        body = await _start_of(answer.content, ERROR_BYTES)
        trouble = trouble_of(answer.status, answer.headers, body, datetime.now(UTC))
        is_open = self._means.services.report(self._service, self._key, self._passage, trouble) if trouble else False
        if is_open and trouble and not self._last:
            again = None if trouble.kind == "key" else trouble.seconds or 5
            text = f"service {self._service.name}: {trouble.reason}"
            return No(Refusal.UNAVAILABLE, text, again, service=self._service.name)
        if trouble:
            self._tell(trouble)
        if trouble and trouble.kind == "key":
            whose = f" --project {self._key.project}" if self._key.project else ""
            message = f"the provider of service {self._service.name} does not accept its key; set another with"
            command = f"`qd secret set service.{self._service.name}{whose}`"
            return refuse(self._call.wire, Refusal.UNAVAILABLE, f"{message} {command}")
        kept = headers.back(answer.headers, self._service.name, self._quoted.model)
        return web.Response(status=answer.status, body=body, headers=kept)

    async def _pass(self, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        """Pass the answer on, part by part, as it comes."""
        response = web.StreamResponse(
            status=answer.status, headers=headers.back(answer.headers, self._service.name, self._quoted.model)
        )
        if not self._call.demand.stream and answer.content_length and "content-encoding" not in answer.headers:
            response.content_length = answer.content_length
        await _to_client(response, response.prepare(self._call.request))
        journal = self._means.journal
        broken: str | None = None
        try:
            async with asyncio.timeout(None) as silence:
                longest = self._means.settings.silence_seconds
                loop = asyncio.get_running_loop()
                silence.reschedule(loop.time() + longest)
                async for chunk in answer.content.iter_any():
                    silence.reschedule(None)  # how long the client takes is no silence of the provider
                    passed = self._read(chunk)
                    if self._passage.tries and self._has_begun():
                        self._means.services.speaks(self._service, self._key, self._passage)
                    if passed:
                        await _to_client(response, response.write(passed))
                    journal.passed(self._quoted.ask.id, chunk)
                    silence.reschedule(loop.time() + longest)
        except (
            aiohttp.ClientPayloadError,
            aiohttp.ClientOSError,
            aiohttp.ServerDisconnectedError,
            TimeoutError,
        ) as error:
            broken = f"the provider broke off ({type(error).__name__})"
        tail = self._close()
        self._finish(broken)
        if broken is not None:
            # The client must see that the answer is not whole, as it would have seen it without us.
            if self._call.request.transport is not None:
                self._call.request.transport.close()
            return response
        if tail:
            await _to_client(response, response.write(tail))
        await _to_client(response, response.write_eof())
        return response

    def _read(self, chunk: bytes) -> bytes:
        """What of a part of the answer goes on to the client."""
        if self._unreadable:
            return chunk
        try:
            return self._reader.feed(chunk)
        except UNREADABLE:
            self._unreadable = True
            return chunk

    def _has_begun(self) -> bool:
        """Whether the provider has said something of an answer, and nothing of trouble."""
        reader = self._reader
        return not self._unreadable and reader.fault is None and bool(reader.text or reader.used)

    def _close(self) -> bytes:
        try:
            return b"" if self._unreadable else self._reader.close()
        except UNREADABLE:
            self._unreadable = True
            return b""

    def _tell(self, trouble: Trouble) -> None:
        """The client hears of trouble of the provider's: an attempt that ends with it has not failed by its own fault."""
        data = {"service": self._service.name, "model": self._quoted.model, "retry_seconds": trouble.seconds}
        self._means.books.notice(
            self._call.bearer.run, "provider", f"service {self._service.name}: {storable(trouble.reason)}", data
        )

    def _finish(self, broken: str | None) -> None:
        """The answer is over: settle before the client can see it, so that its next call finds the room."""
        trouble = trouble_in_stream(self._reader.fault)
        fault = self._reader.fault
        self._settle(broken or (f"error in the stream: {storable(fault.kind)}" if fault else None))
        if broken:
            trouble = Trouble("server", broken)
        if trouble:
            self._tell(trouble)
        self._means.services.report(self._service, self._key, self._passage, trouble)

    def _failed(self, note: str) -> No:
        if not self._settled:
            self._settle(note)
        self._means.services.report(self._service, self._key, self._passage, Trouble("server", note))
        return No(Refusal.UNAVAILABLE, f"service {self._service.name}: {note}", 5, service=self._service.name)

    def _settle(self, note: str | None, *, released: bool = False) -> None:
        settlement = self._settlement(note, released=released)
        self._means.books.settle(settlement)
        self._settled = True
        self._means.journal.settled(self._call.bearer.run, settlement)

    def _settlement(self, note: str | None, *, released: bool) -> Settlement:
        charge, reader, quoted = self._quoted.ask.id, self._reader, self._quoted
        if released or not self.sent:
            return Settlement(charge, "released", note=note)
        if not reader.complete:
            self._close()
        if self._unreadable:
            return self._at_reserve("what the provider has counted cannot be read")
        used, model = reader.used, reader.model and storable(reader.model)
        if used is not None:  # what the answer does not say of its price is as it was asked for
            used = replace(used, choices={**self._call.demand.options, **used.choices})
        if reader.complete and used is not None:
            basis: Basis = "measured" if quoted.card.knows(used) and not quoted.free else "imputed"
            return Settlement(charge, "settled", quoted.cost(used), used.tokens, basis, note, model)
        note = note or "the provider gave no count"
        reserved, most = self._grant.reserved or 0, self._most_output
        demand = self._call.demand
        rounds = demand.rounds or demand.opaque  # tools of the provider's own: the prompt may be read once more
        if not demand.stream or demand.unseen or rounds or (used is None and not reader.text):
            return self._at_reserve(note)
        # At most a token for each byte that was seen since the provider's last count.
        counted = used.tokens.output if used else 0
        output = min(counted + reader.text + UNDER_WAY * quoted.ask.choices, most)
        if used is None:
            cost = quoted.ask.input_micro + -(-output * quoted.ask.output_rate // 1_000_000)
            tokens = Tokens(input=quoted.ask.input_tokens, output=output)
        else:
            tokens = replace(used.tokens, output=output)
            cost = quoted.cost(replace(used, tokens=tokens, shares=()))
        return Settlement(charge, "settled", min(cost, reserved), tokens, "estimated", note, model)

    @property
    def _most_output(self) -> int:
        return (self._terms.output or self._output) * self._quoted.ask.choices

    def _at_reserve(self, note: str) -> Settlement:
        """Nothing bounds what the provider has done but the bound that was reserved."""
        bound = Tokens(input=self._quoted.ask.input_tokens, output=self._most_output)
        model = self._reader.model and storable(self._reader.model)
        return Settlement(self._quoted.ask.id, "settled", self._grant.reserved or 0, bound, "imputed", note, model)


def written(asked: Mapping[str, Any], raw: bytes, adapted: Mapping[str, Any]) -> bytes:
    """A request that was adapted, as bytes.

    Where it has nothing but further fields they are put behind those of ``raw``: a conversation may be long, and to write
    all of it anew takes milliseconds before the call can leave.
    """
    same = all(name in adapted and (adapted[name] is value or adapted[name] == value) for name, value in asked.items())
    if not (same and asked):
        return dump(adapted)
    further = {name: value for name, value in adapted.items() if name not in asked}
    return raw[:-1] + b"," + dump(further)[1:] if further else raw


class _Told(aiohttp.BytesPayload):
    """The body of a request, which remembers that it began to leave: from then on the provider may have worked."""

    def __init__(self, body: bytes, exchange: Exchange) -> None:
        super().__init__(body, content_type="application/json")
        self._exchange = exchange

    async def write_with_length(self, writer: Any, content_length: int | None) -> None:
        self._exchange.sent = True
        await super().write_with_length(writer, content_length)


async def _to_client(response: web.StreamResponse, writing: Awaitable[Any]) -> None:
    """Write to the client. Raises HungUpError."""
    try:
        await writing
    except ConnectionError as error:
        raise HungUpError(response) from error


async def _start_of(content: aiohttp.StreamReader, most: int) -> bytes:
    """All of a body, or its first ``most`` bytes."""
    body = b""
    async for chunk in content.iter_any():
        body += chunk
        if len(body) >= most:
            break
    return body[:most]


def storable(text: str) -> str:
    """A provider's word, as a database takes it."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text[:200])
