"""From rows to dataclasses."""

from dataclasses import fields
from functools import lru_cache
from typing import Any, TypeVar

import asyncpg

T = TypeVar("T")


def from_record(cls: type[T], record: asyncpg.Record | None) -> T | None:
    """A row as the dataclass whose fields are its columns; arrays become tuples. None stays None."""
    if record is None:
        return None
    values: dict[str, Any] = dict(record)
    for name in _tuples(cls):  # type: ignore[arg-type] # mypy takes a class of T for unhashable
        if values[name] is not None:
            values[name] = tuple(values[name])
    return cls(**values)


@lru_cache(maxsize=64)
def _tuples(cls: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cls) if str(field.type).startswith("tuple"))
