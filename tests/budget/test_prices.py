"""Prices: the list's own, the person's, the declared worst case; never zero by mistake."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from config.errors import UsageError
from core.budget.catalogue import dump
from core.budget.gateway.routing import mapped
from core.budget.prices import Card, PriceBook, Used, check_prices, own_card, read_catalogue
from storage.queries.budget import Tokens

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook(json.loads(json.dumps(dump(["anthropic", "openai", "google"]))))


def test_the_list_is_read_as_the_package_itself_reads_it(book: PriceBook) -> None:
    from genai_prices import Usage, calc_price, data_snapshot

    compared = 0
    for provider, ours in (("anthropic", "anthropic"), ("openai", "openai"), ("google", "gemini")):
        listed = next(p for p in data_snapshot.get_snapshot().providers if p.id == provider)
        for model in listed.models:
            card = book.card(ours, model.id, NOW)
            if card is None:
                continue
            for prompt in (1_000, 150_000, 250_000, 300_000):
                tokens = Tokens(input=prompt - 700, cache_read=500, cache_write_5m=200, output=1000)
                usage = Usage(input_tokens=prompt, cache_read_tokens=500, cache_write_tokens=200, output_tokens=1000)
                theirs = calc_price(usage, model.id, provider_id=provider, genai_request_timestamp=NOW).total_price
                assert abs(Decimal(card.cost(Used(tokens))) - theirs * 1_000_000) <= 2, (model.id, prompt)
                compared += 1
    assert compared > 400


def test_the_choice_of_a_request_sets_the_price(book: PriceBook) -> None:
    card = book.card("openai", "gpt-5.2", NOW)
    assert card is not None
    tokens = Tokens(input=1_000_000)
    assert card.cost(Used(tokens, choices={"service_tier": "priority"})) == 2 * card.cost(Used(tokens))
    worst = max(rates.input for rates in card.worst(1000, {"service_tier": "auto"}))
    assert worst == 2 * max(rates.input for rates in card.worst(1000, {}))


def test_inference_in_one_country_costs_a_tenth_more_and_an_account_may_have_it_set(book: PriceBook) -> None:
    card = book.card("anthropic", "claude-opus-5-5", NOW)
    assert card is not None
    used = Used(Tokens(input=1_000_000, output=1_000))
    assert card.cost(replace(used, choices={"inference_geo": "us"})) * 10 == card.cost(used) * 11
    for asked, percent in (("us", 110), ("auto", 110), ("global", 100)):
        assert card.worst(1000, {"inference_geo": asked})[0].input * 100 == card.tiers[0][1].input * percent
    own = own_card('{"input": 1, "output": 1}', known=True)
    assert own.cost(replace(used, choices={"inference_geo": "us"})) == own.cost(used), "a person's price is final"


def test_a_window_is_the_most_that_a_model_takes(book: PriceBook) -> None:
    windows = {
        "claude-sonnet-4-5": 1_000_000,
        "claude-haiku-4-5": 200_000,
        "gpt-6-cyber": 1_050_000,
        "gpt-4.1": 1_047_576,
    }
    for model, most in windows.items():
        card = book.card("anthropic" if model.startswith("claude") else "openai", model, NOW)
        assert card is not None
        assert card.window >= most, model
    gemini = book.card("gemini", "gemini-2.0-flash", NOW)
    assert gemini is not None
    assert gemini.window >= 1_048_576


def test_speed_that_the_list_has_no_price_for_is_not_priced_as_if_it_were_none(book: PriceBook) -> None:
    for model, priced in (("claude-opus-4-8", True), ("claude-opus-4-6", False)):
        card = book.card("anthropic", model, NOW)
        assert card is not None
        assert (card.offers({"speed": "fast"}), card.offers({})) == (priced, True)


def test_a_model_that_nobody_knows_has_no_price_unless_a_worst_case_is_declared(book: PriceBook) -> None:
    assert book.card("anthropic", "claude-next", NOW) is None
    card = book.card("anthropic", "claude-next", NOW, worst={"input": 20, "output": 100})
    assert card is not None
    assert (card.known, card.cost(Used(Tokens(input=10, output=1)))) == (False, 300)


def test_a_person_s_price_goes_before_the_list(book: PriceBook) -> None:
    card = book.card("anthropic", "claude-opus-5-5", NOW, overrides={"claude-opus-*": {"input": 1, "output": 2}})
    assert card is not None
    assert card.cost(Used(Tokens(input=5, output=5))) == 15


@pytest.mark.parametrize(
    "wrong",
    [{"input": 1}, {"input": -1, "output": 1}, {"input": "x", "output": 1}, {"in": 1}, {"input": True, "output": 1}],
)
def test_prices_that_are_none_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        check_prices(wrong)


def test_of_several_prices_of_a_person_the_closest_holds(book: PriceBook) -> None:
    own = {"*": 1, "claude-*": 2, "claude-opus-*": 3, "claude-opus-5-5": 4}
    overrides = {glob: {"input": usd, "output": usd} for glob, usd in own.items()}
    for model, usd in {"gpt-5": 1, "claude-haiku": 2, "claude-opus-4": 3, "claude-opus-5-5": 4}.items():
        card = book.card("anthropic", model, NOW, overrides=overrides)
        assert card is not None
        assert card.rates(0).input == usd * 1_000_000
        assert mapped({glob: str(usd) for glob, usd in own.items()}, model) == str(usd)


def test_a_cost_is_rounded_up_to_a_whole_micro_dollar() -> None:
    card: Card = own_card('{"input": 0.01, "output": 0.01}', known=True)
    assert card.cost(Used(Tokens(input=1))) == 1


async def test_the_list_is_read_by_a_process_of_its_own() -> None:
    found = (await read_catalogue(["anthropic"])).card("anthropic", "claude-haiku-4-5-20251001", NOW)
    assert found is not None
    assert found.tiers[0][1].output == 5_000_000
