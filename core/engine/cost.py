"""The price of a model's tokens where the agent states none, from the offline list of ``genai-prices``."""

from decimal import Decimal
from functools import lru_cache


def imputed_cost(model: object, uncached: int, output: int, cache_read: int, cache_write: int) -> Decimal:
    """USD for disjoint classes of tokens; 0 for a model that the list does not know."""
    if not isinstance(model, str) or not model or not (uncached or output or cache_read or cache_write):
        return Decimal(0)
    return _price(model[:200], uncached, output, cache_read, cache_write)


@lru_cache(maxsize=1024)
def _price(model: str, uncached: int, output: int, cache_read: int, cache_write: int) -> Decimal:
    from genai_prices import Usage, calc_price

    usage = Usage(  # the list's input tokens are the total of all classes of input
        input_tokens=uncached + cache_read + cache_write,
        output_tokens=output,
        cache_read_tokens=cache_read,
        cache_write_tokens=cache_write,
    )
    try:
        return Decimal(calc_price(usage, model_ref=model).total_price)
    except LookupError:
        return Decimal(0)
