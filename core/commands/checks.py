"""What the values of commands are held to, said without loading what checks them: pydantic costs the start of a program as much as a
third of the screen, and is loaded with the first argument that is checked.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class After:
    """Within ``Annotated``: the value is what ``function`` makes of the checked one; its ValueError says what is wrong."""

    function: Callable[[Any], Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core.core_schema import no_info_after_validator_function

        return no_info_after_validator_function(self.function, handler(source))


@dataclass(frozen=True, slots=True)
class Before:
    """Within ``Annotated``: what is checked is what ``function`` makes of what was given; its ValueError says what is wrong."""

    function: Callable[[Any], Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core.core_schema import no_info_before_validator_function

        return no_info_before_validator_function(self.function, handler(source))


class Within:
    """Within ``Annotated``: limits of a value, in the words of pydantic's ``Field`` (``ge``, ``max_length``)."""

    __is_annotated_types_grouped_metadata__ = True

    def __init__(self, **limits: Any) -> None:
        self._limits = limits

    def __iter__(self) -> Iterator[Any]:
        from pydantic import Field

        return iter(Field(**self._limits).metadata)
