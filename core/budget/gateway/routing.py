"""Which services may answer a call, in which order, with which key and at which price."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from uuid import UUID

from config.errors import UnavailableError
from core.budget.gateway.books import Books
from core.budget.gateway.circuit import Circuit, Passage, Trouble
from core.budget.outputs import CAUTIOUS, most_output
from core.budget.patterns import closest
from core.budget.prices import CATALOGUES, LONG_WINDOW, Card, PriceBook, Rates, Used, read_catalogue
from core.budget.wire.base import Demand, Terms, Wire, input_bound
from core.secrets.store import SHARED, SecretStore, find_owned, service_key
from storage.database import Database
from storage.queries import budget
from storage.queries.budget import Ask, Service, Tokens

PROTOCOLS = {"anthropic": {"anthropic"}, "openai": {"openai", "other"}, "gemini": {"gemini"}}
"""Which providers' services speak the protocol of a wire."""

MOST_OUTPUT = 131_072
"""Tokens of output that are reserved for a request which sets no limit, to a model whose own is not known."""


TOLD_SECONDS = 60
"""A service that is left alone for as long as this is something that a person is told."""

_FREE = Rates(0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Key:
    """What a provider lets a call in with. ``project``: whose own it is; empty: everybody's."""

    value: str = field(repr=False)
    project: str = SHARED

    @property
    def owner(self) -> str:
        """What trouble with it concerns: nobody but those who have it. Another key is another matter."""
        return self.value if self.project else SHARED


@dataclass(frozen=True, slots=True)
class Chain:
    """The services that may answer a call, in their order."""

    links: tuple[Service, ...]
    foreign: Service | None = None
    """Where the chain goes on with a service that speaks another protocol."""


@dataclass(frozen=True, slots=True)
class Quote:
    """What one service would take for a call, at worst."""

    ask: Ask
    card: Card
    model: str
    free: bool
    """A subscription: tokens, calls and runs count, dollars do not."""
    asked: int | None
    """Tokens of output that the client has set as a limit."""
    others: Mapping[str, Card] = field(default_factory=dict)
    """The prices of other models that the request names."""

    def cost(self, used: Used) -> int:
        """The true price in micro-dollars."""
        if self.free:
            return 0
        if not used.shares:
            return self.card.cost(used)
        once = self.card.cost(replace(used, tokens=Tokens(), parts={}, shares=()))
        return once + sum(
            self.others.get(share.model or "", self.card).cost(Used(share.tokens, choices=used.choices))
            for share in used.shares
        )

    def terms(self, service: Service, granted: int) -> Terms:
        """How the request is sent on, when so many tokens of output are reserved.

        A limit that is put in is none that the model's provider refuses: not above the client's, nor the model's.
        """
        output = None
        if granted < (self.asked or self.ask.output):
            known = self.card.most_output or (granted if self.asked else CAUTIOUS)
            output = min(granted, known)
        field = "max_tokens" if service.provider == "other" else "max_completion_tokens"
        tier = "default" if service.provider == "openai" and self.card.tiered and not self.free else None
        return Terms(self.model, output, field, service.stream_options, tier, priced=not self.free)


class UnpricedError(ValueError):
    """Nobody knows what a model costs at a service; in words for the client."""


class Services:
    """The services as the database has them, their circuits, keys and prices; ``load`` brings them up to date."""

    def __init__(self, db: Database, secrets: SecretStore, books: Books, book: PriceBook | None = None) -> None:
        self._db = db
        self._secrets = secrets
        self._books = books
        self._book = book or PriceBook({})
        self._catalogues: set[str] | None = set() if book is None else None
        self._services: dict[str, Service] = {}
        self._keys: dict[tuple[str, str], Key | None] = {}
        self._used_keys: set[str] = set()
        self._circuits: dict[tuple[str, str], Circuit] = {}
        """By service and owner of the key. Those of a project's own keys live here alone: nobody else meets them."""
        self._heads: dict[str, list[Service]] = {}

    async def load(self) -> None:
        """Read services, circuits and the price lists that they need; forget the keys, to be read again. Raises
        UnavailableError.
        """
        unsaid, epochs = self._books.unsaid(), {at: circuit.epoch for at, circuit in self._circuits.items()}
        async with self._db.connection() as connection:
            found = await budget.services(connection)
        for service in found:
            at = (service.name, SHARED)
            circuit = self._circuits.setdefault(at, Circuit())
            if service.name not in unsaid and circuit.epoch == epochs.get(at, circuit.epoch):
                _take_circuit(circuit, service)
        catalogues = {service.catalogue or CATALOGUES[service.provider] for service in found}
        if self._catalogues is not None and not catalogues <= self._catalogues:
            self._book = await read_catalogue(catalogues | self._catalogues)
            self._catalogues |= catalogues
        self._services = {service.name: service for service in found}
        stand_ins = {service.fallback for service in found}
        self._heads = {
            protocol: sorted((s for s in found if s.provider in providers), key=lambda s: s.name in stand_ins)
            for protocol, providers in PROTOCOLS.items()
        }
        self._keys = {}
        self._circuits = {at: circuit for at, circuit in self._circuits.items() if at[0] in self._services}

    def circuit(self, service: Service, key: Key) -> Circuit:
        """The circuit of a service for who has this key: a wrong or used up key of one project says nothing to the others."""
        return self._circuits.setdefault((service.name, key.owner), Circuit())

    async def key(self, service: Service, project: str) -> Key | None:
        """The project's own key for a service, else the shared one. Raises UnavailableError when the store does
        not open. A person is told once of a service that has none.
        """
        at, keys = (service.name, project), self._keys  # what is read while they are forgotten is forgotten with them
        if at not in keys:
            found = await asyncio.to_thread(find_owned, self._secrets, service_key(service.name), project)
            if found is None:
                await self._tell_keyless(service)
            else:
                self._used_keys.add(found[0])
            keys[at] = Key(*found) if found else None
        return keys[at]

    async def _tell_keyless(self, service: Service) -> None:
        try:
            async with self._db.connection() as connection:
                await budget.add_alert(connection, "key", "service", service.name, keyless(service))
        except UnavailableError:
            return  # the call is refused all the same, and says why

    def secrets(self) -> frozenset[str]:
        """Every key that has been used: what a log must not show, even of a call that began before a key was changed."""
        return frozenset(self._used_keys)

    def chain(self, wire: Wire, model: str) -> Chain:
        """The service that takes this model, and who stands in for it, one after the other.

        The first such chain in which not all are suspended: a stand-in that would take the model as well answers as the
        stand-in that it was declared to be.
        """
        chains = [self._from(s, wire) for s in self._heads.get(wire.provider, []) if serves(s, model)]
        if not chains:
            return Chain(())
        return next((chain for chain in chains if any(not link.suspended for link in chain.links)), chains[0])

    def _from(self, head: Service, wire: Wire) -> Chain:
        links: list[Service] = []
        foreign: Service | None = None
        at: Service | None = head
        while at is not None and at not in links:
            if at.provider not in PROTOCOLS[wire.provider]:
                foreign = at
                break
            links.append(at)
            at = self._services.get(at.fallback) if at.fallback else None
        return Chain(tuple(links), foreign)

    def quote(
        self, service: Service, wire: Wire, demand: Demand, size: int, charge: UUID, instead: Service | None
    ) -> Quote:
        """The worst case of a call at a service. Raises UnpricedError. ``size``: bytes of the request."""
        model = demand.model if instead is None else mapped(service.model_map, demand.model)
        card = self._card(service, model, demand)
        others = {name: self._card(service, name, demand) for name in demand.others}
        free = service.kind == "quota"
        prompt = input_bound(wire, demand, size, max(card.window, LONG_WINDOW if demand.long else 0))
        met = [] if free else [r for c in (card, *others.values()) for r in c.worst(prompt, demand.options)]
        rate = max((r.dearest_input(writes_5m=demand.writes_5m, writes_1h=demand.writes_1h) for r in met), default=0)
        search = max((r.search for r in met), default=0) * demand.searches
        wanted = min(demand.output or card.most_output or MOST_OUTPUT, MOST_OUTPUT * 8)
        if model != demand.model and card.most_output:
            wanted = min(wanted, card.most_output)  # the client has asked for what another model can say
        ask = Ask(
            id=charge,
            service=service.name,
            model=model,
            input_tokens=prompt,
            input_micro=-(-prompt * rate // 1_000_000) + -(-search // 1000) + (0 if free else demand.fees),
            output=wanted,
            least=min(demand.least, wanted),
            output_rate=max((r.dearest_output() for r in met), default=0),
            choices=demand.choices,
            instead_of=f"{instead.name}/{demand.model}" if instead else None,
        )
        return Quote(ask, card, model, free, demand.output, others)

    def _card(self, service: Service, model: str, demand: Demand) -> Card:
        """The prices of a model at a service. Raises UnpricedError."""
        card = self._book.card(
            service.provider,
            model,
            datetime.now(UTC),
            catalogue=service.catalogue,
            overrides=service.prices,
            worst=service.worst_price,
        )
        if card is not None and card.offers(demand.options):
            return card
        if service.kind != "quota":
            raise UnpricedError(unpriced(service, model))
        return Card(((0, _FREE),), most_output=most_output(model))

    def speaks(self, service: Service, key: Key, passage: Passage) -> None:
        """A service that was out of order has begun to answer the call that tried it: the others need not wait for its end."""
        if passage.tries and self.circuit(service, key).is_tried_by(passage):
            self.report(service, key, passage, None)

    def report(self, service: Service, key: Key, passage: Passage, trouble: Trouble | None) -> bool:
        """An answer said something about the health of its service; True when it is out of order now for who has this key."""
        circuit = self.circuit(service, key)
        before = circuit.state
        if trouble is None:
            is_open, changed = False, circuit.succeed(passage)
        else:
            is_open = circuit.fail(trouble, datetime.now(UTC), passage)
            changed = is_open or before != circuit.state
        if changed and not key.project:
            news = is_open and not circuit.told and circuit.opens_in(datetime.now(UTC)) >= TOLD_SECONDS
            circuit.told = circuit.told or news
            self._books.health(service.name, circuit, tell=news)
        return is_open


def _take_circuit(known: Circuit, service: Service) -> None:
    """What another gateway or a person has said of it; what has been found here since goes before the database's word."""
    until = service.open_until if service.circuit != "closed" else None
    if (known.until is None) != (until is None):
        known.put(until=until, failures=service.failures, reason=service.reason)
        known.told = known.opens_in(datetime.now(UTC)) >= TOLD_SECONDS  # by whoever found it


def mapped(model_map: Mapping[str, str], model: str) -> str:
    """The model that a service speaks in place of another."""
    return closest(model_map, model) or model


def unpriced(service: Service, model: str) -> str:
    """The sentence for a model that nobody knows."""
    return (
        f"the price of the model {model[:100]!r} at service {service.name} is not known; set it with"
        f" `qd service price {service.name} MODEL --input USD --output USD`, or declare a worst case with --worst"
    )


def keyless(service: Service) -> str:
    """The sentence for a service without a key."""
    return f"service {service.name} has no key; set it with `qd secret set {service_key(service.name)}`"


def serves(service: Service, model: str) -> bool:
    """Whether a service takes this model."""
    return not service.models or any(fnmatchcase(model, glob) for glob in service.models)
