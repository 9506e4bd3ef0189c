"""Who answers a call: the services of a chain are asked in order, until one is within its budgets and in order."""

import asyncio
import uuid
from datetime import UTC, datetime

from aiohttp import web

from config.errors import UnavailableError
from core.budget.gateway.circuit import Passage
from core.budget.gateway.exchange import Call, Exchange, Means
from core.budget.gateway.refusing import No, graver, no_service, not_granted, refuse
from core.budget.gateway.routing import Key, UnpricedError, keyless, serves
from core.budget.wire import Refusal
from storage.queries.budget import Service

STAND_IN_PATIENCE = 2.0
"""Seconds that a call waits for room when another service could answer it instead."""


class Calls:
    """Handles calls with the means of one gateway process."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._services = means.services
        self._books = means.books
        self._settings = means.settings
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
            first = graver(first, result)
        assert first is not None
        self._tell_refusal(call, first, chain.foreign)
        return refuse(call.wire, first.kind, first.message, first.retry)

    async def _try(
        self, call: Call, service: Service, instead: Service | None, *, last: bool
    ) -> web.StreamResponse | No:
        """Let one service answer; why not, where another may."""
        key = await self._services.key(service, call.bearer.project)
        if key is None:
            return No(Refusal.UNAVAILABLE, keyless(service), service=service.name, keyless=True)
        try:
            quoted = self._services.quote(service, call.wire, call.demand, len(call.raw), uuid7(), instead)
        except UnpricedError as error:
            return No(Refusal.REQUEST, str(error), service=service.name)
        if instead is not None and not serves(service, quoted.model):
            hint = f"declare with `qd service edit {service.name} --map GLOB=MODEL` what it speaks instead"
            text = f"service {service.name} does not take the model {quoted.model[:100]!r}; {hint}"
            return No(Refusal.UNAVAILABLE, text, service=service.name)
        entered = await self._enter(service, key, last=last)
        if isinstance(entered, No):
            return entered
        try:
            patience = self._settings.wait_seconds if last else min(STAND_IN_PATIENCE, self._settings.wait_seconds)
            try:
                grant = await self._books.reserve(quoted.ask, call.token, patience)
            except UnavailableError as error:
                text = f"the ledger cannot be reached ({error.message})"
                return No(Refusal.UNAVAILABLE, text, 2, service=service.name)
            if grant.outcome != "granted":
                return not_granted(grant, service)
            if instead is not None:
                text = f"{service.name} ({quoted.model}) answers in place of {instead.name}"
                self._tell(call, "fallback", service, text)
            return await Exchange(self._means, call, service, entered, quoted, grant, key, last=last).run()
        finally:
            self._services.circuit(service, key).leave(entered)

    async def _enter(self, service: Service, key: Key, *, last: bool) -> Passage | No:
        """Pass the circuit: wait for the service to come back if that is near and nobody else can answer."""
        deadline = asyncio.get_running_loop().time() + (self._settings.wait_seconds if last else 0)
        while True:
            circuit = self._services.circuit(service, key)
            passage = circuit.enter(datetime.now(UTC))
            if passage is not None:
                return passage
            wait = circuit.opens_in(datetime.now(UTC))
            if asyncio.get_running_loop().time() + wait > deadline:
                text = f"service {service.name} is out of order: {circuit.reason}"
                return No(Refusal.UNAVAILABLE, text, max(wait, 1.0), service=service.name)
            await asyncio.sleep(min(wait, 1.0) + 0.01)

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


def uuid7() -> uuid.UUID:
    """Version 7 of RFC 9562: in the order of their time."""
    milliseconds = int(datetime.now(UTC).timestamp() * 1000)
    value = (milliseconds << 80) | (uuid.uuid4().int & ((1 << 80) - 1))
    value = value & ~(0xF000 << 64) | (0x7000 << 64)
    return uuid.UUID(int=value & ~(0xC000 << 48) | (0x8000 << 48))
