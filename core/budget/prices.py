"""What a call costs: the price list of ``genai-prices``, with the person's own prices before it.

Prices are integers, micro-dollars per million tokens; a call's cost is rounded up to a whole micro-dollar. A model
that neither knows is priced at the service's declared worst case, or is no model: never at zero. The list is read
once, by a process of its own (:mod:`core.budget.catalogue`).
"""

import asyncio
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from config.errors import UnavailableError, UsageError
from core.budget import listed
from core.budget.outputs import most_output
from core.budget.patterns import closest
from storage.queries.budget import Tokens

MILLION = 1_000_000

CATALOGUES = {"anthropic": "anthropic", "openai": "openai", "gemini": "google", "other": "openai"}
"""Whose list holds the models of a provider, where the service does not say another (``groq``, ``openrouter``, …)."""

CLASSES = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output")

COUNTS = {"window", "most_output"}
"""What a person's prices may say of a model in tokens."""

PARTS = {"input_audio": "input", "input_image": "input", "output_audio": "output", "output_image": "output"}
"""Kinds of tokens that some models price apart, and the class that their count is a part of."""

WINDOW = 2_097_152
"""Tokens that a model takes at most, where the list does not say."""

LONG_WINDOW = 1_050_000
"""Tokens that a model takes at most which is given a longer context on request, or priced for one."""

DEAREST_SEARCH = 35
"""USD per thousand searches of the web: the highest of the list, for models to which neither it nor a person gives a price."""

GEO = {"us": 110, "auto": 110}
"""Percent of the list's prices by ``inference_geo`` (https://platform.claude.com/docs/en/about-claude/pricing); ``auto``: it
is the account's to choose.
"""


@dataclass(frozen=True, slots=True)
class Rates:
    """Micro-dollars per million tokens; ``search`` per thousand searches of the web."""

    input: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    output: int
    search: int = 0
    parts: Mapping[str, int] = field(default_factory=dict)
    search_known: bool = True
    """False: nobody gives a price for searches, and the dearest that is known stands for it."""

    def times(self, percent: int) -> "Rates":
        """These rates for tokens at so many percent, rounded up."""
        if percent == 100:
            return self
        dearer = {name: -(-getattr(self, name) * percent // 100) for name in CLASSES}
        return replace(self, **dearer, parts={name: -(-rate * percent // 100) for name, rate in self.parts.items()})

    def dearest_input(self, *, writes_5m: bool = True, writes_1h: bool = True) -> int:
        """The highest rate that a token of the prompt can come to, given which caches the request may write."""
        rates = [self.input, self.cache_read, *(self.parts[name] for name in self.parts if PARTS[name] == "input")]
        if writes_5m:
            rates.append(self.cache_write_5m)
        if writes_1h:
            rates.append(self.cache_write_1h)
        return max(rates)

    def dearest_output(self) -> int:
        """The highest rate that a token of output can come to."""
        return max(self.output, *(self.parts[name] for name in self.parts if PARTS[name] == "output"), 0)


@dataclass(frozen=True, slots=True)
class Share:
    """What one pass of a call through a model used."""

    model: str | None
    """None: the model that was asked."""
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class Used:
    """What a call used: tokens, parts of them that are priced apart, searches, and the choices that set the price."""

    tokens: Tokens = field(default_factory=Tokens)
    """All of them."""
    parts: Mapping[str, int] = field(default_factory=dict)
    searches: int = 0
    choices: Mapping[str, str] = field(default_factory=dict)
    """``service_tier``, ``speed`` and ``inference_geo``, as the provider reports them."""
    fees: int = 0
    """Micro-dollars for tools of the provider's that have a fixed price."""
    shares: tuple[Share, ...] = ()
    """The tokens by pass, where they are not all priced as one: another model has spoken, or each pass has its own tier."""


Tiers = tuple[tuple[int, Rates], ...]
"""(more than so many tokens of prompt, rates), ascending; the first is the base, from 0."""


@dataclass(frozen=True, slots=True)
class Card:
    """The prices of one model at one time."""

    tiers: Tiers
    variants: tuple[tuple[Mapping[str, str], Tiers], ...] = ()
    """Prices that a request can choose, by its choices."""
    window: int = WINDOW
    most_output: int | None = None
    """Tokens of output that the model takes for a limit at most; None: not known."""
    known: bool = True
    """False: the service's declared worst case, not the model's own price."""
    listed: bool = False
    """From the price list, whose prices are those of the provider's usual terms."""

    def offers(self, choices: Mapping[str, str]) -> bool:
        """Whether these prices cover what a request chooses: a list that has no price for speed does not."""
        fast = choices.get("speed") == "fast" and self.listed
        return not fast or any("speed" in choice for choice, _ in self.variants)

    @property
    def tiered(self) -> bool:
        """Whether a request can choose a service tier, which has a price of its own."""
        return any("service_tier" in choice for choice, _ in self.variants)

    def rates(self, prompt: int, choices: Mapping[str, str] | None = None) -> Rates:
        """The rates for a prompt of so many tokens; crossing a threshold changes the rate of all tokens."""
        tiers = self.tiers
        for choice, variant in self.variants:
            if choices and all(choices.get(name) == value for name, value in choice.items()):
                tiers = variant
                break
        found = tiers[0][1]
        for start, rates in tiers:
            if prompt > start:
                found = rates
        return found.times(self._percent(choices or {}))

    def _percent(self, choices: Mapping[str, str]) -> int:
        return GEO.get(choices.get("inference_geo", ""), 100) if self.listed else 100

    def cost(self, used: Used) -> int:
        """Micro-dollars of a call, rounded up."""
        tokens = used.tokens
        rates = self.rates(tokens.prompt, used.choices)
        parts: int = sum(
            min(count, getattr(tokens, PARTS[name])) * (rates.parts[name] - getattr(rates, PARTS[name]))
            for name, count in used.parts.items()
            if name in rates.parts
        )
        total: int = parts + sum(getattr(tokens, name) * getattr(rates, name) for name in CLASSES)
        return -(-total // MILLION) + -(-used.searches * rates.search // 1000) + used.fees

    def knows(self, used: Used) -> bool:
        """Whether all that a call used has a price of its own, and none that stands for it."""
        return self.known and (not used.searches or self.tiers[0][1].search_known)

    def worst(self, prompt: int, choices: Mapping[str, str]) -> list[Rates]:
        """Every set of rates that a call with at most so many tokens of prompt can meet."""
        lists = [self.tiers, *(tiers for choice, tiers in self.variants if _may_choose(choice, choices))]
        percent = self._percent(choices)
        return [rates.times(percent) for tiers in lists for start, rates in tiers if start == 0 or prompt > start]


class PriceBook:
    """The price list of some providers."""

    def __init__(self, book: Mapping[str, Any]) -> None:
        self._book = book
        self._cards: dict[tuple[str, str, date], Card | None] = {}

    def card(
        self,
        provider: str,
        model: str,
        now: datetime,
        *,
        catalogue: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        worst: Mapping[str, Any] | None = None,
    ) -> Card | None:
        """The prices of a model; None when nobody knows it.

        ``overrides``: glob of models → prices in USD per million tokens, the closest of which holds; ``worst``: the prices of what nobody knows.
        """
        own = closest(overrides or {}, model)
        if own is not None:
            return _limited(own_card(json.dumps(own, sort_keys=True), known=True), model)
        card = self._listed(catalogue or CATALOGUES[provider], model, now)
        if card is None and worst:
            return _limited(own_card(json.dumps(worst, sort_keys=True), known=False), model)
        return card

    def _listed(self, name: str, model: str, now: datetime) -> Card | None:
        if len(model) > 200:
            return None
        key = (name, model, now.astimezone(UTC).date())
        if key not in self._cards:
            if len(self._cards) > 5000:
                self._cards.clear()  # names come from agents: they must not fill the memory
            entry = listed.find(self._book, name, model)
            card = _card(entry, now) if entry else None
            card = card and _limited(card, model)
            if entry and listed.by_the_hour(entry):
                return card
            self._cards[key] = card
        return self._cards[key]


async def read_catalogue(providers: Iterable[str], seconds: float = 60.0) -> PriceBook:
    """The price list of these providers of the list. Raises UnavailableError when it cannot be read."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "core.budget.catalogue",
        *sorted(set(providers)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output = b""
    try:
        async with asyncio.timeout(seconds):
            output, _ = await process.communicate()
    except TimeoutError:
        pass
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise UnavailableError("the price list of genai-prices cannot be read", "reinstall Quarterdeck")
    return PriceBook(json.loads(output))


@lru_cache(maxsize=256)
def own_card(prices: str, *, known: bool) -> Card:
    """A card from a person's prices (JSON; USD per million tokens). Raises UsageError naming the field."""
    table: dict[str, Any] = json.loads(prices)
    check_prices(table)
    write = table.get("cache_write_5m", table["input"])
    rates = Rates(
        input=listed.micro(table["input"]),
        cache_read=listed.micro(table.get("cache_read", table["input"])),
        cache_write_5m=listed.micro(write),
        cache_write_1h=listed.micro(table.get("cache_write_1h", write)),
        output=listed.micro(table["output"]),
        search=listed.micro(table.get("search", DEAREST_SEARCH)),
        search_known="search" in table,
    )
    return Card(((0, rates),), (), int(table.get("window", WINDOW)), table.get("most_output"), known)


def check_prices(table: Mapping[str, Any]) -> None:
    """Raise UsageError unless these are prices: ``input`` and ``output`` at least, numbers of USD per million
    tokens.
    """
    known = {*CLASSES, "search", *COUNTS}
    for name, value in table.items():
        if name not in known:
            raise UsageError(f"{name!r} is not a price", f"the prices are {', '.join(sorted(known))}")
        try:
            most = listed.LARGEST_WINDOW + 1 if name in COUNTS else MILLION
            good = not isinstance(value, bool) and 0 <= Decimal(str(value)) < most
        except InvalidOperation:
            good = False
        if not good:
            raise UsageError(f"the price {name} is {value!r}", "it is a number of USD per million tokens")
    for name in COUNTS & table.keys():
        if not 1 <= int(table[name]) <= listed.LARGEST_WINDOW:
            raise UsageError(f"{name} is {table[name]}", f"it is between 1 and {listed.LARGEST_WINDOW} tokens")
    for name in ("input", "output"):
        if name not in table:
            raise UsageError(
                f"the prices lack {name!r}", 'give at least {"input": …, "output": …} in USD per million tokens'
            )


def _limited(card: Card, model: str) -> Card:
    return card if card.most_output else replace(card, most_output=most_output(model))


def _card(entry: Mapping[str, Any], now: datetime) -> Card | None:
    """None where the list has no price for tokens of a prompt: a model of another kind, or a gap in the list."""
    prices = listed.prices_at(entry, now)
    if "input_mtok" not in prices:
        return None
    variants = tuple(
        (variant["choice"], _tiers({**prices, **variant["prices"]}))
        for variant in entry["variants"]
        if listed.active(variant["when"], now)
    )
    tiers = _tiers(prices)
    return Card(tiers, variants, _window(entry["window"], tiers), listed=True)


def _window(said: int | None, tiers: Tiers) -> int:
    """Tokens that a model takes at most. The list rounds (1,000,000 for 1,048,576), and gives the usual window of models
    that take a longer one at the price of a higher tier.
    """
    if said is None:
        return WINDOW
    most = said + said // 20
    return max(most, LONG_WINDOW) if any(start >= said for start, _ in tiers) else most


def _tiers(prices: Mapping[str, Any]) -> Tiers:
    starts = sorted({0} | {start for value in prices.values() if isinstance(value, list) for start, _ in value[1]})
    return tuple((start, _rates(prices, start)) for start in starts)


def _rates(prices: Mapping[str, Any], start: int) -> Rates:
    def at(key: str, otherwise: int) -> int:
        price = listed.price_above(prices.get(key), start)
        return otherwise if price is None else price

    base = at("input_mtok", 0)
    write = at("cache_write_mtok", base)
    parts = {
        name: price for name in PARTS if (price := listed.price_above(prices.get(f"{name}_mtok"), start)) is not None
    }
    return Rates(
        input=base,
        cache_read=at("cache_read_mtok", base),
        cache_write_5m=write,
        cache_write_1h=at("cache_write_1h_mtok", write),
        output=at("output_mtok", 0),
        search=at("web_searches_kcount", listed.micro(DEAREST_SEARCH)),
        search_known="web_searches_kcount" in prices,
        parts=parts,
    )


def _may_choose(choice: Mapping[str, str], asked: Mapping[str, str]) -> bool:
    """Whether a request may be billed at this variant: it asks for it, or leaves the choice to the provider."""
    return all(asked.get(name) in (value, "auto") for name, value in choice.items())
